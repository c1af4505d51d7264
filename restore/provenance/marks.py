"""What a result tells of its edit in XMP: where IPTC's vocabulary puts it, and what was done.

IPTC NewsCodes, digital source type: pixels that a trained model made among others are
`compositeWithTrainedAlgorithmicMedia`, a picture that was only corrected is `algorithmicallyEnhanced`. Nothing here
depends on the time or the machine: the same input and seed give the same bytes.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np

from restore.edit.area import Mask
from restore.edit.record import EditRecord
from restore.enhancement.record import EnhanceRecord
from restore.hub.cache import Located
from restore.images.files import sha256_of
from restore.images.geometry import mask_box
from restore.images.huge import AnyPhoto, HugePhoto
from restore.images.xmp import Mark
from restore.settings import EMBEDDED, Settings
from restore.weights.store import digest

COMPOSITE, ENHANCED = "compositeWithTrainedAlgorithmicMedia", "algorithmicallyEnhanced"
# Tasks that show what was not measured: details, colours, parts.
INVENTING = ("super-resolution", "colorize", "inpaint", "compose")


def marked_edit(command: str, record: EditRecord, painter: Located | None) -> tuple[AnyPhoto, Mark | None]:
    """The edited photo and what it tells; as it is where nothing changed or nothing shall be told."""
    photo, settings = record.photo, record.settings
    if not settings.mark or not _changed(record.original, photo):
        return photo, None
    done = _done(command, settings.model, settings.seed, painter, _region(record.mask), _changes(settings))
    mark = Mark(COMPOSITE, done, agent())
    return photo.marked(mark), mark


def marked_enhancement(record: EnhanceRecord) -> EnhanceRecord:
    """The record, its photo telling of the task; as it is where nothing was done."""
    if record.nothing:
        return record
    painted = record.mask is not None and bool(record.mask.any())  # an old photo's scratches
    sampled = painted or record.invented or record.task in INVENTING or bool(record.sampling.temperature)
    done = _done(f"enhance {record.task}", record.model, record.seed, None, "whole picture")
    mark = Mark(COMPOSITE if sampled else ENHANCED, done, agent())
    return replace(record, photo=record.photo.marked(mark), mark=mark)


def agent() -> str:
    """This program, by name and version."""
    return f"restore {metadata.version('restore')}"


def _done(command: str, model: str, seed: int, painter: Located | None, region: str, changes: str = "") -> str:
    name = model if model in EMBEDDED or not Path(model).exists() else Path(model).name  # no one's home folder
    weights = _weights(model, painter)
    return "; ".join(part for part in (command, f"model {name}", weights, changes, f"seed {seed}", region) if part)


def _changes(settings: Settings) -> str:
    """LoRAs, another transformer, fewer bits: files by their names alone."""
    told = [f"lora {Path(file).name}" for file in settings.lora]
    told += [f"transformer {Path(settings.transformer).name}"] if settings.transformer else []
    return "; ".join([*told, f"quantized to {settings.quantize}"] if settings.quantize else told)


def _region(mask: Mask) -> str:
    x, y, w, h = mask_box(mask)
    return f"region {x},{y},{w},{h} of {mask.shape[1]}x{mask.shape[0]} ({int(mask.sum())} pixels)"


def _weights(model: str, painter: Located | None) -> str:
    """Which weights: sha256 over those of the shipped ones, the commit of a repository, the sha256 of a file."""
    if model in EMBEDDED:
        return f"weights sha256:{digest()}"
    path = painter.path if painter is not None else Path(model)
    if path.is_file():
        return f"weights sha256:{_digest_of(path, path.stat().st_size, path.stat().st_mtime_ns)}"
    parts = path.parts
    return f"weights commit:{parts[parts.index('snapshots') + 1][:16]}" if "snapshots" in parts[:-1] else ""


@cache
def _digest_of(path: Path, size: int, changed: int) -> str:
    """Of a file as large as this and last changed then: read once, however many pictures it edits."""
    return sha256_of(path)[:16]


def _changed(before: AnyPhoto, after: AnyPhoto) -> bool:
    if isinstance(after, HugePhoto) or isinstance(before, HugePhoto):
        return isinstance(after, HugePhoto) and bool(after.changed)
    return not np.array_equal(before.native, after.native)
