"""Several exposures of one scene merged into one picture (Mertens et al., "Exposure Fusion", Pacific Graphics 2007).

Every pixel comes from the exposures that show it well, blended by scale so that no seam is seen. What moved between
them is taken from one alone: the exposures' brightness is related by one rising curve, and what does not follow it
moved (Grosch, "Fast and robust high dynamic range image generation with camera and object movement", VMV 2006).
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float32]

DEPTH = 0.3  # width of the well exposed around mid grey, of [0, 1]; less turns dark and bright around
LEAST = 1e-3  # weight of what is clipped in every exposure
DARK, BRIGHT = 0.04, 0.96  # beyond, an exposure says nothing
BINS = 255  # of the curve between two exposures
MOVED, REACH = 0.12, 5  # difference from it, mean over a square of so many pixels, that noise and blur do not make
COARSEST = 8  # pixels of the short side of the coarsest scale


def merged(shots: list[Tensor]) -> tuple[Tensor, NDArray[np.bool_]]:
    """(the merged picture (1, 3, H, W) in [-1, 1], what moved (H, W)) of aligned exposures of that shape."""
    pictures = [((s[0].permute(1, 2, 0).cpu().numpy() + 1) / 2).astype(np.float32) for s in shots]
    seen = [((p > DARK) & (p < BRIGHT)).all(2).mean() for p in pictures]
    best = int(np.argmax(seen))
    ghosts = [
        np.zeros(p.shape[:2], np.bool_) if i == best else moved(p, pictures[best]) for i, p in enumerate(pictures)
    ]
    anything = np.any(ghosts, axis=0)
    weights = [np.where(ghost, 0, _weight(p)) for p, ghost in zip(pictures, ghosts, strict=True)]
    weights[best] = np.maximum(weights[best], 1e-3 * anything)
    total = np.sum(weights, 0)
    picture = _blended(pictures, [(w / total).astype(np.float32) for w in weights])
    return torch.from_numpy(picture.clip(0, 1) * 2 - 1).permute(2, 0, 1)[None].to(shots[0]).contiguous(), anything


def moved(shot: Array, best: Array) -> NDArray[np.bool_]:
    """Where an exposure (H, W, 3) shows something else than the best one does, (H, W)."""
    apart, longer = np.zeros(shot.shape[:2], np.float32), shot.mean() > best.mean()
    for c in range(3):
        known = shot[..., c] < BRIGHT if longer else shot[..., c] > DARK  # beyond, the other shows more of the scene
        expected = _curve(shot[..., c], best[..., c])
        difference = np.where(known, np.abs(expected - best[..., c]), 0)
        apart = np.maximum(apart, cv2.blur(difference, (REACH, REACH)))
    found = cv2.morphologyEx((apart > MOVED).astype(np.uint8), cv2.MORPH_OPEN, np.ones((REACH, REACH), np.uint8))
    return cv2.dilate(found, np.ones((2 * REACH + 1,) * 2, np.uint8)) > 0


def _curve(shot: Array, best: Array) -> Array:
    """What each pixel of `shot` (H, W) would be in `best`: the value there of the same rank (Grossberg & Nayar,
    "Determining the camera response from images", TPAMI 2003); little that moves hardly changes ranks."""
    levels, counts = np.unique((shot * BINS).astype(np.int64), return_counts=True)
    ranks = (np.cumsum(counts) - counts / 2) / shot.size
    return np.interp(shot, levels / BINS, np.quantile(best, ranks)).astype(np.float32)


def _weight(picture: Array) -> Array:
    """How well an exposure shows each pixel, (H, W) > 0: by its worst channel, so that no colour is half clipped."""
    return np.asarray(np.exp(-((picture - 0.5) ** 2) / (2 * DEPTH**2)).min(2) + LEAST, np.float32)


def _blended(pictures: list[Array], weights: list[Array]) -> Array:
    """Their weighted sum scale by scale (Burt & Adelson, 1983)."""
    levels = max(1, int(np.log2(min(pictures[0].shape[:2]) / COARSEST)))
    total: list[Array] = []
    for picture, weight in zip(pictures, weights, strict=True):
        bands, shares = _bands(picture, levels), [weight]
        while len(shares) < len(bands):
            shares.append(np.asarray(cv2.pyrDown(shares[-1]), np.float32))
        parts = [band * share[..., None] for band, share in zip(bands, shares, strict=True)]
        total = parts if not total else [a + b for a, b in zip(total, parts, strict=True)]
    out = total[-1]
    for band in reversed(total[:-1]):
        out = band + _up(out, band)
    return out


def _bands(picture: Array, levels: int) -> list[Array]:
    """Laplacian pyramid, finest first."""
    bands = []
    for _ in range(levels):
        small = np.asarray(cv2.pyrDown(picture), np.float32)
        bands.append(picture - _up(small, picture))
        picture = small
    return [*bands, picture]


def _up(small: Array, like: Array) -> Array:
    return np.asarray(cv2.pyrUp(small, dstsize=(like.shape[1], like.shape[0])), np.float32)
