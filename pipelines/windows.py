"""Any size: a denoiser that sees a photo through overlapping windows and averages what it says (GDP, section 3.4).

The network is the only part of a restoration whose memory grows with more than a few copies of the photo; through
windows it is bounded by the window. Averages are weighed by a ramp that falls to the windows' edges, so that
no seam is left where they meet.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from restore.pipelines.denoiser import Denoiser

SIDE, OVERLAP = 512, 64  # pixels


@dataclass(frozen=True)
class Windowed:
    """`inner` in windows of `side`, neighbours sharing at least `overlap` pixels. Small photos are one window."""

    inner: Denoiser
    side: int = SIDE
    overlap: int = OVERLAP

    def denoise(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        height, width = noisy.shape[-2:]
        if height <= self.side and width <= self.side:
            return self.inner.denoise(noisy, sigma)
        total, weights = torch.zeros_like(noisy), noisy.new_zeros(1, 1, height, width)
        for top in starts(height, self.side, self.overlap):
            for left in starts(width, self.side, self.overlap):
                rows, columns = slice(top, top + self.side), slice(left, left + self.side)
                part = noisy[..., rows, columns]
                ramp = _ramp(part.shape[-2], self.overlap, part)[:, None] * _ramp(part.shape[-1], self.overlap, part)
                total[..., rows, columns] += ramp * self.inner.denoise(part, sigma)
                weights[..., rows, columns] += ramp
        return total / weights


def starts(length: int, side: int, overlap: int) -> list[int]:
    """First pixels of evenly spread windows of `side` that cover `length` and share at least `overlap`."""
    if length <= side:
        return [0]
    count = 1 + -(-(length - side) // (side - overlap))
    return [round(i * (length - side) / (count - 1)) // 8 * 8 for i in range(count - 1)] + [length - side]


def _ramp(side: int, overlap: int, like: Tensor) -> Tensor:
    """1 in the middle, falling to 1/overlap over `overlap` pixels at both ends."""
    away = torch.arange(side, device=like.device, dtype=like.dtype)
    return ((torch.minimum(away, side - 1 - away) + 1) / overlap).clamp(max=1)
