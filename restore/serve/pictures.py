"""Pictures of a case: what was sent, read; what came of it, written beside it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restore.edit.area import Area
from restore.errors import InputError
from restore.images import limits
from restore.images.decode import Metadata
from restore.images.encode import encode
from restore.images.geometry import fitted
from restore.images.huge import AnyPhoto
from restore.images.mask import check_mask
from restore.images.photo import Photo, Seal, read_photo
from restore.reports.pictures import HEAT

SUFFIX = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp", "TIFF": "tif", "BMP": "bmp"}
OVERLAY_SIDE = 1600  # long side of an artifact overlay, pixels
OPAQUE = 0.75  # of the overlay where an artifact is certain


def opened(path: Path) -> Photo:
    """A photo that was sent. Raises InputError, whose message has its field's name."""
    with path.open("rb") as file:
        return read_photo(file, path.name.partition("-")[0])


def mask_of(path: Path | None, photo: Photo) -> NDArray[np.bool_] | None:
    """(H, W) as OpenAI has it: transparent is edited; of an opaque mask what is white. Raises InputError."""
    if path is None:
        return None
    sent = opened(path)
    found: NDArray[np.bool_] = sent.pixels.max(axis=2) >= 128
    if sent.mode in ("LA", "RGBA"):
        alpha = sent.native[..., -1]
        transparent = alpha < np.iinfo(alpha.dtype).max // 2 + 1
        found = transparent if transparent.any() else found
    return check_mask(found, photo.size)


def kind_of(photo: Photo, options: dict[str, Any]) -> str:
    """The format of a result: what is wanted, or the photo's own."""
    return {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}.get(options["format"], photo.meta.format or "PNG")


def write(photo: AnyPhoto, folder: Path, name: str, options: dict[str, Any], seal: Seal | None = None) -> str:
    """The photo as a file of the wanted format, signed by `seal`; its name. Raises InputError where the format cannot
    hold it."""
    assert isinstance(photo, Photo)  # what was sent is in memory: `opened`
    kind = kind_of(photo, options)
    compression = options["compression"]
    quality = None if compression is None or kind not in ("JPEG", "WEBP") else max(1, compression)
    buffer = io.BytesIO()
    encode(photo.native, photo.mode, photo.meta, kind, buffer, "image", quality)
    path = folder / f"{name}.{SUFFIX[kind]}"
    path.write_bytes(buffer.getvalue() if seal is None else seal(buffer.getvalue(), kind))
    return path.name


def write_mask(mask: NDArray[np.bool_], folder: Path, name: str) -> str:
    """White where (H, W) is true, one bit a pixel."""
    buffer = io.BytesIO()
    encode(mask, "1", Metadata(), "PNG", buffer, "mask")
    (folder / f"{name}.png").write_bytes(buffer.getbuffer())
    return f"{name}.png"


def write_overlay(areas: Sequence[Area], size: tuple[int, int], folder: Path, name: str) -> str:
    """Where a picture of `size` (W, H) looks wrong, to lay over it: the colour of artifacts, as opaque as they are
    probable."""
    small = fitted(size, OVERLAY_SIDE)
    probability = np.zeros(small[::-1], np.float32)
    for area in areas:
        if area.judgement is None:
            continue
        window = area.window
        x0, x1 = (v * small[0] // size[0] for v in (window.x, window.x + window.w))
        y0, y1 = (v * small[1] // size[1] for v in (window.y, window.y + window.h))
        place = probability[y0:y1, x0:x1]
        if place.size:
            judged = cv2.resize(area.judgement.probability, place.shape[::-1], interpolation=cv2.INTER_AREA)
            np.maximum(place, judged, out=place)
    return overlay(probability, folder, name)


def overlay(probability: NDArray[np.float32], folder: Path, name: str) -> str:
    """A transparent picture of probabilities (h, w), at most `OVERLAY_SIDE` long."""
    small = fitted((probability.shape[1], probability.shape[0]), OVERLAY_SIDE)
    shown = cv2.resize(probability, small, interpolation=cv2.INTER_AREA)
    image = np.empty((*shown.shape, 4), np.uint8)
    image[..., :3] = HEAT[1]
    image[..., 3] = np.rint(255 * OPAQUE * shown)
    buffer = io.BytesIO()
    encode(image, "RGBA", Metadata(), "PNG", buffer, "overlay")
    (folder / f"{name}.png").write_bytes(buffer.getbuffer())
    return f"{name}.png"


def check_room(photo: Photo, times: int, name: str) -> None:
    """Raise InputError where a result of `times` the photo's pixels is more than one photo may have; `name` asked for
    it."""
    width, height = photo.size
    if times > 1 and times * width * height > limits.MAX_PIXELS:
        most = limits.MAX_PIXELS // 1_000_000
        raise InputError(
            f"{name}: expected results of at most {most} megapixels together, got {times} × {width}×{height}"
        )


def check_size(photo: Photo, wanted: list[int] | None) -> None:
    """Edits keep the photo's size: another cannot be asked for."""
    if wanted is not None and tuple(wanted) != photo.size:
        width, height = photo.size
        raise InputError(f"size: expected auto or the photo's own, {width}x{height}, got {wanted[0]}x{wanted[1]}")
