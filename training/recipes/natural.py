"""Fit the statistics of natural photos (quality/judges/natural.py): PCA in closed form, a Gaussian mixture by EM.

Nothing is trained step by step: the task fits when it is made, and `restore train natural` writes that down.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from restore.errors import InputError
from restore.features.lite0 import trained_lite0
from restore.quality.features.pooled import photo_features
from restore.quality.judges.natural import mixture
from restore.quality.metrics.giqa import LEAST_ROWS, GmmScore
from restore.training.data.photos import PhotoCache
from restore.training.loop import Task

KEPT_OUT = 5  # every fifth photo stays out of the fit: its score is the scale of the ranks


def fit(rows: np.ndarray, components: int, seed: int) -> dict[str, Tensor]:
    """The tensors that `NaturalPhotos` reads, from feature rows (N, D). Raises InputError for fewer than ten rows."""
    out = np.arange(len(rows)) % KEPT_OUT == KEPT_OUT - 1
    if (~out).sum() < LEAST_ROWS:
        raise InputError(f"expected 10 photos or more to fit statistics to, got {len(rows)}; give a larger folder")
    model = GmmScore.fit(rows[~out], components, seed=seed)
    found = {
        "mean": model.space.mean,
        "axes": model.space.axes,
        "shares": model.mixture.weights,
        "centres": model.mixture.means,
        "factors": model.mixture.factors,
    }
    # Rounded as they will be shipped, so that ranks compare like with like.
    tensors = {name: torch.from_numpy(np.ascontiguousarray(value)).half().float() for name, value in found.items()}
    return tensors | {"photos": torch.from_numpy(np.sort(mixture(tensors)(rows[out]))).float()}


class Statistics(nn.Module):
    """The fitted tensors as buffers: no parameter, nothing to optimise."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        for name, value in tensors.items():
            self.register_buffer(name, value)


class StatisticsTask(Task):
    """Fitted when made, to the pooled features of up to `photos` photos of the data."""

    def __init__(self, recipe: dict[str, Any], data: list[Path], out: Path) -> None:
        super().__init__()
        cache = PhotoCache.open(out.parent / "cache", data)
        lite0 = trained_lite0()
        lite0.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        chosen = np.random.default_rng(recipe["seed"]).permutation(len(cache))[: recipe["photos"]]
        images = (torch.from_numpy(np.array(cache[int(i)])).permute(2, 0, 1).float() / 255 for i in chosen)
        rows = np.stack([photo_features(lite0, image) for image in images])
        self.net = Statistics(fit(rows, recipe["mixture"], recipe["seed"]))

    def evaluate(self, net: nn.Module) -> dict[str, float]:
        """Mean log-likelihood of the photos kept out, nats per dimension; higher = described better."""
        return {"log_likelihood": float(net.get_buffer("photos").mean())}
