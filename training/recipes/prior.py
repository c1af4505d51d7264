"""Train the prior (pipelines/networks/prior.py): a denoiser of photographs at every noise level."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from restore.pipelines.networks.prior import SIGMA_DATA, SIGMA_MAX, SIGMA_MIN, PriorConfig, PriorNet
from restore.training.data.photos import PhotoCache, held_out
from restore.training.loop import Task

EVALUATED, TESTED = 256, 64  # photos kept out, and those of them that every checkpoint is tested on
FLOOR = 0.02  # squared error below which a crop hardly counts more
LEVELS = (15, 25, 50)  # noise levels of the evaluation, 8-bit units
RATIOS, SHARES = (1, 1.25, 1.5, 2, 2.25), (0.14, 0.22, 0.26, 0.26, 0.12)  # by how much crops are reduced, how often
KNOTS = np.log([SIGMA_MIN, 0.02, 0.5, SIGMA_MAX])  # ln σ is uniform between two of them,
PLACES = (0, 0.08, 0.8, 1)  # with these shares below: most levels are those of photos' noise, 2.5 to 64 of 255


def native_crop(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A square crop of a photo's own pixels, most of the time reduced, turned and mirrored; (size, size, 3) uint8.

    Reducing takes compression and softness out of a photo: the prior shall know sharp pixels too.
    """
    h, w = image.shape[:2]
    side = min(round(size * rng.choice(RATIOS, p=SHARES)), h, w)
    y, x = rng.integers(0, h - side + 1), rng.integers(0, w - side + 1)
    crop = image[y : y + side, x : x + side]
    if side != size:  # Pillow's bicubic is antialiased
        crop = np.asarray(Image.fromarray(crop).resize((size, size), Image.Resampling.BICUBIC))
    crop = np.rot90(crop, int(rng.integers(4)))
    return crop[:, ::-1] if rng.random() < 0.5 else crop


def noise_levels(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) σ in [SIGMA_MIN, SIGMA_MAX], one in each n-th of the distribution, shuffled."""
    u = (rng.permutation(n) + rng.random(n)) / n
    return np.exp(np.interp(u, PLACES, KNOTS))


def to_pixels(crops: list[np.ndarray]) -> Tensor:
    """uint8 crops (H, W, 3) as (N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 127.5 - 1


class PriorTask(Task):
    """Denoising score matching, every crop's squared error by its logarithm: what the mean of PSNRs asks for."""

    net: PriorNet

    def __init__(self, recipe: dict[str, Any], data: list[Path], out: Path) -> None:
        super().__init__()
        self.recipe = recipe
        self.cache = PhotoCache.open(out.parent / "cache", data)
        self.train_on, self.test_on = held_out(len(self.cache), EVALUATED)
        net = PriorNet(PriorConfig(**{key: tuple(sizes) for key, sizes in recipe["network"].items()}))
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def batch(self, rng: np.random.Generator, progress: float) -> dict[str, Tensor]:
        n, sizes = self.recipe["batch"], self.recipe["sizes"]
        size = sizes[progress > self.recipe["small_until"]]
        n = max(1, n * sizes[0] ** 2 // size**2)  # as many pixels
        clean = to_pixels([native_crop(self.cache[int(rng.choice(self.train_on))], size, rng) for _ in range(n)])
        sigma = torch.from_numpy(noise_levels(n, rng)).float()
        noise = torch.from_numpy(rng.standard_normal(clean.shape, np.float32))
        return {"clean": clean, "noise": noise, "sigma": sigma}

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        clean, sigma = batch["clean"], batch["sigma"]
        s = sigma[:, None, None, None]
        found = self.net.denoise(clean + s * batch["noise"], sigma).float()
        weight = (s**2 + SIGMA_DATA**2) / (s * SIGMA_DATA) ** 2  # EDM's λ(σ): of the network's own output
        error = (weight * (found - clean).square()).mean((1, 2, 3))
        return {"loss": torch.log(error + FLOOR).mean(), "error": error.mean()}

    @torch.no_grad()
    def evaluate(self, net: nn.Module) -> dict[str, float]:
        """PSNR, dB, on fixed crops of held-out photos at three noise levels."""
        rng = np.random.default_rng(0)
        clean = to_pixels([native_crop(self.cache[i], self.recipe["sizes"][-1], rng) for i in self.test_on[:TESTED]])
        device = next(net.parameters()).device
        out = {}
        for level in LEVELS:
            sigma = torch.full((len(clean),), level / 127.5)
            noise = torch.from_numpy(rng.standard_normal(clean.shape, np.float32))
            found = net.denoise((clean + sigma[0] * noise).to(device), sigma.to(device))  # type: ignore[operator]
            mse = (found.float().cpu().clamp(-1, 1) - clean).square().mean((1, 2, 3)) / 4
            out[f"psnr_{level}"] = float((-10 * torch.log10(mse)).mean())
        return out
