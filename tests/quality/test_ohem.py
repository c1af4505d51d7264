"""Weights and selections for training loops."""

from __future__ import annotations

import pytest
import torch

from restore.errors import InputError
from restore.quality.ohem import hard_weights, keep_best, mean_without_worst


def test_the_worst_quarter_weighs_double_and_the_mean_is_one() -> None:
    scores = torch.tensor([5.0, 1, 7, 3, 8, 2, 6, 4], requires_grad=True)
    weights = hard_weights(scores, 0.25, 2.0)
    assert weights.mean().item() == pytest.approx(1)
    worst = torch.tensor([1, 5])
    assert (weights[worst] / weights[0]).tolist() == pytest.approx([2, 2])
    assert len(weights.unique()) == 2
    assert not weights.requires_grad


@pytest.mark.parametrize(("reject", "kept"), [(0.0, 8), (0.1, 7), (0.5, 4), (0.99, 0)])
def test_keep_best_drops_the_worst_share(reject: float, kept: int) -> None:
    scores = torch.arange(8.0).flip(0)
    mask = keep_best(scores, reject)
    assert mask.sum() == kept
    assert mask[:kept].all()


def test_equal_scores_drop_the_asked_number_not_all() -> None:
    assert keep_best(torch.zeros(10), 0.3).tolist() == [True] * 7 + [False] * 3


def test_rejected_samples_get_no_gradient() -> None:
    losses = torch.tensor([1.0, 2, 3, 4], requires_grad=True)
    mean_without_worst(losses, torch.tensor([0.9, 0.1, 0.8, 0.7]), 0.25).backward()
    assert losses.grad is not None
    assert losses.grad.tolist() == pytest.approx([1 / 3, 0, 1 / 3, 1 / 3])


def test_refusals() -> None:
    good = torch.arange(4.0)
    for call in (
        lambda: keep_best(good, 1.0),
        lambda: hard_weights(good, 0.0),
        lambda: hard_weights(good, weight=0.5),
        lambda: keep_best(torch.tensor([1.0, float("nan")]), 0.5),
        lambda: mean_without_worst(good, good[:2], 0.5),
    ):
        with pytest.raises(InputError, match="expected"):
            call()
