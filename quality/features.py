"""Pooled EfficientNet-Lite0 features of crops around holes: what `restore.quality.sets` compares.

Block 10 (112 channels, stride 16), not the 1280 of the classifier's head: a covariance wants more
samples than dimensions, and small evaluation sets have a hundred holes, not ten thousand. Several crops
around each hole raise the count further; they overlap, so they are worth less than as many photos.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from restore.backbone import Lite0
from restore.errors import InputError

BLOCK = 10
SIDE = 224  # Lite0's training size
Window = tuple[int, int, int]  # top, left, side in pixels


def hole_windows(mask: np.ndarray, count: int, rng: np.random.Generator) -> list[Window]:
    """`count` square windows around the hole of `mask` (H, W) bool, all inside the image.

    The first is centred with a side of 1.5× the hole box's longer side; the others vary the side
    (1.25–1.75×) and the centre (± an eighth of the side). Sides end at the image's shorter side.
    Raises InputError for an empty mask.
    """
    ys, xs = np.nonzero(mask)
    if len(ys) == 0:
        raise InputError("expected a mask with a hole, got an empty one; there is nothing to compare")
    centre = np.array([ys.min() + ys.max() + 1, xs.min() + xs.max() + 1]) / 2
    longer = max(np.ptp(ys), np.ptp(xs)) + 1
    windows = []
    for i in range(count):
        grow, shift = (1.5, np.zeros(2)) if i == 0 else (rng.uniform(1.25, 1.75), rng.uniform(-1, 1, 2) / 8)
        side = int(min(*mask.shape, max(16, round(grow * longer))))
        corner = np.round(centre + shift * side - side / 2).clip(0, np.array(mask.shape) - side)
        windows.append((int(corner[0]), int(corner[1]), side))
    return windows


@torch.inference_mode()
def crop_features(lite0: Lite0, image: Tensor, windows: list[Window]) -> np.ndarray:
    """Mean over cells of block 10 for each window of `image` (3, H, W) RGB in [0, 1]: (len(windows), 112).

    Give the real and the filled photo the same windows: rows are then pairs.
    """
    crops = torch.cat([_resized(image[:, y : y + side, x : x + side]) for y, x, side in windows])
    (features,) = lite0.features(crops, (BLOCK,))
    return features.float().mean((2, 3)).cpu().numpy()


def _resized(crop: Tensor) -> Tensor:
    return F.interpolate(crop[None], size=(SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
