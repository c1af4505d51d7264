"""Train the expectation network (restore/features/expectation.py): photos, holes and the draft network suffice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.features.expectation_net import TAPS, ExpectationNet, Expected
from restore.features.lite0 import trained_lite0
from restore.pipelines.networks.draft import DraftNet
from restore.training.data.photos import Holes, PhotoCache, held_out, random_crop
from restore.training.loop import Task
from restore.weights.store import load_weights

EVALUATED = 32  # photos


class ExpectationTask(Task):
    """Squared error of the expected features in the hole, and of the expected error."""

    net: ExpectationNet
    draft: DraftNet

    def __init__(self, recipe: dict[str, Any], data: list[Path], out: Path) -> None:
        super().__init__()
        self.recipe = recipe
        self.cache = PhotoCache.open(out.parent / "cache", data)
        self.train_on, self.test_on = held_out(len(self.cache), EVALUATED)
        self.holes = Holes.open(recipe["hole_shapes"], data)
        self.net = ExpectationNet(trained_lite0())
        self.draft = DraftNet.from_weights(load_weights("draft")).requires_grad_(False)

    def batch(self, rng: np.random.Generator, progress: float) -> dict[str, Tensor]:
        return self._collate(rng.choice(self.train_on, self.recipe["batch"]).tolist(), rng)

    def _collate(self, photos: list[int], rng: np.random.Generator) -> dict[str, Tensor]:
        size = self.recipe["size"]
        images = np.stack([random_crop(self.cache[i], size, rng, least=0.7) for i in photos])
        masks = np.stack([self.holes.sample(size, rng) for _ in photos])
        return {
            "truth": torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255,
            "mask": torch.from_numpy(masks)[:, None].float(),
        }

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        truth, mask = batch["truth"], batch["mask"]
        drafted, error = drafted_at_half(self.draft, truth, mask)
        return self._losses(self.net(drafted, mask, error), truth, mask)

    def _losses(self, said: Expected, truth: Tensor, mask: Tensor) -> dict[str, Tensor]:
        targets = self.net.features(truth)
        miss = error = truth.new_zeros(())
        for found, expected, target in zip(said.features, said.error, targets, strict=True):
            cells, squared = squared_miss(found, target, mask)
            miss = miss + (squared * cells).sum() / cells.sum()
            error = error + ((expected.float() - squared.detach()).square() * cells).sum() / cells.sum()
        miss = miss / len(TAPS)
        return {"loss": miss + 0.1 * error / len(TAPS), "miss": miss}

    @torch.no_grad()
    def evaluate(self, net: nn.Module) -> dict[str, float]:
        """Mean squared error of held-out photos' features: expected, and those of the draft itself."""
        batch = self._collate(list(self.test_on), np.random.default_rng(0))
        device = next(net.parameters()).device
        truth, mask = (batch[k].to(device) for k in ("truth", "mask"))
        drafted, error = drafted_at_half(self.draft, truth, mask)
        said = cast(Expected, net(drafted, mask, error))
        return {
            "miss": float(self._losses(said, truth, mask)["miss"]),
            "miss_of_draft": float(self._losses(replace(said, features=said.drafted), truth, mask)["miss"]),
        }

    def export(self, net: nn.Module) -> dict[str, Tensor]:
        return cast(ExpectationNet, net).own_weights()


@torch.no_grad()
def drafted_at_half(net: DraftNet, truth: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The photos (N, 3, H, W) with their holes drafted at half size and enlarged, as the builtin does, and the draft's
    expected absolute error (N, 1, H, W)."""
    known = F.avg_pool2d(1 - mask, 2)
    small = F.avg_pool2d(truth * (1 - mask), 2) / known.clamp(min=1e-6) * (known > 0)
    draft, error = net.draft(small, (known < 1).float())
    large = F.interpolate(draft.float(), scale_factor=2, mode="bicubic", align_corners=False).clamp(0, 1)
    error = F.interpolate(error.float(), scale_factor=2, mode="bilinear", align_corners=False)
    return torch.where(mask > 0.5, large, truth), error


def squared_miss(found: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Cells (N, 1, h, w) that the mask (N, 1, H, W) touches, and the features' squared distance (N, 1, h, w)."""
    cells = F.adaptive_max_pool2d(mask, target.shape[-2:])
    return cells, (found.float() - target.float()).square().sum(1, keepdim=True)
