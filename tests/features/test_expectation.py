"""Expected features of a hole: a bias–variance identity, one expectation for many fills, known pixels only."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from restore.features.expectation import TAPS, Expectation, ExpectationNet, Expected
from restore.features.lite0 import Lite0, unit


@pytest.fixture(scope="module")
def lite0():
    torch.manual_seed(0)
    return Lite0().eval()


@pytest.fixture
def expectation(lite0):
    drafted = []

    def draft(image, hole):
        drafted.append(hole)
        return np.where(hole[..., None], np.float32(0.5), image)

    torch.manual_seed(1)
    return Expectation(ExpectationNet(lite0), draft), drafted


def photo_and_hole(seed=0, size=64):
    rng = np.random.default_rng(seed)
    hole = np.zeros((size, size), bool)
    hole[16:48, 16:48] = True
    return rng.integers(0, 256, (size, size, 3)).astype(np.uint8), hole


@torch.inference_mode()
def test_the_nearest_to_the_mean_is_nearest_on_average(expectation, lite0):
    """E‖f(c) − f(t)‖² = ‖f(c) − mean‖² + variance, for a hole that holds one of three things."""
    found, _ = expectation
    photo, hole = photo_and_hole()
    things = [np.where(hole[..., None], photo_and_hole(seed)[0], photo) for seed in (5, 6, 7)]
    tensors = torch.stack([torch.from_numpy(x).permute(2, 0, 1).float() / 255 for x in things])
    truths = [unit(f) for f in lite0.features(tensors, TAPS)]
    mean = [t.mean(0, keepdim=True) for t in truths]
    variance = [(t - m).square().sum(1, keepdim=True).mean(0, keepdim=True) for t, m in zip(truths, mean, strict=True)]
    found.expect = lambda image, hole: Expected(mean, variance, mean)
    fill = np.where(hole[..., None], photo_and_hole(8)[0], photo)
    said = found.distance(fill, hole)
    average = np.zeros(hole.shape)
    for i in range(3):
        found.expect = lambda image, hole, i=i: Expected(
            [t[i : i + 1] for t in truths], [0 * v for v in variance], mean
        )
        average += found.distance(fill, hole) / 3
    assert np.allclose(said, average, atol=1e-5)


def test_one_expectation_serves_all_fills_of_a_hole(expectation):
    found, drafted = expectation
    photo, hole = photo_and_hole()
    fills = [np.where(hole[..., None], photo_and_hole(seed)[0], photo) for seed in (1, 2)]
    alone = found.distance(fills[0], hole)
    assert not np.array_equal(found.distance(fills[1], hole), alone)
    assert np.array_equal(found.distance(fills[0], hole), alone)
    assert len(drafted) == 1
    found.distance(photo_and_hole(3)[0], hole)  # other surroundings
    assert len(drafted) == 2


def test_distance_is_positive_in_the_hole_and_zero_outside(expectation):
    found, _ = expectation
    photo, hole = photo_and_hole(size=96)
    distance = found.distance(photo, hole)
    assert distance.shape == hole.shape
    assert (distance[hole] > 0).all()
    assert (distance[~hole] == 0).all()


def test_an_untrained_expectation_is_the_draft_itself(expectation):
    found, _ = expectation
    photo, hole = photo_and_hole()
    drafted = np.where(hole[..., None], np.uint8(128), photo)
    assert found.distance(drafted, hole)[hole].mean() < found.distance(photo, hole)[hole].mean()
