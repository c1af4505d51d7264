"""A draft of the hole alone, at any size: a small network writes, per cell of a coarse grid, the weights of a tiny
network that paints the pixels of that cell from their coordinates.

CoordFill (Liu et al., AAAI 2023) after ASAPNet (Shaham et al., CVPR 2021); style co-modulated by the picture's code
and a random one (CoModGAN, Zhao et al., ICLR 2021), so that drafts vary. Cost: the encoder's, at a fixed small size,
plus about a thousand multiplications a hole pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from restore.pipelines.smooth import push_pull

UNSHUFFLE = 4
CELL = 8  # side of a cell in pixels of the small picture
CODE = 64  # numbers in the random style
CELLS = 32  # painted at a time
INPUT = 3  # colours of the smooth fill, beside the coordinates


@dataclass(frozen=True)
class CoordConfig:
    """width: channels of the encoder at a cell; blocks: residual blocks; hidden: width of the painting networks;
    frequencies: of their coordinates, 1 to 2^(frequencies−1) half waves a cell."""

    width: int = 192
    blocks: int = 6
    hidden: int = 32
    frequencies: int = 6

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Inputs and outputs of a painting network's layers."""
        first = 4 * self.frequencies + INPUT
        return (first, self.hidden), (self.hidden, self.hidden), (self.hidden, 3)

    @property
    def numbers(self) -> int:
        return sum((n + 1) * m for n, m in self.sizes)


class StyledBlock(nn.Module):
    """Two 3×3 convolutions added to the input, the first scaled and shifted by the style; the second starts at 0."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.style = nn.Linear(width, 2 * width)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        scale, shift = self.style(style)[:, :, None, None].chunk(2, 1)
        return x + self.conv2(F.silu(self.conv1(F.silu(x)) * (1 + scale) + shift))


class CoordNet(nn.Module):
    """`cells` writes the painting networks of a small picture, `paint` runs some of them."""

    def __init__(self, config: CoordConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or CoordConfig()
        width, half = config.width, config.width // 2
        self.stem = nn.Conv2d(4 * UNSHUFFLE**2, half, 3, padding=1)
        self.narrow = nn.Conv2d(half, width, 4, CELL // UNSHUFFLE, 1)
        self.before = StyledBlock(width, 1)
        self.blocks = nn.ModuleList(StyledBlock(width, 2 ** (i % 3)) for i in range(config.blocks))
        self.mapping = nn.Sequential(nn.Linear(CODE, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.mix = nn.Linear(2 * width, width)
        self.write = nn.Conv2d(width, config.numbers, 1)
        with torch.no_grad():  # the painting networks start as one ordinary network that paints nothing
            self.write.weight.mul_(0.1)
            start = []
            for i, (n, m) in enumerate(config.sizes):
                last = i == len(config.sizes) - 1
                start += [torch.zeros(n * m) if last else torch.randn(n * m) * math.sqrt(2 / n), torch.zeros(m)]
            self.write.bias = nn.Parameter(torch.cat(start))

    @classmethod
    def from_weights(cls, weights: dict[str, Tensor]) -> CoordNet:
        """The network of the default configuration that a state dict belongs to."""
        net = cls()
        net.load_state_dict({key: value.float() for key, value in weights.items()})
        return net.eval()

    def cells(self, smooth: Tensor, mask: Tensor, code: Tensor) -> Tensor:
        """(N, numbers, h / 8, w / 8) of the small picture `smooth` (N, 3, h, w) in [0, 1], its hole closed smoothly,
        the mask (N, 1, h, w) and random styles (N, CODE); h and w divisible by 8."""
        x = self.narrow(F.silu(self.stem(F.pixel_unshuffle(torch.cat([smooth * 2 - 1, mask], 1), UNSHUFFLE))))
        own = x.mean((2, 3))
        style = self.mix(torch.cat([own, self.mapping(code)], 1))
        x = self.before(x, style)
        for block in self.blocks:
            x = block(x, style)
        return self.write(F.silu(x))

    def paint(self, numbers: Tensor, colours: Tensor, side: int) -> Tensor:
        """Colours (M, side², 3) of M cells, row by row, in [0, 1] but not clipped.

        numbers (M, numbers): the cells' networks; colours (M, side², 3): the smooth fill there.
        """
        x = torch.cat([self._coordinates(side, colours).expand(len(colours), -1, -1), colours * 2 - 1], 2)
        at = 0
        for i, (n, m) in enumerate(self.config.sizes):
            weight, bias = numbers[:, at : at + n * m].view(-1, n, m), numbers[:, None, at + n * m : at + (n + 1) * m]
            x = torch.baddbmm(bias, x, weight)
            x = F.relu(x) if i < len(self.config.sizes) - 1 else x
            at += (n + 1) * m
        return colours + x / 2

    def _coordinates(self, side: int, like: Tensor) -> Tensor:
        """Sines and cosines (1, side², 4·frequencies) of the places in a cell."""
        place = (torch.arange(side, device=like.device, dtype=torch.float32) + 0.5) / side * 2 - 1
        waves = place[:, None] * (math.pi / 2) * 2.0 ** torch.arange(self.config.frequencies, device=like.device)
        axis = torch.cat([waves.sin(), waves.cos()], 1)
        rows, columns = axis[:, None].expand(-1, side, -1), axis[None].expand(side, -1, -1)
        return torch.cat([rows, columns], 2).reshape(1, side * side, -1).to(like.dtype)

    def forward(self, smooth: Tensor, mask: Tensor, code: Tensor, side: int) -> Tensor:
        """The whole picture (N, 3, h·side/8, w·side/8), every cell painted `side` pixels wide: for training."""
        n, _, h, w = smooth.shape
        h, w = h // CELL, w // CELL
        numbers = self.cells(smooth, mask, code).permute(0, 2, 3, 1).reshape(n * h * w, -1)
        large = F.interpolate(smooth, size=(h * side, w * side), mode="bilinear", align_corners=False)
        colours = large.reshape(n, 3, h, side, w, side).permute(0, 2, 4, 3, 5, 1).reshape(n * h * w, side * side, 3)
        painted = self.paint(numbers, colours, side).reshape(n, h, w, side, side, 3)
        return painted.permute(0, 5, 1, 3, 2, 4).reshape(n, 3, h * side, w * side)

    @torch.inference_mode()
    def fill(
        self, image: NDArray[np.uint8], hole: NDArray[np.bool_], code: Tensor, size: int = 128
    ) -> NDArray[np.uint8]:
        """A draft at the image's own size; known pixels (H, W, 3) come back as they are. `size`: long side of the
        small picture; code (1, CODE)."""
        long = max(hole.shape)
        side = max(1, math.ceil(long / (size // CELL)))  # of a cell, in pixels of the image
        rows, columns = (math.ceil(n / side) for n in hole.shape)
        smooth, mask = self._small(image, hole, side, (rows, columns))
        numbers = self.cells(smooth, mask, code)[0].permute(1, 2, 0)
        out = image.copy()
        padded = np.pad(hole, ((0, rows * side - hole.shape[0]), (0, columns * side - hole.shape[1])))
        wanted = np.argwhere(padded.reshape(rows, side, columns, side).any((1, 3)))
        for i in range(0, len(wanted), CELLS):
            some = wanted[i : i + CELLS]
            at = torch.from_numpy(some)
            painted = self.paint(numbers[at[:, 0], at[:, 1]], _bilinear(smooth, at, side), side)
            pixels = torch.round(painted.clamp(0, 1) * 255).to(torch.uint8).reshape(-1, side, side, 3).cpu().numpy()
            for (row, column), block in zip(some, pixels, strict=True):
                part = np.s_[row * side : (row + 1) * side, column * side : (column + 1) * side]
                where = hole[part]
                out[part][where] = block[: where.shape[0], : where.shape[1]][where]
        return out

    def _small(
        self, image: NDArray[np.uint8], hole: NDArray[np.bool_], side: int, grid: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """The image with its hole closed smoothly, and the mask, `CELL` pixels a cell."""
        import cv2

        size = grid[1] * CELL, grid[0] * CELL
        pad = grid[0] * side - hole.shape[0], grid[1] * side - hole.shape[1]
        whole = cv2.copyMakeBorder(image, 0, pad[0], 0, pad[1], cv2.BORDER_REPLICATE)
        share = cv2.copyMakeBorder(hole.astype(np.float32), 0, pad[0], 0, pad[1], cv2.BORDER_REPLICATE)
        whole[share > 0] = 0
        known = 1 - cv2.resize(share, size, interpolation=cv2.INTER_AREA)[..., None]
        small = cv2.resize(whole, size, interpolation=cv2.INTER_AREA) / 255 / np.maximum(known, 1e-6)
        x = torch.from_numpy(small.clip(0, 1).astype(np.float32)).permute(2, 0, 1)[None]
        m = torch.from_numpy((known < 1 - 1e-6).astype(np.float32)).permute(2, 0, 1)[None]
        device = next(self.parameters()).device
        return push_pull(x, m).to(device), m.to(device)


def _bilinear(smooth: Tensor, at: Tensor, side: int) -> Tensor:
    """What `F.interpolate` would give, (M, side², 3), of the cells at rows and columns `at` (M, 2) only."""
    h, w = smooth.shape[-2:]
    place = (torch.arange(side) + 0.5) / side
    y = (at[:, :1] + place) * 2 * CELL / h - 1  # (M, side) in [−1, 1], pixel edges at the ends
    x = (at[:, 1:] + place) * 2 * CELL / w - 1
    grid = torch.stack([x[:, None].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)], -1).to(smooth)
    found = F.grid_sample(smooth, grid.reshape(1, -1, side, 2), padding_mode="border", align_corners=False)
    return found[0].reshape(3, len(at), side * side).permute(1, 2, 0)
