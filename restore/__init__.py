"""Repair and edit photographs, judge the result, and repair what looks wrong.

>>> import restore
>>> result = restore.inpaint("photo.jpg", prompt="remove the cat")  # doctest: +SKIP

Everything public is here; torch is imported when a name that needs it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from restore.errors import (
    Cancelled,
    InputError,
    ModelUnavailableError,
    ObjectNotFoundError,
    RestoreError,
    UnsureError,
)

if TYPE_CHECKING:
    from restore.api import (
        Assessment,
        CompareOptions,
        CompareResult,
        Engine,
        EnhanceResult,
        InpaintResult,
        RankOptions,
        RankResult,
        Segmentation,
        Signer,
        assess,
        compare,
        enhance,
        inpaint,
        rank,
        refine,
        segment,
    )
    from restore.batching.run import batch

__all__ = [
    "Assessment",
    "Cancelled",
    "CompareOptions",
    "CompareResult",
    "Engine",
    "EnhanceResult",
    "InpaintResult",
    "InputError",
    "ModelUnavailableError",
    "ObjectNotFoundError",
    "RankOptions",
    "RankResult",
    "RestoreError",
    "Segmentation",
    "Signer",
    "UnsureError",
    "assess",
    "batch",
    "compare",
    "enhance",
    "inpaint",
    "rank",
    "refine",
    "segment",
]

_HOMES = {"batch": "restore.batching.run"}  # of names that need no torch; all others: restore.api


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(_HOMES.get(name, "restore.api")), name)
    raise AttributeError(f"module 'restore' has no attribute '{name}'")
