"""Low light and exposure stacks: y_k = f_k · x + M_k with unknown gains f and light maps M (Fei et al., CVPR 2023).

Pixels here are in [0, 1] between the doors. With x known the gains and maps are a least-squares fit, so they are
solved for after every denoising step instead of followed by gradient: M is what a wide blur of y − f·x leaves
(its total variation is small by construction), f the ratio of what remains.
"""

from __future__ import annotations

from copy import copy

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.pipelines.restoration.tiles import Box, reduced

LIMIT = 0.1  # |M| of an exposure of a stack at most: a map that may be anything explains any photo away
SHARE = 8  # reach of a light map's averages, 1/SHARE of the longer side
NEAR = 64  # the same of a single exposure's, which takes over its local contrast
EDGE = 0.02  # contrast that a single exposure's light map follows
SATURATED = 1e-3  # trust of a pixel at 0 or 1 in a stack, 1 = of mid grey


class Lighting:
    """K exposures stacked over channels: (1, 3, H, W) → (1, 3K, H, W), in [-1, 1].

    gains (K,) and light (K, 3, H, W) are `fit`ted; `target` is the mean brightness x is wanted to have. Of a
    single exposure the gain is that of its shadows: its light map holds what bright parts have beyond it.
    """

    def __init__(self, y: Tensor, target: float) -> None:
        shots = (y.unflatten(1, (-1, 3))[0] + 1) / 2
        self.single = len(shots) == 1
        if self.single:
            gain = _gain(shots, target)
            self.gains = shots.new_tensor([gain])
            self.light = _guided(shots - gain * _lifted(shots, gain), shots)
            self.trust = torch.ones_like(shots[:, :1])
        else:
            self.gains = (shots.mean((1, 2, 3)) / target).clamp(min=0.02)
            self.light = torch.zeros_like(shots)
            # Mid greys tell most of x, clipped pixels nothing (Debevec & Malik, SIGGRAPH 1997, eq. 4).
            self.trust = (1 - (2 * shots - 1).abs()).amin(1, keepdim=True).clamp(min=SATURATED)

    unit = 1

    @property
    def norm(self) -> float:
        return float((self.gains**2).sum())

    def cut(self, box: Box) -> Lighting:
        return self._with(self.light[box], self.trust[box])

    def measured(self, box: Box) -> Box:
        return box

    def reduced(self, y: Tensor, scale: float) -> tuple[Lighting, Tensor]:
        return self._with(reduced(self.light, scale), reduced(self.trust, scale)), reduced(y, scale)

    def _with(self, light: Tensor, trust: Tensor) -> Lighting:
        other = copy(self)
        other.light, other.trust = light, trust
        return other

    def forward(self, x: Tensor) -> Tensor:
        shots = self.gains[:, None, None, None] * (x[:, None] + 1) / 2 + self.light
        return (shots * 2 - 1).flatten(1, 2)

    def start(self, y: Tensor) -> Tensor:
        """The trusted mean of the exposures, each brought back by its gain."""
        return self.data_step(torch.zeros_like(y[:, :3]), y, 1e6, 1e-3)

    def data_step(self, z: Tensor, y: Tensor, prior_var: float, noise_var: Tensor | float) -> Tensor:
        """Every pixel on its own: the model is diagonal."""
        shots, gains = (y.unflatten(1, (-1, 3)) + 1) / 2, self.gains[:, None, None, None]
        weight = gains * self.trust / noise_var
        top = (weight * (shots - self.light)).sum(1) + (z + 1) / 2 / prior_var
        return 2 * top / ((weight * gains).sum(0) + 1 / prior_var) - 1

    def fit(self, x: Tensor, y: Tensor) -> None:
        shots, clean = (y.unflatten(1, (-1, 3))[0] + 1) / 2, (x + 1) / 2
        rest = shots - self.gains[:, None, None, None] * clean
        if self.single:  # the gain stays: brightness is its map's to explain or its own, and it came first
            self.light = _guided(rest, shots)
            return
        self.light = _smooth(rest).clamp(-LIMIT, LIMIT)
        seen = self.trust * clean
        fitted = (seen * (shots - self.light)).sum((1, 2, 3)) / (seen * clean).sum((1, 2, 3)).clamp(min=1e-6)
        self.gains = fitted.clamp(0.02, 50.0)


def _lifted(image: Tensor, gain: float) -> Tensor:
    """A tone curve of slope 1/gain in the shadows that ends in white."""
    return 1 - (1 - image).clamp(min=0) ** (1 / gain)


def _gain(image: Tensor, target: float) -> float:
    """The gain in [0.15, 1] whose curve brings the mean to `target`, by bisection."""
    low, high = 0.15, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if float(_lifted(image, middle).mean()) > target else (low, middle)
    return (low + high) / 2


def _guided(image: Tensor, guide: Tensor) -> Tensor:
    """Guided filter (He et al., ECCV 2010, eq. 5 to 8) of each channel: smooth, but stepping where the guide steps."""
    reach = max(1, max(image.shape[-2:]) // NEAR)

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2 * reach + 1, 1, reach, count_include_pad=False)

    mean_g, mean_i = mean(guide), mean(image)
    slope = (mean(guide * image) - mean_g * mean_i) / ((mean(guide**2) - mean_g**2).clamp(min=0) + EDGE**2)
    return mean(slope) * guide + mean(mean_i - slope * mean_g)


def _smooth(image: Tensor) -> Tensor:
    """A wide blur: area means of a coarse grid, enlarged bicubically."""
    height, width = image.shape[-2:]
    cell = max(1, max(height, width) // SHARE)
    small = F.adaptive_avg_pool2d(image, (max(1, height // cell), max(1, width // cell)))
    return F.interpolate(small, size=(height, width), mode="bicubic", align_corners=False)
