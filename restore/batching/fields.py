"""What may be set for a picture of a batch: the options of the single commands, by name and type. Light: no torch.

A value may come from a command line, a cell of a table or Python. `read_value` makes it what the single command would
have made of it, as plain JSON, so that equal settings have equal digests.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from restore.edit.request import check_instruction, words_of
from restore.enhancement.damage import Damage
from restore.enhancement.tasks import NAMES, read_motion, read_term
from restore.errors import InputError
from restore.images.mask import parse_box, parse_point
from restore.measure.options import MeasureOptions
from restore.pipelines.restoration.sampling import Sampling
from restore.settings import Settings

COMMANDS = ("inpaint", "enhance", "refine", "assess")
WHERE = ("prompt", "find", "mask", "box", "point")  # of `inpaint`: what says where, any of them several times
PATHS = ("mask", "reference")  # files that belong to a picture; may be named by a rule, see `plan`
Read = Callable[[Any], Any]


@cache
def fields_of(command: str) -> dict[str, Read]:
    """Every setting that `command` knows, and how its value is read."""
    common: dict[str, Read] = {"frame": _whole}
    if command == "assess":
        return {"mask": str, "reference": str, "device": str}
    if command == "refine":
        return common | {"mask": str} | _of(Settings)
    if command == "inpaint":
        several: dict[str, Read] = {"prompt": str, "find": str, "mask": str, "box": _box, "point": _point}
        flags: dict[str, Read] = {"yes": _flag, "draft": _flag}
        return common | {name: _each(one) for name, one in several.items()} | flags | _of(Settings)
    own: dict[str, Read] = {"task": str, "mask": str, "terms": _terms, "passes": _whole, "seed": _whole}
    own |= {"keep": _each(str), "neutral": _flag, "mark": _flag}
    return common | own | {"model": str, "device": str} | _of(Damage) | _of(Sampling)


def read_value(command: str, name: str, value: Any) -> Any:
    """`value` as JSON holds it. Raises InputError."""
    try:
        return fields_of(command)[name](value)
    except InputError:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(f"{name}: expected a value that {command} takes, got {value!r} ({error})") from None


def read_settings(command: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a whole batch: every name known, every value read; None is not given. Raises InputError."""
    import difflib

    known = fields_of(command)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"
            raise InputError(f"expected a setting of {command}, got '{name}'; {hint}")
    return {name: read_value(command, name, value) for name, value in sorted(given.items()) if is_given(value)}


def is_given(value: Any) -> bool:
    """Whether a cell says anything: empty texts and lists, None and not-a-number do not."""
    if value is None or value == "":
        return False
    if isinstance(value, float):
        return not math.isnan(value)
    return not (isinstance(value, (list, tuple, dict)) and len(value) == 0)


def check(command: str, settings: Mapping[str, Any]) -> None:
    """Raise InputError for settings that mean nothing, or not together."""
    if command in ("inpaint", "refine"):
        Settings(**part_of(Settings, settings))
        if command == "inpaint" and not any(settings.get(name) for name in WHERE):
            raise InputError("expected a prompt, find, mask, box or point that says what to remove, got none")
    elif command == "assess":
        MeasureOptions(device=settings.get("device", "auto"))
    else:
        task = settings.get("task")
        if task not in NAMES or task == "hdr":
            known = ", ".join(name for name in NAMES if name != "hdr")
            raise InputError(f"expected a task out of {known}, got {task!r}")
        Damage(**part_of(Damage, settings))
        Sampling(**part_of(Sampling, settings))
        if (task == "inpaint") != ("mask" in settings):
            raise InputError(f"expected a mask for inpaint and only there, got task {task}")
        if (task == "compose") != ("degradation" in settings):
            raise InputError(f"expected a degradation for compose and only there, got task {task}")


def check_words(settings: Mapping[str, Any]) -> None:
    """Raise InputError for words that `inpaint` cannot read, or the model cannot follow."""
    shown = any(settings.get(name) for name in ("mask", "box", "point"))
    for said in words_of(settings.get("prompt"), settings.get("find"), shown=shown):
        check_instruction(settings.get("model", Settings.model), said.instruction)


def part_of(kind: type, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are fields of a dataclass."""
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in settings.items() if name in names}


def _of(kind: type) -> dict[str, Read]:
    """How the fields of a dataclass are read, by their types."""
    found: dict[str, Read] = {}
    for name, hint in get_type_hints(kind).items():
        if hint == tuple[str, ...]:
            found[name] = _each(str)
            continue
        parts = [part for part in get_args(hint) if part is not NoneType] if get_origin(hint) is not tuple else []
        kinds = parts or [hint]
        if any(get_origin(part) is tuple for part in kinds):
            found[name] = _pair
        else:
            found[name] = {bool: _flag, int: _whole, float: _number}.get(kinds[0], str)
    return found


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError("expected a number")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("expected a finite number")
    return number


def _whole(value: Any) -> int:
    number = _number(value)
    if number != int(number):
        raise ValueError("expected a whole number")
    return int(number)


def _flag(value: Any) -> bool:
    known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    text = str(value).strip().lower()
    if text not in known:
        raise ValueError("expected true or false")
    return known[text]


def _each(one: Read) -> Read:
    """One of something, or a list of them, as JSON has it."""

    def read(value: Any) -> list[Any]:
        if isinstance(value, str) and value.lstrip().startswith("["):
            value = json.loads(value)
        rows = isinstance(value, (list, tuple)) and not (value and isinstance(value[0], (int, float)))
        return [one(part) for part in value] if rows else [one(value)]

    return read


def _box(value: Any) -> list[int]:
    return list(parse_box(value if isinstance(value, str) else ",".join(str(_whole(part)) for part in value)))


def _point(value: Any) -> list[int]:
    return list(parse_point(value if isinstance(value, str) else ",".join(str(_whole(part)) for part in value)))


def _pair(value: Any) -> list[float]:
    first, second = read_motion(value) if isinstance(value, str) else value
    return [_number(first), _number(second)]


def _terms(value: Any) -> dict[str, float]:
    """Weights by name: a mapping, or texts "exposure=0.1"."""
    if isinstance(value, str):
        value = json.loads(value) if value.lstrip().startswith("{") else value.split()
    pairs = value.items() if isinstance(value, Mapping) else map(read_term, value)
    return {str(name): _number(weight) for name, weight in pairs}
