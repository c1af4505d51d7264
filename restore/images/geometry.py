"""Boxes and sizes in whole pixels."""

from __future__ import annotations

import numpy as np

Size = tuple[int, int]  # (W, H) in pixels
Box = tuple[int, int, int, int]  # (x, y, w, h) in pixels, x to the right and y down from the upper left corner


def mask_box(mask: np.ndarray) -> Box:
    """Smallest box (x, y, w, h) around the true pixels of `mask` (H, W); (0, 0, 0, 0) if there are none."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(columns):
        return 0, 0, 0, 0
    x, y = int(columns[0]), int(rows[0])
    return x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1


def fitted(sides: tuple[int, int], side: int, *, grow: bool = False) -> tuple[int, int]:
    """`sides`, (W, H) or (H, W), in proportion so that the longer is `side` pixels; shorter ones stay unless `grow`."""
    scale = side / max(sides)
    if scale > 1 and not grow:
        return sides
    first, second = (max(1, round(n * scale)) for n in sides)
    return first, second


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """View of `array` (H, W[, C]) upright the way EXIF orientation 1..8 asks for; other numbers leave it."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array
