"""The one denoising loop, and what leads from one level to the next."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from restore.pipelines.diffusion.schedules import ancestral_share


class Estimate(Protocol):
    def __call__(self, x: Tensor, sigma: float, /) -> Tensor:
        """The clean picture that x (N, C, H, W) at level sigma is taken for."""
        ...


class Step(Protocol):
    def __call__(self, x: Tensor, clean: Tensor, sigma: float, after: float, /) -> Tensor:
        """The picture at level `after` < sigma, from x at sigma and the clean estimate of it."""
        ...


def descend(
    x: Tensor, sigmas: list[float], estimate: Estimate, step: Step, on_step: Callable[[int], None] | None = None
) -> Tensor:
    """From x, a picture at level sigmas[0], through falling levels that end in 0."""
    for i, (sigma, after) in enumerate(pairwise(sigmas)):
        x = step(x, estimate(x, sigma), sigma, after)
        if on_step is not None:
            on_step(i)
    return x


def euler(x: Tensor, clean: Tensor, sigma: float, after: float) -> Tensor:
    """A step of the probability-flow equation (Karras et al., NeurIPS 2022, alg. 1); from σ = ∞ straight to 0."""
    return clean if math.isinf(sigma) else clean + (after / sigma) * (x - clean)


def ancestral(
    x: Tensor, clean: Tensor, sigma: float, after: float, generator: torch.Generator, temperature: float
) -> Tensor:
    """clean + temperature · σ_after · (√(1−share) n̂ + √share n), n̂ the noise that was found, n new, from `generator`.

    Temperature 1: DDPM's step. 0: DPIR's, no noise at all (Zhang et al., TPAMI 2021).
    """
    if after == 0 or temperature == 0:
        return clean
    share = ancestral_share(sigma, after)
    return clean + temperature * after * (
        (1 - share) ** 0.5 * (x - clean) / sigma + share**0.5 * noise_like(x, generator)
    )


def noise_like(x: Tensor, generator: torch.Generator) -> Tensor:
    """White noise of x's shape, drawn where the generator lives."""
    return torch.randn(x.shape, generator=generator, dtype=x.dtype, device=generator.device).to(x.device)
