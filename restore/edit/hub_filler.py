"""Other people's models as fillers: words for them, crops at their size, only hole pixels pasted back."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch

from restore.edit.area import SIDE, Area, Candidate, Heard, Mask
from restore.edit.fillers import Order, pasted
from restore.edit.loop import PATIENCE
from restore.grounding.instruction import Instruction
from restore.hub.prompts import AVOIDED, DONE, SHOWN, filled
from restore.pipelines.hub.crop import around, changed, grown, matched, shrunk
from restore.pipelines.hub.inpaint import BlankedError, Painter, Picture

NONE: Mapping[str, str] = MappingProxyType({})
BETWEEN = {"near": "next to", "left": "to the left of", "right": "to the right of", "front": "in front of"}

log = logging.getLogger("restore")


@dataclass(frozen=True)
class Words:
    """What a model is told."""

    prompt: str
    negative: str


def words_for(
    instruction: Instruction | None,
    *,
    instructed: bool,
    at: str = "",
    prompts: Mapping[str, str] = NONE,
    negatives: Mapping[str, str] = NONE,
) -> Words:
    """A prompt of what shall be seen, or, where the model is `instructed`, the instruction itself.

    Removing is asking for background, with the names of the objects as the negative prompt. A description is passed on
    as it is. at: where in the crop the hole is, for models that are told what to do and nothing was named. prompts,
    negatives: the model's own templates by task (hub/prompts.py).
    """
    if instruction is not None and instruction.described:
        return Words(instruction.subject or "", "")
    names = [] if instruction is None else list(dict.fromkeys(thing.phrase for thing in instruction.things))
    things = " and ".join(f"the {name}" for name in names) or f"the object {at}".strip()
    slots = {"things": things, "subject": "", "where": ""}
    task = "remove"
    if instruction is not None and instruction.subject is not None:
        task, slots["subject"] = "paint" if instruction.action == "add" else "replace", instruction.subject
        if task == "paint" and instruction.relation is not None:
            kind, target = instruction.relation.kind, instruction.relation.target
            slots["where"] = f" {BETWEEN.get(kind, kind)} the {target.phrase}"
        spoken = set(instruction.subject.split())  # "the car with a red car"
        names = [thing.phrase for thing in instruction.things if not spoken & set(thing.object.split())]
    slots["names"] = ", ".join(names)
    prompt = prompts.get(task, (DONE if instructed else SHOWN)[task])
    return Words(filled(prompt, slots), filled(negatives.get(task, AVOIDED[task]), slots))


def place(todo: Mask) -> str:
    """Where a hole (h, w) is in the crop that a model sees, in words."""
    y, x = (float(axis.mean() / side) for axis, side in zip(np.nonzero(todo), todo.shape, strict=True))
    row = "top " if y < 1 / 3 else "bottom " if y > 2 / 3 else ""
    column = "left" if x < 1 / 3 else "right" if x > 2 / 3 else ""
    if row and not column:
        return f"at the {row.strip()} of the picture"
    return f"in the {row}{column or 'middle'} of the picture"


class PainterFiller:
    """A `Painter` as a `Filler`: every candidate from its own generator. prompts, negatives: the model's own words."""

    def __init__(
        self, painter: Painter, name: str, prompts: Mapping[str, str] = NONE, negatives: Mapping[str, str] = NONE
    ) -> None:
        self.painter, self.name, self.side = painter, name, max(SIDE, painter.size)
        self.prompts, self.negatives = prompts, negatives
        self.patience = PATIENCE
        self.told: set[str] = set()

    def fill(self, area: Area, todo: Mask, order: Order) -> list[Candidate]:
        """A pass over a fill that is there begins from it, at the model's lower strength."""
        painter, part, steps = self.painter, around(todo, self.painter.size), order.settings.steps
        image, hole = area.image[part], todo[part]
        words = words_for(
            order.instruction,
            instructed=painter.instructed,
            at=place(hole),
            prompts=self.prompts,
            negatives=self.negatives,
        )
        self._tell(words, order.instruction)
        strength = painter.strength_for(steps, mend=area.judgement is not None)
        heard = Heard(words.prompt, words.negative if painter.negative else "", strength) if painter.speaks else None
        drawn = painter.several(
            *shrunk(image, hole, painter.shape_for(hole.shape)),
            words.prompt,
            words.negative,
            generators=[order.generator(k) for k in range(order.settings.candidates)],
            num_inference_steps=steps,
            strength=strength,
            on_step=order.on_step,
        )
        candidates, blank = [], None
        for k, picture in enumerate(drawn):
            if isinstance(picture, BlankedError):  # another seed may pass
                log.warning("%s", picture)
                blank = picture
            else:
                candidates.append(self._candidate(area, part, hole, picture, heard))
            if order.on_candidate is not None:
                order.on_candidate(k)
        if blank is not None and not candidates:
            raise blank
        return candidates

    def _candidate(
        self, area: Area, part: tuple[slice, slice], hole: Mask, drawn: Picture, heard: Heard | None
    ) -> Candidate:
        image = area.image[part]
        new, agreement = matched(image, grown(drawn, hole.shape), hole)
        if self.painter.edits:
            hole = changed(image, new, hole)
            if not hole.any():
                log.warning("%s left the hole as it was; say it otherwise or use an inpainting model", self.name)
        out = area.image.copy()
        out[part] = pasted(image, torch.from_numpy(new).permute(2, 0, 1), hole)
        return Candidate(out, agreement, heard=heard)

    def _tell(self, words: Words, instruction: Instruction | None) -> None:
        """Say once what the model cannot hear."""
        lost = ""
        if not self.painter.speaks and instruction is not None:
            lost = f"{self.name} hears no words: it fills the hole from its surroundings"
        elif words.negative and self.painter.speaks and not self.painter.negative:
            lost = f"{self.name} hears no negative prompt: '{words.negative}' is kept out by the prompt alone"
        if lost and lost not in self.told:
            self.told.add(lost)
            log.info(lost)
