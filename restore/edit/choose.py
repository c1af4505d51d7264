"""Models by name: what `--model`, `--grounder` and `--judge` open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore.errors import InputError, ModelUnavailableError
from restore.hub.cache import Located, described, locate, packages_missing
from restore.hub.presets import preset_of_class
from restore.settings import EMBEDDED, Settings, load_settings

if TYPE_CHECKING:
    import torch

    from restore.edit.fillers import Filler
    from restore.grounding.finder import ObjectFinder
    from restore.pipelines.hub.changes import Changes
    from restore.quality.judges.judge import Judgement


def default_settings(model: str) -> Settings:
    """The settings a model starts from: its steps. Raises ModelUnavailableError for a model that is not here and
    whose steps no preset knows."""
    if model in EMBEDDED:
        return Settings(model=model)
    preset = described(model, "fill")
    return Settings(model=model, steps=preset.steps or completed(locate(model, "fill")).preset.steps or STEPS)


def completed(located: Located) -> Located:
    """A model with what its preset leaves open: from the preset of its pipeline's class, then from the class itself.

    Raises ModelUnavailableError where the pipeline cannot repaint.
    """
    preset = located.preset
    if located.network or None not in (preset.steps, preset.guidance, preset.strength, preset.refine_strength):
        return located
    from restore.pipelines.hub.inpaint import REFINE
    from restore.pipelines.hub.opening import plan_for

    able = plan_for(located.path, preset.pipeline, located.also).able
    like = preset_of_class(able.pipeline)
    own = {"steps": able.steps, "guidance": able.scale, "strength": able.strength, "refine_strength": None}
    if able.strength is not None:
        own["refine_strength"] = REFINE
    values: dict[str, Any] = {key: getattr(like, key, None) for key in own}
    values = {key: own[key] if value is None else value for key, value in values.items()}
    left: dict[str, Any] = {key: value for key, value in values.items() if getattr(preset, key) is None}
    left |= {key: getattr(preset, key) or getattr(like, key, {}) for key in ("prompts", "negatives")}
    return replace(located, preset=replace(preset, **left))


def settings_for(config: str | Path | None, **changes: Any) -> Settings:
    """The model's own settings, changed by a YAML file, changed by what is not None. Raises InputError."""
    values = load_settings(config, **changes)
    return replace(default_settings(values.get("model", "builtin")), **values)


STEPS = 30  # of a model that names none


def shown(model: str, transformer: str = "", quantize: str = "") -> dict[str, Any]:
    """How a model on this machine will be called, changed so, in the words of `restore models show`.

    Raises ModelUnavailableError for one that is not here or cannot repaint, InputError where nothing can be changed so.
    """
    located = completed(locate(model, "fill"))
    preset, path = located.preset, located.path
    rows: dict[str, Any] = {"name": preset.name, "licence": preset.licence, "place": str(path)}
    if located.network:
        return rows | {"does": "fills the mask; hears nothing but the photo", "size": preset.size or "any"}
    from restore.hub.headers import read_json
    from restore.pipelines.hub.folder import stored_dtype
    from restore.pipelines.hub.opening import check, fewer_bits, memory, plan_for

    changes = _changes(transformer, quantize)
    plan = plan_for(path, preset.pipeline, located.also)
    check(plan, changes)
    able = plan.able
    rows |= {"index": plan.index, "opened as": able.pipeline, "does": able.sentence}
    rows |= {"photo": able.photo, "mask": able.mask or "none", "guidance": "none", "strength": "none"}
    if able.guidance:
        scale = "" if preset.guidance is None else f" {preset.guidance:g}"
        rows["guidance"] = f"{able.guidance}{scale}, {'classifier-free' if able.real else 'distilled'}"
    if able.strength is not None:
        rows["strength"], rows["refine strength"] = preset.strength, preset.refine_strength
    if predicts := read_json(plan.folder / "scheduler" / "scheduler_config.json").get("prediction_type"):
        rows["predicts"] = predicts
    stops = "between steps" if able.callback else "between fills only"
    rows |= {"steps": preset.steps or "its own", "size": preset.size or able.size, "multiple": able.multiple}
    rows |= {"stored in": stored_dtype(path) or "unknown", "quantized": fewer_bits(plan, changes)}
    return rows | {"memory": memory(plan, changes), "can stop": stops}


@dataclass(frozen=True)
class Models:
    """What settings name, found on this machine; None, and no finders: what comes with the package."""

    settings: Settings
    painter: Located | None = None
    finders: tuple[Located, ...] = ()
    judge: Path | None = None


def models_for(settings: Settings) -> Models:
    """Nothing is loaded yet. Raises ModelUnavailableError if a model is not here."""
    painter = None if settings.model in EMBEDDED else locate(settings.model, "fill")
    if painter is not None and (command := packages_missing(painter.preset)):
        raise ModelUnavailableError(
            f"expected the packages that model '{settings.model}' reads with, found not all; run: {command}"
        )
    parts = [] if settings.grounder == "builtin" else _parts(settings.grounder)
    finders = tuple(locate(part, "ground") for part in parts)
    if settings.lora:
        from restore.pipelines.hub.lora import parsed

        for lora in settings.lora:
            parsed(lora)
    if settings.changes:
        _changes(settings.transformer, settings.quantize)
    return Models(settings, painter, finders, None if settings.judge == "builtin" else _judge_file(settings.judge))


def open_filler(models: Models, device: torch.device, builtin: Callable[[], Filler]) -> Filler:
    """What fills. Raises ModelUnavailableError."""
    return builtin() if models.painter is None else _open_painter(models.painter, device, models.settings)


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


def _changes(transformer: str, quantize: str) -> Changes:
    from restore.pipelines.hub.changes import Changes

    return Changes.of(transformer, quantize)


def _open_painter(located: Located, device: torch.device, settings: Settings) -> Filler:
    from restore.edit.hub_filler import PainterFiller
    from restore.pipelines.hub.file import FilePainter
    from restore.pipelines.hub.folder import stored_dtype
    from restore.pipelines.hub.inpaint import HubPainter, PainterOptions
    from restore.pipelines.hub.lora import add_loras
    from restore.pipelines.hub.opening import load, plan_for
    from restore.pipelines.hub.placement import dtype_for

    preset, path = completed(located).preset, located.path
    if located.network:
        if settings.changes:
            name = next(iter(settings.changes))
            raise InputError(f"expected a diffusers model for --{name} to change, got {path}, which takes none")
        return PainterFiller(FilePainter(path, device, preset.size), preset.name)
    plan = plan_for(path, preset.pipeline, located.also)
    stored = "" if preset.dtype else stored_dtype(path)
    dtype = dtype_for(preset.dtype, stored, device, transformer=plan.transformer)
    pipe = load(plan, dtype, located.also, _changes(settings.transformer, settings.quantize), device)
    add_loras(pipe, settings.lora)
    options = PainterOptions(
        preset.size, preset.guidance, preset.strength, preset.refine_strength, preset.image_guidance
    )
    painter = HubPainter(pipe, options, device, preset.name)
    return PainterFiller(painter, preset.name, preset.prompts, preset.negatives)
