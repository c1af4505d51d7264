"""The judge's data and losses (quality/judges/judge_net.py): `restore train judge`.

It learns from fills by many methods whose truth is known: shards of training/data/make_fills.py, or a few made of plain
photos on the spot.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from restore.features.lite0 import Lite0, trained_lite0
from restore.pipelines.fill.builtin import BuiltinPipeline
from restore.quality.judges.judge_net import SEVERE, STRIDE, JudgeNet, severity
from restore.training.data.make_fills import available, sample, write_shard
from restore.training.data.photos import Holes, PhotoCache, held_out
from restore.training.loop import Task
from restore.weights.store import verified

EVALUATED = 16  # held-out photos

Picture = tuple[np.ndarray, np.ndarray, np.ndarray]  # image (S, S, 3) uint8, mask (S, S), severity (S/4, S/4)


@dataclass
class Shard:
    """Fills of n photos: truth (n, S, S, 3), mask (n, S, S), fill (n, k, S, S, 3), severity (n, k, S/4, S/4)."""

    truth: np.ndarray
    mask: np.ndarray
    fill: np.ndarray
    severity: np.ndarray

    @classmethod
    def open(cls, folder: Path, lite0: Lite0) -> Shard:
        """Memory-mapped; the severity of every fill is computed once and kept beside it."""
        truth, mask, fill = (np.load(folder / f"{k}.npy", mmap_mode="r") for k in ("truth", "mask", "fill"))
        if not (folder / "severity.npy").exists():
            rows = []
            for t, fills in zip(tqdm(truth, desc="severity", leave=False), fill, strict=True):
                x = torch.from_numpy(np.stack(fills)).permute(0, 3, 1, 2).float() / 255
                y = torch.from_numpy(t.copy()).permute(2, 0, 1)[None].float() / 255
                rows.append(severity(lite0, x, y.expand_as(x))[:, 0].half().numpy())
            np.save(folder / "severity.npy", np.stack(rows))
        return cls(truth, mask, fill, np.load(folder / "severity.npy"))


def distorted(truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A whole photo made worse by blur, noise, compression or a reduced size, to be judged everywhere."""
    image, kind = truth.copy(), rng.integers(4)
    if kind == 0:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), float(np.exp(rng.uniform(-0.7, 1.5)))))
    if kind == 1:
        return np.clip(image + rng.normal(0, np.exp(rng.uniform(1, 3.5)), image.shape), 0, 255).astype(np.uint8)
    if kind == 2:
        return recompressed(image, int(rng.integers(3, 40)))
    size = int(len(image) * rng.uniform(0.15, 0.7))
    return np.asarray(cv2.resize(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA), image.shape[1::-1]))


def recompressed(image: np.ndarray, quality: int) -> np.ndarray:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))


def pictures(shard: Shard, i: int, rng: np.random.Generator) -> tuple[list[Picture], np.ndarray, np.ndarray]:
    """Photo i as it is, its k fills and, last, one distorted copy, whose severity is left at 0; that copy and the
    photo without what follows: all pictures share one re-encoding and mirroring.

    What is the same for truth and fill cannot give a fill away: neither codec nor grain is a fingerprint.
    """
    truth, mask, k = shard.truth[i], shard.mask[i], shard.fill.shape[1]
    clean = np.zeros(shard.severity.shape[-2:], np.float16)
    group: list[Picture] = [(truth, mask, clean)]
    group += [(shard.fill[i, j], mask, shard.severity[i, j]) for j in range(k)]
    if rng.random() < 0.15:  # the same pictures, judged everywhere
        group = [(image, np.ones_like(mask), d) for image, _, d in group]
    worse = distorted(truth, rng)
    group.append((worse, np.ones_like(mask), clean))
    quality = int(rng.integers(60, 100)) if rng.random() < 0.5 else 0
    grain = rng.normal(0, rng.uniform(0, 4), truth.shape) if rng.random() < 0.3 else None
    flip = -1 if rng.random() < 0.5 else 1
    out = []
    for image, m, d in group:
        if grain is not None:
            image = np.clip(image + grain, 0, 255).astype(np.uint8)
        if quality:
            image = recompressed(np.ascontiguousarray(image), quality)
        out.append((image[:, ::flip].copy(), m[:, ::flip].copy(), d[:, ::flip].copy()))
    return out, worse[:, ::flip].copy(), truth[:, ::flip].copy()


def to_tensor(images: list[np.ndarray]) -> Tensor:
    """uint8 (S, S, 3) each → (N, 3, S, S) in [0, 1]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


def ranking_loss(mean: Tensor, true: Tensor, group: Tensor, margin: float = 0.05) -> Tensor:
    """Hinge over all pairs of a batch from the same photo (RankIQA, Liu et al., ICCV 2017). All (N,)."""
    worse = true[:, None] - true[None, :] > margin
    pairs = worse & (group[:, None] == group[None, :])
    hinge = F.relu(margin + mean[None, :] - mean[:, None])
    return (hinge * pairs).sum() / pairs.sum().clamp(min=1)


def right_order(mean: Tensor, true: Tensor, group: Tensor) -> Tensor:
    """Share of a photo's pairs, more than 0.02 apart, that the judge puts in the right order."""
    pairs = (true[:, None] - true[None] > 0.02) & (group[:, None] == group[None])
    return ((mean[:, None] > mean[None]) & pairs).sum() / pairs.sum().clamp(min=1)


def find_shards(data: list[Path]) -> list[Path]:
    """Finished shards of make_fills among `data` and directly below it."""
    return [p for source in data for p in (source, *sorted(source.glob("*[0-9]"))) if (p / "fill.npy").exists()]


def make_own_fills(recipe: dict[str, Any], data: list[Path], out: Path) -> list[Path]:
    """One small shard of fills of plain photos, in OUT/fills."""
    folder = out / "fills" / "0000"
    if not folder.exists():
        cache, holes = PhotoCache.open(out.parent / "cache", data), Holes.open(recipe["hole_shapes"], data)
        pipeline = BuiltinPipeline.shipped()
        methods = available([verified("draft")])
        count = min(recipe["own_fills"], 2 * len(cache))
        numbers = tqdm(range(count), desc="fills", leave=False)
        write_shard(folder, [sample(i, recipe["seed"], cache, holes, methods, pipeline) for i in numbers])
    return [folder]


class JudgeTask(Task):
    """Artifact cross entropy, severity regression, and the order of fills of the same photo."""

    net: JudgeNet

    def __init__(self, recipe: dict[str, Any], data: list[Path], out: Path) -> None:
        super().__init__()
        self.recipe = recipe
        lite0 = trained_lite0()
        shards = [Shard.open(p, lite0) for p in find_shards(data) or make_own_fills(recipe, data, out)]
        self.photos = [(shard, i) for shard in shards for i in range(len(shard.truth))]
        self.train_on, self.test_on = held_out(len(self.photos), EVALUATED)
        self.net = JudgeNet(lite0).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def batch(self, rng: np.random.Generator, progress: float) -> dict[str, Tensor]:
        """image (N, 3, S, S), mask (N, 1, S, S), true severity (N, 1, S/4, S/4), group (N,) = which photo.

        `worse` and `clean` (photos, 3, S, S) give the severity of the pictures numbered in `worse_at`.
        """
        found: list[Picture] = []
        group, worse_at, worse, clean = [], [], [], []
        for g in range(self.recipe["photos"]):
            shard, i = self.photos[self.train_on[rng.integers(len(self.train_on))]]
            more, bad, truth = pictures(shard, i, rng)
            found += more
            group += [g] * len(more)
            worse_at.append(len(found) - 1)
            worse.append(bad)
            clean.append(truth)
        return {
            "image": to_tensor([p[0] for p in found]),
            "mask": torch.from_numpy(np.stack([p[1] for p in found]))[:, None].float(),
            "true": torch.from_numpy(np.stack([p[2] for p in found]).astype(np.float32))[:, None],
            "group": torch.tensor(group),
            "worse": to_tensor(worse),
            "clean": to_tensor(clean),
            "worse_at": torch.tensor(worse_at),
        }

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        image, mask, group, true = (batch[k] for k in ("image", "mask", "group", "true"))
        with torch.autocast(image.device.type, enabled=False):  # targets in full precision
            true = true.index_copy(0, batch["worse_at"], severity(self.net.lite0, batch["worse"], batch["clean"]))
        logit, d = self.net(image.to(memory_format=torch.channels_last), mask)
        cells = F.avg_pool2d(mask, STRIDE)
        area = cells.sum((1, 2, 3))
        bce = F.binary_cross_entropy_with_logits(logit.float(), (true > SEVERE).float(), reduction="none")
        # An untouched photo called broken is the worse mistake: a judge that cries wolf never stops.
        weight = torch.where(true.amax((1, 2, 3)) > 0, 1.0, float(self.recipe["truth_weight"]))
        bce = (weight * (bce * cells).sum((1, 2, 3)) / area).mean()
        miss = F.smooth_l1_loss(d.float(), true, reduction="none", beta=0.2)
        miss = (weight * (miss * cells).sum((1, 2, 3)) / area).mean()
        mean, mean_true = ((x.float() * cells).sum((1, 2, 3)) / area for x in (d, true))
        rank = ranking_loss(mean, mean_true, group)
        loss = bce + 2 * miss + self.recipe["rank_weight"] * rank
        right = right_order(mean, mean_true, group)
        return {"loss": loss, "bce": bce, "miss": miss, "rank": rank, "right_order": right}

    def evaluate(self, net: nn.Module) -> dict[str, float]:
        """Of held-out photos: pairs of fills in the right order, and PAR of the untouched photo."""
        device, right, alarm = next(net.parameters()).device, [], []
        for i in self.test_on:
            shard, j = self.photos[i]
            image = to_tensor([shard.truth[j], *shard.fill[j]]).to(device)
            hole = torch.from_numpy(shard.mask[j][None, None].astype(np.float32)).to(device)
            mask = hole.expand(len(image), 1, -1, -1)
            true = torch.from_numpy(shard.severity[j].astype(np.float32)).to(device)[:, None]
            logit, d = cast(JudgeNet, net)(image, mask)
            cells = F.avg_pool2d(mask, STRIDE)
            mean, mean_true = ((x * cells[1:]).sum((1, 2, 3)) / cells[1:].sum((1, 2, 3)) for x in (d[1:], true))
            right.append(right_order(mean, mean_true, torch.zeros(len(mean), device=device)).item())
            alarm.append((((logit[0] > 0) * cells[0]).sum() / cells[0].sum()).item())
        return {"right_order": float(np.mean(right)), "par_untouched": float(np.mean(alarm))}

    def export(self, net: nn.Module) -> dict[str, Tensor]:
        return {k: v for k, v in net.state_dict().items() if not k.startswith("lite0.")}
