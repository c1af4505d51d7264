"""Where to repaint in a photo too large to be looked at whole: looked up in its overview, drawn at its own size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np

from restore.edit.find import Region
from restore.edit.loop import Mask
from restore.images.huge import AnyPhoto
from restore.images.mask import AnyMask, check_mask, check_point, given_mask
from restore.images.photo import Photo
from restore.images.windows import shrunk

Find = Callable[[AnyPhoto, str | None, AnyMask, Sequence[int] | None, Sequence[int] | None], Region]


def find_region(
    find: Find,
    photo: AnyPhoto,
    prompt: str | None,
    mask: AnyMask,
    box: Sequence[int] | None,
    point: Sequence[int] | None,
) -> Region:
    """What `find`, such as `RegionFinder.find`, finds in a photo of any size. Raises as it does.

    Found by words or a click it is as precise as a photo of `huge.OVERVIEW_SIDE` shows it.
    """
    if isinstance(photo, Photo) or (prompt is None and point is None):
        return find(photo, prompt, mask, box, point)
    given, small = given_mask(mask, box, photo.size), photo.overview
    within = None if given is None else shrunk(given, small.pixels.shape[:2])
    if point is not None:
        point = [v * n // m for v, n, m in zip(check_point(point, photo.size), small.size, photo.size, strict=True)]
    region = find(small, prompt, within, None, point)
    if given is not None and _placed(region):
        return replace(region, hole=given)
    hole = _lifted(region.hole, photo.size)
    if given is not None:
        hole &= given
    barred = None if region.barred is None else _lifted(region.barred, photo.size)
    return replace(region, hole=check_mask(hole, photo.size), barred=barred)


def _placed(region: Region) -> bool:
    """Whether what was given is where something new goes, not where something is looked for."""
    return region.instruction is not None and region.instruction.action == "add"


def _lifted(small: Mask, size: tuple[int, int]) -> Mask:
    """A mask (h, w) at `size` (W, H), interpolated. Memory is taken only where it is true."""
    (width, height), (h, w) = size, small.shape
    out = np.zeros((height, width), np.bool_)
    _, _, stats, _ = cv2.connectedComponentsWithStats(small.astype(np.uint8))
    for left, top, across, down, _ in stats[1:].tolist():
        y0, y1, x0, x1 = max(0, top - 1), min(h, top + down + 1), max(0, left - 1), min(w, left + across + 1)
        place = np.s_[y0 * height // h : y1 * height // h, x0 * width // w : x1 * width // w]
        shape = out[place].shape
        crop = small[y0:y1, x0:x1].astype(np.uint8) * np.uint8(255)
        out[place] |= cv2.resize(crop, shape[::-1], interpolation=cv2.INTER_LINEAR) > 127
    return out
