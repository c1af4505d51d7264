"""Measures of one photo that need no network: sharpness, noise, exposure, colour cast.

All take RGB (H, W, 3) uint8 and give numbers in the units their docstrings name.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from restore.errors import InputError

RGB = NDArray[np.uint8]
CLIPPED = 2  # levels of 255 from black or white that count as clipped
BLUR = 11  # taps of the box that re-blurs (Crété et al., 2007)


def sharpness(image: RGB) -> float:
    """1 − Crété's blur measure (Crété et al., SPIE 2007): near 0 = blurred, up to 1 = sharp.

    The share of neighbouring-pixel variation that one more strong blur destroys, the lesser of rows and columns.
    A flat picture has nothing to blur: 0. Raises InputError for sides under 4 pixels.
    """
    luma = _luma(image)
    shares = []
    for axis in (0, 1):
        size = (1, BLUR) if axis == 0 else (BLUR, 1)
        blurred = cv2.blur(luma, size, borderType=cv2.BORDER_REFLECT)
        before, after = (np.abs(_sobel(x, axis))[2:-1, 2:-1] for x in (luma, np.asarray(blurred, np.float64)))
        total = float(before.sum())
        shares.append(float(np.maximum(0, before - after).sum()) / total if total > 0 else 0.0)
    return min(shares)


def noise(image: RGB) -> float:
    """Standard deviation of the noise in levels of 255 (Immerkær, CVIU 1996), by the median.

    His kernel removes structure up to second order; the median of its absolute response, instead of
    his mean, keeps edges out. Dense texture still counts as noise. Raises InputError for sides under 4 pixels.
    """
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float64)
    response = cv2.filter2D(_luma(image), cv2.CV_64F, kernel)[1:-1, 1:-1]
    return float(np.median(np.abs(response)) / 0.6744897501960817 / 6)  # the normal's quartile; ‖kernel‖ = 6


@dataclass(frozen=True)
class Exposure:
    """mean: luma in [0, 1]; dark, bright: shares of pixels whose luma is clipped at either end."""

    mean: float
    dark: float
    bright: float


def exposure(image: RGB) -> Exposure:
    """How bright the photo is and how much of it is lost in black or white."""
    luma = _luma(image)
    return Exposure(float(luma.mean() / 255), float((luma <= CLIPPED).mean()), float((luma >= 255 - CLIPPED).mean()))


def colour_cast(image: RGB) -> float:
    """Distance of the mean colour from grey in the a*b* plane of CIELAB (sRGB, D65): 0 = neutral.

    Gasparini & Schettini (2004) call it μ. A forest has a green cast by this measure too.
    """
    _check(image)
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return float(np.hypot(*lab[..., 1:].reshape(-1, 2).mean(0, dtype=np.float64)))


def _sobel(x: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    dx, dy = (0, 1) if axis == 0 else (1, 0)
    return np.asarray(cv2.Sobel(x, cv2.CV_64F, dx, dy, ksize=3, borderType=cv2.BORDER_REFLECT))


def _luma(image: RGB) -> NDArray[np.float64]:
    """BT.709 weights, 0 to 255, not rounded."""
    _check(image)
    if min(image.shape[:2]) < 4:
        raise InputError(f"expected a photo of at least 4×4 pixels, got {image.shape[1]}×{image.shape[0]}")
    return np.asarray(image @ np.array([0.2125, 0.7154, 0.0721]))


def _check(image: RGB) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise InputError(f"expected an RGB image (H, W, 3) of uint8, got {image.shape}, {image.dtype}")
