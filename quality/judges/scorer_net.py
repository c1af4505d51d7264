"""The quality scorer's network: how good does a crop look, with nothing to compare it with?

Frozen EfficientNet-Lite0 features and a little of the pixels, pooled to one token per 16×16 cell, then two
blocks of cascaded group attention. The student of Yan & Si (2024): it learns a full-reference teacher's scores
and, per cell, how far the features lie from those of the photo it never sees.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.features.lite0 import Lite0

TAPS = (0, 2, 4, 10)  # blocks of Lite0, strides 2, 4, 8, 16
CHANNELS = (16, 24, 40, 112)
CELL = 16  # pixels a side that one token stands for
WIDTH = 128
PIXEL_WIDTH = 48
STATISTICS = 2 * sum(CHANNELS[:3]) + CHANNELS[3] + 6


class CascadedGroupAttention(nn.Module):
    """Each head attends within its own channels plus the head before's output (Liu et al., CVPR 2023, eq. 2–3)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.qkv = nn.ModuleList(nn.Linear(width // heads, 3 * (width // heads)) for _ in range(heads))
        self.mix = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, width) → the same shape; tokens have no order."""
        out: list[Tensor] = []
        for qkv, part in zip(self.qkv, x.chunk(len(self.qkv), -1), strict=True):
            q, k, v = qkv(part + out[-1] if out else part).chunk(3, -1)
            out.append(F.scaled_dot_product_attention(q, k, v))
        return self.mix(F.relu(torch.cat(out, -1)))


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), CascadedGroupAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def cell_statistics(image: Tensor, features: list[Tensor]) -> Tensor:
    """Mean and spread per 16×16 cell of the features and the colours: (N, H/16, W/16, STATISTICS)."""
    out = []
    for x, stride in [*zip(features, (2, 4, 8, 16), strict=True), (image, 1)]:
        x = x.float()
        mean = F.avg_pool2d(x, CELL // stride)
        out.append(mean)
        if stride < CELL:
            variance = F.avg_pool2d(x.square(), CELL // stride) - mean.square()
            # The root's logarithm: a distortion scales the spread, whatever the scene's own contrast is.
            out.append(0.5 * torch.log(variance.clamp(min=0) + 1e-4))
    return torch.cat(out, 1).permute(0, 2, 3, 1)


class ScorerNet(nn.Module):
    """(image, its Lite0 features at TAPS) → (score, distances).

    image NCHW RGB in [0, 1], sides divisible by 16; score (N,) in 0–100, 100 = untouched; distances
    (N, T, len(TAPS)): expected squared distance to the untouched photo's unit features, per cell and tap.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Of the statistics over training photos: set once before training, shipped with the weights.
        self.register_buffer("mean", torch.zeros(STATISTICS))
        self.register_buffer("spread", torch.ones(STATISTICS))
        self.pixels = nn.Sequential(
            *(nn.PixelUnshuffle(4), nn.Conv2d(48, PIXEL_WIDTH, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(PIXEL_WIDTH, PIXEL_WIDTH, 3, padding=1), nn.ReLU(), nn.AvgPool2d(CELL // 4)),
        )
        self.enter = nn.Linear(STATISTICS + PIXEL_WIDTH, WIDTH)
        self.blocks = nn.ModuleList(Block(WIDTH, 4) for _ in range(2))
        self.leave = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2 + len(TAPS)))

    def forward(self, image: Tensor, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        statistics = (cell_statistics(image, features) - self.mean) / self.spread
        # Differences to the cell's own mean: what a codec or a sensor adds, not what the scene shows.
        fine = image - F.interpolate(F.avg_pool2d(image, CELL), scale_factor=CELL, mode="nearest")
        tokens = torch.cat([statistics, self.pixels(4 * fine).permute(0, 2, 3, 1)], -1).flatten(1, 2)
        x = self.enter(tokens)
        for block in self.blocks:
            x = block(x)
        out = self.leave(x).float()
        weight = torch.softmax(out[..., 1], 1)  # cells that show the distortion speak for the crop
        return 100 * torch.sigmoid((weight * out[..., 0]).sum(1)), F.softplus(out[..., 2:])


def crop_features(lite0: Lite0, image: Tensor) -> list[Tensor]:
    """What ScorerNet wants beside the image; no gradient."""
    with torch.no_grad():
        return lite0.features(image, TAPS)
