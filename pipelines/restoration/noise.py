"""How much noise a picture has, and whether it is white: all from the finest diagonal wavelets."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MIDDLE = 0.5  # |mean| of four pixels, [-1, 1], up to which noise is not clipped at black or white
ENOUGH = 0.25  # share of a block's coefficients in that range that tells its noise
BLOCK, LEAST_BLOCKS = 16, 4  # coefficients, the side of a block; blocks of a picture that has enough of them
QUIET = 0.2  # quantile of the blocks' levels: there, texture and chance weigh each other out from 10 levels on
# White noise is no stronger at half size and not common to the channels.
LEAST, COARSE, COMMON, TEXTURE = 5.5 / 127.5, 1.25, 1.1, 1.6 / 127.5


def noise_level(y: Tensor) -> float:
    """Standard deviation of white noise in a picture (N, C, H, W) in [-1, 1], in the same units.

    Median of the finest diagonal wavelet (Haar) coefficients over 0.6745 (Donoho & Johnstone, 1994), of the quiet
    blocks of a picture that has some, where noise is not clipped.
    """
    return _deviation(_diagonal(y), F.avg_pool2d(y, 2))


def blotch_level(y: Tensor) -> float:
    """The same of noise whose finest grain a camera's processing or JPEG took away: seen at half size.

    The rms of the quietest tenth of blocks, since at half size texture would pass for noise; times 2, what white noise
    loses on the way. At least 32×32 pixels; smaller pictures have 0.
    """
    if min(y.shape[-2:]) < 32:
        return 0.0
    power = F.avg_pool2d(_diagonal(F.avg_pool2d(y, 2)).square(), 8).mean(1)
    return 2 * float(power.flatten().kthvalue(max(1, power.numel() // 10)).values.sqrt())


def is_white(y: Tensor, level: float, blotches: float) -> bool:
    """Whether the noise of a picture (1, 3, H, W) of these two levels is white: alike at all frequencies, of its own in
    every channel."""
    if level < LEAST or blotches > COARSE * level:
        return False
    detail, mean = _diagonal(y).mean(1, keepdim=True), F.avg_pool2d(y, 2).mean(1, keepdim=True)
    common = _deviation(detail, mean) * y.shape[1] ** 0.5
    return common < (COMMON + TEXTURE / level) * level


def _deviation(detail: Tensor, mean: Tensor) -> float:
    """Of a picture's quiet blocks, where noise is not clipped; detail and mean (N, C, h, w) of cells of four pixels."""
    if not detail.numel():
        return 0.0
    size, middle = detail.abs(), mean[..., : detail.shape[-2], : detail.shape[-1]].abs() < MIDDLE
    told = [size[middle] if float(middle.float().mean()) > ENOUGH else size.flatten()]
    blocks, clear = _blocks(size), _blocks(middle)
    clear = clear[(share := clear.float().mean(1)) > ENOUGH]
    if len(clear) >= LEAST_BLOCKS:
        told = [b[c] for b, c in zip(blocks[share > ENOUGH], clear, strict=True)]
    levels = torch.stack([values.median() for values in told]) / 0.6745
    return float(levels.quantile(QUIET))


def _blocks(x: Tensor) -> Tensor:
    """(N, C, h, w) → (blocks, C·BLOCK²): whole blocks, all channels of each."""
    h, w = (side // BLOCK * BLOCK for side in x.shape[-2:])
    cut = x[..., :h, :w].unflatten(-1, (-1, BLOCK)).unflatten(-3, (-1, BLOCK))
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(-1, x.shape[1] * BLOCK**2)


def _diagonal(y: Tensor) -> Tensor:
    """Finest diagonal Haar coefficients."""
    a, b, c, d = y[..., ::2, ::2], y[..., 1::2, ::2], y[..., ::2, 1::2], y[..., 1::2, 1::2]
    h, w = d.shape[-2:]
    return (a[..., :h, :w] - b[..., :h, :w] - c[..., :h, :w] + d) / 2
