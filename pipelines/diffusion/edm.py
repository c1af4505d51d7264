"""EDM's preconditioning (Karras et al., NeurIPS 2022, eq. 7), with σ = ∞ as the step that sees no noisy input."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Preconditioned:
    """D(x_σ) = skip + scale·F(scaled; level): `scaled` and `level` go into the network F, the rest around it.

    scaled, skip (N, C, H, W); scale (N, 1, 1, 1); level (N,) in [0, 1], 1 = pure noise.
    """

    scaled: Tensor
    skip: Tensor
    scale: Tensor
    level: Tensor

    def clean(self, out: Tensor) -> Tensor:
        """D of F's output (N, C, H, W)."""
        return self.skip + self.scale * out


def precondition(noisy: Tensor, sigma: Tensor, data: float) -> Preconditioned:
    """noisy (N, C, H, W) = x + σ·n for x of mean 0 and standard deviation `data`; sigma (N,) > 0, ∞ allowed: then
    `noisy` is not looked at and D is the mean."""
    s = sigma[:, None, None, None].to(noisy.dtype)
    pure = torch.isinf(s)
    total = torch.sqrt(s**2 + data**2)
    known = torch.where(pure, 0.0, noisy)
    return Preconditioned(
        scaled=torch.where(pure, 0.0, known / total),
        skip=torch.where(pure, 0.0, data**2 / total**2) * known,
        scale=torch.where(pure, data, s * data / total),
        level=torch.where(torch.isinf(sigma), 1.0, sigma / (sigma + data)),
    )


def level_waves(level: Tensor) -> Tensor:
    """(N, 32) sines and cosines of a noise level (N,) in [0, 1]."""
    angle = level.float()[:, None] * torch.exp(torch.linspace(0, math.log(64), 16, device=level.device))
    return torch.cat([angle.cos(), angle.sin()], 1)
