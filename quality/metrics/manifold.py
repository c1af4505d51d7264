"""Do the filled pictures look like real ones, and like all of them? Scores from nearest-neighbour balls.

Features (N, D) of any float type; distances in float64, in blocks, so that memory stays bounded.
"""

from __future__ import annotations

import numpy as np

from restore.errors import InputError

BLOCK = 1024  # rows whose distances to all others are held at once


def precision_recall(real: np.ndarray, fake: np.ndarray, k: int = 3) -> tuple[float, float]:
    """Shares of fake rows in the real manifold and of real rows in the fake one (Kynkäänniemi et al., NeurIPS 2019).

    The manifold of a set: the union of balls around its rows, each as wide as the k-th nearest other row is far.
    Raises InputError when a set has at most k rows or the widths differ.
    """
    real, fake = _sets(real, fake, k)
    radius_real, radius_fake = _radii(real, k), _radii(fake, k)
    precise, recalled = [], np.zeros(len(real), bool)
    for block in _blocks(fake):
        distance = _distances(fake[block], real)
        precise.append((distance <= radius_real).any(1))
        recalled |= (distance <= radius_fake[block, None]).any(0)
    return float(np.concatenate(precise).mean()), float(recalled.mean())


def density_coverage(real: np.ndarray, fake: np.ndarray, k: int = 5) -> tuple[float, float]:
    """How many real balls a fake row lies in, over k, and the share of real balls that hold one (Naeem et al., 2020).

    Density can exceed 1; an outlier among the real rows harms neither. Raises as `precision_recall` does.
    """
    real, fake = _sets(real, fake, k)
    radius = _radii(real, k)
    inside, covered = 0, np.zeros(len(real), bool)
    for block in _blocks(fake):
        within = _distances(fake[block], real) <= radius
        inside += int(within.sum())
        covered |= within.any(0)
    return inside / (k * len(fake)), float(covered.mean())


def nearest_distances(rows: np.ndarray, reference: np.ndarray, k: int) -> np.ndarray:
    """Distances from each of `rows` to its k nearest of `reference`, ascending: (N, k)."""
    nearest = [np.sort(np.partition(_distances(rows[b], reference), k - 1, 1)[:, :k], 1) for b in _blocks(rows)]
    return np.concatenate(nearest)


def _radii(x: np.ndarray, k: int) -> np.ndarray:
    """Distance of every row to its k-th nearest other row."""
    return np.asarray(nearest_distances(x, x, k + 1)[:, k])  # the nearest of all is the row itself


def _distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    squared = (x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * (x @ y.T)
    return np.asarray(np.sqrt(squared.clip(min=0)))


def _blocks(x: np.ndarray) -> list[slice]:
    return [slice(i, i + BLOCK) for i in range(0, len(x), BLOCK)]


def _sets(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    if real.ndim != 2 or fake.ndim != 2 or real.shape[1] != fake.shape[1]:
        raise InputError(f"expected two (N, D) sets of equal D, got {real.shape} and {fake.shape}")
    if min(len(real), len(fake)) <= k:
        raise InputError(f"expected more than k = {k} rows in each set, got {len(real)} and {len(fake)}")
    return real, fake
