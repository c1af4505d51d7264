"""Noise levels. Inside this package a level is σ: x_σ = x₀ + σ n, pixels in [-1, 1] (variance exploding).

Diffusion models that count steps keep the variance instead: x_t = √ᾱ_t x₀ + √(1−ᾱ_t) n. Both are the same
picture at another scale: x_t / √ᾱ_t = x₀ + σ n with σ² = (1−ᾱ)/ᾱ (Karras et al., NeurIPS 2022, appendix C).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from restore.errors import InputError

TRAINED = 1000  # steps of the linear DDPM schedule (Ho et al., NeurIPS 2020, section 4)
RHO = 7.0  # Karras et al., eq. 5
SIGMA_END = 0.02  # last level before 0, [-1, 1]: under 3 levels of 8 bits


def alpha_bar_of(sigma: float) -> float:
    """ᾱ in (0, 1] of a level σ ≥ 0."""
    return 1 / (1 + sigma * sigma)


def sigma_of(alpha_bar: float) -> float:
    """σ ≥ 0 of ᾱ in (0, 1]."""
    return math.sqrt((1 - alpha_bar) / alpha_bar)


def linear_alpha_bars(count: int = TRAINED) -> Tensor:
    """ᾱ_t, t = 0 … count − 1, of β rising evenly from 1e-4 to 0.02, float64."""
    return torch.cumprod(1 - torch.linspace(1e-4, 0.02, count, dtype=torch.float64), 0)


def ddpm(steps: int = TRAINED) -> list[float]:
    """Levels σ of `steps` evenly spaced DDPM steps, falling, then 0 (respacing: Nichol & Dhariwal, ICML 2021, §4)."""
    if not 1 <= steps <= TRAINED:
        raise InputError(f"expected 1 to {TRAINED} steps, got {steps}")
    kept = torch.linspace(0, TRAINED - 1, steps, dtype=torch.float64).round().long() if steps > 1 else [TRAINED - 1]
    return [sigma_of(float(a)) for a in linear_alpha_bars()[kept].flip(0)] + [0.0]


def geometric(steps: int, start: float, end: float) -> list[float]:
    """`steps` levels in equal ratios from `start` to `end`, then 0: the spacing of DPIR."""
    if steps < 1 or not 0 < end <= start:
        raise InputError(f"expected at least one step and 0 < end ≤ start, got {steps}, {start:g} to {end:g}")
    if steps == 1:
        return [start, 0.0]
    return [start * (end / start) ** (i / (steps - 1)) for i in range(steps)] + [0.0]


def karras(steps: int, start: float, end: float = SIGMA_END) -> list[float]:
    """`steps` levels from `start` to `end` in equal steps of their seventh root, then 0 (Karras et al., eq. 5)."""
    if steps == 1:
        return [start, 0.0]
    ramp = [i / (steps - 1) for i in range(steps)]
    first, last = start ** (1 / RHO), end ** (1 / RHO)
    return [(first + r * (last - first)) ** RHO for r in ramp] + [0.0]


def warm(levels: list[float], start: float) -> list[float]:
    """The levels below `start`, entered at `start` itself; all of them if `start` is above the first."""
    return levels if start >= levels[0] else [start] + [level for level in levels if level < start]


def ancestral_share(sigma: float, after: float) -> float:
    """1 − after²/sigma²: how far the mean of q(x_after | x_sigma, x₀) has moved from x_sigma to x₀.

    The rest of DDPM's step (Ho et al., eq. 7, in σ) follows from it: deviation after · √share, so that
    x_after = x₀ + after · (√(1−share) n̂ + √share n), n̂ = (x_sigma − x₀)/sigma.
    """
    return 1 - (after / sigma) ** 2
