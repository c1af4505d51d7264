"""The report of `assess`, `rank` and `compare`: one self-contained HTML page about many pictures.

A summary table, histograms, thumbnails that sort by any measure (worst first to begin with), and a fold-out per
picture with all its numbers and, for the worst, where the judge sees artifacts. Pictures are bounded in number and
size, so that a page about thousands stays under some 10 MB.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restore.errors import InputError
from restore.images.geometry import fitted
from restore.images.photo import load_photo
from restore.quality.catalogue import PER_IMAGE, better_of, measure_of
from restore.quality.judges.judge import Judgement
from restore.reports.pictures import HEAT, jpeg_uri, judgement_map

THUMB_SIDE, THUMB_BYTES = 192, 14_000  # long side in pixels; JPEG before base64
MAP_BYTES = 30_000  # of an artifact overlay
MOST_THUMBS = 300  # pictures shown, the worst
MOST_MAPS = 60  # of them with an artifact overlay
BINS = 24

Row = dict[str, Any]
Artifacts = Callable[[Path], Judgement | None]


@dataclass(frozen=True)
class Page:
    """What a page says. rows: one per picture, with "image" and measures; order: rows by this measure, worst first.

    facts: figures on top; tables: (heading, column names, rows of cells), cells already text; marks: image → a word
    shown on its thumbnail.
    """

    title: str
    verdict: str
    rows: Sequence[Row]
    summary: Mapping[str, Mapping[str, Any]]
    order: str
    facts: Mapping[str, str] = field(default_factory=dict)
    tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[str]]]] = ()
    notes: Sequence[str] = ()
    marks: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)


def suite_page(page: Page, artifacts: Artifacts) -> str:
    """The page as HTML text; `artifacts` judges a file again for its overlay (None: it cannot be read)."""
    template = Template(files("restore.reports").joinpath("templates/suite.html").read_text(encoding="utf-8"))
    shown = worst_first(page.rows, page.order)[:MOST_THUMBS]
    keys = [key for key in (*PER_IMAGE, *_other_keys(page.rows)) if any(row.get(key) is not None for row in shown)]
    left = len(page.rows) - len(shown)
    return template.substitute(
        title=_text(page.title),
        verdict=_text(page.verdict),
        facts="".join(f"<div><dt>{_text(k)}</dt><dd>{_text(v)}</dd></div>" for k, v in page.facts.items()),
        tables="\n".join(_table(*table) for table in page.tables),
        summary=_summary(page.summary),
        histograms="\n".join(_histogram(key, page.rows) for key in page.summary),
        options="".join(_option(key, page.order) for key in keys),
        thumbnails="\n".join(_card(i, row, keys, page, artifacts) for i, row in enumerate(shown)),
        more=f"The {len(shown)} worst of {len(page.rows)} pictures are shown." if left else "",
        low=f"rgb{HEAT[0]}",
        high=f"rgb{HEAT[1]}",
        closing=_closing(page.notes, [key for key in page.data.get("terms", ()) if key not in page.summary]),
        json=json.dumps(page.data.get("json", {}))
        .replace("<", "\\u003c")
        .replace(">", "\\u003e")
        .replace("&", "\\u0026"),
    )


def worst_first(rows: Sequence[Row], key: str) -> list[Row]:
    """Rows by measure `key`, the worst first, those without it last."""
    sign = -1 if better_of(key) == "lower" else 1
    have = [row for row in rows if row.get(key) is not None]
    return sorted(have, key=lambda row: sign * row[key]) + [row for row in rows if row.get(key) is None]


def number(value: float | None) -> str:
    """Three digits, for people."""
    if value is None:
        return "–"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _summary(summary: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for key, found in summary.items():
        m = measure_of(key)
        low, high = found["interval"]
        cells = (
            number(found["mean"]),
            f"{number(low)} – {number(high)}",
            f"{number(found['min'])} – {number(found['max'])}",
            str(found["n"]),
        )
        head = f'<th scope="row" title="{_text(key)}">{_text(m.title)}&nbsp;{m.arrow}</th>'
        rows.append(
            f"<tr>{head}{''.join(f'<td>{c}</td>' for c in cells)}<td class='why'>{_text(m.definition)}</td></tr>"
        )
    return "\n".join(rows)


def _histogram(key: str, rows: Sequence[Row]) -> str:
    """Counts over 24 equal bins as inline SVG, with the mean."""
    values = np.array([row[key] for row in rows if row.get(key) is not None], np.float64)
    low, high = float(values.min()), float(values.max())
    m = measure_of(key)
    if high <= low:
        return (
            f"<figure><p class='soft'>all {number(low)}</p><figcaption>{_text(m.title)} {m.arrow}</figcaption></figure>"
        )
    counts, _ = np.histogram(values, BINS, (low, high))
    top, width, height = counts.max(), 240 / BINS, 64
    bars = "".join(
        f'<rect x="{i * width:.1f}" y="{height - height * c / top:.1f}" width="{width - 1:.1f}" '
        f'height="{height * c / top:.1f}"><title>{number(low + (high - low) * i / BINS)} to '
        f"{number(low + (high - low) * (i + 1) / BINS)}: {c}</title></rect>"
        for i, c in enumerate(counts)
        if c
    )
    at = 240 * (values.mean() - low) / (high - low)
    drawing = (
        f'<svg viewBox="0 0 240 84" role="img" aria-label="Histogram of {_text(m.title)}">{bars}'
        f'<line x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{height}"/><text x="0" y="79">{number(low)}</text>'
        f'<text x="240" y="79" text-anchor="end">{number(high)}</text></svg>'
    )
    return f"<figure>{drawing}<figcaption>{_text(m.title)} {m.arrow}</figcaption></figure>"


def _card(index: int, row: Row, keys: Sequence[str], page: Page, artifacts: Artifacts) -> str:
    """A thumbnail with its fold-out; its numbers ride along as attributes for the sorter."""
    path = Path(row["image"])
    values = " ".join(f'data-{key.replace("_", "-")}="{row[key]!r}"' for key in keys if row.get(key) is not None)
    try:
        pixels = load_photo(path).pixels
        picture = f'<img src="{jpeg_uri(_shrunk(pixels, THUMB_SIDE), THUMB_BYTES)}" alt="" loading="lazy">'
    except InputError:  # measured before, gone since: its numbers still stand
        pixels, picture = None, '<div class="gone">file not found</div>'
    overlay = ""
    judged = artifacts(path) if pixels is not None and index < MOST_MAPS else None
    if judged is not None and pixels is not None:
        uri = jpeg_uri(judgement_map(pixels, judged), MAP_BYTES)
        overlay = (
            f'<figure><img src="{uri}" alt="Where the judge sees artifacts"><figcaption>Artifacts</figcaption></figure>'
        )
    numbers = "".join(
        f"<tr><th>{_text(_title(key))}</th><td>{number(row.get(key))}</td></tr>"
        for key in keys
        if row.get(key) is not None
    )
    mark = page.marks.get(row["image"], "")
    badge = f'<span class="mark {_text(mark)}">{_text(mark)}</span>' if mark else ""
    size = f"{row['width']} × {row['height']}" if row.get("width") else ""
    value = f"{number(row.get(page.order))} {_text(_title(page.order))}"
    return (
        f'<details class="card" {values}><summary>{picture}{badge}'
        f'<span class="name" title="{_text(path.name)}">{_text(path.name)}</span>'
        f'<span class="value">{value}</span></summary><div class="drill">{overlay}<table>{numbers}</table>'
        f'<p class="soft">{_text(path)} {size}</p></div></details>'
    )


def _table(heading: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{_text(c)}</th>' for c in columns)
    body = "\n".join(
        f'<tr><th scope="row">{_text(row[0])}</th>{"".join(f"<td>{_text(c)}</td>" for c in row[1:])}</tr>'
        for row in rows
    )
    return (
        f"<section><h2>{_text(heading)}</h2><div class='scroll'><table class='figures'><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div></section>"
    )


def _closing(notes: Sequence[str], terms: Sequence[str]) -> str:
    """Notes, and definitions of what the table of measures does not define; nothing where there are none."""
    if not notes and not terms:
        return ""
    told = f"<ul>{''.join(f'<li>{_text(note)}</li>' for note in notes)}</ul>" if notes else ""
    defined = f'<dl class="terms">{"".join(_term(key) for key in terms)}</dl>' if terms else ""
    return f"<section><h2>Definitions and notes</h2>{told}{defined}</section>"


def _term(key: str) -> str:
    m = measure_of(key)
    way = {"higher": "↑ higher is better", "lower": "↓ lower is better", "neither": "a description, not a grade"}[
        m.better
    ]
    return f"<dt>{_text(m.title)} ({way})</dt><dd><code>{_text(key)}</code> {_text(m.definition)}</dd>"


def _option(key: str, chosen: str) -> str:
    selected = " selected" if key == chosen else ""
    return f'<option value="{key}" data-better="{better_of(key)}"{selected}>{_text(_title(key))}</option>'


def _title(key: str) -> str:
    return PER_IMAGE[key].title if key in PER_IMAGE else key.replace("_", " ").capitalize()


def _other_keys(rows: Sequence[Row]) -> list[str]:
    known = {"image", "width", "height", "sha256", *PER_IMAGE}
    found = dict.fromkeys(key for row in rows for key, value in row.items() if isinstance(value, float))
    return [key for key in found if key not in known]


def _shrunk(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    size = fitted((image.shape[1], image.shape[0]), side)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _text(value: Any) -> str:
    return html.escape(str(value))
