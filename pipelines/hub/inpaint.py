"""Any inpainting or instruction-editing pipeline of diffusers, from a folder on this machine.

Safetensors only, no remote code, no network: whoever names a model gets what lies in its folder.
"""

from __future__ import annotations

import inspect
import json
import logging
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow

from restore.errors import ModelUnavailableError
from restore.hub.cache import quiet
from restore.pipelines.hub.placement import DeviceMemory

EDITOR = re.compile(r"Pix2Pix|Edit|Kontext")  # classes that take an instruction and no mask
TRANSFORMER_SIZE = 1024  # native side of models whose config names none

log = logging.getLogger("restore")

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
OnStep = Callable[[], None]


@dataclass(frozen=True)
class PainterOptions:
    """size: native side, pixels (0: from the model's config); the rest as diffusers names it."""

    size: int = 0
    guidance: float = 7.5
    strength: float = 1.0
    image_guidance: float = 1.5


class Painter(Protocol):
    """What repaints a crop. size: native side, pixels, 0 = any; multiple: of both sides; edits: it takes an
    instruction and no mask; square: it takes size × size alone; speaks, negative: it hears a prompt, a negative one."""

    size: int
    multiple: int
    edits: bool
    square: bool
    speaks: bool
    negative: bool

    def __call__(
        self,
        image: Image,
        mask: Mask,
        prompt: str,
        negative: str,
        *,
        generator: torch.Generator,
        num_inference_steps: int,
        on_step: OnStep | None = None,
    ) -> NDArray[np.float32]:
        """image (h, w, 3), mask (h, w) → (h, w, 3) in [0, 1]; sides are multiples of `multiple`."""
        ...


class HubPainter:
    """A diffusers pipeline as a `Painter`."""

    speaks, square = True, False

    def __init__(self, pipe: Any, options: PainterOptions, device: torch.device, name: str) -> None:
        self.pipe, self.options, self.name = pipe, options, name
        pipe.set_progress_bar_config(disable=True)
        self.accepts = inspect.signature(type(pipe).__call__).parameters
        self.edits = "mask_image" not in self.accepts
        # Where both exist and the first is on, guidance is distilled and a negative prompt costs a second pass.
        distilled = self.accepts.get("guidance_scale")
        self.true_guidance = "true_cfg_scale" in self.accepts and (distilled is None or distilled.default is None)
        both = "true_cfg_scale" in self.accepts and not self.true_guidance
        self.negative = "negative_prompt" in self.accepts and not both
        self.size, self.multiple = options.size or _native_size(pipe), _multiple(pipe)
        self.memory = DeviceMemory(pipe, device, name)

    def __call__(
        self,
        image: Image,
        mask: Mask,
        prompt: str,
        negative: str,
        *,
        generator: torch.Generator,
        num_inference_steps: int,
        on_step: OnStep | None = None,
    ) -> NDArray[np.float32]:
        def step(pipe: Any, index: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
            if on_step is not None:
                on_step()
            return values

        height, width = mask.shape
        offered: dict[str, Any] = {
            "prompt": prompt,
            "image": Pillow.fromarray(image),
            "mask_image": Pillow.fromarray(mask.astype(np.uint8) * 255),
            "height": height,
            "width": width,
            "num_inference_steps": num_inference_steps,
            "strength": self.options.strength,
            "true_cfg_scale" if self.true_guidance else "guidance_scale": self.options.guidance,
            "image_guidance_scale": self.options.image_guidance,
            "output_type": "np",
            "callback_on_step_end": step,
        }
        if self.negative:
            offered["negative_prompt"] = negative
        given = {key: value for key, value in offered.items() if key in self.accepts}
        state = generator.get_state()

        def call() -> Any:
            generator.set_state(state)  # a call that is run again must see the same noise
            out = self.pipe(**given, generator=generator)
            if any(getattr(out, "nsfw_content_detected", None) or ()):
                log.warning("%s blanked the fill: its safety checker took it for something unsafe", self.name)
            return out.images[0]

        try:
            with quiet("diffusers", "transformers"):
                return np.asarray(self.memory.run(call), np.float32)
        except (RuntimeError, ValueError, TypeError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
            raise ModelUnavailableError(
                f"expected {type(self.pipe).__name__} of {self.name} to repaint, got: {reason}; is the folder complete?"
            ) from error


def open_pipeline(folder: Path, name: str = "", dtype: torch.dtype = torch.float32, also: Sequence[Path] = ()) -> Any:
    """The diffusers pipeline in `folder`; name: its class, "" = as its index says, made one that repaints.

    also: the folder of a prior that comes apart (Kandinsky). Raises ModelUnavailableError.
    """
    try:
        name = name or json.loads((folder / "model_index.json").read_text(encoding="utf-8"))["_class_name"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelUnavailableError(
            f"expected a diffusers pipeline in {folder}, found no model_index.json that names a class"
        ) from None
    with quiet("diffusers", "transformers"):
        try:
            return _open(folder, name, dtype, also)
        except (OSError, ValueError, ImportError, TypeError, AttributeError, KeyError) as error:
            reason = str(error).strip().splitlines()[0][:300]
            raise ModelUnavailableError(
                f"expected a diffusers {name} with safetensors in {folder}, got: {reason}"
            ) from None


def _open(folder: Path, name: str, dtype: torch.dtype, also: Sequence[Path]) -> Any:
    import diffusers

    found = getattr(diffusers, name, None)
    if not (isinstance(found, type) and issubclass(found, diffusers.DiffusionPipeline)):
        raise ValueError(f"no pipeline of that name in diffusers {diffusers.__version__}")
    if name.startswith("KandinskyV22") and not name.endswith("CombinedPipeline"):
        return _kandinsky(folder, dtype, also)
    accepts = inspect.signature(found.__call__).parameters
    if "mask_image" not in accepts and not (EDITOR.search(name) and "image" in accepts):
        found = diffusers.AutoPipelineForInpainting
    return _load(found, folder, dtype)


def _load(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    """From safetensors, the half-precision files where the folder has them."""
    half = "fp16" if any(folder.glob("*/*.fp16*.safetensors")) else None
    return kind.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, local_files_only=True, variant=half, low_cpu_mem_usage=True
    )


def _kandinsky(folder: Path, dtype: torch.dtype, also: Sequence[Path]) -> Any:
    """Decoder and prior come as two repositories; diffusers' combined pipeline takes the parts of both."""
    import diffusers

    if not also:
        raise ValueError("no prior beside the decoder; use the kandinsky-inpaint preset or a combined pipeline")
    decoder = _load(diffusers.KandinskyV22InpaintPipeline, folder, dtype)
    prior = _load(diffusers.KandinskyV22PriorPipeline, also[0], dtype)
    parts = {f"prior_{key}": value for key, value in prior.components.items()}
    return diffusers.KandinskyV22InpaintCombinedPipeline(**decoder.components, **parts)


def _native_size(pipe: Any) -> int:
    unet = getattr(pipe, "unet", None)
    size = unet.config.sample_size if unet is not None else None
    return int(size) * _vae_scale(pipe) if isinstance(size, int) else TRANSFORMER_SIZE


def _vae_scale(pipe: Any) -> int:
    movq = getattr(pipe, "movq", None)  # Kandinsky's decoder
    if movq is not None:
        return int(2 ** (len(movq.config.block_out_channels) - 1))
    return int(getattr(pipe, "vae_scale_factor", 8))


def _multiple(pipe: Any) -> int:
    """Sides that the VAE and the levels of the UNet, or the 2×2 patches of a transformer, halve evenly; always of 8."""
    unet = getattr(pipe, "unet", None)
    halvings = len(unet.config.block_out_channels) - 1 if unet is not None else 1
    return math.lcm(8, _vae_scale(pipe) * 2**halvings)
