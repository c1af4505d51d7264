"""Pixels of a fill without any life: one flat colour where the surroundings are not flat.

A model that computed NaN, or overflowed in half precision, leaves its hole black. Networks that judge textures have
never seen such a fill, and a black hole looks calm to them.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

WINDOW = 7  # pixels a side in which nothing differs
SAME = 1  # levels by which a flat window may still differ
SHARE = 0.05  # of the hole: less may be a shadow or a highlight; truths of 78 photos' holes stay below, alone or
AROUND = 0.1  # with this much of it in the surroundings
MOST = 0.9  # of the hole: then this much of the surroundings has to be
ALL = 0.4  # flat, and in that colour
NEAR = 24  # levels between colours that are alike

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def lifeless(image: Image, hole: Mask) -> Mask:
    """(H, W): the flat pixels of `hole` in `image` (H, W, 3), if its surroundings do not explain them; else none."""
    none = np.zeros_like(hole)
    ring = _ring(hole)
    if not hole.any() or not ring.any():
        return none
    inside, around = _flat(image, hole), _flat(image, ring)
    share = inside.sum() / hole.sum()
    if share < SHARE:
        return none
    if around.sum() / ring.sum() < (ALL if share > MOST else AROUND) * share:
        return inside
    strange = inside & ~_alike(image, image[around])
    return strange if strange.sum() > MOST * hole.sum() else none


def _ring(hole: Mask) -> Mask:
    """The surroundings: known pixels as near to the hole as it is wide."""
    width = 2 * WINDOW + np.sqrt(hole.sum()) / 4
    distance = cv2.distanceTransform((~hole).astype(np.uint8), cv2.DIST_C, 3)
    return (distance <= width) & ~hole


def _flat(image: Image, part: Mask) -> Mask:
    """Pixels of `part` in a window whose pixels, as far as they belong to it, all have one colour."""
    kernel = np.ones((WINDOW, WINDOW), np.uint8)
    highest = cv2.dilate(np.where(part[..., None], image, 0).astype(np.uint8), kernel)
    lowest = cv2.erode(np.where(part[..., None], image, 255).astype(np.uint8), kernel)
    flat = (highest.astype(np.int16) - lowest <= SAME).all(2) & part
    return part & (cv2.dilate(flat.astype(np.uint8), kernel) > 0)


def _alike(image: Image, colours: Image) -> Mask:
    """Where `image` has about one of `colours` (N, 3)."""
    cells = np.zeros((3 + 256 // NEAR,) * 3, np.uint8)
    cells[tuple(colours.T // NEAR + 1)] = 1
    near = np.zeros_like(cells)
    for dr in (-1, 0, 1):
        for dg in (-1, 0, 1):
            for db in (-1, 0, 1):
                near |= np.roll(cells, (dr, dg, db), (0, 1, 2))
    return np.asarray(near[tuple(np.moveaxis(image // NEAR + 1, 2, 0))] > 0)
