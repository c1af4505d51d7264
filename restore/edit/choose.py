"""Models by name: what `--model`, `--grounder` and `--judge` open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore.errors import ModelUnavailableError
from restore.hub.cache import Located, described, locate
from restore.settings import EMBEDDED, Settings, load_settings

if TYPE_CHECKING:
    import torch

    from restore.edit.fillers import Filler
    from restore.grounding.finder import ObjectFinder
    from restore.quality.judges.judge import Judgement


def default_settings(model: str) -> Settings:
    """The settings a model starts from: its preset's steps. Raises ModelUnavailableError for an unknown name."""
    if model in EMBEDDED:
        return Settings(model=model)
    return Settings(model=model, steps=described(model).steps)


def settings_for(config: str | Path | None, **changes: Any) -> Settings:
    """The model's own settings, changed by a YAML file, changed by what is not None. Raises InputError."""
    values = load_settings(config, **changes)
    return replace(default_settings(values.get("model", "builtin")), **values)


@dataclass(frozen=True)
class Models:
    """What settings name, found on this machine; None, and no finders: what comes with the package."""

    settings: Settings
    painter: Located | None = None
    finders: tuple[Located, ...] = ()
    judge: Path | None = None


def models_for(settings: Settings) -> Models:
    """Nothing is loaded yet. Raises ModelUnavailableError if a model is not here."""
    painter = None if settings.model in EMBEDDED else locate(settings.model)
    parts = [] if settings.grounder == "builtin" else _parts(settings.grounder)
    finders = tuple(locate(part, "ground") for part in parts)
    return Models(settings, painter, finders, None if settings.judge == "builtin" else _judge_file(settings.judge))


def open_filler(models: Models, device: torch.device, builtin: Callable[[], Filler]) -> Filler:
    """What fills. Raises ModelUnavailableError."""
    return builtin() if models.painter is None else _open_painter(models.painter, device)


def open_finder(models: Models, device: torch.device, embedded: ObjectFinder) -> ObjectFinder:
    """What finds objects: of several models one knows words, one is a SAM. Raises ModelUnavailableError."""
    if not models.finders:
        return embedded
    from restore.grounding.hub_finder import HubFinder
    from restore.grounding.hub_models import MODELS, class_in, load

    words, masks = None, None
    for located in models.finders:
        kind = located.preset.pipeline or class_in(located.path)
        model, find = load(located.path, kind, located.preset.size, device), MODELS[kind]
        if callable(find):
            words = model, find
        else:
            masks = model
    return HubFinder(embedded, words, masks)


def _parts(name: str) -> list[str]:
    """Presets, hub ids or folders, joined by "+"."""
    return [name] if Path(name).exists() else name.split("+")


def open_judge(models: Models, device: torch.device, shipped: Callable[..., Judgement]) -> Callable[..., Judgement]:
    """What judges: the shipped judge, or one whose artifact map a TorchScript file draws."""
    if models.judge is None:
        return shipped
    from restore.quality.judges.segmenter_file import FileJudge

    return FileJudge(models.judge, shipped, device)


def _judge_file(name: str) -> Path:
    path = Path(name).expanduser()
    if not path.is_file():
        raise ModelUnavailableError(f"expected --judge to be 'builtin' or a TorchScript file, got '{name}'")
    return path


def _open_painter(located: Located, device: torch.device) -> Filler:
    from restore.edit.hub_filler import PainterFiller
    from restore.pipelines.hub.file import FilePainter
    from restore.pipelines.hub.inpaint import HubPainter, PainterOptions, open_pipeline
    from restore.pipelines.hub.placement import dtype_for

    preset = located.preset
    if located.path.is_file():
        return PainterFiller(FilePainter(located.path, device, preset.size), preset.name)
    pipe = open_pipeline(located.path, preset.pipeline, dtype_for(preset.dtype, device), located.also)
    options = PainterOptions(preset.size, preset.guidance, preset.strength, preset.image_guidance)
    return PainterFiller(HubPainter(pipe, options, device, preset.name), preset.name)
