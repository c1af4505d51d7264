"""Other people's models as fillers: words for them, crops at their size, only hole pixels pasted back."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch

from restore.edit.area import SIDE, Area, Candidate, Mask
from restore.edit.fillers import Order, pasted
from restore.edit.loop import PATIENCE
from restore.grounding.instruction import Instruction
from restore.pipelines.hub.crop import around, changed, grown, matched, shrunk
from restore.pipelines.hub.inpaint import BlankedError, Painter

BACKGROUND = "empty background, nothing but the surroundings continued, natural photograph"
UNWANTED = "object, text, watermark, frame"
BETWEEN = {"near": "next to", "left": "to the left of", "right": "to the right of", "front": "in front of"}

log = logging.getLogger("restore")


@dataclass(frozen=True)
class Words:
    """What a model is told."""

    prompt: str
    negative: str


def words_for(instruction: Instruction | None, *, instructed: bool, at: str = "") -> Words:
    """A prompt of what shall be seen, or, where the model is `instructed`, the instruction itself.

    Removing is asking for background, with the names of the objects as the negative prompt. A description is passed on
    as it is. at: where in the crop the hole is, for models that are told what to do and nothing was named.
    """
    if instruction is None:
        return Words(f"remove the object {at}".strip() if instructed else BACKGROUND, UNWANTED)
    names = list(dict.fromkeys(thing.phrase for thing in instruction.things))
    if instruction.subject is None:
        removal = "remove " + " and ".join(f"the {name}" for name in names)
        return Words(removal if instructed else BACKGROUND, ", ".join([*names, UNWANTED]))
    if instruction.described:
        return Words(instruction.subject, "")
    if instruction.action == "add":
        where = ""
        if instruction.relation is not None:
            kind, target = instruction.relation.kind, instruction.relation.target
            where = f" {BETWEEN.get(kind, kind)} the {target.phrase}"
        return Words(f"add {instruction.subject}{where}" if instructed else f"{instruction.subject}{where}", "")
    old = " and ".join(f"the {name}" for name in names)
    new = f"replace {old} with {instruction.subject}" if instructed else instruction.subject
    spoken = set(instruction.subject.split())  # "the car with a red car"
    return Words(new, ", ".join(t.phrase for t in instruction.things if not spoken & set(t.object.split())))


def place(todo: Mask) -> str:
    """Where a hole (h, w) is in the crop that a model sees, in words."""
    y, x = (float(axis.mean() / side) for axis, side in zip(np.nonzero(todo), todo.shape, strict=True))
    row = "top " if y < 1 / 3 else "bottom " if y > 2 / 3 else ""
    column = "left" if x < 1 / 3 else "right" if x > 2 / 3 else ""
    if row and not column:
        return f"at the {row.strip()} of the picture"
    return f"in the {row}{column or 'middle'} of the picture"


class PainterFiller:
    """A `Painter` as a `Filler`: one candidate at a time, each from its own generator."""

    def __init__(self, painter: Painter, name: str) -> None:
        self.painter, self.name, self.side = painter, name, max(SIDE, painter.size)
        self.patience = PATIENCE
        self.told: set[str] = set()

    def fill(self, area: Area, todo: Mask, order: Order) -> list[Candidate]:
        seen = todo[around(todo, self.painter.size)]
        words = words_for(order.instruction, instructed=self.painter.instructed, at=place(seen))
        self._tell(words, order.instruction)
        candidates, blank = [], None
        for k in range(order.settings.candidates):
            try:
                candidates.append(self._candidate(area, todo, words, order.generator(k), order))
            except BlankedError as error:  # another seed may pass
                log.warning("%s", error)
                blank = error
            if order.on_candidate is not None:
                order.on_candidate(k)
        if blank is not None and not candidates:
            raise blank
        return candidates

    def _candidate(self, area: Area, todo: Mask, words: Words, generator: torch.Generator, order: Order) -> Candidate:
        painter, part = self.painter, around(todo, self.painter.size)
        image, hole = area.image[part], todo[part]
        small, mask = shrunk(image, hole, painter.shape_for(hole.shape))
        drawn = painter(
            small,
            mask,
            words.prompt,
            words.negative,
            generator=generator,
            num_inference_steps=order.settings.steps,
            on_step=order.on_step,
        )
        new, agreement = matched(image, grown(drawn, hole.shape), hole)
        if painter.edits:
            hole = changed(image, new, hole)
            if not hole.any():
                log.warning("%s left the hole as it was; say it otherwise or use an inpainting model", self.name)
        out = area.image.copy()
        out[part] = pasted(image, torch.from_numpy(new).permute(2, 0, 1), hole)
        return Candidate(out, agreement)

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
