"""A fill made at working size, enlarged with the photo's own detail.

What was copied at working size is copied again at full size (guided upsampling: Zeng et al., "High-resolution image
inpainting with iterative confidence feedback and guided upsampling", ECCV 2020), after every region has been moved by
the few pixels that make it meet its neighbours; what seams and judges changed of it is smooth and is added enlarged.
Pixels that a model made are enlarged and get the detail of the most similar place of the photo (residual aggregation:
Yi et al., CVPR 2020). Cost follows the hole, not the photo.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restore.pipelines.fill.offsets import dominant_shifts, patch_features
from restore.pipelines.fill.recut import Level, align, recut
from restore.pipelines.fill.seams import Composite, close_seams, shrink, spread
from restore.pipelines.fill.transforms import NONE, SHIFTED, Transforms

KEPT = (SHIFTED, 0, 0)  # kind and shift of a pixel that is the photo's own, in its own place
STEP = 2.0  # most that one size is larger than the one before
POLISHED = 400_000  # pixels of a hole up to which its seams are closed at full size; larger ones: at a smaller size
RECUT = 2048  # long side of a window up to which regions are cut again
LINE = 4096  # points looked up in a row
ROWS = 256  # painted at a time: bounds the memory for large holes
NEAR = 2  # cells around a pixel in which a correction of its region is looked for
SIMILAR_SIDE = 96  # long side at which places similar to a model's pixels are looked for
SIMILAR_SHIFTS = 40
SIMILAR_PATCH = 5  # side of the patches compared

ALIGN = 2, 1  # pixels by which regions may move at the working size and at every larger one
CUT = 3, 2  # pixels that a region may gain there

Image = NDArray[np.uint8]
Float = NDArray[np.float32]
Int = NDArray[np.integer]
Mask = NDArray[np.bool_]
Source = NDArray[np.int32]  # (h, w, 3): kind and shift, y before x, of the map to the source (`Transforms`)


@dataclass(frozen=True)
class Regions:
    """Connected parts of a fill, each copied from one place: filled (h, w); label (h, w), -1 where nothing was copied;
    moves: of every label; made: whether all pixels are a model's, and only their detail is copied."""

    filled: Mask
    label: NDArray[np.int32]
    moves: Transforms
    made: bool


def enlarge(full: Image, hole: Mask, image: Image, source: Source) -> Image:
    """The fill at the photo's size, (H, W, 3); pixels outside the hole are `full`'s.

    full (H, W, 3), hole (H, W): a window of the photo, the hole's content read only where `source` is `KEPT`; image
    (h, w, 3), source (h, w, 3): the fill at working size, whose hole has every pixel that the hole touches.
    """
    shape = image.shape[:2]
    touched = _touched(hole, shape)
    small = np.where(touched[..., None], image, cv2.resize(full, shape[::-1], interpolation=cv2.INTER_AREA))
    regions = _regions(image, touched, source)
    todo = hole & enlarged(regions.filled, hole.shape)
    if regions.made:
        scale = np.array(hole.shape) / shape
        label = enlarged(spread(regions.label, regions.label >= 0), hole.shape)
        return _paint(image, small, regions, Level(full, todo, ~hole, label, regions.moves.scaled(scale)))
    sizes = _sizes(shape, hole.shape)
    shares = [size[0] * size[1] / hole.size for size in sizes]
    polished = max(i for i, share in enumerate(shares) if i == 0 or share * todo.sum() <= POLISHED)
    for i, level in enumerate(_levels(full, hole, todo, regions, sizes)):
        if i == polished:  # what it adds to its copies goes for all larger sizes
            image = small = _polished(_paint(image, small, regions, level), level)
            regions = Regions(level.todo, np.where(level.todo, level.label, -1), level.moves, False)
    return image if polished == len(sizes) - 1 else _paint(image, small, regions, level)


def enlarged(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Values (h, w, …) of the cell in which each pixel of a larger picture of `shape` (H, W) begins."""
    rows, columns = (np.arange(n) * m // n for n, m in zip(shape[:2], values.shape[:2], strict=True))
    return values[rows[:, None], columns]


def _regions(image: Image, hole: Mask, source: Source) -> Regions:
    filled = hole & (source != KEPT).any(-1)
    copied = filled & (source[..., 0] != NONE)
    made = not copied.any()
    if made:
        source, copied = similar_places(image, hole), filled
    # One number is sorted much faster than a row of them.
    kinds = source[copied].astype(np.int64)
    keys = kinds @ (np.int64(1) << np.array([54, 27, 0]))
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    coarse, label = np.full(hole.shape, -1, np.int32), np.full(hole.shape, -1, np.int32)
    coarse[copied] = which
    counts: list[int] = []
    for k in range(len(first)):
        n, parts = cv2.connectedComponents((coarse == k).astype(np.uint8), connectivity=4)
        label[parts > 0] = parts[parts > 0] - 1 + sum(counts)
        counts.append(n - 1)
    rows = kinds[first].repeat(counts, axis=0).astype(np.int32)
    return Regions(filled, label, Transforms(rows[:, 0], rows[:, 1:]), made)


def similar_places(image: Image, hole: Mask) -> Source:
    """For every pixel of the hole the place outside whose surroundings look most like it, (h, w, 3); few shifts."""
    whole = image.astype(np.float32) / 255
    small, small_hole = shrink(whole, np.zeros_like(hole), SIMILAR_SIDE)[0], shrink(whole, hole, SIMILAR_SIDE)[1]
    usable = ~small_hole
    moves = dominant_shifts(patch_features(small, usable), usable, SIMILAR_SHIFTS)
    h, w = usable.shape
    y, x = np.indices(usable.shape).reshape(2, -1)
    best, chosen = np.full((h, w), np.inf, np.float32), np.zeros((h, w), np.int32)
    for k in range(len(moves)):
        place, good = (v.reshape(h, w) for v in moves.take([k]).lookup(y, x, usable))
        off = np.square(small.reshape(-1, 3)[place] - small).sum(-1, dtype=np.float32)
        cost = cv2.blur(np.where(good, off, np.float32(3)), (SIMILAR_PATCH, SIMILAR_PATCH))
        better = good & (cost < best)
        best[better], chosen[better] = cost[better], k
    found = np.zeros((h, w, len(KEPT)), np.int32)
    covered = np.isfinite(best)
    if covered.any():
        scaled = moves.scaled(np.array(hole.shape) / (h, w))
        found = scaled.rows()[chosen]
        found[~covered] = 0
    return np.ascontiguousarray(enlarged(found, hole.shape))


def _sizes(first: tuple[int, ...], last: tuple[int, ...]) -> list[tuple[int, int]]:
    """(h, w) from the working size to the photo's, in equal steps."""
    steps = max(1, int(np.ceil(np.log(max(np.array(last) / first)) / np.log(STEP) - 1e-9)))
    h, w = ([round(a * (b / a) ** (i / steps)) for i in range(steps + 1)] for a, b in zip(first, last, strict=True))
    return list(zip(h, w, strict=True))


def _levels(full: Image, hole: Mask, todo: Mask, regions: Regions, sizes: list[tuple[int, int]]) -> Iterator[Level]:
    """Labels and moves at every size, each refined from the one before."""
    label, moves = spread(regions.label, regions.label >= 0), regions.moves
    for i, size in enumerate(sizes):
        moves = moves.scaled(np.array(size) / label.shape)
        if i < len(sizes) - 1:
            picture = np.asarray(cv2.resize(full, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)
            level = Level(picture, _touched(todo, size), ~_touched(hole, size), enlarged(label, size), moves)
        else:
            level = Level(full, todo, ~hole, enlarged(label, size), moves)
        level = align(level, ALIGN[i > 0])
        if max(size) <= RECUT:
            level = recut(level, CUT[i > 0])
        label, moves = level.label, level.moves
        yield level


def _touched(mask: Mask, size: tuple[int, ...]) -> Mask:
    """(h, w) of `size`: cells with any true pixel."""
    return cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA) > 0


def _paint(image: Image, small: Image, regions: Regions, level: Level) -> Image:
    """Copies at full size plus, enlarged, what the fill at working size has beyond its copies.

    image (h, w, 3): the fill at working size; small (h, w, 3): the same, made of the photo alone outside the hole.
    """
    out = level.picture.copy()
    change = None if regions.made else _change(image, small, regions)
    scale = np.array(image.shape[:2]) / level.todo.shape
    for top in range(0, len(level.todo), ROWS):
        y, x = np.nonzero(level.todo[top : top + ROWS])
        y += top
        if len(y) == 0:
            continue
        label = level.label[y, x]
        colour, good = level.look(label, y, x)
        at = np.stack([y, x], 1)
        made = ~good if change is not None else np.ones_like(good)
        if change is not None:
            copied = ~made
            colour[copied] += _of_region(change, regions.label, label[copied], _place(at[copied], scale))
        detail = colour[made] - _bilinear(small, _place(level.moves.apply(label[made], at[made]), scale))
        colour[made] = _bilinear(image, _place(at[made], scale)) + np.where(good[made, None], detail, 0)
        out[y, x] = np.rint(255 * colour.clip(0, 1)).astype(np.uint8)
    return out


def _polished(out: Image, level: Level) -> Image:
    """The picture with its seams closed at full size too, from what the enlarged corrections left of them."""
    y, x = np.nonzero(level.todo)
    copied = level.look(level.label[y, x], y, x)[0]
    known = level.picture.astype(np.float32) / 255
    image = known.copy()
    image[y, x] = copied
    label = np.where(level.todo, level.label, -1)
    start = out[y, x] / np.float32(255) - copied
    closed = close_seams(Composite(image, level.todo, label, level.moves, known), start)
    out[y, x] = np.rint(255 * closed[y, x]).astype(np.uint8)
    return out


def _place(at: Int, scale: NDArray[np.float64]) -> NDArray[np.float32]:
    """Pixels (n, 2) of the large picture in the small one; centres lie at +½."""
    return ((at + 0.5) * scale - 0.5).astype(np.float32)


def _change(image: Image, small: Image, regions: Regions) -> Float:
    """What the fill adds to the pixels it copied, (h, w, 3) of [0, 1]: steps between regions, spread out."""
    change = np.zeros(image.shape, np.float32)
    y, x = np.nonzero(regions.label >= 0)
    label = regions.label[y, x]
    copied = regions.moves.look(small, np.ones(regions.label.shape, np.bool_), label, y, x)[0]
    change[y, x] = (image[y, x] - copied) / 255
    return change


def _bilinear(picture: Image, at: NDArray[np.float32]) -> Float:
    """Colours (n, 3) in [0, 1] of a picture at points (n, 2), inside it or at its edge."""
    n = len(at)
    if n == 0:
        return np.zeros((0, 3), np.float32)
    rows = -(-n // LINE)  # OpenCV takes pictures of points, none of its sides above 32,767
    grid = np.zeros((2, rows * LINE), np.float32)
    grid[:, :n] = at.T
    y, x = grid.reshape(2, rows, LINE)
    found = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found.reshape(-1, 3)[:n] * np.float32(1 / 255))


def _of_region(change: Float, label: Int, wanted: Int, at: NDArray[np.float32]) -> Float:
    """`change` (h, w, 3) at points (n, 2), from cells of the wanted region only; 0 where none is near."""
    out, weights = np.zeros((len(at), 3), np.float32), np.zeros((len(at), 1), np.float32)
    cell = np.floor(at).astype(np.int32)
    where = np.arange(len(at))
    for reach in range(1, NEAR + 1):  # first the four cells around a point, then, where none is right, wider
        total, weight = np.zeros((len(where), 3), np.float32), np.zeros((len(where), 1), np.float32)
        for dy in range(1 - reach, reach + 1):
            for dx in range(1 - reach, reach + 1):
                place = cell[where] + (dy, dx)
                near = (1 - np.abs(at[where] - place) / reach).clip(0, 1).prod(1)
                inside = ((place >= 0) & (place < label.shape)).all(1)
                place = place.clip(0, np.array(label.shape) - 1)
                near = near * (inside & (label[place[:, 0], place[:, 1]] == wanted[where]))
                total += near[:, None] * change[place[:, 0], place[:, 1]]
                weight += near[:, None]
        out[where], weights[where] = total, weight
        where = np.flatnonzero(weights[:, 0] < 1e-3)
        if len(where) == 0:
            break
    return np.asarray(out / np.maximum(weights, 1e-3), np.float32)
