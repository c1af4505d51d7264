"""After an edit: is what should be gone gone, is what should be there there?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from restore.edit.area import Area, Image, Mask
from restore.errors import ObjectNotFoundError
from restore.grounding.grounder import Instance
from restore.pipelines.fill.transforms import NONE, Transforms

GONE = 0.05  # share of the hole that may still look like the object: smaller finds are specks
INSIDE = 0.5  # share of a found object that must lie in the shape it was painted into
Look = Callable[[Image], list[Instance]]


@dataclass(frozen=True)
class Presence:
    """What the grounder finds of `name` inside the edited region.

    found: its pixels there, per area and at working size (h, w); share: of the region, in [0, 1]; wanted: whether it
    should be there.
    """

    name: str
    found: list[Mask]
    share: float
    wanted: bool

    @property
    def right(self) -> bool:
        """Gone if it should be gone, there if it should be there."""
        return (self.share > GONE) == self.wanted

    @property
    def sentence(self) -> str:
        """The finding in words."""
        if self.wanted:
            return f"'{self.name}' is found in the shape" if self.right else f"'{self.name}' is not found in the shape"
        if self.right:
            return f"'{self.name}' is no longer found there"
        return f"'{self.name}' is still found in {self.share:.0%} of the region"

    def better(self, other: Presence) -> bool:
        return self.share > other.share if self.wanted else self.share < other.share


def presence(look: Look, areas: Sequence[Area], name: str, *, wanted: bool) -> Presence | None:
    """Whether `look`, which finds `name`, finds it in the holes of edited areas. None if it does not know the word."""
    found: list[Mask] = []
    for area in areas:
        try:
            instances = look(area.image)
        except ObjectNotFoundError:
            return None
        inside = [i.mask & area.hole for i in instances if (i.mask & area.hole).sum() >= INSIDE * i.mask.sum()]
        found.append(np.any([np.zeros_like(area.hole), *inside], axis=0))
    total = sum(int(area.hole.sum()) for area in areas)
    return Presence(name, found, sum(int(f.sum()) for f in found) / max(1, total), wanted)


def copied_from(areas: Sequence[Area], found: Sequence[Mask], shape: tuple[int, ...]) -> Mask:
    """The pixels of a photo of `shape` (H, W) that the found objects were copied from: barred from the next try."""
    barred = np.zeros(shape[:2], np.bool_)
    for area, mask in zip(areas, found, strict=True):
        if area.source is None or not mask.any():
            continue
        h, w = mask.shape
        y, x = np.nonzero(mask)
        kind, *shift = area.source[mask].T
        copied = np.flatnonzero(kind != NONE)
        moves = Transforms(kind[copied], np.stack(shift, 1)[copied])
        rows, columns = moves.apply(np.arange(len(copied)), np.stack([y, x], 1)[copied]).T
        rows, columns = rows.clip(0, h - 1), columns.clip(0, w - 1)
        small = np.zeros((h, w), np.uint8)
        small[rows, columns] = 1
        small = cv2.morphologyEx(small, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)).astype(np.uint8)
        large = cv2.resize(small, (area.window.w, area.window.h), interpolation=cv2.INTER_NEAREST)
        barred[area.window.slices] |= large > 0
    return barred
