"""Fill a hole with the photo's own pixels: one label (a shift, mirrored or turned) per hole pixel, cut by max-flow.

He & Sun, "Statistics of patch offsets for image completion" (ECCV 2012, TPAMI 2014) for the labels,
Pritch et al., "Shift-map image editing" (ICCV 2009) for the energy, Boykov, Veksler & Zabih (TPAMI
2001) for α-expansion. Everything here works on a small crop; `seams.compose` brings the solution
to the photo's full size.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from restore.errors import InputError
from restore.pipelines.fill.expansion import Expansion
from restore.pipelines.fill.offsets import (
    dominant_shifts,
    matching_shifts,
    mirror_shifts,
    patch_features,
    turned_shifts,
)
from restore.pipelines.fill.transforms import MIRRORED, Transforms

Array = NDArray[np.floating]
Bool = NDArray[np.bool_]
Int = NDArray[np.integer]


@dataclass(frozen=True)
class ShiftMapOptions:
    """Settings of the labels and the energy; lengths in pixels of the working crop."""

    side: int = 128  # long side of the working crop (`seams.shrink`)
    peaks: int = 60  # shifts: highest peaks of the offset histogram
    mirrored: int = 30  # left-right mirrored shifts
    matched: int = 40  # shifts to where the photo has the features expected in the hole
    turned: int = 6  # of every scale and rotation, used where they lower the energy of the solution without them
    lam: float = 0.7  # weight of the guide against the seams
    mu: float = 1.0  # weight of the expected features, alike
    blur: float = 1.2  # σ of the blurs compared by the guide term
    sweeps: int = 2  # times every label may expand
    edge: float = 2.0  # weight of the seam against known neighbours


@dataclass(frozen=True)
class Features:
    """Of a crop: what the photo offers and what the hole is expected to hold, both (h, w, C)."""

    offered: Array
    wanted: Array


@dataclass(frozen=True)
class Labels:
    """The candidates of one crop and what each would bring to each of the n hole pixels.

    moves: where label k takes its pixels from; colour, blurred (k, n, 3): source colours, plain and
    blurred; allowed (k, n): the source is known, inside and not barred; source (k, n): its flat
    index; edge (k, n): colour step against the known neighbours; far (k, n): squared distance of the source's
    features to the expected ones where it is allowed, 0 when none are expected.
    """

    moves: Transforms
    mask: Bool
    colour: Array
    blurred: Array
    allowed: Bool
    source: Int
    edge: Array
    far: Array


@dataclass(frozen=True)
class ShiftMap:
    """A solution on the working crop (h, w).

    source_y, source_x: where each pixel's colour comes from (its own place outside the hole);
    label: index into `moves`, -1 outside the hole; energy: of the whole solution;
    seam_cost: each pixel's share of the seams' energy, 0 outside the hole.
    """

    source_y: Int
    source_x: Int
    label: Int
    moves: Transforms
    energy: float
    seam_cost: Array

    @property
    def mirrored(self) -> Bool:
        """Which labels mirror (k,)."""
        return self.moves.kind == MIRRORED


def offsets(
    image: Array,
    mask: Bool,
    options: ShiftMapOptions,
    barred: Bool | None = None,
    expected: Features | None = None,
) -> Labels:
    """The candidate labels of a crop, to be shared by all `solve` calls on it.

    image (h, w, 3) in [0, 1]; mask (h, w): the hole; barred (h, w): known pixels that may never be
    a source; expected: features to be met. Raises InputError when nothing is left to copy from.
    """
    _check(image, mask, barred)
    usable = ~mask if barred is None else ~mask & ~barred
    if not usable.any():
        raise InputError("expected known pixels around the hole to copy from, got none; use a larger crop")
    filled = _extend(image, usable)
    features = patch_features(filled, usable)
    parts = [dominant_shifts(features, usable, options.peaks), mirror_shifts(features, usable, options.mirrored)]
    if expected is not None:
        parts.append(matching_shifts(expected.offered, expected.wanted, mask, usable, options.matched))
    plain = _cover(Transforms.join(*parts), mask, usable)
    moves = Transforms.join(plain, turned_shifts(filled, mask, usable, features, options.turned))
    return _gather(moves, image, filled, mask, usable, expected, options)


def solve(
    image: Array,
    mask: Bool,
    guide: Array,
    labels: Labels,
    options: ShiftMapOptions,
    penalty: Array | None = None,
    rng: np.random.Generator | None = None,
) -> ShiftMap:
    """The label map of low energy for one guide.

    guide (h, w, 3): what the hole should look like, coarsely; penalty (h, w) ≥ 0: extra cost of a
    source pixel; rng shuffles the order of the expansions, for variants.
    """
    _check(image, mask, penalty)
    if guide.shape != image.shape:
        raise InputError(f"expected a guide of shape {image.shape}, got {guide.shape}; resize it")
    whole = np.where(mask[..., None], guide, image).astype(np.float32)
    target = cv2.GaussianBlur(whole, (0, 0), options.blur)[mask]
    unary = options.lam * np.linalg.norm(labels.blurred - target, axis=-1) + options.edge * labels.edge
    unary += options.mu * labels.far
    if penalty is not None:
        unary += penalty.ravel()[labels.source]
    expansion = Expansion(mask, labels.colour, unary, labels.allowed)
    turned = labels.moves.turned
    chosen, energy = expansion.run(options.sweeps, rng, np.flatnonzero(~turned))
    if turned.any():
        chosen, energy = expansion.run(1, rng, np.flatnonzero(turned), chosen)
    place = np.indices(mask.shape, np.int32)
    source = labels.source[chosen, np.arange(len(chosen))]
    label = np.full(mask.shape, -1, np.int32)
    seam_cost = np.zeros(mask.shape, np.float32)
    place[:, mask] = np.divmod(source, mask.shape[1])
    label[mask] = chosen
    pick = chosen, np.arange(len(chosen))
    seam_cost[mask] = expansion.seam_cost(chosen) + options.edge * labels.edge[pick]
    return ShiftMap(place[0], place[1], label, labels.moves, energy, seam_cost)


def _check(image: Array, mask: Bool, extra: NDArray[np.generic] | None) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or mask.shape != image.shape[:2]:
        raise InputError(
            f"expected an (h, w, 3) image and an (h, w) mask, got {image.shape} and {mask.shape}; crop them alike"
        )
    if extra is not None and extra.shape != mask.shape:
        raise InputError(f"expected a map of shape {mask.shape}, got {extra.shape}; resize it")
    if not mask.any():
        raise InputError("expected a hole to fill, got an empty mask; mark at least one pixel")


def _extend(image: Array, usable: Bool) -> Array:
    """The image with its unusable pixels replaced by the nearest usable ones."""
    _, index = cv2.distanceTransformWithLabels(
        (~usable).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    colours = np.zeros((index.max() + 1, 3), np.float32)
    colours[index[usable]] = image[usable]
    return colours[index]


def _cover(moves: Transforms, mask: Bool, usable: Bool) -> Transforms:
    """Add shifts until every hole pixel has an allowed source."""
    y, x = np.nonzero(mask)
    open_: Bool = ~np.any(moves.lookup(y, x, usable)[1], axis=0)
    while open_.any():
        first = int(np.argmax(open_))
        sy, sx = np.nonzero(usable)
        # The nearest source would leave its neighbours uncovered; of the nearer half take the one covering most.
        near = np.argsort(np.hypot(sy - y[first], sx - x[first]), kind="stable")[:: max(1, len(sy) // 64)]
        tried = Transforms.shifts(sy[near] - y[first], sx[near] - x[first])
        covers = tried.lookup(y[open_], x[open_], usable)[1]
        best = int(np.argmax(covers.sum(1)))
        moves = Transforms.join(moves, tried.take([best]))
        open_[open_] = ~covers[best]
    return moves


def _gather(
    moves: Transforms,
    image: Array,
    filled: Array,
    mask: Bool,
    usable: Bool,
    expected: Features | None,
    options: ShiftMapOptions,
) -> Labels:
    y, x = np.nonzero(mask)
    colours, source, allowed = _brought(moves, filled, usable, y, x)
    # Blur over usable pixels only: colours of the hole must not leak into what a label offers.
    weight = cv2.GaussianBlur(usable.astype(np.float32), (0, 0), options.blur)[..., None]
    blurred = cv2.GaussianBlur(filled * usable[..., None], (0, 0), options.blur) / np.maximum(weight, 1e-6)
    edge = np.zeros(source.shape, np.float32)
    h, w = mask.shape
    for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        qy, qx = y + dy, x + dx
        inside = (qy >= 0) & (qy < h) & (qx >= 0) & (qx < w)
        at = np.flatnonzero(inside)[~mask[qy[inside], qx[inside]]]
        there = _brought(moves, filled, usable, qy[at], qx[at])[0]
        edge[:, at] += np.linalg.norm(there - image[qy[at], qx[at]], axis=-1)
    far = np.zeros(source.shape, np.float32)
    if expected is not None:
        offered, wanted = expected.offered.reshape(h * w, -1), expected.wanted[mask]
        for k, may in enumerate(allowed):
            difference = offered[source[k, may]]
            difference -= wanted[may]
            far[k, may] = np.einsum("nc,nc->n", difference, difference)
    return Labels(moves, mask, colours, blurred.reshape(-1, 3)[source], allowed, source, edge, far)


def _brought(moves: Transforms, filled: Array, usable: Bool, y: Int, x: Int) -> tuple[Array, Int, Bool]:
    """What every map brings to n pixels: colours (k, n, 3), flat index of the source (k, n), whether it is usable."""
    source, allowed = moves.lookup(y, x, usable)
    colours, turned = filled.reshape(-1, 3)[source], np.flatnonzero(moves.turned)
    if len(turned):
        which, y, x = turned.repeat(len(y)), np.tile(y, len(turned)), np.tile(x, len(turned))
        shown, good = moves.look(filled, usable, which, y, x)
        colours[turned], allowed[turned] = shown.reshape(colours[turned].shape), good.reshape(allowed[turned].shape)
    return colours, source, allowed
