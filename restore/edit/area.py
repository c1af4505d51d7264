"""What the loop works on: windows of the photo, their fills, and what became of each pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restore.images.geometry import fitted
from restore.images.huge import AnyPhoto
from restore.images.photo import Pixels
from restore.images.windows import Window, windows
from restore.pipelines.fill.enlarge import Source, enlarge
from restore.quality.judges.judge import Judgement

SIDE = 512  # long side, pixels, up to which a window is filled and judged at its own size; only winners are enlarged
Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Heard:
    """What a model that hears words was told: "" = nothing. strength: 1 = it began from noise, less = from the fill
    that was there, None = it has none."""

    prompt: str
    negative: str
    strength: float | None


@dataclass(frozen=True)
class Candidate:
    """One fill of a window: image (h, w, 3), mean confidence over the hole; heard: what its model was told.

    source (h, w, 3): where each filled pixel was copied from (pipelines/fill/enlarge.py), None where a model made the
    pixels: a window that is worked on at a reduced size is enlarged with the photo's own detail either way.
    """

    image: Image
    confidence: float
    source: Source | None = None
    heard: Heard | None = None


@dataclass(frozen=True)
class PassRecord:
    """One pass over all holes; numbers are those of its best fills, kept or not. heard: what the model was told for
    them."""

    index: int
    par_hole: float
    par_image: float
    quality: float
    confidence: float
    accepted: bool
    seconds: float
    heard: list[Heard] = field(default_factory=list)


@dataclass(frozen=True)
class Area:
    """One window of the photo and the best fill of it so far, at working size; `judgement` is None before the first
    pass.

    hole (h, w), image (h, w, 3): the window's size, or reduced to what the model works on; a pixel with any of the hole
    in it is hole. source (h, w, 3): where the pixels came from, None while they are the photo's own; heard: what a
    model was told for them.
    """

    window: Window
    hole: Mask
    image: Image
    judgement: Judgement | None = None
    confidence: float = 0.0
    source: Source | None = None
    heard: Heard | None = None

    def bad(self) -> Mask:
        """Pixels to fill next: the whole hole at first, then its artifacts, dilated (5×5, scaled to the window)."""
        if self.judgement is None:
            return self.hole
        size = 2 * max(1, round(max(self.hole.shape) / 64)) + 1
        grown = cv2.dilate(self.judgement.artifacts.astype(np.uint8), np.ones((size, size), np.uint8))
        return self.hole & (grown > 0)


@dataclass(frozen=True)
class Outcome:
    """`history` holds the areas as they stood after each pass, `proposed` the best it tried, kept or not.

    `stop` is "threshold", "budget" (all passes were made), "time" or "no-gain".
    """

    passes: list[PassRecord]
    stop: str
    history: list[list[Area]]
    proposed: list[list[Area]]

    @property
    def areas(self) -> list[Area]:
        """The best of every area."""
        return self.history[-1] if self.history else []


def areas_of(image: Pixels, mask: Mask, side: int = SIDE) -> list[Area]:
    """The windows of a photo (H, W, 3) that hold its holes (H, W), reduced to long sides of `side` at most; crops are
    copies."""
    found = []
    for window in windows(mask):
        shape, inside = working_shape(window, side), window.slices
        found.append(Area(window, reduced(mask[inside], shape), reduced(image[inside], shape)))
    return found


def working_shape(window: Window, side: int = SIDE) -> tuple[int, int]:
    """(h, w) at which a window is filled and judged."""
    return fitted((window.h, window.w), side)


def reduced(crop: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """A copy of a window's crop at `shape` (h, w): means of colours (uint8) or costs, of a mask any true pixel."""
    if shape == crop.shape[:2]:
        return crop.copy()
    if crop.dtype == np.bool_:
        return cv2.resize(crop.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA) > 0
    return cv2.resize(crop, shape[::-1], interpolation=cv2.INTER_AREA)


def rendered(area: Area, photo: Pixels, mask: Mask) -> Image:
    """The area's fill at the size of its window, from the photo (H, W, 3) and its hole (H, W)."""
    if area.image.shape[:2] == (area.window.h, area.window.w):
        return area.image
    if area.source is None:  # nothing was filled
        return photo[area.window.slices]
    return enlarge(photo[area.window.slices], mask[area.window.slices], area.image, area.source)


def edited(photo: AnyPhoto, areas: Sequence[Area], hole: Mask) -> AnyPhoto:
    """The photo with the hole pixels of every area pasted in."""

    def patches() -> Iterator[tuple[tuple[slice, slice], NDArray[np.uint8], Mask]]:
        for area in areas:
            inside = area.window.slices
            yield inside, rendered(area, photo.pixels, hole), hole[inside]

    return photo.with_patches(patches())
