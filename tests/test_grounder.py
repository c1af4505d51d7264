"""The segmenter's arithmetic, and the grounder on pictures drawn here."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from restore.backbone import Lite0
from restore.grounding.grounder import _components, _outline
from restore.grounding.segmenter import Segmenter, click_map


def test_click_map_peaks_at_the_click_and_has_the_width_of_its_sigma():
    heat = click_map(torch.tensor([[3.0, 5.0]]), 10, 12)[0, 0]
    assert heat.shape == (10, 12)
    assert heat[5, 3] == 1
    assert heat[5, 4].item() == pytest.approx(np.exp(-0.5))
    assert heat.argmax() == 5 * 12 + 3


def test_evidence_is_a_probability_that_adds_over_classes():
    torch.manual_seed(0)
    net = Segmenter(Lite0()).eval()
    f = net.encode(torch.rand(1, 3, 64, 96))
    a, b, both = f.evidence([1, 5]), f.evidence([7]), f.evidence([1, 5, 7])
    assert torch.allclose(a + b, both, atol=1e-6)
    assert torch.allclose(f.evidence(list(range(1000))), torch.ones(1, 1, 2, 3), atol=1e-5)


def test_similarity_is_the_cosine_to_the_prompted_mean():
    features = torch.zeros(1, 2, 2, 2)
    features[0, 0, 0], features[0, 1, 1] = 1, 1  # upper row (1, 0), lower row (0, 1)
    prompt = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]])
    found = Segmenter._similarity(features, prompt)
    assert torch.allclose(found[0, 0, 0], torch.ones(2), atol=1e-5)
    assert torch.allclose(found[0, 0, 1], torch.zeros(2), atol=1e-5)


def test_components_drops_specks_and_orders_by_size():
    mask = np.zeros((50, 50), bool)
    mask[2:6, 2:6] = mask[20:40, 20:40] = mask[48, 48] = True
    parts = _components(mask, 0.002)
    assert [int(p.sum()) for p in parts] == [400, 16]


def test_the_outline_snaps_to_the_photos_edges():
    """A probability edge that is two pixels off moves to the colour edge."""
    image = np.full((100, 100, 3), 40, np.uint8)
    image[:, 50:] = 220
    probability = np.zeros((100, 100), np.float32)
    probability[:, 52:] = 1
    edge = _outline(image, probability)[50].argmax()
    assert abs(int(edge) - 50) <= 1


def test_nothing_is_found_in_an_empty_picture(engine):
    flat = np.full((120, 160, 3), 127, np.uint8)
    assert engine._grounder.find(flat, tuple(range(281, 286)), False) == []
    assert engine._grounder.find(flat, (), True) == []


def test_a_click_gives_the_part_under_it(engine):
    image = np.full((160, 200, 3), 200, np.uint8)
    image[40:110, 60:130] = (180, 30, 30)
    found = engine._grounder.at(image, (95, 75))
    assert found.mask.shape == (160, 200)
    assert found.mask[75, 95]
    inside = found.mask[40:110, 60:130].mean()
    outside = found.mask[:, 150:].mean()
    assert inside > outside
