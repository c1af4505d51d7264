"""GDP: guide an unconditional diffusion model by the gradient of a degradation's error (Fei et al., CVPR 2023).

Where the scale comes from. At level σ the model says x₀ ~ N(x̃₀, r² I), r² = `posterior_variance(σ)`, and the
measurement says y = A x₀ + n, n of variance s². Their joint mean minimises

    E(x) = ‖A x − y‖² / 2s² + ‖x − x̃₀‖² / 2r²                                                          (1)

whose curvature is at most c/s² + 1/r² with c = ‖A‖². One gradient step of one over that from x̃₀ is

    x̃₀ − r²/(c r² + s²) · ∇ ½‖A x − y‖²                                                                (2)

GDP's guidance with its scale worked out: exact when A Aᵀ = c I (mask, grey, area downsampling), and more steps
of the same size converge to the minimum of (1) for every A. Errors are *summed* over pixels, so a pixel's
gradient does not depend on how many others there are: image size drops out. The shift enters x_{t−1} through
x̃₀, that is times 1 − σ²_{t−1}/σ²_t, which adds up to the same whole over any number of steps: step count drops
out. (The paper's s = 2000 … 80000 multiplies a *mean* over 3·256² values and is added in full at each of 1000 steps.)
`strength` multiplies the error's weight 1/s² in (1); 1 is the posterior.

GDP-x_t takes the gradient at the noisy x instead. There y − A x has variance s² + c σ² and the same argument gives
a shift of σ²/(c σ² + s²) · ∇ ½‖A x − y‖²; kept for comparison: it forgets that the model knows more than x.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.pipelines.diffusion.denoiser import Denoiser, levels, posterior_variance
from restore.pipelines.diffusion.loop import ancestral, descend
from restore.pipelines.restoration.degradations import Operator
from restore.pipelines.restoration.terms import QualityTerms
from restore.pipelines.restoration.tiles import SIDE, Box, blended

DEVIATION = 0.25  # of photos' pixels around what their surroundings tell, [-1, 1]: r of an unbounded σ
OVERVIEW_ERROR = 0.05  # rms error of a small restored picture, [-1, 1]
QUANTISATION = (2 / 255) ** 2 / 12  # variance of rounding to 8 bits: no measurement is better known


@dataclass(frozen=True)
class Measurement:
    """y = operator(x) + noise; y (N, C, h, w) in [-1, 1]; noise_var: a number, or a map like y."""

    operator: Operator
    y: Tensor
    noise_var: Tensor | float = QUANTISATION

    def cut(self, box: Box) -> Measurement:
        """What is measured of the window `box` of x."""
        there = self.operator.measured(box)
        noise = self.noise_var if isinstance(self.noise_var, float) else self.noise_var[there]
        return Measurement(self.operator.cut(box), self.y[there], noise)

    def to(self, device: torch.device) -> Measurement:
        """What was measured, and how well, on a device."""
        noise = self.noise_var if isinstance(self.noise_var, float) else self.noise_var.to(device)
        return Measurement(self.operator, self.y.to(device), noise)

    def reduced(self, scale: float) -> Measurement:
        """The measurement of x at `scale` < 1 of its size; means of areas have less noise."""
        operator, y = self.operator.reduced(self.y, scale)
        noise = self.noise_var if isinstance(self.noise_var, float) else float(self.noise_var.mean())
        return Measurement(operator, y, max(QUANTISATION, noise * scale**2))

    def error(self, x: Tensor) -> float:
        """rms of A x − y, [-1, 1]."""
        return float((self.operator.forward(x.clamp(-1, 1)) - self.y).square().mean().sqrt())


class Correction(Protocol):
    """Brings the model's estimate into agreement with the measurement."""

    def __call__(self, x: Tensor, clean: Tensor, sigma: float) -> Tensor:
        """x (N, C, H, W) at level sigma, the model's `clean` estimate of it. Returns the corrected estimate."""
        ...


@dataclass(frozen=True)
class GradientGuidance:
    """GDP-x₀, or GDP-x_t with `at_noisy`; `steps` gradient steps per denoising step; quality terms besides."""

    measurement: Measurement
    strength: float = 1.0
    steps: int = 1
    at_noisy: bool = False
    deviation: float = DEVIATION
    quality: QualityTerms | None = None
    window: int = SIDE

    def __call__(self, x: Tensor, clean: Tensor, sigma: float) -> Tensor:
        variance = sigma**2 if self.at_noisy else posterior_variance(sigma, self.deviation)
        if self.quality is not None:
            clean = clean - variance * gradient(self.quality, clean)
        m, anchor = self.measurement, x if self.at_noisy else clean
        return clean + blended(
            x, lambda box: self._shift(m.cut(box), anchor[box], variance), self.window, unit=m.operator.unit
        )

    def _shift(self, m: Measurement, anchor: Tensor, variance: float) -> Tensor:
        """How far gradient descent on (1) moves away from `anchor`."""
        least = m.noise_var if isinstance(m.noise_var, float) else float(m.noise_var.min())
        noise = least / self.strength
        weight = 1.0 if isinstance(m.noise_var, float) else least / m.noise_var

        def error(x: Tensor) -> Tensor:
            return 0.5 * (weight * (m.operator.forward(x) - m.y) ** 2).sum()

        moved, size = anchor, variance / (m.operator.norm * variance + noise)
        for _ in range(self.steps):
            moved = moved - size * (gradient(error, moved) + noise / variance * (moved - anchor))
        return moved - anchor


@dataclass(frozen=True)
class Persuasion:
    """Quality terms alone, for pictures that need no other correction."""

    quality: QualityTerms
    deviation: float

    def __call__(self, x: Tensor, clean: Tensor, sigma: float) -> Tensor:
        return clean - posterior_variance(sigma, self.deviation) * gradient(self.quality, clean)


@dataclass(frozen=True)
class Overview:
    """`inner`, shown the whole photo first: `small` (N, C, h, w), restored at a size that one window holds.

    Hierarchical guidance (GDP, section 3.4): what a window cannot see, the low frequencies, is drawn to the small
    picture's, by as much as the model's own estimate is the less certain of the two. The measurement comes after.
    """

    inner: Correction
    small: Tensor
    deviation: float

    def __call__(self, x: Tensor, clean: Tensor, sigma: float) -> Tensor:
        variance = posterior_variance(sigma, self.deviation)
        height, width = self.small.shape[-2:]
        apart = self.small - F.adaptive_avg_pool2d(clean, (height, width))
        far = F.interpolate(apart, size=clean.shape[-2:], mode="bicubic", align_corners=False)
        return self.inner(x, clean + variance / (variance + OVERVIEW_ERROR**2) * far, sigma)


def gradient(loss: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """∇ loss at x; images of a batch are independent because losses are sums."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return torch.autograd.grad(loss(x), x)[0]


@torch.no_grad()
def sample(
    denoiser: Denoiser,
    correct: Correction | None,
    x: Tensor,
    sigmas: list[float],
    generator: torch.Generator,
    *,
    temperature: float = 1.0,
    on_step: Callable[[int], None] | None = None,
) -> Tensor:
    """Denoise from x (N, C, H, W), a picture at level sigmas[0], through falling levels that end in 0.

    `generator` draws noise for the batch as a whole: give one image per call where every image is to have its own
    seed. temperature: see `ancestral`.
    """

    def estimate(x: Tensor, sigma: float) -> Tensor:
        clean = denoiser.denoise(x, levels(sigma, x))
        return clean if correct is None else correct(x, clean, sigma)

    def step(x: Tensor, clean: Tensor, sigma: float, after: float) -> Tensor:
        return ancestral(x, clean, sigma, after, generator, temperature)

    return descend(x, sigmas, estimate, step, on_step)
