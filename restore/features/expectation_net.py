"""The expectation network: from a photo with its hole drafted to the features that the hole should have."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.features.lite0 import Lite0, unit
from restore.features.trunk import Trunk

TAPS = (2, 4, 10)  # strides 4, 8, 16
WIDTHS = (24, 40, 112)
SCENE, SCENE_WIDTH = 15, 320  # stride 32: what kind of scene it is
DIM = 256  # of the trunk
BLOCKS = 6


@dataclass(frozen=True)
class Expected:
    """What the network says of N windows, per tap, finest first: expected unit features (N, C, h, w), their expected
    squared error (N, 1, h, w), the drafted photo's own unit features (N, C, h, w)."""

    features: list[Tensor]
    error: list[Tensor]
    drafted: list[Tensor]


class _Residual(nn.Module):
    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        _zero(self.conv2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


class ExpectationNet(nn.Module):
    """(photo with its hole drafted, mask, the draft's expected error) → what its hole's features should be.

    drafted (N, 3, H, W) in [0, 1]; mask (N, 1, H, W) 1 = hole; error (N, 1, H, W) ≥ 0, expected absolute error of the
    draft; sides divisible by 16. Attention over the cells at stride 16 sees the whole window; two convolutional
    levels refine. Lite0 stays frozen.
    """

    def __init__(self, lite0: Lite0) -> None:
        super().__init__()
        self.lite0 = lite0.requires_grad_(False)
        c4, c8, c16 = WIDTHS
        self.embed = nn.Conv2d(c16 + SCENE_WIDTH + c8 + c4 + 3, DIM, 1)
        self.trunk = Trunk(DIM, BLOCKS)
        self.mix8 = nn.Sequential(nn.Conv2d(DIM + c8 + 2, 128, 3, padding=1), _Residual(128, 2), _Residual(128))
        self.mix4 = nn.Sequential(nn.Conv2d(128 + c4 + 2, 64, 3, padding=1), _Residual(64, 2), _Residual(64))
        self.outs = nn.ModuleList(nn.Conv2d(w, c + 1, 1) for w, c in zip((64, 128, DIM), WIDTHS, strict=True))
        for out in self.outs:
            _zero(out)

    @classmethod
    def from_weights(cls, weights: dict[str, Tensor], lite0: Lite0) -> ExpectationNet:
        """The network whose own tensors, all but the backbone's, are `weights`."""
        net = cls(lite0)
        backbone = {f"lite0.{key}": value for key, value in lite0.state_dict().items()}
        net.load_state_dict({k: v.float() for k, v in weights.items()} | backbone)
        return net.eval()

    def own_weights(self) -> dict[str, Tensor]:
        """All tensors but the backbone's, which ships once."""
        return {key: value for key, value in self.state_dict().items() if not key.startswith("lite0.")}

    def forward(self, drafted: Tensor, mask: Tensor, error: Tensor) -> Expected:
        *own, scene = self.features(drafted, (*TAPS, SCENE))
        return self.expect(own, scene, mask, error)

    def expect(self, own: list[Tensor], scene: Tensor, mask: Tensor, error: Tensor) -> Expected:
        """The same from the drafted photo's unit features at TAPS and at SCENE."""
        f4, f8, f16 = own
        known = torch.cat([mask, error * mask], 1)
        k4, k8, k16 = (F.avg_pool2d(known, mask.shape[-1] // f.shape[-1]) for f in own)
        scene = F.interpolate(scene, size=f16.shape[-2:], mode="bilinear", align_corners=False)
        cells = [f16, scene, F.avg_pool2d(f8, 2), F.avg_pool2d(f4, 4), k16, F.max_pool2d(mask, 16)]
        x16 = self.trunk(self.embed(torch.cat(cells, 1)))
        x8 = self.mix8(_beside(_up(x16), f8, k8))
        x4 = self.mix4(_beside(_up(x8), f4, k4))
        expected, errors = [], []
        for f, x, out in zip(own, (x4, x8, x16), self.outs, strict=True):
            change, off = out(F.relu(x)).split((f.shape[1], 1), 1)
            expected.append(f + change)
            errors.append(F.softplus(off))
        return Expected(expected, errors, own)

    @torch.no_grad()
    def features(self, image: Tensor, taps: tuple[int, ...] = TAPS) -> list[Tensor]:
        """Unit features (N, C, h, w) per tap of images (N, 3, H, W) in [0, 1]."""
        return [unit(f) for f in self.lite0.features(image, taps)]


def _zero(layer: nn.Module) -> None:
    for p in layer.parameters():
        nn.init.zeros_(p)


def _up(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def _beside(x: Tensor, *others: Tensor) -> Tensor:
    """Concatenated channels, in x's precision and memory format."""
    last = x.is_contiguous(memory_format=torch.channels_last)
    form = torch.channels_last if last else torch.contiguous_format
    return torch.cat([x, *(other.to(x.dtype).contiguous(memory_format=form) for other in others)], 1)
