"""One look: where the restorer knows the damage, its answer is the restoration, brought back to the measurement."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.pipelines.networks.restorer import Cause, RestorerNet
from restore.pipelines.restoration.tiles import SIDE, Box, blended

GRID = 16  # pixels of a JPEG's unit with halved chroma: windows begin at multiples


@torch.no_grad()
def restored(
    net: RestorerNet, y: Tensor, cause: Cause, looks: int = 1, on_look: Callable[[int], None] | None = None,
    window: int = SIDE,
) -> Tensor:  # fmt: skip
    """y (1, 3, H, W) in [-1, 1], damaged by `cause`. looks: of the photo, its mirror image and their quarter turns, the
    mean of this many of eight (Timofte et al., "Seven ways", CVPR 2016). on_look(index) follows each."""
    (height, width), (top, left) = y.shape[-2:], cause.origin
    bottom, right = -(top + height) % GRID, -(left + width) % GRID
    whole = F.pad(y, (left, right, top, bottom), mode="replicate")  # blocks must begin at the border, turned too
    level = torch.tensor([cause.level], device=y.device)
    told = torch.tensor([cause.told], device=y.device)
    total = torch.zeros_like(whole)
    for i in range(looks):
        turned = _turned(whole, i)

        def part(box: Box, picture: Tensor = turned) -> Tensor:
            return net.restore(picture[box], level, told)

        total += _back(blended(turned, part, window, unit=GRID), i)
        if on_look is not None:
            on_look(i)
    return total[..., top : top + height, left : left + width] / looks


def _turned(x: Tensor, i: int) -> Tensor:
    return (x.flip(-1) if i % 2 else x).rot90(i // 2, (-2, -1))


def _back(x: Tensor, i: int) -> Tensor:
    x = x.rot90(-(i // 2), (-2, -1))
    return x.flip(-1) if i % 2 else x
