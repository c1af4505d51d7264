"""Train the no-reference quality scorer (quality/judges/scorer_net.py): first to rank, then to agree with a teacher.

1. RankIQA (Liu et al., ICCV 2017): a batch holds whole ladders (a crop and five levels of one distortion), one
   forward pass, hinge on all pairs of a ladder.
2. Distillation (Yan & Si, 2024): a full-reference teacher that sees crop and distorted crop gives 0–100 targets,
   which make different distortions comparable, and feature differences per cell.

The teacher is computed, not learned: nobody's opinion of any picture is in the data, so there is nothing to learn
it from. See `teacher`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.features.lite0 import trained_lite0, unit
from restore.quality.judges.scorer_net import CELL, ScorerNet, cell_statistics, crop_features
from restore.training.data.distortions import LEVELS, TRAINED, distort
from restore.training.data.photos import PhotoCache
from restore.training.loop import Task

RUNGS = LEVELS + 1  # of a ladder; rung 0 is the photo
BORDER = 16  # pixels distorted beyond the crop, so that no filter's edge and no codec's grid gives a level away
HALF = 0.49  # mean distance of 300 training crops to themselves as JPEG of quality 18, which so scores 50


def similarity(image: Tensor, truth: Tensor, scales: int = 3) -> Tensor:
    """Mean over scales of MS-SSIM's contrast–structure term on luma (Wang et al., 2003, eq. 7), 8×8 boxes: (N,)."""
    luma = image.new_tensor([0.299, 0.587, 0.114])[:, None, None]
    x, y = ((i.float() * luma).sum(1, keepdim=True) for i in (image, truth))
    total = x.new_zeros(len(x))
    for scale in range(scales):
        if scale:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        mx, my, xx, yy, xy = F.avg_pool2d(torch.cat([x, y, x * x, y * y, x * y], 1), 8, 4).unbind(1)
        c2 = 0.03**2
        total = total + ((2 * (xy - mx * my) + c2) / (xx - mx * mx + yy - my * my + c2)).mean((1, 2))
    return total / scales


def teacher(image: Tensor, truth: Tensor, features: list[Tensor], truths: list[Tensor]) -> tuple[Tensor, Tensor]:
    """(score (N,) in 0–100, squared unit-feature distances per cell and tap (N, T, taps)) of image against truth.

    D = mean feature distance (LPIPS without learned weights) + 1 − `similarity`; score = 100 · 2^(−D / HALF):
    100 is the photo itself, 50 as far from it as a JPEG of quality 18.
    """
    maps = []
    for x, y, stride in zip(features, truths, (2, 4, 8, 16), strict=True):
        d = (unit(x) - unit(y)).square().sum(1, keepdim=True)
        maps.append(F.avg_pool2d(d, CELL // stride).flatten(1))
    distances = torch.stack(maps, -1)
    return 100 * torch.exp2(-(distances.mean((1, 2)) + 1 - similarity(image, truth)) / HALF), distances


def ladder_hinge(score: Tensor, margin: float) -> Tensor:
    """Mean of max(0, margin + s_worse − s_better) over all pairs of each row of (ladders, rungs), best rung first."""
    better, worse = torch.triu_indices(score.shape[1], score.shape[1], 1)
    return F.relu(margin + score[:, worse] - score[:, better]).mean()


def pairs_in_order(score: Tensor) -> Tensor:
    """Share of each ladder's pairs that `score` (ladders, rungs), best rung first, puts in the right order."""
    better, worse = torch.triu_indices(score.shape[1], score.shape[1], 1)
    return (score[:, better] > score[:, worse]).float().mean(1)


class ScorerTask(Task):
    """Ladders from photos, ranking and distillation losses, rank accuracy on photos kept out of training."""

    def __init__(self, recipe: dict[str, Any], data: list[Path], out: Path) -> None:
        super().__init__()
        self.recipe = recipe
        self.cache = PhotoCache.open(out.parent / "cache", data)
        self.held = min(200, max(1, len(self.cache) // 10))  # the cache's last photos are never trained on
        self.lite0 = trained_lite0()
        self.lite0.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.net = self._normalised(ScorerNet())

    def _normalised(self, net: ScorerNet) -> ScorerNet:
        image = self.batch(np.random.default_rng([self.recipe["seed"], 0]), 0.0)["image"]
        rows = cell_statistics(image, crop_features(self.lite0, image)).flatten(0, 2)
        net.mean.copy_(rows.mean(0))
        net.spread.copy_(rows.std(0).clamp(min=1e-2))
        return net

    def crop(self, photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A square of the recipe's size + BORDER at native or, half of the time, reduced size.

        Reduction hides what the photo's own codec left, and shows the same scene at other scales.
        """
        side = self.recipe["size"] + BORDER
        least = min(1.0, side / min(photo.shape[:2]))
        scale = rng.uniform(least, 1) if rng.random() < 0.5 else 1.0
        if scale < 1:
            photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        missing = [max(0, side - n) for n in photo.shape[:2]]
        if any(missing):
            photo = cv2.copyMakeBorder(photo, 0, missing[0], 0, missing[1], cv2.BORDER_REFLECT)
        y, x = (int(rng.integers(0, n - side + 1)) for n in photo.shape[:2])
        crop = photo[y : y + side, x : x + side]
        return np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop)

    def ladder(self, photo: np.ndarray, name: str, rng: np.random.Generator) -> np.ndarray:
        """A crop and its five distorted versions, (RUNGS, size, size, 3) uint8."""
        crop, seed, size = self.crop(photo, rng), int(rng.integers(2**31)), self.recipe["size"]
        y, x = rng.integers(0, BORDER + 1, 2)
        rungs = [distort(name, crop, level, seed) for level in range(RUNGS)]
        return np.stack(rungs)[:, y : y + size, x : x + size]

    def batch(self, rng: np.random.Generator, progress: float) -> dict[str, Tensor]:
        """image (ladders · RUNGS, 3, size, size), each ladder's rungs in order; distil: weight of the teacher."""
        photos = rng.integers(len(self.cache) - self.held, size=self.recipe["batch"])
        names = rng.choice(TRAINED, self.recipe["batch"])
        ladders = np.concatenate([self.ladder(self.cache[int(i)], n, rng) for i, n in zip(photos, names, strict=True)])
        return {"image": to_tensor(ladders), "distil": torch.tensor(float(progress >= self.recipe["rank_until"]))}

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        image = batch["image"].contiguous(memory_format=torch.channels_last)
        features = crop_features(self.lite0, image)
        clean = torch.arange(len(image), device=image.device) // RUNGS * RUNGS
        with torch.no_grad():
            target, far = teacher(image, image[clean], features, [f[clean] for f in features])
        score, distances = self.net(image, features)
        rank = ladder_hinge(score.view(-1, RUNGS) / 100, self.recipe["margin"])
        miss = F.smooth_l1_loss(score / 100, target / 100, beta=0.1)
        difference = F.smooth_l1_loss(distances, far, beta=0.2)
        loss = self.recipe["rank_weight"] * rank + batch["distil"] * miss + difference
        order = pairs_in_order(score.detach().view(-1, RUNGS)).mean()
        return {"loss": loss, "rank": rank, "miss": miss, "difference": difference, "order": order}

    @torch.no_grad()
    def evaluate(self, net: nn.Module) -> dict[str, float]:
        """Rank accuracy of single crops of photos kept out, mean over the trained distortions, and distance to
        the teacher in points."""
        order, miss = [], []
        for k, name in enumerate(TRAINED):
            rng = np.random.default_rng([self.recipe["seed"], 1, k])
            held = rng.choice(np.arange(len(self.cache) - self.held, len(self.cache)), 6)
            image = to_tensor(np.concatenate([self.ladder(self.cache[int(i)], name, rng) for i in held]))
            image = image.contiguous(memory_format=torch.channels_last).to(next(net.parameters()).device)
            features = crop_features(self.lite0, image)
            clean = torch.arange(len(image)) // RUNGS * RUNGS
            target, _ = teacher(image, image[clean], features, [f[clean] for f in features])
            score, _ = net(image, features)
            order.append(float(pairs_in_order(score.view(-1, RUNGS)).mean()))
            miss.append(float((score - target).abs().mean()))
        return {"rank_accuracy": float(np.mean(order)), "points_off": float(np.mean(miss))}


def to_tensor(images: np.ndarray) -> Tensor:
    """(N, H, W, 3) uint8 → (N, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float() / 255
