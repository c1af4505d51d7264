"""Judge pixels: artifact map, Perceptual Artifact Ratio and a quality score from the judge network.

PAR_hole = |A ∩ H| / |H| and PAR_image = |A| / |I| (Zhang et al., ECCV 2022 and ICCV 2023): A the
pixels judged artifacts, H the hole, I the image. The two are never comparable with each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from restore.features.expectation import Expectation, working_size
from restore.features.lite0 import Lite0
from restore.quality.judges.judge_net import TAPS, JudgeNet
from restore.quality.judges.lifeless import lifeless

ARTIFACT = 0.85  # probability from which a pixel counts: see training/calibrate_judge.py
EXPECTED = 2.0  # weight of the expected distance against the severity when fills of a hole are compared
BROKEN = 3.0  # severity of lifeless pixels: quality 5, below any fill of the training
QUALITY_SCALE = 1.0  # mean severity at which quality has fallen to 100/e


@dataclass(frozen=True)
class Judgement:
    """What the judge says of one picture.

    probability: (H, W) float32 in [0, 1], 0 outside the judged region; hole: (H, W) bool, the judged
    region; severity: mean over it of how broken the picture looks, 0 = like a photo; distance: (H, W) float32,
    expected squared feature distance to what the hole may have held (restore/features/expectation.py), None where
    nothing surrounds the judged region; threshold: probability from which a pixel counts as an artifact.
    """

    probability: NDArray[np.float32]
    hole: NDArray[np.bool_]
    severity: float
    distance: NDArray[np.float32] | None = None
    threshold: float = ARTIFACT

    @property
    def artifacts(self) -> NDArray[np.bool_]:
        return self.hole & (self.probability > self.threshold)

    @property
    def par_hole(self) -> float:
        return float(self.artifacts.sum() / max(1, self.hole.sum()))

    @property
    def par_image(self) -> float:
        return float(self.artifacts.mean())

    @property
    def cost(self) -> float:
        """What ranks fills of the same hole, lower is better: looks broken + far from what is expected there."""
        return self.severity + EXPECTED * (self.expected or 0.0)

    @property
    def expected(self) -> float | None:
        """Mean distance to the truth that is to be expected; None where that is not known."""
        return None if self.distance is None else float(self.distance.sum() / max(1, self.hole.sum()))

    @property
    def quality(self) -> float:
        """0 (broken) to 100 (like an untouched photo)."""
        return quality_of(self.severity)


def quality_of(severity: float) -> float:
    return float(100 * np.exp(-max(0.0, severity) / QUALITY_SCALE))


class Judge:
    """The judge network behind NumPy images. Deterministic; batch size never changes a result."""

    def __init__(
        self,
        weights: dict[str, torch.Tensor],
        lite0: Lite0,
        device: torch.device,
        expectation: Expectation | None = None,
    ) -> None:
        net = JudgeNet(lite0)
        net.load_state_dict(weights | {f"lite0.{k}": v for k, v in lite0.state_dict().items()})
        self.net = net.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device, self.expectation = device, expectation

    @torch.inference_mode()
    def __call__(self, image: NDArray[np.uint8], hole: NDArray[np.bool_] | None = None) -> Judgement:
        """Judge `image` (H, W, 3) RGB inside `hole` (H, W); None judges the whole picture."""
        height, width = image.shape[:2]
        if hole is None:
            hole = np.ones((height, width), bool)
        w, h = working_size(hole.shape)
        small = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)
        mask = cv2.resize(hole.astype(np.float32), (w, h), interpolation=cv2.INTER_AREA)
        x = torch.from_numpy(small).to(self.device).permute(2, 0, 1)[None].float() / 255
        m = torch.from_numpy(mask).to(self.device)[None, None]
        features = self.net.lite0.features(x, TAPS)  # run once for both networks
        logit, d = self.net.decode(x, (m > 0.5).float(), features)
        cells = cv2.resize(mask, (w // 4, h // 4), interpolation=cv2.INTER_AREA)
        severity = float((d[0, 0].cpu().numpy() * cells).sum() / max(1e-6, cells.sum()))
        probability = logit[0, 0].sigmoid().cpu().numpy()
        probability = cv2.resize(probability, (width, height), interpolation=cv2.INTER_LINEAR)
        distance = None
        if self.expectation is not None and not hole.all() and hole.any():
            distance = self.expectation.distance(image, hole, features)
        dead = lifeless(image, hole)
        share = dead.sum() / max(1, hole.sum())
        severity = severity + share * max(0.0, BROKEN - severity)
        return Judgement(np.where(dead, np.float32(1), probability) * hole, hole, severity, distance)
