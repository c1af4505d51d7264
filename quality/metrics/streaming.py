"""Metrics that take a stream of batches: `update` as they come, `compute` at the end, `merge` across processes.

The interface of torchmetrics, without that dependency. Batches may be of any size: the result is the same.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from restore.errors import InputError
from restore.quality.metrics.sets import Statistic, frechet_gaussians

PairMetric = Callable[[Tensor, Tensor], Tensor]
Embed = Callable[[Tensor], np.ndarray]


class MeanOverPairs:
    """Mean of a per-picture metric of (image, truth), e.g. `psnr`, `ssim` or `ms_ssim` of `full_reference`."""

    def __init__(self, metric: PairMetric) -> None:
        self.metric = metric
        self.reset()

    def reset(self) -> None:
        self.values: list[float] = []

    def update(self, image: Tensor, truth: Tensor) -> None:
        """image, truth: (N, C, H, W), N of any size."""
        with torch.no_grad():
            self.values += [float(v) for a, b in zip(image, truth, strict=True) for v in self.metric(a[None], b[None])]

    def merge(self, other: MeanOverPairs) -> None:
        """Add what another process saw."""
        self.values += other.values

    def compute(self) -> float:
        """Raises InputError before any update."""
        if not self.values:
            raise InputError("expected at least one update before compute, got none")
        return float(np.mean(self.values))


class Frechet:
    """Fréchet distance from running sums: memory does not grow with the number of pictures.

    `embed` gives features (N, D) of images (N, 3, H, W).
    """

    def __init__(self, embed: Embed) -> None:
        self.embed = embed
        self.reset()

    def reset(self) -> None:
        self.sums = [_Moments(), _Moments()]

    def update(self, images: Tensor, *, real: bool) -> None:
        self.sums[real].add(np.asarray(self.embed(images), np.float64))

    def merge(self, other: Frechet) -> None:
        for mine, theirs in zip(self.sums, other.sums, strict=True):
            mine.merge(theirs)

    def compute(self) -> float:
        """Raises InputError for fewer than two pictures of either kind."""
        fake, real = self.sums
        return frechet_gaussians(*real.gaussian(), *fake.gaussian())


class OverSets:
    """Any statistic of two sets of features: `kernel_distance`, `u_ids`, `lambda r, f: precision_recall(r, f)[0]` …

    Keeps all features.
    """

    def __init__(self, embed: Embed, statistic: Statistic) -> None:
        self.embed, self.statistic = embed, statistic
        self.reset()

    def reset(self) -> None:
        self.rows: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])

    def update(self, images: Tensor, *, real: bool) -> None:
        self.rows[real].append(np.asarray(self.embed(images)))

    def merge(self, other: OverSets) -> None:
        for mine, theirs in zip(self.rows, other.rows, strict=True):
            mine.extend(theirs)

    def compute(self) -> float | np.ndarray:
        """Raises InputError when one set has no pictures, and as the statistic does."""
        fake, real = self.rows
        if not fake or not real:
            raise InputError("expected pictures of both sets before compute, got none of one")
        return self.statistic(np.concatenate(real), np.concatenate(fake))


class _Moments:
    """Count, mean and scatter matrix, merged by Chan's update (1983): no cancellation of large sums."""

    def __init__(self) -> None:
        self.count, self.mean, self.scatter = 0, np.zeros(0), np.zeros((0, 0))

    def add(self, rows: np.ndarray) -> None:
        part = _Moments()
        part.count, part.mean = len(rows), rows.mean(0)
        part.scatter = (rows - part.mean).T @ (rows - part.mean)
        self.merge(part)

    def merge(self, other: _Moments) -> None:
        if other.count == 0:
            return
        if self.count == 0:
            self.count, self.mean, self.scatter = other.count, other.mean.copy(), other.scatter.copy()
            return
        total, away = self.count + other.count, other.mean - self.mean
        self.scatter += other.scatter + np.outer(away, away) * (self.count * other.count / total)
        self.mean += away * (other.count / total)
        self.count = total

    def gaussian(self) -> tuple[np.ndarray, np.ndarray]:
        if self.count < 2:
            raise InputError(f"expected at least 2 pictures of each set, got {self.count}")
        return self.mean, self.scatter / (self.count - 1)
