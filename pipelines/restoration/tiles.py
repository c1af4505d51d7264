"""Any size: what grows with the photo is done in overlapping windows and averaged (GDP, section 3.4).

The network and the data step need many times the photo's memory; in windows they need many times the window's. Averages
are weighed by a ramp that falls to the windows' inner edges, so that no seam is left where they meet, and ends
before them, since what lies beyond an edge is guessed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from types import EllipsisType

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.pipelines.diffusion.denoiser import Denoiser

SIDE, OVERLAP = 512, 64  # pixels
GRID = 8  # pixels: windows of the network begin at multiples, so that its coarse cells lie as in the whole photo

Box = tuple[EllipsisType, slice, slice]  # the window of an image (…, H, W): image[box]


@dataclass(frozen=True)
class Windowed:
    """`inner` in windows of `side`, neighbours sharing at least `overlap` pixels. Small photos are one window."""

    inner: Denoiser
    side: int = SIDE
    overlap: int = OVERLAP

    def denoise(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        return blended(noisy, lambda box: self.inner.denoise(noisy[box], sigma), self.side, self.overlap, GRID)


def blended(
    like: Tensor, part: Callable[[Box], Tensor], side: int = SIDE, overlap: int = OVERLAP, unit: int = 1
) -> Tensor:
    """Weighted mean of what `part` makes of every window of an image (N, C, H, W)."""
    height, width = like.shape[-2:]
    windows = boxes(height, width, side, overlap, unit)
    if len(windows) == 1:
        return part(windows[0])
    total, weights = torch.zeros_like(like), like.new_zeros(1, 1, height, width)
    for box in windows:
        ramp = _ramp(box[1], height, overlap, like)[:, None] * _ramp(box[2], width, overlap, like)
        total[box] += ramp * part(box)
        weights[box] += ramp
    return total / weights


def boxes(height: int, width: int, side: int, overlap: int, unit: int = 1) -> list[Box]:
    """Windows of `side` at most that cover the image, begin at multiples of `unit` and share at least `overlap`."""
    rows, columns = (_spans(length, side, overlap, unit) for length in (height, width))
    return [(..., row, column) for row, column in product(rows, columns)]


def _spans(length: int, side: int, overlap: int, unit: int) -> list[slice]:
    if length <= side:
        return [slice(0, length)]
    shared = overlap + unit  # a start rounded down may cost a unit of overlap
    count = -(-(length - shared) // (side - side % unit - shared))
    side = -(-(length + (count - 1) * shared) // count)  # as small as so many windows can be
    side += -side % unit
    starts = [i * (length - side) // (count - 1) // unit * unit for i in range(count)]
    return [slice(start, start + side) for start in starts[:-1]] + [slice(starts[-1], length)]


def _ramp(span: slice, length: int, overlap: int, like: Tensor) -> Tensor:
    """1 inside, falling over half of `overlap` to 0 at a quarter of it before edges that are not the image's own."""
    at = torch.arange(span.start, span.stop, device=like.device, dtype=like.dtype)
    first = torch.ones_like(at) if span.start == 0 else (at - span.start + 0.5 - overlap / 4) / (overlap / 2)
    last = torch.ones_like(at) if span.stop == length else (span.stop - at - 0.5 - overlap / 4) / (overlap / 2)
    return torch.minimum(first, last).clamp(0, 1)


def shifted(box: Box, factor: int) -> Box:
    """Where a window of a picture lies in one that is smaller by a whole factor."""
    rows, columns = (slice(s.start // factor, -(-s.stop // factor)) for s in box[1:])
    return ..., rows, columns


def reduced(image: Tensor, scale: float) -> Tensor:
    """(N, C, H, W) at `scale` of its size, means of areas."""
    height, width = (max(1, round(side * scale)) for side in image.shape[-2:])
    return F.adaptive_avg_pool2d(image, (height, width))
