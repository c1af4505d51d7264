"""From a mask to what a pipeline works on: a grown mask, the shadow under the object, windows of context."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from restore.images.geometry import Box

GROWTH = 0.05  # growth radius as a share of √area of each object
SHADOW_DEPTH = 0.18  # how far below an object its contact shadow is looked for, share of its height
SHADOW_RATIO = 0.82  # shadow: darker than this share of the ground's median luminance

LEAST_GROWTH, MOST_GROWTH, STROKES = 1, 12, 0.006  # growth of strokes: pixels, and share of the long side at most
BESIDE = 1.6  # a ring that differs so many times as much as the photo does by itself is part of the stroke

LABELLED = 2**24  # pixels of a mask whose parts are looked for at once; of larger ones first on a grid of
CELLS = 1024  # rows and columns at most, CELLS² below LABELLED


@dataclass(frozen=True)
class Window:
    """A crop of the photo around one or more holes: rows y:y+h, columns x:x+w, in pixels."""

    x: int
    y: int
    w: int
    h: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.y, self.y + self.h), slice(self.x, self.x + self.w)

    def grown(self, share: float, shape: tuple[int, ...], least: int = 0) -> Window:
        """This window with a `share` of its longer side on each side, at least `least` pixels, in a photo of `shape`
        (H, W)."""
        x, y, w, h = _grow((self.x, self.y, self.w, self.h), share, least)
        left, top = max(0, x), max(0, y)
        return Window(left, top, min(shape[1], x + w) - left, min(shape[0], y + h) - top)


def grow_mask(mask: np.ndarray, image: np.ndarray | None = None) -> np.ndarray:
    """Grow each object of a found mask by a margin that follows its size; add its contact shadow.

    mask (H, W) bool; image (H, W, 3) uint8, None = no shadow search. A segmenter's edge is a few
    pixels off and light spills over it: a fill from a tight mask grows the object's halo.
    """
    out = mask.copy()
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    for i in range(1, count):
        x, y, w, h, area = (int(v) for v in stats[i])
        radius = max(2, round(GROWTH * area**0.5))
        reach = radius + int(SHADOW_DEPTH * h) + 1
        y0, y1 = max(0, y - reach), min(mask.shape[0], y + h + reach)
        x0, x1 = max(0, x - reach), min(mask.shape[1], x + w + reach)
        part = (labels[y0:y1, x0:x1] == i).astype(np.uint8)
        if image is not None:
            part |= contact_shadow(image[y0:y1, x0:x1], part.astype(bool))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        out[y0:y1, x0:x1] |= cv2.dilate(part, kernel).astype(bool)
    return out


def grow_strokes(mask: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Grow what is laid over a photo, such as letters or scratches, as far as it still changes the photo beside it.

    mask (H, W) bool; image (H, W, 3) uint8. By one pixel at least; further
    where a ring of pixels around the mask differs from the ground beyond more than that does by itself.
    """
    most = min(MOST_GROWTH, max(LEAST_GROWTH, round(STROKES * max(mask.shape))))
    rings = [mask]
    for _ in range(most + 1):
        rings.append(cv2.dilate(rings[-1].astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.bool_))
    known = ~rings[-1]
    size = (4 * most + 5,) * 2
    share = cv2.blur(known.astype(np.float32), size)
    ground = cv2.blur(image.astype(np.float32) * known[..., None], size) / np.maximum(share, 1e-3)[..., None]
    change = np.abs(image - ground).max(2)
    usual = float(np.median(change[(share > 0.05) & known])) if known.any() else 0.0
    radius = LEAST_GROWTH
    while radius < most and np.mean(change[rings[radius + 1] & ~rings[radius] & (share > 0.05)]) > BESIDE * usual:
        radius += 1
    return rings[radius]


def contact_shadow(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Dark pixels that touch the lower part of an object, (H, W) uint8 0/1.

    A shadow is searched at most `SHADOW_DEPTH` of the object's height beyond its lower third, has
    to be darker than the ground beyond, and to hang together with the object.
    """
    ys = np.flatnonzero(mask.any(1))
    height = int(ys[-1] - ys[0] + 1)
    depth = max(2, int(SHADOW_DEPTH * height))
    lower = mask.copy()
    lower[: ys[0] + 2 * height // 3] = False
    kernel = np.ones((2 * depth + 1, 2 * depth + 1), np.uint8)
    band = cv2.dilate(lower.astype(np.uint8), kernel).astype(bool) & ~mask
    band[: ys[0] + 2 * height // 3] = False
    ground = cv2.dilate(band.astype(np.uint8), kernel).astype(bool) & ~band & ~mask
    if band.sum() < 16 or ground.sum() < 16:
        return np.zeros(mask.shape, np.uint8)
    luminance = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    dark = band & (luminance < SHADOW_RATIO * float(np.median(luminance[ground])))
    # Half of the band dark is not a shadow but a dark floor or a neighbour.
    if dark.sum() > 0.5 * band.sum():
        return np.zeros(mask.shape, np.uint8)
    _, labels = cv2.connectedComponents((dark | mask).astype(np.uint8))
    attached = np.isin(labels, np.unique(labels[mask]))
    return (dark & attached).astype(np.uint8)


def shrunk(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(h, w) bool of `shape`, no larger than `mask` (H, W): the cells that hold any true pixel."""
    rows, columns = (np.arange(n + 1) * large // n for n, large in zip(shape, mask.shape, strict=True))
    cells = np.zeros(shape, np.bool_)
    for i in np.flatnonzero(np.logical_or.reduceat(mask.any(axis=1), rows[:-1])):
        cells[i] = np.logical_or.reduceat(mask[rows[i] : rows[i + 1]].any(axis=0), columns[:-1])
    return cells


def windows(mask: np.ndarray, context: float = 1.0) -> list[Window]:
    """Windows that cover every hole with `context` hole sizes around it; overlapping ones merge.

    mask (H, W) bool. Raises nothing: an empty mask has no windows.
    """
    holes = _holes(mask)
    merged = True
    while merged:  # holes merge while one lies in the context of another
        merged = False
        holes.sort()
        for i in range(len(holes)):
            for j in range(i + 1, len(holes)):
                if _overlap(_grow(holes[i], context / 2), _grow(holes[j], context / 2)):
                    holes[i] = _union(holes[i], holes.pop(j))
                    merged = True
                    break
            if merged:
                break
    out = []
    for hole in holes:
        out.append(Window(*hole).grown(context, mask.shape, least=32))
    return out


def _holes(mask: np.ndarray) -> list[Box]:
    """Boxes of the connected parts of a mask. Of a large mask some come twice, cut off; they lie in the same window."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if len(rows) == 0:
        return []
    top, left = int(rows[0]), int(columns[0])  # the photo beyond the holes is not looked at
    part = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    cells = min(part.shape[0], CELLS), min(part.shape[1], CELLS)
    # Large masks are looked through in cells first, then each group of cells by itself: holes far apart cost little.
    groups = _holes(shrunk(part, cells)) if part.size > LABELLED else []
    if not groups or (0, 0, *cells[::-1]) in groups:
        _, _, stats, _ = cv2.connectedComponentsWithStats(part.astype(np.uint8), connectivity=8)
        return [(int(x) + left, int(y) + top, int(w), int(h)) for x, y, w, h, _ in stats[1:]]
    found = []
    for x, y, w, h in groups:
        (y0, y1), (x0, x1) = (
            (first * large // small, (first + count) * large // small)
            for first, count, large, small in zip((y, x), (h, w), part.shape, cells, strict=True)
        )
        found += [(u + left + x0, v + top + y0, n, m) for u, v, n, m in _holes(part[y0:y1, x0:x1])]
    return found


def _grow(box: Box, share: float, least: int = 0) -> Box:
    """A box grown on each side by `share` of its longer side, at least `least` pixels."""
    x, y, w, h = box
    margin = max(least, int(share * max(w, h)))
    return x - margin, y - margin, w + 2 * margin, h + 2 * margin


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def _union(a: Box, b: Box) -> Box:
    x, y = min(a[0], b[0]), min(a[1], b[1])
    return x, y, max(a[0] + a[2], b[0] + b[2]) - x, max(a[1] + a[3], b[1] + b[3]) - y
