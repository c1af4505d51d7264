"""Artifact segmenters of others in one TorchScript file, such as PAL4VST (Zhang et al., ICCV 2023)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore.errors import ModelUnavailableError
from restore.quality.judges.judge import Judgement
from restore.quality.judges.lifeless import lifeless

SIDE = 512  # PAL4VST's
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of its RGB in 0 … 255
THRESHOLD = 0.5


class FileJudge:
    """The artifact map of a TorchScript network; everything else a judgement says comes from `judge`.

    The network takes (1, 3, 512, 512), normalised as ImageNet is, and gives classes (1, 1, h, w) as integers, logits of
    two classes (1, 2, h, w), or a probability or logit (1, 1, h, w). Raises ModelUnavailableError for other files.
    """

    def __init__(self, path: Path, judge: Callable[..., Judgement], device: torch.device) -> None:
        self.path, self.judge, self.device = path, judge, device
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit is old, and so are these files
                self.net = torch.jit.load(str(path), map_location=device).eval()
        except (RuntimeError, ValueError) as error:
            raise self._refused(str(error)) from None

    def __call__(self, image: NDArray[np.uint8], hole: NDArray[np.bool_] | None = None) -> Judgement:
        """Judge `image` (H, W, 3) RGB inside `hole` (H, W); None judges the whole picture."""
        judgement = self.judge(image, hole)
        size = image.shape[1], image.shape[0]
        found = np.asarray(cv2.resize(self.probability(image), size, interpolation=cv2.INTER_LINEAR), np.float32)
        probability = np.maximum(found, lifeless(image, judgement.hole)) * judgement.hole
        return replace(judgement, probability=probability.astype(np.float32), threshold=THRESHOLD)

    @torch.inference_mode()
    def probability(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(h, w): probability of an artifact at the network's own size."""
        small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        x = (
            torch.from_numpy((small - np.array(MEAN, np.float32)) / np.array(STD, np.float32))
            .permute(2, 0, 1)[None]
            .to(self.device)
        )
        try:
            out = self.net(x)
        except RuntimeError as error:
            raise self._refused(str(error)) from None
        if not isinstance(out, Tensor) or out.ndim != 4 or out.shape[0] != 1 or out.shape[1] not in (1, 2):
            raise self._refused(f"{tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__}")
        if out.shape[1] == 2:
            out = out.float().softmax(1)[:, 1:]
        elif out.is_floating_point() and (out.min() < 0 or out.max() > 1):
            out = out.sigmoid()
        return np.asarray(out[0, 0].float().clamp(0, 1).cpu().numpy())

    def _refused(self, reason: str) -> ModelUnavailableError:
        last = (reason.strip().splitlines() or ["nothing"])[-1][:200]
        return ModelUnavailableError(
            f"expected {self.path} to be a TorchScript segmenter (1, 3, 512, 512) → (1, 1 or 2, h, w), got: {last}"
        )
