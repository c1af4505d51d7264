"""Any inpainting or instruction-editing pipeline of diffusers as something that repaints a crop."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow

from restore.errors import ModelUnavailableError, RestoreError, one_line
from restore.hub.cache import quiet
from restore.pipelines.hub.blending import blended
from restore.pipelines.hub.capabilities import Capabilities, capabilities_of
from restore.pipelines.hub.crop import native_shape
from restore.pipelines.hub.guard import fault
from restore.pipelines.hub.opening import configs_of
from restore.pipelines.hub.placement import DeviceMemory
from restore.pipelines.hub.together import Together

REFINE = 0.6  # strength of a pass that mends a fill: of the range in which what is there guides what comes (SDEdit,
# Meng et al., ICLR 2022) the upper end
TRIAL = 2  # steps of the call that tells whether candidates may be drawn together
FRAMES = 5  # the fewest that a video model which edits one picture is asked for (ChronoEdit)

log = logging.getLogger("restore")

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Picture = NDArray[np.float32]
Shape = tuple[int, int]
OnStep = Callable[[], None]


class BlankedError(ModelUnavailableError):
    """A safety checker hid what was made; another seed may pass."""


@dataclass(frozen=True)
class PainterOptions:
    """size: native side, pixels (0: from the model's config); the rest as diffusers names it, None: the model's own.
    refine_strength: where the picture holds a fill already. together: draw candidates in one call where they are then
    the same, None: on a GPU."""

    size: int = 0
    guidance: float | None = None
    strength: float | None = None
    refine_strength: float | None = None
    image_guidance: float = 1.5
    together: bool | None = None


class Painter(Protocol):
    """What repaints a crop. size: native side, pixels, 0 = any; edits: it has no place for a mask; instructed: it is
    told what to do, not what shall be seen; speaks, negative: it hears a prompt, a negative one."""

    size: int
    edits: bool
    instructed: bool
    speaks: bool
    negative: bool

    def shape_for(self, crop: Shape) -> Shape:
        """(height, width) at which it takes a crop of (h, w)."""
        ...

    def strength_for(self, steps: int, *, mend: bool) -> float | None:
        """The strength that it will be called at, None where it has none. mend: the picture holds a fill already."""
        ...

    def several(
        self,
        image: Image,
        mask: Mask,
        prompt: str,
        negative: str,
        *,
        generators: Sequence[torch.Generator],
        num_inference_steps: int,
        strength: float | None = None,
        on_step: OnStep | None = None,
    ) -> Iterator[Picture | BlankedError]:
        """image (h, w, 3), mask (h, w) → for each generator, or fewer where no more could differ, (h', w', 3) in
        [0, 1]; h and w are those of `shape_for`. Raises ModelUnavailableError where the model fails or what it makes
        is no picture (guard.py)."""
        ...


class HubPainter:
    """A diffusers pipeline as a `Painter`."""

    def __init__(self, pipe: Any, options: PainterOptions, device: torch.device, name: str) -> None:
        self.pipe, self.options, self.name = pipe, options, name
        pipe.set_progress_bar_config(disable=True)
        self.able: Capabilities = capabilities_of(type(pipe), configs_of(pipe))
        self.size, self.multiple = options.size or self.able.size, self.able.multiple
        self.edits, self.instructed, self.speaks = self.able.edits, self.able.instructed, self.able.words
        self.scale = self.able.scale if options.guidance is None else options.guidance
        self.negative = self.able.negative and (self.scale is None or self.scale > 1)
        self.memory = DeviceMemory(pipe, device, name)
        wanted = device.type == "cuda" if options.together is None else options.together
        self.together = Together(self._made, device, name, wanted=wanted)
        if self.able.control:
            log.info("%s: its ControlNet is shown the photo with the hole left out, as one for inpainting wants", name)

    def strength_for(self, steps: int, *, mend: bool) -> float | None:
        """At least one step is left to make."""
        if self.able.strength is None:
            return None
        strength = self.able.strength if self.options.strength is None else self.options.strength
        if not mend:
            return strength
        wanted = REFINE if self.options.refine_strength is None else self.options.refine_strength
        return min(strength, max(wanted, 1.000001 / steps))  # more than 1 step, whatever rounding does

    def shape_for(self, crop: Shape) -> Shape:
        """Where a class knows certain sizes only, and would cut the crop to one of them: the nearest of these."""
        height, width = native_shape(crop, self.size, self.multiple, square=self.able.square)
        buckets: Any = getattr(self.pipe, "vae_image_processor", None) or getattr(self.pipe, "image_processor", None)
        own = vars(sys.modules[type(self.pipe).__module__]).get("PREFERRED_KONTEXT_RESOLUTIONS")
        sizes = getattr(self.pipe, "resolutions", own)  # (width, height)
        if sizes:
            best = min(sizes, key=lambda size: abs(size[0] / size[1] - width / height))
            return int(best[1]), int(best[0])
        if "basesize" in getattr(buckets, "config", {}):
            found = buckets.get_default_height_width(Pillow.new("RGB", (width, height)))
            return int(found[0]), int(found[1])
        return height, width

    def __call__(
        self,
        image: Image,
        mask: Mask,
        prompt: str,
        negative: str,
        *,
        generator: torch.Generator,
        num_inference_steps: int,
        strength: float | None = None,
        on_step: OnStep | None = None,
    ) -> Picture:
        """One candidate, as `several` makes them; raises BlankedError where it is a blank one."""
        given = self.arguments(image, mask, prompt, negative, num_inference_steps, on_step, strength)
        return self._checked(given, generator, image, mask)

    def several(
        self,
        image: Image,
        mask: Mask,
        prompt: str,
        negative: str,
        *,
        generators: Sequence[torch.Generator],
        num_inference_steps: int,
        strength: float | None = None,
        on_step: OnStep | None = None,
    ) -> Iterator[Picture | BlankedError]:
        def arguments(steps: int) -> dict[str, Any]:
            return self.arguments(image, mask, prompt, negative, steps, on_step, strength)

        left, given, key = list(generators), arguments(num_inference_steps), (mask.shape, strength)
        while left:
            count = self.together.size(key, len(left), lambda: arguments(max(TRIAL, _least(strength))))
            group, left = left[:count], left[count:]
            states = [generator.get_state() for generator in group]
            made = self.together.pictures(key, given, group) if count > 1 else None
            for k, generator in enumerate(group):
                found = None if made is None else made[k]
                if isinstance(found, np.ndarray) and not fault(found, image, mask):
                    yield found
                    continue
                generator.set_state(states[k])
                try:
                    yield self._checked(given, generator, image, mask)
                except BlankedError as error:
                    yield error

    def _checked(self, given: dict[str, Any], generator: torch.Generator, image: Image, mask: Mask) -> Picture:
        """One candidate that is a picture, in float32 if need be."""
        state = generator.get_state()
        picture = self._run(given, generator)
        if (wrong := fault(picture, image, mask)) and self.memory.widen():
            log.warning("%s made %s in half precision: now in float32", self.name, wrong)
            generator.set_state(state)
            picture = self._run(given, generator)
            wrong = fault(picture, image, mask)
        if wrong:
            raise ModelUnavailableError(
                f"expected {self.able.pipeline} of {self.name} to repaint, got {wrong}; check its files with "
                f"'restore models verify {self.name}', or use another model"
            )
        return picture

    def arguments(
        self,
        image: Image,
        mask: Mask,
        prompt: str,
        negative: str,
        steps: int,
        on_step: OnStep | None,
        strength: float | None = None,
    ) -> dict[str, Any]:
        """What the pipeline's call is given, but for its generator; "within": what it is called in."""
        able, (height, width) = self.able, mask.shape
        photo, hole = Pillow.fromarray(image), Pillow.fromarray((mask ^ able.inverted).astype(np.uint8) * 255)
        given: dict[str, Any] = {"output_type": "np"}
        if able.photo:
            given[able.photo] = [photo] if able.listed else photo
        if able.mask:
            given[able.mask] = hole
        if able.control:
            given["control_image"] = _without_hole(image, mask)
        if able.words:
            given["prompt"] = prompt
        if self.negative:
            given["negative_prompt"] = negative
        if able.sides:
            given |= {"height": height, "width": width}
        given |= dict.fromkeys(able.off, False)
        if able.area:
            given[able.area] = height * width if able.area == "max_area" else round(math.sqrt(height * width))
        if able.steps is not None:
            given["num_inference_steps"] = steps
        if able.guidance and self.scale is not None:
            given[able.guidance] = self.scale
        strength = self.strength_for(steps, mend=False) if strength is None else strength
        if able.blends:
            given["within"] = functools.partial(blended, self.pipe, image, mask, strength or 1.0, self.name)
        elif able.strength is not None:
            given["strength"] = strength
        if able.image_guidance:
            given["image_guidance_scale"] = self.options.image_guidance
        if able.frames:
            given["num_frames"] = FRAMES
        if able.callback == "callback_on_step_end":
            given[able.callback] = lambda pipe, index, timestep, values: (on_step and on_step(), values)[1]
        elif able.callback:
            given[able.callback] = lambda *_: on_step and on_step()
        return given

    def _run(self, given: dict[str, Any], generator: torch.Generator) -> Picture:
        (made,) = self.memory.run(lambda: self._made(given, [generator]))
        if isinstance(made, BlankedError):
            raise made
        return made

    def _made(self, given: dict[str, Any], generators: Sequence[torch.Generator]) -> list[Any]:
        """One call for as many candidates as there are generators: pictures, and errors for blank ones. A call that is
        run again sees the same noise. Raises torch.OutOfMemoryError, and ModelUnavailableError for all else."""
        states = [generator.get_state() for generator in generators]
        within = given.get("within", lambda generators: contextlib.nullcontext())
        asked = {key: value for key, value in given.items() if key != "within"}
        try:
            with quiet("diffusers", "transformers"), seeded(generators[0], self.memory.device), within(generators):
                out = self.pipe(**asked, generator=generators[0] if len(generators) == 1 else list(generators))
                made: list[Any] = _pictures(out, len(generators))
                hidden = list(getattr(out, "nsfw_content_detected", None) or [])
        except torch.OutOfMemoryError:
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)
            raise
        except RestoreError:
            raise
        except Exception as error:  # diffusers, transformers and what they call raise whatever they please
            raise ModelUnavailableError(
                f"expected {self.able.pipeline} of {self.name} to repaint, got: {one_line(error)}"
            ) from error
        blank = BlankedError(
            f"expected a fill of {self.name}, got a blank one: its safety checker took it for something unsafe; "
            "try another seed or other words"
        )
        return [blank if any(hidden[k : k + 1]) else picture for k, picture in enumerate(made)]


def _least(strength: float | None) -> int:
    """Steps of which a call at that strength makes two."""
    return 0 if strength is None else math.ceil(TRIAL / strength)


def _pictures(out: Any, count: int) -> list[Picture]:
    """(h, w, 3) of what a pipeline returned: its first pictures, without the transparency that no photo has, or the
    last frames of its first videos."""
    pictures = getattr(out, "images", getattr(out, "image", None))  # Kandinsky 5 has one name for several
    found = [frames[-1] for frames in out.frames[:count]] if pictures is None else pictures[:count]
    arrays = [np.asarray(picture)[..., :3] for picture in found]
    return [np.asarray(x / 255 if x.dtype == np.uint8 else x, np.float32) for x in arrays]


def _without_hole(image: Image, mask: Mask) -> torch.Tensor:
    """(1, 3, h, w) in [0, 1], -1 in the hole: what ControlNets for inpainting were trained on."""
    pixels = image.astype(np.float32) / 255
    pixels[mask] = -1
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


@contextlib.contextmanager
def seeded(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """torch's own generators seeded for a while: some classes draw from these whatever generator they are given."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(generator.initial_seed())
        yield
