"""Distances between a picture and its known truth: over all of it, inside a hole, or outside.

Pure functions of tensors. `data_range` is the distance from black to white: 1.0 for floats, 255 for bytes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.errors import InputError
from restore.features.lite0 import Lite0, unit

TAPS = (0, 2, 4, 10)  # blocks of Lite0 at strides 2, 4, 8 and 16
SSIM_SIDE = 11  # Gaussian window of SSIM, σ = 1.5 (Wang et al., 2004)
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # exponents β of MS-SSIM (Wang et al., 2003, §3.2)
MS_SSIM_SIDE = SSIM_SIDE * 2 ** (len(SCALES) - 1)  # 176: shorter sides hold no window at the last scale


def psnr(image: Tensor, truth: Tensor, mask: Tensor | None = None, *, data_range: float = 1.0) -> Tensor:
    """10·log₁₀(data_range² / MSE) in dB over the pixels where mask > 0.5, one number per image (N,).

    image, truth: (N, C, H, W) in [0, data_range]; mask: (N, 1, H, W), None = everywhere. Identical pixels give inf.
    Raises InputError when the shapes differ or a mask is empty.
    """
    region = _region(image, truth, mask)
    squared = (image.double() - truth.double()).square().mean(1, keepdim=True)
    mse = (squared * region).sum((1, 2, 3)) / region.sum((1, 2, 3))
    return 10 * torch.log10(data_range**2 / mse)


def ssim(image: Tensor, truth: Tensor, mask: Tensor | None = None, *, data_range: float = 1.0) -> Tensor:
    """Structural similarity (Wang et al., 2004, eq. 13), mean over channels and windows, one per image (N,).

    Windows are 11×11 Gaussians that lie wholly inside the picture; with a mask (N, 1, H, W) those count whose
    centre is masked. 1 = same. Raises InputError when shapes differ, a side is under 11, or no window is masked.
    """
    region = _region(image, truth, mask)
    similarity = ssim_map(image, truth, data_range=data_range)
    edge = SSIM_SIDE // 2
    inner = region[..., edge:-edge, edge:-edge]
    area = inner.sum((1, 2, 3))
    if bool((area == 0).any()):
        raise InputError(f"expected a mask at least {edge} pixels off the picture's edge, got one within; use PSNR")
    return (similarity * inner).sum((1, 2, 3)) / area


def ssim_map(image: Tensor, truth: Tensor, *, data_range: float = 1.0) -> Tensor:
    """SSIM of every window, mean over channels, at its centre: (N, 1, H − 10, W − 10) float64."""
    similarity, _ = _ssim_maps(image.double(), truth.double(), data_range)
    return similarity.mean(1, keepdim=True)


def ms_ssim(image: Tensor, truth: Tensor, *, data_range: float = 1.0) -> Tensor:
    """Multi-scale structural similarity (Wang et al., 2003, eq. 7), one per image (N,); 1 = same.

    Five scales, each half the last by 2×2 means; negative terms count as 0.
    Raises InputError when shapes differ or a side is under 176 pixels.
    """
    _region(image, truth, None)
    if min(image.shape[-2:]) < MS_SSIM_SIDE:
        raise InputError(f"MS-SSIM: expected sides of at least {MS_SSIM_SIDE} pixels, got {tuple(image.shape[-2:])}")
    x, y = image.double(), truth.double()
    product = torch.ones(len(x), dtype=torch.float64, device=x.device)
    for i, exponent in enumerate(SCALES):
        similarity, contrast = _ssim_maps(x, y, data_range)
        last = i == len(SCALES) - 1
        product = product * (similarity if last else contrast).mean((1, 2, 3)).clamp(min=0) ** exponent
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return product


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
        squared = (unit(x) - unit(y)).square().sum(1, keepdim=True)
        total = total + (squared * cells).sum() / cells.sum().clamp(min=1)
    return total / len(taps)


def lpips(net: Callable[[Tensor, Tensor], Tensor], image: Tensor, truth: Tensor, *, data_range: float = 1.0) -> Tensor:
    """LPIPS (Zhang et al., CVPR 2018), one per image (N,), by a network of the `lpips` package's interface.

    `net` takes RGB in [−1, 1] and gives (N, 1, 1, 1). Raises InputError when the shapes differ.
    """
    _region(image, truth, None)
    return net(2 * image / data_range - 1, 2 * truth / data_range - 1).flatten()


def _ssim_maps(x: Tensor, y: Tensor, data_range: float) -> tuple[Tensor, Tensor]:
    """(SSIM, its contrast–structure term) at every window wholly inside: (N, C, H−10, W−10)."""
    if min(x.shape[-2:]) < SSIM_SIDE:
        raise InputError(f"SSIM: expected sides of at least {SSIM_SIDE} pixels, got {tuple(x.shape[-2:])}")
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    moments = _blur(torch.stack([x, y, x * x, y * y, x * y]))
    mx, my, xx, yy, xy = moments.unbind()
    contrast = (2 * (xy - mx * my) + c2) / (xx - mx * mx + yy - my * my + c2)
    return (2 * mx * my + c1) / (mx * mx + my * my + c1) * contrast, contrast


def _blur(x: Tensor) -> Tensor:
    """The Gaussian along both last axes, windows wholly inside. Sums of shifts: float64 convolutions are slow."""
    offsets = torch.arange(SSIM_SIDE, dtype=torch.float64) - SSIM_SIDE // 2
    weights = torch.exp(-(offsets**2) / (2 * 1.5**2))
    for axis in (-2, -1):
        length = x.shape[axis] - SSIM_SIDE + 1
        total = torch.zeros_like(x.narrow(axis, 0, length))
        for i, weight in enumerate((weights / weights.sum()).tolist()):
            total.add_(x.narrow(axis, i, length), alpha=weight)
        x = total
    return x


def _region(image: Tensor, truth: Tensor, mask: Tensor | None) -> Tensor:
    """The mask as 0 and 1 in float64, checked; ones for None."""
    if mask is None:
        mask = torch.ones(len(image), 1, *image.shape[-2:], device=image.device)
    _check(image, truth, mask)
    region = (mask > 0.5).to(torch.float64)
    if bool((region.sum((1, 2, 3)) == 0).any()):
        raise InputError("expected a mask with a pixel > 0.5, got an empty one; there is nothing to measure")
    return region


def _check(image: Tensor, truth: Tensor, mask: Tensor) -> None:
    expected = (len(image), 1, *image.shape[-2:])
    if image.ndim != 4 or image.shape != truth.shape or tuple(mask.shape) != expected:
        got = f"{tuple(image.shape)}, {tuple(truth.shape)} and {tuple(mask.shape)}"
        raise InputError(f"expected image and truth (N, C, H, W) and mask (N, 1, H, W), got {got}")
