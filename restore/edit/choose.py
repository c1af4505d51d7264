"""Models by name: what `--model`, `--grounder` and `--judge` open."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore.errors import InputError, ModelUnavailableError
from restore.grounding.grammar import Instruction
from restore.grounding.painting import paintable
from restore.hub.cache import FILES, Located, described, locate
from restore.settings import Settings, load_settings

if TYPE_CHECKING:
    import torch

    from restore.edit.fillers import Filler
    from restore.grounding.finder import ObjectFinder
    from restore.quality.judges.judge import Judgement

EMBEDDED = ("builtin", "instruct")  # models that come with the package


def default_settings(model: str) -> Settings:
    """The settings a model starts from: its preset's steps. Raises ModelUnavailableError for an unknown name."""
    if model in EMBEDDED:
        return Settings(model=model)
    return Settings(model=model, steps=described(model).steps)


def settings_for(config: str | Path | None, **changes: Any) -> Settings:
    """The model's own settings, changed by a YAML file, changed by what is not None. Raises InputError."""
    values = load_settings(config, **changes)
    return replace(default_settings(values.get("model", "builtin")), **values)


def check_models(settings: Settings) -> None:
    """Raises ModelUnavailableError, before anything is loaded, if a model named in the settings is not here."""
    if settings.offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    if settings.model not in EMBEDDED:
        locate(settings.model)
    if settings.grounder != "builtin":
        for part in _parts(settings.grounder):
            locate(part, "ground")
    if settings.judge != "builtin":
        _judge_file(settings.judge)


def check_instruction(model: str, instruction: Instruction | None) -> None:
    """Raises InputError if the model cannot do what the instruction asks for."""
    if instruction is None or instruction.subject is None:
        return
    if model == "builtin":
        paintable(instruction.subject)
    elif _wordless(model):
        raise InputError(
            f"expected an instruction to remove something, got one to {instruction.action}: model '{model}' fills from "
            "the surroundings; use one that hears words, for example --model sd15-inpaint"
        )


def _wordless(model: str) -> bool:
    if model in EMBEDDED:
        return True
    preset = described(model)
    return bool(preset.file) or Path(preset.path).suffix.lower() in FILES


def open_filler(settings: Settings, device: torch.device, builtin: Callable[[], Filler]) -> Filler:
    """The filler that `settings.model` names. Raises ModelUnavailableError."""
    if settings.model in EMBEDDED:
        return builtin()
    return _open_painter(locate(settings.model), device)


def open_finder(name: str, device: torch.device, embedded: ObjectFinder) -> ObjectFinder:
    """What `--grounder` names: presets, hub ids or folders, one that knows words and a SAM joined by "+".

    Raises ModelUnavailableError.
    """
    if name == "builtin":
        return embedded
    from restore.grounding.hub_finder import HubFinder
    from restore.grounding.hub_models import MODELS, class_in, load

    words, masks = None, None
    for part in _parts(name):
        located = locate(part, "ground")
        kind = located.preset.pipeline or class_in(located.path)
        model, find = load(located.path, kind, located.preset.size, device), MODELS[kind]
        if callable(find):
            words = model, find
        else:
            masks = model
    return HubFinder(embedded, words, masks)


def _parts(name: str) -> list[str]:
    return [name] if Path(name).exists() else name.split("+")


def open_judge(name: str, device: torch.device, shipped: Callable[..., Judgement]) -> Callable[..., Judgement]:
    """What `--judge` names: the shipped judge, or one whose artifact map a TorchScript file draws."""
    if name == "builtin":
        return shipped
    from restore.quality.judges.segmenter_file import FileJudge

    return FileJudge(_judge_file(name), shipped, device)


def _judge_file(name: str) -> Path:
    path = Path(name).expanduser()
    if not path.is_file():
        raise ModelUnavailableError(f"expected --judge to be 'builtin' or a TorchScript file, got '{name}'")
    return path


def _open_painter(located: Located, device: torch.device) -> Filler:
    from restore.edit.hub_filler import PainterFiller
    from restore.pipelines.hub.file import FilePainter
    from restore.pipelines.hub.inpaint import HubPainter, Sampling, open_pipeline
    from restore.pipelines.hub.placement import dtype_for

    preset = located.preset
    if located.path.is_file():
        return PainterFiller(FilePainter(located.path, device, preset.size), preset.name)
    pipe = open_pipeline(located.path, preset.pipeline, dtype_for(preset.dtype, device), located.also)
    sampling = Sampling(preset.size, preset.guidance, preset.strength, preset.image_guidance)
    return PainterFiller(HubPainter(pipe, sampling, device, preset.name), preset.name)
