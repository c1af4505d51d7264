"""The loop of a restoration: judge the picture, sample its worst windows again, keep what is better.

The same idea as edit/loop.py, after Zhang et al. (ECCV 2022), with the measurement as a second witness: a window is
replaced only where the scorer likes the new one better, the judge finds no more artifacts in it, and it explains
the input as well as the old one did.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore.enhancement.record import EnhancePass
from restore.pipelines.diffusion.denoiser import Denoiser
from restore.pipelines.restoration import plans
from restore.pipelines.restoration.plans import Plan
from restore.pipelines.restoration.sampling import LEAST_NOISE, Sampling
from restore.pipelines.restoration.tiles import Box, boxes
from restore.quality.judges.judge import Judge, Judgement
from restore.quality.judges.scorer import Scorer

SIDE, OVERLAP = 256, 64  # pixels of the windows that are sampled again
MOST, SHARE = 4, 4  # windows a pass: at most MOST, and no more than 1/SHARE of all
# PAR and score at which nothing is sampled again. Only bad pictures are: of usual ones (scores of 40 to 95) three more
# passes changed feature distance by under 1 % at four times the cost (benchmarks/README.md).
ENOUGH, GOOD = 0.02, 35.0
SLACK = 0.01  # relative rise of the difference to the input that counts as none
# Level of the start and temperature, by pass: higher levels change more, lower ones keep more, noise makes others.
VARIANTS = ((1.5, 0.0), (0.7, 0.0), (1.0, 0.5), (2.0, 0.3))

RGB = NDArray[np.uint8]
OnPass = Callable[[EnhancePass], None]


@dataclass(frozen=True)
class Critic:
    """Both judges of a picture without a truth."""

    judge: Judge
    score: Scorer

    def record(self, image: RGB, index: int, consistency: float | None, windows: int, began: float) -> EnhancePass:
        judged = self.judge(image)
        seconds = time.perf_counter() - began
        accepted = index < 2 or windows > 0
        par, quality = judged.par_image, judged.quality
        return EnhancePass(index, par, quality, self.score(image), consistency, windows, accepted, seconds)


@dataclass(frozen=True)
class Loop:
    """What a pass needs to sample a window again."""

    denoiser: Denoiser
    plan: Plan
    sampling: Sampling
    critic: Critic
    seed: int

    def improve(self, x: Tensor, passes: int, on_pass: OnPass) -> tuple[Tensor, list[EnhancePass]]:
        """Up to `passes` more passes over x (1, 3, H, W); returns the best picture and a record of each."""
        records: list[EnhancePass] = []
        for index in range(2, passes + 2):
            began = time.perf_counter()
            image = to_bytes(x)
            judged = self.critic.judge(image)
            if judged.par_image <= ENOUGH and self.critic.score(image) >= GOOD:
                break
            better = x.clone()
            replaced = sum(
                self._replaced(better, box, index) for box in worst(judged, self.plan.measurement.operator.unit)
            )
            error = self.plan.measurement.error(better) * 127.5
            records.append(self.critic.record(to_bytes(better), index, error, replaced, began))
            x = better
            on_pass(records[-1])
        return x, records

    def _replaced(self, x: Tensor, box: Box, index: int) -> bool:
        """Sample the window of x again and put it into x if it is better there."""
        old = x[box].clone()
        plan, sampling = self.plan.cut(box), _varied(self.plan, self.sampling, index)
        generator = torch.Generator().manual_seed(self.seed * 1000003 + index)
        new = plans.run(self.denoiser, plan, sampling, generator).cpu()
        ramp = _feathered(box, x.shape[-2:]).to(x)
        new = old + ramp * (new - old)
        if not self._better(plan, new, old):
            return False
        x[box] = new
        return True

    def _better(self, plan: Plan, new: Tensor, old: Tensor) -> bool:
        m = plan.measurement
        noise = float(torch.as_tensor(m.noise_var).mean()) ** 0.5  # a difference below the noise says nothing
        if max(m.error(new), noise) > (1 + SLACK) * max(m.error(old), noise):
            return False
        after, before = to_bytes(new), to_bytes(old)
        if self.critic.judge(after).severity > self.critic.judge(before).severity:
            return False
        return self.critic.score(after) > self.critic.score(before)


def worst(judged: Judgement, unit: int) -> list[Box]:
    """The windows that the judge likes least, worst first."""
    height, width = judged.probability.shape
    found = boxes(height, width, SIDE, OVERLAP, unit)
    bad = sorted(found, key=lambda box: -float(judged.probability[box].mean()))
    return bad[: min(MOST, -(-len(bad) // SHARE))]


def _varied(plan: Plan, sampling: Sampling, index: int) -> Sampling:
    factor, temperature = VARIANTS[(index - 2) % len(VARIANTS)]
    start = (sampling.start or plan.level) * factor
    return replace(sampling, start=min(200.0, max(LEAST_NOISE, start)), temperature=temperature)


def _feathered(box: Box, shape: tuple[int, ...]) -> Tensor:
    """(h, w): 1 inside, falling to 0 over half the overlap at edges that are not the picture's."""
    sides = []
    for span, length in zip(box[1:], shape, strict=True):
        at = torch.arange(span.stop - span.start, dtype=torch.float32)
        first = at if span.start else torch.full_like(at, OVERLAP)
        last = at.flip(0) if span.stop < length else torch.full_like(at, OVERLAP)
        sides.append((torch.minimum(first, last) / (OVERLAP / 2)).clamp(max=1))
    return sides[0][:, None] * sides[1]


def to_bytes(x: Tensor) -> RGB:
    """(1, 3, H, W) in [-1, 1] → (H, W, 3) uint8."""
    image = (x[0].clamp(-1, 1).permute(1, 2, 0).cpu().numpy() + 1) * 127.5
    return np.ascontiguousarray((image + 0.5).astype(np.uint8))


def enlarged(image: RGB, size: tuple[int, int]) -> RGB:
    """The input at the result's size (width, height): what the result is compared with."""
    if image.shape[1::-1] == size:
        return image
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)
