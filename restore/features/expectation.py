"""What would the hole's features be? Features of the unknown truth, expected from the surroundings and a draft.

For a fill c of an unknown truth t, E‖f̂(c) − f̂(t)‖² = ‖f̂(c) − E f̂(t)‖² + Var f̂(t): of several fills the one nearest to
the *expected* features is the one nearest to the truth on average. So the pipeline copies what comes near them, and the
judge ranks by them. f̂ are EfficientNet-Lite0 features of unit length over channels, as in `feature_distance`.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from restore.features.expectation_net import TAPS, ExpectationNet, Expected
from restore.features.lite0 import unit

SIDE = 256  # long side at which a window is looked at
KEPT = 8  # expectations remembered: one for every window of a photo, whatever the number of its fills

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Drafter = Callable[[NDArray[np.float32], Mask], tuple[NDArray[np.float32], NDArray[np.float32]]]


class Expectation:
    """Computes the expected features of a hole once and compares any number of fills with them."""

    def __init__(self, net: ExpectationNet, drafter: Drafter) -> None:
        """drafter: (image (h, w, 3) float32 in [0, 1], hole (h, w)) → the image with its hole drafted, and the draft's
        expected absolute error (h, w)."""
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
            drafted, error = self.drafter(colour, share > 0)
            hole_there = (share > 0).astype(np.float32)
            seen = (_tensor(t).to(self._device) for t in (drafted, hole_there[..., None], error[..., None]))
            self._kept[key] = self.net(*seen)
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
