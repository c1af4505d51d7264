"""The report about a restoration: one self-contained HTML page, before and after, and what was found."""

from __future__ import annotations

import html
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restore.images.files import write_text
from restore.images.geometry import fitted
from restore.reports.pictures import jpeg_uri, profile

if TYPE_CHECKING:
    from restore.enhancement.record import EnhanceRecord

SIDE, CROP = 1200, 320  # pixels: long side of the whole pictures; side of the close-up, shown twice as large
BUDGET = 480_000  # bytes of each picture before base64
HEAD = ("pass", "", "PAR", "quality (judge)", "score", "difference to the input", "windows replaced", "seconds")
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:78rem;margin:2rem auto;padding:0 1rem}"
    "body{color:#222;background:#fff}"
    "figure{margin:0}figcaption{color:#666}.pair{display:grid;grid-template-columns:1fr 1fr;gap:1rem}"
    "img{width:100%;height:auto}.close img{image-rendering:pixelated}"
    "th{text-align:left;padding-right:2rem;font-weight:normal;color:#666;vertical-align:top}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}figcaption,th{color:#999}}"
)


def write_enhance_report(result: EnhanceRecord, path: Path, *, overwrite: bool = False) -> None:
    """Write the page to `path`, whole or not at all. Raises InputError as `check_report` does."""
    write_text(enhance_page(result), path, overwrite=overwrite)


def enhance_page(result: EnhanceRecord) -> str:
    """The page as HTML text; it refers to nothing outside itself."""
    width, height = result.photo.size
    after = result.photo.pixels
    before = cv2.resize(result.original.pixels, (width, height), interpolation=cv2.INTER_CUBIC)
    size = fitted((width, height), SIDE)
    y, x = busiest(after)
    crop = np.s_[y : y + CROP, x : x + CROP]
    icc = profile(result.photo)
    whole = _pair(_shrunk(before, size), _shrunk(after, size), icc)
    close = _pair(before[crop], after[crop], icc)
    summary = {name: value for name, value in result.summary().items() if name != "passes"}
    rows = _rows(summary | {"degradation": asdict(result.degradation), "sampling": asdict(result.sampling)})
    light = ""
    if result.light_map is not None:
        shade = _shrunk(result.light_map, size)
        grey = ((shade / max(1e-6, 2 * float(np.abs(shade).max())) + 0.5) * 255).clip(0, 255).astype(np.uint8)
        light = f"<h2>Light map</h2>{_figure(grey, 'What light adds to the scene; mid grey is nothing', icc)}"
    data = json.dumps(result.summary()).replace("<", "\\u003c")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Restoration report: {result.task}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style><h1>{result.task}</h1>'
        f'{whole}<h2>Close-up</h2><div class="close">{close}</div>{light}<h2>Passes</h2>'
        f"{_passes(result)}<h2>Details</h2><table>{rows}</table>"
        f'<script type="application/json">{data}</script></html>'
    )


def _passes(result: EnhanceRecord) -> str:
    head = "".join(f"<th>{name}</th>" for name in HEAD)
    lines = []
    for p in result.passes:
        what = "input" if p.index == 0 else "kept" if p.accepted else "nothing better found"
        agrees = "" if p.consistency is None else f"{p.consistency:.2f}"
        cells = (p.index, what, f"{p.par_image:.4f}", f"{p.quality:.1f}", f"{p.score:.1f}", agrees, p.windows)
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in (*cells, f"{p.seconds:.2f}")) + "</tr>")
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def busiest(image: NDArray[np.uint8]) -> tuple[int, int]:
    """Upper left (y, x) of the CROP square with the most detail."""
    energy = np.abs(cv2.Laplacian(image, cv2.CV_32F)).mean(2)
    mean = cv2.blur(energy, (CROP, CROP), anchor=(0, 0), borderType=cv2.BORDER_REFLECT)
    rows, columns = (max(1, side - CROP + 1) for side in mean.shape)
    y, x = np.unravel_index(int(mean[:rows, :columns].argmax()), (rows, columns))
    return int(y), int(x)


def _shrunk(image: Any, size: tuple[int, int]) -> Any:
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _pair(before: Any, after: Any, icc: bytes) -> str:
    return f'<div class="pair">{_figure(before, "Before", icc)}{_figure(after, "After", icc)}</div>'


def _figure(image: Any, caption: str, icc: bytes) -> str:
    picture = np.ascontiguousarray(image, np.uint8)
    picture = np.repeat(picture.reshape(*picture.shape[:2], -1)[..., :3], 3 if picture.ndim == 2 else 1, 2)
    uri = jpeg_uri(picture, BUDGET, icc)
    return f'<figure><img src="{uri}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'


def _rows(values: dict[str, Any]) -> str:
    return "".join(
        f'<tr><th scope="row">{html.escape(str(k))}</th><td>{html.escape(str(v))}</td></tr>' for k, v in values.items()
    )
