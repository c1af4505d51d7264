"""Variants of a draft: noise it to a middle level inside the hole, then denoise (SDEdit; SmartBrush §3)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from restore.pipelines.push_pull import push_pull

SIGMA_START = 0.6  # noise level from which variants are sampled, pixels in [-1, 1]
SIGMA_END = 0.02
RHO = 7.0  # Karras et al., NeurIPS 2022, eq. 5


class Denoiser(Protocol):
    """What can be sampled from: `DraftNet`, or another network under its conditions."""

    def denoise(self, noisy: Tensor, sigma: Tensor, smooth: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(clean estimate, expected error) as `DraftNet.denoise` gives them."""
        ...


def schedule(steps: int, start: float = SIGMA_START, end: float = SIGMA_END) -> list[float]:
    """`steps` noise levels falling from `start` to `end`, then 0."""
    if steps == 1:
        return [start, 0.0]
    ramp = [i / (steps - 1) for i in range(steps)]
    first, last = start ** (1 / RHO), end ** (1 / RHO)
    return [(first + r * (last - first)) ** RHO for r in ramp] + [0.0]


def sample(
    net: Denoiser,
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
    smooth = push_pull(image, mask) * 2 - 1
    known, x = image * 2 - 1, draft * 2 - 1
    sigmas = schedule(steps)
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
    x = torch.where(mask > 0.5, x + sigmas[0] * noise, known)
    for i, (sigma, after) in enumerate(pairwise(sigmas)):
        level = torch.full((len(x),), sigma, device=x.device, dtype=x.dtype)
        clean, _ = net.denoise(x, level, smooth, mask)
        x = torch.where(mask > 0.5, clean + (after / sigma) * (x - clean), known)
        if on_step is not None:
            on_step(i)
    return ((x + 1) / 2).clamp(0, 1)
