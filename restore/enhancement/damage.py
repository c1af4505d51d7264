"""What is known of the damage to a photo: plain settings. Imports nothing heavy."""

from __future__ import annotations

import os
from dataclasses import dataclass

from restore.errors import InputError


@dataclass(frozen=True)
class Damage:
    """None is unknown, and estimated where the task can.

    scale, kernel_kind: super-resolution (2, 3, 4, 8; "bicubic" or "area"). blur: width of a Gaussian, motion
    (length, degrees), disk (radius) or kernel (a picture of it), at most one of them; all in pixels. noise:
    standard deviation in levels of 255; peak: counts at white of Poisson noise. quality: of the JPEG encoder.
    target: mean brightness wanted, [0, 1]. degradation: of "compose", see `plans.compose`.
    """

    scale: int = 4
    kernel_kind: str = "bicubic"
    blur: float | None = None
    motion: tuple[float, float] | None = None
    disk: float | None = None
    kernel: str | os.PathLike[str] | None = None
    noise: float | None = None
    peak: float | None = None
    quality: int | None = None
    target: float = 0.45
    degradation: str | None = None

    def __post_init__(self) -> None:
        if sum(k is not None for k in (self.blur, self.motion, self.disk, self.kernel)) > 1:
            raise InputError("expected at most one of blur, motion, disk and kernel, got several; keep one")
        for name, low, high in (("noise", 0, 255), ("peak", 0, 1e9), ("quality", 1, 100), ("target", 0, 1)):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise InputError(f"expected {name} between {low:g} and {high:g}, got {value:g}")
