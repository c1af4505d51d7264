"""The pictures of a folder in order: one grade of many, and the losers moved away."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from restore.errors import InputError, ModelUnavailableError
from restore.measure.bench import Bench, Failed, OnStep, split
from restore.measure.files import check_folder, find_images
from restore.measure.options import RankOptions
from restore.measure.pictures import Item
from restore.measure.summary import Row, add_giqa, row_of, summary_of
from restore.quality.catalogue import better_of
from restore.quality.judges.judge import Judgement

SCHEMA = "restore.rank/1"
GRADES = ("quality", "score", "natural", "giqa_gmm")  # what "overall" is made of, where measured


@dataclass(frozen=True)
class Ranking:
    """The pictures of `folder`, best first: a row each with "image", "rank", "kept" and every measure. failed,
    reference_failed: "image" and "error" of those left out because they could not be measured."""

    folder: Path
    by: str
    rows: list[Row]
    failed: list[Failed]
    reference_failed: list[Failed]
    judged: Callable[[Path], Judgement | None] = field(repr=False)

    @property
    def kept(self) -> list[Path]:
        return [Path(row["image"]) for row in self.rows if row["kept"]]

    @property
    def rejected(self) -> list[Path]:
        return [Path(row["image"]) for row in self.rows if not row["kept"]]

    def summary(self) -> dict[str, Any]:
        """The JSON object of `restore rank --json`."""
        told = {"images": self.rows, "failed": self.failed, "summary": summary_of(self.rows)}
        return {"schema": SCHEMA, "by": self.by} | told

    def move_rejected(self, folder: str | os.PathLike[str]) -> None:
        """Move the rejected pictures into `folder`, folders inside kept; all or none. Raises InputError."""
        move(self.rejected, self.folder, Path(folder))


def ranked(folder: Path, options: RankOptions, on_step: OnStep | None = None) -> Ranking:
    """The pictures in `folder` in order. Raises InputError, ModelUnavailableError, Cancelled."""
    check_folder(folder)
    items = [Item(path) for path in find_images([folder])]
    real = [] if options.reference is None else [Item(path) for path in find_images([Path(options.reference)])]
    bench = Bench(options, len(items) + len(real), on_step)
    measured = bench.measure([*items, *real], features=bool(real))
    records, failed = split(measured[: len(items)])
    rows = [row_of(record) for record in records]
    reference_failed: list[Failed] = []
    if real:
        reference, reference_failed = split(measured[len(items) :])
        add_giqa(rows, records, reference)
    if options.by != "overall" and any(row.get(options.by) is None for row in rows):
        raise ModelUnavailableError(
            f"expected the network behind --by {options.by}, but it is not installed; use another"
        )
    add_overall(rows)
    rows.sort(key=lambda row: goodness(row, options.by), reverse=True)
    for place, row in enumerate(rows):
        row |= {"rank": place + 1, "kept": place < options.count(len(rows))}
    return Ranking(folder, options.by, rows, failed, reference_failed, bench.judging(items))


def add_overall(rows: list[Row]) -> None:
    """ "overall" of every row: mean over GRADES of the share of other rows it beats, 0 to 100; ties count half."""
    grades = [g for g in GRADES if all(row.get(g) is not None for row in rows)]
    shares = [(rankdata([row[g] for row in rows]) - 1) / max(1, len(rows) - 1) for g in grades]
    for row, value in zip(rows, 100 * np.mean(shares, axis=0), strict=True):
        row["overall"] = float(value)


def move(paths: list[Path], root: Path, goal: Path) -> None:
    """Move `paths` from `root` into `goal`, folders inside kept. Nothing moves if anything would be overwritten."""
    goals = [goal / path.relative_to(root) for path in paths]
    taken = next((g for g in goals if os.path.lexists(g)), None)
    if taken is not None:
        raise InputError(f"{taken}: expected no such file in the folder for rejected pictures; nothing was moved")
    try:
        for path, target in zip(paths, goals, strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, target)
    except OSError as error:
        raise InputError(f"{goal}: expected to move pictures there, got: {error.strerror or error}") from error


def goodness(row: Row, by: str) -> float:
    """The row's measure `by`, turned so that more is better."""
    return float(-row[by] if better_of(by) == "lower" else row[by])
