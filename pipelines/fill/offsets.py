"""Where a photo repeats itself: dominant shifts, mirrorings and turns between similar patches.

He & Sun, "Statistics of patch offsets for image completion" (ECCV 2012): match every known patch
to its nearest neighbour in the photo, barring the trivial near ones; the offsets pile up at few peaks.
Where features are expected in the hole, its own pixels are matched too.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from restore.pipelines.fill.transforms import LINEAR, MIRRORED, TURNED, Transforms

PATCH = 8
MIDDLE = (PATCH - 1) / 2  # of a patch, from its first pixel
DIMENSIONS = 16  # kept of a patch's 192 numbers (PCA)
BARRED = 1 / 15  # offsets shorter than this share of the long side are trivial matches
STRIDE = 2  # of the hole pixels and sources compared by their features
BLOCK = 64  # queries matched at a time: their distances to all patches stay in the processor's cache
BESIDE = 12  # pixels from the hole within which patches look for turned ones like them

Array = NDArray[np.float32]
Bool = NDArray[np.bool_]
Int = NDArray[np.int32]


@dataclass(frozen=True)
class PatchFeatures:
    """PCA of the m wholly usable patches: top-left corners y, x; features plain and flipped (m, 16);
    axes (192, 16) and mean (192,): what makes features of patches."""

    y: Int
    x: Int
    plain: Array
    flipped: Array
    axes: Array
    mean: Array


def patch_features(image: Array, usable: Bool) -> PatchFeatures:
    """Features of all patches without an unusable pixel; none at all for a tiny or fully masked picture."""
    h, w = usable.shape
    empty = np.zeros(0, np.int32)
    nothing = np.zeros((0, 1), np.float32)
    none = PatchFeatures(empty, empty, nothing, nothing, np.zeros((3 * PATCH**2, 1), np.float32), nothing[:, 0])
    if min(h, w) < PATCH:
        return none
    windows = np.lib.stride_tricks.sliding_window_view
    y, x = np.nonzero(windows(usable, (PATCH, PATCH)).all((2, 3)))
    if len(y) == 0:
        return none
    patches = windows(image, (PATCH, PATCH), axis=(0, 1))[y, x]  # (m, 3, 8, 8)
    mean = patches.mean((0, 2, 3)).repeat(PATCH * PATCH)
    flat = patches.reshape(len(y), -1) - mean
    _, axes = np.linalg.eigh(flat.T @ flat)
    axes = axes[:, ::-1][:, :DIMENSIONS]
    mirror = axes.reshape(3, PATCH, PATCH, -1)[:, :, ::-1].reshape(axes.shape)
    return PatchFeatures(y.astype(np.int32), x.astype(np.int32), flat @ axes, flat @ mirror, axes, mean)


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
    return Transforms.shifts(*_peaks(dy, axis, count), kind=MIRRORED)


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


def turned_shifts(image: Array, mask: Bool, usable: Bool, features: PatchFeatures, count: int) -> Transforms:
    """Of every kind that scales or rotates, the `count` most frequent maps from patches beside the hole (h, w) to
    similar patches of the image (h, w, 3) seen through it. `features`: of the image's own patches."""
    beside = cv2.dilate(mask.astype(np.uint8), np.ones((2 * BESIDE + 1, 2 * BESIDE + 1), np.uint8)) > 0
    y, x = features.y + PATCH // 2, features.x + PATCH // 2
    near_hole = np.flatnonzero(beside[y, x] & (y % 2 == 0) & (x % 2 == 0))
    query, at = features.plain[near_hole], np.stack([features.y, features.x], 1)[near_hole] + np.float32(MIDDLE)
    parts = [Transforms.shifts(y[:0], x[:0])]
    for kind in TURNED if len(query) and count else ():
        linear = LINEAR[kind]
        offered, corner, first = _seen_through(image, usable, features, linear)
        if len(offered) == 0:
            continue
        place = np.rint(at @ np.linalg.inv(linear).T - MIDDLE - first).astype(np.int32)
        match, found = _nearest(query, place, offered, corner, _reach(usable))
        source = (corner[match] + MIDDLE + first) @ linear.T
        shift = np.rint(source - at @ linear.T).astype(np.int32)[found]
        parts.append(Transforms.shifts(*_peaks(shift[:, 0], shift[:, 1], count), kind=kind))
    return Transforms.join(*parts)


def _seen_through(image: Array, usable: Bool, features: PatchFeatures, linear: Array) -> tuple[Array, Int, Array]:
    """The patches of the image resampled at steps `linear`: features (m, 16), top-left corners (m, 2), and what
    must be added to places in the resampled picture (2,) before `linear` takes them to the image."""
    h, w = usable.shape
    corners = np.array([[0, 0], [h - 1, 0], [0, w - 1], [h - 1, w - 1]]) @ np.linalg.inv(linear).T
    first = np.floor(corners.min(0)).astype(np.float32)
    size = np.maximum(np.ceil(corners.max(0) - first).astype(int) + 1, PATCH)
    move = np.concatenate([linear[::-1, ::-1], (linear @ first)[::-1, None]], 1)  # OpenCV has x before y
    shape, inverse = (int(size[1]), int(size[0])), cv2.WARP_INVERSE_MAP
    seen = cv2.warpAffine(image, move, shape, flags=inverse | cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    known = cv2.warpAffine(usable.astype(np.float32), move, shape, flags=inverse | cv2.INTER_LINEAR) > 0.999
    whole = cv2.erode(known.astype(np.uint8), np.ones((PATCH, PATCH), np.uint8), anchor=(0, 0))
    y, x = np.nonzero(whole[: size[0] - PATCH + 1, : size[1] - PATCH + 1])
    windows = np.lib.stride_tricks.sliding_window_view(seen, (PATCH, PATCH), axis=(0, 1))
    flat = windows[y, x].reshape(len(y), features.mean.size)
    return flat @ features.axes - features.mean @ features.axes, np.stack([y, x], 1).astype(np.int32), first


def _match(features: PatchFeatures, candidates: Array, usable: Bool) -> tuple[Int, Int]:
    """Indices of every second patch both ways and of its nearest candidate that is not trivially near."""
    y, x = features.y, features.x
    query = np.flatnonzero((y % 2 == 0) & (x % 2 == 0)).astype(np.int32)
    corner = np.stack([y, x], 1)
    match, found = _nearest(features.plain[query], corner[query], candidates, corner, _reach(usable))
    return query[found], match[found]


def _reach(usable: Bool) -> int:
    return max(1, int(max(usable.shape) * BARRED))


def _nearest(query: Array, place: Int, offered: Array, corner: Int, reach: int) -> tuple[Int, Bool]:
    """Index of the patch offered (m, 16) that has the features nearest to each query (n, 16), and whether there is any:
    those with corners (m, 2) within `reach` of the query's place (n, 2) in their picture are barred."""
    place = place.clip(0)
    size = np.maximum(corner.max(0, initial=0), place.max(0, initial=0)) + 2 * reach + 1
    index = np.full(size, len(corner), np.int32)
    index[corner[:, 0] + reach, corner[:, 1] + reach] = np.arange(len(corner))
    ry, rx = (r.ravel() for r in np.indices((2 * reach + 1, 2 * reach + 1)))
    norms = np.append((offered**2).sum(1), 0).astype(np.float32)
    padded = np.vstack([-2 * offered, np.zeros((1, offered.shape[1]), np.float32)])
    match = np.empty(len(query), np.int32)
    best = np.empty(len(query), np.float32)
    for i in range(0, len(query), BLOCK):
        part = np.s_[i : i + BLOCK]
        distance = query[part] @ padded.T
        distance += norms
        near = index[place[part, :1] + ry, place[part, 1:] + rx]
        distance[np.arange(len(near))[:, None], near] = np.inf
        distance[:, -1] = np.inf  # the column that near patches outside the list point to
        match[part] = distance.argmin(1)
        best[part] = distance[np.arange(len(near)), match[part]]
    return match, np.isfinite(best)


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
