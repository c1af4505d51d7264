"""Where results go, and which files belong to a picture, by rules about names."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from restore.batching.fields import PATHS
from restore.batching.source import Row
from restore.batching.store import is_url
from restore.errors import InputError
from restore.images.decode import SUFFIXES, USUAL

HOME = ".batch"  # of a batch inside its output folder: job, plan, lease, receipts
REJECTED = "rejected"  # folder of results that a condition rejects
NAME = "{stem}{suffix}"


def filled(template: str, **names: str) -> str:
    """The template with its {names}. Raises InputError for a name there is not."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in names:
            raise InputError(
                f"{template}: expected names out of {', '.join(f'{{{n}}}' for n in names)}, got {match[0]}"
            )
        return names[match[1]]

    return re.sub(r"\{(\w*)\}", value, template)


def mirrored(name: str, template: str = NAME, kind: str | None = None) -> str:
    """The output of a picture called `name` inside its source, with the suffix that the format `kind` usually has."""
    folder, _, last = name.rpartition("/")
    stem, suffix = os.path.splitext(last)
    if kind is not None and SUFFIXES.get(suffix.lower()) != kind:
        stem, suffix = (stem if suffix.lower() in SUFFIXES else last), USUAL[kind]
    goal = stem + suffix if template == NAME else filled(template, stem=stem, suffix=suffix)
    return inside(f"{folder}/{goal}" if folder else goal)


def inside(goal: str) -> str:
    """`goal` if it is a file's name in a folder. Raises InputError."""
    parts = goal.split("/")
    if ".." in parts or parts[0] in ("", HOME) or not parts[-1] or "\0" in goal:
        raise InputError(f"{goal}: expected an output inside the folder, got one outside")
    return goal


def paths_of(value: Any) -> list[str]:
    """One path, several or none as a list."""
    return [] if value is None else list(value) if isinstance(value, list) else [value]


def rules_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that name a file per picture: `--mask "{stem}_mask.png"`."""
    return {name: settings[name] for name in PATHS if any("{" in text for text in paths_of(settings.get(name)))}


def files_of(row: Row, own: Mapping[str, Any], rules: Mapping[str, Any]) -> dict[str, Any]:
    """Masks and references of a row: those of its table's cells (`own`) are relative to the table, rules without a "/"
    to the picture's folder, others to the working directory."""
    found: dict[str, Any] = {}
    for name in PATHS:
        if name not in own and name not in rules:
            continue
        given, base = (own[name], row.folder or "") if name in own else (rules.get(name), "")
        paths = [_by_rule(text, row) for text in paths_of(given)]
        paths = [path if is_url(path) else os.path.join(base, path) for path in paths]
        if paths:
            found[name] = paths if isinstance(given, list) else paths[0]
    return found


def is_mask_of_another(row: Row, rules: Mapping[str, Any]) -> bool:
    """Whether a picture is the mask of one beside it, by the rules."""
    if row.cells or "mask" not in rules or is_url(row.image):
        return False
    folder, name = os.path.split(row.image)
    for text in paths_of(rules["mask"]):
        before, found, after = text.replace("{suffix}", os.path.splitext(name)[1]).partition("{stem}")
        stem = name[len(before) : len(name) - len(after)]
        if "/" not in text and found and before + after and stem and name == before + stem + after:
            return any(os.path.exists(os.path.join(folder, stem + end)) for end in SUFFIXES)
    return False


def _by_rule(text: str, row: Row) -> str:
    if "{" not in text:
        return text
    folder, _, name = row.name.rpartition("/")
    stem, suffix = os.path.splitext(name)
    path = filled(text, stem=stem, suffix=suffix, name=name, folder=folder or ".")
    if "/" in text:
        return path
    beside = row.image.rpartition("/")[0] if is_url(row.image) else os.path.abspath(os.path.dirname(row.image))
    return f"{beside}/{path}"
