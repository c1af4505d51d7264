"""Attention over the cells of a feature map: every cell of a window sees every other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEADS = 8
Place = tuple[Tensor, Tensor]  # cos and sin of every cell's position


def rotary(h: int, w: int, dim: int, device: torch.device) -> Place:
    """cos and sin (h·w, dim) of 2-D rotary positions (Su et al., 2021): half of the channels rows, half columns."""
    rate = 100 ** (-torch.arange(dim // 4, device=device) / (dim // 4))
    y, x = torch.meshgrid(torch.arange(h, device=device), torch.arange(w, device=device), indexing="ij")
    angle = torch.cat([y.reshape(-1, 1) * rate, x.reshape(-1, 1) * rate], 1)
    return angle.cos().repeat(1, 2), angle.sin().repeat(1, 2)


def _rotate(x: Tensor, place: Place) -> Tensor:
    a, b = x.chunk(2, -1)
    return x * place[0].to(x.dtype) + torch.cat([-b, a], -1) * place[1].to(x.dtype)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention over (N, heads, cells, channels)."""
    if q.device.type == "cpu" and q.dtype == torch.bfloat16:  # trained: the fused backward takes twice the time there
        n, cells = q.shape[0], q.shape[2]
        q, k, v = (t.reshape(n * HEADS, cells, -1) for t in (q, k, v))
        scores = torch.baddbmm(q.new_zeros(1), q, k.mT, beta=0, alpha=q.shape[-1] ** -0.5)
        return (scores.softmax(-1) @ v).reshape(n, HEADS, cells, -1)
    return F.scaled_dot_product_attention(q, k, v)


def _normed(x: Tensor, norm: nn.RMSNorm) -> Tensor:
    """`norm` of x, in x's precision: PyTorch warns where they differ."""
    return F.rms_norm(x, norm.normalized_shape, norm.weight.to(x.dtype), norm.eps)


class Block(nn.Module):
    """Self-attention and a feed-forward layer with a 3×3 depthwise convolution, both residual and zero at the start."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(dim, eps=1e-4), nn.RMSNorm(dim, eps=1e-4)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, 3 * dim), nn.Linear(3 * dim, dim)
        self.near = nn.Conv2d(3 * dim, 3 * dim, 3, padding=1, groups=3 * dim)
        for layer in (self.out, self.down):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, size: tuple[int, int], place: Place) -> Tensor:
        """x (N, h·w, dim); size (h, w)."""
        n, cells, dim = x.shape
        q, k, v = self.qkv(_normed(x, self.norm1)).reshape(n, cells, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        y = _attend(_rotate(q, place), _rotate(k, place), v)
        x = x + self.out(y.transpose(1, 2).reshape(n, cells, dim))
        y = self.up(_normed(x, self.norm2))
        y = self.near(y.transpose(1, 2).reshape(n, -1, *size)).flatten(2).transpose(1, 2)
        return x + self.down(F.gelu(y, approximate="tanh"))


class Trunk(nn.Module):
    """Blocks over the cells of a map (N, dim, h, w) of any size."""

    def __init__(self, dim: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(dim) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        place = rotary(h, w, c // HEADS, x.device)
        y = x.flatten(2).transpose(1, 2)
        for block in self.blocks:
            y = block(y, (h, w), place)
        return y.transpose(1, 2).reshape(n, c, h, w)
