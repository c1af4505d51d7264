"""Finders by name: "clipseg", "grounding-dino+sam", "owlv2+sam2", "sam3", or local folders."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from restore.errors import InputError
from restore.grounding.finder import ObjectFinder
from restore.grounding.grounder import Image, Instance, Mask
from restore.grounding.hub_models import MASK, Loaded, Named, Scored, prompted

FOUND = 0.3  # least score of an object that counts as found
SAME = 0.6  # boxes and masks overlapping this much (IoU) are one object
LEAST_FILLED = 0.1  # share of a box that a click in its middle must find to be believed
LEAST_AREA = 0.0004  # smaller specks are not objects (share of the photo)


class HubFinder:
    """Words by one network, masks by another; what neither does, the embedded finder does.

    words: what finds, and its function; masks: a SAM. Boxes without a SAM are filled by the embedded finder's click in
    their middle. Deterministic.
    """

    def __init__(self, embedded: ObjectFinder, words: tuple[Loaded, Named] | None, masks: Loaded | None) -> None:
        self.embedded, self.words, self.masks = embedded, words, masks

    @torch.inference_mode()
    def named(self, image: Image, phrase: str) -> list[Instance]:
        if self.words is None:  # a SAM alone outlines what the embedded grounder finds
            found = self.embedded.named(image, phrase)
            return [Instance(self._outlined(image, _box(i.mask), i.mask), i.score) for i in found]
        model, find = self.words
        found_parts: list[tuple[NDArray[np.float32], float]] = []
        for part, score in find(model, image, phrase):
            found_parts += _split(part, score) if part.ndim == 2 else [(part, score)]
        kept = _distinct([p for p in found_parts if p[1] >= FOUND], image.shape)
        instances = [Instance(self._mask(image, part), score) for part, score in kept]
        return [i for i in instances if i.mask.any()]

    @torch.inference_mode()
    def at(self, image: Image, point: tuple[int, int]) -> Instance:
        if self.masks is None:
            return self.embedded.at(image, point)
        mask, score = prompted(self.masks, image, point=point)
        if not mask.any():
            raise InputError(
                f"expected an object at {point[0]},{point[1]}, found none; click on its middle or give a mask"
            )
        return Instance(mask, score)

    def _mask(self, image: Image, part: NDArray[np.float32]) -> Mask:
        """The mask of a box, or of a probability map."""
        if part.ndim == 2:
            mask = part >= MASK
            return self._outlined(image, _box(mask), mask)
        height, width = image.shape[:2]
        x0, y0, x1, y1 = box = np.clip(part, 0, [width, height, width, height]).astype(np.float32)
        inside = np.zeros((height, width), bool)
        inside[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = True
        if self.masks is not None or not inside.any():
            return self._outlined(image, box, inside)
        middle = min(width - 1, int(x0 + x1) // 2), min(height - 1, int(y0 + y1) // 2)
        clicked = self.embedded.at(image, middle).mask & inside
        return clicked if clicked.sum() > LEAST_FILLED * inside.sum() else inside

    def _outlined(self, image: Image, box: NDArray[np.float32], otherwise: Mask) -> Mask:
        """What the SAM sees in a box; `otherwise` where there is no SAM, nothing in the box or nothing seen."""
        if self.masks is None or not otherwise.any():
            return otherwise
        mask, _ = prompted(self.masks, image, box=box)
        return mask if mask.any() else otherwise


def _split(probability: NDArray[np.float32], score: float) -> list[Scored]:
    """A probability map (H, W) as one map for each connected object."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((probability >= MASK).astype(np.uint8))
    parts = [labels == i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] >= LEAST_AREA * probability.size]
    return [(probability * part, min(score, float(probability[part].max()))) for part in parts]


def _distinct(found: Sequence[Scored], shape: tuple[int, ...]) -> list[Scored]:
    """Best first, without those that overlap a better one (greedy non-maximum suppression)."""
    kept: list[Scored] = []
    for part, score in sorted(found, key=lambda f: -f[1]):
        if all(_overlap(part, other, shape) < SAME for other, _ in kept):
            kept.append((part, score))
    return kept


def _overlap(a: NDArray[np.float32], b: NDArray[np.float32], shape: tuple[int, ...]) -> float:
    """IoU of two boxes or two probability maps."""
    if a.ndim == 2:
        one, other = a >= MASK, b >= MASK
        return float((one & other).sum() / max(1, (one | other).sum()))
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    both = float(np.prod((high - low).clip(0)))
    return both / max(1e-6, float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - both)


def _box(mask: Mask) -> NDArray[np.float32]:
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    return np.array([x, y, x + w, y + h], np.float32)
