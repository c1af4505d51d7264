"""What an annotated photo is, whichever format it was read from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from restore.images.geometry import Box, Size

VOC_CLASSES = (
    "airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table", "dog",
    "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "television",
)  # fmt: skip
VOC_NAMES = {
    "aeroplane": "airplane", "diningtable": "dining table", "pottedplant": "potted plant", "tvmonitor": "television",
}  # fmt: skip
# What reading a record of any content may raise.
BROKEN = (
    LookupError, TypeError, ValueError, AttributeError, ArithmeticError, OSError, SyntaxError,
    Image.DecompressionBombError,
)  # fmt: skip
Mask = NDArray[np.bool_]


class Rejected(Exception):
    """A photo or an object that gives no sample; `reason` is what the statistics count."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, eq=False)
class Thing:
    """One annotated object: box in pixels; mask (H, W) bool, None where only the box is known.

    crowd: stands for several that are not told apart. relations: (predicate, index of the other thing).
    """

    name: str
    box: Box
    mask: Mask | None = None
    crowd: bool = False
    relations: tuple[tuple[str, int], ...] = ()

    @property
    def area(self) -> int:
        return self.box[2] * self.box[3] if self.mask is None else int(self.mask.sum())


@dataclass(frozen=True, eq=False)
class Annotated:
    """A photo (H, W, 3) uint8 RGB with its things; boxes and masks are in its pixels."""

    pixels: NDArray[np.uint8]
    things: list[Thing]

    @property
    def size(self) -> Size:
        return self.pixels.shape[1], self.pixels.shape[0]


@dataclass(frozen=True)
class PhotoRecord:
    """An annotated photo that is not loaded yet. names: classes it is said to show, where that is known beforehand.

    image: the encoded photo; things: of a photo of the given size (W, H). Both raise `Rejected`.
    """

    id: str
    names: tuple[str, ...]
    image: Callable[[], bytes]
    things: Callable[[Size], list[Thing]]


def plain_name(name: Any) -> str:
    """A class name as people write it: lower case, single spaces. Raises ValueError for what is no name."""
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"expected a class name, got {name!r}")
    words = " ".join(name.replace("_", " ").lower().split())
    return VOC_NAMES.get(words, words)


def clipped(x: float, y: float, w: float, h: float, size: Size) -> Box:
    """The part of a box inside a photo of `size` (W, H), in whole pixels; without area where there is none."""
    left, top = max(0, round(x)), max(0, round(y))
    right, bottom = min(size[0], round(x + w)), min(size[1], round(y + h))
    return left, top, max(0, right - left), max(0, bottom - top)


def inside(path: Path, folder: Path) -> bool:
    """Whether a file of `folder` is there and no name or link leads out of the folder."""
    try:
        return path.resolve(strict=True).is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # missing; links in a circle
        return False


def file_bytes(path: Path, folder: Path) -> bytes:
    """Raises Rejected where there is no such photo in `folder`."""
    try:
        if inside(path, folder):
            return path.read_bytes()
    except OSError:
        pass
    raise Rejected("image missing")
