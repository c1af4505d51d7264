"""Parting touching things by their votes, and the kinds that doubt a find."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from restore.grounding.instances import DOUBT, KINDS, Centres, Details, Rule, Votes, gathered, parted, place
from restore.grounding.segmenter import Encoding
from restore.grounding.vocabulary import Vocabulary
from restore.training.recipes.instances import centre_loss, fit_kinds, targets
from restore.weights.store import load_weights

ALWAYS = Rule(np.zeros(8), 0.0, 0.0)


def votes_of(discs: list[tuple[float, float, float]], noise: float, seed: int = 0) -> Votes:
    """Cells of discs x, y, radius that see their centre with some noise."""
    y, x = np.mgrid[:24, :24]
    rng = np.random.default_rng(seed)
    out, mask = np.full((3, 24, 24), -4.0, np.float32), np.zeros((24, 24), np.float32)
    for cx, cy, r in discs:
        inside = (x - cx) ** 2 + (y - cy) ** 2 < r**2
        mask[inside] = 1
        out[1:, inside] = (np.stack([cx - x, cy - y])[:, inside] + rng.normal(0, noise, (2, inside.sum()))) / 4
        out[0, round(cy), round(cx)] = 4
    return gathered(out, mask)


def test_two_discs_part_along_the_line_between_them() -> None:
    votes = votes_of([(7, 12, 5), (16, 12, 5)], 0.4)
    found = votes.split()
    assert found is not None
    _, second = found
    assert second.any()
    right = votes.cells[:, 0] > 11.5
    assert (second == right).all() or (second == ~right).all()


def test_signs_tell_one_thing_from_two() -> None:
    one, two = votes_of([(12, 12, 7)], 0.4).split(), votes_of([(7, 12, 5), (16, 12, 5)], 0.4).split()
    assert one is not None
    assert two is not None
    assert two[0][0] > 2 * one[0][0]  # further apart
    assert two[0][1] < one[0][1]  # narrower than together


def test_parts_are_split_again_and_every_cell_is_in_one() -> None:
    votes = votes_of([(4, 12, 4), (12, 12, 4), (20, 12, 4)], 0.2)
    apart = Rule(np.array([1.0] + [0.0] * 6), -1.5, 0.5)
    again = Rule(np.array([1.0] + [0.0] * 7), -1.5, 0.5)
    parts = parted(votes, apart, again)
    assert len(parts) == 3
    assert sum(len(p.votes) for p in parts) == len(votes.votes)
    assert len(parted(votes, Rule(np.zeros(7), -9.0, 0.5), ALWAYS)) == 1


def test_votes_without_two_clusters_stay_together() -> None:
    same = Votes(np.full((8, 2), 3.0), np.stack([np.arange(8)] * 2, 1), np.ones(8, np.float32), np.zeros((24, 24)))
    assert same.split() is None
    assert len(parted(same, ALWAYS, ALWAYS)) == 1


def test_targets_point_at_the_centre_of_each_thing() -> None:
    things = np.zeros((2, 24, 24), np.float32)
    things[0, 4:9, 4:9] = things[1, 10:15, 12:17] = 1
    heat, offset, counts = targets(things)
    assert heat[6, 6] == heat[12, 14] == heat.max()
    assert offset[:, 4, 4] == pytest.approx([0.5, 0.5])
    assert counts.sum() == 50
    out = torch.cat([torch.from_numpy(heat)[None, None] * 20 - 10, torch.from_numpy(offset)[None]], 1)
    goal = [torch.from_numpy(t)[None].float() for t in (heat, offset, counts)]
    worse = out.clone()
    worse[:, 1:] += 0.5
    assert centre_loss(worse, *goal) - centre_loss(out, *goal) == pytest.approx(1.0, abs=1e-4)


def test_place_is_measured_from_the_middle_in_radii() -> None:
    mask = torch.zeros(1, 1, 24, 24)
    mask[..., 8:13, 4:17] = 1
    where = place(mask)
    assert where[0, :, 10, 10].tolist() == pytest.approx([3, 3])
    assert where.min() >= 0
    assert where.max() <= 6


def features(logits: torch.Tensor) -> Encoding:
    return Encoding(*(torch.zeros(1, c, 96 // s, 96 // s) for c, s in ((24, 4), (40, 8), (112, 16), (320, 32))), logits)


def test_the_kind_of_a_thing_doubts_another_name_for_it() -> None:
    """On logits that the kinds are fitted to, each known kind is believed and others are not; unknown words always."""
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 3, (len(KINDS), 1000))
    kinds = np.arange(len(KINDS)).repeat(6)
    weights = load_weights("instances") | fit_kinds(centres[kinds] + rng.normal(0, 0.5, (len(kinds), 1000)), kinds)
    details = Details(weights, torch.device("cpu"))
    dog, sheep = (tuple(sorted(details.known[name])) for name in ("dog", "sheep"))
    logits = torch.from_numpy(centres[KINDS.index("sheep")]).float()[None, :, None, None].expand(1, 1000, 3, 3)
    mask = np.ones((3, 3), np.float32)
    assert details.belief(features(logits), mask, sheep) == 1
    assert details.belief(features(logits), mask, dog) < DOUBT / 4
    assert details.belief(features(logits), mask, (990,)) == 1
    assert details.belief(features(logits), mask, ()) == 1


def test_only_people_and_animals_are_parted(monkeypatch: pytest.MonkeyPatch) -> None:
    details = Details(load_weights("instances"), torch.device("cpu"))
    votes = Votes(np.zeros((2, 2)), np.zeros((2, 2), int), np.ones(2, np.float32), np.zeros((6, 6), np.float32))
    monkeypatch.setattr("restore.grounding.instances.parted", lambda *_: [votes, votes])
    seen, mask = features(torch.zeros(1, 1000, 3, 3)), np.ones((6, 6), np.float32)
    dog, toilet = (Vocabulary.load().lookup(name).classes for name in ("dog", "toilet"))
    assert [len(details.parts(seen, mask, classes)) for classes in (dog, (), toilet)] == [2, 2, 0]


def test_centres_have_one_output_for_each_cell() -> None:
    with torch.inference_mode():
        assert Centres()(features(torch.zeros(1, 1000, 3, 3)), torch.ones(1, 1, 6, 6)).shape == (1, 3, 6, 6)
