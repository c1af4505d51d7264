"""The sample sheet of a built data set: one self-contained HTML page with figures and some of the triplets."""

from __future__ import annotations

import html
import io
import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from PIL import Image

from restore.images.files import write_text
from restore.reports.pictures import jpeg_uri, outline_uri
from restore.training.data.shards import read_shards

MOST_SAMPLES = 60  # shown, evenly spread
SIDE, PICTURE_BYTES = 320, 24_000  # long side in pixels; JPEG before base64


def write_sheet(folder: Path, stats: dict[str, Any], path: Path) -> None:
    """Write the page about the shards in `folder` to `path`. Raises InputError if the disk refuses."""
    template = Template(files("restore.reports").joinpath("templates/triplets.html").read_text(encoding="utf-8"))
    shown = min(MOST_SAMPLES, stats["accepted"])
    facts = {
        "Triplets": stats["accepted"],
        "Removals": stats["removals"],
        "Irrelevant instructions": stats["irrelevant"],
        "Classes removed": stats["classes"],
        "Objects tried": stats["objects_tried"],
        "Yield": f"{stats['yield']:.0%}",
        "Mean PAR": f"{stats['mean_par_hole']:.3f}",
        "Mean hole": f"{stats['mean_hole']:.0%}",
    }
    kinds = ", ".join(f"{count} by {kind}" for kind, count in stats["instructions"].items() if kind != "absent")
    page = template.substitute(
        title="Removals by instruction",
        verdict=html.escape(f"{stats['accepted']} triplets. Objects named: {kinds or 'none'}."),
        facts="".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in facts.items()),
        reasons="\n".join(_row(reason, count) for reason, count in stats["rejected"].items()),
        shown=f"{shown} of {stats['accepted']}, evenly spread.",
        cards="\n".join(_cards(folder, stats["accepted"], shown)),
    )
    write_text(page, path, overwrite=True)


def _row(reason: str, count: int) -> str:
    return f'<tr><th scope="row">{html.escape(reason)}</th><td>{count}</td></tr>'


def _cards(folder: Path, count: int, shown: int) -> Iterator[str]:
    chosen = set(np.linspace(0, count - 1, shown).round().astype(int).tolist())
    for number, (_, sample) in enumerate(read_shards(folder)):
        if number in chosen:
            yield _card(sample)


def _card(sample: dict[str, bytes]) -> str:
    facts = json.loads(sample["json"])
    source, target = (_picture(sample[f"{name}.png"]) for name in ("source", "target"))
    outline = ""
    if facts["relevant"]:
        mask = np.asarray(Image.open(io.BytesIO(sample["mask.png"]))) > 0
        outline = f'<img src="{outline_uri(mask, (source.shape[1], source.shape[0]))}" alt="">'
    told = f"PAR {facts['par_hole']:.3f}, quality {facts['quality']:.0f}" if facts["relevant"] else "nothing to remove"
    return (
        f'<figure><div class="pair"><div><img src="{jpeg_uri(source, PICTURE_BYTES)}" alt="source">{outline}</div>'
        f'<div><img src="{jpeg_uri(target, PICTURE_BYTES)}" alt="target"></div></div>'
        f'<figcaption>{html.escape(facts["instruction"])}<span class="soft">{told} · {html.escape(facts["photo"])}'
        f"</span></figcaption></figure>"
    )


def _picture(data: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    image.thumbnail((SIDE, SIDE))
    return np.asarray(image)
