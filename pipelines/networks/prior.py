"""The prior: one unconditional denoiser of photographs at every noise level and any size.

Preconditioned as EDM (Karras et al., NeurIPS 2022, eq. 7): D(x; σ) = c_skip·x + c_out·F(c_in·x; c_noise) with
x = clean + σ·noise, pixels in [-1, 1]. Fully convolutional and without normalisation, so that a window sees what
the whole photo would. It is trained with the weight on low and middle noise levels, where restoration happens
(Fei et al., CVPR 2023; Zhu et al., "DiffPIR", CVPRW 2023).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.pipelines.networks.draft import ResBlock

UNSHUFFLE = 2  # the network's finest grid: cells of 2×2 pixels
SIGMA_DATA = 0.5  # standard deviation of photos, pixels in [-1, 1]
SIGMA_MIN, SIGMA_MAX = 0.005, 2.0  # noise levels seen in training


@dataclass(frozen=True)
class PriorConfig:
    """Channels at 1/2, 1/4 and 1/8 of the image size; residual blocks per level on the way down (1/2 first) and up."""

    widths: tuple[int, ...] = (64, 128, 192)
    down: tuple[int, ...] = (1, 2, 3)
    up: tuple[int, ...] = (2, 2)


class PriorNet(nn.Module):
    """See the module's docstring. Use `denoise`; `forward` is the raw network F."""

    def __init__(self, config: PriorConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or PriorConfig()
        self.multiple = UNSHUFFLE * 2 ** (len(config.widths) - 1)  # image sides must be divisible by this
        emb, cells = 128, UNSHUFFLE**2
        self.emb = nn.Sequential(nn.Linear(32, emb), nn.SiLU(), nn.Linear(emb, emb), nn.SiLU())
        self.stem = nn.Conv2d(3 * cells, config.widths[0], 3, padding=1)
        self.down, self.up, self.narrow, self.widen = (nn.ModuleList() for _ in range(4))
        for i, width in enumerate(config.widths):
            self.down.append(nn.ModuleList(ResBlock(width, emb) for _ in range(config.down[i])))
            if i + 1 < len(config.widths):
                self.up.append(nn.ModuleList(ResBlock(width, emb) for _ in range(config.up[i])))
                self.narrow.append(nn.Conv2d(width, config.widths[i + 1], 2, 2))
                self.widen.append(nn.Conv2d(config.widths[i + 1], 4 * width, 1))
        self.final = nn.Conv2d(config.widths[0], 3 * cells, 3, padding=1)
        nn.init.normal_(self.final.weight, std=1e-3)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """F of EDM: x (N, 3, H, W) of unit variance; noise (N,) = ln(σ)/4."""
        return self.through(x, self.emb(waves(noise).to(x.dtype)))

    def through(self, x: Tensor, emb: Tensor) -> Tensor:
        """The levels on the way down and up; emb (N, 128)."""
        # Channels last: a CPU's convolutions at half size are up to 1.7 times as fast.
        x = self.stem(F.pixel_unshuffle(x, UNSHUFFLE).contiguous(memory_format=torch.channels_last))
        skips = []
        for i, blocks in enumerate(self.down):
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, emb)
            if i < len(self.narrow):
                skips.append(x)
                x = self.narrow[i](x)
        for i in reversed(range(len(self.up))):
            x = skips[i] + F.pixel_shuffle(self.widen[i](x), 2)
            for block in self.up[i]:  # type: ignore[attr-defined]
                x = block(x, emb)
        return F.pixel_shuffle(self.final(F.silu(x)), UNSHUFFLE)

    def denoise(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        """E[clean | noisy] (N, 3, H, W) in about [-1, 1]; noisy = clean + σ·noise; sigma (N,) > 0.

        Any size: sides are mirrored up to a multiple of `multiple`.
        """
        return preconditioned(self, noisy, sigma, self.multiple)


def preconditioned(net: Callable[[Tensor, Tensor], Tensor], noisy: Tensor, sigma: Tensor, multiple: int) -> Tensor:
    """D(noisy; σ) of the raw network F, on sides mirrored up to a multiple of `multiple`."""
    s = sigma[:, None, None, None].to(noisy.dtype)
    total = torch.sqrt(s**2 + SIGMA_DATA**2)
    h, w = noisy.shape[-2:]
    bottom, right = -h % multiple, -w % multiple
    x = F.pad(noisy / total, (0, right, 0, bottom), mode="reflect") if bottom or right else noisy / total
    out = net(x, torch.log(sigma) / 4)[..., :h, :w]
    return (SIGMA_DATA / total) ** 2 * noisy + s * SIGMA_DATA / total * out


def waves(noise: Tensor) -> Tensor:
    """(N,) → (N, 32): cosines and sines of 16 frequencies."""
    angle = noise.float()[:, None] * torch.exp(torch.linspace(0, math.log(64), 16, device=noise.device))
    return torch.cat([angle.cos(), angle.sin()], 1)
