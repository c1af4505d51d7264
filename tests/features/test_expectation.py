"""Expected features of a hole: a bias–variance identity, one expectation for many fills, known pixels only."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from restore.features.expectation import Expectation
from restore.features.expectation_net import TAPS, ExpectationNet, Expected
from restore.features.lite0 import Lite0, unit
from restore.features.trunk import Trunk, rotary


@pytest.fixture(scope="module")
def lite0():
    torch.manual_seed(0)
    return Lite0().eval()


@pytest.fixture
def expectation(lite0):
    drafted = []

    def draft(image, hole):
        drafted.append(hole)
        return np.where(hole[..., None], np.float32(0.5), image), 0.1 * hole.astype(np.float32)

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


@torch.inference_mode()
def test_a_batch_never_changes_what_is_expected(lite0):
    torch.manual_seed(2)
    net = ExpectationNet(lite0).eval()
    for p in net.parameters():
        if not p.any():  # what starts at zero would hide the rest
            torch.nn.init.normal_(p, std=0.02)
    drafted, error = torch.rand(3, 3, 64, 96), torch.rand(3, 1, 64, 96)
    mask = (torch.rand(3, 1, 64, 96) > 0.7).float()
    together, alone = net(drafted, mask, error), net(drafted[1:2], mask[1:2], error[1:2])
    for many, one in zip(together.features + together.error, alone.features + alone.error, strict=True):
        assert torch.allclose(many[1:2], one, atol=1e-4)
    assert not torch.allclose(together.features[2], net(drafted, mask, 0 * error).features[2])


@torch.inference_mode()
def test_attention_sees_where_cells_are_to_each_other_not_where_they_are():
    """Rotary positions (Su et al., 2021): scores depend on the difference of two places alone."""
    cos, sin = rotary(5, 6, 32, torch.device("cpu"))
    torch.manual_seed(0)
    q, k = torch.randn(2, 32)
    half = 16

    def turned(x, cell):
        return x * cos[cell] + torch.cat([-x[half:], x[:half]]) * sin[cell]

    def score(a, b):
        return float(turned(q, a[0] * 6 + a[1]) @ turned(k, b[0] * 6 + b[1]))

    assert score((1, 1), (2, 3)) == pytest.approx(score((3, 2), (4, 4)), abs=1e-4)
    assert abs(score((1, 1), (2, 3)) - score((1, 1), (3, 2))) > 1e-3


@torch.inference_mode()
def test_a_trunk_changes_nothing_before_it_is_trained():
    x = torch.randn(1, 32, 3, 5)
    assert torch.equal(Trunk(32, 2)(x), x)


def test_a_trunk_in_bfloat16_is_the_one_in_float32_rounded():
    torch.manual_seed(0)
    trunk = Trunk(64, 1)
    torch.nn.init.normal_(trunk.blocks[0].out.weight, std=0.2)
    x = torch.randn(2, 64, 6, 5, requires_grad=True)
    along = torch.randn(2, 64, 6, 5)
    answers = {}
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            y = trunk(x)
        slope, *weights = torch.autograd.grad(y, (x, trunk.blocks[0].qkv.weight, trunk.blocks[0].norm1.weight), along)
        answers[enabled] = (y.detach() - x.detach(), slope - along, *weights)
    for exact, rounded in zip(answers[False], answers[True], strict=True):
        assert (exact - rounded).norm() < 0.03 * exact.norm()
