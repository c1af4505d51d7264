"""The Python API: an `Engine` that loads once and serves many calls, and one-call shortcuts.

>>> import restore
>>> result = restore.inpaint("photo.jpg", prompt="remove the cat")   # doctest: +SKIP
>>> result.save("clean.jpg")                                         # doctest: +SKIP
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, cached_property, partial
from typing import Any

import numpy as np

from restore.edit.area import Area, Candidate, Image, Mask, Outcome, PassRecord, areas_of, edited, reduced
from restore.edit.choose import check_instruction, check_models, default_settings, open_filler, open_finder, open_judge
from restore.edit.fillers import BuiltinFiller, DraftFiller, Filler, Order
from restore.edit.find import Region, RegionFinder, find_region
from restore.edit.instructed import Instructor, ProposalFiller, ShapeFiller
from restore.edit.loop import repair
from restore.edit.presence import Presence, copied_from, presence
from restore.errors import InputError, tell
from restore.features.expectation import ExpectationNet
from restore.features.lite0 import Lite0, trained_lite0
from restore.grounding.finder import EmbeddedFinder
from restore.grounding.grounder import Grounder
from restore.grounding.instruction import parse
from restore.images.huge import AnyPhoto, HugePhoto
from restore.images.inputs import AnyImage, any_photo_of, photo_of
from restore.images.mask import AnyMask, check_point, load_mask
from restore.measure.assessor import Assessor
from restore.pipelines.fill.builtin import BuiltinPipeline
from restore.pipelines.networks.coord import CoordNet
from restore.pipelines.networks.draft import DraftNet
from restore.pipelines.paint.instruct import InstructPipeline
from restore.pipelines.paint.shape import ShapePipeline
from restore.quality.judges.judge import Judge, Judgement
from restore.results import Assessment, InpaintResult, Segmentation
from restore.settings import Settings, device_named
from restore.weights.store import load_weights

OnPass = Callable[[PassRecord], Any]
OnStep = Callable[[int, int], Any]
AnyJudge = Callable[..., Judgement]  # of an image (H, W, 3), and of its hole (H, W) if not of everything
RETRIES = 1  # attempts after the first while the grounder says that the instruction was not followed


class Engine:
    """Loads models when first needed and keeps them. Not for use by several threads at once.

    Raises ModelUnavailableError for an unknown model or a device that is not there.
    """

    def __init__(self, model: str | None = None, device: str | None = None, settings: Settings | None = None) -> None:
        settings = settings or default_settings(model or "builtin")
        self.settings = settings.updated(model=model, device=device)
        check_models(self.settings)
        self.device = device_named(self.settings.device)

    @cached_property
    def _lite0(self) -> Lite0:
        return trained_lite0().to(self.device)

    @cached_property
    def _grounder(self) -> Grounder:
        return Grounder(load_weights("grounder"), self._lite0, self.device)

    @cached_property
    def _finder(self) -> RegionFinder:
        embedded, copies = EmbeddedFinder(self._grounder), self.settings.model == "builtin"
        return RegionFinder(self._grounder, open_finder(self.settings.grounder, self.device, embedded), copies=copies)

    @cached_property
    def _judge(self) -> AnyJudge:
        judge = Judge(load_weights("judge"), self._lite0, self.device, self._pipeline.expectation)
        return open_judge(self.settings.judge, self.device, judge)

    @cached_property
    def _assessor(self) -> Assessor:
        return Assessor(self.device)

    @cached_property
    def _filler(self) -> Filler:
        return open_filler(self.settings, self.device, lambda: BuiltinFiller(self._pipeline))

    @cached_property
    def _instructor(self) -> Instructor:
        return Instructor(InstructPipeline.from_weights(load_weights("instruct")).to(self.device))

    @cached_property
    def _shape_pipeline(self) -> ShapePipeline:
        return ShapePipeline.from_weights(load_weights("shape")).to(self.device)

    @cached_property
    def _painter(self) -> CoordNet | None:
        """What enlarges drafts, once its weights are shipped."""
        painter = CoordNet.shipped()
        return None if painter is None else painter.to(self.device)

    @cached_property
    def _pipeline(self) -> BuiltinPipeline:
        expectation = ExpectationNet.from_weights(load_weights("expectation"), self._lite0)
        return BuiltinPipeline(DraftNet.from_weights(load_weights("draft")), expectation).to(self.device)

    def inpaint(
        self,
        image: AnyImage,
        *,
        prompt: str | None = None,
        mask: AnyMask = None,
        box: Sequence[int] | None = None,
        point: Sequence[int] | None = None,
        seed: int | None = None,
        passes: int | None = None,
        par: float | None = None,
        candidates: int | None = None,
        steps: int | None = None,
        shape_precision: float | None = None,
        draft: bool = False,
        on_pass: OnPass | None = None,
        on_step: OnStep | None = None,
    ) -> InpaintResult:
        """Remove what `prompt` names, or what `mask`, `box` (x, y, w, h) or `point` (x, y) shows.

        A prompt may also replace or add something (the builtin model knows few things: restore/grounding/painting.py);
        what is added goes into the mask or box, or beside what the prompt names (restore/grounding/placement.py).
        Model "instruct" needs no mask: its network finds what the prompt means and removes it.
        image: path, Pillow image or uint8/uint16 array (H, W[, C]); never modified. mask: same size,
        non-zero = repaint. With a prompt and a mask or box, the object is looked for inside it. draft: an instant
        preview by the embedded draft network, whatever the model; passes and candidates are then 1.
        `on_pass(record)` and `on_step(done, total)` may return False to stop. Raises InputError,
        ObjectNotFoundError, ModelUnavailableError, Cancelled.
        """
        started = time.perf_counter()
        settings = self.settings.updated(
            seed=seed, passes=passes, par=par, candidates=candidates, steps=steps, shape_precision=shape_precision
        )
        if prompt is not None:
            check_instruction(settings.model, parse(prompt))
        photo = any_photo_of(image)
        if draft:
            settings = settings.updated(passes=1, candidates=1)
        instructed = settings.model == "instruct"
        find = self._instructor.find if instructed else partial(self._finder.find, copies=not draft)
        region = find_region(find, photo, prompt, mask, box, point)
        filler = DraftFiller(self._pipeline, self._painter) if draft else self._filler_for(region)
        outcome, told = self._made_sure(
            photo, region, filler, settings, on_pass, on_step, retries=0 if draft else RETRIES
        )
        return self._result(photo, region, outcome, settings, started, image, told)

    def refine(
        self,
        image: AnyImage,
        *,
        mask: AnyMask = None,
        seed: int | None = None,
        passes: int | None = None,
        par: float | None = None,
        candidates: int | None = None,
        steps: int | None = None,
        on_pass: OnPass | None = None,
        on_step: OnStep | None = None,
    ) -> InpaintResult:
        """Repair the artifacts of a picture that any tool made, inside `mask` or anywhere.

        The loop of `inpaint`, started from the picture as it is (pass 0). A picture without
        artifacts comes back unchanged, with stop "threshold". Raises as `inpaint` does.
        """
        started = time.perf_counter()
        settings = self.settings.updated(seed=seed, passes=passes, par=par, candidates=candidates, steps=steps)
        photo = any_photo_of(image)
        if mask is None and isinstance(photo, HugePhoto):
            raise InputError("expected a mask that says where to look in so large a photo, got none; give one")
        hole = self._judge(photo.pixels).artifacts if mask is None else load_mask(mask, photo.size)
        region = Region(hole, "artifacts" if mask is None else "mask")
        areas = [
            replace(a, judgement=self._judge(a.image, a.hole)) for a in areas_of(photo.pixels, hole, self._filler.side)
        ]
        outcome = self._repair(photo, areas, settings, region, self._filler, on_pass, on_step)
        return self._result(photo, region, outcome, settings, started, image)

    def segment(
        self, image: AnyImage, *, prompt: str | None = None, point: Sequence[int] | None = None
    ) -> Segmentation:
        """Masks of what `prompt` names, or of the object at `point` (x, y). Raises ObjectNotFoundError."""
        photo = photo_of(image)
        if (prompt is None) == (point is None):
            raise InputError("expected a prompt or a point, got " + ("neither" if prompt is None else "both"))
        if point is not None:
            chosen = [self._finder.finder.at(photo.pixels, check_point(point, photo.size))]
        else:
            chosen, _ = self._finder.ground(photo.pixels, parse(prompt or ""))
        union = np.any([i.mask for i in chosen], axis=0)
        return Segmentation(union, max(i.score for i in chosen), chosen)

    def assess(self, image: AnyImage, *, mask: AnyMask = None, reference: AnyImage | None = None) -> Assessment:
        """Artifacts and quality of a picture, in `mask` (where it was edited) or all over; distances to `reference`.

        Raises InputError, also where the reference has another size.
        """
        photo = photo_of(image)
        hole = None if mask is None else load_mask(mask, photo.size)
        pixels = photo.pixels.copy()  # torch wants arrays that could be written to
        judgement = self._assessor.judge(pixels, hole)
        scores = self._assessor.described(pixels, judgement, edited=hole is not None)
        if reference is not None:
            scores |= self._assessor.against(pixels, photo_of(reference).pixels.copy(), hole)
        par_hole = None if hole is None else judgement.par_hole
        return Assessment(par_hole, judgement.par_image, judgement.quality, judgement.probability, scores)

    def _filler_for(self, region: Region) -> Filler:
        if region.proposal is not None:
            return ProposalFiller(self._filler)
        if self.settings.model == "builtin" and _painted(region):
            return ShapeFiller(self._shape_pipeline, self._filler)
        return self._filler

    def _made_sure(
        self,
        photo: AnyPhoto,
        region: Region,
        filler: Filler,
        settings: Settings,
        on_pass: OnPass | None,
        on_step: OnStep | None,
        retries: int,
    ) -> tuple[Outcome, Presence | None]:
        """The repaired areas, made anew where the grounder finds what should be gone or misses what should be there."""
        best: tuple[Outcome, Presence | None] | None = None
        for attempt in range(1 + retries):
            areas = areas_of(photo.pixels, region.hole, filler.side)
            trial = settings.updated(seed=settings.seed + attempt)
            outcome = self._repair(photo, areas, trial, region, filler, on_pass, on_step)
            told = self._presence(region, outcome.areas)
            if best is None or (told is not None and best[1] is not None and told.better(best[1])):
                best = outcome, told
            if told is None or told.right:
                break
            # What was found again was copied or proposed: neither shall happen twice.
            barred = copied_from(outcome.areas, told.found, photo.pixels.shape)
            if region.barred is not None:
                barred |= region.barred
            barred[region.hole] = False
            region = replace(region, barred=barred, proposal=None)
        assert best is not None  # there is a first attempt
        return best

    def _presence(self, region: Region, areas: list[Area]) -> Presence | None:
        """None where no words said what should be gone or there."""
        said = region.instruction
        if said is None:
            return None
        name = said.phrase if said.subject is None else said.subject
        return presence(self._finder.finder, areas, name, wanted=_painted(region))

    def _repair(
        self,
        photo: AnyPhoto,
        areas: list[Area],
        settings: Settings,
        region: Region,
        filler: Filler,
        on_pass: OnPass | None,
        on_step: OnStep | None,
    ) -> Outcome:
        total = settings.passes * max(1, len(areas)) * settings.candidates
        done = 0

        def step(_: int) -> None:
            nonlocal done
            done += 1
            tell(on_step, done, total)

        def alive() -> None:
            tell(on_step, done, total)

        def fill(area: Area, todo: Mask, index: int) -> list[Candidate]:
            cost = region.penalty(area.window)
            h, w = area.hole.shape
            cost = None if cost is None else reduced(cost, (h, w))
            barred = None if region.barred is None else reduced(region.barred[area.window.slices], (h, w))
            proposal = region.proposed(area.window, (h, w))
            order = Order(settings, index, region.instruction, barred, cost, proposal, on_candidate=step, on_step=alive)
            return filler.fill(area, todo, order)

        def judge(image: Image, hole: Mask) -> Judgement:
            judgement = self._judge(image, hole)
            # What may have been there before is no measure of something new.
            return replace(judgement, distance=None) if _painted(region) else judgement

        return repair(
            areas,
            photo.pixels.shape[0] * photo.pixels.shape[1],
            fill,
            judge,
            settings,
            lambda record: tell(on_pass, record),
        )

    def _result(
        self,
        photo: AnyPhoto,
        region: Region,
        outcome: Outcome,
        settings: Settings,
        started: float,
        like: Any,
        told: Presence | None = None,
    ) -> InpaintResult:
        result = edited(photo, outcome.areas, region.hole)
        seconds = time.perf_counter() - started
        return InpaintResult(
            result,
            photo,
            region.hole,
            region.source,
            outcome.passes,
            outcome.stop,
            settings,
            str(self.device),
            seconds,
            like,
            outcome,
            told,
        )


def _painted(region: Region) -> bool:
    """Whether something shall appear in the region."""
    return region.instruction is not None and region.instruction.subject is not None


@cache
def _engine(model: str | None, device: str | None) -> Engine:
    return Engine(model, device)


def inpaint(image: AnyImage, *, model: str | None = None, device: str | None = None, **options: Any) -> InpaintResult:
    """`Engine.inpaint` on an engine that is kept for the next call; same options."""
    return _engine(model, device).inpaint(image, **options)


def refine(image: AnyImage, *, model: str | None = None, device: str | None = None, **options: Any) -> InpaintResult:
    """`Engine.refine` on an engine that is kept for the next call; same options."""
    return _engine(model, device).refine(image, **options)


def segment(image: AnyImage, *, prompt: str | None = None, point: Sequence[int] | None = None) -> Segmentation:
    """`Engine.segment` on an engine that is kept for the next call."""
    return _engine(None, None).segment(image, prompt=prompt, point=point)


def assess(image: AnyImage, *, mask: AnyMask = None, reference: AnyImage | None = None) -> Assessment:
    """`Engine.assess` on an engine that is kept for the next call."""
    return _engine(None, None).assess(image, mask=mask, reference=reference)
