"""Maps from a pixel to its source: the picture shifted, and it may be mirrored, scaled or turned.

A few scales and rotations beside the shifts as in "The generalized PatchMatch correspondence algorithm" (Barnes et al.,
ECCV 2010): they continue what changes its size or direction, in perspective or on an arc.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Bool = NDArray[np.bool_]
Int = NDArray[np.int32]


def _similarity(scale: float, degrees: float) -> list[list[float]]:
    """Steps of the source (y, x) for steps in y and x; a scale below 1 enlarges what is copied."""
    cosine, sine = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return [[cosine, sine], [-sine, cosine]]


NONE, SHIFTED, MIRRORED = range(3)  # kinds of maps: no source at all, a shift, a shift of the picture flipped
# Scale and degrees of the other kinds. None enlarges: such copies are softer than the photo around them.
SIMILARITIES = (1.25, 0), (1, 10), (1, -10)
TURNED = range(3, 3 + len(SIMILARITIES))  # those kinds: their sources lie between pixels
LINEAR = np.array(  # what each kind does to (y, x), (6, 2, 2)
    [[[0, 0], [0, 0]], [[1, 0], [0, 1]], [[1, 0], [0, -1]], *(_similarity(*s) for s in SIMILARITIES)], np.float32
)
_SIGN = np.where(np.arange(len(LINEAR))[:, None] <= MIRRORED, LINEAR.diagonal(0, 1, 2), 0).astype(np.int32)


@dataclass(frozen=True)
class Transforms:
    """k maps p' = LINEAR[kind]·p + shift from a pixel to its source. kind (k,); shift (k, 2), pixels, y before x."""

    kind: Int
    shift: Int

    def __len__(self) -> int:
        return len(self.kind)

    @staticmethod
    def shifts(dy: NDArray[np.integer], dx: NDArray[np.integer], kind: int = SHIFTED) -> Transforms:
        shift = np.stack([dy, dx], 1).astype(np.int32)
        return Transforms(np.full(len(shift), kind, np.int32), shift)

    @staticmethod
    def join(*parts: Transforms) -> Transforms:
        """All maps of all parts, in order, duplicates dropped."""
        rows = np.concatenate([p.rows() for p in parts])
        _, first = np.unique(rows, axis=0, return_index=True)
        rows = rows[np.sort(first)]
        return Transforms(rows[:, 0], rows[:, 1:])

    def rows(self) -> Int:
        """(k, 3): kind and shift."""
        return np.concatenate([self.kind[:, None], self.shift], 1)

    @property
    def turned(self) -> Bool:
        """Which maps scale or rotate (k,)."""
        return self.kind > MIRRORED

    def scaled(self, scale: NDArray[np.float64]) -> Transforms:
        """The same maps in a picture enlarged by `scale` (y, x). Pixel centres lie at +½: a mirror x' = c − x becomes
        x' = (c + 1)·s − 1 − x."""
        offset = (LINEAR[self.kind].sum(2) - 1) / 2
        return Transforms(self.kind, np.rint((self.shift - offset) * scale + offset).astype(np.int32))

    def take(self, which: Sequence[int]) -> Transforms:
        return Transforms(self.kind[list(which)], self.shift[list(which)])

    def points(self, which: NDArray[np.integer], at: NDArray[np.integer]) -> Array:
        """Sources (n, 2) of pixels (n, 2), y before x, each under its own map `which` (n,)."""
        linear = LINEAR[self.kind[which]]
        y, x = at.astype(np.float32).T
        moved = [linear[:, i, 0] * y + linear[:, i, 1] * x for i in (0, 1)]
        return np.asarray(np.stack(moved, 1) + self.shift[which].astype(np.float32))

    def apply(self, which: NDArray[np.integer], at: NDArray[np.integer]) -> NDArray[np.integer]:
        """The pixels nearest to these sources (n, 2)."""
        source = _SIGN[self.kind][which] * at + self.shift[which]
        if self.turned.any():
            turned = np.flatnonzero(self.turned[which])
            source[turned] = np.rint(self.points(which[turned], at[turned])).astype(np.int32)
        return source

    def lookup(self, y: NDArray[np.integer], x: NDArray[np.integer], usable: Bool) -> tuple[Int, Bool]:
        """Nearest sources of n pixels under every map: flat index, clamped into the picture, and whether usable;
        (k, n)."""
        h, w = usable.shape
        sign, shift, turned = _SIGN[self.kind], self.shift, np.flatnonzero(self.turned)
        sy, sx = sign[:, :1] * y + shift[:, :1], sign[:, 1:] * x + shift[:, 1:]
        for k in turned:
            sy[k], sx[k] = self.apply(np.full(len(y), k), np.stack([y, x], 1)).T
        inside = (sy >= 0) & (sy < h) & (sx >= 0) & (sx < w)
        flat = np.clip(sy, 0, h - 1) * w + np.clip(sx, 0, w - 1)
        return flat.astype(np.int32), inside & usable.ravel()[flat]

    def look(
        self,
        picture: NDArray[np.generic],
        usable: Bool,
        which: NDArray[np.integer],
        y: NDArray[np.integer],
        x: NDArray[np.integer],
    ) -> tuple[Array, Bool]:
        """What maps `which` (n,) bring to pixels (n,) from a picture (h, w, C): colours (n, C), and whether every pixel
        that they are made of is usable (h, w)."""
        h, w = usable.shape
        at = np.stack([y, x], 1)
        sy, sx = self.apply(which, at).T
        inside = (sy >= 0) & (sy < h) & (sx >= 0) & (sx < w)
        sy, sx = sy.clip(0, h - 1), sx.clip(0, w - 1)
        good, colour = inside & usable[sy, sx], picture[sy, sx].astype(np.float32, copy=False)
        if self.turned.any() and len(turned := np.flatnonzero(good & self.turned[which])):
            colour[turned], good[turned] = sample(picture, usable, self.points(which[turned], at[turned]))
        return colour, good


def uncropped(maps: Int, y: int, x: int) -> Int:
    """Maps (..., 3) of a crop (kind and shift) as maps of the picture that it was cut from at row y, column x."""
    corner = np.array([y, x], np.float32)
    moved = maps.copy()
    moved[..., 1:] += np.rint(corner - LINEAR[maps[..., 0]] @ corner).astype(np.int32)
    moved[maps[..., 0] == NONE] = 0
    return moved


def sample(picture: NDArray[np.generic], usable: Bool, at: Array) -> tuple[Array, Bool]:
    """Colours (n, C) of a picture (h, w, C) at points (n, 2) between its pixels, and whether the 16 around are usable.

    Cubic convolution (Keys, 1981) with a = −½: exact for quadratics. The picture's edge is repeated.
    """
    whole = np.floor(at)
    t, first = at - whole, whole.astype(np.int32)
    outer = ((2 - t) * t - 1) * t / 2, (t - 1) * t * t / 2
    weights = outer[0], (t * t * (3 * t - 5) + 2) / 2, ((4 - 3 * t) * t + 1) * t / 2, outer[1]
    h, w = usable.shape
    (top, left), (bottom, right) = (np.clip(f(first, axis=0), 0, (h - 1, w - 1)) for f in (np.min, np.max))
    top, left = max(0, top - 1), max(0, left - 1)
    part = np.s_[top : bottom + 3, left : right + 3]
    known, pixels = (np.ascontiguousarray(p[part]) for p in (usable, picture))  # few and in one piece: quick to look up
    rows = [(first[:, 0] + i).clip(0, h - 1) - top for i in range(-1, 3)]
    columns = [(first[:, 1] + i).clip(0, w - 1) - left for i in range(-1, 3)]
    colour, good = np.zeros((len(at), picture.shape[2]), np.float32), np.ones(len(at), np.bool_)
    for wy, sy in zip(weights, rows, strict=True):
        for wx, sx in zip(weights, columns, strict=True):
            flat = sy * known.shape[1] + sx
            colour += (wy[:, 0] * wx[:, 1])[:, None] * pixels.reshape(-1, pixels.shape[2]).take(flat, axis=0)
            good &= known.ravel().take(flat)
    return colour, good
