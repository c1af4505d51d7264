"""Train the hole-only draft (pipelines/coord_net.py): L1, feature distance and segmentation confusion."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.backbone import trained_lite0
from restore.pipelines.coord_net import CELL, CODE, CoordConfig, CoordNet
from restore.pipelines.smooth import push_pull
from restore.quality.full_reference import feature_distance
from restore.training.data import Holes, PhotoCache, held_out, random_crop
from restore.training.loop import Task
from restore.training.mender import CRITIC_TAPS, Critic, Reverse, hinge

EVALUATED = 16  # held-out crops


class CoordTask(Task):
    """The picture is seen at `small` pixels and painted at `size`."""

    net: CoordNet
    critic: Critic

    def __init__(self, recipe: dict[str, Any], data: list[Path], out: Path) -> None:
        super().__init__()
        self.recipe = recipe
        self.cache = PhotoCache.open(out.parent / "cache", data)
        self.train_on, self.test_on = held_out(len(self.cache), EVALUATED)
        self.holes = Holes.open(recipe["hole_shapes"])
        self.net, self.critic = CoordNet(CoordConfig(**recipe["network"])), Critic()
        self.lite0 = trained_lite0()

    def batch(self, rng: np.random.Generator, progress: float) -> dict[str, Tensor]:
        """x (n, 3, s, s) in [0, 1], mask (n, 1, s, s), code (n, CODE)."""
        n, size = self.recipe["batch"], self.recipe["size"]
        chosen = [self.train_on[rng.integers(len(self.train_on))] for _ in range(n)]
        images = np.stack([random_crop(self.cache[i], size, rng) for i in chosen])
        masks = np.stack([self.holes.sample(size, rng) for _ in range(n)])
        return {
            "x": torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255,
            "mask": torch.from_numpy(masks)[:, None].float(),
            "code": torch.from_numpy(rng.standard_normal((n, CODE), np.float32)),
        }

    def painted(self, net: CoordNet, x: Tensor, mask: Tensor, code: Tensor) -> Tensor:
        """x with its hole painted, (n, 3, s, s)."""
        size, small = self.recipe["size"], self.recipe["small"]
        known = F.interpolate(1 - mask, size=small, mode="area")
        low = F.interpolate(x * (1 - mask), size=small, mode="area") / known.clamp(min=1e-6)
        hole = (known < 1 - 1e-6).float()
        drawn = net(push_pull(low * (1 - hole), hole), hole, code, CELL * size // small)
        return torch.where(mask > 0.5, drawn.float(), x)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        x, mask, recipe = batch["x"], batch["mask"], self.recipe
        fill = self.painted(self.net, x, mask, batch["code"])
        l1 = ((fill - x).abs() * mask).sum() / (3 * mask.sum())
        distance = feature_distance(self.lite0, fill, x, mask)
        logits = self.critic([Reverse.apply(f) for f in self.lite0.features(fill, CRITIC_TAPS)])
        confusion = hinge([logit.float() for logit in logits], mask)
        loss = recipe["l1_weight"] * l1 + recipe["feature_weight"] * distance + recipe["critic_weight"] * confusion
        return {"loss": loss, "l1": l1, "features": distance, "critic": confusion}

    @torch.no_grad()
    def evaluate(self, net: nn.Module) -> dict[str, float]:
        """L1 and feature distance in the hole of fixed crops, and how much two styles differ there."""
        rng, size = np.random.default_rng(0), self.recipe["size"]
        device = next(net.parameters()).device
        found: dict[str, list[float]] = {"l1": [], "features": [], "variety": []}
        for i in np.resize(self.test_on, EVALUATED):
            x = torch.from_numpy(random_crop(self.cache[int(i)], size, rng)).permute(2, 0, 1)[None].float() / 255
            mask = torch.from_numpy(self.holes.sample(size, rng))[None, None].float()
            codes = torch.from_numpy(rng.standard_normal((2, 1, CODE), np.float32))
            x, mask, codes = x.to(device), mask.to(device), codes.to(device)
            fill, other = (self.painted(cast(CoordNet, net), x, mask, code).clamp(0, 1) for code in codes)
            area = 3 * mask.sum()
            found["l1"].append(float(((fill - x).abs() * mask).sum() / area))
            found["variety"].append(float(((fill - other).abs() * mask).sum() / area))
            found["features"].append(float(feature_distance(self.lite0, fill, x, mask)))
        return {key: float(np.mean(values)) for key, values in found.items()}
