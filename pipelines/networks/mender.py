"""The mender: a small network that mends a shift map's composite — seams, broken edges, wrong colours.

It sees the composite, the hole, where copied regions meet and the draft, and predicts a residual. The residual is
found at a limited size and enlarged: what it changes is structure and colour, detail stays the photo's own
(residual aggregation: Yi et al., "Contextual residual aggregation", CVPR 2020).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

UNSHUFFLE = 4
MULTIPLE = 2 * UNSHUFFLE  # image sides must be divisible by this
SIDE = 256  # long side, pixels, up to which a window is mended at its own size


class Block(nn.Module):
    """Two 3×3 convolutions added to the input; the second starts at zero."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        for p in self.conv2.parameters():
            nn.init.zeros_(p)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.silu(self.conv1(F.silu(x))))


class MenderNet(nn.Module):
    """(composite, mask, seams, draft) → mended composite; starts as the identity."""

    def __init__(self, outer: int = 64, inner: int = 192, blocks: tuple[int, int, int] = (2, 5, 2)) -> None:
        super().__init__()
        down, middle, up = blocks
        cells = UNSHUFFLE**2
        self.stem = nn.Conv2d(8 * cells, outer, 3, padding=1)
        self.down = nn.Sequential(*(Block(outer) for _ in range(down)))
        self.narrow = nn.Conv2d(outer, inner, 2, 2)
        self.middle = nn.Sequential(*(Block(inner, 1 + i % 3) for i in range(middle)))  # dilations 1, 2, 3 see far
        self.widen = nn.Conv2d(inner, 4 * outer, 1)
        self.up = nn.Sequential(*(Block(outer) for _ in range(up)))
        self.final = nn.Conv2d(outer, 3 * cells, 3, padding=1)
        for p in self.final.parameters():
            nn.init.zeros_(p)

    def forward(self, composite: Tensor, mask: Tensor, seams: Tensor, draft: Tensor) -> Tensor:
        """composite, draft (N, 3, H, W) in [0, 1]; mask, seams (N, 1, H, W) in {0, 1}; sides % 8 == 0.

        Returns (N, 3, H, W), the composite where the mask is 0; not clipped.
        """
        x = torch.cat([composite * 2 - 1, (draft - composite) * mask, mask, seams], 1)
        x = self.down(self.stem(F.pixel_unshuffle(x, UNSHUFFLE)))
        y = self.widen(self.middle(self.narrow(x)))
        x = self.up(x + F.pixel_shuffle(y, 2))
        return composite + mask * F.pixel_shuffle(self.final(F.silu(x)), UNSHUFFLE)
