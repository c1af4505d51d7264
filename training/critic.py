"""A projected discriminator (Sauer et al., "Projected GANs converge faster", NeurIPS 2021) that says of every cell
whether a photo or a network made it, and the losses that come of it; for all networks that fill."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.features.lite0 import Lite0, unit

PIXELS = -1  # a tap that is the picture itself, 2×2 pixels a cell: Lite0 hardly sees a pattern of single pixels
CHANNELS = {0: 16, 2: 24, 4: 40, 10: 112, 15: 320, PIXELS: 12}  # of Lite0's blocks at strides 2, 4, 8, 16 and 32
WIDTH = 64


class Critic(nn.Module):
    """On features of frozen Lite0: per cell and tap one logit, > 0 where it takes the cell for a photo's own.

    taps: blocks, ascending, and `PIXELS` last if at all; maps: how many maps it is shown beside the features; layers:
    3×3 convolutions a tap.
    """

    def __init__(self, taps: Sequence[int] = tuple(CHANNELS), maps: int = 0, layers: int = 2) -> None:
        super().__init__()
        self.taps = tuple(taps)
        self.heads = nn.ModuleList(_head(CHANNELS[tap] + maps, layers) for tap in self.taps)
        self.verdicts = nn.ModuleList(nn.Conv2d(WIDTH, 1, 1) for _ in self.taps)

    def seen(self, features: list[Tensor], *maps: Tensor) -> list[Tensor]:
        """What the verdicts are made from, per tap: features at `taps`; maps (N, 1, H, W) in [0, 1]."""
        found = []
        for f, head in zip(features, self.heads, strict=True):
            shown = [F.adaptive_avg_pool2d(m, (f.shape[2], f.shape[3])) for m in maps]
            scaled = f * torch.rsqrt(f.square().mean(1, keepdim=True) + 1e-4)
            found.append(head(torch.cat([scaled, *shown], 1)))
        return found

    def features(self, lite0: Lite0, image: Tensor) -> list[Tensor]:
        """What it looks at of an image (N, 3, H, W) in [0, 1], in the order of `taps`."""
        found = lite0.features(image, tuple(tap for tap in self.taps if tap != PIXELS))
        return [*found, F.pixel_unshuffle(image * 2 - 1, 2)] if PIXELS in self.taps else found

    def forward(self, features: list[Tensor], *maps: Tensor) -> list[Tensor]:
        seen = self.seen(features, *maps)
        return [verdict(h) for verdict, h in zip(self.verdicts, seen, strict=True)]


def _head(channels: int, layers: int) -> nn.Sequential:
    widths = [channels] + [WIDTH] * layers
    parts = [(nn.Conv2d(a, b, 3, padding=1), nn.LeakyReLU(0.2)) for a, b in pairwise(widths)]
    return nn.Sequential(*(layer for part in parts for layer in part))


def over(values: list[Tensor], shape: Tensor, touched: bool = True) -> Tensor:
    """Mean over taps of the mean over the cells that touch the shape (N, 1, H, W), or over the others; a scalar."""
    total = shape.new_zeros(())
    for value in values:
        cells = F.adaptive_max_pool2d(shape, value.shape[-2:])
        cells = cells if touched else 1 - cells
        total = total + (value.float() * cells).sum() / cells.sum().clamp(min=1)
    return total / len(values)


def hinge(logits: list[Tensor], sign: int) -> list[Tensor]:
    """0 where a logit is beyond 1 on the side of `sign`."""
    return [F.relu(1 - sign * logit) for logit in logits]


def distance(fake: list[Tensor], real: list[Tensor], shape: Tensor) -> Tensor:
    """Feature distance (quality/metrics/full_reference.py) of features to the truth's, over the shape."""
    return over([(unit(a) - unit(b)).square().sum(1, keepdim=True) for a, b in zip(fake, real, strict=True)], shape)


def judged(critic: Critic, lite0: Lite0, image: Tensor, truth: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """The critic's hinge loss, what the network is told by it ("confusion"), and the feature distance to the truth.

    Segmentation confusion (SCAT, Zuo et al., AAAI 2023): the critic tells the cells that were filled from those that
    were not, in the filled picture and, filled or not, in the truth; the network makes it miss them. image, truth
    (N, 3, H, W) in [0, 1]; mask (N, 1, H, W) 1 = filled.
    """
    with torch.no_grad():
        real = critic.features(lite0, truth)
    fake = critic.features(lite0, image)
    own, made = critic(real), critic([f.detach() for f in fake])
    wrong = over(hinge(own, 1), mask) + over(hinge(made, 1), mask, touched=False) + 2 * over(hinge(made, -1), mask)
    critic.requires_grad_(False)  # what it tells the network is not to move itself
    confusion = -over(critic(fake), mask)
    critic.requires_grad_(True)
    return {"critic": wrong / 2, "confusion": confusion, "features": distance(fake, real, mask)}
