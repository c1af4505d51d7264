"""The shipped weights: one manifest, safetensors only, checked by sha256 before use."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore.errors import ModelUnavailableError

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = Path(str(files("restore.weights")))
LIMIT = 95_000_000  # bytes of all weights together: a wheel on PyPI may have 100 MB
# What the manifest says of each model; `scores` are written by benchmarks/ only.
FIELDS: dict[str, type | tuple[type, ...]] = {
    "sha256": str,
    "bytes": int,
    "parameters": int,
    "architecture": str,
    "licence": str,
    "recipe": (str, dict),
    "data": str,
    "samples": int,
    "scores": dict,
}
FILLED = ("sha256", "bytes", "parameters", "architecture", "licence", "data")  # never empty or zero


@cache
def manifest() -> dict[str, dict[str, Any]]:
    """Per shipped file what FIELDS names. Raises ModelUnavailableError when there is no readable manifest."""
    path = FOLDER / "MANIFEST.json"
    try:
        models: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["models"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelUnavailableError(f"expected a manifest of the weights, got none in {path}; reinstall") from None
    return models


def digest() -> str:
    """16 hex digits for all shipped weights together: sha256 over their names and digests."""
    known = "".join(f"{name} {entry['sha256']}\n" for name, entry in sorted(manifest().items()))
    return hashlib.sha256(known.encode()).hexdigest()[:16]


@cache
def verified(name: str) -> Path:
    """Path of a shipped weight file whose checksum matches the manifest.

    Raises ModelUnavailableError when the file is unknown, missing or damaged.
    """
    entry = manifest().get(name)
    path = FOLDER / f"{name}.safetensors"
    if entry is None or not path.is_file():
        raise ModelUnavailableError(
            f"expected shipped weights '{name}', got no such file; reinstall the package "
            f"(known: {', '.join(manifest())})"
        )
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != entry["sha256"]:
        raise ModelUnavailableError(
            f"expected sha256 {entry['sha256'][:12]}… for weights '{name}', got {found[:12]}…; reinstall the package"
        )
    return path


def load_weights(name: str) -> dict[str, Tensor]:
    """Tensors of a shipped weight file, widened from fp16 to float32."""
    from safetensors.torch import load_file

    return {key: value.float() for key, value in load_file(verified(name)).items()}


def problems(name: str) -> list[str]:
    """What is wrong with a shipped model: each difference between file and manifest, one line. Empty: all is well."""
    entry, path = manifest().get(name), FOLDER / f"{name}.safetensors"
    if entry is None:
        return ["a file without an entry in the manifest"]
    found = [
        f"manifest field '{field}' is missing or not of its kind"
        for field, kind in FIELDS.items()
        if not isinstance(entry.get(field), kind) or (field in FILLED and not entry[field])
    ]
    if not path.is_file():
        return [*found, "no file"]
    data = path.read_bytes()
    measured = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "parameters": parameter_count(data),
    }
    return found + [
        f"{field}: expected {entry[field]}, got {value}"
        for field, value in measured.items()
        if field in entry and entry[field] != value
    ]


def parameter_count(data: bytes) -> int:
    """Numbers in all tensors of a safetensors file, from its header; -1 when it has none.

    The header is a little-endian 64-bit length and that much JSON (safetensors format, "Format").
    """
    try:
        (length,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + length])
        return sum(math.prod(tensor["shape"]) for key, tensor in header.items() if key != "__metadata__")
    except (struct.error, ValueError, KeyError, TypeError, AttributeError):
        return -1


def shipped() -> list[str]:
    """Names in the manifest, then those of files that it does not name."""
    return [*manifest(), *sorted({path.stem for path in FOLDER.glob("*.safetensors")} - set(manifest()))]
