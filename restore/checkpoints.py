"""The shipped weights: one manifest, safetensors only, checked by sha256 before use."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore.errors import ModelUnavailableError

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = Path(str(files("restore.weights")))


@cache
def manifest() -> dict[str, dict[str, Any]]:
    """Per shipped file: sha256, bytes, architecture, recipe, data with licences, measured scores."""
    text = (FOLDER / "MANIFEST.json").read_text(encoding="utf-8")
    models: dict[str, dict[str, Any]] = json.loads(text)["models"]
    return models


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
