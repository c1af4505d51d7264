"""Plug-and-play restoration by half-quadratic splitting: denoise, then solve for the data exactly.

DPIR (Zhang et al., TPAMI 2021) alternates a denoiser with the data step of `degradations` at falling noise
levels: `guidance.sample` with this correction at temperature 0. DiffPIR (Zhu et al., CVPRW 2023) puts noise back
between them and so samples: at temperature 1. The correction is the limit of infinitely many gradient steps of
GDP-x₀: see the docstring there.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from restore.pipelines.diffusion.denoiser import posterior_variance
from restore.pipelines.restoration.guidance import DEVIATION, Measurement, gradient
from restore.pipelines.restoration.terms import QualityTerms
from restore.pipelines.restoration.tiles import SIDE, Box, blended


@dataclass(frozen=True)
class HalfQuadratic:
    """The data step as a correction. `strength` multiplies the weight of the measurement, 1 is the posterior."""

    measurement: Measurement
    strength: float = 1.0
    deviation: float = DEVIATION
    quality: QualityTerms | None = None
    window: int = SIDE

    def __call__(self, x: Tensor, clean: Tensor, sigma: float) -> Tensor:
        m, variance = self.measurement, posterior_variance(sigma, self.deviation)
        if self.quality is not None:
            clean = clean - variance * gradient(self.quality, clean)

        def solved(box: Box) -> Tensor:
            part = m.cut(box)
            return part.operator.data_step(clean[box], part.y, variance, part.noise_var / self.strength)

        return blended(clean, solved, self.window, unit=m.operator.unit)
