"""Parts of a pipeline that are opened otherwise than its folder has them: a transformer from a file of its own,
networks whose weights become 8 or 4 bits while they are read.

8 bits are LLM.int8() (Dettmers et al., NeurIPS 2022), 4 bits NormalFloat in blocks of 64 (Dettmers et al., QLoRA,
NeurIPS 2023), both by bitsandbytes and of linear layers alone. The VAE and CLIP, which are small, stay as they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from restore.errors import ModelUnavailableError, one_line
from restore.hub.transformer_file import TransformerFile
from restore.pipelines.hub.changes import Changes, quantised
from restore.pipelines.hub.folder import Configs, half_precision
from restore.pipelines.hub.library import diffusers

BLOCK = 64  # 4-bit weights that share a scale
WITHIN = 0.01  # share by which the weights of a file may be more or fewer than its class has


def parts(
    folder: Path, index: Mapping[str, Any], configs: Configs, changes: Changes, dtype: torch.dtype, device: torch.device
) -> dict[str, Any]:
    """The parts of the pipeline in `folder` that the changes are about, loaded. Raises ModelUnavailableError, and
    whatever diffusers, transformers and bitsandbytes please."""
    found = {}
    for name in quantised(index, configs, changes):
        found[name] = _quantised(folder, name, index[name], changes.quantize, dtype, device)
    if changes.transformer is not None:
        found["transformer"] = _from_file(changes.transformer, folder, index["transformer"][1], dtype)
    return found


@contextlib.contextmanager
def on_any(device: torch.device) -> Iterator[None]:
    """diffusers 0.42 asks for a GPU before it lets bitsandbytes work, which does on CPUs since 0.46."""
    known: dict[str, Any] = import_module(f"{diffusers().__name__}.quantizers.auto").AUTO_QUANTIZER_MAPPING
    before = dict(known)
    if device.type != "cuda":
        for name in ("bitsandbytes_4bit", "bitsandbytes_8bit"):
            known[name] = type(before[name].__name__, (before[name],), {
                "validate_environment": lambda self, *_, **__: None,
                "update_device_map": lambda self, given: given or {"": device},
            })  # fmt: skip
    try:
        yield
    finally:
        known.update(before)


def fit_for(pipe: Any, device: torch.device) -> None:
    """Leave the order of 4-bit weights as it is: bitsandbytes' other one for CPUs is for code that it would fetch.

    Raises ModelUnavailableError for a folder stored in 4 bits that bitsandbytes gets wrong on this device.
    """
    for name, part in pipe.components.items():
        modules: Iterable[Any] = part.modules() if isinstance(part, torch.nn.Module) else ()
        for module in modules:
            if getattr(module, "support_avx512bf16_for_cpu", False):
                module.support_avx512bf16_for_cpu = False
            if device.type == "cpu" and _odd(module):
                raise ModelUnavailableError(
                    f"expected the 4-bit weights of the {name} in rows of multiples of {BLOCK}, as bitsandbytes reads "
                    f"them on a CPU, got rows of {module.in_features}; use --device cuda, or a folder that is not so"
                )


def _odd(module: torch.nn.Module) -> bool:
    """Whether blocks of 4-bit weights end within rows, where bitsandbytes 0.50 takes the wrong scales on CPUs."""
    return (
        isinstance(module, torch.nn.Linear)
        and hasattr(module.weight, "quant_state")
        and bool(module.in_features % BLOCK)
    )


def _bitsandbytes(library: str, bits: str, dtype: torch.dtype, skipped: list[str] | None = None) -> Any:
    """How a part of diffusers or transformers is quantised. skipped: names of layers that are not."""
    options: dict[str, Any] = {"load_in_8bit": True}
    if bits == "4bit":
        options = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": dtype}
    return import_module(library).BitsAndBytesConfig(**options, llm_int8_skip_modules=skipped)


def _quantised(
    folder: Path, name: str, kind: tuple[str, str], bits: str, dtype: torch.dtype, device: torch.device
) -> Any:
    """A network in few bits but for its odd layers: where there are any, which is rare, it is read once more."""
    library, cls = kind
    network: Any = getattr(import_module(library), cls)

    def read(skipped: list[str] | None) -> Any:
        return network.from_pretrained(
            folder / name, quantization_config=_bitsandbytes(library, bits, dtype, skipped), dtype=dtype,
            use_safetensors=True, local_files_only=True, variant=half_precision(folder / name), device_map={"": device},
        )  # fmt: skip

    net = read(None)
    if not any(_odd(module) for module in net.modules()):
        return net
    linear = [(name, module) for name, module in net.named_modules() if isinstance(module, torch.nn.Linear)]
    return read([name for name, module in linear if _odd(module) or not hasattr(module.weight, "quant_state")])


def _from_file(file: TransformerFile, folder: Path, name: str, dtype: torch.dtype) -> Any:
    """A transformer of class `name` with the config in the folder and the weights in the file."""
    from accelerate import init_empty_weights

    kind: Any = getattr(diffusers(), name)
    if not hasattr(kind, "from_single_file"):
        raise ModelUnavailableError(f"expected a transformer that is read from single files, got {name} in {folder}")
    with init_empty_weights():
        empty = kind.from_config(kind.load_config(folder / "transformer"))
    wanted = sum(p.numel() for p in empty.parameters())
    if abs(file.weights / wanted - 1) > WITHIN:
        raise ModelUnavailableError(
            f"expected a {name} of {_count(wanted)} weights for {folder}, got {_count(file.weights)} in '{file.path}'; "
            "it was made for another model"
        )
    packed = {"quantization_config": diffusers().GGUFQuantizationConfig(compute_dtype=dtype)} if file.gguf else {}
    try:
        return kind.from_single_file(
            str(file.path), config=str(folder), subfolder="transformer", dtype=dtype, local_files_only=True, **packed
        )
    except Exception as error:  # what the converters of diffusers stumble over
        raise ModelUnavailableError(
            f"expected the weights of {name} of {folder} in '{file.path}', got others: {one_line(error)}"
        ) from None


def _count(weights: int) -> str:
    return f"{weights / 1e9:.3g} billion" if weights >= 1e8 else f"{weights:,}"
