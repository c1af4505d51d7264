"""LaMa's architecture (Suvorov et al., WACV 2022) for timing: fast Fourier convolutions, random weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GLOBAL = 0.75  # share of channels that pass through the spectrum
MULTIPLE = 8


class Spectral(nn.Module):
    """Convolution 1×1 on the spectrum between two on the pixels (Chi et al., "Fast Fourier convolution")."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        half = cout // 2
        self.before = nn.Sequential(nn.Conv2d(cin, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU())
        self.inside = nn.Sequential(nn.Conv2d(2 * half, 2 * half, 1, bias=False), nn.BatchNorm2d(2 * half), nn.ReLU())
        self.after = nn.Conv2d(half, cout, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        spectrum = torch.fft.rfft2(x, norm="ortho")
        real, imaginary = self.inside(torch.cat([spectrum.real, spectrum.imag], 1)).chunk(2, 1)
        return self.after(x + torch.fft.irfft2(torch.complex(real, imaginary), s=x.shape[-2:], norm="ortho"))


class FourierConv(nn.Module):
    """Local and global halves that feed each other."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.wide = int(channels * GLOBAL)
        near = channels - self.wide
        self.near_near = nn.Conv2d(near, near, 3, padding=1, padding_mode="reflect", bias=False)
        self.near_wide = nn.Conv2d(near, self.wide, 3, padding=1, padding_mode="reflect", bias=False)
        self.wide_near = nn.Conv2d(self.wide, near, 3, padding=1, padding_mode="reflect", bias=False)
        self.wide_wide = Spectral(self.wide, self.wide)
        self.norms = nn.ModuleList((nn.BatchNorm2d(near), nn.BatchNorm2d(self.wide)))

    def forward(self, x: Tensor) -> Tensor:
        near, wide = x.split((x.shape[1] - self.wide, self.wide), 1)
        both = self.near_near(near) + self.wide_near(wide), self.near_wide(near) + self.wide_wide(wide)
        return torch.cat([F.relu(norm(part)) for norm, part in zip(self.norms, both, strict=True)], 1)


class Block(nn.Module):
    """A residual block of two Fourier convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(FourierConv(channels), FourierConv(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def lama(blocks: int = 18, width: int = 64) -> nn.Module:
    """(N, 4, H, W), the masked picture and its mask, to (N, 3, H, W); sides divisible by 8. Defaults: big-lama."""
    layers: list[nn.Module] = [nn.ReflectionPad2d(3), _conv(4, width, 7)]
    layers += [_conv(width * 2**i, width * 2 ** (i + 1), 3, stride=2, padding=1) for i in range(3)]
    layers += [Block(width * 8) for _ in range(blocks)]
    for i in (2, 1, 0):
        up = nn.ConvTranspose2d(width * 2 ** (i + 1), width * 2**i, 3, 2, 1, output_padding=1)
        layers += [up, nn.BatchNorm2d(width * 2**i), nn.ReLU()]
    layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Sigmoid()]
    return nn.Sequential(*layers).eval()


def _conv(cin: int, cout: int, kernel: int, stride: int = 1, padding: int = 0) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(cin, cout, kernel, stride, padding), nn.BatchNorm2d(cout), nn.ReLU())
