"""Train the draft network (pipelines/draft_net.py).

Example:
  python -m restore.training.draft --config training/recipes/draft.yaml \\
      --data ../shared/data/photos-*.tar --out runs/draft --minutes 90
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from restore.backbone import Lite0
from restore.pipelines.draft_net import SIGMA_DATA, DraftConfig, DraftNet
from restore.pipelines.smooth import push_pull
from restore.quality.full_reference import feature_distance
from restore.training.data import Holes, PhotoCache, random_crop
from restore.training.loop import Trainer, parse_args


def batch(cache: PhotoCache, holes: Holes, n: int, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Photos (n, 3, size, size) in [-1, 1] and masks (n, 1, size, size)."""
    images = np.stack([random_crop(cache[int(rng.integers(len(cache)))], size, rng) for _ in range(n)])
    masks = np.stack([holes.sample(size, rng) for _ in range(n)])
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    return x, torch.from_numpy(masks)[:, None].float()


def main() -> None:
    args = parse_args(__doc__)
    recipe = args.recipe
    cache = PhotoCache.open(args.out / "photos", args.data)
    shapes = Path(recipe["hole_shapes"])
    holes = Holes(shapes if shapes.exists() else None)
    sizes: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in recipe["network"].items()}
    net = DraftNet(DraftConfig(**sizes)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    lite0 = Lite0().eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    lite0.load_state_dict(load_file("restore/weights/lite0.safetensors"))
    trainer = Trainer(net, net.parameters(), recipe, args)
    print(f"{sum(p.numel() for p in net.parameters()) / 1e6:.2f} M parameters, {len(cache)} photos", flush=True)
    n = recipe["batch"]
    while trainer.progress < 1:
        rng = np.random.default_rng([recipe["seed"], trainer.step])
        gen = torch.Generator().manual_seed(int(rng.integers(2**62)))
        # Smaller crops first: structure is learnt at half the cost (progressive resizing).
        size = recipe["sizes"][trainer.progress >= recipe["small_until"]]
        x, mask = batch(cache, holes, n, size, rng)
        noisy_share = int(n * recipe["noisy_share"])
        if noisy_share and rng.random() < 0.2:  # the unconditional prior
            mask[0] = 1
        sigma = torch.full((n,), math.inf)
        sigma[:noisy_share] = torch.exp(torch.randn(noisy_share, generator=gen) * 1.2 - 1.6)
        smooth = push_pull((x + 1) / 2, mask) * 2 - 1
        noise = torch.randn(x.shape, generator=gen)
        noisy = x + mask * noise * torch.where(torch.isinf(sigma), 0.0, sigma)[:, None, None, None]
        x, mask, smooth, noisy = (t.to(memory_format=torch.channels_last) for t in (x, mask, smooth, noisy))
        with torch.autocast("cpu", torch.bfloat16):
            clean, error = net.denoise(noisy, sigma, smooth, mask)
            clean = clean.float()
            draft = slice(noisy_share, n)
            use_features = recipe["feature_weight"] > 0 and trainer.step % 2 == 0
            fd = clean.new_zeros(())
            if use_features:
                pasted = torch.where(mask[draft] > 0.5, clean[draft], x[draft])
                fd = feature_distance(lite0, (pasted + 1) / 2, (x[draft] + 1) / 2, mask[draft])
        miss = (clean - x).abs().mean(1, keepdim=True)
        area = mask.sum((1, 2, 3))
        l1 = ((miss * mask).sum((1, 2, 3)) / area)[draft].mean()
        error = error.float().clamp(1e-3, 4)
        nll = ((torch.log(error) + miss.detach() / error) * mask)[draft].sum() / area[draft].sum()
        loss = recipe["l1_weight"] * l1 + recipe["feature_weight"] * fd + 0.05 * nll
        if noisy_share:
            s = sigma[:noisy_share, None, None, None]
            weight = (s**2 + SIGMA_DATA**2) / (s * SIGMA_DATA) ** 2
            squared = (weight * (clean - x)[:noisy_share].square()).mean(1, keepdim=True) * mask[:noisy_share]
            diffusion = (squared.sum((1, 2, 3)) / area[:noisy_share]).mean()
            loss = loss + recipe["diffusion_weight"] * noisy_share / n * diffusion
            trainer.log(diffusion=diffusion.item())
        trainer.update(loss)
        trainer.log(l1=l1.item(), nll=nll.item())
        if use_features:
            trainer.log(features=fd.item())
    trainer.save()


if __name__ == "__main__":
    main()
