"""Priors from elsewhere: diffusers folders, OpenAI guided-diffusion checkpoints, other trainings of our own.

A model that predicts the noise of x_t = √ᾱ x₀ + √(1−ᾱ) n is a denoiser at every level: scale x_σ by √ᾱ = 1/√(1+σ²),
ask at the step t whose σ is nearest (fractional where the embedding allows), and x₀ = x_σ − σ n̂.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from restore.errors import ModelUnavailableError
from restore.pipelines.diffusion.denoiser import Denoiser
from restore.pipelines.diffusion.schedules import sigma_of
from restore.pipelines.hub.library import diffusers
from restore.pipelines.networks.prior import PriorConfig, PriorNet
from restore.weights.store import load_weights


def load_prior(model: str, device: torch.device) -> Denoiser:
    """The prior of "builtin", of a .safetensors file of a `PriorNet`, or of a folder with `unet/` and `scheduler/`.

    Raises ModelUnavailableError if there is no such model or it is not unconditional RGB.
    """
    path = find_prior(model)
    if path is None:
        return prior_from_weights(load_weights("prior")).to(device)
    if path.is_dir():
        return DiffusersPrior.from_folder(path, device)
    from safetensors.torch import load_file

    return prior_from_weights({k: v.float() for k, v in load_file(path).items()}).to(device)


def find_prior(model: str) -> Path | None:
    """Where the prior `model` lies, None for "builtin"; nothing is loaded. Raises ModelUnavailableError for none."""
    path = Path(model)
    if model == "builtin":
        return None
    if path.is_dir() or (path.is_file() and path.suffix == ".safetensors"):
        return path
    raise ModelUnavailableError(f"expected model 'builtin', a diffusers folder or a .safetensors file, got '{model}'")


def prior_from_weights(weights: dict[str, Tensor]) -> PriorNet:
    """The network of a state dict; widths and depth are read off its shapes."""
    levels = sum(1 for key in weights if key.startswith("narrow.") and key.endswith(".weight")) + 1
    try:
        widths = tuple(weights[f"down.{i}.0.conv1.weight"].shape[0] for i in range(levels))
        down, up = ([_depth(weights, f"{way}.{i}.") for i in range(levels)] for way in ("down", "up"))
        net = PriorNet(PriorConfig(widths, tuple(down), tuple(up[:-1])))
        net.load_state_dict(weights)
    except (KeyError, RuntimeError) as error:
        raise ModelUnavailableError(
            f"expected weights of a PriorNet, got others: {str(error).splitlines()[0]}"
        ) from None
    return net.eval()


def _depth(weights: dict[str, Tensor], level: str) -> int:
    """Residual blocks of a level."""
    return sum(1 for key in weights if key.startswith(level) and key.endswith("conv1.weight"))


class DiffusersPrior:
    """An unconditional `UNet2DModel` that predicts noise (or x₀, or v), with the ᾱ of its scheduler.

    Photos of any size: sides are mirrored up to what the network halves evenly.
    """

    def __init__(self, unet: nn.Module, alpha_bars: Tensor, prediction: str = "epsilon", learned: bool = False) -> None:
        """alpha_bars (T,): falling; learned: the network's second three channels are a variance, not used."""
        if prediction not in ("epsilon", "sample", "v_prediction"):
            raise ModelUnavailableError(f"expected a model that predicts epsilon, sample or v, got '{prediction}'")
        self.unet, self.prediction, self.learned = unet.eval(), prediction, learned
        self.sigmas = torch.tensor([sigma_of(float(a)) for a in alpha_bars])
        config: Any = unet.config
        self.multiple = 2 ** (len(config.block_out_channels) - 1)

    @classmethod
    def from_folder(cls, folder: Path, device: torch.device) -> DiffusersPrior:
        """From diffusers' own files, safetensors only; nothing is fetched."""
        unet_folder = folder / "unet" if (folder / "unet").is_dir() else folder
        scheduler_folder = folder / "scheduler" if (folder / "scheduler").is_dir() else folder
        try:
            unet = diffusers().UNet2DModel.from_pretrained(unet_folder, use_safetensors=True, local_files_only=True)
            scheduler = diffusers().DDPMScheduler.from_pretrained(scheduler_folder, local_files_only=True)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ModelUnavailableError(
                f"expected a diffusers UNet2DModel and scheduler in {folder}, got: {reason}"
            ) from None
        channels = unet.config.in_channels, unet.config.out_channels
        if channels not in ((3, 3), (3, 6)):
            raise ModelUnavailableError(f"expected an unconditional RGB pixel model, got channels {channels}")
        return cls(
            unet.to(device), scheduler.alphas_cumprod, scheduler.config.prediction_type, learned=channels[1] == 6
        )

    def denoise(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        nearest = (self.sigmas[None] - sigma.cpu()[:, None]).abs().argmin(1)
        s = sigma[:, None, None, None]
        scale = 1 / torch.sqrt(1 + s**2)
        height, width = noisy.shape[-2:]
        x = nn.functional.pad(noisy * scale, (0, -width % self.multiple, 0, -height % self.multiple), mode="reflect")
        out = self.unet(x, nearest.to(noisy.device)).sample[..., :height, :width]
        if self.learned:
            out = out[:, :3]
        if self.prediction == "sample":
            return out
        if self.prediction == "v_prediction":  # v = √ᾱ n − √(1−ᾱ) x₀
            return scale**2 * noisy - s * scale * out
        return noisy - s * out
