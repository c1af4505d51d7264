"""Online hard example mining by picture quality, for training loops.

After Shrivastava et al. (CVPR 2016) with the scores of Gu et al. (ECCV 2020) as what is hard.

Scores are GIQA's or any other, one per sample, higher = better; results are detached from the graph.
"""

from __future__ import annotations

import torch
from torch import Tensor

from restore.errors import InputError


def hard_weights(scores: Tensor, share: float = 0.25, weight: float = 2.0) -> Tensor:
    """Weights (N,) of the samples' losses: `weight` for the worst `share` of the batch, less for the rest, mean 1.

    The generator works hardest on what it does worst; mean 1 keeps the learning rate's meaning.
    Raises InputError for a share outside (0, 1), a weight under 1, and scores that are not a finite row.
    """
    if not 0 < share < 1 or weight < 1:
        raise InputError(f"expected 0 < share < 1 and weight ≥ 1, got {share} and {weight}")
    weights = torch.ones_like(_row(scores), dtype=torch.float32)
    weights[~keep_best(scores, share)] = weight
    return weights / weights.mean()


def keep_best(scores: Tensor, reject: float) -> Tensor:
    """(N,) bool: all but the worst `reject` share, rounded to whole samples; of equal scores the first stay.

    Raises InputError for a share outside [0, 1) and scores that are not a finite row.
    """
    if not 0 <= reject < 1:
        raise InputError(f"expected a share to reject of 0 ≤ share < 1, got {reject}")
    order = _row(scores).argsort(descending=True, stable=True)
    kept = torch.zeros(len(order), dtype=torch.bool, device=order.device)
    kept[order[: len(order) - round(reject * len(order))]] = True
    return kept


def mean_without_worst(losses: Tensor, scores: Tensor, reject: float) -> Tensor:
    """Mean of `losses` (N,) over the samples that `keep_best` keeps; gradients flow to those only."""
    if losses.shape != scores.shape:
        raise InputError(f"expected one score per loss, got {tuple(scores.shape)} for {tuple(losses.shape)}")
    return losses[keep_best(scores, reject)].mean()


def _row(scores: Tensor) -> Tensor:
    scores = scores.detach()
    if scores.ndim != 1 or len(scores) == 0 or not bool(scores.isfinite().all()):
        raise InputError(f"expected a row of finite scores, got shape {tuple(scores.shape)}")
    return scores
