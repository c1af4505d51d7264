"""The class that repaints with the same parts: a text-to-image model's inpainting relative, found by its parts.

diffusers has about one class for each use of the same networks. Of those that take photo, mask and words, one that
needs no part which is not there, and takes the parts that are, does.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from restore.pipelines.hub.capabilities import EDITOR, capabilities_of
from restore.pipelines.hub.folder import Configs
from restore.pipelines.hub.library import diffusers

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*")
OTHERS = re.compile(r"Marigold|AnimateDiff|PIA|UnCLIP|LDM3D|Depth|Upscale|Resolution|Variation|Layered|Control|Onnx")
NETWORKS = ("unet", "transformer", "vae", "movq", "vqvae", "text_encoder", "text_encoder_2", "text_encoder_3")


def pipeline_class(name: str) -> type | None:
    """The class of that name in diffusers, None if it has none."""
    found = getattr(diffusers(), name, None)
    return found if isinstance(found, type) and issubclass(found, diffusers().DiffusionPipeline) else None


@cache
def repainting() -> tuple[type, ...]:
    """Every class of the installed diffusers that fills a mask or edits a photo by words, usable or not."""
    found = []
    for kind in _classes():
        name = kind.__name__
        accepts = inspect.signature(kind.__call__).parameters
        masked = any(key in accepts for key in ("mask_image", "mask", "control_mask"))
        if masked or (EDITOR.search(name) and ("image" in accepts or "images" in accepts)):
            found.append(kind)
    return tuple(found)


def _classes() -> Iterator[Any]:
    """All pipelines of the installed diffusers."""
    for name in sorted(dir(diffusers())):
        if "Pipeline" not in name or "Modular" in name or name.startswith(("Flax", "AutoPipeline")):
            continue
        try:
            kind = pipeline_class(name)
        except (AttributeError, ImportError, RuntimeError):  # named, but gone or without what it needs
            continue
        if kind is not None:
            yield kind


@cache
def painting() -> tuple[type, ...]:
    """Every class of the installed diffusers that makes pictures from words and can be made to fill by blending."""
    return tuple(kind for kind in _classes() if capabilities_of(kind, {}).blends)


def class_for(kind: type, parts: Mapping[str, str], configs: Configs) -> type:
    """What to load a folder of pipeline class `kind` as: itself if it repaints, else its relative, else itself.

    parts: class by component (folder.parts_in). An editor gives way only to the class that is it with a mask.
    """
    found = capabilities_of(kind, configs)
    if (found.mask and not found.lacks) or OTHERS.search(kind.__name__) or not _plain(configs):
        return kind
    relatives = [other for other in _fitting(parts, configs) if other is not kind]
    if not found.lacks and not found.blends:
        exact = kind.__name__.replace("Pipeline", "InpaintPipeline")
        return next((other for other in relatives if other.__name__ == exact), kind)
    words = _words(kind)
    return min(relatives, key=lambda other: (-_common(words, _words(other)), len(other.__name__)), default=kind)


def _words(kind: type) -> list[str]:
    return WORD.findall(kind.__name__)


def _common(first: list[str], second: list[str]) -> int:
    """Words at the start that are the same."""
    same = [a == b for a, b in zip(first, second, strict=False)]
    return (*same, False).index(False)


def _fitting(parts: Mapping[str, str], configs: Configs) -> Iterator[type]:
    """Inpainting classes for these parts that are no ControlNet: those want what their network was trained for."""
    for kind in repainting():
        if "Inpaint" not in kind.__name__ or re.search("Control|Legacy|Onnx", kind.__name__):
            continue
        able = capabilities_of(kind, configs)
        if able.mask and able.words and not able.lacks and _takes(kind, parts):
            yield kind


def _takes(kind: Any, parts: Mapping[str, str]) -> bool:
    """Whether `kind` needs no other parts than these, of their types; one of them denoises, one reads words."""
    signature = inspect.signature(kind.__init__).parameters
    needed = {k for k, p in signature.items() if k != "self" and p.default is p.empty} - set(kind._optional_components)
    needed |= {"text_encoder", "tokenizer"} & set(signature)
    left = {part for part in parts if part.startswith("text_encoder")} - set(signature)
    if left or not needed <= set(parts) or not needed & {"unet", "transformer"}:
        return False
    types = kind._get_signature_types()
    return all(_is(parts[part], types.get(part, ())) for part in NETWORKS if part in parts and part in signature)


def _is(name: str, types: Any) -> bool:
    """Whether a class of that name is one of `types`: by name, or any of a base class such as PreTrainedModel."""
    known = [t for t in types if isinstance(t, type)]
    return any(t.__name__ in (name, "PreTrainedModel", "ModelMixin") for t in known)


def _plain(configs: Configs) -> bool:
    """Whether the network denoises latents and nothing beside them: editors, enlargers and depth models take more."""
    unet, transformer = configs.get("unet", {}), configs.get("transformer", {})
    taken, given = (unet or transformer).get("in_channels"), (unet or transformer).get("out_channels")
    if not isinstance(taken, int) or not isinstance(given, int):
        return True  # diffusers' own default is the plain one
    if unet:
        return taken in (given, 2 * given + 1) or 2 * taken == given  # 9: for inpainting; IF also predicts a variance
    patch = transformer.get("patch_size")
    return taken in (given, given * 4, given * (patch if isinstance(patch, int) else 1) ** 2)
