"""Detail for the hole alone, at any size: a small network looks at a drafted picture and writes, per cell of a coarse
grid, the weights of a tiny network that paints from coordinates what the enlarged draft lacks.

CoordFill (Liu et al., AAAI 2023) after ASAPNet (Shaham et al., CVPR 2021), started from a draft instead of nothing; the
four networks around a pixel are blended (local ensemble: LIIF, Chen et al., CVPR 2021, eq. 4), so that cells leave no
edges; style co-modulated by the picture's code and a random one (CoModGAN, Zhao et al., ICLR 2021), so that fills vary.
Cost follows the hole: the encoder around it, at a bounded size, and about 3,000 multiplications a pixel of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from restore.weights.store import load_weights, manifest

CELL = 8  # side of a cell in pixels of the picture
SEEN = 512  # long side of the picture, pixels, at most
AROUND = 32  # pixels of it that are looked at on each side of the hole
MULTIPLE = 2 * CELL  # sides of the picture must be divisible by this
CODE = 64  # numbers in the random style
PIXELS = 1 << 16  # painted at a time
ERROR_SCALE = 10.0  # brings expected errors to about 1

Image = NDArray[np.uint8]
Float = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class CoordConfig:
    """width, deep: channels of the encoder at a cell and at 2×2 cells; blocks: residual blocks before, between and
    after at these; hidden: width of the painting networks; frequencies: of their coordinates, 1 to 2^(frequencies−1)
    half waves over the two cells that a network paints."""

    width: int = 64
    deep: int = 96
    blocks: tuple[int, int, int] = (1, 2, 2)
    hidden: int = 32
    frequencies: int = 4

    @property
    def inputs(self) -> int:
        return 4 * self.frequencies + 3

    @property
    def numbers(self) -> int:
        """Of one painting network: two layers."""
        return (self.inputs + 1) * self.hidden + (self.hidden + 1) * 3


class StyledBlock(nn.Module):
    """Two 3×3 convolutions added to the input, the first scaled and shifted by the style; the second starts at 0."""

    def __init__(self, width: int, style: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.style = nn.Linear(style, 2 * width)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        scale, shift = self.style(style)[:, :, None, None].chunk(2, 1)
        return x + self.conv2(F.silu(self.conv1(F.silu(x)) * (1 + scale) + shift))


class CoordNet(nn.Module):
    """`cells` writes the painting networks of a picture, `paint` runs some of them."""

    def __init__(self, config: CoordConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or CoordConfig()
        width, deep = config.width, config.deep
        before, between, after = config.blocks
        self.stem = nn.Conv2d(5 * CELL**2, width, 1)
        self.before = nn.ModuleList(StyledBlock(width, width) for _ in range(before))
        self.narrow = nn.Conv2d(width, deep, 2, 2)
        self.between = nn.ModuleList(StyledBlock(deep, width, 2 ** (i % 2)) for i in range(between))
        self.widen = nn.Conv2d(deep, 4 * width, 1)
        self.after = nn.ModuleList(StyledBlock(width, width) for _ in range(after))
        self.mapping = nn.Sequential(nn.Linear(CODE, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.mix = nn.Linear(2 * width, width)
        self.write = nn.Conv2d(width, config.numbers, 1)
        with torch.no_grad():  # the painting networks start as one ordinary network that adds nothing
            last = 3 * (config.hidden + 1)
            self.write.weight.mul_(0.3)[-last:] = 0
            self.write.bias = nn.Parameter(torch.zeros(config.numbers))
            first = config.inputs * config.hidden
            self.write.bias[:first] = torch.randn(first) * math.sqrt(2 / config.inputs)

    @classmethod
    def from_weights(cls, weights: dict[str, Tensor]) -> CoordNet:
        """The network of the default configuration that a state dict belongs to."""
        net = cls()
        net.load_state_dict({key: value.float() for key, value in weights.items()})
        return net.eval()

    @classmethod
    def shipped(cls) -> CoordNet | None:
        """With the weights of the package, None while it has none."""
        return cls.from_weights(load_weights("coord")) if "coord" in manifest() else None

    def cells(self, picture: Tensor, mask: Tensor, error: Tensor, code: Tensor) -> Tensor:
        """(N, numbers, h / CELL, w / CELL): the painting networks of a picture.

        picture (N, 3, h, w) in [0, 1], its hole closed by the enlarged draft; mask (N, 1, h, w) 1 = hole; error
        (N, 1, h, w): the draft's expected absolute error; code (N, CODE): random styles; h and w divisible by MULTIPLE.
        """
        x = self.stem(F.pixel_unshuffle(torch.cat([picture * 2 - 1, mask, error * ERROR_SCALE], 1), CELL))
        style = self.mix(torch.cat([x.mean((2, 3)), self.mapping(code)], 1))
        for block in self.before:
            x = block(x, style)
        y = self.narrow(x)
        for block in self.between:
            y = block(y, style)
        x = x + F.pixel_shuffle(self.widen(F.silu(y)), 2)
        for block in self.after:
            x = block(x, style)
        x = F.silu(x)
        return self.write(x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-2))

    def paint(self, numbers: Tensor, colours: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Colours (M, P·Q, 3) of M tiles, row by row, in [0, 1] but not clipped.

        A tile lies between the centres of four cells. numbers (M, 4, numbers): their networks, upper ones first;
        colours (M, P·Q, 3): the enlarged draft there; rows (M or 1, P), columns (M or 1, Q): places of its pixels, 0 at
        the one centre, 1 at the other.
        """
        hidden, m = self.config.hidden, len(colours)
        waves, share = self._corners(rows, columns)
        known = (colours * 2 - 1)[:, None].expand(-1, 4, -1, -1)
        x = torch.cat([waves.expand(m, -1, -1, -1).to(known.dtype), known], 3).flatten(0, 1)
        first, bias, last, end = numbers.flatten(0, 1).split([self.config.inputs * hidden, hidden, hidden * 3, 3], 1)
        x = F.relu(torch.baddbmm(bias[:, None], x, first.view(4 * m, -1, hidden)))
        x = torch.baddbmm(end[:, None], x, last.view(4 * m, hidden, 3))
        return colours + (x.view(m, 4, -1, 3).float() * share).sum(1) / 2

    def _corners(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Sines and cosines (·, 4, P·Q, 4·frequencies) of the places seen from each corner of a tile, and how much
        the corner counts there, (·, 4, P·Q, 1), together 1."""
        steps = (math.pi / 2) * 2.0 ** torch.arange(self.config.frequencies, device=rows.device)
        axes = []
        for places in (rows, columns):
            away = torch.stack([places, places - 1], 1)  # (·, 2, P)
            phase = away[..., None] * steps
            axes.append((torch.cat([phase.sin(), phase.cos()], 3), 1 - away.abs()))
        (y, near_y), (x, near_x) = axes
        n, _, p, k = y.shape
        q = x.shape[2]
        share = (near_y[:, :, None, :, None] * near_x[:, None, :, None, :]).reshape(n, 4, p * q, 1)
        down = y[:, :, None, :, None].expand(-1, -1, 2, -1, q, -1).reshape(n, 4, p * q, k)
        across = x[:, None, :, None, :].expand(-1, 2, -1, p, -1, -1).reshape(n, 4, p * q, k)
        return torch.cat([down, across], 3), share

    def forward(self, picture: Tensor, mask: Tensor, error: Tensor, code: Tensor, base: Tensor, first: int) -> Tensor:
        """A square of whole tiles painted, (N, 3, S, S): for training.

        base (N, 3, S, S): the enlarged draft there at the picture's size, S divisible by CELL, its corner that of the
        tile `first` from above and from the left (tile 0 begins half a cell outside the picture).
        """
        n, _, s, _ = base.shape
        tiles = s // CELL
        grid = F.pad(self.cells(picture, mask, error, code), (1, 1, 1, 1), mode="replicate")
        corners = [
            grid[:, :, first + i : first + i + tiles, first + j : first + j + tiles] for i in (0, 1) for j in (0, 1)
        ]
        numbers = torch.stack(corners, 1).permute(0, 3, 4, 1, 2).flatten(0, 2)
        blocks = base.reshape(n, 3, tiles, CELL, tiles, CELL).permute(0, 2, 4, 3, 5, 1)
        places = (torch.arange(CELL, device=base.device)[None] + 0.5) / CELL
        painted = self.paint(numbers, blocks.reshape(-1, CELL * CELL, 3), places, places)
        return painted.reshape(n, tiles, tiles, CELL, CELL, 3).permute(0, 5, 1, 3, 2, 4).reshape(n, 3, s, s)

    @torch.inference_mode()
    def fill(self, image: Image, hole: Mask, draft: Float, error: Float, code: Tensor) -> Image:
        """The image (H, W, 3) with its hole (H, W) painted at its own size; known pixels come back as they are.

        draft (h, w, 3) in [0, 1], error (h, w): the image drafted at a small size, and the expected absolute error;
        code (1, CODE).
        """
        if not hole.any():
            return image.copy()
        device = next(self.parameters()).device
        seen = closed(image, hole, draft, error)
        top, left, bottom, right = _around(seen[1])
        x, m, e = (_cut(v, top, left, bottom, right).to(device) for v in seen)
        cells = F.pad(self.cells(x, m, e, code.to(device)), (1, 1, 1, 1), mode="replicate")[0].permute(1, 2, 0)
        base = cv2.resize(draft, hole.shape[::-1], interpolation=cv2.INTER_LINEAR)
        rows, columns = (Tiles.of(n, CELL * n / k) for n, k in zip(hole.shape, seen[1].shape, strict=True))
        touched = np.zeros((len(rows.starts), len(columns.starts)), np.bool_)
        inside = np.nonzero(hole)
        touched[rows.tile[inside[0]], columns.tile[inside[1]]] = True
        wanted, out = np.argwhere(touched), image.copy()
        for some in np.array_split(wanted, -(-len(wanted) * rows.most * columns.most // PIXELS)):
            (ys, down, mine_y), (xs, across, mine_x) = rows.pixels(some[:, 0]), columns.pixels(some[:, 1])
            at = ys[:, :, None], xs[:, None, :]
            i, j = torch.from_numpy(some - (top // CELL, left // CELL)).to(device).T
            numbers = torch.stack([cells[i + a, j + b] for a in (0, 1) for b in (0, 1)], 1)
            colours = torch.from_numpy(base[at].reshape(len(some), -1, 3)).to(device)
            painted = self.paint(
                numbers, colours, torch.from_numpy(down).to(device), torch.from_numpy(across).to(device)
            )
            pixels = torch.round(painted.clamp(0, 1) * 255).to(torch.uint8).cpu().numpy()
            where = hole[at] & mine_y[:, :, None] & mine_x[:, None, :]
            block, row, column = np.nonzero(where)
            out[ys[block, row], xs[block, column]] = pixels.reshape(*where.shape, 3)[where]
        return out


@dataclass(frozen=True)
class Tiles:
    """One side of a picture, n pixels, cut between the centres of its cells; `size`: pixels of a cell.

    tile (n,): of every pixel; starts: first pixel of every tile; most: pixels of the largest.
    """

    size: float
    tile: NDArray[np.intp]
    starts: NDArray[np.intp]
    most: int

    @classmethod
    def of(cls, n: int, size: float) -> Tiles:
        tile = np.floor((np.arange(n) + 0.5) / size + 0.5).astype(np.intp)
        starts = np.searchsorted(tile, np.arange(tile[-1] + 1))
        return cls(size, tile, starts, int(np.bincount(tile).max()))

    def pixels(self, tiles: NDArray[np.intp]) -> tuple[NDArray[np.intp], Float, Mask]:
        """`most` pixels from each tile's first on, clipped to the side: which, their places in the tile in [0, 1], and
        whether they are the tile's own; all (len(tiles), most)."""
        found = self.starts[tiles][:, None] + np.arange(self.most)
        inside = found < len(self.tile)
        found = found.clip(max=len(self.tile) - 1)
        place = ((found + 0.5) / self.size + 0.5 - tiles[:, None]).clip(0, 1)
        return found, place.astype(np.float32), inside & (self.tile[found] == tiles[:, None])


def closed(image: Image, hole: Mask, draft: Float, error: Float) -> tuple[Float, Float, Float]:
    """What the network looks at: the image (H, W, 3) at SEEN pixels at most, every pixel that the hole touches from the
    enlarged draft (h, w, 3), in [0, 1]; these pixels, 1 = hole; the enlarged error (h, w)."""
    scale = min(1.0, SEEN / max(hole.shape))
    size = max(1, round(hole.shape[1] * scale)), max(1, round(hole.shape[0] * scale))
    touched = cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 1e-6
    picture = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    base, unsure = (cv2.resize(v, size, interpolation=cv2.INTER_LINEAR) for v in (draft, error))
    return np.where(touched[..., None], base, picture), touched.astype(np.float32), np.asarray(unsure, np.float32)


def _around(mask: Float) -> tuple[int, int, int, int]:
    """Top, left, bottom and right of what is looked at: whole cells around the hole, maybe beyond the picture's end."""
    ends = []
    for axis in (1, 0):
        where = np.flatnonzero(mask.any(axis))
        first = max(0, int(where[0]) - AROUND) // MULTIPLE * MULTIPLE
        last = min(mask.shape[1 - axis], int(where[-1]) + 1 + AROUND)
        ends.append((first, first + -(-(last - first) // MULTIPLE) * MULTIPLE))
    (top, bottom), (left, right) = ends
    return top, left, bottom, right


def _cut(values: Float, top: int, left: int, bottom: int, right: int) -> Tensor:
    """(1, C, ·, ·) of a part of (h, w[, C]); what is beyond the end repeats the edge."""
    part = values[top:bottom, left:right]
    x = torch.from_numpy(np.ascontiguousarray(part)).reshape(*part.shape[:2], -1).permute(2, 0, 1)[None]
    return F.pad(x, (0, right - left - x.shape[3], 0, bottom - top - x.shape[2]), mode="replicate")
