"""The embedded models that edit by words: one removes without a mask, one paints a named object into a shape."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import torch

from restore.edit.area import Area, Candidate, Mask, reduced, working_shape
from restore.edit.fillers import Filler, Order, as_tensor, pasted
from restore.edit.find import Region, part_of
from restore.edit.loop import PATIENCE
from restore.edit.request import Request
from restore.errors import InputError, ObjectNotFoundError
from restore.grounding.painting import paintable
from restore.images.geometry import mask_box
from restore.images.mask import check_mask
from restore.images.windows import Window
from restore.pipelines.paint.instruct import InstructPipeline
from restore.pipelines.paint.shape import ShapePipeline

BOX = 0.95  # share of its bounding box from which a mask is a box
FINE = 0.25  # precision of any other mask


class Instructor:
    """Where an instruction changes a photo, found by carrying it out (pipelines/paint/instruct.py)."""

    def __init__(self, pipeline: InstructPipeline) -> None:
        self.pipeline = pipeline

    def find(self, request: Request) -> Region:
        """The region that changes, inside the mask or box if one is given, and the network's proposal for it.

        The instruction is one to remove something. Raises ObjectNotFoundError where nothing changes.
        """
        photo, within = request.photo, request.given
        (said,) = request.said  # `request.to_inpaint` saw to it
        prompt, instruction = said.text, said.instruction
        height, width = photo.pixels.shape[:2]
        small = reduced(photo.overview.pixels, working_shape(Window(0, 0, width, height)))
        output = self.pipeline(as_tensor(small), prompt)
        proposal = (output.image[0].permute(1, 2, 0).numpy() * 255 + 0.5).astype(np.uint8)
        change = cv2.resize(output.change[0, 0].numpy(), (width, height), interpolation=cv2.INTER_LINEAR) > 0.5
        hole = change if within is None else change & within
        if not hole.any():
            raise ObjectNotFoundError(
                f"expected '{instruction.listed}' in the photo, but model 'instruct' changes nothing for it; "
                "say it differently, or use --model builtin"
            )
        check_mask(hole, photo.size)
        parts = (part_of(said.source, prompt, hole),)
        return Region(hole, parts, instruction=instruction, proposal=proposal)


class ProposalFiller:
    """A finished proposal as the first candidate, fills of another model beside it and for all that is repaired."""

    def __init__(self, base: Filler) -> None:
        self.base, self.side, self.patience = base, base.side, base.patience

    def fill(self, area: Area, todo: Mask, order: Order) -> list[Candidate]:
        if order.proposal is None or order.index > 1:
            return self.base.fill(area, todo, order)
        image = np.where(todo[..., None], order.proposal, area.image)
        if order.on_candidate is not None:
            order.on_candidate(0)
        count = order.settings.candidates - 1
        if not count:
            return [Candidate(image, 1.0)]
        rest = self.base.fill(area, todo, replace(order, settings=order.settings.updated(candidates=count)))
        return [Candidate(image, rest[0].confidence), *rest]


class ShapeFiller:
    """Paints the object that the instruction names into the hole (pipelines/paint/shape.py)."""

    def __init__(self, pipeline: ShapePipeline, base: Filler) -> None:
        """base: fills the place of an object that is replaced."""
        self.pipeline, self.base, self.side, self.patience = pipeline, base, base.side, PATIENCE

    def fill(self, area: Area, todo: Mask, order: Order) -> list[Candidate]:
        """Every candidate is a variant of its own noise."""
        instruction, settings = order.instruction, order.settings
        if instruction is None or instruction.subject is None:
            raise InputError("expected an instruction to add or replace something, got none; say what to paint")
        background = area.image
        if instruction.action == "replace" or instruction.described:
            alone = replace(order, settings=settings.updated(candidates=1), on_candidate=None)
            background = self.base.fill(area, area.hole, alone)[0].image
        candidates = []
        for k in range(settings.candidates):
            output = self.pipeline(
                as_tensor(background),
                torch.from_numpy(area.hole)[None, None].float(),
                paintable(instruction.subject),
                precision=_precision(area.hole) if settings.shape_precision is None else settings.shape_precision,
                generator=order.generator(k),
            )
            candidates.append(Candidate(pasted(area.image, output.image[0], todo), output.confidence))
            if order.on_candidate is not None:
                order.on_candidate(k)
        return candidates


def _precision(hole: Mask) -> float:
    """Of a shape whose precision nobody stated: a box is coarse, what was drawn or found is fine."""
    _, _, w, h = mask_box(hole)
    return 1.0 if hole.sum() >= BOX * w * h else FINE
