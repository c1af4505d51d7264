"""What no model may hand back: numbers that are none, one flat colour, another part of the photo than was asked for."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

LEVEL = 1 / 255
RING = 0.1  # width of the surroundings that a flat fill is compared with, share of the crop's longer side
ALIKE = 0.04  # mean colour distance to its surroundings up to which a flat fill continues them
STRETCH = 1.1  # proportions may differ by this factor, which rounding to a model's multiples needs
SIDE = 128  # pixels a side at which shifts are looked for
SHIFT = 0.02  # share of the side from which a shift counts
SURE = 0.8  # correlation of the known pixels, once shifted back, from which they are the photo's own
GAIN = 0.2  # by which that correlation must exceed the one in place

Picture = NDArray[np.float32]
Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def fault(picture: Picture, image: Image, hole: Mask) -> str:
    """What is wrong with `picture` as a fill of `hole` (h, w) in `image` (h, w, 3); "" if nothing is.

    picture (h', w', 3): what a model returned, in [0, 1] if all is well.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        return f"an array of shape {picture.shape} instead of a picture"
    if not np.isfinite(picture).all():
        return "numbers that are not finite (NaN or infinity)"
    stretch = (picture.shape[1] / picture.shape[0]) / (hole.shape[1] / hole.shape[0])
    if not 1 / STRETCH < stretch < STRETCH:
        return (
            f"a picture of {picture.shape[1]}×{picture.shape[0]} pixels for a crop of {hole.shape[1]}×{hole.shape[0]}"
        )
    at_size = np.asarray(cv2.resize(picture, hole.shape[::-1], interpolation=cv2.INTER_AREA), np.float32)
    if _flat(at_size, image, hole):
        colour = ", ".join(str(round(255 * float(v))) for v in at_size[hole].mean(0))
        return f"one flat colour ({colour})"
    dx, dy = _shift(at_size, image, ~hole)
    return f"a picture shifted by {dx}, {dy} pixels" if dx or dy else ""


def _flat(picture: Picture, image: Image, hole: Mask) -> bool:
    """Whether the fill has one colour that its surroundings do not explain."""
    fill = picture[hole]
    if hole.sum() < 2 or (fill.max(0) - fill.min(0)).max() >= LEVEL:
        return False
    width = max(2, RING * max(hole.shape))
    ring = (cv2.distanceTransform((~hole).astype(np.uint8), cv2.DIST_C, 3) <= width) & ~hole
    if not ring.any():
        return True
    return bool(np.abs(image[ring] / 255 - fill.mean(0)).max(1).mean() > ALIKE)


def _shift(picture: Picture, image: Image, known: Mask) -> tuple[int, int]:
    """(x, y), pixels, by which the known part of the picture lies beside its place; (0, 0) where that is not sure."""
    scale = SIDE / max(known.shape)
    size = max(8, round(known.shape[1] * scale)), max(8, round(known.shape[0] * scale))
    weight, was, now = (
        np.asarray(cv2.resize(np.asarray(x, np.float32), size, interpolation=cv2.INTER_AREA), np.float32)
        for x in (known, cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
    )
    if weight.mean() < 0.25:
        return 0, 0
    before, after = ((x - np.average(x, weights=weight)) * weight for x in (was, now))
    (x, y), _ = cv2.phaseCorrelate(before, after, cv2.createHanningWindow(size, cv2.CV_32F))
    dx, dy = round(x), round(y)
    if max(abs(dx) / size[0], abs(dy) / size[1]) < SHIFT:
        return 0, 0
    back = np.asarray(np.roll(now, (-dy, -dx), (0, 1)), np.float32)
    there = np.asarray(weight * np.roll(weight, (-dy, -dx), (0, 1)), np.float32)
    if _correlation(was, back, there) < max(SURE, GAIN + _correlation(was, now, weight)):
        return 0, 0
    return round(dx / scale), round(dy / scale)


def _correlation(a: Picture, b: Picture, weight: Picture) -> float:
    a, b = (np.asarray(x - np.average(x, weights=weight), np.float32) for x in (a, b))
    scale = float((weight * a * a).sum() * (weight * b * b).sum()) ** 0.5
    return float((weight * a * b).sum()) / scale if scale > 0 else 0.0
