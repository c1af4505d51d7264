"""The report of `assess`, `rank` and `compare`: one self-contained HTML page about many pictures.

A summary table, histograms, thumbnails that sort by any measure (worst first to begin with), and a fold-out per
picture with all its numbers and, for the worst, where the judge sees artifacts. Pictures are bounded in number and
size, so that a page about thousands stays under some 10 MB.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restore.errors import InputError
from restore.images.geometry import fitted
from restore.images.photo import load_photo
from restore.quality.catalogue import PER_IMAGE, better_of
from restore.quality.judges.judge import Judgement
from restore.reports.page import rendered
from restore.reports.pictures import HEAT, jpeg_uri, judgement_map

THUMB_SIDE, THUMB_BYTES = 192, 14_000  # long side in pixels; JPEG before base64
PAIR_SIDE, PAIR_BYTES = 448, 40_000  # of a picture before or after
MAP_BYTES = 30_000  # of an artifact overlay
MOST_THUMBS = 300  # pictures shown, the worst
MOST_MAPS = 60  # of them with an artifact overlay
BINS = 24

Row = dict[str, Any]
Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]
Artifacts = Callable[[Path], Judgement | None]


@dataclass(frozen=True)
class Page:
    """What a page says. rows: one per picture, with "image" and measures; order: rows by this measure, worst first.

    facts: figures on top; tables: (heading, column names, rows of cells), cells already text; marks: image → a word
    shown on its thumbnail; terms: further measures to define; data: what the page holds as JSON.
    """

    title: str
    verdict: str
    rows: Sequence[Row]
    summary: Mapping[str, Mapping[str, Any]]
    order: str
    facts: Mapping[str, str] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    marks: Mapping[str, str] = field(default_factory=dict)
    terms: Sequence[str] = ()
    data: Mapping[str, Any] = field(default_factory=dict)


def suite_page(page: Page, artifacts: Artifacts) -> str:
    """The page as HTML text; `artifacts` judges a file again for its overlay (None: it cannot be read)."""
    shown = worst_first(page.rows, page.order)[:MOST_THUMBS]
    keys = [key for key in (*PER_IMAGE, *_other_keys(page.rows)) if any(row.get(key) is not None for row in shown)]
    left = len(page.rows) - len(shown)
    return rendered(
        "suite.html",
        title=page.title,
        verdict=page.verdict,
        facts=page.facts,
        tables=page.tables,
        summary=page.summary,
        histograms=[_histogram(key, page.rows) for key in page.summary],
        keys=keys,
        order=page.order,
        cards=(_card(i, row, keys, page, artifacts) for i, row in enumerate(shown)),
        more=f"The {len(shown)} worst of {len(page.rows)} pictures are shown." if left else "",
        heat=HEAT,
        notes=page.notes,
        terms=[key for key in page.terms if key not in page.summary],
        data=page.data,
    )


def worst_first(rows: Sequence[Row], key: str) -> list[Row]:
    """Rows by measure `key`, the worst first, those without it last."""
    sign = -1 if better_of(key) == "lower" else 1
    have = [row for row in rows if row.get(key) is not None]
    return sorted(have, key=lambda row: sign * row[key]) + [row for row in rows if row.get(key) is None]


def _histogram(key: str, rows: Sequence[Row]) -> dict[str, Any]:
    """Counts over 24 equal bins of a drawing 240 wide and 64 high, and where the mean is; no bars for equal values."""
    values = np.array([row[key] for row in rows if row.get(key) is not None], np.float64)
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return {"key": key, "low": low, "bars": []}
    counts, edges = np.histogram(values, BINS, (low, high))
    width = 240 / BINS
    bars = [
        {"x": i * width, "width": width - 1, "height": 64 * c / counts.max(), "low": a, "high": b, "count": c}
        for i, (c, a, b) in enumerate(zip(counts, edges[:-1], edges[1:], strict=True))
        if c
    ]
    return {"key": key, "low": low, "high": high, "bars": bars, "at": 240 * (values.mean() - low) / (high - low)}


def pixels_of(path: str | Path) -> NDArray[np.uint8] | None:
    """A picture to show, (H, W, 3); None where it cannot be read any more. What else is in the file was told before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            return load_photo(path).pixels
        except InputError:
            return None


def _card(index: int, row: Row, keys: Sequence[str], page: Page, artifacts: Artifacts) -> dict[str, Any]:
    """A thumbnail with its fold-out: its numbers, and where the judge sees artifacts."""
    path = Path(row["image"])
    pixels = pixels_of(path)  # none: measured before, gone since; its numbers still stand
    judged = artifacts(path) if pixels is not None and index < MOST_MAPS else None
    return {
        "path": path,
        "name": path.name,
        "picture": None if pixels is None else shrunk_uri(pixels, THUMB_SIDE, THUMB_BYTES),
        "artifacts": None if judged is None or pixels is None else jpeg_uri(judgement_map(pixels, judged), MAP_BYTES),
        "numbers": {key: row[key] for key in keys if row.get(key) is not None},
        "mark": page.marks.get(row["image"], ""),
        "size": f"{row['width']} × {row['height']}" if row.get("width") else "",
    }


def _other_keys(rows: Sequence[Row]) -> list[str]:
    known = {"image", "width", "height", "sha256", *PER_IMAGE}
    found = dict.fromkeys(key for row in rows for key, value in row.items() if isinstance(value, float))
    return [key for key in found if key not in known]


def shrunk_uri(image: NDArray[np.uint8], side: int = PAIR_SIDE, budget: int = PAIR_BYTES) -> str:
    """`image` (H, W, 3) with its long side reduced to `side` pixels, as a data URI of at most `budget` bytes."""
    size = fitted((image.shape[1], image.shape[0]), side)
    return jpeg_uri(np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8), budget)
