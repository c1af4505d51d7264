"""Variants of a draft: noise it to a middle level inside the hole, then denoise (SDEdit; SmartBrush §3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from restore.pipelines.diffusion.denoiser import levels
from restore.pipelines.diffusion.loop import descend, euler, noise_like
from restore.pipelines.diffusion.schedules import karras
from restore.pipelines.push_pull import push_pull

SIGMA_START = 0.6  # noise level from which variants are sampled, pixels in [-1, 1]


class HoleDenoiser(Protocol):
    """What can be sampled from: `DraftNet`, or another network under its conditions."""

    def denoise(self, noisy: Tensor, sigma: Tensor, smooth: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(clean estimate, expected error) as `DraftNet.denoise` gives them."""
        ...


def sample(
    net: HoleDenoiser,
    image: Tensor,
    mask: Tensor,
    draft: Tensor,
    steps: int,
    generator: torch.Generator,
    on_step: Callable[[int], None] | None = None,
) -> Tensor:
    """One variant per image by Euler steps of the probability-flow equation (Karras et al., alg. 1).

    image (N, 3, H, W) in [0, 1]; mask (N, 1, H, W) 1 = hole; draft: the image with the mean of its hole, alike.
    Only the hole is noised: known pixels are exact at every level.
    """
    smooth, sigmas = push_pull(image, mask) * 2 - 1, karras(steps, SIGMA_START)
    known, x = image * 2 - 1, draft * 2 - 1
    x = torch.where(mask > 0.5, x + sigmas[0] * noise_like(x, generator), known)

    def estimate(x: Tensor, sigma: float) -> Tensor:
        return net.denoise(x, levels(sigma, x), smooth, mask)[0]

    def step(x: Tensor, clean: Tensor, sigma: float, after: float) -> Tensor:
        return torch.where(mask > 0.5, euler(x, clean, sigma, after), known)

    return ((descend(x, sigmas, estimate, step, on_step) + 1) / 2).clamp(0, 1)
