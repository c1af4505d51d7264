"""Scans of old photos: marks are painted over, grain taken out, faded tones brought back; each only where it is there.

Grain alone is no sign of age, since fine texture passes for it: it is taken out of photos that are marked or faded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restore.enhancement.damage import Damage
from restore.enhancement.loop import Critic, to_bytes
from restore.enhancement.photo import rebuilt, tensor_of
from restore.enhancement.record import EnhancePass, EnhanceRecord
from restore.enhancement.tasks import OLD_PHOTO, STEPS
from restore.errors import InputError, tell
from restore.grounding.overlay_finder import EmbeddedOverlays
from restore.images.mask import united
from restore.images.photo import Photo
from restore.images.windows import grow_strokes
from restore.pipelines.networks import restorer
from restore.pipelines.restoration.direct import restored
from restore.pipelines.restoration.sampling import Sampling
from restore.pipelines.restoration.tone import Curves, Tone, curves_of, skin_kept, tone_of

if TYPE_CHECKING:
    from torch import Tensor

    from restore.pipelines.networks.restorer import RestorerNet

GRAIN_LEFT = 0.15  # share of the grain that stays: a photo without any looks like wax
LEAST_GRAIN = 1.0  # levels of 255; less is not seen
SURE = 0.7  # probability of the surest mark of a marked photo; a sound one's hair or twig may pass for a faint one
LEAST_HALF = 128  # pixels of the short side of the smaller look at marks

Mask = NDArray[np.bool_]
Paint = Callable[[Photo, Mask, int, int], Photo]  # the photo without what the mask shows, by seed and passes


@dataclass(frozen=True)
class Film:
    """What scans of one film have in common: the curves, and whether they are faded or of one tint."""

    curves: Curves
    faded: bool
    tinted: bool


@dataclass(frozen=True)
class Wishes:
    """keep: which of STEPS to leave out. neutral: the tint of a photo of one tint (sepia) goes. film: of this photo."""

    keep: tuple[str, ...] = ()
    neutral: bool = False
    film: Film | None = None

    def __post_init__(self) -> None:
        for name in self.keep:
            if name not in STEPS:
                raise InputError(f"expected to keep any of {', '.join(STEPS)}, got '{name}'")


def check_scan(image: Any, *, mask: Any, terms: Any, model: str) -> None:
    """Raises InputError for what this task cannot take."""
    if isinstance(image, (list, tuple)):
        raise InputError(f"expected one photo for {OLD_PHOTO}, got {len(image)}; a film's are given one by one")
    if mask is not None or terms:
        raise InputError(f"expected neither mask nor terms for {OLD_PHOTO}, got one; it finds what is damaged itself")
    if model != "builtin":
        raise InputError(f"expected the builtin model for {OLD_PHOTO}, got '{model}'")


@dataclass(frozen=True)
class OldPhotos:
    """What restoring an old photo needs: who finds marks, paints them over, takes grain out and judges."""

    overlays: EmbeddedOverlays
    paint: Paint
    net: RestorerNet
    critic: Critic
    device: Any

    def __call__(
        self,
        photo: Photo,
        wishes: Wishes,
        *,
        like: Any,
        seed: int,
        passes: int,
        on_pass: Callable[[EnhancePass], Any] | None = None,
        on_step: Callable[[int, int], Any] | None = None,
    ) -> EnhanceRecord:
        """Raises InputError, Cancelled."""
        begun = time.perf_counter()
        log = _Log(self.critic, on_pass, on_step, [], [])
        log.add("input", photo.pixels, None, begun)
        found: dict[str, Any] = {}
        marks, sureness = self._marks(photo.pixels)
        tone = tone_of(tensor_of(photo), marks)
        marked = bool(marks.any()) and sureness >= SURE
        faded = tone.faded(beside=marked) if wishes.film is None else wishes.film.faded
        tinted = tone.tinted if wishes.film is None else wishes.film.tinted
        old = marked or faded
        painted, mask = photo, marks if old and "scratches" not in wishes.keep else np.zeros_like(marks)
        if mask.any():
            painted = self.paint(photo, mask, seed, passes)
            found["marks"] = round(float(mask.mean()), 5)
            log.add("scratches", painted.pixels, photo.pixels, begun)
        log.tell(1)
        x = y = tensor_of(painted).to(self.device)
        if old and "grain" not in wishes.keep:
            x, level = self._grainless(x, tinted)
            if level >= LEAST_GRAIN:
                found["grain"] = round(level, 2)
                log.add("grain", to_bytes(x), photo.pixels, begun)
            else:
                x = y
        log.tell(2)
        whitened = tinted and wishes.neutral
        if (faded or whitened) and "tone" not in wishes.keep:
            curves = _curves(x, marks, wishes)
            found |= {"black": [round(v, 3) for v in curves.black], "white": [round(v, 3) for v in curves.white]}
            x = curves(x)
            x = x.mean(1, keepdim=True).expand_as(x) if whitened else x
            log.add("tone", to_bytes(x), photo.pixels, begun)
        log.tell(3)
        done = len(log.passes) > 1
        result = painted if x is y else rebuilt(painted, x.cpu(), OLD_PHOTO, None)
        return EnhanceRecord(
            photo=result,
            original=photo,
            task=OLD_PHOTO,
            damage=Damage(),
            sampling=Sampling(),
            steps=len(log.passes) - 1,
            seed=seed,
            model="builtin",
            device=str(self.device),
            parameters=found,
            consistency=log.passes[-1].consistency or 0.0,
            passes=log.passes,
            seconds=time.perf_counter() - begun,
            nothing="" if done else _nothing(old, wishes),
            invented=False,
            light_map=None,
            like=like,
            mask=mask,
            stages=log.stages,
        )

    def film(self, photos: Sequence[Photo], *, neutral: bool) -> Film:
        """Of scans of one film: the darkest and brightest of all are the film's. Raises InputError."""
        if len(photos) < 2:
            raise InputError(f"expected at least two scans of one film, got {len(photos)}")
        tones = [tone_of(tensor_of(photo), self._marks(photo.pixels)[0]) for photo in photos]
        tinted = all(tone.tinted for tone in tones)
        whole = Tone(np.min([t.low for t in tones], 0), np.max([t.high for t in tones], 0), tinted)
        return Film(curves_of(tones, neutral=neutral), whole.faded(beside=True), tinted)

    def _marks(self, pixels: NDArray[np.uint8]) -> tuple[Mask, float]:
        """(scratches, creases and dust (H, W), as far as they reach; how sure the surest is).

        Wide ones are seen at half the size.
        """
        look = self.overlays.laid_over
        sure = look(pixels, ("scratches", "dust"))
        found = [i.mask for i in sure]
        if min(pixels.shape[:2]) >= 2 * LEAST_HALF:
            half = np.asarray(cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
            size = pixels.shape[1], pixels.shape[0]
            for instance in look(half, ("scratches",)):
                found.append(cv2.resize(instance.mask.astype(np.uint8), size).astype(np.bool_))
        if not found:
            return np.zeros(pixels.shape[:2], np.bool_), 0.0
        return grow_strokes(united(found), pixels), sure[0].score if sure else 0.0

    def _grainless(self, x: Tensor, tinted: bool) -> tuple[Tensor, float]:
        """(the photo with little of its grain, rms of what there was in levels of 255). One tint stays one."""
        grain = x - restored(self.net, x, restorer.camera())
        if tinted:
            grain = grain.mean(1, keepdim=True)
        return x - (1 - GRAIN_LEFT) * grain, float(grain.square().mean().sqrt()) * 127.5


def _curves(x: Tensor, marks: Mask, wishes: Wishes) -> Curves:
    """The film's, or the photo's own as it looks without marks and grain."""
    if wishes.film is not None:
        return wishes.film.curves
    tone = tone_of(x, marks)
    curves = curves_of([tone], neutral=wishes.neutral)
    return curves if tone.tinted else skin_kept(curves, x)


def _nothing(old: bool, wishes: Wishes) -> str:
    if old:
        return f"what was found is to be kept ({', '.join(wishes.keep)})"
    return "it is neither scratched nor dusty nor faded"


@dataclass(frozen=True)
class _Log:
    """What was done so far, and who is told."""

    critic: Critic
    on_pass: Callable[[EnhancePass], Any] | None
    on_step: Callable[[int, int], Any] | None
    passes: list[EnhancePass]
    stages: list[tuple[str, NDArray[np.uint8]]]

    def add(self, step: str, image: NDArray[np.uint8], before: NDArray[np.uint8] | None, begun: float) -> None:
        error = None if before is None else float(np.sqrt(np.square(image.astype(np.float32) - before).mean()))
        index = len(self.passes)
        record = replace(self.critic.record(image, index, error, 0, begun), step=step, accepted=True)
        self.passes.append(record)
        self.stages.append((step, image))
        tell(self.on_pass, record)

    def tell(self, done: int) -> None:
        tell(self.on_step, done, len(STEPS))
