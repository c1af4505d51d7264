"""Train the expectation network (restore/features/expectation.py): photos, holes and the draft network suffice."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from accelerate.utils import send_to_device
from torch import Tensor, nn

from restore.errors import InputError
from restore.features.expectation_net import SCENE, TAPS, ExpectationNet, Expected
from restore.features.lite0 import trained_lite0
from restore.pipelines.networks.draft import DraftNet
from restore.training.data.kept import KeptSamples
from restore.training.data.photos import Holes, PhotoCache, held_out, random_crop
from restore.training.loop import Task
from restore.weights.store import load_weights, manifest

EVALUATED = 32  # photos
Seen = dict[str, Tensor]  # mask and error (N, 1, H, W); own2 to own15 and target2 to target10, features at the taps


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
        if not torch.cuda.is_available():
            self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.kept: KeptSamples | None = None
        if recipe["kept_gb"]:
            if recipe["uses"] < 1:
                raise InputError(f"expected uses of a kept sample from 1 on, got {recipe['uses']}; correct the recipe")
            shapes = b"" if self.holes.shapes is None else self.holes.shapes.tobytes()
            key = [str(recipe[k]) for k in ("size", "seed", "precision")]
            key += [manifest()[name]["sha256"] for name in ("draft", "lite0")]
            key += [hashlib.sha256(shapes + repr(self.cache.index).encode()).hexdigest()]
            self.kept = KeptSamples(out, " ".join(key), recipe["kept_gb"], self._sample)
            if self.kept.slots < recipe["batch"]:
                raise InputError(f"expected kept_gb for a batch at least, got room for {self.kept.slots} samples")

    def batch(self, rng: np.random.Generator, progress: float) -> dict[str, Tensor]:
        if self.kept is not None:
            return {"place": torch.from_numpy(rng.choice(self.kept.slots, self.recipe["batch"], replace=False))}
        return self._collate(rng.choice(self.train_on, self.recipe["batch"]).tolist(), rng)

    def _sample(self, number: int) -> dict[str, Tensor]:
        """What the network sees and is asked, of one random crop that depends on `number` only; no batch axis."""
        rng = np.random.default_rng([self.recipe["seed"], number])
        batch = self._collate([self.train_on[rng.integers(len(self.train_on))]], rng)
        device = next(self.net.parameters()).device
        seen = self._look(batch["truth"].to(device), batch["mask"].to(device))
        return {name: value[0] for name, value in seen.items()}

    def _collate(self, photos: list[int], rng: np.random.Generator) -> dict[str, Tensor]:
        size = self.recipe["size"]
        images = np.stack([random_crop(self.cache[i], size, rng, least=0.7) for i in photos])
        masks = np.stack([self.holes.sample(size, rng) for _ in photos])
        return {
            "truth": torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255,
            "mask": torch.from_numpy(masks)[:, None].float(),
        }

    @torch.no_grad()
    def _look(self, truth: Tensor, mask: Tensor) -> Seen:
        """All that frozen networks say of a batch: the drafted photo's features and those to expect."""
        drafted, error = drafted_at_half(self.draft, truth, mask)
        own, targets = self.net.features(drafted, (*TAPS, SCENE)), self.net.features(truth)
        seen = {f"own{tap}": f for tap, f in zip((*TAPS, SCENE), own, strict=True)}
        seen |= {f"target{tap}": f for tap, f in zip(TAPS, targets, strict=True)}
        return seen | {"mask": mask.byte(), "error": error}

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.kept is None:
            seen = self._look(batch["truth"], batch["mask"])
        else:  # the window of samples moves on by batch / uses a step
            first = int(self.step * self.recipe["batch"] / self.recipe["uses"])
            seen = send_to_device(self.kept[(first + batch["place"]).tolist()], batch["place"].device)
        return self._losses(_expected(self.net, seen), seen)

    def _losses(self, said: Expected, seen: Seen) -> dict[str, Tensor]:
        mask = seen["mask"].float()
        miss = error = mask.new_zeros(())
        for tap, found, expected in zip(TAPS, said.features, said.error, strict=True):
            cells, squared = squared_miss(found, seen[f"target{tap}"], mask)
            miss = miss + (squared * cells).sum() / cells.sum()
            error = error + ((expected.float() - squared.detach()).square() * cells).sum() / cells.sum()
        miss = miss / len(TAPS)
        return {"loss": miss + 0.1 * error / len(TAPS), "miss": miss}

    @torch.no_grad()
    def evaluate(self, net: nn.Module) -> dict[str, float]:
        """Mean squared error of held-out photos' features: expected, and those of the draft itself."""
        batch = self._collate(list(self.test_on), np.random.default_rng(0))
        device = next(net.parameters()).device
        seen = self._look(batch["truth"].to(device), batch["mask"].to(device))
        said = _expected(cast(ExpectationNet, net), seen)
        return {
            "miss": float(self._losses(said, seen)["miss"]),
            "miss_of_draft": float(self._losses(replace(said, features=said.drafted), seen)["miss"]),
        }

    def export(self, net: nn.Module) -> dict[str, Tensor]:
        return cast(ExpectationNet, net).own_weights()


def _expected(net: ExpectationNet, seen: Seen) -> Expected:
    own = [seen[f"own{tap}"] for tap in TAPS]
    return net.expect(own, seen[f"own{SCENE}"], seen["mask"].float(), seen["error"])


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
