"""What a thing looks like: its colours by the eleven basic colour terms, and its size beside others.

Terms: Berlin & Kay, "Basic Color Terms", 1969. Each is a range of CIELAB (D65); the ranges overlap, since one fur is
brown to one and orange to another. They were fitted to 83 objects labelled by eye (benchmarks/colours.py says how often
they are right on others).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restore.grounding.grounder import Image, Instance, Mask
from restore.grounding.words import COLOURS, LARGE, SHADES, SMALL

SHARE = 0.18  # of a thing's pixels that must be of a colour for the thing to be called so
SIDE = 256  # long side at which colours are counted
EDGE = 5  # pixels of that size along the outline that may be of the surroundings
DARK, LIGHT = 42.0, 58.0  # mean lightness up to and from which a colour is dark or light
ALIKE = 1.5  # areas within this ratio are of one size


@dataclass(frozen=True)
class Range:
    """Of CIELAB: lightness in [0, 100], chroma ≥ 0, and hue in degrees, counted upwards beyond 360."""

    lightness: tuple[float, float]
    chroma: tuple[float, float] = (0, 150)
    hue: tuple[float, float] = (0, 360)

    def holds(self, lightness: NDArray[np.floating], chroma: NDArray[np.floating], hue: NDArray[np.floating]) -> Mask:
        """Which colours lie in it; hue in degrees, any turn."""
        low, high = self.hue
        inside = (hue - low) % 360 <= high - low if high - low < 360 else np.ones_like(hue, np.bool_)
        for value, (least, most) in ((lightness, self.lightness), (chroma, self.chroma)):
            inside = inside & (value >= least) & (value <= most)
        return np.asarray(inside, np.bool_)


TERMS = {
    "black": Range((0, 37), (0, 12)),
    "grey": Range((28, 82), (0, 14)),
    "white": Range((64, 100), (0, 18)),
    "red": Range((12, 62), (34, 150), (340, 407)),
    "orange": Range((36, 85), (32, 150), (40, 85)),
    "yellow": Range((40, 100), (28, 150), (75, 110)),
    "green": Range((12, 95), (17, 150), (102, 197)),
    "blue": Range((10, 84), (12, 150), (179, 300)),
    "purple": Range((8, 72), (12, 150), (299, 345)),
    "pink": Range((45, 92), (11, 150), (320, 390)),
    "brown": Range((9, 62), (6, 52), (28, 100)),
}


def colours(image: Image, mask: Mask) -> dict[str, float]:
    """Share in [0, 1] of the masked pixels that each basic term may name; the ranges overlap, so they sum to more."""
    lab = _pixels(image, mask)
    return {term: float(inside.mean()) for term, inside in _named(lab).items()}


def is_like(image: Image, mask: Mask, attributes: Sequence[str]) -> bool:
    """Whether the thing in the mask (H, W) has all colours and shades among `attributes`; other words are not looked
    at."""
    lab = _pixels(image, mask)
    inside = _named(lab)
    said = [inside[COLOURS[word]] for word in attributes if word in COLOURS]
    if any(pixels.mean() < SHARE for pixels in said):
        return False
    lightness = float(lab[said[-1] if said else slice(None), 0].mean())
    shades = [word for word in attributes if word in SHADES]
    return all(lightness <= DARK if shade == "dark" else lightness >= LIGHT for shade in shades)


def fitting(image: Image, found: Sequence[Instance], attributes: Sequence[str]) -> list[Instance]:
    """The instances that have all the attributes; sizes are compared among those of the right colour."""
    kept = [i for i in found if is_like(image, i.mask, attributes)] if set(attributes) & LOOKED_AT else list(found)
    large, small = LARGE & set(attributes), SMALL & set(attributes)
    if (large or small) and len(kept) > 1:
        areas = [int(i.mask.sum()) for i in kept]
        middle = math.sqrt(max(areas) * min(areas))
        if max(areas) < ALIKE * min(areas):
            return []
        kept = [i for i, area in zip(kept, areas, strict=True) if (area > middle) == bool(large)]
    return kept


def counted(image: Image, found: Sequence[Instance], name: str) -> str:
    """What was found, in words: "1 bicycle, blue" or "2 dogs, black and white; brown"."""
    seen = "; ".join(" and ".join(_described(image, i.mask)) or "of no clear colour" for i in found[:3])
    return f"{len(found)} {name if len(found) == 1 else plural(name)}, {seen}"


def plural(name: str) -> str:
    """Of a noun, by the commonest rules."""
    if name.endswith(("s", "x", "ch", "sh")):
        return f"{name}es"
    return {"person": "people", "sheep": "sheep", "man": "men", "woman": "women", "child": "children"}.get(
        name, f"{name}s"
    )


LOOKED_AT = frozenset(COLOURS) | SHADES


def _described(image: Image, mask: Mask) -> list[str]:
    """The one or two terms that name most of the thing."""
    inside = _named(_pixels(image, mask))
    rest = np.ones_like(next(iter(inside.values())))
    terms: list[str] = []
    for _ in range(2):
        best = max(inside, key=lambda term: float((inside[term] & rest).mean()))
        if (inside[best] & rest).mean() >= SHARE:
            terms.append(best)
            rest &= ~inside[best]
    return terms


def _named(lab: NDArray[np.float32]) -> dict[str, Mask]:
    lightness, chroma = lab[:, 0], np.hypot(lab[:, 1], lab[:, 2])
    hue = np.degrees(np.arctan2(lab[:, 2], lab[:, 1]))
    return {term: area.holds(lightness, chroma, hue) for term, area in TERMS.items()}


def _pixels(image: Image, mask: Mask) -> NDArray[np.float32]:
    """(N, 3) CIELAB of the masked pixels at a small size, without those along the outline where enough are left."""
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    part: NDArray[Any] = image[y : y + h, x : x + w]
    inside: NDArray[Any] = mask[y : y + h, x : x + w].astype(np.uint8)
    if (scale := SIDE / max(1, w, h)) < 1:
        size = max(1, round(w * scale)), max(1, round(h * scale))
        part = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
        inside = cv2.resize(inside, size, interpolation=cv2.INTER_NEAREST)
    core = cv2.erode(inside, np.ones((EDGE, EDGE), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    inside = core if core.sum() > 0.5 * inside.sum() else inside
    lab = cv2.cvtColor(part.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return np.asarray(lab[inside > 0] if inside.any() else lab.reshape(-1, 3), np.float32)
