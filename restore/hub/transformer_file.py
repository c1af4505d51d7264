"""One transformer in a file of its own, GGUF or safetensors: what `--transformer` takes. Nothing is loaded."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from restore.errors import InputError, ModelUnavailableError
from restore.hub.gguf_header import gguf_header
from restore.hub.headers import header

SUFFIXES = (".gguf", ".safetensors")
# Parts of names by which other programs tell how they packed weights that diffusers takes for plain ones.
PACKED = ("absmax", "quant_state", "scale_weight", "weight_scale", "scaled_fp8", "qweight", "wscales", ".SCB")


@dataclass(frozen=True)
class TransformerFile:
    """weights: how many there are; stored: what most of them are stored as, "Q4_K", "BF16", …; size: of all, bytes."""

    path: Path
    weights: int
    stored: str
    size: int

    @property
    def gguf(self) -> bool:
        return self.path.suffix.lower() == ".gguf"


def transformer_file(name: str) -> TransformerFile:
    """What is in a file. Raises InputError where that is no transformer, ModelUnavailableError without `gguf`."""
    path = Path(name).expanduser()
    if not path.is_file():
        raise InputError(f"expected --transformer FILE.gguf or FILE.safetensors, got '{name}'; check the path")
    if path.suffix.lower() == ".gguf":
        return _gguf(path)
    if path.suffix.lower() == ".safetensors":
        return _safetensors(path)
    raise InputError(f"expected a transformer in a .gguf or .safetensors file, got '{path}', a file of another kind")


def _gguf(path: Path) -> TransformerFile:
    try:
        found = gguf_header(path)
    except (OSError, ValueError) as error:
        raise InputError(f"expected a transformer in GGUF, got '{path}': {error}; is the download complete?") from None
    if any(key in found.tensors for key in ("token_embd.weight", "output_norm.weight")):
        kind = f" ({found.architecture})" if found.architecture else ""
        raise InputError(f"expected a transformer that makes pictures, got '{path}', a language model{kind}")
    if find_spec("gguf") is None:
        raise ModelUnavailableError(f"expected gguf to read '{path}', found none; pip install 'restore[gguf]'")
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    weights: Counter[str] = Counter()
    size = 0
    for tensor in found.tensors.values():
        if tensor.kind not in set(GGMLQuantizationType):
            raise InputError(f"expected weights of a known type in '{path}', got type {tensor.kind}; upgrade gguf")
        stored, count = GGMLQuantizationType(tensor.kind), math.prod(tensor.shape)
        block, taken = GGML_QUANT_SIZES[stored]
        weights[stored.name] += count
        size = max(size, tensor.start + -(-count // block) * taken)
    if path.stat().st_size < found.start + size:
        raise InputError(f"expected a transformer in GGUF, got '{path}': it is cut short; is the download complete?")
    return _of(path, weights, size)


def _safetensors(path: Path) -> TransformerFile:
    tensors = header(path)
    if not tensors:
        raise InputError(f"expected a transformer, got '{path}', a file that is cut short or no safetensors")
    if any("lora_" in key or ".lora" in key for key in tensors):
        raise InputError(f"expected a transformer, got '{path}', a LoRA: --lora {path}")
    if packed := next((mark for mark in PACKED for key in tensors if mark in key), ""):
        raise InputError(
            f"expected a transformer of plain weights in '{path}', got packed ones ('{packed}'); take a GGUF file or "
            "an unpacked one"
        )
    weights: Counter[str] = Counter()
    for tensor in tensors.values():
        weights[str(tensor["dtype"])] += math.prod(tensor["shape"])
    return _of(path, weights, max(int(tensor["data_offsets"][1]) for tensor in tensors.values()))


def _of(path: Path, weights: Mapping[str, int], size: int) -> TransformerFile:
    if not weights:
        raise InputError(f"expected a transformer, got '{path}', which holds no weights")
    return TransformerFile(path, sum(weights.values()), max(weights, key=lambda kind: weights[kind]), size)
