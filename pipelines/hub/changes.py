"""What is done to a pipeline before it is loaded: another transformer, fewer bits; and how much memory that takes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from restore.errors import InputError, ModelUnavailableError
from restore.hub.headers import header
from restore.hub.transformer_file import TransformerFile, transformer_file
from restore.pipelines.hub.folder import Configs, weight_files

NETWORKS = ("transformer", "transformer_2", "unet", "prior")  # that denoise
LIBRARIES = ("diffusers", "transformers")
# Bytes of a weight: LLM.int8() with a float32 a row, left out here; NormalFloat with a float32 for 64 weights.
BYTES = {"8bit": 1.0, "4bit": 0.5 + 4 / 64}
KEPT = ("embed_tokens", "shared", "relative_attention_bias", ".wo.", "lm_head")  # matrices that are never quantised
# By the method that a part is stored quantised by: what it is imported as, and what to install.
STORED = {
    "bitsandbytes": ("bitsandbytes", "'restore[quantize]'"), "torchao": ("torchao", "torchao"),
    "quanto": ("optimum", "optimum-quanto"), "auto-round": ("auto_round", "auto-round"), "sdnq": ("sdnq", "sdnq"),
    "modelopt": ("modelopt", "nvidia-modelopt"),
}  # fmt: skip


@dataclass(frozen=True)
class Changes:
    """transformer: a file in place of the folder's own; quantize: "8bit", "4bit", "" = as stored."""

    transformer: TransformerFile | None = None
    quantize: str = ""

    @classmethod
    def of(cls, transformer: str, quantize: str) -> Changes:
        """Raises InputError where the file holds no transformer, ModelUnavailableError where a package is missing."""
        if quantize and find_spec("bitsandbytes") is None:
            raise ModelUnavailableError(
                f"expected bitsandbytes for --quantize {quantize}, found none; pip install 'restore[quantize]'"
            )
        file = transformer_file(transformer) if transformer else None
        if quantize and file is not None and not file.gguf:  # diffusers 0.42 does so with folders only
            raise InputError(
                f"expected a GGUF file for --transformer beside --quantize {quantize}, got '{file.path}', which is not "
                "quantised while it is read; leave --quantize out"
            )
        return cls(file, quantize)

    @property
    def given(self) -> str:
        """The options that say so."""
        said = [f"--transformer {self.transformer.path}"] if self.transformer else []
        return " ".join([*said, *([f"--quantize {self.quantize}"] if self.quantize else [])])


def quantised(index: Mapping[str, Any], configs: Configs, changes: Changes) -> list[str]:
    """The parts whose weights get fewer bits: what denoises and what reads words, but for CLIP, which is small."""
    if not changes.quantize:
        return []
    found = []
    for name, value in index.items():
        if name == "transformer" and changes.transformer is not None:
            continue
        known = isinstance(value, list) and len(value) == 2 and value[0] in LIBRARIES
        reads = name.startswith("text_encoder") and known and not str(value[1]).startswith("CLIP")
        if known and (reads or name in NETWORKS) and not stored_as(configs.get(name, {})):
            found.append(name)
    return found


def stored_as(config: Mapping[str, Any]) -> str:
    """The method a part is stored quantised by, "" for none."""
    said = config.get("quantization_config")
    return str(said.get("quant_method") or "bitsandbytes") if isinstance(said, dict) else ""


def told(index: Mapping[str, Any], configs: Configs, changes: Changes) -> str:
    """Which parts have weights of few bits, for people; "no" for none."""
    found = {name: f"stored by {method}" for name in sorted(configs) if (method := stored_as(configs[name]))}
    if changes.transformer is not None:
        found["transformer"] = f"as {changes.transformer.stored} from {changes.transformer.path.name}"
    found |= dict.fromkeys(quantised(index, configs, changes), f"to {changes.quantize}")
    return ", ".join(f"{name} {how}" for name, how in found.items()) or "no"


def check(folder: Path, index: Mapping[str, Any], configs: Configs, changes: Changes) -> None:
    """Raise InputError where this pipeline has nothing to change, ModelUnavailableError where a package that it is
    stored for is missing."""
    if changes.quantize and not quantised(index, configs, changes):
        raise InputError(f"expected a model with weights to quantise for {changes.given}, got {folder}, which has none")
    if changes.transformer is not None and "transformer" not in configs:
        raise InputError(f"expected a model with a transformer for {changes.given}, got {folder}, which has none")
    if "transformer" in configs and changes.transformer is None and not weight_files(folder / "transformer"):
        raise ModelUnavailableError(
            f"expected safetensors of the transformer in {folder}, found none; give one: --transformer FILE"
        )
    for name, config in configs.items():
        module, package = STORED.get(stored_as(config), ("", ""))
        if module and find_spec(module) is None:
            raise ModelUnavailableError(
                f"expected {stored_as(config)} for the {name} in {folder}, which is stored quantised, found none; "
                f"pip install {package}"
            )


def planned(folder: Path, index: Mapping[str, Any], configs: Configs, changes: Changes, width: int) -> dict[str, float]:
    """Bytes in memory by part, from the headers of the files. width: bytes of a number that is not quantised."""
    fewer, found = quantised(index, configs, changes), {}
    for name in (name for name, value in index.items() if isinstance(value, list)):
        files = weight_files(folder / name)
        if name == "transformer" and changes.transformer is not None:
            if changes.transformer.gguf:
                found[name] = float(changes.transformer.size)
                continue
            files = [changes.transformer.path]
        each = BYTES[changes.quantize] if name in fewer else width
        taken = [_bytes(*tensor, each, width) for tensor in _tensors(files)]
        if taken:
            found[name] = sum(taken)
    return found


def _tensors(files: list[Path]) -> Iterator[tuple[str, str, list[int]]]:
    for file in files:
        for name, tensor in header(file).items():
            yield name, str(tensor["dtype"]), tensor["shape"]


def _bytes(name: str, dtype: str, shape: list[int], each: float, width: int) -> float:
    if dtype[:1] in "IU":  # packed already
        return math.prod(shape)
    linear = len(shape) == 2 and name.endswith("weight") and not any(kept in name for kept in KEPT)
    return math.prod(shape) * (each if linear else width)
