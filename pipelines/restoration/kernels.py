"""Blur kernels: Gaussian, defocus, motion; and the width of a blur from the picture alone."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.errors import InputError

FALLOFF = 2.2  # exponent of photos' power spectra


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


def gaussian_width(y: Tensor, noise_var: float) -> float | None:
    """Width in pixels of the Gaussian blur of a photo (N, C, H, W), at least 0.3; None if it is too small to tell.

    Photos have power f^−FALLOFF at frequency f (Field, JOSA A 1987); a Gaussian multiplies it by exp(−w²(2πf)²).
    So log power + FALLOFF · log f is a line over (2πf)² of slope −w², fitted where it stands above the noise.
    """
    grey = y.mean(1, keepdim=True)
    height, width = grey.shape[-2:]
    taper = torch.hann_window(height, device=y.device)[:, None] * torch.hann_window(width, device=y.device)
    spectrum = torch.fft.rfft2((grey - grey.mean((2, 3), keepdim=True)) * taper)
    power = spectrum.abs().square().mean((0, 1)) / taper.square().sum()
    down, across = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None]
    radius = torch.sqrt(down**2 + across**2).to(y)
    edges = torch.exp(torch.linspace(math.log(0.02), math.log(0.5), 30))
    rows = []
    for low, high in pairwise(edges.tolist()):
        ring = (radius >= low) & (radius < high)
        if int(ring.sum()) < 4:
            continue
        level = float(power[ring].mean()) - noise_var
        if level < 4 * noise_var:
            break
        rows.append((float(radius[ring].mean()), level))
    if len(rows) < 4:
        return None
    f, levels = torch.tensor(rows, dtype=torch.float64).unbind(1)
    design = torch.stack([torch.ones_like(f), -((2 * math.pi * f) ** 2)], 1) * f.sqrt()[:, None]
    line = torch.linalg.lstsq(design, ((levels.log() + FALLOFF * f.log()) * f.sqrt())[:, None]).solution
    return max(0.3, math.sqrt(max(0.0, float(line[1]))))


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
