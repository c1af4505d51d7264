"""The Python API: an `Engine` that loads once and serves many calls, and one-call shortcuts.

>>> import restore
>>> result = restore.inpaint("photo.jpg", prompt="remove the cat")   # doctest: +SKIP
>>> result.save("clean.jpg")                                         # doctest: +SKIP
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch

from restore.assessing import Assessor
from restore.backbone import Lite0
from restore.checkpoints import load_weights
from restore.engine import Area, Candidate, Mask, Outcome, PassRecord, areas_of, repair
from restore.errors import Cancelled, InputError, ModelUnavailableError
from restore.expectation import ExpectationNet
from restore.filling import BuiltinFiller, Filler, Order
from restore.grounding.grounder import Grounder
from restore.grounding.instruction import parse
from restore.image import Photo, load_photo, photo_from_array
from restore.mask import check_point, load_mask
from restore.pipelines.builtin import BuiltinPipeline
from restore.pipelines.draft_net import DraftNet
from restore.quality.judge import Judge
from restore.regions import AnyMask, Region, RegionFinder
from restore.results import Assessment, InpaintResult, Segmentation, edited
from restore.settings import Settings

OnPass = Callable[[PassRecord], Any]
OnStep = Callable[[int, int], Any]
AnyImage = Any  # a path, a Pillow image or an array: see restore.image


class Engine:
    """Loads models when first needed and keeps them. Not for use by several threads at once.

    Raises ModelUnavailableError for an unknown model or a device that is not there.
    """

    def __init__(self, model: str | None = None, device: str | None = None, settings: Settings | None = None) -> None:
        self.settings = (settings or Settings()).updated(model=model, device=device)
        if self.settings.model != "builtin":
            raise ModelUnavailableError(f"expected model 'builtin', got '{self.settings.model}'; no other is installed")
        self.device = device_named(self.settings.device)

    @cached_property
    def _lite0(self) -> Lite0:
        net = Lite0()
        net.load_state_dict(load_weights("lite0"))
        return net.eval().to(self.device)

    @cached_property
    def _grounder(self) -> Grounder:
        return Grounder(load_weights("grounder"), self._lite0, self.device)

    @cached_property
    def _finder(self) -> RegionFinder:
        return RegionFinder(self._grounder)

    @cached_property
    def _judge(self) -> Judge:
        return Judge(load_weights("judge"), self._lite0, self.device, self._pipeline.expectation)

    @cached_property
    def _assessor(self) -> Assessor:
        return Assessor(self.device)

    @cached_property
    def _filler(self) -> Filler:
        return BuiltinFiller(self._pipeline)

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
        on_pass: OnPass | None = None,
        on_step: OnStep | None = None,
    ) -> InpaintResult:
        """Remove what `prompt` names, or what `mask`, `box` (x, y, w, h) or `point` (x, y) shows.

        image: path, Pillow image or uint8/uint16 array (H, W[, C]); never modified. mask: same size,
        non-zero = repaint. With a prompt and a mask or box, the object is looked for inside it.
        `on_pass(record)` and `on_step(done, total)` may return False to stop. Raises InputError,
        ObjectNotFoundError, ModelUnavailableError, Cancelled.
        """
        started = time.perf_counter()
        settings = self.settings.updated(seed=seed, passes=passes, par=par, candidates=candidates, steps=steps)
        photo = _photo(image)
        region = self._finder.find(photo, prompt, mask, box, point)
        outcome = self._repair(photo, areas_of(photo.pixels, region.hole), settings, region, on_pass, on_step)
        return self._result(photo, region, outcome, settings, started, image)

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
        photo = _photo(image)
        hole = self._judge(photo.pixels).artifacts if mask is None else load_mask(mask, photo.size)
        region = Region(hole, "artifacts" if mask is None else "mask")
        areas = [replace(a, judgement=self._judge(a.image, a.hole)) for a in areas_of(photo.pixels, hole)]
        outcome = self._repair(photo, areas, settings, region, on_pass, on_step)
        return self._result(photo, region, outcome, settings, started, image)

    def segment(
        self, image: AnyImage, *, prompt: str | None = None, point: Sequence[int] | None = None
    ) -> Segmentation:
        """Masks of what `prompt` names, or of the object at `point` (x, y). Raises ObjectNotFoundError."""
        photo = _photo(image)
        if (prompt is None) == (point is None):
            raise InputError("expected a prompt or a point, got " + ("neither" if prompt is None else "both"))
        if point is not None:
            chosen = [self._grounder.at(photo.pixels, check_point(point, photo.size))]
        else:
            chosen, _ = self._finder.ground(photo.pixels, parse(prompt or ""))
        union = np.any([i.mask for i in chosen], axis=0)
        return Segmentation(union, max(i.score for i in chosen), chosen)

    def assess(self, image: AnyImage, *, mask: AnyMask = None, reference: AnyImage | None = None) -> Assessment:
        """Artifacts and quality of a picture, in `mask` (where it was edited) or all over; distances to `reference`.

        Raises InputError, also where the reference has another size.
        """
        photo = _photo(image)
        hole = None if mask is None else load_mask(mask, photo.size)
        pixels = photo.pixels.copy()  # torch wants arrays that could be written to
        judgement = self._assessor.judge(pixels, hole)
        scores = self._assessor.described(pixels, judgement, edited=hole is not None)
        if reference is not None:
            scores |= self._assessor.against(pixels, _photo(reference).pixels.copy(), hole)
        par_hole = None if hole is None else judgement.par_hole
        return Assessment(par_hole, judgement.par_image, judgement.quality, judgement.probability, scores)

    def _repair(
        self,
        photo: Photo,
        areas: list[Area],
        settings: Settings,
        region: Region,
        on_pass: OnPass | None,
        on_step: OnStep | None,
    ) -> Outcome:
        total = settings.passes * max(1, len(areas)) * settings.candidates
        done = 0

        def step(_: int) -> None:
            nonlocal done
            done += 1
            _call(on_step, done, total)

        def fill(area: Area, todo: Mask, index: int) -> list[Candidate]:
            inside = area.window.slices
            cost = None if region.penalty is None else region.penalty[inside]
            barred = None if region.barred is None else region.barred[inside]
            return self._filler.fill(
                area, todo, Order(settings, index, region.instruction, barred, cost, on_candidate=step)
            )

        return repair(
            areas,
            photo.pixels.shape[0] * photo.pixels.shape[1],
            fill,
            self._judge,
            settings,
            lambda record: _call(on_pass, record),
        )

    def _result(
        self, photo: Photo, region: Region, outcome: Outcome, settings: Settings, started: float, like: Any
    ) -> InpaintResult:
        seconds = time.perf_counter() - started
        return InpaintResult(
            edited(photo, outcome.areas, region.hole),
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
        )


def device_named(name: str) -> torch.device:
    """ "auto", "cpu", "cuda" or "mps" as a device of this machine. Raises ModelUnavailableError if it has none."""
    have = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device("cuda" if have["cuda"] else "mps" if have["mps"] else "cpu")
    if not have[name]:
        raise ModelUnavailableError(f"expected device '{name}', but this machine has none; use --device auto")
    return torch.device(name)


def _photo(image: AnyImage) -> Photo:
    if isinstance(image, Photo):
        return image
    return load_photo(image) if isinstance(image, (str, os.PathLike)) else photo_from_array(image)


def _call(callback: Callable[..., Any] | None, *values: Any) -> None:
    if callback is not None and callback(*values) is False:
        raise Cancelled("stopped by the caller before the result was complete; nothing was written")


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
