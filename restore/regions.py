"""Where to repaint: from words, a mask, a box or a point to pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore.engine import Image, Mask
from restore.errors import InputError, ObjectNotFoundError
from restore.grounding.grounder import Grounder, Instance
from restore.grounding.instruction import Instruction, parse
from restore.grounding.selection import Candidate as Found
from restore.grounding.selection import select
from restore.grounding.vocabulary import Vocabulary
from restore.image import Photo
from restore.mask import box_mask, check_mask, check_point, load_mask, mask_box
from restore.region import grow_mask

PENALTY = 0.5  # cost of copying from another detected object, in units of the shift map's colour steps
LEAST_SIDE = 8  # smaller photos hold nothing to copy from

AnyMask = Any


@dataclass(frozen=True)
class Region:
    """Where to repaint: hole (H, W); source: where that came from; barred (H, W): pixels never copied from;
    penalty (H, W) ≥ 0: cost of copying a pixel; instruction: what the prompt said."""

    hole: Mask
    source: str
    barred: Mask | None = None
    penalty: NDArray[np.float32] | None = None
    instruction: Instruction | None = None


class RegionFinder:
    """Finds what a request means in a photo."""

    def __init__(self, grounder: Grounder) -> None:
        self.grounder = grounder

    def ground(self, pixels: Image, instruction: Instruction) -> tuple[list[Instance], list[Instance]]:
        """(chosen instances, the others of the same name). Raises ObjectNotFoundError."""
        found = self._named(pixels, instruction.phrase)
        related = None
        if instruction.relation is not None:
            related = [_found(i) for i in self._named(pixels, instruction.relation.target.phrase)]
        size = (pixels.shape[1], pixels.shape[0])
        keep = select([_found(i) for i in found], instruction, size, related) if found else []
        if not keep:
            raise ObjectNotFoundError(
                f"expected '{instruction.object}' in the photo, found none; "
                "name it differently or give a mask, box or point"
            )
        return [found[i] for i in keep], [f for i, f in enumerate(found) if i not in keep]

    def _named(self, pixels: Image, phrase: str) -> list[Instance]:
        entry = Vocabulary.load().lookup(phrase)
        return self.grounder.find(pixels, entry.classes, entry.person)

    def find(
        self, photo: Photo, prompt: str | None, mask: AnyMask, box: Sequence[int] | None, point: Sequence[int] | None
    ) -> Region:
        if sum(x is not None for x in (mask, box, point)) > 1:
            raise InputError("expected at most one of mask, box and point, got several; keep one")
        if prompt is None and mask is None and box is None and point is None:
            raise InputError("expected a prompt, mask, box or point that says what to remove, got none")
        if min(photo.size) < LEAST_SIDE:
            raise InputError(
                f"expected a photo of at least {LEAST_SIDE}×{LEAST_SIDE} pixels, got {photo.size[0]}×{photo.size[1]}"
            )
        pixels, barred, instruction = photo.pixels, None, None
        given = (
            load_mask(mask, photo.size) if mask is not None else box_mask(box, photo.size) if box is not None else None
        )
        if prompt is not None:
            instruction = parse(prompt)
            chosen, others = self.ground(pixels, instruction)
            if given is not None:
                chosen = [i for i in chosen if (i.mask & given).sum() > 0.5 * i.mask.sum()]
                if not chosen:
                    raise ObjectNotFoundError(
                        f"expected '{instruction.object}' inside the given region, found none there"
                    )
            hole = grow_mask(np.any([i.mask for i in chosen], axis=0), pixels)
            if others:
                barred = np.any([i.mask for i in others], axis=0) & ~hole
            source = "prompt"
        elif point is not None:
            hole, source = grow_mask(self.grounder.at(pixels, check_point(point, photo.size)).mask, pixels), "point"
        else:
            assert given is not None  # one of prompt, mask, box and point was given
            hole, source = given, "mask" if mask is not None else "box"
        check_mask(hole, photo.size)
        alive = self._alive(pixels)
        penalty = (alive & ~hole).astype(np.float32) * PENALTY if alive.any() else None
        return Region(hole, source, barred, penalty, instruction)

    def _alive(self, pixels: Image) -> Mask:
        """People and animals: a fill that copies them puts a second head or tail where none was."""
        looks = self.grounder.look(pixels)
        found = self.grounder.find_in(looks, (), True)
        found += self.grounder.find_in(looks, Vocabulary.load().lookup("animal").classes, False)
        return np.any([np.zeros(pixels.shape[:2], bool), *(i.mask for i in found)], axis=0)


def _found(instance: Instance) -> Found:
    return Found(mask_box(instance.mask), int(instance.mask.sum()), instance.score)
