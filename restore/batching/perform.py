"""One picture, as the single command does it: the same reading, checks, engine and writing, so the same pixels."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore.batching.fields import part_of
from restore.edit.choose import models_for, settings_for
from restore.edit.request import to_inpaint, to_refine
from restore.enhancement.damage import Damage
from restore.errors import InputError
from restore.images.decode import SUFFIXES
from restore.images.huge import AnyPhoto, open_photo
from restore.images.mask import load_mask
from restore.images.photo import load_photo
from restore.settings import Settings, device_named

if TYPE_CHECKING:
    from restore.api import Engine
    from restore.edit.record import EditRecord
    from restore.enhancement.record import EnhanceRecord
    from restore.measure.assessor import Assessor
    from restore.measure.memory import Memory

ENGINES = 2  # kept open: a table may name several models
OPENED = ("model", "lora", "transformer", "quantize", "grounder", "judge", "device")  # what an engine is opened with
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """photo: what is to be written, None where nothing is; told: what the single command's --json says; record: of what
    was made of the picture."""

    photo: AnyPhoto | None
    told: dict[str, Any]
    record: EditRecord | EnhanceRecord | None = None


class Performer:
    """Opens models when first needed, and keeps them."""

    def __init__(self, command: str) -> None:
        self.command = command
        self._engines: dict[tuple[str, ...], Engine] = {}
        self._assessors: dict[str, Assessor] = {}

    def open(self, image: str, settings: Values) -> AnyPhoto | None:
        """The picture as the command reads it; None where the command does that itself. Raises InputError."""
        if self.command == "assess":
            return None
        read = load_photo if self.command == "enhance" else open_photo
        return read(image, settings.get("frame"))

    def __call__(self, image: str, photo: AnyPhoto | None, settings: Values) -> Outcome:
        """Raises RestoreError."""
        if photo is None:
            return self._assess(image, settings)
        return self._enhance(photo, settings) if self.command == "enhance" else self._edit(photo, settings)

    def warm(self, settings: Values) -> None:
        """Import and open what takes long, before the first picture's time is taken. Raises RestoreError."""
        if self.command == "assess":
            self._assessor(settings)
        else:
            self._engine(settings)

    def _edit(self, photo: AnyPhoto, settings: Values) -> Outcome:
        chosen = settings_for(None, **part_of(Settings, settings))
        engine, mask = self._engine(settings), settings.get("mask")
        if self.command == "refine":
            result = engine.refined(to_refine(photo, mask, like=photo), chosen)
        else:
            where = {name: settings.get(name) for name in ("prompt", "mask", "box", "point", "find")}
            request = to_inpaint(chosen.model, photo, **where, like=photo, sure=not settings.get("yes", False))
            result = engine.inpainted(request, chosen, draft=settings.get("draft", False))
        last = result.kept[-1]
        told = result.summary() | {n: getattr(last, n) for n in ("par_hole", "par_image", "quality", "confidence")}
        told["presence_share"] = None if result.presence is None else result.presence.share
        return Outcome(result.photo, told, result)

    def _enhance(self, photo: AnyPhoto, settings: Values) -> Outcome:
        own = {name: value for name, value in settings.items() if name not in ("frame", "device", "mask")}
        if settings.get("mask") is not None:
            own["mask"] = load_mask(settings["mask"], photo.size)
        result = self._engine(settings).enhance(photo, **own)
        last = result.kept[-1]
        measures = {name: getattr(last, name) for name in ("par_image", "quality", "score", "consistency")}
        return Outcome(result.photo, result.summary() | measures, result)

    def _assess(self, image: str, settings: Values) -> Outcome:
        from restore.measure.pictures import Item, measure
        from restore.measure.summary import row_of

        others = [None if settings.get(name) is None else Path(settings[name]) for name in ("mask", "reference")]
        record = measure(Item(Path(image), *others), self._assessor(settings), self._nothing_remembered)
        if record.error is not None:
            raise InputError(record.error)
        return Outcome(None, row_of(record))

    def _engine(self, settings: Values) -> Engine:
        from restore.api import Engine

        names = ("device",) if self.command == "enhance" else OPENED
        key = tuple(str(settings.get(name)) for name in names)
        if key not in self._engines:
            while len(self._engines) >= ENGINES:
                del self._engines[next(iter(self._engines))]
            if self.command == "enhance":  # its model is a setting of every call
                self._engines[key] = Engine(device=settings.get("device"))
            else:
                self._engines[key] = Engine(models=models_for(settings_for(None, **part_of(Settings, settings))))
        return self._engines[key]

    @cached_property
    def _nothing_remembered(self) -> Memory:
        from restore.measure.memory import Memory

        return Memory(None)

    def _assessor(self, settings: Values) -> Assessor:
        from restore.measure.assessor import Assessor

        device = settings.get("device", Settings.device)
        if device not in self._assessors:
            self._assessors[device] = Assessor(device_named(device))
        return self._assessors[device]


def scale_of(command: str, settings: Values) -> int:
    """How many times larger the result is, each side."""
    return (
        int(settings.get("scale", Damage.scale))
        if command == "enhance" and settings.get("task") == "super-resolution"
        else 1
    )


def kind_of(path: str, photo: AnyPhoto, kind: str | None) -> str | None:
    """The format to write: the one asked for, or that of a picture whose name says nothing."""
    if kind is not None:
        return kind.upper()
    return None if os.path.splitext(path)[1].lower() in SUFFIXES else photo.meta.format
