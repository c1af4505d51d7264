"""The tables of docs/models.md, made from presets and capabilities."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import diffusers

from restore.hub.presets import Preset, presets
from restore.pipelines.hub.capabilities import Capabilities, capabilities_of
from restore.pipelines.hub.folder import Configs
from restore.pipelines.hub.relatives import class_for, painting, pipeline_class, repainting

START, END = "<!-- made by tests/pipelines/test_every_class.py -->", "<!-- end -->"
EMBEDS = {"Flux2Klein": False, "Flux": True, "Qwen": False}  # of the published weights (FLUX.1 and .2 [dev])


def tables(tried: Collection[str]) -> str:
    """Both, between their marks. tried: classes that a tiny model of was run through the whole contract."""
    return "\n".join([START, *_presets(), "", *_classes(tried), "", *_painters(tried), END])


def claim(tried: Collection[str]) -> str:
    return f"{len(tried)} of the {len(repainting())} classes of diffusers {_version()} that fill or edit"


def _published(name: str) -> Configs:
    """Whether guidance is an input of the network is said by the weights, not by the class."""
    embeds = next((value for start, value in EMBEDS.items() if name.startswith(start)), None)
    return {} if embeds is None else {"transformer": {"guidance_embeds": embeds}}


def _version() -> str:
    return ".".join(diffusers.__version__.split(".")[:2])


def _presets() -> Iterator[str]:
    yield "| model | opened as | to fetch, memory (GB) | licence | steps | guidance | needs |"
    yield "|---|---|---|---|---|---|---|"
    for preset in sorted((p for p in presets().values() if p.role == "fill"), key=lambda p: p.memory):
        licence = preset.licence + ", gated" * preset.gated
        size = f"{preset.download:g}, {preset.memory:g}"
        needs = ", ".join(preset.needs) or ("onnxruntime" if preset.file.endswith(".onnx") else "")
        yield (
            f"| {preset.name} | {preset.pipeline or preset.file} | {size} | {licence} | {preset.steps or ''} | "
            f"{_guidance(preset)} | {needs} |"
        )


def _guidance(preset: Preset) -> str:
    kind = pipeline_class(preset.pipeline) if preset.pipeline else None
    return "" if kind is None or preset.guidance is None else f"{preset.guidance:g}"


def _classes(tried: Collection[str]) -> Iterator[str]:
    yield "| class | what it does here | its own steps, guidance | tested |"
    yield "|---|---|---|---|"
    found = {kind.__name__: capabilities_of(kind, _published(kind.__name__)) for kind in repainting()}
    for name, able in sorted(found.items(), key=lambda item: (bool(item[1].lacks), item[0])):
        how = "refused by name" if able.lacks else "the whole contract" if name in tried else "by signature only"
        yield f"| {name.removesuffix('Pipeline')} | {able.sentence} | {_defaults(able)} | {how} |"


def _painters(tried: Collection[str]) -> Iterator[str]:
    yield "| makes pictures from words | filled with as | its own steps, guidance | tested |"
    yield "|---|---|---|---|"
    for kind in painting():
        able = capabilities_of(kind, _published(kind.__name__))
        parts = {name: types[0].__name__ for name, types in kind._get_signature_types().items() if types}  # type: ignore[attr-defined]
        other = class_for(kind, parts, {})
        like = "itself, by blending" if other is kind else other.__name__.removesuffix("Pipeline")
        how = "the whole contract" if kind.__name__ in tried else "by signature only"
        yield f"| {kind.__name__.removesuffix('Pipeline')} | {like} | {_defaults(able)} | {how} |"


def _defaults(able: Capabilities) -> str:
    if able.lacks:
        return ""
    steps = "" if able.steps is None else str(able.steps)
    return steps if able.scale is None else f"{steps}, {able.scale:g}"
