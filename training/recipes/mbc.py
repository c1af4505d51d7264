"""Fit GIQA's MBC (quality/metrics/giqa.py): which checkpoint of our own prior made a picture?

Gu et al., ECCV 2020, §3.2.

The pictures are photos that were buried in noise and denoised in one step by each checkpoint, the same crops and noise
for all; untouched photos stand for the end of training. Fitted when the task is made, as the statistics are.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from restore.errors import InputError
from restore.features.lite0 import trained_lite0
from restore.pipelines.networks.prior import PriorConfig, PriorNet
from restore.quality.features.pooled import photo_features
from restore.quality.metrics.giqa import MbcScore
from restore.training.data.photos import PhotoCache, random_crop
from restore.training.loop import Task, load_into

KEPT_OUT = 5  # every fifth photo stays out of the fit and is what `evaluate` uses


class MbcTask(Task):
    """Classes are the recipe's `checkpoints`, "SAMPLES=FILE" each, in the order of their samples, then real photos."""

    def __init__(self, recipe: dict[str, Any], data: list[Path], out: Path) -> None:
        super().__init__()
        iterations, priors = _checkpoints(recipe)
        cache = PhotoCache.open(out, data)
        rows = np.stack(list(_rows(recipe, cache, priors)))  # (photos, classes, D)
        labels = np.array([*iterations, np.inf])
        kept_out = np.arange(len(rows)) % KEPT_OUT == KEPT_OUT - 1
        if not kept_out.any():
            raise InputError(f"expected {KEPT_OUT} photos or more, got {len(rows)}; give a larger folder")
        self.held_out = rows[kept_out]
        self.net = MbcScore.fit(
            rows[~kept_out].reshape(-1, rows.shape[-1]),
            np.tile(labels, int((~kept_out).sum())),
            len(priors),
            steps=recipe["fit_steps"],
            seed=recipe["seed"],
        ).requires_grad_(False)

    def evaluate(self, net: torch.nn.Module) -> dict[str, float]:
        """Of photos kept out: share of pairs of a photo's versions that are in order; mean score of the first and last.

        Half of the pairs would be in order by chance.
        """
        photos, classes, width = self.held_out.shape
        scores = net.score(self.held_out.reshape(-1, width)).reshape(photos, classes)  # type: ignore[operator]
        first, second = np.triu_indices(classes, 1)
        return {
            "in_order": float((scores[:, first] < scores[:, second]).mean()),
            "score_of_first": float(scores[:, 0].mean()),
            "score_of_photos": float(scores[:, -1].mean()),
        }


def _checkpoints(recipe: dict[str, Any]) -> tuple[list[float], list[PriorNet]]:
    """(samples, networks), earliest first. Raises InputError for entries of another form and for repeated samples."""
    found: dict[float, PriorNet] = {}
    for entry in recipe["checkpoints"]:
        samples, equals, path = str(entry).partition("=")
        if not equals or not samples.isdecimal() or float(samples) in found:
            raise InputError(f"checkpoints: expected SAMPLES=FILE, each another number of samples, got {entry!r}")
        shape = recipe["network"]
        net = PriorNet(PriorConfig(**{key: tuple(sizes) for key, sizes in shape.items()}))
        load_into(net, Path(path))
        found[float(samples)] = net.eval().requires_grad_(False)
    if not found:
        raise InputError("expected checkpoints of the prior, got none; list SAMPLES=FILE in a recipe given by --config")
    return sorted(found), [found[samples] for samples in sorted(found)]


@torch.inference_mode()
def _rows(recipe: dict[str, Any], cache: PhotoCache, priors: list[PriorNet]) -> Iterator[np.ndarray]:
    """Feature rows (classes, D) of one photo after the other: by every checkpoint, then the photo itself."""
    lite0 = trained_lite0()
    rng = np.random.default_rng(recipe["seed"])
    for i in rng.permutation(len(cache))[: recipe["photos"]]:
        crop = random_crop(cache[int(i)], recipe["size"], rng)
        clean = torch.from_numpy(crop).permute(2, 0, 1).float()[None] / 127.5 - 1
        sigma = torch.tensor([np.exp(rng.uniform(*np.log(recipe["noise"])))], dtype=torch.float32)
        noisy = clean + sigma * torch.from_numpy(rng.standard_normal(clean.shape, np.float32))
        versions: list[Tensor] = [*(prior.denoise(noisy, sigma) for prior in priors), clean]
        yield np.stack([photo_features(lite0, (v[0] / 2 + 0.5).clamp(0, 1)) for v in versions])
