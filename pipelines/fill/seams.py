"""From a small shift map to full-size pixels: upscale the labels, copy, close the seams.

Copying costs little at any photo size, and texture and grain stay the photo's own (Zeng et al.,
"High-resolution image inpainting with iterative confidence feedback and guided upsampling", ECCV 2020).
Seams are closed in the gradient domain (Pérez et al., "Poisson image editing", SIGGRAPH 2003), but
screened and robust: plain Poisson bleeds colour across big steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.sparse.linalg import splu

from restore.errors import InputError
from restore.images.geometry import fitted
from restore.pipelines.fill.shift_map import ShiftMap
from restore.pipelines.fill.transforms import Transforms

STEP = 0.25  # colour step at which a seam's weight has fallen to a half
SCREEN = 0.004  # pull towards the copied colour, per pixel of a crop of REFERENCE pixels
REFERENCE = 256  # long side of the crop at which SCREEN holds; larger crops spread corrections further
DIRECT = 3000  # up to this many unknowns are solved by factorisation
TOLERANCE = 1e-3  # relative residual of the iterative solver
ITERATIONS = 60
POLISH = 12  # steps from corrections that are about right

Array = NDArray[np.floating]
Bool = NDArray[np.bool_]
Int = NDArray[np.integer]


@dataclass(frozen=True)
class Composite:
    """A filled crop: image (H, W, 3); mask (H, W); label (H, W) of each hole pixel, -1 outside; moves at full size.

    `known` (H, W, 3) is the crop it was made from; its hole's content is never used.
    """

    image: Array
    mask: Bool
    label: Int
    moves: Transforms
    known: Array

    @property
    def source(self) -> NDArray[np.int32]:
        """(H, W, 3): kind and shift (y, x) of the map (`Transforms`) from each hole pixel to its source; 0 where there
        is none, and outside the hole."""
        y, x = np.nonzero(self.mask)
        label = self.label[y, x]
        good = self.moves.look(self.known, ~self.mask, label, y, x)[1]
        out = np.zeros((*self.mask.shape, 3), np.int32)
        out[y[good], x[good]] = self.moves.rows()[label[good]]
        return out

    @property
    def seams(self) -> Bool:
        """Hole pixels (H, W) with a right or lower neighbour of another label, or beside the hole's edge."""
        out = np.zeros(self.mask.shape, bool)
        across, down = self.label[:, 1:] != self.label[:, :-1], self.label[1:] != self.label[:-1]
        out[:, 1:] |= across
        out[:, :-1] |= across
        out[1:] |= down
        out[:-1] |= down
        return out & self.mask


def shrink(image: Array, mask: Bool, side: int) -> tuple[Array, Bool]:
    """The crop at working size, long side ≤ `side`: mean of each cell's known pixels; a cell with any hole is hole.

    Cells without a known pixel are black.
    """
    h, w = mask.shape
    size = fitted((w, h), side)
    if size == (w, h):
        return image.astype(np.float32), mask.copy()
    known = cv2.resize((~mask).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    small = cv2.resize(image * ~mask[..., None], size, interpolation=cv2.INTER_AREA)
    return (small / np.maximum(known, 1e-6)[..., None]).clip(0, 1), known < 1 - 1e-6


def compose(image: Array, mask: Bool, shift_map: ShiftMap) -> Composite:
    """Fill the hole of a full-size crop (H, W, 3) by a shift map of the same crop at working size.

    A pixel whose scaled source falls outside the crop or into the hole takes over the label of the
    nearest pixel where that label works here, else the colour of the nearest known pixel.
    """
    if image.shape[:2] != mask.shape or not (mask.any() and (~mask).any()):
        raise InputError(f"expected a crop and its mask with hole and known pixels, got {image.shape}, {mask.shape}")
    scale = np.array(mask.shape) / shift_map.label.shape
    moves = shift_map.moves.scaled(scale)
    size = mask.shape[::-1]
    label = spread(shift_map.label, shift_map.label >= 0)
    label = cv2.resize(label.astype(np.float32), size, interpolation=cv2.INTER_NEAREST).astype(np.int32)
    y, x = np.nonzero(mask)
    colour, good = moves.look(image, ~mask, label[mask], y, x)
    for _ in range(4):
        if good.all():
            break
        settled = np.zeros_like(mask)
        settled[mask] = good
        label = np.where(mask & ~settled, spread(label, settled) if good.any() else 0, label)
        colour, good = moves.look(image, ~mask, label[mask], y, x)
    nearest = spread(np.arange(mask.size, dtype=np.int32).reshape(mask.shape), ~mask)[mask]
    filled = image.astype(np.float32, copy=True)
    filled[mask] = np.where(good[:, None], colour, image.reshape(-1, 3)[nearest])
    return Composite(filled, mask, np.where(mask, label, -1), moves, image)


def close_seams(composite: Composite, start: Array | None = None) -> Array:
    """The composite (H, W, 3) with the steps across its seams spread out; known pixels unchanged.

    start (n, 3): corrections of the n hole pixels, row by row, that are about right but for what is near the seams:
    a few steps from there are taken then.

    Minimises Σ w_pq ‖u_p − u_q + r_pq‖² + s Σ ‖u_p‖² over corrections u of the hole, u = 0 on known pixels;
    r_pq is the part of the step across a seam that neither side's source has; w = 1/(1 + (|r|/STEP)²).
    """
    mask = composite.mask
    screen = SCREEN * min(1.0, REFERENCE / max(mask.shape)) ** 2
    matrix, right = _system(composite, screen)
    if start is not None:
        inverse = (1 / matrix.diagonal())[:, None]
        correction = _descend(matrix, right, start.astype(np.float32), lambda r: inverse * r, POLISH)
    elif matrix.shape[0] <= DIRECT:
        correction = splu(matrix.tocsc()).solve(right)
    else:
        correction = _solve(matrix, right, _cells(composite))
    out = composite.image.copy()
    out[mask] = np.clip(out[mask] + correction, 0, 1)
    return out


def spread(values: Int, valid: Bool) -> Int:
    """Every pixel gets the value of the nearest valid one."""
    _, nearest = cv2.distanceTransformWithLabels(
        (~valid).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    table = np.zeros(nearest.max() + 1, np.int32)
    table[nearest[valid]] = values[valid]
    return table[nearest]


def _system(composite: Composite, screen: float) -> tuple[csr_array, Array]:
    """Normal equations of `close_seams`: matrix (n, n) and right-hand side (n, 3)."""
    mask, label = composite.mask, composite.label
    n = int(mask.sum())
    index = np.full(mask.shape, -1, np.int32)
    index[mask] = np.arange(n)
    diagonal = np.full(n, screen)
    right = np.zeros((n, 3))
    entries = []
    for axis in (0, 1):
        first, second = (np.s_[:-1], np.s_[1:]) if axis == 0 else (np.s_[:, :-1], np.s_[:, 1:])
        py, px = np.nonzero(mask[first] | mask[second])
        qy, qx = py + (axis == 0), px + (axis == 1)
        p, q = index[py, px], index[qy, qx]
        weight = np.ones(len(p))
        seam = np.flatnonzero(label[py, px] != label[qy, qx])
        step = _steps(composite, py[seam], px[seam], qy[seam], qx[seam])
        weight[seam] = 1 / (1 + np.mean(step**2, axis=1) / STEP**2)
        for end, sign in ((p, -1.0), (q, 1.0)):
            diagonal += np.bincount(end[end >= 0], weight[end >= 0], n)
            at = end[seam] >= 0
            for channel in range(3):
                pull = sign * weight[seam][at] * step[at, channel]
                right[:, channel] += np.bincount(end[seam][at], pull, n)
        both = (p >= 0) & (q >= 0)
        entries.append((p[both], q[both], weight[both]))
    p, q, weight = (np.concatenate(part) for part in zip(*entries, strict=True))
    links = coo_array((-np.tile(weight, 2), (np.concatenate([p, q]), np.concatenate([q, p]))), shape=(n, n))
    return csr_array(links + diags_array(diagonal)).astype(np.float32), right.astype(np.float32)


def _steps(composite: Composite, py: Int, px: Int, qy: Int, qx: Int) -> Array:
    """r (m, 3): colour difference p − q in the composite less the mean of what the two sources show there."""
    image, known, usable = composite.image, composite.known, ~composite.mask
    wanted = np.zeros((len(py), 3), np.float32)
    votes = np.zeros((len(py), 1), np.float32)
    for label in (composite.label[py, px], composite.label[qy, qx]):
        at_p, good_p = composite.moves.look(known, usable, label, py, px)
        at_q, good_q = composite.moves.look(known, usable, label, qy, qx)
        vote = (good_p & good_q & (label >= 0))[:, None]
        wanted += vote * (at_p - at_q)
        votes += vote
    return image[py, px] - image[qy, qx] - wanted / np.maximum(votes, 1)


def _cells(composite: Composite) -> Int:
    """A coarse unknown for each hole pixel (n,): square cells, cut where the label changes."""
    y, x = np.nonzero(composite.mask)
    size = max(2, int(np.ceil(np.sqrt(len(y) / DIRECT))))
    key = ((y // size) * composite.mask.shape[1] + x // size) * len(composite.moves) + composite.label[y, x]
    return np.unique(key, return_inverse=True)[1].astype(np.int32)


def _solve(matrix: csr_array, right: Array, cells: Int) -> Array:
    """Conjugate gradients; preconditioner: Jacobi plus an exact solve on the cells (Nicolaides, SINUM 1987)."""
    n, m = len(cells), int(cells.max()) + 1
    widen = csr_array((np.ones(n, np.float32), (np.arange(n), cells)), shape=(n, m))
    gather = csr_array(widen.T)
    coarse = splu((gather @ matrix @ widen).tocsc())
    inverse = (1 / matrix.diagonal())[:, None]

    def precondition(r: Array) -> Array:
        return inverse * r + widen @ coarse.solve(gather @ r)

    return _descend(matrix, right, np.zeros_like(right), precondition, ITERATIONS)


def _descend(
    matrix: csr_array, right: Array, x: Array, precondition: Callable[[Array], Array], iterations: int
) -> Array:
    """Conjugate gradients from x (n, 3), every column for itself."""
    r = right - matrix @ x
    goal = TOLERANCE * np.linalg.norm(right)
    z = precondition(r)
    d, rz = z, (r * z).sum(0)
    for _ in range(iterations):
        if np.linalg.norm(r) <= goal:
            break
        ad = matrix @ d
        step = rz / np.maximum((d * ad).sum(0), 1e-30)
        x = x + step * d
        r -= step * ad
        z = precondition(r)
        new = (r * z).sum(0)
        d, rz = z + new / np.maximum(rz, 1e-30) * d, new
    return x
