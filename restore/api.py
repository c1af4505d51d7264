"""The Python API: an `Engine` that loads once and serves many calls, and one-call shortcuts.

>>> import restore
>>> result = restore.inpaint("photo.jpg", prompt="remove the cat")   # doctest: +SKIP
>>> result.save("clean.jpg")                                         # doctest: +SKIP
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore.edit.area import Mask, Outcome, areas_of, edited
from restore.edit.choose import Models, default_settings, models_for, open_filler, open_finder, open_judge
from restore.edit.fillers import BuiltinFiller, DraftFiller, Filler
from restore.edit.find import Region, RegionFinder, find_region, part_of
from restore.edit.instructed import Instructor, ProposalFiller, ShapeFiller
from restore.edit.presence import Presence
from restore.edit.request import Request, to_inpaint, to_refine, words_of
from restore.edit.run import RETRIES, AnyJudge, OnKept, OnPass, OnStep, Run
from restore.enhancement.damage import Damage
from restore.enhancement.old_photo import Film, OldPhotos, Wishes, check_scan
from restore.enhancement.run import OnPass as OnEnhancePass
from restore.enhancement.run import Restorer
from restore.enhancement.tasks import OLD_PHOTO, PASSES
from restore.errors import InputError, ObjectNotFoundError
from restore.features.expectation_net import ExpectationNet
from restore.features.lite0 import Lite0, trained_lite0
from restore.grounding.finder import EmbeddedFinder
from restore.grounding.ground import Finders
from restore.grounding.grounder import Grounder
from restore.grounding.overlay_finder import EmbeddedOverlays
from restore.images.inputs import AnyImage, any_photo_of, photo_of
from restore.images.mask import AnyMask, check_point, load_mask, united
from restore.images.photo import Photo
from restore.measure.assessor import Assessor
from restore.measure.bench import OnStep as OnPicture
from restore.measure.comparing import compared
from restore.measure.options import CompareOptions, RankOptions
from restore.measure.ranking import ranked
from restore.pipelines.fill.builtin import BuiltinPipeline
from restore.pipelines.networks.draft import DraftNet
from restore.pipelines.paint.instruct import InstructPipeline
from restore.pipelines.paint.shape import ShapePipeline
from restore.pipelines.restoration.sampling import Sampling
from restore.provenance.credentials import Signer as Signer
from restore.provenance.marks import marked_edit, marked_enhancement
from restore.quality.judges.judge import Judge
from restore.results import Assessment, CompareResult, EnhanceResult, InpaintResult, RankResult, Segmentation
from restore.settings import Settings, device_named
from restore.weights.store import load_weights


class Engine:
    """Loads models when first needed and keeps them. Not for use by several threads at once.

    Raises ModelUnavailableError for an unknown model or a device that is not there.
    """

    def __init__(
        self,
        model: str | None = None,
        device: str | None = None,
        settings: Settings | None = None,
        models: Models | None = None,
    ) -> None:
        """models: what `models_for` found, in place of the others."""
        if models is None:
            settings = settings or default_settings(model or "builtin")
            models = models_for(settings.updated(model=model, device=device))
        self.models, self.settings = models, models.settings
        if self.settings.offline:
            os.environ["HF_HUB_OFFLINE"] = "1"  # for libraries yet to be imported; nothing here asks the network
        self.device = device_named(self.settings.device)

    def load(self) -> Engine:
        """Open now what the first edit by words would: a server is ready once this returned. Returns itself.

        Raises ModelUnavailableError.
        """
        _ = self._finder.finders, self._filler, self._judge
        return self

    @cached_property
    def _lite0(self) -> Lite0:
        return trained_lite0().to(self.device)

    @cached_property
    def _grounder(self) -> Grounder:
        return Grounder(load_weights("grounder"), self._lite0, self.device, load_weights("instances"))

    @cached_property
    def _finder(self) -> RegionFinder:
        embedded, copies = EmbeddedFinder(self._grounder), self.settings.model == "builtin"
        objects = open_finder(self.models, self.device, embedded)
        return RegionFinder(self._grounder, Finders(objects, self._overlays), copies=copies)

    @cached_property
    def _overlays(self) -> EmbeddedOverlays:
        return EmbeddedOverlays(load_weights("overlay"), self._lite0, self.device)

    @cached_property
    def _judge(self) -> AnyJudge:
        judge = Judge(load_weights("judge"), self._lite0, self.device, self._pipeline.expectation)
        return open_judge(self.models, self.device, judge)

    @cached_property
    def _assessor(self) -> Assessor:
        return Assessor(self.device)

    @cached_property
    def _restorer(self) -> Restorer:
        return Restorer(self.device, lambda: self._assessor)

    @cached_property
    def _old_photos(self) -> OldPhotos:
        def paint(photo: Photo, mask: Mask, seed: int, passes: int) -> Photo:
            request = to_inpaint(self.settings.model, photo, mask=mask)
            painted = self.inpainted(request, self.settings.updated(seed=seed, passes=passes)).photo
            assert isinstance(painted, Photo)  # what is given as one comes back as one
            return painted

        restorer = self._restorer
        return OldPhotos(self._overlays, paint, restorer.restorer, restorer.critic, self.device)

    @cached_property
    def _filler(self) -> Filler:
        return open_filler(self.models, self.device, lambda: BuiltinFiller(self._pipeline))

    @cached_property
    def _instructor(self) -> Instructor:
        return Instructor(InstructPipeline.from_weights(load_weights("instruct")).to(self.device))

    @cached_property
    def _shape_pipeline(self) -> ShapePipeline:
        return ShapePipeline.from_weights(load_weights("shape")).to(self.device)

    @cached_property
    def _pipeline(self) -> BuiltinPipeline:
        expectation = ExpectationNet.from_weights(load_weights("expectation"), self._lite0)
        return BuiltinPipeline(DraftNet.from_weights(load_weights("draft")), expectation).to(self.device)

    def inpaint(
        self,
        image: AnyImage,
        *,
        prompt: str | Sequence[str] | None = None,
        mask: AnyMask | Sequence[AnyMask] = None,
        box: Sequence[int] | Sequence[Sequence[int]] | None = None,
        point: Sequence[int] | Sequence[Sequence[int]] | None = None,
        find: str | Sequence[str] | None = None,
        seed: int | None = None,
        passes: int | None = None,
        max_seconds: float | None = None,
        par: float | None = None,
        candidates: int | None = None,
        steps: int | None = None,
        shape_precision: float | None = None,
        draft: bool = False,
        sure: bool = False,
        mark: bool | None = None,
        on_pass: OnPass | None = None,
        on_step: OnStep | None = None,
        on_kept: OnKept | None = None,
    ) -> InpaintResult:
        """Remove what `prompt` names, or what `mask`, `box` (x, y, w, h) or `point` (x, y) shows.

        find: what is laid over the photo: "text", "watermark", "date", "scratches", "dust", "wires" or "all". Each of
        these may be a sequence of several, whose regions are united.
        A prompt may also replace or add something (the builtin model knows few things: restore/grounding/painting.py);
        what is added goes into the mask or box, or beside what the prompt names (restore/grounding/placement.py).
        Model "instruct" needs no mask: its network finds what the prompt means and removes it.
        image: path, Pillow image or uint8/uint16 array (H, W[, C]); never modified. mask: same size,
        non-zero = repaint. With a mask, box or point, what a command ("remove the cat") names is looked for inside or
        at it, and words without a verb ("a red ball") tell what shall appear there.
        sure: refuse (UnsureError, which lists the candidates) what may be something else than the words name.
        draft: an instant preview by the embedded draft network, whatever the model; passes and candidates are then 1.
        max_seconds: no pass is begun that would end later than this, judged by the one before it; one is always made.
        mark: tell of the edit in the result's XMP, as is done unless told otherwise (docs/provenance.md).
        `on_pass(record)`, `on_step(done, total)` and `on_kept(record, photo)`, which sees every pass that was kept, may
        return False to stop. Raises InputError, ObjectNotFoundError, ModelUnavailableError, Cancelled.
        """
        settings = self.settings.updated(
            seed=seed,
            passes=passes,
            max_seconds=max_seconds,
            par=par,
            candidates=candidates,
            steps=steps,
            shape_precision=shape_precision,
            mark=mark,
        )
        request = to_inpaint(settings.model, any_photo_of(image), prompt, mask, box, point, find, like=image, sure=sure)
        return self.inpainted(request, settings, draft=draft, on_pass=on_pass, on_step=on_step, on_kept=on_kept)

    def inpainted(
        self,
        request: Request,
        settings: Settings | None = None,
        *,
        draft: bool = False,
        on_pass: OnPass | None = None,
        on_step: OnStep | None = None,
        on_kept: OnKept | None = None,
    ) -> InpaintResult:
        """`inpaint` of what was checked already."""
        started, settings = time.perf_counter(), settings or self.settings
        instructed = settings.model == "instruct"
        find = self._instructor.find if instructed else partial(self._finder.find, copies=not draft)
        region = find_region(find, request)
        return self._inpainted(request, region, draft, started, settings, on_pass, on_step, on_kept)

    def _inpainted(
        self,
        request: Request,
        region: Region,
        draft: bool,
        started: float | None,
        settings: Settings,
        on_pass: OnPass | None,
        on_step: OnStep | None,
        on_kept: OnKept | None = None,
    ) -> InpaintResult:
        """The region filled; started: when the search for it was, None where it was known."""
        started = time.perf_counter() if started is None else started
        if draft:
            settings = settings.updated(passes=1, candidates=1)
        filler = DraftFiller(self._pipeline) if draft else self._filler_for(region)
        run = Run(request.photo, region, filler, self._judge, settings, on_pass, on_step, on_kept, started)
        outcome, told = run.made_sure(self._finder.finders, retries=0 if draft else RETRIES)
        again = partial(self._inpainted, request, region, draft, None)
        return self._result("inpaint", request, region, outcome, settings, started, again, told)

    def refine(
        self,
        image: AnyImage,
        *,
        mask: AnyMask = None,
        seed: int | None = None,
        passes: int | None = None,
        max_seconds: float | None = None,
        par: float | None = None,
        candidates: int | None = None,
        steps: int | None = None,
        mark: bool | None = None,
        on_pass: OnPass | None = None,
        on_step: OnStep | None = None,
        on_kept: OnKept | None = None,
    ) -> InpaintResult:
        """Repair the artifacts of a picture that any tool made, inside `mask` or anywhere.

        The loop of `inpaint`, started from the picture as it is (pass 0). A picture without
        artifacts comes back unchanged, with stop "threshold". Raises as `inpaint` does.
        """
        settings = self.settings.updated(
            seed=seed,
            passes=passes,
            max_seconds=max_seconds,
            par=par,
            candidates=candidates,
            steps=steps,
            mark=mark,
        )
        request = to_refine(any_photo_of(image), mask, like=image)
        return self.refined(request, settings, on_pass=on_pass, on_step=on_step, on_kept=on_kept)

    def refined(
        self,
        request: Request,
        settings: Settings | None = None,
        *,
        on_pass: OnPass | None = None,
        on_step: OnStep | None = None,
        on_kept: OnKept | None = None,
    ) -> InpaintResult:
        """`refine` of what was checked already."""
        started, settings = time.perf_counter(), settings or self.settings
        pixels, given = request.photo.pixels, request.given
        hole = self._judge(pixels).artifacts if given is None else given
        region = Region(hole, (part_of("artifacts" if given is None else "mask", None, hole),))
        return self._refined(request, region, started, settings, on_pass, on_step, on_kept)

    def _refined(
        self,
        request: Request,
        region: Region,
        started: float | None,
        settings: Settings,
        on_pass: OnPass | None,
        on_step: OnStep | None,
        on_kept: OnKept | None = None,
    ) -> InpaintResult:
        """As `_inpainted`."""
        started = time.perf_counter() if started is None else started
        found = areas_of(request.photo.pixels, region.hole, self._filler.side)
        areas = [replace(a, judgement=self._judge(a.image, a.hole)) for a in found]
        run = Run(request.photo, region, self._filler, self._judge, settings, on_pass, on_step, on_kept, started)
        outcome = run.repaired(areas)
        again = partial(self._refined, request, region, None)
        return self._result("refine", request, region, outcome, settings, started, again)

    def segment(
        self,
        image: AnyImage,
        *,
        prompt: str | Sequence[str] | None = None,
        point: Sequence[int] | None = None,
        find: str | Sequence[str] | None = None,
    ) -> Segmentation:
        """Masks of what `prompt` names and of what is laid over the photo (`find`, as in `inpaint`), or of the object
        at `point` (x, y). Raises InputError, ObjectNotFoundError."""
        photo, said = photo_of(image), words_of(prompt, find)
        if bool(said) == (point is not None):
            raise InputError("expected words or a point, got " + ("both" if said else "neither"))
        if point is not None:
            x, y = check_point(point, photo.size)
            chosen = [self._finder.finders.objects.at(photo.pixels, (x, y))]
            if not chosen[0].mask.any():
                raise ObjectNotFoundError(f"expected an object at {x},{y}, found none there; draw a mask or box")
        else:
            chosen = [i for words in said for i in self._finder.ground(photo.pixels, words.instruction)[0]]
        return Segmentation(united([i.mask for i in chosen]), max(i.score for i in chosen), chosen)

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

    def enhance(
        self,
        image: AnyImage | Sequence[AnyImage],
        *,
        task: str,
        scale: int = Damage.scale,
        kernel_kind: str = Damage.kernel_kind,
        blur: float | None = None,
        motion: tuple[float, float] | None = None,
        disk: float | None = None,
        kernel: str | os.PathLike[str] | None = None,
        noise: float | None = None,
        peak: float | None = None,
        quality: int | None = None,
        target: float = Damage.target,
        degradation: str | None = None,
        mask: AnyMask = None,
        keep: Sequence[str] = (),
        neutral: bool = False,
        film: Film | None = None,
        terms: dict[str, float] | None = None,
        method: str = Sampling.method,
        best: bool = Sampling.best,
        steps: int | None = None,
        strength: float = Sampling.strength,
        guidance_steps: int = Sampling.guidance_steps,
        start: float | None = None,
        temperature: float | None = None,
        respaced: bool = False,
        passes: int = PASSES,
        seed: int = Settings.seed,
        model: str = Settings.model,
        mark: bool = True,
        on_pass: OnEnhancePass | None = None,
        on_step: OnStep | None = None,
    ) -> EnhanceResult:
        """Undo one degradation of a photo of any size.

        image: path, Pillow image or uint8/uint16 array; for "hdr" a list of 2 to 5 aligned exposures. `task` is one
        of restore/enhancement/tasks.py; what describes the damage is explained at `Damage`, how it is sampled at
        `Sampling`. degradation ("compose"): what happened in which order, see `plans.compose`. mask
        ("inpaint"): of the photo's size, non-zero = lost. keep, neutral, film ("old-photo"): see
        `restore.enhancement.old_photo.Wishes`; `Engine.film` gives the film of several scans. terms: weights of quality
        terms by name, besides or instead of the task's own (0 = off). passes: the first restoration and further ones
        over its worst windows; of "old-photo" those over its marks.
        model: "builtin", a folder in diffusers' format, a .safetensors file, or "realesrgan" (super-resolution;
        sharp, its detail is invented, and a warning tells that the photo shows text or people). mark: as of `inpaint`.
        `on_step(done, total)` of the first pass and `on_pass(record)` may return False to stop.
        Raises InputError, ModelUnavailableError, Cancelled.
        """
        wishes = Wishes(tuple(keep), neutral, film)
        if task == OLD_PHOTO:
            check_scan(image, mask=mask, terms=terms, model=model)
            photo = photo_of(image)
            old = self._old_photos(
                photo, wishes, like=image, seed=seed, passes=passes, on_pass=on_pass, on_step=on_step
            )
            return EnhanceResult(**vars(marked_enhancement(old) if mark else old))
        if wishes != Wishes():
            raise InputError(f"expected keep, neutral and film with task {OLD_PHOTO} only, got task {task}")
        damage = Damage(
            scale=scale,
            kernel_kind=kernel_kind,
            blur=blur,
            motion=motion,
            disk=disk,
            kernel=kernel,
            noise=noise,
            peak=peak,
            quality=quality,
            target=target,
            degradation=degradation,
        )
        sampling = Sampling(
            method=method,
            best=best,
            steps=steps,
            strength=strength,
            guidance_steps=guidance_steps,
            start=start,
            temperature=temperature,
            respaced=respaced,
        )
        record = self._restorer(
            image,
            task,
            damage,
            sampling,
            mask=mask,
            terms=terms,
            passes=passes,
            seed=seed,
            model=model,
            on_pass=on_pass,
            on_step=on_step,
        )
        if record.invented:
            self._warn_of_invented(record.original.pixels)
        return EnhanceResult(**vars(marked_enhancement(record) if mark else record))

    def _warn_of_invented(self, pixels: NDArray[np.uint8]) -> None:
        finders = self._finder.finders
        text = finders.overlays is not None and finders.overlays.laid_over(pixels, ["text"])
        people = finders.objects.named(pixels, "person")
        found = [name for name, there in (("text", text), ("people", people)) if there]
        if found:
            warnings.warn(
                f"the photo shows {' and '.join(found)}: letters and faces that are too small to read are made up",
                stacklevel=3,
            )

    def film(self, images: Sequence[AnyImage], *, neutral: bool = False) -> Film:
        """What scans of one film have in common, so that `enhance(task="old-photo", film=…)` treats them alike."""
        return self._old_photos.film([photo_of(image) for image in images], neutral=neutral)

    def _filler_for(self, region: Region) -> Filler:
        if region.proposal is not None:
            return ProposalFiller(self._filler)
        if self.settings.model == "builtin" and region.painted:
            return ShapeFiller(self._shape_pipeline, self._filler)
        return self._filler

    def _result(
        self,
        command: str,
        request: Request,
        region: Region,
        outcome: Outcome,
        settings: Settings,
        started: float,
        again: Callable[..., InpaintResult],
        told: Presence | None = None,
    ) -> InpaintResult:
        result = edited(request.photo, outcome.areas, region.hole)
        seconds = time.perf_counter() - started
        record = InpaintResult(
            photo=result,
            original=request.photo,
            mask=region.hole,
            parts=region.parts,
            passes=outcome.passes,
            stop=outcome.stop,
            settings=settings,
            device=str(self.device),
            seconds=seconds,
            like=request.like,
            outcome=outcome,
            presence=told,
            repaint=again,
        )
        photo, mark = marked_edit(command, record, self.models.painter)
        return replace(record, photo=photo, mark=mark)


@cache
def _engine(model: str | None, device: str | None) -> Engine:
    return Engine(model, device)


def inpaint(image: AnyImage, *, model: str | None = None, device: str | None = None, **options: Any) -> InpaintResult:
    """`Engine.inpaint` on an engine that is kept for the next call; same options."""
    return _engine(model, device).inpaint(image, **options)


def refine(image: AnyImage, *, model: str | None = None, device: str | None = None, **options: Any) -> InpaintResult:
    """`Engine.refine` on an engine that is kept for the next call; same options."""
    return _engine(model, device).refine(image, **options)


def segment(image: AnyImage, **options: Any) -> Segmentation:
    """`Engine.segment` on an engine that is kept for the next call; same options."""
    return _engine(None, None).segment(image, **options)


def assess(image: AnyImage, *, mask: AnyMask = None, reference: AnyImage | None = None) -> Assessment:
    """`Engine.assess` on an engine that is kept for the next call."""
    return _engine(None, None).assess(image, mask=mask, reference=reference)


def rank(
    folder: str | os.PathLike[str], options: RankOptions | None = None, *, on_step: OnPicture | None = None
) -> RankResult:
    """The pictures in `folder` in order, best first, and which of them to keep.

    `on_step(done, total)` hears of every picture, and may return False to stop. Pictures that cannot be measured are
    left out and listed in `failed`. Sets torch to one thread per operation. Raises InputError,
    ModelUnavailableError, Cancelled.
    """
    return RankResult(**vars(ranked(Path(folder), options or RankOptions(), on_step)))


def compare(
    *folders: str | os.PathLike[str],
    reference: str | os.PathLike[str],
    options: CompareOptions | None = None,
    on_step: OnPicture | None = None,
) -> CompareResult:
    """Sets of pictures against a reference set and against each other: does one differ, and by how much?

    Pictures of one name in several folders belong together. `on_step(done, total)` hears of every picture and of every
    set that was scored, and may return False to stop. Raises and behaves as `rank`.
    """
    roots = [Path(folder) for folder in folders]
    return CompareResult(**vars(compared(roots, Path(reference), options or CompareOptions(), on_step)))


def enhance(
    image: AnyImage | Sequence[AnyImage], *, task: str, device: str | None = None, **options: Any
) -> EnhanceResult:
    """`Engine.enhance` on an engine that is kept for the next call; same options."""
    return _engine(None, device).enhance(image, task=task, **options)
