"""Train the mender (pipelines/networks/mender.py) on composites whose truth is known (training/data/make_fills.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from restore.features.lite0 import trained_lite0
from restore.pipelines.networks.mender import MenderNet
from restore.quality.metrics.full_reference import TAPS, feature_distance
from restore.training.critic import Critic, judged
from restore.training.loop import Task
from restore.training.recipes.judge import find_shards, make_own_fills


class MenderTask(Task):
    """L1 + feature distance to the truth + segmentation confusion."""

    net: MenderNet
    critic: Critic

    def __init__(self, recipe: dict[str, Any], data: list[Path], out: Path) -> None:
        super().__init__()
        self.recipe = recipe
        self.net = MenderNet()
        self.critic = Critic(TAPS, layers=1)
        self.lite0 = trained_lite0()
        folders = [folder for folder in find_shards(data) if (folder / "seam.npy").exists()]
        folders = folders or make_own_fills(recipe, data, out)
        names = ("truth", "mask", "fill", "seam", "draft")
        self.shards = [{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names} for folder in folders]
        self.held_out = self.shards[-1]
        if len(self.shards) > 1:
            self.shards = self.shards[:-1]

    def _sample(self, shard: dict[str, np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
        """Truth, mask, composite, seams and draft of one square that holds a part of a hole."""
        size, i = self.recipe["size"], int(rng.integers(len(shard["truth"])))
        k = int(rng.integers(shard["seam"].shape[1]))
        mask = shard["mask"][i]
        ys, xs = np.nonzero(mask)
        at = int(rng.integers(len(ys)))
        side = mask.shape[0]
        y, x = (int(np.clip(c[at] - rng.integers(size), 0, side - size)) for c in (ys, xs))
        step = side // shard["draft"].shape[1]  # the draft is kept at half size
        y, x = y // step * step, x // step * step
        window = np.s_[y : y + size, x : x + size]
        small = np.s_[y // step : (y + size) // step, x // step : (x + size) // step]
        draft = shard["draft"][i][small].repeat(step, 0).repeat(step, 1)
        views = [
            shard["truth"][i][window],
            mask[window],
            shard["fill"][i, k][window],
            shard["seam"][i, k][window],
            draft,
        ]
        return [view[:, ::-1] for view in views] if rng.random() < 0.5 else views

    def batch(self, rng: np.random.Generator, progress: float) -> dict[str, Tensor]:
        return self._collate([self._sample(self.shards[rng.integers(len(self.shards))], rng) for _ in range(self._n)])

    @property
    def _n(self) -> int:
        return int(self.recipe["batch"])

    @staticmethod
    def _collate(rows: list[list[np.ndarray]]) -> dict[str, Tensor]:
        out = {}
        for name, column in zip(("truth", "mask", "composite", "seams", "draft"), zip(*rows, strict=True), strict=True):
            x = torch.from_numpy(np.stack(column)).float()
            out[name] = x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2) / 255
        return out

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        truth, mask = batch["truth"], batch["mask"]
        mended = self.net(batch["composite"], mask, batch["seams"], batch["draft"]).float()
        l1 = ((mended - truth).abs() * mask).sum() / (3 * mask.sum())
        losses, recipe = judged(self.critic, self.lite0, mended, truth, mask), self.recipe
        loss = recipe["l1_weight"] * l1 + recipe["feature_weight"] * losses["features"] + losses["critic"]
        return {"loss": loss + recipe["critic_weight"] * losses["confusion"], "l1": l1, **losses}

    @torch.no_grad()
    def evaluate(self, net: nn.Module) -> dict[str, float]:
        """L1 and feature distance in the hole of held-out composites, mended and as they were."""
        rng = np.random.default_rng(0)
        device = next(net.parameters()).device
        batch = {
            k: v.to(device) for k, v in self._collate([self._sample(self.held_out, rng) for _ in range(64)]).items()
        }
        truth, mask = batch["truth"], batch["mask"]
        mended = net(batch["composite"], mask, batch["seams"], batch["draft"]).float()
        out = {}
        for name, image in (("mended", mended.clamp(0, 1)), ("composite", batch["composite"])):
            out[f"l1_{name}"] = float(((image - truth).abs() * mask).sum() / (3 * mask.sum()))
            out[f"features_{name}"] = float(feature_distance(self.lite0, image, truth, mask))
        return out
