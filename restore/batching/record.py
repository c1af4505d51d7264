"""The record of a picture: one line of the ledger, one row of the tables."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from restore.batching.job import MEASURES, Job

Record = dict[str, Any]  # begins with "key" and "status"
DONE, FAILED = "done", "failed"
# Names that a result may have, whether this one has them or not.
OURS = frozenset(
    [
        *("mask", "presence", "passes", "par", "stop", "seconds", "model", "seed", "device", "task", "method", "steps"),
        *("changes", "size", "parameters", "nothing", "invented", "warnings", "candidates"),
        *("width", "height", "sha256"),
        *(name for measures in MEASURES.values() for name in measures),
    ]
)


def record_of(job: Job, item: Mapping[str, Any], status: str, told: Mapping[str, Any]) -> Record:
    """told: what the command says of it. The table's own columns are carried, as source_NAME where we have a NAME."""
    own: Record = {"key": item["key"], "status": status, "id": item["id"], "image": item["image"], "output": None}
    own |= {"kept": None, "error": None, "settings": {**job.settings, **item["settings"]}}
    own |= {name: _plain(value) for name, value in told.items() if name not in ("image", "output")}
    for name, value in item["carried"].items():
        own[f"source_{name}" if name in OURS or name in own else name] = _plain(value)
    return own


def failure(job: Job, item: Mapping[str, Any], error: str, more: Mapping[str, Any] | None = None) -> Record:
    """The record of a picture that failed."""
    named = not item["image"] or str(item["image"]) in error
    return record_of(job, item, FAILED, {**(more or {}), "error": error if named else f"{item['image']}: {error}"})


def line_of(record: Mapping[str, Any]) -> str:
    """A record as a line that begins with its key and status."""
    return json.dumps({"key": record["key"], "status": record["status"], **record}, allow_nan=False, default=str)


def _plain(value: Any) -> Any:
    """As JSON can hold it: no number that is none."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if hasattr(value, "item"):  # of NumPy
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
