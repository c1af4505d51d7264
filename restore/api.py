"""The Python API: an `Engine` that loads once and serves many calls, and one-call shortcuts.

>>> import restore
>>> result = restore.inpaint("photo.jpg", prompt="remove the cat")   # doctest: +SKIP
>>> result.save("clean.jpg")                                         # doctest: +SKIP
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from restore.assessing import Assessor
from restore.backbone import Lite0
from restore.checkpoints import load_weights
from restore.engine import Area, Candidate, Image, Mask, Outcome, PassRecord, areas_of, repair
from restore.errors import Cancelled, InputError, ModelUnavailableError, ObjectNotFoundError
from restore.expectation import ExpectationNet
from restore.grounding.grounder import Grounder, Instance
from restore.grounding.instruction import Instruction, parse
from restore.grounding.selection import Candidate as Found
from restore.grounding.selection import select
from restore.grounding.vocabulary import Vocabulary
from restore.image import Photo, load_photo, photo_from_array, save_photo, to_kind
from restore.mask import box_mask, check_mask, check_point, load_mask, mask_box
from restore.pipelines.builtin import STRATEGIES, BuiltinPipeline
from restore.pipelines.draft_net import DraftNet
from restore.quality.judge import Judge
from restore.region import grow_mask
from restore.settings import Settings

PENALTY = 0.5  # cost of copying from another detected object, in units of the shift map's colour steps
LEAST_SIDE = 8  # smaller photos hold nothing to copy from

OnPass = Callable[[PassRecord], Any]
OnStep = Callable[[int, int], Any]
AnyImage = Any  # a path, a Pillow image or an array: see restore.image
AnyMask = Any


@dataclass(frozen=True)
class Segmentation:
    """mask (H, W) bool: union of the chosen instances; score in [0, 1]; instances best first."""

    mask: Mask
    score: float
    instances: list[Instance]


@dataclass(frozen=True)
class Assessment:
    """par_hole is None without a mask; artifacts (H, W) float32: probability of a visible artifact.

    scores: every measure by the names of `restore.quality.catalogue.PER_IMAGE`, the three above among them.
    """

    par_hole: float | None
    par_image: float
    quality: float
    artifacts: NDArray[np.float32]
    scores: dict[str, float | None]


@dataclass(frozen=True)
class InpaintResult:
    """What `inpaint` and `refine` return. `image` is of the input's kind; `mask` (H, W) bool is what was repainted."""

    photo: Photo
    original: Photo
    mask: Mask
    mask_source: str
    passes: list[PassRecord]
    stop: str
    settings: Settings
    device: str
    seconds: float
    like: Any = field(repr=False)
    outcome: Outcome = field(repr=False)

    @property
    def image(self) -> Any:
        return to_kind(self.photo, self.like)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the picture with the input's metadata; the format follows the name's suffix."""
        save_photo(self.photo, path, overwrite=overwrite)

    def report(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write one self-contained HTML page about this result."""
        from restore.report import write_report

        write_report(self, Path(path), overwrite=overwrite)

    def save_passes(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the best picture after every pass as pass-00.png, pass-01.png, … into `folder` (made if absent)."""
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"expected a folder to write passes to, got {folder} ({error.strerror})") from None
        for record, areas in zip(self.passes, self.outcome.history, strict=True):
            photo = _edited(self.original, areas, self.mask)
            save_photo(photo, folder / f"pass-{record.index:02d}.png", overwrite=overwrite)

    def summary(self, output: str | None = None) -> dict[str, Any]:
        """The object that `--json` prints."""
        mask = {"source": self.mask_source, "pixels": int(self.mask.sum()), "box": list(mask_box(self.mask))}
        return {
            "output": output,
            "model": self.settings.model,
            "seed": self.settings.seed,
            "device": self.device,
            "mask": mask,
            "passes": [asdict(record) for record in self.passes],
            "stop": self.stop,
            "seconds": round(self.seconds, 3),
        }


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
    def _judge(self) -> Judge:
        return Judge(load_weights("judge"), self._lite0, self.device, self._pipeline.expectation)

    @cached_property
    def _assessor(self) -> Assessor:
        return Assessor(self.device)

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
        hole, source, barred, penalty = self._region(photo, prompt, mask, box, point)
        outcome = self._repair(photo, areas_of(photo.pixels, hole), settings, barred, penalty, on_pass, on_step)
        return self._result(photo, hole, source, outcome, settings, started, image)

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
        region = self._judge(photo.pixels).artifacts if mask is None else load_mask(mask, photo.size)
        areas = [replace(a, judgement=self._judge(a.image, a.hole)) for a in areas_of(photo.pixels, region)]
        outcome = self._repair(photo, areas, settings, None, None, on_pass, on_step)
        return self._result(photo, region, "artifacts" if mask is None else "mask", outcome, settings, started, image)

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
            chosen, _ = self._ground(photo.pixels, parse(prompt or ""))
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

    def _ground(self, pixels: Image, instruction: Instruction) -> tuple[list[Instance], list[Instance]]:
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
        return self._grounder.find(pixels, entry.classes, entry.person)

    def _region(
        self, photo: Photo, prompt: str | None, mask: AnyMask, box: Sequence[int] | None, point: Sequence[int] | None
    ) -> tuple[Mask, str, Mask | None, NDArray[np.float32] | None]:
        """(hole, its source, pixels never copied from, cost of copying from others)."""
        if sum(x is not None for x in (mask, box, point)) > 1:
            raise InputError("expected at most one of mask, box and point, got several; keep one")
        if prompt is None and mask is None and box is None and point is None:
            raise InputError("expected a prompt, mask, box or point that says what to remove, got none")
        if min(photo.size) < LEAST_SIDE:
            raise InputError(
                f"expected a photo of at least {LEAST_SIDE}×{LEAST_SIDE} pixels, got {photo.size[0]}×{photo.size[1]}"
            )
        pixels, barred = photo.pixels, None
        given = (
            load_mask(mask, photo.size) if mask is not None else box_mask(box, photo.size) if box is not None else None
        )
        if prompt is not None:
            instruction = parse(prompt)
            chosen, others = self._ground(pixels, instruction)
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
            hole, source = grow_mask(self._grounder.at(pixels, check_point(point, photo.size)).mask, pixels), "point"
        else:
            assert given is not None  # one of prompt, mask, box and point was given
            hole, source = given, "mask" if mask is not None else "box"
        check_mask(hole, photo.size)
        alive = self._alive(pixels)
        penalty = (alive & ~hole).astype(np.float32) * PENALTY if alive.any() else None
        return hole, source, barred, penalty

    def _alive(self, pixels: Image) -> Mask:
        """People and animals: a fill that copies them puts a second head or tail where none was."""
        looks = self._grounder.look(pixels)
        found = self._grounder.find_in(looks, (), True)
        found += self._grounder.find_in(looks, Vocabulary.load().lookup("animal").classes, False)
        return np.any([np.zeros(pixels.shape[:2], bool), *(i.mask for i in found)], axis=0)

    def _repair(
        self,
        photo: Photo,
        areas: list[Area],
        settings: Settings,
        barred: Mask | None,
        penalty: NDArray[np.float32] | None,
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
            first = (index - 1) * settings.candidates
            strategies = [STRATEGIES[(first + k) % len(STRATEGIES)] for k in range(settings.candidates)]
            generator = torch.Generator().manual_seed(settings.seed * 1000003 + index)
            forbidden = area.hole & ~todo
            if barred is not None:
                forbidden |= barred[area.window.slices]
            output = self._pipeline(
                _tensor(area.image),
                torch.from_numpy(todo)[None, None].float(),
                generator=generator,
                strategies=strategies,
                num_inference_steps=max(1, settings.steps),
                barred=forbidden if forbidden.any() else None,
                penalty=None if penalty is None else penalty[area.window.slices],
                callback_on_step_end=step,
            )
            return [Candidate(_pasted(area.image, new, todo), output.confidence) for new in output.images]

        return repair(
            areas,
            photo.pixels.shape[0] * photo.pixels.shape[1],
            fill,
            self._judge,
            settings,
            lambda record: _call(on_pass, record),
        )

    def _result(
        self, photo: Photo, hole: Mask, source: str, outcome: Outcome, settings: Settings, started: float, like: Any
    ) -> InpaintResult:
        edited = _edited(photo, outcome.areas, hole)
        seconds = time.perf_counter() - started
        return InpaintResult(
            edited,
            photo,
            hole,
            source,
            outcome.passes,
            outcome.stop,
            settings,
            str(self.device),
            seconds,
            like,
            outcome,
        )


def device_named(name: str) -> torch.device:
    """"auto", "cpu", "cuda" or "mps" as a device of this machine. Raises ModelUnavailableError if it has none."""
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


def _edited(photo: Photo, areas: Sequence[Area], hole: Mask) -> Photo:
    """The photo with the hole pixels of every area pasted in."""
    edited = photo.pixels.copy()
    for area in areas:
        edited[area.window.slices][area.hole] = area.image[area.hole]
    return photo.with_pixels(edited, hole)


def _tensor(image: Image) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


def _pasted(image: Image, new: torch.Tensor, todo: Mask) -> Image:
    out = image.copy()
    out[todo] = (new.permute(1, 2, 0).numpy()[todo] * 255 + 0.5).astype(np.uint8)
    return out


def _found(instance: Instance) -> Found:
    return Found(mask_box(instance.mask), int(instance.mask.sum()), instance.score)


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
