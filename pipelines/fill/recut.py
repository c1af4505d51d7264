"""Make the regions of an enlarged shift map meet: small moves first, then better cuts near the old ones.

A region copied from a place known to a few pixels leaves broken edges at full size. Each region is moved to where it
agrees best with what lies around it, then gains or loses a narrow band of pixels by minimum cuts (α-expansion as in
expansion.py, among the regions that are near).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from restore.pipelines.fill.expansion import UNITS
from restore.pipelines.fill.minimum_cut import cheapest
from restore.pipelines.fill.transforms import Transforms

RING = 2  # pixels around a region on which its moves are compared
SAMPLES = 1500  # of them, at most
GAIN = 0.97  # a move must lower the mean step to this share
STEP = 0.35  # colour steps beyond this count alike: two edges that differ anyway
EDGE = 2.0  # weight of a seam against known pixels

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Int = NDArray[np.integer]
Float = NDArray[np.float32]
Box = tuple[slice, slice]


@dataclass(frozen=True)
class Level:
    """One size of a fill. picture (h, w, 3); todo (h, w): pixels to fill; usable (h, w): pixels to copy from; label
    (h, w), of every pixel the region of it or of the nearest filled pixel; moves: of every region."""

    picture: Image
    todo: Mask
    usable: Mask
    label: NDArray[np.int32]
    moves: Transforms

    def look(self, label: Int, y: Int, x: Int) -> tuple[Float, Mask]:
        """What regions (n,) bring to pixels (n,): colours (n, 3) in [0, 1], and whether the source may be used."""
        colour, good = self.moves.look(self.picture, self.usable, label, y, x)
        colour *= np.float32(1 / 255)
        colour[~good] = 0.5  # never what the hole holds
        return colour, good

    def shown(self, y: Int, x: Int) -> Float:
        """The filled picture at pixels (n,), (n, 3)."""
        colour, _ = self.look(self.label[y, x], y, x)
        known = ~self.todo[y, x]
        colour[known] = self.picture[y[known], x[known]] * np.float32(1 / 255)
        return colour


def boxes(label: Int, todo: Mask, count: int, margin: int) -> list[Box | None]:
    """Rows and columns of every region with a margin; None for a region without pixels."""
    y, x = np.nonzero(todo)
    at = label[y, x]
    h, w = todo.shape
    first, last = np.full((count, 2), max(h, w)), np.full((count, 2), -1)
    for axis, values in enumerate((y, x)):
        np.minimum.at(first[:, axis], at, values)
        np.maximum.at(last[:, axis], at, values)
    first, last = np.maximum(first - margin, 0), last + (last >= 0) * (margin + 1)
    return [None if b[0] < 0 else np.s_[a[0] : b[0], a[1] : b[1]] for a, b in zip(first, last, strict=True)]


def align(level: Level, reach: int) -> Level:
    """Every region moved by at most `reach` pixels each way to where it agrees best with its surroundings."""
    steps = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1).T
    steps = steps[np.argsort(np.abs(steps).sum(1), kind="stable")]  # no move first: it wins ties
    level = replace(level, moves=replace(level.moves, shift=level.moves.shift.copy()))
    kernel = np.ones((2 * RING + 1, 2 * RING + 1), np.uint8)
    for k, box in enumerate(boxes(level.label, level.todo, len(level.moves), RING)):
        if box is None:
            continue
        own = (level.label[box] == k) & level.todo[box]
        y, x = np.nonzero((cv2.dilate(own.astype(np.uint8), kernel) > 0) & ~own)
        every = max(1, len(y) // SAMPLES)
        y, x = y[::every] + box[0].start, x[::every] + box[1].start
        if len(y) == 0:
            continue
        there = level.shown(y, x)
        moved = Transforms(level.moves.kind[[k]].repeat(len(steps)), level.moves.shift[k] + steps)
        each = np.arange(len(steps)).repeat(len(y))
        colour, fits = replace(level, moves=moved).look(each, np.tile(y, len(steps)), np.tile(x, len(steps)))
        off = np.abs(colour.reshape(len(steps), -1, 3) - there).mean(2).clip(max=STEP)
        good = fits.reshape(off.shape)
        always = good.all(0)  # all moves are compared on the same pixels
        if not always.any():
            continue
        costs = off[:, always].mean(1)
        best = int(np.argmin(costs))
        if costs[best] < GAIN * costs[0]:
            level.moves.shift[k] += steps[best]
    return level


def recut(level: Level, reach: int) -> Level:
    """Every region may take the pixels within `reach` of it that lie beside a border of regions."""
    level = replace(level, label=level.label.copy())
    for y, x, taken in _offers(level, reach):
        _expand(level, y, x, taken)
    return level


def _offers(level: Level, reach: int) -> list[tuple[Int, Int, Int]]:
    """Pixels (n,) and the region (n,) that may take each; regions that are apart share an offer, and so a cut."""
    size, cross = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8), cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    band = _near_borders(level.label, level.todo, size)
    groups: list[list[tuple[Int, Int, Int]]] = []
    used: list[Mask] = []
    for k, box in enumerate(boxes(level.label, level.todo, len(level.moves), reach + 1)):
        if box is None:
            continue
        own = ((level.label[box] == k) & level.todo[box]).astype(np.uint8)
        free = (cv2.dilate(own, size) > own) & band[box]
        y, x = np.nonzero(free)
        if len(y) == 0:
            continue
        touched = cv2.dilate(free.astype(np.uint8), cross) > 0
        group = next((g for g, other in enumerate(used) if not (other[box] & touched).any()), len(groups))
        if group == len(groups):
            groups.append([])
            used.append(np.zeros(band.shape, np.bool_))
        used[group][box] |= free
        groups[group].append((y + box[0].start, x + box[1].start, np.full(len(y), k)))
    return [tuple(np.concatenate(part) for part in zip(*group, strict=True)) for group in groups]  # type: ignore[misc]


def _near_borders(label: NDArray[np.int32], todo: Mask, size: Image) -> Mask:
    border = np.zeros(todo.shape, np.uint8)
    for first, second in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        part = (label[first] != label[second]) & todo[first] & todo[second]
        border[first] |= part
        border[second] |= part
    return (cv2.dilate(border, size) > 0) & todo


def _expand(level: Level, y: Int, x: Int, taking: Int) -> None:
    """Give the regions `taking` those of the pixels (n,) offered to them that lower the seams most, in place."""
    label = level.label
    free = (label[y, x] != taking) & level.look(taking, y, x)[1]
    y, x, taking = y[free], x[free], taking[free]
    n = len(y)
    if n == 0:
        return
    h, w = label.shape
    top, left = y.min(), x.min()
    index = np.full((y.max() - top + 3, x.max() - left + 3), -1, np.int32)  # with a border of one
    index[y - top + 1, x - left + 1] = np.arange(n)
    cost, pairs = np.zeros(n), []
    for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        other = index[y - top + 1 + dy, x - left + 1 + dx]
        inside = (y + dy >= 0) & (y + dy < h) & (x + dx >= 0) & (x + dx < w)
        at = np.flatnonzero(inside & ((other < 0) | (dy + dx > 0)))  # each pair of free pixels once
        p, other, new = (y[at], x[at]), other[at], taking[at]
        q = (p[0] + dy, p[1] + dx)
        known, mine, theirs = ~level.todo[q], label[p], label[q]
        v00, v10 = _seam(level, mine, theirs, known, p, q), _seam(level, new, theirs, known, p, q)
        alone = other < 0  # the neighbour stays as it is
        np.add.at(cost, at[alone], (v10 - v00)[alone])
        both = np.flatnonzero(~alone)
        if len(both):  # V11 = 0: see `_expand` of expansion.py
            p, q = ((v[0][both], v[1][both]) for v in (p, q))
            v00, v10 = v00[both], v10[both]
            v01 = _seam(level, mine[both], new[both], known[both], p, q)
            np.add.at(cost, at[both], (v10 - v01 - v00) / 2)
            np.add.at(cost, other[both], (v01 - v10 - v00) / 2)
            pairs.append((at[both], other[both], np.maximum(v01 + v10 - v00, 0) / 2))
    nothing = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    first, second, step = (np.concatenate(v) for v in zip(nothing, *pairs, strict=True))
    link = np.rint(step * UNITS).astype(np.int64)
    taken = cheapest(np.rint(cost * UNITS).astype(np.int64), first, second, link, np.ones(n, np.bool_))
    label[y[taken], x[taken]] = taking[taken]


def _seam(level: Level, a: Int, b: Int, known: Mask, p: tuple[Int, Int], q: tuple[Int, Int]) -> NDArray[np.float64]:
    """Colour steps (n,) between neighbours p of region a and q of region b, or q known."""
    a_there, b_there = level.look(a, *q)[0], level.look(b, *q)[0]
    a_here, b_here = level.look(a, *p)[0], level.look(b, *p)[0]
    b_there[known] = level.picture[q[0][known], q[1][known]] * np.float32(1 / 255)
    step = np.linalg.norm(a_there - b_there, axis=1).astype(np.float64)
    back = np.linalg.norm(a_here - b_here, axis=1)
    return np.asarray(np.where(known, EDGE * step, np.where(a == b, 0.0, step + back)))
