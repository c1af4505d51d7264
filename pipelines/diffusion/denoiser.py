"""The one thing a restoration sampler asks of a prior, and closed-form priors that have it."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Denoiser(Protocol):
    """Any image prior: E[x₀ | x₀ + σ n]."""

    def denoise(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        """noisy (N, C, H, W), clean pixels in [-1, 1]; sigma (N,) in the same units. Returns the clean estimate."""
        ...


class GaussianPrior:
    """The exact denoiser of x₀ ~ N(mean, deviation²), every sample on its own."""

    def __init__(self, mean: Tensor | float, deviation: float) -> None:
        self.mean, self.deviation = mean, deviation

    def denoise(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        trust = self.deviation**2 / (self.deviation**2 + sigma[:, None, None, None] ** 2)
        return self.mean + trust * (noisy - self.mean)


def posterior_variance(sigma: float, deviation: float) -> float:
    """Var[x₀ | x_σ] for pixels of standard deviation `deviation` around what the surroundings tell.

    Exact for `GaussianPrior`; for photos an average (ΠGDM, Song et al., ICLR 2023, section 3.3).
    """
    return (sigma * deviation) ** 2 / (sigma**2 + deviation**2)


def levels(sigma: float, like: Tensor) -> Tensor:
    """`sigma` for every image of a batch, as denoisers want it."""
    return torch.full((len(like),), sigma, device=like.device, dtype=like.dtype)
