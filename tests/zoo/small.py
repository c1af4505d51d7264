"""Classes that bring every photo to about a megapixel are told of small ones."""

from __future__ import annotations

from importlib import import_module
from typing import Any

SIDE = 64


def everything_small(monkeypatch: Any) -> None:
    """Sizes that only suit real models, made small for tiny ones."""

    def dimensions(ratio: float, multiple: int) -> tuple[int, int]:
        width, height = (round((SIDE * SIDE * r) ** 0.5 / multiple) * multiple for r in (ratio, 1 / ratio))
        return width, height

    for name in ("flux.pipeline_flux_kontext", "flux.pipeline_flux_kontext_inpaint"):
        sizes = [(64, 64), (64, 80), (80, 64)]
        monkeypatch.setattr(import_module(f"diffusers.pipelines.{name}"), "PREFERRED_KONTEXT_RESOLUTIONS", sizes)
    for name in ("edit", "edit_plus", "edit_inpaint"):
        module = import_module(f"diffusers.pipelines.qwenimage.pipeline_qwenimage_{name}")
        more = () if name == "edit_plus" else (None,)
        monkeypatch.setattr(module, "calculate_dimensions", lambda area, r, more=more: (*dimensions(r, 16), *more))
    module = import_module("diffusers.pipelines.longcat_image.pipeline_longcat_image_edit")
    monkeypatch.setattr(module, "calculate_dimensions", lambda area, r: dimensions(r, 8))
    buckets = import_module("diffusers.pipelines.joyimage.image_processor").BUCKETS
    monkeypatch.setitem(buckets, 1024, [(64, 64), (64, 96), (96, 64)])
