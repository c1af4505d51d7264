"""The instruction network's data and losses (pipelines/networks/instruct.py): `restore train instruct`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from restore.pipelines.networks.instruct import SIDE, SIGMA_DATA, InstructConfig, InstructNet, token_ids
from restore.training.data.pairs import UNCLEAR, PairSource, Pasted, Rendered, Triplets
from restore.training.data.photos import PhotoCache
from restore.training.data.scenes import common_names, find_objects, load_objects
from restore.training.data.solids import Scene, cover, render
from restore.training.loop import Task

CHANGED = 3 / 255  # a pixel that differs by more has changed
EVALUATED = 64  # held-out scenes


class InstructTask(Task):
    """Pairs of pictures: L1 of the change, its mask, and where the named objects stand."""

    net: InstructNet

    def __init__(self, recipe: dict[str, Any], data: list[Path], out: Path) -> None:
        super().__init__()
        self.recipe = recipe
        self.rendered = Rendered(recipe["kinds"])
        self.sources, shares = sources_of(recipe, data, out, self.rendered)
        self.shares = np.array(shares) / sum(shares)
        net = InstructNet(InstructConfig(**recipe["network"]))
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def batch(self, rng: np.random.Generator, progress: float) -> dict[str, Tensor]:
        """source, target (n, 3, s, s) in [-1, 1]; ids (n, words); sigma (n,); noise; shown (n, 1, 1, 1) in {0, 1};
        cells and kinds as in `Pair`; painted: whether pixels are predicted, or just located what is named."""
        recipe = self.recipe
        painted = bool(rng.random() < recipe["painted_share"])
        n = recipe["batch"] if painted else recipe["batch"] * recipe["located_batches"]
        drawn = rng.choice(len(self.sources), n, p=self.shares)
        pairs = [self.sources[k].sample(rng) for k in drawn]
        texts = ["" if rng.random() < recipe["no_text"] else pair.text for pair in pairs]
        noisy = int(n * recipe["noisy_share"])
        sigma = np.full(n, math.inf, np.float32)
        sigma[:noisy] = np.exp(rng.standard_normal(noisy) * 1.2 - 1.6)
        pictures = ([p.source for p in pairs], [p.target for p in pairs])
        source, target = (torch.from_numpy(np.stack(p)).permute(0, 3, 1, 2) for p in pictures)
        return {
            "source": source * 2 - 1,
            "target": target * 2 - 1,
            "ids": token_ids(texts),
            "sigma": torch.from_numpy(sigma),
            "noise": torch.from_numpy(rng.standard_normal((n, 3, SIDE, SIDE), np.float32)),
            "painted": torch.tensor(painted),
            "shown": torch.from_numpy(rng.random((n, 1, 1, 1)) >= recipe["no_image"]).float(),
            "cells": torch.from_numpy(np.stack([p.cells for p in pairs])),
            "kinds": torch.from_numpy(np.stack([p.kinds for p in pairs])),
        }

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        # Of 64 cells, plain matrix products are the faster attention on a CPU.
        with sdpa_kernel(SDPBackend.MATH):
            words, absent = self.net.read(batch["ids"])
            if bool(batch["painted"]):
                return self._painted(batch, words, absent)
            source = batch["source"].to(memory_format=torch.channels_last)
            losses = self._located(*self.net.locate(source, words, absent), batch)
        return losses | {"loss": self._weighted(losses)}

    def _weighted(self, located: dict[str, Tensor]) -> Tensor:
        return torch.stack([self.recipe[f"{name}_weight"] * value for name, value in located.items()]).sum()

    def _located(self, cells: Tensor, kinds: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        clear = (batch["kinds"] != UNCLEAR).sum().clamp(min=1)
        wrong = F.cross_entropy(kinds.float(), batch["kinds"], ignore_index=UNCLEAR, reduction="sum") / clear
        off = F.binary_cross_entropy_with_logits(cells.float(), batch["cells"], reduction="none").mean((0, 2, 3))
        return {"cells": off[:2].mean(), "side": off[2], "kinds": wrong}

    def _painted(self, batch: dict[str, Tensor], words: Tensor, absent: Tensor) -> dict[str, Tensor]:
        source, target, sigma = batch["source"], batch["target"], batch["sigma"]
        noise = torch.where(torch.isinf(sigma), 0.0, sigma)[:, None, None, None] * batch["noise"]
        source, noisy = (x.to(memory_format=torch.channels_last) for x in (source, target + noise))
        told = self.net.denoise(source, noisy, sigma, words, absent, source * batch["shown"])
        changed = ((target - source).abs().amax(1, keepdim=True) > 2 * CHANGED).float()
        s = sigma[:, None, None, None]
        # EDM's weight relative to that at σ = ∞, where the loss is the plain one.
        weight = torch.where(torch.isinf(s), 1.0, (s**2 + SIGMA_DATA**2) / s**2).clamp(max=20).sqrt()
        miss = weight * (told.target.float() - target).abs().mean(1, keepdim=True)
        l1 = miss.mean() + 0.1 * (miss * changed).sum() / changed.sum().clamp(min=1)
        mask = F.binary_cross_entropy_with_logits(told.change.float(), changed)
        located = self._located(told.cells, told.kinds, batch)
        recipe = self.recipe
        loss = recipe["l1_weight"] * l1 + recipe["mask_weight"] * mask
        return {"l1": l1, "mask": mask, **located, "loss": loss + self._weighted(located)}

    def evaluate(self, net: nn.Module) -> dict[str, float]:
        """Share of held-out scenes where just the named solid's cells are marked, and L1 where pixels change."""
        rng, hits, l1 = np.random.default_rng(10**6), [], []
        for _ in range(EVALUATED):
            scene, case = self.rendered.scene(rng)
            source, target = render(scene, SIDE), render(scene.without(case.chosen), SIDE)
            told = one_step(cast(InstructNet, net), source, case.text)
            change = told.change[0, 0].float().cpu().numpy() > 0
            hits.append(marked(scene, change) == ({case.chosen} - {None}))
            differs = np.abs(target - source).max(-1) > CHANGED
            if differs.any():
                picture = (told.target[0].permute(1, 2, 0).float().cpu().numpy() + 1) / 2
                l1.append(float(np.abs(picture - target)[differs].mean()))
        return {"right": float(np.mean(hits)), "l1": float(np.mean(l1))}


def sources_of(
    recipe: dict[str, Any], data: list[Path], out: Path, rendered: Rendered
) -> tuple[list[PairSource], list[float]]:
    """Where pairs come from and how often: rendered scenes always; pasted objects where `data` has labelled ones and
    plain photos; built triplets where it has a folder of them."""
    sources: list[PairSource] = [rendered]
    shares: list[float] = [1.0]
    folders = [d for d in data if (d / "index.jsonl").exists()]
    photos = [d for d in data if d not in folders and d not in find_objects([d])]
    cuts = [cut for source in find_objects(data) for cut in load_objects(source)]
    if cuts and photos and recipe["pasted_share"]:
        names = common_names(cuts, recipe["drawn"])
        groups = {kind: [i for i, own in enumerate(names) if kind in own] for kind in recipe["drawn"]}
        cache = PhotoCache.open(out.parent / "cache", photos)
        sources.append(Pasted(cuts, {k: v for k, v in groups.items() if v}, cache))
        shares.append(recipe["pasted_share"])
    for folder in folders if recipe["triplet_share"] else []:
        sources.append(Triplets(folder))
        shares.append(recipe["triplet_share"] / len(folders))
    shares[0] = 1 - sum(shares[1:])
    return sources, shares


def marked(scene: Scene, change: np.ndarray) -> set[int | None]:
    """The solids most of whose own pixels are marked as changed (SIDE, SIDE)."""
    return {i for i in range(len(scene.solids)) if change[cover(scene, i, SIDE)].mean() > 0.5}


@torch.inference_mode()
def one_step(net: InstructNet, source: np.ndarray, text: str) -> Any:
    """`Prediction` of the conditional mean for one picture (SIDE, SIDE, 3) in [0, 1]."""
    device = next(net.parameters()).device
    x = torch.from_numpy(source).permute(2, 0, 1)[None].to(device) * 2 - 1
    words, absent = net.read(token_ids([text]).to(device))
    return net.denoise(x, x, torch.full((1,), math.inf, device=device), words, absent)
