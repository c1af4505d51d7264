"""What the restorer learns to undo: damages of crops by the operators that restoration knows, and a camera's noise."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from restore.pipelines.networks import restorer
from restore.pipelines.networks.restorer import Cause
from restore.pipelines.restoration.degradations import Blur, Downsample
from restore.pipelines.restoration.jpeg import Jpeg
from restore.pipelines.restoration.kernels import gaussian_kernel

CAMERA = (2 / 127.5, 26 / 127.5)  # deviations of a camera's noise, [-1, 1]
LEAST_BLURRED = 0.5 / 127.5  # noise on top of a blur, from
DARK = 0.06  # light, [0, 1], below which cameras crush noise


def rounded(x: Tensor) -> Tensor:
    """To 8 bits."""
    return ((x + 1) * 127.5).round().clamp(0, 255) / 127.5 - 1


def noisy(clean: Tensor, rng: np.random.Generator) -> tuple[Tensor, Cause]:
    """White noise. Here and below clean (1, 3, H, W) in [-1, 1]; returns the damaged picture, and the cause."""
    level = _log_uniform(rng, *restorer.NOISES)
    return rounded(clean + level * _normal(clean, rng)), restorer.noise(level)


def reduced(clean: Tensor, factor: int) -> tuple[Tensor, Cause]:
    """Bicubic reduction, enlarged bicubically; sides divisible by the factor."""
    operator = Downsample(factor)
    return operator.start(rounded(operator.forward(clean))), restorer.reduction(factor)


def blurred(clean: Tensor, rng: np.random.Generator) -> tuple[Tensor, Cause]:
    """A Gaussian and a little white noise."""
    width, level = rng.uniform(*restorer.WIDTHS), _log_uniform(rng, LEAST_BLURRED, restorer.BLURRED_NOISE)
    y = Blur(gaussian_kernel(width)).forward(clean)
    return rounded(y + level * _normal(y, rng)), restorer.blur(width, level)


def compressed(clean: Tensor, rng: np.random.Generator) -> tuple[Tensor, Cause]:
    """JPEG of quality 5 to 95, low ones most often, chroma halved in seven of ten."""
    operator = Jpeg.of_quality(round(5 + 90 * rng.random() ** 2), rng.random() < 0.7)
    luminance, chrominance = operator.tables[:2]
    cause = restorer.jpeg(luminance, chrominance, operator.halved, operator.deviation)
    return rounded(operator.forward(clean)), cause


def photographed(clean: Tensor, rng: np.random.Generator) -> tuple[Tensor, Cause]:
    """A camera's noise: stronger or weaker with light, grain smoothed, partly common to the channels, chroma in
    blotches, every other time compressed."""

    def grain(channels: int, width: float) -> Tensor:
        field = Blur(gaussian_kernel(width)).forward(_normal(clean[:, :channels], rng))
        return field / field.std().clamp(min=1e-6)

    light = (clean.mean(1, keepdim=True) + 1) / 2
    gain = (1 + rng.uniform(-0.8, 0.8) * (2 * light - 1)) * (1 - torch.exp(-light / DARK))
    blotches = grain(3, rng.uniform(0.8, 3.0))
    own = grain(3, rng.uniform(0.15, 1.4)) * torch.from_numpy(rng.uniform(0.7, 1.3, (1, 3, 1, 1))).float()
    field = rng.uniform(0.2, 1) * grain(1, rng.uniform(0.15, 1.1)) + rng.uniform(0.1, 1) * own
    field = field + rng.uniform(0, 0.6) * (blotches - blotches.mean(1, keepdim=True))
    y = rounded(clean + _log_uniform(rng, *CAMERA) * gain.clamp(min=0.05) * field / field.std())
    if rng.random() < 0.5:
        y = rounded(Jpeg.of_quality(int(rng.integers(70, 99)), rng.random() < 0.5).forward(y))
    return y, restorer.camera()


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _normal(like: Tensor, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.standard_normal(tuple(like.shape), np.float32))
