"""Train the prior (pipelines/networks/prior.py): a denoiser of photographs at every noise level."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from restore.pipelines.networks.prior import SIGMA_DATA, SIGMA_MAX, SIGMA_MIN, PriorConfig, PriorNet
from restore.training.data.photos import PhotoCache, held_out
from restore.training.loop import Task

EVALUATED = 32  # photos
LEVELS = (15, 25, 50)  # noise levels of the evaluation, 8-bit units


def native_crop(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A square crop of a photo's own pixels; half of the time of the photo reduced by up to 2, turned and mirrored.

    Reducing takes compression and softness out of a photo: the prior shall know sharp pixels too.
    """
    if rng.random() < 0.5:
        least = size / min(image.shape[:2])
        scale = max(least, rng.uniform(0.5, 1))
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    h, w = image.shape[:2]
    y, x = rng.integers(0, h - size + 1), rng.integers(0, w - size + 1)
    crop = np.rot90(image[y : y + size, x : x + size], int(rng.integers(4)))
    return crop[:, ::-1] if rng.random() < 0.5 else crop


def to_pixels(crops: list[np.ndarray]) -> Tensor:
    """uint8 crops (H, W, 3) as (N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 127.5 - 1


class PriorTask(Task):
    """Denoising score matching with EDM's loss weight; ln σ is normal, most of it at low and middle levels."""

    net: PriorNet

    def __init__(self, recipe: dict[str, Any], data: list[Path], out: Path) -> None:
        super().__init__()
        self.recipe = recipe
        self.cache = PhotoCache.open(out.parent / "cache", data)
        self.train_on, self.test_on = held_out(len(self.cache), EVALUATED)
        self.net = PriorNet(PriorConfig(tuple(recipe["network"]["widths"]), recipe["network"]["blocks"]))

    def batch(self, rng: np.random.Generator, progress: float) -> dict[str, Tensor]:
        n, size = self.recipe["batch"], self.recipe["size"]
        clean = to_pixels([native_crop(self.cache[int(rng.choice(self.train_on))], size, rng) for _ in range(n)])
        level = rng.normal(self.recipe["level_mean"], self.recipe["level_std"], n)
        sigma = torch.from_numpy(np.exp(level).clip(SIGMA_MIN, SIGMA_MAX)).float()
        noise = torch.from_numpy(rng.standard_normal(clean.shape, np.float32))
        return {"clean": clean, "noise": noise, "sigma": sigma}

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        clean, sigma = batch["clean"], batch["sigma"]
        s = sigma[:, None, None, None]
        found = self.net.denoise(clean + s * batch["noise"], sigma).float()
        weight = (s**2 + SIGMA_DATA**2) / (s * SIGMA_DATA) ** 2  # EDM's λ(σ): the same weight for every level
        return {"loss": (weight * (found - clean).square()).mean()}

    @torch.no_grad()
    def evaluate(self, net: nn.Module) -> dict[str, float]:
        """PSNR, dB, on fixed crops of held-out photos at three noise levels."""
        rng = np.random.default_rng(0)
        clean = to_pixels([native_crop(self.cache[i], self.recipe["size"], rng) for i in self.test_on])
        device = next(net.parameters()).device
        out = {}
        for level in LEVELS:
            sigma = torch.full((len(clean),), level / 127.5)
            noise = torch.from_numpy(rng.standard_normal(clean.shape, np.float32))
            found = net.denoise((clean + sigma[0] * noise).to(device), sigma.to(device))  # type: ignore[operator]
            mse = (found.float().cpu().clamp(-1, 1) - clean).square().mean((1, 2, 3)) / 4
            out[f"psnr_{level}"] = float((-10 * torch.log10(mse)).mean())
        return out
