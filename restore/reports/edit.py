"""The quality report: one self-contained HTML page about one result, readable from disk and offline.

Pictures are embedded as data URIs and bounded, so that a page stays under 3 MB for photos of any size.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restore.images.files import write_text
from restore.images.geometry import fitted, mask_box
from restore.reports.page import percent, rendered
from restore.reports.pictures import HEAT, HOLE_LINE, artifact_map, close_up, jpeg_uri, outline_uri, profile
from restore.weights.store import manifest

if TYPE_CHECKING:
    from restore.edit.area import PassRecord
    from restore.edit.record import EditRecord

PHOTO_SIDE = 1600  # long side of the pictures in the slider, pixels
MOST_AREAS = 3  # holes shown in close-ups and maps, largest first
MOST_MAPS = 8  # passes shown in maps: the first, and the latest
# Bytes before base64: of each slider picture, of all close-ups, of all maps.
PHOTO_BYTES, CROPS_BYTES, MAPS_BYTES = 480_000, 450_000, 400_000


def write_report(result: EditRecord, path: Path, *, overwrite: bool = False) -> None:
    """Write the page about `result` to `path`, whole or not at all.

    Raises InputError as `check_place` does, and if the disk refuses.
    """
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
    rest = len(areas) - len(shown)
    return rendered(
        "edit.html",
        title=_title(result.like),
        verdict=_verdict(result),
        facts=_facts(result),
        ratio=f"{width / height:.4f}",
        width=max(320, size[0]),  # CSS pixels: tiny photos are enlarged
        before=before,
        after=after,
        outline=outline_uri(result.mask, size),
        shown=f"Shown at {size[0]} × {size[1]} of {width} × {height} pixels." if size != (width, height) else "",
        closeups=_closeups(result, shown),
        not_shown=f" {_count(rest, 'smaller hole is', 'smaller holes are')} not shown." if rest else "",
        curve=_curve(result.passes, result.settings.par),
        passes=result.passes,
        maps=_maps(result, shown),
        heat=HEAT,
        hole_line=HOLE_LINE,
        details=_details(result),
        data=result.summary(),
    )


# What it says


def _title(like: Any) -> str:
    name = Path(like).name if isinstance(like, (str, os.PathLike)) else ""
    return f"Restoration report: {name}" if name else "Restoration report"


def _verdict(result: EditRecord) -> str:
    """Why the loop stopped, as a sentence."""
    kept, tried = result.kept, [p for p in result.passes if p.index > 0]
    if not kept or not result.mask.any():
        return "No artifacts were found, so nothing was repainted."
    left, limit = percent(kept[-1].par_hole), f"the limit of {percent(result.settings.par)}"
    if not tried:
        return f"Nothing was repainted: artifacts cover {left} of the region, within {limit}."
    stopped = f"Stopped after {_count(len(tried), 'pass', 'passes')}"
    undone = len(result.passes) - 1 - result.passes.index(kept[-1])
    return {
        "threshold": f"{stopped}: artifacts cover {left} of the hole, within {limit}.",
        "budget": f"{stopped}, as many as were allowed: artifacts still cover {left} of the hole, above {limit}.",
        "time": f"{stopped}: another would not have ended within {result.settings.max_seconds} seconds. "
        f"Artifacts still cover {left} of the hole, above {limit}.",
        "no-gain": f"{stopped}: the last {undone} brought no gain and were rolled back. "
        f"Artifacts still cover {left} of the hole, above {limit}.",
    }.get(result.stop, f"{stopped}: {result.stop}.")


def _facts(result: EditRecord) -> dict[str, str]:
    facts = {} if result.presence is None else {"Object": result.presence.sentence}
    facts |= {
        "Mask": f"{percent(float(result.mask.mean()))} of the photo",
        "Time": f"{result.seconds:.1f} s",
    }
    kept = result.kept
    if kept and result.mask.any():
        par = _change(percent(kept[0].par_hole), percent(kept[-1].par_hole))
        quality = _change(f"{kept[0].quality:.0f}", f"{kept[-1].quality:.0f}")
        facts = {"Artifacts in hole (↓ better)": par, "Quality of 100 (↑ better)": quality} | facts
    return facts


def _curve(passes: Sequence[PassRecord], par: float) -> dict[str, Any]:
    """PAR in the hole over passes as a drawing: filled = kept, hollow = rolled back, dashed = limit."""
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

    def label(at: float, height: float, text: str, anchor: str, kind: str = "") -> dict[str, Any]:
        return {"x": at, "y": height, "text": text, "anchor": anchor, "kind": kind}

    grid = [k * step for k in range(ticks + 1)]
    over = y(par) - 5 if y(par) > top + 16 else y(par) + 14
    labels = [label(left - 6, y(value) + 4, percent(value), "end") for value in grid]
    labels += [
        label(x(p.index), bottom + 18, str(p.index), "middle") for p in passes[:: max(1, round(len(passes) / 12))]
    ]
    labels.append(label((left + right) / 2, bottom + 36, "pass", "middle"))
    labels.append(label(right, over, f"limit {percent(par)}", "end", "limit-text"))
    dots = []
    for p in passes:
        kind, fate = ("kept", "kept") if p.accepted else ("undone", "rolled back")
        tip = f"pass {p.index}: {percent(p.par_hole)}, {fate}"
        dots.append({"x": x(p.index), "y": y(p.par_hole), "kind": kind, "tip": tip})
    return {
        "left": left,
        "right": right,
        "lines": [*({"kind": "grid", "y": y(value)} for value in grid), {"kind": "limit", "y": y(par)}],
        "labels": labels,
        "points": " ".join(f"{x(p.index)},{y(p.par_hole)}" for p in passes if p.accepted),
        "dots": dots,
    }


def _details(result: EditRecord) -> dict[str, Mapping[str, Any]]:
    x, y, w, h = mask_box(result.mask)
    in_passes = sum(p.seconds for p in result.passes)
    region = {
        "source": result.mask_source,
        "pixels": int(result.mask.sum()),
        "box": f"x {x}, y {y}, width {w}, height {h}",
    }
    for i, part in enumerate(result.parts if len(result.parts) > 1 else (), 1):
        said = "" if part.said is None else f" “{part.said}”"
        region[f"region {i}"] = f"{part.source}{said}: {part.pixels} pixels, box {','.join(map(str, part.box))}"
    timings = {
        "passes": f"{in_passes:.2f} s",
        "rest": f"{result.seconds - in_passes:.2f} s (loading models, finding the region, pasting)",
        "in all": f"{result.seconds:.2f} s",
    }
    heard = {}
    for p in result.passes:
        for k, one in enumerate(p.heard):
            without = f", not “{one.negative}”" if one.negative else ""
            strength = "" if one.strength is None else f", strength {one.strength:g}"
            place = f" ({k + 1})" if len(p.heard) > 1 else ""
            heard[f"pass {p.index}{place}"] = f"“{one.prompt}”{without}{strength}"
    told = {"XMP": "nothing" if result.mark is None else result.mark.sentence}
    made_with = {
        "device": result.device,
        "restore": _version("restore"),
        "torch": _version("torch"),
        "python": platform.python_version(),
        "system": platform.platform(),
    }
    models = {name: f"sha256 {entry['sha256']}" for name, entry in manifest().items()}
    return {
        "Region": region,
        **({"What the model heard": heard} if heard else {}),
        "Timings": timings,
        "Settings": asdict(result.settings),
        "Shipped models": models,
        "The picture tells": told,
        "Made with": made_with,
    }


# What it shows


def _closeups(result: EditRecord, shown: Sequence[int]) -> list[list[dict[str, Any]]]:
    """Before and after around each hole, one pixel of the photo on one of the page."""
    icc, pairs = profile(result.photo), []
    for i in shown:
        rows, columns = close_up(result.outcome.areas[i], result.mask.shape)
        pair = []
        for name, photo in (("before", result.original), ("after", result.photo)):
            crop = np.ascontiguousarray(photo.pixels[rows, columns])
            place = f"{name.capitalize()}, x {columns.start} to {columns.stop}, y {rows.start} to {rows.stop}"
            uri = jpeg_uri(crop, CROPS_BYTES // (2 * len(shown)), icc, full_chroma=True)
            size = crop.shape[1], crop.shape[0]
            pair.append({"src": uri, "caption": place, "alt": f"Close-up {name}", "size": size})
        pairs.append(pair)
    return pairs


def _maps(result: EditRecord, shown: Sequence[int]) -> list[list[dict[str, str]]]:
    """Per hole, the judge's artifact map after every pass that was kept."""
    kept = [(p, areas) for p, areas in zip(result.passes, result.outcome.history, strict=True) if p.accepted]
    kept = kept if len(kept) <= MOST_MAPS else [kept[0], *kept[1 - MOST_MAPS :]]
    budget = MAPS_BYTES // max(1, len(kept) * len(shown))
    holes = []
    for i in shown:
        maps = []
        for record, areas in kept:
            name = "as given" if record.index == 0 else f"after pass {record.index}"
            judgement = areas[i].judgement
            par = "" if judgement is None else f": PAR {percent(judgement.par_hole)}"
            uri = jpeg_uri(artifact_map(areas[i]), budget)
            maps.append({"src": uri, "caption": f"{name.capitalize()}{par}", "alt": f"Artifact map {name}"})
        holes.append(maps)
    return holes


# Small pieces


def _resized(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed as a package"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _change(old: str, new: str) -> str:
    return new if old == new else f"{old} → {new}"
