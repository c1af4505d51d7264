"""Streams of batches give what all at once gives, whatever the batches and however they are merged."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from restore.errors import InputError
from restore.quality.metrics.full_reference import psnr
from restore.quality.metrics.sets import frechet_distance, kernel_distance
from restore.quality.metrics.streaming import Frechet, MeanOverPairs, OverSets

GENERATOR = torch.Generator().manual_seed(0)
REAL, FAKE = (torch.rand(30, 3, 8, 8, generator=GENERATOR) for _ in range(2))


def embed(images: torch.Tensor) -> np.ndarray:
    """Four features far from zero, where naive sums of squares would cancel."""
    return images[:, :, ::4, ::4].mean(1).flatten(1).double().numpy() + 1e5


@pytest.mark.parametrize("size", [1, 7, 30])
@pytest.mark.parametrize("metric", [Frechet(embed), OverSets(embed, kernel_distance)])
def test_any_batches_give_the_whole(metric: Frechet | OverSets, size: int) -> None:
    metric.reset()
    for fake, real in zip(FAKE.split(size), REAL.split(size), strict=True):
        metric.update(fake, real=False)
        metric.update(real, real=True)
    whole = frechet_distance if isinstance(metric, Frechet) else kernel_distance
    assert metric.compute() == pytest.approx(whole(embed(REAL), embed(FAKE)), rel=1e-6)


def test_two_processes_merge_into_one() -> None:
    for make in (lambda: Frechet(embed), lambda: OverSets(embed, frechet_distance)):
        parts = [make(), make()]
        for metric, rows in zip(parts, (slice(0, 11), slice(11, 30)), strict=True):
            metric.update(REAL[rows], real=True)
            metric.update(FAKE[rows] * 0.5, real=False)
        parts[0].merge(parts[1])
        assert parts[0].compute() == pytest.approx(frechet_distance(embed(REAL), embed(FAKE * 0.5)), rel=1e-6)


def test_mean_over_pairs_counts_pictures_not_batches() -> None:
    metric, other = MeanOverPairs(psnr), MeanOverPairs(psnr)
    metric.update(FAKE[:1], REAL[:1])
    other.update(FAKE[1:], REAL[1:])
    metric.merge(other)
    assert metric.compute() == pytest.approx(psnr(FAKE, REAL).mean().item(), rel=1e-12)
    metric.reset()
    with pytest.raises(InputError, match="update"):
        metric.compute()


def test_one_set_alone_is_refused() -> None:
    for metric in (Frechet(embed), OverSets(embed, kernel_distance)):
        metric.update(REAL, real=True)
        with pytest.raises(InputError, match="expected"):
            metric.compute()
