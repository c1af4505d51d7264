"""What the files in a diffusers folder say without being loaded: its index, its parts' configs, their precision."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from restore.errors import ModelUnavailableError
from restore.hub.brought import PICKLES, of_folder
from restore.hub.headers import header, read_json

Configs = Mapping[str, Mapping[str, Any]]
DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def index_of(folder: Path) -> dict[str, Any]:
    """A pipeline's model_index.json. Raises ModelUnavailableError if there is none that names a class."""
    index = read_json(folder / "model_index.json")
    if not isinstance(index.get("_class_name"), str):
        raise ModelUnavailableError(f"expected a diffusers pipeline in {folder}, got {of_folder(folder)}")
    return index


def parts_in(index: Mapping[str, Any]) -> dict[str, str]:
    """Class by component of a pipeline's index, of those that are there."""
    return {
        key: str(value[1])
        for key, value in index.items()
        if isinstance(value, list) and len(value) == 2 and value[1] is not None
    }


def configs_in(folder: Path) -> Configs:
    """The configs of a pipeline's components by their folders' names; "": its index."""
    files = sorted([*folder.glob("*/config.json"), *folder.glob("*/scheduler_config.json")])
    return {"": read_json(folder / "model_index.json")} | {path.parent.name: read_json(path) for path in files}


def half_precision(part: Path) -> str | None:
    """ "fp16" where a part's folder has files of that variant, which are then the ones to read."""
    return "fp16" if any(part.glob("*.fp16*.safetensors")) else None


def weight_files(part: Path) -> list[Path]:
    """The safetensors of a part's folder that are read."""
    half = half_precision(part)
    return sorted(file for file in part.glob("*.safetensors") if half is None or ".fp16" in file.name)


def stored_dtype(folder: Path) -> str:
    """The precision that most weights of the network that denoises are stored in, "" where no file says so.

    folder: a pipeline's, or one file of everything.
    """
    for part in ("transformer", "unet", "prior", "."):
        counts: Counter[str] = Counter()
        for file in [folder] if folder.is_file() else (folder / part).glob("*.safetensors"):
            for tensor in header(file).values():
                counts[str(tensor["dtype"])] += math.prod(tensor["shape"])
        if counts:
            return DTYPES.get(counts.most_common(1)[0][0], "")
    return ""


def weights_lacking(folder: Path, without: str = "") -> str:
    """What keeps the weights of a pipeline's parts from being read, and what to do; "" where nothing does.

    without: the name of a part that is not read from here.
    """
    for part in sorted(path.parent for path in folder.glob("*/config.json") if path.parent.name != without):
        files = sorted(part.glob("*.safetensors"))
        pickles = sorted(file for file in part.iterdir() if file.suffix in PICKLES)
        if pickles and not files:
            name = pickles[0].with_suffix(".safetensors").name
            safe = part / (name.removeprefix("pytorch_") if name.startswith("pytorch_model") else name)  # transformers'
            return f"a pickle in {part.name}; first: restore models convert {pickles[0]} {safe}"
        shards = {str(name) for index in part.glob("*.safetensors.index*.json") for name in _shards(index)}
        absent = sorted(shards - {file.name for file in files})
        if absent:
            return f"none of {part.name}/{absent[0]}, which its index names; fetch it again"
        cut = [file.name for file in files if not header(file)]
        if cut:
            return f"{part.name}/{cut[0]}, which is cut short; fetch it again"
        if files and not shards and any("-of-" in file.name for file in files):
            return f"parts of weights in {part.name} without their index, a .safetensors.index.json; fetch it again"
    return ""


def _shards(index: Path) -> list[Any]:
    names = read_json(index).get("weight_map")
    return list(names.values()) if isinstance(names, dict) else []
