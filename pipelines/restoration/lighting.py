"""Low light: y = f · x + M with unknown gain f and light map M (Fei et al., CVPR 2023), both decided by region.

Pixels here are in [0, 1] between the doors. f is the light that fell on each region, M what bright details have beyond
it: x is then a tone curve of y, a steeper one where it is darker, and what remains to be found is x without the noise
that this amplifies.
"""

from __future__ import annotations

from copy import copy

import torch.nn.functional as F
from torch import Tensor

from restore.pipelines.restoration.tiles import Box, reduced

NEAR = 24  # reach of a region's averages, 1/NEAR of the longer side
EDGE = 0.1  # contrast at which regions end
LEAST_GAIN, LEAST_POWER = 0.15, 0.3
ENOUGH = 0.95  # share of the brightness wanted at which it is light enough


class Lighting:
    """(1, 3, H, W) → the same as it was lit, in [-1, 1]. gain (1, 1, H, W), light (1, 3, H, W); `target` is the
    brightness that x is wanted to have."""

    unit = 1

    def __init__(self, y: Tensor, target: float) -> None:
        shot = (y + 1) / 2
        self.gain = _regional(shot, target)
        self.light = shot - self.gain * _lifted(shot, self.gain)

    @property
    def norm(self) -> float:
        return float((self.gain**2).mean())

    def cut(self, box: Box) -> Lighting:
        return self._with(self.gain[box], self.light[box])

    def measured(self, box: Box) -> Box:
        return box

    def reduced(self, y: Tensor, scale: float) -> tuple[Lighting, Tensor]:
        return self._with(reduced(self.gain, scale), reduced(self.light, scale)), reduced(y, scale)

    def _with(self, gain: Tensor, light: Tensor) -> Lighting:
        other = copy(self)
        other.gain, other.light = gain, light
        return other

    def forward(self, x: Tensor) -> Tensor:
        return (self.gain * (x + 1) / 2 + self.light) * 2 - 1

    def start(self, y: Tensor) -> Tensor:
        """The picture as the curves brighten it."""
        return ((y + 1) / 2 - self.light) / self.gain * 2 - 1

    def data_step(self, z: Tensor, y: Tensor, prior_var: float, noise_var: Tensor | float) -> Tensor:
        """Every pixel on its own: the model is diagonal."""
        weight = self.gain / noise_var
        top = weight * ((y + 1) / 2 - self.light) + (z + 1) / 2 / prior_var
        return 2 * top / (weight * self.gain + 1 / prior_var) - 1


def _lifted(image: Tensor, gain: Tensor) -> Tensor:
    """A tone curve of slope 1/gain in the shadows that ends in white: nothing clips that was not clipped."""
    return image / (gain + (1 - gain) * image)


def _regional(image: Tensor, target: float) -> Tensor:
    """Gain (1, 1, H, W) in [LEAST_GAIN, 1] of each region's curve, after its light: what is lit well keeps its own.

    The light T is the brightest channel (LIME: Guo et al., TIP 2017), smoothed up to the photo's edges. It becomes
    T^power, the power nearing 1 where T does, with the one that makes up to `target` of the mean region; what is
    brighter does not count, so that a bright sky leaves no one in the dark.
    """
    light = _guided(image.amax(1, keepdim=True), image.mean(1, keepdim=True)).clamp(0.01, 0.98)
    low, high = LEAST_POWER, 1.0
    for _ in range(12):
        power = (low + high) / 2
        wanted = light ** (power + (1 - power) * light)
        enough = float(wanted.clamp(max=target).mean()) > ENOUGH * target
        low, high = (power, high) if enough else (low, power)
    return (light * (1 - wanted) / (wanted * (1 - light))).clamp(LEAST_GAIN, 1)


def _guided(image: Tensor, guide: Tensor) -> Tensor:
    """Guided filter (He et al., ECCV 2010, eq. 5 to 8): smooth, but stepping where the guide steps."""
    reach = max(1, max(image.shape[-2:]) // NEAR)

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2 * reach + 1, 1, reach, count_include_pad=False)

    mean_g, mean_i = mean(guide), mean(image)
    slope = (mean(guide * image) - mean_g * mean_i) / ((mean(guide**2) - mean_g**2).clamp(min=0) + EDGE**2)
    return mean(slope) * guide + mean(mean_i - slope * mean_g)
