"""What would the hole's features be? Features of the unknown truth, expected from the surroundings and a draft.

For a fill c of an unknown truth t, E‖f̂(c) − f̂(t)‖² = ‖f̂(c) − E f̂(t)‖² + Var f̂(t): of several fills the one nearest to
the *expected* features is the one nearest to the truth on average. So the pipeline copies what comes near them, and the
judge ranks by them. f̂ are EfficientNet-Lite0 features of unit length over channels, as in `feature_distance`.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from restore.features.lite0 import Lite0, unit

SIDE = 256  # long side at which a window is looked at
KEPT = 8  # expectations remembered: one for every window of a photo, whatever the number of its fills
TAPS = (2, 4, 10)  # strides 4, 8, 16
WIDTHS = (24, 40, 112)

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Drafter = Callable[[NDArray[np.float32], Mask], NDArray[np.float32]]


def _mix(cin: int, cout: int, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=dilation, dilation=dilation), nn.ReLU(inplace=True))


class ExpectationNet(nn.Module):
    """(photo with its hole drafted, mask) → expected unit features at each tap and their expected squared error.

    drafted (N, 3, H, W) in [0, 1]; mask (N, 1, H, W) 1 = hole; sides divisible by 16. Lite0 stays frozen.
    """

    def __init__(self, lite0: Lite0) -> None:
        super().__init__()
        self.lite0 = lite0.requires_grad_(False)
        c4, c8, c16 = WIDTHS
        self.mix16 = nn.Sequential(_mix(c16 + 1, 192), _mix(192, 192, 2), _mix(192, 192, 4), _mix(192, 192))
        self.mix8 = nn.Sequential(_mix(192 + c8 + 1, 128), _mix(128, 96, 2))
        self.mix4 = nn.Sequential(_mix(96 + c4 + 1, 64), _mix(64, 48))
        self.outs = nn.ModuleList(nn.Conv2d(w, c + 1, 1) for w, c in zip((48, 96, 192), WIDTHS, strict=True))
        for out in self.outs:
            nn.init.zeros_(out.weight)  # type: ignore[arg-type]
            nn.init.zeros_(out.bias)  # type: ignore[arg-type]

    @classmethod
    def from_weights(cls, weights: dict[str, Tensor], lite0: Lite0) -> ExpectationNet:
        """The network whose own tensors, all but the backbone's, are `weights`."""
        net = cls(lite0)
        net.load_state_dict({k: v.float() for k, v in weights.items()} | _prefixed(lite0))
        return net.eval()

    def own_weights(self) -> dict[str, Tensor]:
        """All tensors but the backbone's, which ships once."""
        return {key: value for key, value in self.state_dict().items() if not key.startswith("lite0.")}

    def forward(self, drafted: Tensor, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Per tap, finest first: features (N, C, h, w) and the expected squared error (N, 1, h, w) of the truth."""
        f4, f8, f16 = self.features(drafted)
        m4, m8, m16 = (F.avg_pool2d(mask, mask.shape[-1] // f.shape[-1]) for f in (f4, f8, f16))
        x16 = self.mix16(torch.cat([f16, m16], 1))
        x8 = self.mix8(torch.cat([_up(x16), f8, m8], 1))
        x4 = self.mix4(torch.cat([_up(x8), f4, m4], 1))
        found = []
        for own, x, out in zip((f4, f8, f16), (x4, x8, x16), self.outs, strict=True):
            change, error = out(x).split((own.shape[1], 1), 1)
            found.append((own + change, F.softplus(error)))
        return found

    @torch.no_grad()
    def features(self, image: Tensor) -> list[Tensor]:
        """Unit features (N, C, h, w) per tap of images (N, 3, H, W) in [0, 1]."""
        return [unit(f) for f in self.lite0.features(image, TAPS)]


def _prefixed(lite0: Lite0) -> dict[str, Tensor]:
    return {f"lite0.{key}": value for key, value in lite0.state_dict().items()}


def _up(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class Expected:
    """Of one hole, per tap: expected unit features (1, C, h, w), their expected squared error (1, 1, h, w), and the
    unit features of the photo with its hole drafted (1, C, h, w)."""

    features: list[Tensor]
    error: list[Tensor]
    drafted: list[Tensor]


class Expectation:
    """Computes the expected features of a hole once and compares any number of fills with them."""

    def __init__(self, net: ExpectationNet, drafter: Drafter) -> None:
        """drafter: (image (h, w, 3) float32 in [0, 1], hole (h, w)) → the image with its hole drafted."""
        self.net, self.drafter = net.eval(), drafter
        self._kept: OrderedDict[bytes, Expected] = OrderedDict()

    @torch.inference_mode()
    def distance(self, image: Image, hole: Mask, features: list[Tensor] | None = None) -> NDArray[np.float32]:
        """E‖f̂(image) − f̂(truth)‖² of every pixel, (H, W) ≥ 0, mean over taps; 0 outside the hole.

        image (H, W, 3) RGB, hole (H, W) with pixels inside and outside. features: Lite0's of the image at
        `working_size`, where they are known already.
        """
        height, width = hole.shape
        w, h = working_size(hole.shape)
        expected = self.expect((image / 255).astype(np.float32), hole)
        if features is None:
            small = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)
            features = self.net.lite0.features(_tensor((small / 255).astype(np.float32)).to(self._device), TAPS)
        total = torch.zeros(1, 1, h // 4, w // 4, device=self._device)
        for own, mean, error in zip(features, expected.features, expected.error, strict=True):
            cells = (unit(own) - mean).square().sum(1, keepdim=True) + error
            total += F.interpolate(cells, size=total.shape[-2:], mode="bilinear", align_corners=False)
        mean_map = total[0, 0].cpu().numpy() / len(TAPS)
        return np.asarray(cv2.resize(mean_map, (width, height), interpolation=cv2.INTER_LINEAR) * hole, np.float32)

    @torch.inference_mode()
    def expect(self, image: NDArray[np.float32], hole: Mask) -> Expected:
        """image (H, W, 3) in [0, 1]. Depends on known pixels and hole only; the last few answers are remembered."""
        w, h = working_size(hole.shape)
        known = cv2.resize(image * ~hole[..., None], (w, h), interpolation=cv2.INTER_AREA)
        share = cv2.resize(hole.astype(np.float32), (w, h), interpolation=cv2.INTER_AREA)
        key = hashlib.blake2b(known.tobytes() + share.tobytes(), digest_size=16).digest()
        if key not in self._kept:
            colour = (known / np.maximum(1 - share, 1e-6)[..., None]).clip(0, 1)
            x = _tensor(self.drafter(colour, share > 0)).to(self._device)
            m = torch.from_numpy((share > 0).astype(np.float32)).to(self._device)[None, None]
            found = self.net(x, m)
            self._kept[key] = Expected([f for f, _ in found], [e for _, e in found], self.net.features(x))
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    @property
    def _device(self) -> torch.device:
        return next(self.net.parameters()).device


def working_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Width and height, multiples of 16, at which a window of `shape` (H, W) is looked at."""
    scale = min(1.0, SIDE / max(shape))
    h, w = (max(32, round(side * scale / 16) * 16) for side in shape)
    return w, h


def _tensor(image: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
