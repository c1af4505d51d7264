"""What a diffusers pipeline takes and gives, read once from its signature and its parts' configs.

Adapters, messages, `restore models show` and docs/models.md follow from this one table.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from restore.pipelines.hub.folder import Configs

EDITOR = re.compile(r"Pix2Pix|Edit|Kontext|Flux2|I2I|DreamLite|Omni|GlmImage|QwenImage21")  # photo + words → photo
INSTRUCTED = re.compile(r"Pix2Pix|Edit|Kontext")  # told what to do, not what shall be seen, with a mask too
VIDEO = re.compile(r"Video|Wan|VACE|EasyAnimate|LTX|Cosmos|Audio")
ANY_SIZE = 1024  # native side of models whose config names none
AUTOENCODERS = ("vae", "movq", "vqvae", "vqgan")
DENOISERS = ("unet", "transformer")
DISTILLED = 4  # steps of what says no more than that it was distilled
WHOLE = 0.9  # strength from which nothing of an object is left to see

# What some classes cannot do without, although their signature has a default for it.
WANTED = {
    "original_image": "the photo before it was made small",
    "image_latents": "latents of an inversion",
    "example_image": "a picture of what shall appear",
    "image_embeds": "image embeddings; its combined pipeline makes them",
    "negative_image_embeds": "negative image embeddings",
    "source_prompt": "a description of the photo as it is",
    "control_mode": "the kind of its control image",
    "control_image": "a control image (edges, depth, pose)",
    "task_prompt": "a grid of examples",
    "video": "a video",
}
AREAS = ("max_area", "output_resolution")
OFF = ("use_resolution_binning", "enable_prompt_rewrite")  # another size, other words than were asked for
# Of what makes pictures from words: those whose steps or latents are of another kind, and old trials.
OTHER = re.compile(
    "AnimateDiff|PIA|Control|Panorama|LDM3D|UnCLIP|Layered|Sprint|Kandinsky|GLIGEN|Latte|Paradigms|Zero|Versatile|Ernie|"
    "Ideogram|AltDiffusion|Editing|Semantic|SAG|Safe|HunyuanImage|Nucleus|HiDream|Consistency"
)
MORE = {"input_images", "image_latents", "num_frames", "audio_latents", "source_prompt", "task_prompt"}
UNCONDITIONAL = ("RePaintPipeline",)
LISTED = ("GlmImagePipeline",)  # its `image` is a list of photos, whatever its signature says
JSON = re.compile(r"Fibo")  # prompts are JSON documents that a language model writes


@dataclass(frozen=True)
class Capabilities:
    """photo, mask, callback: names of the arguments, "" = none. A pipeline without a mask edits the whole picture.

    words: it hears a prompt; instructed: which says what to do; negative: it hears a negative prompt; guidance: the
    argument of its scale, "" = none; real: that scale is classifier-free guidance, not distilled into the network;
    control: it takes a control image, which is made from the photo and its hole; sides: height and width can be asked
    for; listed: it takes a list of photos; inverted: its mask is white where the photo is kept; square: it takes
    size × size alone; area: the argument of the area, or of its root, that it would bring every picture to; off:
    switches that are turned off; frames: it gives frames, of which the last counts.
    size: native side, pixels; multiple: of both sides. steps, scale, strength: its own defaults, None = it has none.
    blends: it makes pictures from words and has no place for a photo, whose known part is re-imposed in every step
    (blending.py). lacks: what it needs and nobody here offers, "" = it runs.
    """

    pipeline: str
    photo: str
    mask: str
    words: bool
    instructed: bool
    negative: bool
    guidance: str
    real: bool
    strength: float | None
    image_guidance: bool
    control: bool
    callback: str
    sides: bool
    listed: bool
    inverted: bool
    square: bool
    area: str
    off: tuple[str, ...]
    frames: bool
    size: int
    multiple: int
    steps: int | None
    scale: float | None
    blends: bool
    lacks: str

    @property
    def edits(self) -> bool:
        return not self.mask and not self.blends

    @property
    def sentence(self) -> str:
        """What it does, for people."""
        if self.lacks:
            return f"not used: needs {self.lacks}"
        told = "an instruction" if self.instructed else "words" if self.words else "nothing but the photo"
        where = "edits the whole crop; what changed inside the hole is kept" if self.edits else "fills the mask"
        where += ", the known part re-imposed in every step" if self.blends else ""
        extra = ", a negative prompt" if self.negative else ""
        return f"{where}; hears {told}{extra}"


def capabilities_of(kind: Any, configs: Configs) -> Capabilities:
    """What pipeline class `kind` does with parts of these configs (name of the part → its config)."""
    name = kind.__name__
    accepts = inspect.signature(kind.__call__).parameters
    parts = inspect.signature(kind.__init__).parameters
    mask = _first(accepts, "mask_image", "mask", "control_mask")
    photo = "control_image" if mask == "control_mask" else _first(accepts, "image", "images")
    guidance, real = _guidance(accepts, configs)
    steps = _default(accepts, "num_inference_steps", int)
    blends = not photo and not mask and _blends(name, accepts, parts)
    strength = _default(accepts, "strength", float)
    if blends or (strength or 0.0) < WHOLE:
        # At its default of .6 an object that shall go stays: less than WHOLE is for changing things a little.
        strength = 1.0 if blends or "strength" in accepts else None
    size, multiple = _sizes(configs)
    control = "control_image" in accepts and photo != "control_image"
    return Capabilities(
        pipeline=name,
        photo=photo,
        mask=mask,
        words="prompt" in accepts,
        instructed=bool(INSTRUCTED.search(name)) or (not mask and not blends and bool(EDITOR.search(name))),
        negative=real and "negative_prompt" in accepts,
        guidance=guidance,
        real=real,
        strength=strength,
        image_guidance="image_guidance_scale" in accepts,
        control=control and "controlnet" in parts,
        callback=_first(accepts, "callback_on_step_end", "callback"),
        sides="height" in accepts and "width" in accepts,
        listed=photo == "images" or name in LISTED,
        inverted=name in UNCONDITIONAL,
        square=name in UNCONDITIONAL,
        area=_first(accepts, *AREAS),
        off=tuple(switch for switch in OFF if switch in accepts),
        frames="num_frames" in accepts,
        size=size,
        multiple=multiple,
        steps=DISTILLED if _distilled(configs) else steps,
        scale=_default(accepts, guidance, float) if guidance else None,
        blends=blends,
        lacks="" if blends else _lacks(name, accepts, parts, photo, mask),
    )


def _blends(name: str, accepts: Mapping[str, inspect.Parameter], parts: Mapping[str, Any]) -> bool:
    """Whether it makes pictures from words alone, through an autoencoder and a scheduler."""
    if VIDEO.search(name) or OTHER.search(name) or JSON.search(name) or name.startswith("Onnx"):
        return False
    own = {"self", "prompt", "args", "kwargs"}
    if any(p.default is p.empty and p.kind is not p.VAR_KEYWORD for k, p in accepts.items() if k not in own):
        return False
    needed = {"prompt", "height", "width", "num_inference_steps", "generator", "output_type"}
    return needed <= set(accepts) and {"vae", "scheduler"} <= set(parts) and not MORE & set(accepts)


def _lacks(name: str, accepts: Mapping[str, inspect.Parameter], parts: Mapping[str, Any], photo: str, mask: str) -> str:
    """What the class needs and nobody here offers."""
    if VIDEO.search(name):
        return "sound or video, which no photo is"
    if name.startswith("Onnx"):
        return "sessions of ONNX Runtime; take the folder with safetensors that it was made of"
    if not photo or not (mask or EDITOR.search(name)):
        return f"a place for the {'mask' if photo else 'photo: it makes pictures from words'}"
    offered = {"self", "prompt", "negative_prompt", photo, mask, "args", "kwargs"}
    required = [k for k, p in accepts.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    wanted = [k for k in required if k not in offered]
    wanted += [k for k in ("original_image", "image_latents", "task_prompt") if k in accepts and k not in wanted]
    if "Union" in name:
        wanted.append("control_mode")
    if "control_image" in accepts and photo != "control_image" and "controlnet" not in parts:
        wanted.append("control_image")
    if JSON.search(name):
        return "a prompt in JSON, which a language model of its own writes"
    return ", ".join(f"{WANTED.get(k, 'something nobody here offers')} ({k})" for k in dict.fromkeys(wanted))


def _guidance(accepts: Mapping[str, inspect.Parameter], configs: Configs) -> tuple[str, bool]:
    """The argument of the guidance scale, and whether it is classifier-free guidance.

    A network with `guidance_embeds` was given the scale as an input when it was distilled; where its class has a true
    scale beside it, that one costs a second pass and is left off.
    """
    embedded = next((configs[p]["guidance_embeds"] for p in DENOISERS if "guidance_embeds" in configs.get(p, {})), None)
    if "true_cfg_scale" in accepts and (embedded is False or "guidance_scale" not in accepts):
        return "true_cfg_scale", True
    if "guidance_scale" in accepts and (embedded is not None or accepts["guidance_scale"].default is not None):
        return "guidance_scale", not embedded and not _distilled(configs)
    return "", False


def _distilled(configs: Configs) -> bool:
    """Whether the index says that the pipeline was distilled and so ignores guidance."""
    return configs.get("", {}).get("is_distilled") is True


def _sizes(configs: Configs) -> tuple[int, int]:
    """Native side, and the multiple that autoencoder and the network's levels or 2×2 patches halve evenly."""
    coder = next((configs[part] for part in AUTOENCODERS if part in configs), None)
    factor = 1 if coder is None else _factor(coder)
    part = next((p for p in DENOISERS if p in configs), "")
    net = configs.get(part, {})
    side = net.get("sample_size")
    side = max(side) if isinstance(side, (list, tuple)) and side else side
    size = int(side) * factor if isinstance(side, int) and not isinstance(side, bool) and side > 0 else ANY_SIZE
    levels = net.get("block_out_channels")  # aMUSEd's is one number
    halvings = len(levels) - 1 if part == "unet" and isinstance(levels, (list, tuple)) else 1
    halvings += "prior_vq_quantizer_codebook_size" in net  # GLM-Image's language model has a token for 2×2 patches
    multiple = math.lcm(8, factor * 2**halvings)
    return max(multiple, size), multiple


def _factor(coder: Mapping[str, Any]) -> int:
    """Pixels a side that become one latent."""
    if isinstance(coder.get("scale_factor_spatial"), int):
        return int(coder["scale_factor_spatial"])
    levels = coder.get("block_out_channels") or coder.get("encoder_block_out_channels") or coder.get("dim_mult")
    return int(2 ** (len(levels) - 1)) if levels else 8


def _first(accepts: Mapping[str, Any], *names: str) -> str:
    return next((name for name in names if name in accepts), "")


def _default(accepts: Mapping[str, inspect.Parameter], name: str, kind: type) -> Any:
    value = accepts[name].default if name in accepts else None
    return kind(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
