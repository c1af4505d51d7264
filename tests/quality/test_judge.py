"""The judge: what its numbers mean, and that the shipped weights know a photo from damage."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from restore.quality.judges.judge import Judgement, quality_of
from restore.quality.judges.judge_net import STRIDE, severity


def judgement(probability: np.ndarray, hole: np.ndarray) -> Judgement:
    return Judgement(probability.astype(np.float32), hole, 0.2)


def test_par_hole_and_par_image_are_the_papers_ratios():
    probability, hole = np.zeros((10, 20)), np.zeros((10, 20), bool)
    hole[:5, :8] = True
    probability[:5, :2] = 0.9
    probability[8:, 15:] = 0.9  # outside the hole: never an artifact of it
    found = judgement(probability, hole)
    assert found.par_hole == pytest.approx(10 / 40)
    assert found.par_image == pytest.approx(10 / 200)


def test_an_empty_region_has_no_artifacts():
    assert judgement(np.ones((4, 4)), np.zeros((4, 4), bool)).par_hole == 0


def test_quality_falls_from_100():
    values = [quality_of(s) for s in (0, 0.1, 0.5, 1.5)]
    assert values[0] == 100
    assert values == sorted(values, reverse=True)
    assert quality_of(-1) == 100


def test_severity_is_zero_for_the_truth_and_local_for_local_damage(engine):
    truth = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    damaged = truth.clone()
    damaged[..., :16, :16] = 0
    same, local = (severity(engine._lite0, x, truth)[0, 0] for x in (truth, damaged))
    assert same.shape == (64 // STRIDE, 64 // STRIDE)
    assert same.max() == 0
    assert local[:4, :4].mean() > 3 * local[8:, 8:].mean()


def test_judging_is_deterministic_and_never_looks_outside_the_array(engine, scene, hole):
    a, b = (engine._judge(scene, hole) for _ in range(2))
    assert np.array_equal(a.probability, b.probability)
    assert a.probability.shape == scene.shape[:2]
    assert (a.probability[~hole] == 0).all()
    assert 0 <= a.probability.min() <= a.probability.max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (33, 16), (640, 480)])
def test_any_size_is_judged(engine, size):
    image = np.full((*size, 3), 90, np.uint8)
    found = engine._judge(image)
    assert found.probability.shape == size
    assert np.isfinite(found.severity)


def test_worse_fills_get_worse_marks(engine, scene, hole):
    """Noise and a wrong colour in the hole score below the photo itself, in PAR and in quality."""
    rng = np.random.default_rng(0)
    noise, colour = scene.copy(), scene.copy()
    noise[hole] = rng.integers(0, 255, (int(hole.sum()), 3), dtype=np.uint8)
    colour[hole] = (255, 0, 200)
    clean = engine._judge(scene, hole)
    for damaged in (noise, colour):
        found = engine._judge(damaged, hole)
        assert found.quality < clean.quality - 10
        assert found.par_hole > clean.par_hole + 0.2
