"""Repair and edit photographs, judge the result, and repair what looks wrong.

>>> import restore
>>> result = restore.inpaint("photo.jpg", prompt="remove the cat")  # doctest: +SKIP

Everything public is here; torch is imported when a name that needs it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from restore.errors import Cancelled, InputError, ModelUnavailableError, ObjectNotFoundError, RestoreError

if TYPE_CHECKING:
    from restore.api import (
        Assessment,
        Engine,
        EnhanceResult,
        InpaintResult,
        Segmentation,
        assess,
        enhance,
        inpaint,
        refine,
        segment,
    )

__all__ = [
    "Assessment",
    "Cancelled",
    "Engine",
    "EnhanceResult",
    "InpaintResult",
    "InputError",
    "ModelUnavailableError",
    "ObjectNotFoundError",
    "RestoreError",
    "Segmentation",
    "assess",
    "enhance",
    "inpaint",
    "refine",
    "segment",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("restore.api"), name)
    raise AttributeError(f"module 'restore' has no attribute '{name}'")
