"""The report about a restoration: one self-contained HTML page, before and after, and what was found."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restore.images.files import write_text
from restore.images.geometry import fitted
from restore.reports.page import rendered
from restore.reports.pictures import jpeg_uri, outline_uri, profile

if TYPE_CHECKING:
    from restore.enhancement.record import EnhanceRecord

SIDE, CROP = 1200, 320  # pixels: long side of the whole pictures; side of the close-up, shown twice as large
BUDGET = 480_000  # bytes of each picture before base64


def write_enhance_report(result: EnhanceRecord, path: Path, *, overwrite: bool = False) -> None:
    """Write the page to `path`, whole or not at all. Raises InputError as `check_place` does."""
    write_text(enhance_page(result), path, overwrite=overwrite)


def enhance_page(result: EnhanceRecord) -> str:
    """The page as HTML text; it refers to nothing outside itself."""
    width, height = result.photo.size
    after = result.photo.pixels
    before = cv2.resize(result.original.pixels, (width, height), interpolation=cv2.INTER_CUBIC)
    size = fitted((width, height), SIDE)
    y, x = busiest(after)
    crop = np.s_[y : y + CROP, x : x + CROP]
    icc = profile(result.photo)
    light = None
    if result.light_map is not None:
        shade = _shrunk(result.light_map, size)
        grey = ((shade / max(1e-6, 2 * float(np.abs(shade).max())) + 0.5) * 255).clip(0, 255).astype(np.uint8)
        light = _uri(grey, icc)
    summary = {name: value for name, value in result.summary().items() if name != "passes"}
    summary["mark"] = result.mark.sentence if result.mark is not None else None
    return rendered(
        "enhance.html",
        title=f"Restoration report: {result.task}",
        heading=result.task,
        before=_uri(_shrunk(before, size), icc),
        after=_uri(_shrunk(after, size), icc),
        crop_before=_uri(before[crop], icc),
        crop_after=_uri(after[crop], icc),
        light=light,
        stages=[(step, _uri(_shrunk(picture, size), icc)) for step, picture in result.stages],
        marks=None if result.mask is None or not result.mask.any() else outline_uri(result.mask, size),
        passes=result.passes,
        details=summary | {"degradation": asdict(result.damage), "sampling": asdict(result.sampling)},
        data=result.summary(),
    )


def busiest(image: NDArray[np.uint8]) -> tuple[int, int]:
    """Upper left (y, x) of the CROP square with the most detail."""
    energy = np.abs(cv2.Laplacian(image, cv2.CV_32F)).mean(2)
    mean = cv2.blur(energy, (CROP, CROP), anchor=(0, 0), borderType=cv2.BORDER_REFLECT)
    rows, columns = (max(1, side - CROP + 1) for side in mean.shape)
    y, x = np.unravel_index(int(mean[:rows, :columns].argmax()), (rows, columns))
    return int(y), int(x)


def _shrunk(image: Any, size: tuple[int, int]) -> Any:
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _uri(image: Any, icc: bytes) -> str:
    picture = np.ascontiguousarray(image, np.uint8)
    picture = np.repeat(picture.reshape(*picture.shape[:2], -1)[..., :3], 3 if picture.ndim == 2 else 1, 2)
    return jpeg_uri(picture, BUDGET, icc)
