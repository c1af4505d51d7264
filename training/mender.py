"""Train the mender (pipelines/mender_net.py) on shift-map composites whose truth is known (training/make_fills.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.backbone import trained_lite0
from restore.pipelines.mender_net import MenderNet
from restore.quality.full_reference import feature_distance
from restore.training.judge import find_shards, make_own_fills
from restore.training.loop import Task

CRITIC_TAPS = (2, 4, 10)  # blocks of Lite0 the critic looks at: strides 4, 8, 16
CRITIC_WIDTHS = (24, 40, 112)


class Reverse(torch.autograd.Function):
    """The identity whose gradient changes its sign: what the critic learns to see the mender learns to hide."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return -grad


class Critic(nn.Module):
    """Segmentation discriminator (SCAT, Zuo et al., AAAI 2023) on frozen features (projected GANs, Sauer et al.,
    NeurIPS 2021): per cell and tap one logit, > 0 where it takes the cell for a photo's own."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, 64, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(64, 1, 1)) for c in CRITIC_WIDTHS
        )

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        return [head(f) for head, f in zip(self.heads, features, strict=True)]


def hinge(logits: list[Tensor], mask: Tensor) -> Tensor:
    """Cells that touch the mask shall be < −1, the others > 1; both kinds weigh the same at every tap."""
    total = mask.new_zeros(())
    for logit in logits:
        made = F.adaptive_max_pool2d(mask, logit.shape[-2:])
        total = total + (F.relu(1 + logit) * made).sum() / made.sum().clamp(min=1)
        total = total + (F.relu(1 - logit) * (1 - made)).sum() / (1 - made).sum().clamp(min=1)
    return total / len(logits)


class MenderTask(Task):
    """L1 + feature distance to the truth + segmentation confusion."""

    net: MenderNet
    critic: Critic

    def __init__(self, recipe: dict[str, Any], data: list[Path], out: Path) -> None:
        super().__init__()
        self.recipe = recipe
        self.net = MenderNet()
        self.critic = Critic()
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
        distance = feature_distance(self.lite0, mended, truth, mask)
        logits = self.critic([Reverse.apply(f) for f in self.lite0.features(mended, CRITIC_TAPS)])
        confusion = hinge([x.float() for x in logits], mask)
        recipe = self.recipe
        loss = recipe["l1_weight"] * l1 + recipe["feature_weight"] * distance + recipe["critic_weight"] * confusion
        return {"loss": loss, "l1": l1, "features": distance, "critic": confusion}

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
