"""The quality report: one self-contained HTML page about one result, readable from disk and offline.

Pictures are embedded as data URIs and bounded, so that a page stays under 3 MB for photos of any size.
"""

from __future__ import annotations

import html
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restore.images.geometry import fitted, mask_box
from restore.reports.pictures import HEAT, HOLE_LINE, artifact_map, close_up, jpeg_uri, outline_uri, profile
from restore.weights.store import manifest

if TYPE_CHECKING:
    from restore.edit.area import PassRecord
    from restore.edit.record import EditRecord
from restore.images.files import check_place, write_text

PHOTO_SIDE = 1600  # long side of the pictures in the slider, pixels
MOST_AREAS = 3  # holes shown in close-ups and maps, largest first
MOST_MAPS = 8  # passes shown in maps: the first, and the latest
# Bytes before base64: of each slider picture, of all close-ups, of all maps.
PHOTO_BYTES, CROPS_BYTES, MAPS_BYTES = 480_000, 450_000, 400_000


def write_report(result: EditRecord, path: Path, *, overwrite: bool = False) -> None:
    """Write the page about `result` to `path`, whole or not at all.

    Raises InputError as `check_place` does, and if the disk refuses.
    """
    check_place(path, overwrite=overwrite)
    write_text(report_page(result), path, overwrite=overwrite)


def report_page(result: EditRecord) -> str:
    """The page as HTML text. It refers to nothing outside itself."""
    width, height = result.photo.size
    size = fitted((width, height), PHOTO_SIDE)
    before, after = (
        jpeg_uri(_resized(photo.overview.pixels, size), PHOTO_BYTES, profile(photo))
        for photo in (result.original, result.photo)
    )
    areas = result.outcome.areas
    shown = sorted(range(len(areas)), key=lambda i: -int(areas[i].hole.sum()))[:MOST_AREAS]
    template = Template(files("restore.reports").joinpath("templates/report.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=_text(_title(result.like)),
        verdict=_text(_verdict(result)),
        facts=_facts(result),
        ratio=f"{width / height:.4f}",
        width=max(320, size[0]),  # CSS pixels: tiny photos are enlarged
        before=before,
        after=after,
        outline=outline_uri(result.mask, size),
        shown=f"Shown at {size[0]} × {size[1]} of {width} × {height} pixels." if size != (width, height) else "",
        closeups=_closeups(result, shown),
        curve=_curve(result.passes, result.settings.par),
        passes=_rows(result.passes),
        maps=_maps(result, shown),
        details=_details(result),
        json=_json(result.summary()),
    )


# What it says


def _title(like: Any) -> str:
    name = Path(like).name if isinstance(like, (str, os.PathLike)) else ""
    return f"Restoration report: {name}" if name else "Restoration report"


def _verdict(result: EditRecord) -> str:
    """Why the loop stopped, as a sentence."""
    kept, tried = _kept(result.passes), [p for p in result.passes if p.index > 0]
    if not kept or not result.mask.any():
        return "No artifacts were found, so nothing was repainted."
    left, limit = _percent(kept[-1].par_hole), f"the limit of {_percent(result.settings.par)}"
    if not tried:
        return f"Nothing was repainted: artifacts cover {left} of the region, within {limit}."
    stopped = f"Stopped after {_count(len(tried), 'pass', 'passes')}"
    undone = len(result.passes) - 1 - result.passes.index(kept[-1])
    return {
        "threshold": f"{stopped}: artifacts cover {left} of the hole, within {limit}.",
        "budget": f"{stopped}, as many as were allowed: artifacts still cover {left} of the hole, above {limit}.",
        "no-gain": f"{stopped}: the last {undone} brought no gain and were rolled back. "
        f"Artifacts still cover {left} of the hole, above {limit}.",
    }.get(result.stop, f"{stopped}: {result.stop}.")


def _facts(result: EditRecord) -> str:
    facts = {} if result.presence is None else {"Object": result.presence.sentence}
    facts |= {
        "Mask": f"{_percent(float(result.mask.mean()))} of the photo",
        "Time": f"{result.seconds:.1f} s",
    }
    kept = _kept(result.passes)
    if kept and result.mask.any():
        par = _change(_percent(kept[0].par_hole), _percent(kept[-1].par_hole))
        quality = _change(f"{kept[0].quality:.0f}", f"{kept[-1].quality:.0f}")
        facts = {"Artifacts in hole (↓ better)": par, "Quality of 100 (↑ better)": quality} | facts
    return "\n".join(f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in facts.items())


def _rows(passes: Sequence[PassRecord]) -> str:
    rows = []
    for p in passes:
        fate = "as given" if p.index == 0 else "kept" if p.accepted else "rolled back"
        scores = _percent(p.par_hole), _percent(p.par_image), f"{p.quality:.1f}", f"{p.confidence:.3f}"
        cells = "".join(f"<td>{_text(cell)}</td>" for cell in (p.index, *scores, f"{p.seconds:.2f}", fate))
        rows.append(f"<tr>{cells}</tr>" if p.accepted else f'<tr class="undone">{cells}</tr>')
    return "\n".join(rows)


def _curve(passes: Sequence[PassRecord], par: float) -> str:
    """PAR in the hole over passes as inline SVG: filled = kept, hollow = rolled back, dashed = limit."""
    left, right, top, bottom = 48.0, 464.0, 14.0, 184.0
    highest = max([0.01, par, *(p.par_hole for p in passes)])
    step = next((s for s in (0.005, 0.01, 0.02, 0.05, 0.1) if highest <= 5 * s), 0.2)
    ticks = int(np.ceil(highest / step - 1e-9))
    least, most = min(p.index for p in passes), max(p.index for p in passes)

    def x(index: int) -> float:
        share = (index - least) / (most - least) if most > least else 0.5
        return round(left + 24 + (right - left - 48) * share, 1)

    def y(value: float) -> float:
        return round(bottom - (bottom - top) * value / (ticks * step), 1)

    def rule(kind: str, value: float) -> str:
        return f'<line class="{kind}" x1="{left}" x2="{right}" y1="{y(value)}" y2="{y(value)}"/>'

    def label(at: float, height: float, text: str, anchor: str, kind: str = "") -> str:
        return f'<text class="{kind}" x="{at}" y="{height}" text-anchor="{anchor}">{text}</text>'

    parts = []
    for value in (k * step for k in range(ticks + 1)):
        parts += [rule("grid", value), label(left - 6, y(value) + 4, _percent(value), "end")]
    for p in passes[:: max(1, round(len(passes) / 12))]:
        parts.append(label(x(p.index), bottom + 18, str(p.index), "middle"))
    parts.append(label((left + right) / 2, bottom + 36, "pass", "middle"))
    over = y(par) - 5 if y(par) > top + 16 else y(par) + 14
    parts += [rule("limit", par), label(right, over, f"limit {_percent(par)}", "end", "limit-text")]
    line = " ".join(f"{x(p.index)},{y(p.par_hole)}" for p in passes if p.accepted)
    parts.append(f'<polyline class="best" points="{line}"/>')
    for p in passes:
        kind, fate = ("kept", "kept") if p.accepted else ("undone", "rolled back")
        tip = f"<title>pass {p.index}: {_percent(p.par_hole)}, {fate}</title>"
        parts.append(f'<circle class="{kind}" cx="{x(p.index)}" cy="{y(p.par_hole)}" r="5">{tip}</circle>')
    name = "PAR of the hole by pass, with the limit that ends the loop"
    drawing = f'<svg class="chart" viewBox="0 0 480 226" role="img" aria-label="{name}">{"".join(parts)}</svg>'
    return _figure(
        drawing,
        "PAR of the hole (↓ better) by pass. ● kept, ○ rolled back, dashed: limit that ends the loop.",
    )


def _details(result: EditRecord) -> str:
    x, y, w, h = mask_box(result.mask)
    in_passes = sum(p.seconds for p in result.passes)
    region = {
        "source": result.mask_source,
        "pixels": int(result.mask.sum()),
        "box": f"x {x}, y {y}, width {w}, height {h}",
    }
    timings = {
        "passes": f"{in_passes:.2f} s",
        "rest": f"{result.seconds - in_passes:.2f} s (loading models, finding the region, pasting)",
        "in all": f"{result.seconds:.2f} s",
    }
    made_with = {
        "device": result.device,
        "restore": _version("restore"),
        "torch": _version("torch"),
        "python": platform.python_version(),
        "system": platform.platform(),
    }
    models = {name: f"sha256 {entry['sha256']}" for name, entry in _models().items()}
    tables: dict[str, Mapping[str, Any]] = {
        "Region": region,
        "Timings": timings,
        "Settings": asdict(result.settings),
        "Shipped models": models or {"manifest": "none in this source tree"},
        "Made with": made_with,
    }
    return "\n".join(f"<h3>{name}</h3>\n{_table(rows)}" for name, rows in tables.items())


# What it shows


def _closeups(result: EditRecord, shown: Sequence[int]) -> str:
    """Before and after around each hole, one pixel of the photo on one of the page."""
    if not shown:
        return ""
    areas, budget, icc = result.outcome.areas, CROPS_BYTES // (2 * len(shown)), profile(result.photo)
    blocks = []
    for i in shown:
        rows, columns = close_up(areas[i], result.mask.shape)
        pair = []
        for name, photo in (("before", result.original), ("after", result.photo)):
            crop = np.ascontiguousarray(photo.pixels[rows, columns])
            size = f'width="{crop.shape[1]}" height="{crop.shape[0]}"'
            image = f'<img src="{jpeg_uri(crop, budget, icc, full_chroma=True)}" {size} alt="Close-up {name}">'
            place = f"{name.capitalize()}, x {columns.start} to {columns.stop}, y {rows.start} to {rows.stop}"
            pair.append(_figure(f'<div class="scroll">{image}</div>', place))
        blocks.append(f'<div class="pair">{"".join(pair)}</div>')
    rest = len(areas) - len(shown)
    note = f" {_count(rest, 'smaller hole is', 'smaller holes are')} not shown." if rest else ""
    return _section("Close-up at 100 %", *blocks, _note(f"One pixel of the photo is one pixel of the page.{note}"))


def _maps(result: EditRecord, shown: Sequence[int]) -> str:
    """Per hole, the judge's artifact map after every pass that was kept."""
    if not shown:
        return ""
    kept = [(p, areas) for p, areas in zip(result.passes, result.outcome.history, strict=True) if p.accepted]
    kept = kept if len(kept) <= MOST_MAPS else [kept[0], *kept[1 - MOST_MAPS :]]
    budget = MAPS_BYTES // max(1, len(kept) * len(shown))
    blocks = []
    for number, i in enumerate(shown, start=1):
        figures = []
        for record, areas in kept:
            name = "as given" if record.index == 0 else f"after pass {record.index}"
            judgement = areas[i].judgement
            par = "" if judgement is None else f": PAR {_percent(judgement.par_hole)}"
            image = f'<img src="{jpeg_uri(artifact_map(areas[i]), budget)}" alt="Artifact map {name}">'
            figures.append(_figure(image, f"{name.capitalize()}{par}"))
        head = f"<h3>Hole {number}</h3>" if len(shown) > 1 else ""
        blocks.append(f'{head}<div class="maps">{"".join(figures)}</div>')
    ramp = "linear-gradient(90deg, rgb{}, rgb{})".format(*HEAT)
    legend = (
        f'<span class="key" style="background: rgb{HOLE_LINE}"></span>edge of the hole'
        f'<span class="key" style="width: 3em; background: {ramp}"></span>artifact probability, 0 to 100 %'
        '<span class="key" style="border: 2px solid currentColor"></span>counted as artifact'
    )
    return _section("Artifacts by pass", *blocks, _note(legend), _note("Passes that were rolled back have no map."))


# Small pieces


def _resized(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _kept(passes: Sequence[PassRecord]) -> list[PassRecord]:
    """The passes whose pixels were kept; the result has those of the last."""
    return [p for p in passes if p.accepted]


def _models() -> dict[str, dict[str, Any]]:
    """The manifest of shipped weights; a source tree whose weights are not trained yet has none."""
    try:
        return manifest()
    except FileNotFoundError:
        return {}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed as a package"


def _section(title: str, *parts: str) -> str:
    return f"<section>\n<h2>{title}</h2>\n" + "\n".join(parts) + "\n</section>"


def _figure(content: str, caption: str) -> str:
    return f"<figure>{content}<figcaption>{caption}</figcaption></figure>"


def _note(text: str) -> str:
    return f'<p class="soft">{text}</p>'


def _table(rows: Mapping[str, Any]) -> str:
    cells = (f'<tr><th scope="row">{_text(k)}</th><td>{_text(v)}</td></tr>' for k, v in rows.items())
    return f"<table><tbody>{''.join(cells)}</tbody></table>"


def _json(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _text(value: Any) -> str:
    return html.escape(str(value))


def _percent(share: float) -> str:
    """Three digits; unlike a fixed number of places, this never shows 5.04 % as within a limit of 5 %."""
    return "under 0.001\u00a0%" if 0 < share < 1e-5 else f"{100 * share:.3g}\u00a0%"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _change(old: str, new: str) -> str:
    return new if old == new else f"{old} → {new}"
