"""Where a photo repeats itself: dominant shifts and mirrorings between similar patches.

He & Sun, "Statistics of patch offsets for image completion" (ECCV 2012): match every known patch
to its nearest neighbour in the photo, barring the trivial near ones; the offsets pile up at few peaks.
Where features are expected in the hole, its own pixels are matched too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

PATCH = 8
DIMENSIONS = 16  # kept of a patch's 192 numbers (PCA)
BARRED = 1 / 15  # offsets shorter than this share of the long side are trivial matches
STRIDE = 2  # of the hole pixels and sources compared by their features
BLOCK = 256  # queries matched at a time

Array = NDArray[np.float32]
Bool = NDArray[np.bool_]
Int = NDArray[np.int32]


@dataclass(frozen=True)
class Transforms:
    """k maps from a pixel to its source: y' = sign₀·y + shift₀, x' = sign₁·x + shift₁. Arrays (k, 2)."""

    sign: Int
    shift: Int

    def __len__(self) -> int:
        return len(self.sign)

    @staticmethod
    def shifts(dy: NDArray[np.integer], dx: NDArray[np.integer], mirror_x: bool = False) -> Transforms:
        shift = np.stack([dy, dx], 1).astype(np.int32)
        sign = np.ones_like(shift)
        sign[:, 1] = -1 if mirror_x else 1
        return Transforms(sign, shift)

    @staticmethod
    def join(*parts: Transforms) -> Transforms:
        """All maps of all parts, in order, duplicates dropped."""
        rows = np.concatenate([np.hstack([p.sign, p.shift]) for p in parts])
        _, first = np.unique(rows, axis=0, return_index=True)
        rows = rows[np.sort(first)]
        return Transforms(rows[:, :2], rows[:, 2:])

    def scaled(self, scale: NDArray[np.float64]) -> Transforms:
        """The same maps in a picture enlarged by `scale` (y, x). Pixel centres lie at +½: a mirror x' = c − x becomes
        x' = (c + 1)·s − 1 − x."""
        mirror = (self.sign < 0).astype(np.int32)
        return Transforms(self.sign, np.rint((self.shift + mirror) * scale).astype(np.int32) - mirror)

    def take(self, which: Sequence[int]) -> Transforms:
        return Transforms(self.sign[list(which)], self.shift[list(which)])

    def apply(self, which: NDArray[np.integer], at: NDArray[np.integer]) -> NDArray[np.integer]:
        """Sources (n, 2) of pixels (n, 2), y before x, each under its own map `which` (n,)."""
        return self.sign[which] * at + self.shift[which]

    def lookup(self, y: NDArray[np.integer], x: NDArray[np.integer], usable: Bool) -> tuple[Int, Bool]:
        """Sources of n pixels under every map: flat index, clamped into the picture, and whether usable; (k, n)."""
        h, w = usable.shape
        sy = self.sign[:, :1] * y + self.shift[:, :1]
        sx = self.sign[:, 1:] * x + self.shift[:, 1:]
        inside = (sy >= 0) & (sy < h) & (sx >= 0) & (sx < w)
        flat = np.clip(sy, 0, h - 1) * w + np.clip(sx, 0, w - 1)
        return flat.astype(np.int32), inside & usable.ravel()[flat]


@dataclass(frozen=True)
class PatchFeatures:
    """PCA of the m wholly usable patches: top-left corners y, x; features plain and flipped (m, 16)."""

    y: Int
    x: Int
    plain: Array
    flipped: Array


def patch_features(image: Array, usable: Bool) -> PatchFeatures:
    """Features of all patches without an unusable pixel; none at all for a tiny or fully masked picture."""
    h, w = usable.shape
    empty = np.zeros(0, np.int32)
    none = PatchFeatures(empty, empty, np.zeros((0, 1), np.float32), np.zeros((0, 1), np.float32))
    if min(h, w) < PATCH:
        return none
    windows = np.lib.stride_tricks.sliding_window_view
    y, x = np.nonzero(windows(usable, (PATCH, PATCH)).all((2, 3)))
    if len(y) == 0:
        return none
    patches = windows(image, (PATCH, PATCH), axis=(0, 1))[y, x]  # (m, 3, 8, 8)
    flat = patches.reshape(len(y), -1) - patches.mean((0, 2, 3)).repeat(PATCH * PATCH)
    _, axes = np.linalg.eigh(flat.T @ flat)
    axes = axes[:, ::-1][:, :DIMENSIONS]
    mirror = axes.reshape(3, PATCH, PATCH, -1)[:, :, ::-1].reshape(axes.shape)
    return PatchFeatures(y.astype(np.int32), x.astype(np.int32), flat @ axes, flat @ mirror)


def dominant_shifts(features: PatchFeatures, usable: Bool, count: int) -> Transforms:
    """The `count` most frequent shifts between similar patches."""
    query, match = _match(features, features.plain, usable)
    dy, dx = features.y[match] - features.y[query], features.x[match] - features.x[query]
    return Transforms.shifts(*_peaks(dy, dx, count))


def mirror_shifts(features: PatchFeatures, usable: Bool, count: int) -> Transforms:
    """The `count` most frequent left-right mirrorings between similar patches."""
    query, match = _match(features, features.flipped, usable)
    dy = features.y[match] - features.y[query]
    axis = features.x[match] + features.x[query] + PATCH - 1  # x' = axis - x
    return Transforms.shifts(*_peaks(dy, axis, count), mirror_x=True)


def matching_shifts(offered: Array, wanted: Array, mask: Bool, usable: Bool, count: int) -> Transforms:
    """The `count` most frequent shifts from a hole pixel to where the photo offers most nearly what is wanted there.

    offered, wanted (h, w, C): features of the photo, and those expected in the hole. Every second pixel both ways.
    """
    grid = np.zeros_like(mask)
    grid[::STRIDE, ::STRIDE] = True
    (qy, qx), (sy, sx) = np.nonzero(mask & grid), np.nonzero(usable & grid)
    if len(qy) == 0 or len(sy) == 0:
        return Transforms.shifts(np.zeros(0, np.int32), np.zeros(0, np.int32))
    query, sources = wanted[qy, qx], offered[sy, sx]
    norms = (sources**2).sum(1)
    match = np.concatenate(
        [(norms - 2 * query[i : i + BLOCK] @ sources.T).argmin(1) for i in range(0, len(query), BLOCK)]
    )
    return Transforms.shifts(*_peaks((sy[match] - qy).astype(np.int32), (sx[match] - qx).astype(np.int32), count))


def _match(features: PatchFeatures, candidates: Array, usable: Bool) -> tuple[Int, Int]:
    """Indices of every second patch both ways and of its nearest candidate that is not trivially near."""
    y, x = features.y, features.x
    query = np.flatnonzero((y % 2 == 0) & (x % 2 == 0)).astype(np.int32)
    reach = max(1, int(max(usable.shape) * BARRED))
    index = np.full((usable.shape[0] + 2 * reach, usable.shape[1] + 2 * reach), len(y), np.int32)
    index[y + reach, x + reach] = np.arange(len(y))
    ry, rx = (r.ravel() for r in np.indices((2 * reach + 1, 2 * reach + 1)))
    norms = np.append((candidates**2).sum(1), 0).astype(np.float32)
    padded = np.vstack([-2 * candidates, np.zeros((1, candidates.shape[1]), np.float32)])
    match = np.empty(len(query), np.int32)
    best = np.empty(len(query), np.float32)
    for i in range(0, len(query), BLOCK):
        q = query[i : i + BLOCK]
        distance = features.plain[q] @ padded.T
        distance += norms
        near = index[y[q, None] + ry, x[q, None] + rx]
        distance[np.arange(len(q))[:, None], near] = np.inf
        distance[:, -1] = np.inf  # the column that near patches outside the list point to
        match[i : i + BLOCK] = distance.argmin(1)
        best[i : i + BLOCK] = distance[np.arange(len(q)), match[i : i + BLOCK]]
    found = np.isfinite(best)
    return query[found], match[found]


def _peaks(dy: Int, dx: Int, count: int) -> tuple[Int, Int]:
    """The highest local maxima of the smoothed histogram of (dy, dx), highest first."""
    if len(dy) == 0 or count == 0:
        return np.zeros(0, np.int32), np.zeros(0, np.int32)
    top, left = dy.min(), dx.min()
    histogram = np.zeros((np.ptp(dy) + 1, np.ptp(dx) + 1), np.float32)
    np.add.at(histogram, (dy - top, dx - left), 1)
    smooth = cv2.GaussianBlur(histogram, (0, 0), 2**0.5, borderType=cv2.BORDER_CONSTANT)
    highest = smooth >= cv2.dilate(smooth, np.ones((5, 5), np.uint8))
    y, x = np.nonzero(highest & (smooth > 0))
    order = np.argsort(-smooth[y, x], kind="stable")[:count]
    return (y[order] + top).astype(np.int32), (x[order] + left).astype(np.int32)
