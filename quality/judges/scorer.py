"""One number for how good a photo looks, 0–100, with nothing to compare it with.

100 = nothing wrong that the scorer knows of; 50 = about as far from the untouched photo as a JPEG of quality 18.
It has learned distortions (`restore.training.data.distortions`) and a computed full-reference measure, never people's
opinions: there were none to learn from. It sees technical faults, not content, composition or taste, and judges
pixels at native size: a photo that is soft at 100 % is soft.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from restore.errors import InputError
from restore.features.lite0 import Lite0
from restore.quality.judges.scorer_net import CELL, ScorerNet, crop_features

CROP = 128  # pixels a side
MOST = 6  # crops a side: 36 in all, RankIQA takes 30
CHUNK = 12  # crops that go through the network at once


class Scorer:
    """weights: tensors of `ScorerNet`; lite0: the frozen backbone, already on `device`.

    Crops lie on a fixed grid at native size and are never resized (RankIQA, Liu et al., ICCV 2017, §4.3), so the
    same photo always gives the same number; photos are scored one by one, so neighbours in a batch cannot matter.
    """

    def __init__(self, weights: dict[str, Tensor], lite0: Lite0, device: str = "cpu") -> None:
        self.net = ScorerNet().eval().requires_grad_(False).to(device)
        self.net.load_state_dict(weights)
        self.lite0, self.device = lite0, device

    @torch.inference_mode()
    def __call__(self, image: np.ndarray) -> float:
        """Score of `image` (H, W, 3) uint8 RGB in 0–100, the mean over its crops.

        A side shorter than a crop is taken whole and mirrored up to a multiple of 16 pixels.
        Raises InputError for another kind of array.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise InputError(f"expected (H, W, 3) uint8, got {image.shape} {image.dtype}")
        down, right = (-min(n, CROP) % CELL for n in image.shape[:2])
        if down or right:
            image = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REFLECT)
        crops = torch.from_numpy(np.stack(grid_crops(image))).permute(0, 3, 1, 2)
        scores = []
        for chunk in crops.split(CHUNK):
            x = (chunk.to(self.device).float() / 255).contiguous(memory_format=torch.channels_last)
            scores.append(self.net(x, crop_features(self.lite0, x))[0])
        return float(torch.cat(scores).mean())


def grid_crops(image: np.ndarray) -> list[np.ndarray]:
    """Crops of CROP pixels a side (or the whole side where it is shorter) that cover `image` (H, W, 3) evenly.

    They touch or overlap until a side needs more than MOST; beyond that they are spread over it evenly.
    """
    ys, xs = (_starts(n) for n in image.shape[:2])
    return [image[y : y + CROP, x : x + CROP] for y in ys for x in xs]


def _starts(side: int) -> list[int]:
    count = min(MOST, -(-side // CROP))
    return [round(i * (side - CROP) / (count - 1)) for i in range(count)] if count > 1 else [max(0, side - CROP) // 2]
