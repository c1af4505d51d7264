"""The sample sheet of a built data set: one self-contained HTML page with figures and some of the triplets."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from restore.images.files import write_text
from restore.reports.page import rendered
from restore.reports.pictures import jpeg_uri, outline_uri
from restore.training.data.shards import read_shards

MOST_SAMPLES = 60  # shown, evenly spread
SIDE, PICTURE_BYTES = 320, 24_000  # long side in pixels; JPEG before base64


def write_sheet(folder: Path, stats: dict[str, Any], path: Path) -> None:
    """Write the page about the shards in `folder` to `path`. Raises InputError if the disk refuses."""
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
    shown = min(MOST_SAMPLES, stats["accepted"])
    page = rendered(
        "triplets.html",
        title="Removals by instruction",
        verdict=f"{stats['accepted']} triplets. Objects named: {kinds or 'none'}.",
        facts=facts,
        reasons=stats["rejected"],
        shown=shown,
        accepted=stats["accepted"],
        cards=_cards(folder, stats["accepted"], shown),
    )
    write_text(page, path, overwrite=True)


def _cards(folder: Path, count: int, shown: int) -> Iterator[dict[str, Any]]:
    chosen = set(np.linspace(0, count - 1, shown).round().astype(int).tolist())
    for number, (_, sample) in enumerate(read_shards(folder)):
        if number in chosen:
            yield _card(sample)


def _card(sample: dict[str, bytes]) -> dict[str, Any]:
    facts = json.loads(sample["json"])
    source, target = (_picture(sample[f"{name}.png"]) for name in ("source", "target"))
    outline, told = None, "nothing to remove"
    if facts["relevant"]:
        mask = np.asarray(Image.open(io.BytesIO(sample["mask.png"]))) > 0
        outline = outline_uri(mask, (source.shape[1], source.shape[0]))
        told = f"PAR {facts['par_hole']:.3f}, quality {facts['quality']:.0f}"
    pictures = {"source": jpeg_uri(source, PICTURE_BYTES), "target": jpeg_uri(target, PICTURE_BYTES)}
    return pictures | {"outline": outline, "told": told, "instruction": facts["instruction"], "photo": facts["photo"]}


def _picture(data: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    image.thumbnail((SIDE, SIDE))
    return np.asarray(image)
