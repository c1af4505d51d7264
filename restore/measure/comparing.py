"""Folders of pictures as sets, compared with a reference; pictures of one name belong together."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from restore.errors import InputError
from restore.measure.bench import Bench, Failed, OnStep, split
from restore.measure.files import check_folder, find_images
from restore.measure.options import CompareOptions
from restore.measure.pictures import Item, Record
from restore.measure.sets import PictureSet, SetScore, comparison, set_scores
from restore.measure.summary import Row, row_of
from restore.quality.judges.judge import Judgement

SCHEMA = "restore.compare/1"


@dataclass(frozen=True)
class Comparison:
    """findings: what `sets.comparison` says of the sets; rows: every picture's measures, with its "set". failed:
    "image" and "error" of those left out because they could not be measured."""

    findings: dict[str, Any]
    rows: list[Row]
    failed: list[Failed]
    judged: Callable[[Path], Judgement | None] = field(repr=False)

    @property
    def verdict(self) -> str:
        """Which set is better in what, in words."""
        return str(self.findings["verdict"])

    def summary(self) -> dict[str, Any]:
        """The JSON object of `restore compare --json`."""
        report = {"schema": SCHEMA} | self.findings | {"failed": self.failed}
        return report["sets"][0] | report if len(report["sets"]) == 1 else report


def compared(
    folders: Sequence[Path], reference: Path, options: CompareOptions, on_step: OnStep | None = None
) -> Comparison:
    """The sets in `folders` against that in `reference` and against each other. Raises InputError, Cancelled."""
    labels = labels_of(list(folders))
    plans = plans_of([reference, *folders])
    items = [item for plan in plans for item in plan]
    nets = "lite0", *options.features
    bench = Bench(options, len(items) + len(nets) * len(labels), on_step, options.features)
    records = bench.measure(items, features=True)
    parts, (_, failed) = by_set(records, plans), split(records)
    scored: list[dict[str, SetScore]] = [{} for _ in labels]
    sets: list[PictureSet] = []
    for net in nets:
        sets = [picture_set(label, part, net) for label, part in zip(("reference", *labels), parts, strict=True)]
        for scores, fake in zip(scored, sets[1:], strict=True):
            found = set_scores(sets[0], fake, net, options.draws)
            scores |= {k: v for k, v in found.items() if net == "lite0" or k.startswith(("fid", "kid"))}
            bench.step()
    rows = [{"set": label} | row_of(r) for label, part in zip(labels, parts[1:], strict=True) for r in part.values()]
    judged = bench.judging([item for plan in plans[1:] for item in plan])
    return Comparison(comparison(sets[0], sets[1:], scored), rows, failed, judged)


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
        check_folder(root)
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
