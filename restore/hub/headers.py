"""What files of models say of themselves at their beginning. Nothing is loaded."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

LONGEST = 1 << 27  # bytes of a safetensors header


def header(file: Path) -> dict[str, Any]:
    """The header of a safetensors file: name of a tensor → its dtype, shape and place; empty if it is none."""
    return _read(file)[0]


def metadata(file: Path) -> dict[str, str]:
    """What a safetensors file's maker wrote into it; empty if that is nothing."""
    return _read(file)[1]


def _read(file: Path) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            found = json.loads(stream.read(length)) if length < LONGEST else {}
            end = stream.seek(0, 2)
        said = found.pop("__metadata__", None) or {}
        whole = bool(found) and end == 8 + length + max(int(t["data_offsets"][1]) for t in found.values())
        told = {str(key): str(value) for key, value in said.items()}
    except (OSError, struct.error, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return {}, {}
    return (found, told) if whole else ({}, {})


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where the file is not there or none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
