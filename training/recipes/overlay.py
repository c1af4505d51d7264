"""The overlay segmenter's data and losses (restore/grounding/overlay_net.py): `restore train overlay`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.features.lite0 import Lite0, trained_lite0
from restore.grounding.overlay_net import CLASSES, TAPS, OverlayNet, folded
from restore.training.data.lettering import Fonts
from restore.training.data.overlays import drawings, overlaid
from restore.training.data.photos import PhotoCache, held_out, random_crop
from restore.training.loop import Task

HELD_OUT = 256  # photos never trained on
CHOSEN_ON = 72  # pictures that thresholds are chosen on, and as many untouched ones
GRID = torch.linspace(0.02, 0.9, 23)
NEAR_BEST = 0.95  # of the best IoU: the lowest such threshold is taken, for a miss stays in the photo,
# as long as at most this share of untouched photos' pixels is taken for the class: .2 % for all.
ALLOWED = {"text": 2e-4, "watermark": 3e-4, "scratch": 9e-4, "dust": 3e-4, "wire": 3e-4}


class OverlayTask(Task):
    """Focal and Dice losses (Lin et al., ICCV 2017; Milletari et al., 3DV 2016) of photos with drawn overlays."""

    net: OverlayNet

    def __init__(self, recipe: dict[str, Any], data: list[Path], out: Path) -> None:
        super().__init__()
        self.recipe = recipe
        self.cache = PhotoCache.open(out.parent / "cache", data)
        self.train_on, _ = held_out(len(self.cache), HELD_OUT)
        self.draw = drawings(Fonts(recipe["fonts"]), recipe["size"])
        net, lite0 = OverlayNet(norm=recipe["norm"]), trained_lite0()
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.lite0: Lite0 = lite0.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.told: dict[str, float] = {}

    def batch(self, rng: np.random.Generator, progress: float) -> dict[str, Tensor]:
        """image (n, 3, s, s), label and weight (n, 5, s, s), all in [0, 1]."""
        bare = self.recipe["untouched"]
        rows = [self._sample(rng, self.recipe["shares"] if rng.random() >= bare else None) for _ in range(self._n)]
        return {
            name: torch.from_numpy(np.stack(part))
            for name, part in zip(("image", "label", "weight"), zip(*rows, strict=True), strict=True)
        }

    @property
    def _n(self) -> int:
        return int(self.recipe["batch"])

    def _sample(self, rng: np.random.Generator, shares: dict[str, float] | None) -> tuple[np.ndarray, ...]:
        photo = self.cache[self.train_on[rng.integers(len(self.train_on))]]
        crop = random_crop(photo, self.recipe["size"], rng, self.recipe["least"])
        image, label, weight = overlaid(crop, rng, self.draw, shares or dict.fromkeys(CLASSES, 0.0))
        return np.ascontiguousarray(image.transpose(2, 0, 1)), label, weight

    def logits(self, net: nn.Module, image: Tensor) -> Tensor:
        image = image.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            features = self.lite0.features(image, TAPS)
        return net(image, features).float()

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        logits, label, weight = self.logits(self.net, batch["image"]), batch["label"], batch["weight"]
        p = torch.sigmoid(logits)
        entropy = F.binary_cross_entropy_with_logits(logits, label, reduction="none")
        focal = (entropy * (p - label).abs() * weight).mean()
        p, y = p * weight, label * weight
        dice = 1 - (2 * (p * y).sum((0, 2, 3)) + 1) / (p.sum((0, 2, 3)) + y.sum((0, 2, 3)) + 1)
        return {"loss": 20 * focal + 0.5 * dice.mean(), "focal": focal, "dice": dice.mean()}

    @torch.no_grad()
    def export(self, net: nn.Module) -> dict[str, Tensor]:
        """Convolutions only, with the thresholds chosen on fixed pictures of the training kind."""
        assert isinstance(net, OverlayNet)
        plain: OverlayNet = folded(net) if self.recipe["norm"] else net
        rng = np.random.default_rng(1)
        shares = dict.fromkeys(CLASSES, 0.34)
        drawn = self._counts(plain, [self._sample(rng, shares) for _ in range(CHOSEN_ON)])
        bare = self._counts(plain, [self._sample(rng, None) for _ in range(CHOSEN_ON)])
        iou = drawn[0] / drawn[1].clamp(min=1)
        alarms = bare[1] / (CHOSEN_ON * self.recipe["size"] ** 2)
        for c in range(len(CLASSES)):
            quiet = iou[:, c] * (alarms[:, c] <= ALLOWED[CLASSES[c]])
            i = int((quiet >= NEAR_BEST * quiet.max()).float().argmax())
            plain.thresholds[c] = GRID[i]
            self.told |= {f"iou_{CLASSES[c]}": float(iou[i, c]), f"alarms_{CLASSES[c]}": float(alarms[i, c])}
        net.thresholds.copy_(plain.thresholds)
        return plain.state_dict()

    def evaluate(self, net: nn.Module) -> dict[str, float]:
        """IoU and false alarms at the thresholds of the last export; benchmarks/overlays.py measures other drawings."""
        return self.told

    def _counts(self, net: OverlayNet, rows: list[tuple[np.ndarray, ...]]) -> tuple[Tensor, Tensor]:
        """Pixels of intersection and union (thresholds, classes) over pictures."""
        both = torch.zeros(2, len(GRID), len(CLASSES))
        device = net.thresholds.device
        for i in range(0, len(rows), 8):
            columns = zip(*rows[i : i + 8], strict=True)
            image, label, weight = (torch.from_numpy(np.stack(part)).to(device) for part in columns)
            p, y = torch.sigmoid(self.logits(net, image)), label * weight
            for k, cut in enumerate(GRID):
                hit = (p > cut) * weight
                both[0, k] += (hit * y).sum((0, 2, 3)).cpu()
                both[1, k] += torch.maximum(hit, y).sum((0, 2, 3)).cpu()
        return both[0], both[1]
