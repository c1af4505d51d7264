"""Measured pictures as rows, and the rows in a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from restore.measure.pictures import Record
from restore.quality.catalogue import PER_IMAGE
from restore.quality.metrics.giqa import GmmScore, knn_score
from restore.quality.metrics.sets import bootstrap_interval

Row = dict[str, Any]


def row_of(record: Record) -> Row:
    """A record as one flat row, numbers as measured."""
    width, height = record.size
    return {"image": str(record.image), "width": width, "height": height, "sha256": record.sha256, **record.scores}


def summary_of(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Per measure that any row has: mean, 95 % bootstrap interval of the mean, min, max, n."""
    found = {}
    for key in PER_IMAGE:
        values = np.array([row[key] for row in rows if row.get(key) is not None])
        if len(values):
            interval = list(bootstrap_interval(values, draws=max(200, min(2000, 2_000_000 // len(values)))))
            low, high = float(values.min()), float(values.max())
            found[key] = {"mean": float(values.mean()), "interval": interval, "min": low, "max": high, "n": len(values)}
    return found


def add_giqa(rows: Sequence[Row], records: Sequence[Record], reference: Sequence[Record]) -> None:
    """The GIQA scores of every row, whose record this is, against the reference's. InputError for fewer than 8 of them.

    Needs records with features.
    """
    real, fake = (np.stack([r.features["lite0"] for r in found]) for found in (reference, records))
    for row, gmm, knn in zip(rows, GmmScore.fit(real)(fake), knn_score(fake, real), strict=True):
        row |= {"giqa_gmm": float(gmm), "giqa_knn": float(knn)}
