"""Faded dyes: what was black and white in each channel, and straight curves that bring it back.

A dye that fades maps [0, 1] to [black, white], each channel to its own. No pixel can lie outside, so the darkest and
brightest that a photo has bound both from inside; how far channels are believed apart is a matter of how often scenes
themselves lack a white or black of some colour (benchmarks/old_photos.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

BLACK, WHITE = 0.03, 0.97  # what photos usually begin and end with
TAIL = 5e-4  # share of pixels beyond each end: glints, and marks that were not found
LOW_APART, HIGH_APART = 0.5, 0.7  # share of the channels' differences that is the dyes', not the scene's
MOST_BLACK, LEAST_WHITE = 0.2, 0.75  # dyes fade no farther than this; beyond, the scene had no black or white
FADED, FADED_BESIDE = (0.1, 0.9), (0.06, 0.95)  # ends that no sound photo has; the same of one with other signs of age
TINT = 2.5 / 255  # rms distance of the channels of a photo of one tint from functions of their mean
SKIN = (133, 173), (77, 127)  # of Cr and Cb (Chai & Ngan, 1999), levels,
KEPT, LEAST = 0.8, 0.01  # share of it that must stay skin, share of the photo from which there is any


@dataclass(frozen=True)
class Tone:
    """Of one photo: darkest and brightest of each channel, (3,) in [0, 1]; whether it has one tint (grey, sepia)."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    tinted: bool

    def faded(self, beside: bool) -> bool:
        """Whether it has neither black nor white; beside: other signs of age make less do."""
        least, most = FADED_BESIDE if beside else FADED
        return bool(self.low.min() > least and self.high.max() < most)


@dataclass(frozen=True)
class Curves:
    """Per channel: black → BLACK and white → WHITE in a straight line, what is beyond squeezed in, nothing clipped."""

    black: tuple[float, ...]
    white: tuple[float, ...]

    def __call__(self, x: Tensor) -> Tensor:
        """(1, 3, H, W) in [-1, 1] → the same."""
        return torch.cat([self._channel((x[:, c : c + 1] + 1) / 2, c) for c in range(3)], 1) * 2 - 1

    def _channel(self, x: Tensor, c: int) -> Tensor:
        black, white = self.black[c], self.white[c]
        inside = BLACK + (x - black) * (WHITE - BLACK) / (white - black)
        below, above = x * BLACK / max(black, 1e-3), 1 - (1 - x) * (1 - WHITE) / max(1 - white, 1e-3)
        return torch.where(x < black, below, torch.where(x > white, above, inside)).clamp(0, 1)


def tone_of(x: Tensor, marks: NDArray[np.bool_]) -> Tone:
    """Of a photo (1, 3, H, W) in [-1, 1] where it has no marks (H, W); grain and specks do not count."""
    halved = min(x.shape[-2:]) > 64
    small = F.avg_pool2d(x, 2) if halved else x
    picture = (small[0].clamp(-1, 1).permute(1, 2, 0).cpu().numpy() * 127.5 + 128).astype(np.uint8)
    pixels = cv2.medianBlur(np.ascontiguousarray(picture), 3) / 255
    covered = cv2.resize(marks.astype(np.uint8), picture.shape[1::-1], interpolation=cv2.INTER_AREA) > 0
    seen = pixels.reshape(-1, 3) if covered.all() else pixels[~covered]
    low, high = np.quantile(seen, (TAIL, 1 - TAIL), axis=0)
    return Tone(low, high, _one_tint(x))


def curves_of(tones: Sequence[Tone], *, neutral: bool = False) -> Curves:
    """Of a photo or of all of one film, whose darkest and brightest are then the film's.

    One tint stays as it is unless it shall be `neutral`: all channels get one curve.
    """
    low, high = np.min([t.low for t in tones], 0), np.max([t.high for t in tones], 0)
    if all(t.tinted for t in tones):
        low_apart, high_apart = (1.0, 1.0) if neutral else (0.0, 0.0)
    else:
        low_apart, high_apart = LOW_APART, HIGH_APART
    return _curves(low, high, low_apart, high_apart)


def skin_kept(curves: Curves, x: Tensor) -> Curves:
    """The curves, of the channels nearer together as far as needed for skin in x to stay skin."""
    before = _skin(x)
    if before.mean() < LEAST:
        return curves
    black, white = np.array(curves.black), np.array(curves.white)
    for share in (1.0, 0.75, 0.5, 0.25):
        nearer = _between(black, white, share)
        if _skin(nearer(x))[before].mean() >= KEPT:
            return nearer
    return _between(black, white, 0.0)


def _curves(low: NDArray[np.float64], high: NDArray[np.float64], low_apart: float, high_apart: float) -> Curves:
    black, white = low.min() + low_apart * (low - low.min()), high.max() + high_apart * (high - high.max())
    black -= max(0.0, black.mean() - MOST_BLACK)
    white += max(0.0, LEAST_WHITE - white.mean())
    return Curves(tuple(black.clip(0).tolist()), tuple(white.clip(0, 1).tolist()))


def _between(black: NDArray[np.float64], white: NDArray[np.float64], share: float) -> Curves:
    mean = black.mean(), white.mean()
    ends = (m + share * (end - m) for m, end in zip(mean, (black, white), strict=True))
    return Curves(*(tuple(end.tolist()) for end in ends))


def _skin(x: Tensor) -> NDArray[np.bool_]:
    """(h, w), at about 256 pixels."""
    small = F.adaptive_avg_pool2d(x, (min(256, x.shape[-2]), min(256, x.shape[-1])))
    picture = (small[0].clamp(-1, 1).permute(1, 2, 0).cpu().numpy() * 127.5 + 128).astype(np.uint8)
    coded = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2YCrCb)
    inside = [(coded[..., i + 1] >= low) & (coded[..., i + 1] <= high) for i, (low, high) in enumerate(SKIN)]
    return np.asarray(inside[0] & inside[1] & (picture[..., 0] > picture[..., 1]))


def _one_tint(x: Tensor) -> bool:
    """Whether all colours lie on one curve through the cube of colours: a grey photo, or sepia."""
    small = F.adaptive_avg_pool2d(x, (min(128, x.shape[-2]), min(128, x.shape[-1])))
    pixels = ((small[0].flatten(1) + 1) / 2).T.double().cpu().numpy()
    mean = pixels.mean(1)
    basis = np.stack((np.ones_like(mean), mean, mean**2, mean**3), 1)
    rest = pixels - basis @ np.linalg.lstsq(basis, pixels, rcond=None)[0]
    return bool(np.sqrt(np.square(rest).mean()) < TINT)
