"""Pipelines of diffusers from a folder on this machine: safetensors only, no remote code, no network."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from restore.errors import InputError, ModelUnavailableError, RestoreError, one_line
from restore.hub.cache import quiet
from restore.hub.single_file import Single, recognised, write_configs
from restore.pipelines.hub.capabilities import Capabilities, capabilities_of
from restore.pipelines.hub.changes import Changes, planned, told
from restore.pipelines.hub.changes import check as check_folder
from restore.pipelines.hub.folder import Configs, configs_in, index_of, parts_in, weights_lacking
from restore.pipelines.hub.library import diffusers
from restore.pipelines.hub.parts import fit_for, on_any, parts
from restore.pipelines.hub.relatives import class_for, pipeline_class

AS_IT_IS, CPU = Changes(), torch.device("cpu")
HALF = 2  # bytes
KANDINSKY = {"KandinskyV22InpaintPipeline": "KandinskyV22InpaintCombinedPipeline"}  # decoders whose prior lies apart


@dataclass(frozen=True)
class Plan:
    """How a model will be opened: as which class, with what it can do; index: the class its own index names; file: all
    weights in one file, whose configs alone are in the folder."""

    folder: Path
    index: str
    kind: type
    able: Capabilities
    transformer: bool
    file: Path | None = None


def plan_for(folder: Path, name: str = "", also: Sequence[Path] = ()) -> Plan:
    """What the pipeline in `folder`, or a single file, will be opened as; name: a class to take instead of what fits.
    Nothing is loaded.

    also: the folder of a prior that comes apart (Kandinsky). Raises ModelUnavailableError where it cannot repaint, with
    what it lacks.
    """
    file = folder if folder.is_file() else None
    if file is not None:
        folder = _configs_of_file(file)
    index = index_of(folder)
    named = str(index["_class_name"])
    found = pipeline_class(name or named)
    if found is None:
        version = diffusers().__version__
        raise ModelUnavailableError(
            f"expected a pipeline of diffusers {version} in {folder}, got {name or named}, which it does not have; "
            "upgrade diffusers, or take another model"
        )
    configs = configs_in(folder)
    kind = found if name else class_for(found, parts_in(index), configs)
    combined = KANDINSKY.get(kind.__name__)
    if combined is not None:
        if not also:
            raise ModelUnavailableError(
                f"expected a prior beside the decoder {kind.__name__} in {folder}, found none; use --model "
                "kandinsky-inpaint or a combined pipeline"
            )
        kind = pipeline_class(combined) or kind
    able = capabilities_of(kind, configs)
    if able.lacks:
        raise ModelUnavailableError(
            f"expected a model that repaints, got {kind.__name__} in {folder}, which needs {able.lacks}; "
            "use an inpainting or editing model: restore models list"
        )
    return Plan(folder, named, kind, able, "transformer" in configs, file)


@cache
def _kept(file: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder for the configs of a file, until the program ends."""
    return tempfile.TemporaryDirectory(prefix="restore-configs-")


def _configs_of_file(file: Path) -> Path:
    single = recognised(file)
    if not isinstance(single, Single):
        raise ModelUnavailableError(f"expected a Stable Diffusion in {file}, got {single or 'something else'}")
    return write_configs(single, Path(_kept(file.resolve()).name))


def open_pipeline(folder: Path, name: str = "", dtype: torch.dtype = torch.float32, also: Sequence[Path] = ()) -> Any:
    """The diffusers pipeline in `folder`, made one that repaints (`plan_for`). Raises ModelUnavailableError."""
    return load(plan_for(folder, name, also), dtype, also)


def load(
    plan: Plan, dtype: torch.dtype, also: Sequence[Path] = (), changes: Changes = AS_IT_IS, device: torch.device = CPU
) -> Any:
    """The pipeline of a plan with its weights. device: where weights are quantised; all others come to the CPU.

    Raises ModelUnavailableError, InputError where there is nothing to change.
    """
    brought = "" if changes.transformer is None else "transformer"
    for folder in () if plan.file is not None else (plan.folder, *also):
        if lacking := weights_lacking(folder, brought):
            raise ModelUnavailableError(f"expected safetensors of every part in {folder}, got {lacking}")
    check(plan, changes)
    with quiet("diffusers", "transformers"), on_any(device):
        try:
            if plan.kind.__name__ in KANDINSKY.values() and also:
                return _kandinsky(plan.folder, dtype, also)
            if plan.file is not None:
                return _load_file(plan.kind, plan.file, plan.folder, dtype)
            changed = parts(plan.folder, index_of(plan.folder), configs_in(plan.folder), changes, dtype, device)
            pipe = completed(_load(plan.kind, plan.folder, dtype, **changed))
            fit_for(pipe, device)
            return pipe
        except RestoreError:
            raise
        except Exception as error:  # diffusers, transformers, safetensors and their like raise whatever they please
            raise ModelUnavailableError(
                f"expected a diffusers {plan.kind.__name__} with safetensors in {plan.file or plan.folder}, got: "
                f"{one_line(error)}{_missing_package(error)}"
            ) from None


def memory(plan: Plan, changes: Changes) -> str:
    """What the weights take in half precision, for people: all, and each part."""
    if plan.file is not None:
        return f"{plan.file.stat().st_size / 1e9:.2g} GB"
    taken = planned(plan.folder, index_of(plan.folder), configs_in(plan.folder), changes, HALF)
    each = ", ".join(f"{name} {size / 1e9:.2g}" for name, size in taken.items())
    return f"{sum(taken.values()) / 1e9:.2g} GB in half precision ({each})"


def fewer_bits(plan: Plan, changes: Changes) -> str:
    """Which parts are quantised and how, for people."""
    return told(index_of(plan.folder), configs_in(plan.folder), changes)


def check(plan: Plan, changes: Changes) -> None:
    """Raise InputError where a plan cannot be changed so, ModelUnavailableError where a package is missing."""
    single = plan.file is not None or plan.kind.__name__ in KANDINSKY.values()
    if single and changes.given:
        raise InputError(f"expected a folder of one whole pipeline for {changes.given}, got {plan.file or plan.folder}")
    check_folder(plan.folder, index_of(plan.folder), configs_in(plan.folder), changes)


def _load(kind: Any, folder: Path, dtype: torch.dtype, **parts: Any) -> Any:
    """From safetensors, the half-precision files where the folder has them; parts: what is loaded already."""
    half = "fp16" if any(folder.glob("*/*.fp16*.safetensors")) else None
    return kind.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, local_files_only=True, variant=half, low_cpu_mem_usage=True, **parts
    )


def _load_file(kind: Any, file: Path, configs: Path, dtype: torch.dtype) -> Any:
    """All parts from one file."""
    options = {"safety_checker": None} if "safety_checker" in kind._optional_components else {}
    return kind.from_single_file(str(file), config=str(configs), dtype=dtype, local_files_only=True, **options)


def _kandinsky(folder: Path, dtype: torch.dtype, also: Sequence[Path]) -> Any:
    """Decoder and prior come as two repositories; diffusers' combined pipeline takes the parts of both."""
    decoder = _load(diffusers().KandinskyV22InpaintPipeline, folder, dtype)
    prior = _load(diffusers().KandinskyV22PriorPipeline, also[0], dtype)
    parts = {f"prior_{key}": value for key, value in prior.components.items()}
    return diffusers().KandinskyV22InpaintCombinedPipeline(**decoder.components, **parts)


def completed(pipe: Any) -> Any:
    """What diffusers 0.42 leaves open: Chroma's inpainting class asks its network's config for an entry that this
    network never had; GLM-Image's hands one photo's features over where transformers since takes a list of them."""
    if type(pipe).__name__.startswith("Chroma") and "guidance_embeds" not in pipe.transformer.config:
        pipe.transformer.register_to_config(guidance_embeds=False)
    if type(pipe).__name__ == "GlmImagePipeline":
        encoder = pipe.vision_language_encoder
        encoder.get_image_tokens = lambda features, grid=None: encoder.model.get_image_tokens(
            [features] if getattr(features, "ndim", 0) == 3 else features, grid
        )
    return pipe


def configs_of(pipe: Any) -> Configs:
    """The configs of a loaded pipeline's parts, as `folder.configs_in` reads them."""
    configs = {"": dict(pipe.config)}
    for name, part in pipe.components.items():
        config = getattr(part, "config", None)
        if config is not None:
            configs[name] = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    return configs


def _missing_package(error: Exception) -> str:
    """What to install, where that is what the error is about."""
    text = str(error)
    for package in ("torchvision", "sentencepiece", "ftfy", "bitsandbytes", "gguf", "peft", "tiktoken", "protobuf"):
        if package in text.lower() and isinstance(error, (ImportError, NameError, ValueError)):
            return f"; pip install {package}"
    return ""
