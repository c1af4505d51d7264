"""The draft network's data and losses (pipelines/networks/draft.py): `restore train draft`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from restore.features.lite0 import Lite0, trained_lite0
from restore.pipelines.networks.draft import SIGMA_DATA, DraftConfig, DraftNet
from restore.pipelines.push_pull import push_pull
from restore.quality.metrics.full_reference import feature_distance
from restore.training.data.photos import Holes, PhotoCache, held_out, random_crop
from restore.training.loop import Task

EVALUATED = 16  # held-out crops


class DraftTask(Task):
    """L1 and feature distance of the hole's conditional mean, plus EDM's loss on a share of noisy samples."""

    net: DraftNet

    def __init__(self, recipe: dict[str, Any], data: list[Path], out: Path) -> None:
        super().__init__()
        self.recipe = recipe
        self.cache = PhotoCache.open(out.parent / "cache", data)
        self.train_on, self.test_on = held_out(len(self.cache), EVALUATED)
        self.holes = Holes.open(recipe["hole_shapes"], data)
        sizes: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in recipe["network"].items()}
        net, lite0 = DraftNet(DraftConfig(**sizes)), trained_lite0()
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.lite0: Lite0 = lite0.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def batch(self, rng: np.random.Generator, progress: float) -> dict[str, Tensor]:
        """x (n, 3, s, s) in [-1, 1], mask (n, 1, s, s), sigma (n,) with the finite ones first, their noise."""
        recipe, n = self.recipe, self.recipe["batch"]
        # Smaller crops first: structure is learnt at half the cost (progressive resizing).
        size = recipe["sizes"][progress >= recipe["small_until"]]
        chosen = [self.train_on[rng.integers(len(self.train_on))] for _ in range(n)]
        images = np.stack([random_crop(self.cache[i], size, rng) for i in chosen])
        mask = torch.from_numpy(np.stack([self.holes.sample(size, rng) for _ in range(n)]))[:, None].float()
        noisy = int(n * recipe["noisy_share"])
        if noisy and rng.random() < 0.2:  # the unconditional prior
            mask[0] = 1
        sigma = np.full(n, math.inf, np.float32)
        sigma[:noisy] = np.exp(rng.standard_normal(noisy) * 1.2 - 1.6)
        noise = rng.standard_normal((noisy, 3, size, size), np.float32)
        return {
            "x": torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1,
            "mask": mask,
            "sigma": torch.from_numpy(sigma),
            "noise": torch.from_numpy(noise),
            "use_features": torch.tensor(recipe["feature_weight"] > 0 and rng.random() < 0.5),  # costs a third
        }

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        x, mask, sigma, noise = (batch[k] for k in ("x", "mask", "sigma", "noise"))
        recipe, n, k = self.recipe, len(x), len(noise)
        smooth = push_pull((x + 1) / 2, mask) * 2 - 1
        noisy = torch.cat([x[:k] + mask[:k] * noise * sigma[:k, None, None, None], x[k:]])
        x, mask, smooth, noisy = (t.to(memory_format=torch.channels_last) for t in (x, mask, smooth, noisy))
        clean, error = self.net.denoise(noisy, sigma, smooth, mask)
        clean, error = clean.float(), error.float().clamp(1e-3, 4)
        miss = (clean - x).abs().mean(1, keepdim=True)
        area = mask.sum((1, 2, 3))
        l1 = ((miss * mask).sum((1, 2, 3)) / area)[k:].mean()
        nll = ((torch.log(error) + miss.detach() / error) * mask)[k:].sum() / area[k:].sum()
        losses = {"l1": l1, "nll": nll}
        loss = recipe["l1_weight"] * l1 + 0.05 * nll
        if bool(batch["use_features"]):
            pasted = torch.where(mask[k:] > 0.5, clean[k:], x[k:])
            losses["features"] = feature_distance(self.lite0, (pasted + 1) / 2, (x[k:] + 1) / 2, mask[k:])
            loss = loss + recipe["feature_weight"] * losses["features"]
        if k:
            s = sigma[:k, None, None, None]
            weight = (s**2 + SIGMA_DATA**2) / (s * SIGMA_DATA) ** 2
            squared = (weight * (clean - x)[:k].square()).mean(1, keepdim=True) * mask[:k]
            losses["diffusion"] = (squared.sum((1, 2, 3)) / area[:k]).mean()
            loss = loss + recipe["diffusion_weight"] * k / n * losses["diffusion"]
        return losses | {"loss": loss}

    def evaluate(self, net: nn.Module) -> dict[str, float]:
        """L1 (of [-1, 1], as in training) and feature distance in the hole of 16 fixed crops."""
        rng, size = np.random.default_rng(0), self.recipe["sizes"][1]
        l1, features = [], []
        device = next(net.parameters()).device
        for i in np.resize(self.test_on, EVALUATED):
            x = torch.from_numpy(random_crop(self.cache[int(i)], size, rng)).permute(2, 0, 1)[None].float() / 255
            mask = torch.from_numpy(self.holes.sample(size, rng))[None, None].float()
            x, mask = x.to(device), mask.to(device)
            fill = cast(DraftNet, net).draft(x, mask)[0]
            l1.append(2 * ((fill - x).abs().mean(1, keepdim=True) * mask).sum().item() / mask.sum().item())
            features.append(feature_distance(self.lite0, fill, x, mask).item())
        return {"l1": float(np.mean(l1)), "features": float(np.mean(features))}
