"""Instructions → masks: find what a sentence names in a photo, choose what it means, say what was found instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from restore.errors import InputError, ModelUnavailableError, ObjectNotFoundError
from restore.grounding.attributes import counted, fitting
from restore.grounding.finder import ObjectFinder
from restore.grounding.grounder import Image, Instance, Mask
from restore.grounding.meaning import Instruction
from restore.grounding.overlays import OverlayFinder
from restore.grounding.selection import Extent, select
from restore.grounding.words import OPINIONS
from restore.images.mask import united

SURE = 0.8  # score from which what was found need not be asked about (benchmarks/README.md: how often it is wrong)
WITHIN = 0.5  # share of some text that must lie on a thing to be its text


@dataclass(frozen=True)
class Finders:
    """What finds things in a photo: objects by name, and what is laid over it (None: nothing does)."""

    objects: ObjectFinder
    overlays: OverlayFinder | None = None


@dataclass(frozen=True)
class Grounded:
    """What an instruction means in a photo: the chosen instances, best first and not empty, and the others of the same
    names; least: score of the least certain chosen one that is an object, not an overlay."""

    instruction: Instruction
    chosen: list[Instance]
    others: list[Instance]
    least: float = 1.0

    @property
    def mask(self) -> Mask:
        """(H, W): the chosen instances, or for "keep" everything else."""
        union = united([i.mask for i in self.chosen])
        return ~union if self.instruction.action == "keep" else union

    @property
    def score(self) -> float:
        """Of the least certain chosen instance, in [0, 1]."""
        return min(i.score for i in self.chosen)

    @property
    def sure(self) -> bool:
        """Whether to go on without asking. What is laid over a photo is named by how it looks: that is not asked."""
        return self.least >= SURE

    @property
    def candidates(self) -> list[dict[str, Any]]:
        """Everything of these names, for a report: score, box x, y, w, h, and whether it was chosen; best first."""
        told = [
            (i, any(i is c for c in self.chosen)) for i in sorted([*self.chosen, *self.others], key=lambda i: -i.score)
        ]
        return [{"score": round(i.score, 4), "box": list(_box(i).box), "chosen": chosen} for i, chosen in told]


def ground(image: Image, instruction: Instruction, finders: Finders) -> Grounded:
    """Find in `image` (H, W, 3) RGB what the instruction means: each thing of its list.

    Raises:
        InputError: the instruction adds something that is not there yet.
        ObjectNotFoundError: a thing is not there, not so many times, or not as it is said to be.
        ModelUnavailableError: something laid over the photo is meant, and nothing here finds it.
    """
    if instruction.action == "add":
        raise InputError(f"expected an object that is in the photo, got '{instruction.subject}', which is to be added")
    chosen: list[Instance] = []
    others: list[Instance] = []
    least = 1.0
    for thing in instruction.things:
        found = named(image, thing, finders)
        size = image.shape[1], image.shape[0]
        related = None
        if thing.relation is not None:
            related = named(image, thing.relation.target, finders)
            if thing.overlay is not None and thing.relation.kind in ("at", "in", "on"):
                found, related = _written_on(found, related), None
                thing = replace(thing, relation=None)
        _check_opinions(thing, found)
        boxes = [_box(i) for i in related] if related is not None else None
        keep = select([_box(i) for i in found], thing, size, boxes) if found else []
        if not keep:
            raise ObjectNotFoundError(_missing(image, thing, found, finders))
        chosen += [found[i] for i in keep]
        if thing.overlay is None:
            least = min([least, *(found[i].score for i in keep)])
        others += [instance for i, instance in enumerate(found) if i not in keep]
    return Grounded(instruction, chosen, others, least)


def named(image: Image, thing: Instruction, finders: Finders) -> list[Instance]:
    """Everything in `image` (H, W, 3) that the thing's words fit, wherever it is, best first. Raises as `ground`."""
    if thing.overlay is None:
        return finders.objects.named(image, thing.phrase)
    if finders.overlays is None:
        raise ModelUnavailableError(
            f"expected something that finds '{thing.object}' in photos, there is none here; "
            "show it with a mask, box or point"
        )
    found = finders.overlays.laid_over(image, thing.overlay.kinds)
    return fitting(image, found, thing.modifiers)


def _written_on(found: list[Instance], things: Sequence[Instance]) -> list[Instance]:
    """What of an overlay lies on one of the things, which reach as far as their boxes."""
    inside: list[Instance] = []
    for thing in things:
        x, y, w, h = _box(thing).box
        for instance in found:
            part = np.zeros_like(instance.mask)
            part[y : y + h, x : x + w] = instance.mask[y : y + h, x : x + w]
            if part.sum() >= WITHIN * instance.mask.sum():
                inside.append(Instance(part, min(instance.score, thing.score)))
    return inside


def _missing(image: Image, thing: Instruction, found: Sequence[Instance], finders: Finders) -> str:
    """Why nothing was chosen, and what was found instead."""
    advice = "name it differently or give a mask, box or point"
    if not found and thing.modifiers and thing.overlay is None:
        found = finders.objects.named(image, thing.object)
        if found:
            return f"expected '{thing.phrase}' in the photo, found {counted(image, found, thing.object)}; {advice}"
    if found:
        where = "at that place" if thing.relation is None else "so placed"
        return f"expected '{thing.phrase}' {where}, found {counted(image, found, thing.object)} elsewhere; {advice}"
    return f"expected '{thing.phrase}' in the photo, found none; {advice}"


def _check_opinions(thing: Instruction, found: Sequence[Instance]) -> None:
    """Raises ObjectNotFoundError where an opinion ("the ugly one") would have to tell things apart."""
    opinions = [word for word in thing.modifiers if word in OPINIONS]
    if opinions and thing.quantity == "one" and len(found) > 1 and not (thing.selector or thing.relation):
        raise ObjectNotFoundError(
            f"expected one '{thing.object}', found {len(found)}: which is '{opinions[0]}' cannot be seen; "
            "say where it is or give a mask, box or point"
        )


def _box(instance: Instance) -> Extent:
    x, y, w, h = cv2.boundingRect(instance.mask.astype(np.uint8))
    return Extent((x, y, w, h), int(instance.mask.sum()), instance.score)
