"""What is asked of a photo, checked once and as far as it can be without a model. Light: no torch."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore.errors import InputError
from restore.grounding.grammar import parse, parse_shown
from restore.grounding.meaning import OVERLAY_KINDS, Describe, Instruction, Overlay
from restore.grounding.painting import paintable
from restore.hub.cache import FILES, described
from restore.images.geometry import Box
from restore.images.huge import AnyPhoto, HugePhoto
from restore.images.mask import AnyMask, box_mask, check_point, load_mask, united
from restore.settings import EMBEDDED

LEAST_SIDE = 8  # smaller photos hold nothing to copy from
ALL = "all"  # every kind of overlay, as far as it is there
KINDS = (*OVERLAY_KINDS, ALL)
Mask = NDArray[np.bool_]
Several = Any  # None, one of something, or a sequence of them


@dataclass(frozen=True)
class Said:
    """Words and what they mean; source: "prompt" or "find"."""

    source: str
    text: str
    instruction: Instruction


@dataclass(frozen=True)
class Shown:
    """A mask or box that was given, (H, W); source: which of them."""

    source: str
    mask: Mask


@dataclass(frozen=True)
class Part:
    """One of the regions that were united: "prompt", "find", "mask", "box", "point" or "artifacts"; what was said, if
    anything; its pixels and box (x, y, w, h)."""

    source: str
    said: str | None
    pixels: int
    box: Box


@dataclass(frozen=True)
class Request:
    """photo: what to repaint; said: words, which are looked for inside what is shown and at the points where there are
    any; without words these are meant themselves, points (x, y) as the objects there. like: what the user gave as a
    photo, the result will be of its kind. sure: whether to refuse what the words may not mean.
    """

    photo: AnyPhoto
    said: tuple[Said, ...] = ()
    shown: tuple[Shown, ...] = ()
    points: tuple[tuple[int, int], ...] = ()
    like: Any = None
    sure: bool = False

    @property
    def searched(self) -> bool:
        """Whether words have to be looked up; a description tells what shall appear, not where."""
        return any(not said.instruction.described for said in self.said)

    @property
    def instruction(self) -> Instruction | None:
        """All words as one instruction, which lists their things; None without words."""
        if not self.said:
            return None
        first, *things = [thing for said in self.said for thing in said.instruction.things]
        return replace(first, also=tuple(replace(thing, also=()) for thing in things))

    @property
    def given(self) -> Mask | None:
        """(H, W): all that is shown; None where nothing is."""
        return united([shown.mask for shown in self.shown]) if self.shown else None


def to_inpaint(
    model: str,
    photo: AnyPhoto,
    prompt: Several = None,
    mask: Several = None,
    box: Several = None,
    point: Several = None,
    find: Several = None,
    *,
    like: Any = None,
    sure: bool = False,
) -> Request:
    """Remove, replace or add what the words say, or what masks, boxes and points show; `find` names overlays. With one
    of these a prompt without a verb tells what shall appear there. Raises InputError for what cannot be, or not by
    `model`."""
    masks: list[AnyMask] = _each(mask)
    boxes, points = _rows(box), _rows(point)
    if not (prompt or find or masks or boxes or points):
        raise InputError("expected a prompt, find, mask, box or point that says what to remove, got none")
    said = words_of(prompt, find, shown=bool(masks or boxes or points))
    for words in said:
        check_instruction(model, words.instruction)
    if model == "instruct" and (points or len(said) != 1 or said[0].source != "prompt"):
        got = "a point" if points else "none" if not said else "something else or several"
        raise InputError(f"expected one prompt, got {got}: model 'instruct' is told by words; use --model builtin")
    if min(photo.size) < LEAST_SIDE:
        raise InputError(
            f"expected a photo of at least {LEAST_SIDE}×{LEAST_SIDE} pixels, got {photo.size[0]}×{photo.size[1]}"
        )
    shown = [Shown("mask", load_mask(one, photo.size)) for one in masks]
    shown += [Shown("box", box_mask(one, photo.size)) for one in boxes]
    return Request(photo, said, tuple(shown), tuple(check_point(one, photo.size) for one in points), like, sure)


def to_refine(photo: AnyPhoto, mask: AnyMask = None, *, like: Any = None) -> Request:
    """Repair artifacts, inside `mask` or anywhere. Raises InputError."""
    if mask is None and isinstance(photo, HugePhoto):
        raise InputError("expected a mask that says where to look in so large a photo, got none; give one")
    shown = () if mask is None else (Shown("mask", load_mask(mask, photo.size)),)
    return Request(photo, shown=shown, like=like)


def words_of(prompt: Several = None, find: Several = None, *, shown: bool = False) -> tuple[Said, ...]:
    """Prompts, said with something `shown` or without, and kinds of overlays as they are understood. Raises InputError
    for what cannot be read."""
    read = _read_shown if shown else parse
    said = [Said("prompt", text, read(text)) for text in _each(prompt)]
    said += [Said("find", kind, _overlay(kind)) for kind in dict.fromkeys(_each(find))]
    if len(said) > 1 and (other := next((words.text for words in said if words.instruction.action != "remove"), None)):
        raise InputError(f"expected several prompts to remove something each, got '{other}'; say it alone")
    return tuple(said)


def _read_shown(text: str) -> Instruction:
    """A command, or what shall appear as an instruction to add it."""
    told = parse_shown(text)
    if isinstance(told, Describe):
        return Instruction("add", told.text, subject=told.text, described=True)
    return told


def check_instruction(model: str, instruction: Instruction | None) -> None:
    """Raises InputError if the model cannot do what the instruction asks for."""
    if instruction is None:
        return
    if instruction.action == "keep":
        raise InputError(
            f"expected something to remove, got all but '{instruction.listed}': that is too much to make up; "
            "`restore segment` gives the mask of it"
        )
    if instruction.subject is None:
        return
    if model == "builtin":
        try:
            paintable(instruction.subject)
        except InputError as error:
            if not instruction.described:
                raise
            hint = f'say "remove …" where it shall go ({instruction.subject!r} with a region tells what shall appear)'
            raise InputError(f"{error}; {hint}") from None
    elif _wordless(model):
        raise InputError(
            f"expected an instruction to remove something, got one to {instruction.action}: model '{model}' fills from "
            "the surroundings; use one that hears words, for example --model sd15-inpaint"
        )


def sources(parts: Sequence[Part]) -> str:
    """Where the parts came from: "box", or "mask and box"."""
    return " and ".join(dict.fromkeys(part.source for part in parts))


def _overlay(kind: str) -> Instruction:
    if kind not in KINDS:
        close = difflib.get_close_matches(str(kind), KINDS, 1, 0.5)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise InputError(f"find: expected one of {', '.join(KINDS)}, got {kind!r}; {hint}else use a prompt")
    kinds = OVERLAY_KINDS if kind == ALL else tuple(k for k in OVERLAY_KINDS if k == kind)
    name = "text, scratches, dust or wires" if kind == ALL else kind
    return Instruction("remove", name, quantity="all", overlay=Overlay(kinds))


def _each(value: Several) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


def _rows(numbers: Several) -> list[Sequence[int]]:
    """The boxes or points of one, or of a sequence of them."""
    if numbers is None or len(numbers) == 0:
        return []
    rows = [tuple(n) if isinstance(n, (list, tuple, np.ndarray)) else n for n in numbers]
    return rows if all(isinstance(n, tuple) for n in rows) else [tuple(numbers)]


def _wordless(model: str) -> bool:
    if model in EMBEDDED:
        return True
    preset = described(model)
    return bool(preset.file) or Path(preset.path).suffix.lower() in FILES
