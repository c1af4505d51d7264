"""LoRAs: small files that change a pipeline's networks (Hu et al., ICLR 2022)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from restore.errors import InputError, ModelUnavailableError, one_line
from restore.hub.cache import quiet
from restore.hub.headers import header


def parsed(lora: str) -> tuple[Path, float]:
    """ "FILE" or "FILE:WEIGHT". Raises InputError if there is no such file or it holds no LoRA."""
    name, _, weight = lora.rpartition(":")
    path, scale = Path(lora).expanduser(), 1.0
    if name and not path.exists():
        try:
            path, scale = Path(name).expanduser(), float(weight)
        except ValueError:
            raise InputError(f"expected --lora FILE or FILE:WEIGHT, got '{lora}'; the weight is a number") from None
    if not path.is_file() or path.suffix.lower() != ".safetensors":
        raise InputError(f"expected a LoRA in a .safetensors file, got '{path}'; check the path")
    if not any("lora" in key.lower() for key in header(path)):
        raise InputError(f"expected a LoRA, got '{path}', which holds other weights; as a model: --model {path}")
    return path, scale


def add_loras(pipe: Any, loras: Sequence[str]) -> None:
    """Load each LoRA into the pipeline with its weight. Raises ModelUnavailableError where they do not fit it."""
    if not loras:
        return
    if find_spec("peft") is None:
        raise ModelUnavailableError("expected peft for --lora, found none; pip install 'restore[lora]'")
    if not hasattr(pipe, "load_lora_weights"):
        raise ModelUnavailableError(f"expected a model that takes LoRAs, got {type(pipe).__name__}; leave --lora out")
    found = [parsed(lora) for lora in loras]
    names = [f"lora{i}" for i in range(len(found))]
    for name, (path, _) in zip(names, found, strict=True):
        try:
            with quiet("diffusers", "transformers"), warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # peft's, that there are several
                pipe.load_lora_weights(
                    str(path.parent), weight_name=path.name, adapter_name=name, local_files_only=True
                )
                known = {adapter for adapters in pipe.get_list_adapters().values() for adapter in adapters}
        except Exception as error:  # diffusers and peft raise whatever they please
            raise ModelUnavailableError(
                f"expected a LoRA for {type(pipe).__name__}, got '{path}': {one_line(error)}"
            ) from None
        if name not in known:
            raise ModelUnavailableError(
                f"expected a LoRA for {type(pipe).__name__}, got '{path}', none of whose weights fits; "
                "it was made for another model"
            )
    pipe.set_adapters(names, [scale for _, scale in found])
