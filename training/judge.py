"""Train the judge network (quality/judge_net.py) on fills by many methods whose truth is known.

Make the fills first (training/make_fills.py). Example:
  python -m restore.training.judge --config training/recipes/judge.yaml --data runs/fills --out runs/judge --minutes 30
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from restore.backbone import Lite0
from restore.quality.judge_net import SEVERE, STRIDE, JudgeNet, severity
from restore.training.loop import Trainer, parse_args

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
            for t, fills in zip(truth, fill, strict=True):
                x = torch.from_numpy(np.stack(fills)).permute(0, 3, 1, 2).float() / 255
                y = torch.from_numpy(t.copy()).permute(2, 0, 1)[None].float() / 255
                rows.append(severity(lite0, x, y.expand_as(x))[:, 0].half().numpy())
            np.save(folder / "severity.npy", np.stack(rows))
        return cls(truth, mask, fill, np.load(folder / "severity.npy"))


def distorted(truth: np.ndarray, lite0: Lite0, rng: np.random.Generator) -> Picture:
    """A whole photo made worse by blur, noise, compression or a reduced size, to be judged everywhere."""
    image, kind = truth.copy(), rng.integers(4)
    if kind == 0:
        image = cv2.GaussianBlur(image, (0, 0), float(np.exp(rng.uniform(-0.7, 1.5))))
    elif kind == 1:
        image = np.clip(image + rng.normal(0, np.exp(rng.uniform(1, 3.5)), image.shape), 0, 255).astype(np.uint8)
    elif kind == 2:
        image = recompressed(image, int(rng.integers(3, 40)))
    else:
        size = int(len(image) * rng.uniform(0.15, 0.7))
        image = cv2.resize(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA), image.shape[1::-1])
    x, y = (torch.from_numpy(a.copy()).permute(2, 0, 1)[None].float() / 255 for a in (image, truth))
    return image, np.ones(truth.shape[:2], np.uint8), severity(lite0, x, y)[0, 0].numpy()


def recompressed(image: np.ndarray, quality: int) -> np.ndarray:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))


def pictures(shard: Shard, i: int, lite0: Lite0, rng: np.random.Generator) -> list[Picture]:
    """Photo i as it is, its k fills, and one distorted copy; all share one re-encoding and mirroring.

    What is the same for truth and fill cannot give a fill away: neither codec nor grain is a fingerprint.
    """
    truth, mask, k = shard.truth[i], shard.mask[i], shard.fill.shape[1]
    clean = np.zeros(shard.severity.shape[-2:], np.float16)
    group: list[Picture] = [(truth, mask, clean)]
    group += [(shard.fill[i, j], mask, shard.severity[i, j]) for j in range(k)]
    if rng.random() < 0.15:  # the same pictures, judged everywhere
        group = [(image, np.ones_like(mask), d) for image, _, d in group]
    group.append(distorted(truth, lite0, rng))
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
    return out


def ranking_loss(mean: Tensor, true: Tensor, group: Tensor, margin: float = 0.05) -> Tensor:
    """Hinge over all pairs of a batch from the same photo (RankIQA, Liu et al., ICCV 2017). All (N,)."""
    worse = true[:, None] - true[None, :] > margin
    pairs = worse & (group[:, None] == group[None, :])
    hinge = F.relu(margin + mean[None, :] - mean[:, None])
    return (hinge * pairs).sum() / pairs.sum().clamp(min=1)


def main() -> None:
    args = parse_args(__doc__)
    recipe = args.recipe
    lite0 = Lite0().eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    lite0.load_state_dict(load_file("restore/weights/lite0.safetensors"))
    shards: dict[Path, Shard] = {}
    net = JudgeNet(lite0).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    trainer = Trainer(net, [p for p in net.parameters() if p.requires_grad], recipe, args)
    while trainer.progress < 1:
        if trainer.step % 250 == 0 or not shards:  # shards that are finished meanwhile join in
            for folder in sorted(p for source in args.data for p in source.iterdir() if (p / "fill.npy").exists()):
                if folder.suffix != ".part" and folder not in shards:
                    shards[folder] = Shard.open(folder, lite0)
            print(sum(len(s.truth) for s in shards.values()), "photos", flush=True)
        rng = np.random.default_rng([recipe["seed"], trainer.step])
        batch, group = [], []
        for g in range(recipe["photos"]):
            shard = list(shards.values())[rng.integers(len(shards))]
            found = pictures(shard, int(rng.integers(len(shard.truth))), lite0, rng)
            batch += found
            group += [g] * len(found)
        image = torch.from_numpy(np.stack([b[0] for b in batch])).permute(0, 3, 1, 2).float() / 255
        mask = torch.from_numpy(np.stack([b[1] for b in batch]))[:, None].float()
        true = torch.from_numpy(np.stack([b[2] for b in batch]).astype(np.float32))[:, None]
        with torch.autocast("cpu", torch.bfloat16):
            logit, d = net(image.to(memory_format=torch.channels_last), mask)
        cells = F.avg_pool2d(mask, STRIDE)
        area = cells.sum((1, 2, 3))
        bce = F.binary_cross_entropy_with_logits(logit.float(), (true > SEVERE).float(), reduction="none")
        # An untouched photo called broken is the worse mistake: a judge that cries wolf never stops.
        weight = torch.where(true.amax((1, 2, 3)) > 0, 1.0, float(recipe["truth_weight"]))
        bce = (weight * (bce * cells).sum((1, 2, 3)) / area).mean()
        miss = F.smooth_l1_loss(d.float(), true, reduction="none", beta=0.2)
        miss = (weight * (miss * cells).sum((1, 2, 3)) / area).mean()
        mean, mean_true = ((x.float() * cells).sum((1, 2, 3)) / area for x in (d, true))
        rank = ranking_loss(mean, mean_true, torch.tensor(group))
        trainer.update(bce + 2 * miss + recipe["rank_weight"] * rank)
        trainer.log(bce=bce.item(), miss=miss.item(), rank=rank.item())
        pairs = (mean_true[:, None] - mean_true[None] > 0.02) & (
            torch.tensor(group)[:, None] == torch.tensor(group)[None]
        )
        trainer.log(right_order=((mean[:, None] > mean[None]) & pairs).sum().item() / max(1, int(pairs.sum())))
    trainer.save()
    state = load_file(args.out / "weights.safetensors")
    save_file({k: v for k, v in state.items() if not k.startswith("lite0.")}, args.out / "judge.safetensors")


if __name__ == "__main__":
    main()
