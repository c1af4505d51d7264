"""The builtin pipeline: expected features steer which source a pixel gets; saving and loading changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from restore.features.expectation_net import Expected
from restore.features.lite0 import trained_lite0
from restore.pipelines.fill.builtin import BuiltinPipeline, Strategy, features_at, few_colours
from restore.pipelines.fill.shift_map import Features, ShiftMapOptions, offsets, solve
from restore.pipelines.fill.transforms import SHIFTED


@pytest.fixture(scope="module")
def pipeline():
    return BuiltinPipeline.shipped()


def picture(size=64):
    """Two halves of different texture; the hole lies across their border."""
    rng = np.random.default_rng(0)
    image = rng.random((size, size, 3), dtype=np.float32) * 0.2
    image[:, size // 2 :] += np.float32(0.6)
    mask = np.zeros((size, size), bool)
    mask[24:40, 24:40] = True
    return image, mask


def random_features(mask, seed=1):
    """Features of a crop in which the hole is expected to hold what lies 20 pixels to its right."""
    offered = np.random.default_rng(seed).standard_normal((*mask.shape, 5)).astype(np.float32)
    wanted = offered.copy()
    wanted[mask] = np.roll(offered, -20, axis=1)[mask]
    return Features(offered, wanted)


def test_a_label_that_brings_the_expected_features_is_found_costs_nothing_and_is_taken():
    image, mask = picture()
    options = ShiftMapOptions(side=64, lam=0.0, mu=100.0)
    labels = offsets(image, mask, options, expected=random_features(mask))
    moves = labels.moves
    (k,) = np.flatnonzero((moves.kind == SHIFTED) & (moves.shift == (0, 20)).all(1))
    assert np.allclose(labels.far[k], 0, atol=1e-5)
    assert (labels.far[labels.allowed & (labels.source != labels.source[k])] > 1e-3).all()
    assert (solve(image, mask, image, labels, options).label[mask] == k).all()


def test_distances_of_features_are_means_over_taps():
    taps = [torch.randn(1, c, 8, 8, generator=torch.Generator().manual_seed(c)) for c in (3, 5)]
    others = [torch.randn(1, c, 8, 8, generator=torch.Generator().manual_seed(9 + c)) for c in (3, 5)]
    found = features_at(Expected(others, taps, taps), (8, 8))
    squared = np.square(found.offered - found.wanted).sum(-1)
    mean = sum((a - b).square().sum(1)[0] for a, b in zip(taps, others, strict=True)) / 2
    assert np.allclose(squared, mean.numpy(), atol=1e-4)


def test_saved_and_loaded_it_fills_alike(pipeline, tmp_path):
    image, mask = picture()
    x, m = torch.from_numpy(image).permute(2, 0, 1)[None], torch.from_numpy(mask)[None, None].float()
    pipeline.save_pretrained(tmp_path)
    loaded = BuiltinPipeline.from_pretrained(tmp_path)
    strategies = [Strategy("sample", 0.7, side=64)]
    fills = [
        p(x, m, generator=torch.Generator().manual_seed(3), strategies=strategies, num_inference_steps=2).images
        for p in (pipeline, loaded)
    ]
    assert torch.equal(*fills)
    known = ~m.bool().expand_as(x)
    assert torch.equal(fills[0][known], x[known])


def test_the_backbone_of_the_expectation_is_the_shipped_one(pipeline):
    lite0 = trained_lite0()
    for mine, shipped in zip(pipeline.expectation.net.lite0.parameters(), lite0.parameters(), strict=True):
        assert torch.equal(mine, shipped)


def ruled_page() -> np.ndarray:
    page = np.full((160, 200, 3), 250, np.uint8)
    page[12::16] = (120, 160, 220)
    page[:, 30] = (230, 80, 80)
    return page


def test_lines_of_a_drawing_go_on_in_its_own_colours():
    truth, mask = ruled_page(), torch.zeros(1, 1, 160, 200)
    mask[..., 50:100, 20:90] = 1
    spoilt = np.where(mask[0, 0, ..., None].numpy() > 0, np.uint8(90), truth)
    image = torch.from_numpy(spoilt).permute(2, 0, 1)[None].float() / 255
    found = BuiltinPipeline.shipped()(image, mask, generator=torch.Generator().manual_seed(0))
    filled = np.rint(found.images[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    assert np.array_equal(filled, truth)


def test_a_drawing_is_told_from_a_photo_by_its_colours():
    page, hole = (ruled_page() / 255).astype(np.float32), np.zeros((160, 200), bool)
    hole[40:90, 60:120] = True
    noise = np.random.default_rng(0).normal(0, 0.01, page.shape).astype(np.float32)
    assert few_colours(page, hole)
    assert not few_colours((page + noise).clip(0, 1), hole)
    assert few_colours(np.where(hole[..., None], noise + 0.5, page), hole)  # the hole's own colours do not count
    assert not few_colours(page, np.ones_like(hole))
