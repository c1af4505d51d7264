"""Distances between a fill and the known truth, measured inside the hole."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.backbone import Lite0
from restore.errors import InputError

TAPS = (0, 2, 4, 10)  # blocks of Lite0 at strides 2, 4, 8 and 16


def psnr(image: Tensor, truth: Tensor, mask: Tensor, peak: float = 1.0) -> Tensor:
    """10·log₁₀(peak² / MSE) in dB over the pixels where mask > 0.5, one number per image (N,).

    image, truth: (N, C, H, W) in [0, peak]; mask: (N, 1, H, W). Identical pixels give inf.
    Raises InputError when the shapes differ or a mask is empty.
    """
    _check(image, truth, mask)
    region = (mask > 0.5).to(torch.float64)
    area = region.sum((1, 2, 3))
    if bool((area == 0).any()):
        raise InputError("expected a mask with a pixel > 0.5, got an empty one; there is nothing to measure")
    squared = (image.double() - truth.double()).square().mean(1, keepdim=True)
    mse = (squared * region).sum((1, 2, 3)) / area
    return 10 * torch.log10(peak**2 / mse)


def feature_distance(lite0: Lite0, image: Tensor, truth: Tensor, mask: Tensor, taps: tuple[int, ...] = TAPS) -> Tensor:
    """Mean over taps of ‖f̂(image) − f̂(truth)‖² per cell, over the cells that touch the hole. A scalar.

    f̂ are Lite0 features scaled to unit length over channels (as in LPIPS, Zhang et al., CVPR 2018, eq. 1,
    without learned weights): 0 = same, 2 = unrelated, 4 = opposite at every cell.
    image, truth: (N, 3, H, W) RGB in [0, 1], the fill pasted into the photo; mask: (N, 1, H, W), 1 = hole,
    soft values weigh the cells. Differentiable in `image`. The cells of a batch count alike, so a large
    hole weighs more; call it once per photo for per-photo numbers. An empty mask gives 0.
    Raises InputError when the shapes differ.
    """
    _check(image, truth, mask)
    with torch.no_grad():
        targets = lite0.features(truth, taps)
    total = image.new_zeros((), dtype=torch.float32)
    for x, y in zip(lite0.features(image, taps), targets, strict=True):
        cells = F.adaptive_max_pool2d(mask, x.shape[-2:])
        squared = (_unit(x) - _unit(y)).square().sum(1, keepdim=True)
        total = total + (squared * cells).sum() / cells.sum().clamp(min=1)
    return total / len(taps)


def _unit(features: Tensor) -> Tensor:
    """Channel vectors of unit length; the 1e-4 keeps a dead cell's gradient finite."""
    features = features.float()
    return features * torch.rsqrt(features.square().sum(1, keepdim=True) + 1e-4)


def _check(image: Tensor, truth: Tensor, mask: Tensor) -> None:
    expected = (len(image), 1, *image.shape[-2:])
    if image.ndim != 4 or image.shape != truth.shape or tuple(mask.shape) != expected:
        got = f"{tuple(image.shape)}, {tuple(truth.shape)} and {tuple(mask.shape)}"
        raise InputError(f"expected image and truth (N, C, H, W) and mask (N, 1, H, W), got {got}")
