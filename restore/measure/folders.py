"""Folders of pictures as sets; pictures of one name belong together."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from restore.errors import InputError
from restore.measure.files import find_images
from restore.measure.pictures import Item, Record
from restore.measure.sets import PictureSet


def labels_of(folders: list[Path]) -> list[str]:
    """Short and different names: the folders' own, or their paths where those repeat."""
    names = [folder.resolve().name for folder in folders]
    labels = names if len(set(names)) == len(names) else [str(folder) for folder in folders]
    if len(set(labels)) < len(labels):
        raise InputError(f"expected different folders to compare, got {', '.join(labels)}")
    return labels


def plans_of(roots: list[Path]) -> list[list[Item]]:
    """What to measure, by folder, the reference first; pictures with a reference of their name get it as truth."""
    plans: list[list[Item]] = []
    truths: dict[str, Path] = {}
    for root in roots:
        if not root.is_dir():
            raise InputError(f"{root}: expected a folder of pictures, found none")
        names: dict[str, Path] = {}
        for path in find_images([root]):
            name = str(path.relative_to(root).with_suffix(""))
            if name in names:
                raise InputError(f"{path}: expected one picture per name, found {names[name].name} as well")
            names[name] = path
        plans.append([Item(path, None, truths.get(name)) for name, path in sorted(names.items())])
        truths = truths or names
    return plans


def by_set(records: Sequence[Record], plans: list[list[Item]]) -> list[dict[str, Record]]:
    """What could be measured of every folder, by name; `records` in the order of `plans`."""
    parts, start = [], 0
    for plan in plans:
        root = Path(_common([item.image for item in plan]))
        part = records[start : start + len(plan)]
        parts.append({str(r.image.relative_to(root).with_suffix("")): r for r in part if r.error is None})
        start += len(plan)
    return parts


def _common(paths: list[Path]) -> str:
    return os.path.commonpath([path.parent for path in paths])


def picture_set(label: str, records: dict[str, Record], net: str) -> PictureSet:
    """The set of `records` in the features of `net`. Raises InputError where there are none."""
    if not records:
        raise InputError(f"{label}: expected readable pictures, got none")
    names = sorted(records)
    features = np.stack([records[name].features[net] for name in names])
    return PictureSet(label, names, features, [records[name].scores for name in names])
