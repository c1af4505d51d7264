"""Pictures in order: one grade of many, and the losers moved away."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from restore.errors import InputError
from restore.quality.catalogue import better_of

GRADES = ("quality", "score", "natural", "giqa_gmm")  # what "overall" is made of, where measured


def add_overall(rows: list[dict[str, Any]]) -> None:
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


def goodness(row: dict[str, Any], by: str) -> float:
    """The row's measure `by`, turned so that more is better."""
    return float(-row[by] if better_of(by) == "lower" else row[by])
