"""Train the hole-only painting network (pipelines/networks/coord.py) on drafts of the shipped draft network: L1,
feature distance, segmentation confusion, and styles that differ where the draft is unsure."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.features.lite0 import Lite0, trained_lite0
from restore.pipelines.networks.coord import CELL, CODE, CoordConfig, CoordNet
from restore.quality.metrics.full_reference import TAPS, feature_distance
from restore.training.critic import Critic, judged
from restore.training.data.drafted import Drafted
from restore.training.data.photos import Holes, PhotoCache, held_out
from restore.training.loop import Task

KEPT_APART = 64  # photos
EVALUATED = 16  # crops of them
MARGIN = 2  # cells seen around what is painted, at least


class CoordTask(Task):
    """Of a drafted picture of `size` pixels a square of `seen` is looked at and one of `painted` inside it painted."""

    net: CoordNet
    critic: Critic

    def __init__(self, recipe: dict[str, Any], data: list[Path], out: Path) -> None:
        super().__init__()
        self.recipe = recipe
        folder, holes = out.parent / "cache", Holes.open(recipe["hole_shapes"])
        photos = PhotoCache.open(folder, data)
        train_on, test_on = held_out(len(photos), KEPT_APART)
        size, count, seed = recipe["size"], recipe["drafts"], recipe["seed"]
        self.drafted = [
            Drafted.open(folder, count, photos, train_on, holes, (size, small), seed) for small in recipe["drafted_at"]
        ]
        smallest = size, min(recipe["drafted_at"])
        self.test = Drafted.open(folder, EVALUATED, photos, test_on, holes, smallest, seed)
        self.net = CoordNet(CoordConfig(**recipe["network"])).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.critic = Critic(TAPS, layers=1)
        self.lite0: Lite0 = trained_lite0().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def batch(self, rng: np.random.Generator, progress: float) -> dict[str, Tensor]:
        """truth, base (n, 3, p, p), mask (n, 1, p, p) of the painted squares; picture (n, 3, s, s), seen and error
        (n, 1, s, s) of what is looked at; code, other (n, CODE)."""
        n = self.recipe["batch"]
        rows = [self._sample(rng) for _ in range(n)]
        batch = {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
        codes = torch.from_numpy(rng.standard_normal((2, n, CODE), np.float32))
        return batch | {"code": codes[0], "other": codes[1]}

    def _sample(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """One row of a batch: squares around a random pixel of a hole."""
        drafted = self.drafted[int(rng.integers(len(self.drafted)))]
        # Sharpening is learnt from drafts that are right: mixed with the truth, the less error expected the more.
        right = float(rng.random()) if rng.random() < self.recipe["mixed"] else 0.0
        whole = views(drafted[int(rng.integers(len(drafted)))], right)
        if rng.random() < 0.5:
            whole = {name: x.flip(3) for name, x in whole.items()}
        size, seen, painted = (self.recipe[name] for name in ("size", "seen", "painted"))
        inner = MARGIN * CELL - CELL // 2
        places = torch.nonzero(whole["mask"][0, 0])
        place = places[int(rng.integers(len(places)))].tolist()
        corner = [int(np.clip(c - inner - rng.integers(painted), 0, size - seen)) // CELL * CELL for c in place]
        row = {}
        for name in ("truth", "base", "mask"):
            row[name] = square(whole[name], corner, inner, painted)
        row["picture"] = square(torch.where(whole["mask"] > 0.5, whole["base"], whole["truth"]), corner, 0, seen)
        row["seen"] = square(whole["mask"], corner, 0, seen)
        row["error"] = square(whole["error"], corner, 0, seen)
        return row

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        truth, mask, recipe, pairs = batch["truth"], batch["mask"], self.recipe, self.recipe["pairs"]
        shown = [batch[name] for name in ("picture", "seen", "error")]
        # The first few once more, in another style.
        shown, base = [torch.cat([x, x[:pairs]]) for x in shown], torch.cat([batch["base"], batch["base"][:pairs]])
        code = torch.cat([batch["code"], batch["other"][:pairs]])
        drawn = self.net(*shown, code, base, MARGIN).float()
        fill, other = drawn[: len(truth)], drawn[len(truth) :]
        l1 = ((fill - truth).abs() * mask).sum() / (3 * mask.sum()).clamp(min=1)
        losses = judged(self.critic, self.lite0, torch.where(mask > 0.5, fill, truth), truth, mask)
        differ = fill[:pairs] - other
        # Not in tint: that would be the cheapest way to differ, and shows at the hole's edge.
        apart = smooth((differ - smooth(differ)).abs().mean(1, keepdim=True))
        unsure = square(batch["error"][:pairs], [0, 0], MARGIN * CELL - CELL // 2, mask.shape[-1])
        alike = F.relu(recipe["variety"] * unsure - apart) * mask[:pairs]
        alike = alike.sum() / mask[:pairs].sum().clamp(min=1)
        loss = recipe["l1_weight"] * l1 + recipe["feature_weight"] * losses["features"] + losses["critic"]
        loss = loss + recipe["critic_weight"] * losses["confusion"] + recipe["variety_weight"] * alike
        return {"loss": loss, "l1": l1, "alike": alike, **losses}

    @torch.no_grad()
    def evaluate(self, net: nn.Module) -> dict[str, float]:
        """L1 and feature distance in the hole of fixed crops, painted and of the enlarged draft, and how much two
        styles differ there."""
        device = next(net.parameters()).device
        codes = torch.randn(2, EVALUATED, CODE, generator=torch.Generator().manual_seed(0))
        found: dict[str, list[float]] = {}
        for i in range(EVALUATED):
            truth, mask = self.test[i][:2]
            draft, error = ((x / 255).astype(np.float32) for x in self.test[i][2:])
            painted = [cast(CoordNet, net).fill(truth, mask > 0, draft, error, code[i : i + 1]) for code in codes]
            view = {name: x.to(device) for name, x in views(self.test[i]).items()}
            images = [torch.from_numpy(p).permute(2, 0, 1)[None].to(device) / 255 for p in painted]
            soft = torch.round(view["base"] * 255) / 255  # rounding alone costs a hundredth
            images.append(torch.where(view["mask"] > 0.5, soft, view["truth"]))
            for name, image in zip(("", "_other", "_draft"), images, strict=True):
                miss = ((image - view["truth"]).abs() * view["mask"]).sum() / (3 * view["mask"].sum())
                found.setdefault(f"l1{name}", []).append(float(miss))
                distance = feature_distance(self.lite0, image, view["truth"], view["mask"])
                found.setdefault(f"features{name}", []).append(float(distance))
            apart = ((images[0] - images[1]).abs() * view["mask"]).sum() / (3 * view["mask"].sum())
            found.setdefault("variety", []).append(float(apart))
        return {key: float(np.mean(values)) for key, values in found.items()}


def views(crop: tuple[np.ndarray, ...], right: float = 0.0) -> dict[str, Tensor]:
    """Of one drafted crop: truth and base, the enlarged draft (1, 3, S, S), in [0, 1]; mask, error (1, 1, S, S).

    right: share of the draft that is replaced by the reduced truth, and by which less error is expected.
    """
    truth, mask, draft, error = (torch.from_numpy(np.array(x)).float() for x in crop)
    small = F.interpolate(truth.permute(2, 0, 1)[None], size=draft.shape[:2], mode="area")[0].permute(1, 2, 0)
    draft, error = torch.lerp(draft, small, right), error * (1 - right)
    base, unsure = (
        F.interpolate(x / 255, size=truth.shape[:2], mode="bilinear", align_corners=False)
        for x in (draft.permute(2, 0, 1)[None], error[None, None])
    )
    return {"truth": truth.permute(2, 0, 1)[None] / 255, "base": base, "mask": mask[None, None], "error": unsure}


def square(x: Tensor, corner: list[int], inner: int, side: int) -> Tensor:
    top, left = corner[0] + inner, corner[1] + inner
    return x[..., top : top + side, left : left + side]


def smooth(x: Tensor) -> Tensor:
    """Means of 17×17 pixels."""
    return F.avg_pool2d(x, 17, 1, 8, count_include_pad=False)
