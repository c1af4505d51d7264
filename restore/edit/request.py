"""What is asked of a photo, checked once and as far as it can be without a model. Light: no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore.errors import InputError
from restore.grounding.grammar import Instruction, parse
from restore.grounding.painting import paintable
from restore.hub.cache import FILES, described
from restore.images.huge import AnyPhoto, HugePhoto
from restore.images.mask import AnyMask, check_point, given_mask, load_mask
from restore.settings import EMBEDDED

LEAST_SIDE = 8  # smaller photos hold nothing to copy from


@dataclass(frozen=True)
class Request:
    """photo: what to repaint; prompt, instruction: the words and what they mean; given (H, W): a mask or box, and
    which of them by name; point (x, y): a click. like: what the user gave as a photo, the result will be of its kind.
    """

    photo: AnyPhoto
    prompt: str | None = None
    instruction: Instruction | None = None
    given: NDArray[np.bool_] | None = None
    kind: str = "mask"
    point: tuple[int, int] | None = None
    like: Any = None


def to_inpaint(
    model: str,
    photo: AnyPhoto,
    prompt: str | None = None,
    mask: AnyMask = None,
    box: Sequence[int] | None = None,
    point: Sequence[int] | None = None,
    *,
    like: Any = None,
) -> Request:
    """Remove, replace or add what the words say, or what mask, box or point shows. Raises InputError for what cannot
    be, or not by `model`."""
    if sum(x is not None for x in (mask, box, point)) > 1:
        raise InputError("expected at most one of mask, box and point, got several; keep one")
    if prompt is None and mask is None and box is None and point is None:
        raise InputError("expected a prompt, mask, box or point that says what to remove, got none")
    instruction = None if prompt is None else parse(prompt)
    check_instruction(model, instruction)
    if model == "instruct" and (point is not None or prompt is None):
        got = "none" if point is None else "a point"
        raise InputError(f"expected a prompt, got {got}: model 'instruct' is told by words; use --model builtin")
    if min(photo.size) < LEAST_SIDE:
        raise InputError(
            f"expected a photo of at least {LEAST_SIDE}×{LEAST_SIDE} pixels, got {photo.size[0]}×{photo.size[1]}"
        )
    given = given_mask(mask, box, photo.size)
    clicked = None if point is None else check_point(point, photo.size)
    return Request(photo, prompt, instruction, given, "box" if mask is None else "mask", clicked, like)


def to_refine(photo: AnyPhoto, mask: AnyMask = None, *, like: Any = None) -> Request:
    """Repair artifacts, inside `mask` or anywhere. Raises InputError."""
    if mask is None and isinstance(photo, HugePhoto):
        raise InputError("expected a mask that says where to look in so large a photo, got none; give one")
    return Request(photo, given=None if mask is None else load_mask(mask, photo.size), like=like)


def check_instruction(model: str, instruction: Instruction | None) -> None:
    """Raises InputError if the model cannot do what the instruction asks for."""
    if instruction is None:
        return
    if instruction.action == "keep":
        raise InputError(
            f"expected something to remove, got all but '{instruction.phrase}': that is too much to make up; "
            "`restore segment` gives the mask of it"
        )
    if instruction.subject is None:
        return
    if model == "builtin":
        paintable(instruction.subject)
    elif _wordless(model):
        raise InputError(
            f"expected an instruction to remove something, got one to {instruction.action}: model '{model}' fills from "
            "the surroundings; use one that hears words, for example --model sd15-inpaint"
        )


def _wordless(model: str) -> bool:
    if model in EMBEDDED:
        return True
    preset = described(model)
    return bool(preset.file) or Path(preset.path).suffix.lower() in FILES
