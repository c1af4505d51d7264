"""Blur kernels: Gaussian, defocus, motion."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.errors import InputError


def gaussian_kernel(width: Tensor | float) -> Tensor:
    """Gaussian of standard deviation `width` pixels (> 0), cut at four of them; differentiable in `width`."""
    sigma = torch.as_tensor(width, dtype=torch.float32)
    if not float(sigma) > 0:
        raise InputError(f"expected a blur width above 0 pixels, got {float(sigma)}")
    reach = max(1, math.ceil(4 * float(sigma)))
    t = torch.arange(-reach, reach + 1, dtype=torch.float32, device=sigma.device)
    row = torch.exp(-0.5 * (t / sigma) ** 2)
    row = row / row.sum()
    return row[:, None] * row[None]


def disk_kernel(radius: float) -> Tensor:
    """Defocus: a disk of `radius` pixels (> 0), its edge antialiased by 8×8 points a pixel."""
    if not radius > 0:
        raise InputError(f"expected a disk radius above 0 pixels, got {radius}")
    reach = math.ceil(radius)
    fine = (torch.arange((2 * reach + 1) * 8, dtype=torch.float32) + 0.5) / 8 - reach - 0.5
    inside = (fine[:, None] ** 2 + fine[None] ** 2 <= radius**2).float()
    kernel = F.avg_pool2d(inside[None, None], 8)[0, 0]
    return kernel / kernel.sum()


def motion_kernel(length: float, angle: float) -> Tensor:
    """Straight motion of `length` pixels (≥ 1) at `angle` degrees, counter-clockwise from the x axis."""
    if not length >= 1:
        raise InputError(f"expected a motion of at least 1 pixel, got {length}")
    reach = math.ceil(length / 2)
    kernel = torch.zeros(2 * reach + 1, 2 * reach + 1)
    points = max(2, math.ceil(length * 8))
    along = ((torch.arange(points) + 0.5) / points - 0.5) * length
    x = along * math.cos(math.radians(angle)) + reach
    y = -along * math.sin(math.radians(angle)) + reach
    for px, py in zip(x.tolist(), y.tolist(), strict=True):  # bilinear splat
        x0, y0 = min(math.floor(px), 2 * reach - 1), min(math.floor(py), 2 * reach - 1)
        fx, fy = px - x0, py - y0
        kernel[y0, x0] += (1 - fx) * (1 - fy)
        kernel[y0, x0 + 1] += fx * (1 - fy)
        kernel[y0 + 1, x0] += (1 - fx) * fy
        kernel[y0 + 1, x0 + 1] += fx * fy
    return kernel / kernel.sum()
