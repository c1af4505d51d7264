"""Train the restorer (pipelines/networks/restorer.py) from the prior's weights: photos back from told damages."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from restore.pipelines.networks import restorer
from restore.pipelines.networks.prior import SIGMA_DATA
from restore.pipelines.networks.restorer import Cause, RestorerNet
from restore.training.data import damages
from restore.training.data.photos import PhotoCache, held_out
from restore.training.loop import Task
from restore.training.recipes.prior import EVALUATED, TESTED, native_crop, to_pixels
from restore.weights.store import load_weights

FLOOR = 0.005  # squared error below which a crop hardly counts more
MARGIN = 24  # pixels around a crop that blur into it

Damage = Callable[[Tensor, np.random.Generator], tuple[Tensor, Cause]]


def _reduced(clean: Tensor, rng: np.random.Generator, factor: int) -> tuple[Tensor, Cause]:
    return damages.reduced(clean, factor)


# What is done how often.
DAMAGES: dict[str, tuple[Damage, float]] = {
    "noise": (damages.noisy, 0.3),
    "camera": (damages.photographed, 0.12),
    "blur": (damages.blurred, 0.14),
    "jpeg": (damages.compressed, 0.16),
    **{f"reduced_{k}": (partial(_reduced, factor=k), share) for k, share in ((2, 0.1), (3, 0.05), (4, 0.13))},
}


class RestorerTask(Task):
    """Every crop's squared error by its logarithm, as the prior's, over all damages."""

    net: RestorerNet

    def __init__(self, recipe: dict[str, Any], data: list[Path], out: Path) -> None:
        super().__init__()
        self.recipe = recipe
        self.cache = PhotoCache.open(out.parent / "cache", data)
        self.train_on, self.test_on = held_out(len(self.cache), EVALUATED)
        net = RestorerNet()
        net.load_state_dict(load_weights("prior"), strict=False)  # blocks that the prior lacks begin as the identity
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def batch(self, rng: np.random.Generator, progress: float) -> dict[str, Tensor]:
        n, sizes = self.recipe["batch"], self.recipe["sizes"]
        size = sizes[progress > self.recipe["small_until"]]
        n = max(1, n * sizes[0] ** 2 // size**2)  # as many pixels
        shares = np.array([share for _, share in DAMAGES.values()])
        places = (rng.permutation(n) + rng.random(n)) / n  # one in each n-th, so that rare damages are never far
        names = np.array(list(DAMAGES))[np.searchsorted(shares.cumsum() / shares.sum(), places)]
        return _stacked([self._damaged(str(name), int(rng.choice(self.train_on)), size, rng) for name in names])

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        level = batch["level"]
        found = self.net.restore(batch["y"], level, batch["told"]).float()
        s = level[:, None, None, None]
        weight = (s**2 + SIGMA_DATA**2) / (s * SIGMA_DATA) ** 2  # EDM's λ(σ): of the network's own output
        error = (weight * (found - batch["clean"]).square()).mean((1, 2, 3))
        return {"loss": torch.log(error + FLOOR).mean(), "error": error.mean()}

    @torch.no_grad()
    def evaluate(self, net: nn.Module) -> dict[str, float]:
        """PSNR, dB, by damage, on crops of held-out photos."""
        rng, device, out = np.random.default_rng(0), next(net.parameters()).device, {}
        for name in DAMAGES:
            count = TESTED // 4
            batch = _stacked([self._damaged(name, i, self.recipe["sizes"][-1], rng) for i in self.test_on[:count]])
            y, level, told = (batch[key].to(device) for key in ("y", "level", "told"))
            found = net.restore(y, level, told).float().cpu()  # type: ignore[operator]
            mse = (found.clamp(-1, 1) - batch["clean"]).square().mean((1, 2, 3)) / 4
            out[f"psnr_{name}"] = float((-10 * torch.log10(mse)).mean())
        return out

    def _damaged(self, name: str, index: int, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Cause]:
        margin = MARGIN if name == "blur" else 0
        clean = to_pixels([native_crop(self.cache[index], size + 2 * margin, rng)])
        y, cause = DAMAGES[name][0](clean, rng)
        inner = (..., slice(margin, margin + size), slice(margin, margin + size))
        return clean[inner], y[inner], cause


def _stacked(parts: list[tuple[Tensor, Tensor, Cause]]) -> dict[str, Tensor]:
    clean, y, causes = zip(*parts, strict=True)
    return {
        "clean": torch.cat(clean),
        "y": torch.cat(y),
        "level": torch.tensor([cause.level for cause in causes]),
        "told": torch.tensor([cause.told for cause in causes]).reshape(-1, restorer.TOLD),
    }
