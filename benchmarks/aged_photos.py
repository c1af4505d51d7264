"""What age does to a photo, drawn apart from all that was trained on: grain, fading, scratches, creases, dust, hairs.

In the order in which it happens: grain lies in the emulsion, dyes fade, then the print is scratched, folded, dusty and
scanned. Marks are drawn at four times the photo's size from walks and noise; none of training/data is used.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

RGB = NDArray[np.uint8]
Array = NDArray[Any]
FINE = 4  # marks are drawn at this many times the photo's size
SEPIA = np.array([1.0, 0.87, 0.68], np.float32)


def aged(photo: RGB, rng: np.random.Generator) -> tuple[RGB, RGB]:
    """(clean, aged) of a photo (H, W, 3); a third of the clean ones is made grey or sepia first."""
    clean: Array = photo.astype(np.float32) / 255
    kind = rng.choice(["colour", "grey", "sepia"], p=[0.66, 0.2, 0.14])
    if kind != "colour":
        clean = cv2.cvtColor(clean, cv2.COLOR_RGB2GRAY)[..., None] * (SEPIA if kind == "sepia" else np.ones(3))
    clean = clean.astype(np.float32)
    old = faded(grained(clean, rng), rng, cast=kind == "colour")
    for draw in (scratches, creases, dust, hairs):
        old = draw(old, rng)
    return _bytes(clean), _scanned(old, int(rng.integers(85, 97)))


def grained(photo: Array, rng: np.random.Generator) -> Array:
    """Grain of 4 to 11 levels, mostly common to the channels, coarser than a pixel, strongest in mid greys."""
    size, level = rng.uniform(0.4, 0.9), rng.uniform(4, 11) / 255
    common, own = rng.standard_normal((*photo.shape[:2], 1)), rng.standard_normal(photo.shape)
    if np.ptp(photo, 2).max() < 1e-3:
        own = np.zeros_like(own)
    grain = cv2.GaussianBlur((common * 0.9 + own * 0.45).astype(np.float32), (0, 0), size)
    luma = photo.mean(2, keepdims=True)
    return photo + level * grain / grain.std() * (0.5 + 2 * luma * (1 - luma))


def faded(photo: Array, rng: np.random.Generator, *, cast: bool) -> Array:
    """Blacks rise to 8 to 24 %, whites fall to 74 to 93 %, apart for each dye where there is a `cast`."""
    black, white = rng.uniform(0.08, 0.2), rng.uniform(0.78, 0.93)
    apart = rng.uniform(-0.04, 0.04, (2, 3)) * cast
    bend = rng.uniform(0.9, 1.1) ** np.ones(3) * np.exp(rng.normal(0, 0.04, 3) * cast)
    low, high = (black + apart[0]).astype(np.float32), (white + apart[1]).astype(np.float32)
    return low + (high - low) * np.maximum(photo, 0) ** bend.astype(np.float32)


def scratches(photo: Array, rng: np.random.Generator) -> Array:
    """One to five long ones, wandering, broken in places, light or dark."""
    height, width = photo.shape[:2]
    for _ in range(int(rng.integers(1, 6))):
        along = np.cumsum(rng.normal(0, 0.35, 400)) + np.linspace(0, rng.normal(0, 0.12) * height, 400)
        x = rng.uniform(0.05, 0.95) * width + along * width / 300
        y = np.linspace(rng.uniform(-0.2, 0.5), rng.uniform(0.6, 1.2), 400) * height
        if rng.random() < 0.25:  # across
            x, y = y * width / height, x * height / width
        there = cv2.GaussianBlur(rng.random((1, 400)).astype(np.float32), (0, 0), 12)[0]
        there = there > np.quantile(there, rng.uniform(0, 0.35))
        cover = _path(photo.shape, x, y, rng.uniform(0.8, 2.2), there) * rng.uniform(0.55, 1.0)
        photo = _over(photo, cover, _ink(rng))
    return photo


def creases(photo: Array, rng: np.random.Generator) -> Array:
    """Where the print was folded, in half of them: paper shows along a nearly straight line, its shade beside it."""
    if rng.random() < 0.5:
        return photo
    height, width = photo.shape[:2]
    turn = rng.uniform(0, np.pi)
    at, reach = np.linspace(-1, 1, 300), max(height, width)
    x = rng.uniform(0.25, 0.75) * width + at * reach * np.cos(turn) + np.cumsum(rng.normal(0, 0.3, 300))
    y = rng.uniform(0.25, 0.75) * height + at * reach * np.sin(turn) + np.cumsum(rng.normal(0, 0.3, 300))
    whole = np.ones(300, np.bool_)
    photo = _over(photo, 0.25 * _path(photo.shape, x + 2, y + 2, 4.0, whole), 0.1)
    torn = cv2.GaussianBlur(rng.random((1, 300)).astype(np.float32), (0, 0), 6)[0]
    return _over(photo, _path(photo.shape, x, y, rng.uniform(1.5, 3), torn > np.quantile(torn, 0.2)), 0.93)


def dust(photo: Array, rng: np.random.Generator) -> Array:
    """Specks of no regular outline, 10 to 60 of them, light ones more often."""
    height, width = photo.shape[:2]
    for _ in range(int(rng.integers(10, 61))):
        side = int(rng.choice([5, 7, 9, 13], p=[0.4, 0.3, 0.2, 0.1]))
        blob = cv2.GaussianBlur(rng.standard_normal((side * FINE,) * 2).astype(np.float32), (0, 0), side * FINE / 7)
        far = np.hypot(*np.mgrid[-1 : 1 : side * FINE * 1j, -1 : 1 : side * FINE * 1j])
        blob = (blob / blob.std() - 3 * far**2 > -0.8).astype(np.float32) * (far < 0.95)
        speck = cv2.resize(blob.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
        y, x = int(rng.integers(0, height - side)), int(rng.integers(0, width - side))
        cover = np.zeros((height, width), np.float32)
        cover[y : y + side, x : x + side] = speck * rng.uniform(0.6, 1.0)
        photo = _over(photo, cover, _ink(rng))
    return photo


def hairs(photo: Array, rng: np.random.Generator) -> Array:
    """Up to three curled fibres."""
    height, width = photo.shape[:2]
    for _ in range(int(rng.integers(0, 4))):
        heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.09, 120) + rng.normal(0, 0.02))
        step = rng.uniform(0.2, 0.6)
        x = rng.uniform(0, width) + np.cumsum(np.cos(heading)) * step
        y = rng.uniform(0, height) + np.cumsum(np.sin(heading)) * step
        cover = _path(photo.shape, x, y, rng.uniform(0.8, 1.5), np.ones(120, np.bool_))
        photo = _over(photo, 0.85 * cover, _ink(rng))
    return photo


def _ink(rng: np.random.Generator) -> float:
    return float(rng.uniform(0.85, 1.0) if rng.random() < 0.65 else rng.uniform(0.0, 0.12))


def _path(shape: tuple[int, ...], x: Array, y: Array, wide: float, there: NDArray[np.bool_]) -> Array:
    """Cover (H, W) by a line of `wide` pixels through the points that are `there`."""
    large = np.zeros((shape[0] * FINE, shape[1] * FINE), np.uint8)
    points = np.stack((x, y), 1) * FINE
    for a, b, seen in zip(points[:-1], points[1:], there[1:], strict=True):
        if seen and np.abs([a, b]).max() < 1e5:
            first, last = (int(a[0]), int(a[1])), (int(b[0]), int(b[1]))
            cv2.line(large, first, last, 255, max(1, round(wide * FINE)), cv2.LINE_AA)
    small = cv2.resize(large, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / 255


def _over(photo: Array, cover: Array, ink: float) -> Array:
    return photo + cover[..., None] * (ink - photo)


def _scanned(photo: Array, quality: int) -> RGB:
    coded = cv2.imencode(".jpg", _bytes(photo)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.ascontiguousarray(np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))[..., ::-1], np.uint8)


def _bytes(photo: Array) -> RGB:
    return (photo.clip(0, 1) * 255 + 0.5).astype(np.uint8)
