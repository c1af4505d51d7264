"""RRDBNet, the generator of ESRGAN (Wang et al., ECCVW 2018) and Real-ESRGAN (ICCVW 2021): ×4, detail is invented."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FACTOR = 4
REACH = 16  # pixels of the small picture around a window that change its middle visibly
SCALE = 0.2  # of residuals


class DenseBlock(nn.Module):
    """Five convolutions, each seeing all before it."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        outs = (growth, growth, growth, growth, width)
        self.convs = nn.ModuleList(nn.Conv2d(width + i * growth, out, 3, padding=1) for i, out in enumerate(outs))

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for conv in self.convs[:-1]:
            seen.append(_leaky(conv(torch.cat(seen, 1))))
        return x + SCALE * self.convs[-1](torch.cat(seen, 1))


class RRDBNet(nn.Module):
    """(N, 3, h, w) in [0, 1] → (N, 3, 4h, 4w) in about [0, 1]."""

    def __init__(self, width: int = 64, growth: int = 32, blocks: int = 23) -> None:
        super().__init__()

        def same(out: int = width) -> nn.Conv2d:
            return nn.Conv2d(width, out, 3, padding=1)

        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.ModuleList(nn.Sequential(*(DenseBlock(width, growth) for _ in range(3))) for _ in range(blocks))
        self.trunk, self.up1, self.up2, self.high, self.last = same(), same(), same(), same(), same(3)

    def forward(self, x: Tensor) -> Tensor:
        x = y = self.first(x.contiguous(memory_format=torch.channels_last))
        for block in self.body:
            y = y + SCALE * block(y)
        y = x + self.trunk(y)
        for up in (self.up1, self.up2):
            y = _leaky(up(F.interpolate(y, scale_factor=2, mode="nearest")))
        return self.last(_leaky(self.high(y)))

    @torch.no_grad()
    def load(self, convolutions: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Weights and biases in the order in which `forward` meets them. Raises ValueError where a shape differs."""
        own = [m for m in self.modules() if isinstance(m, nn.Conv2d)]
        for conv, (weight, bias) in zip(own, convolutions, strict=True):
            if weight.numel() != conv.weight.numel() or bias.numel() != conv.out_channels:
                raise ValueError(f"expected a convolution of {tuple(conv.weight.shape)}, got {weight.numel()} weights")
            conv.weight.copy_(weight.reshape(conv.weight.shape))
            conv.bias.copy_(bias)  # type: ignore[union-attr]


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)
