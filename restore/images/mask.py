"""Masks, boxes and points that a user gives, checked and turned into boolean arrays: true = repaint."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from restore.errors import InputError
from restore.images import limits
from restore.images.decode import Metadata
from restore.images.encode import encode
from restore.images.files import replacing
from restore.images.geometry import Box, Size
from restore.images.huge import HugePhoto, open_photo
from restore.images.photo import Photo, check_output, photo_from_array
from restore.images.png_rows import bright_rows, png_size

MOST = 0.5  # share of the photo above which a mask may be the wrong way round, or leaves too little to go by
PHOTO = 0.15  # share of uneven pixels from which a picture is no mask but, 97 times of 100, a photo
PLAIN = 0.4  # share of black and white pixels from which it is one all the same: soft edges, compressed

AnyMask = Any  # a path, a Pillow image or an array: see `load_mask`


def load_mask(mask: str | os.PathLike[str] | np.ndarray | Image.Image, size: Size) -> np.ndarray:
    """(H, W) bool, true = repaint, from an image file, a Pillow image or an array; `size` (W, H).

    Images: a pixel counts where its brightest colour reaches half the range; where none does and there is but one
    colour besides black (masks of 0 and 1, one class), where it is that. A picture with transparent parts: if what is
    opaque is a photo, its erased part counts; if it is drawn, what is drawn (of that the bright, if any is). A file's
    orientation tag is applied, as the photo's was. Arrays: bool; floats in [0, 1]; integers that are all 0 or 1; or the
    samples of an image as for `photo_from_array`.
    Raises InputError for another size, for a mask that holds nothing or everything, and for what looks like a photo.
    """
    if isinstance(mask, np.ndarray):
        name, found = "mask", _from_array(mask)
    elif isinstance(mask, Image.Image):
        name, found = "mask", _from_photo(photo_from_array(mask), "mask")
    else:
        name, found = str(mask), _from_file(mask)
    return check_mask(found, size, name)


def warn_of_most(hole: np.ndarray) -> None:
    """Tell, before the work, that a mask (H, W) is large enough to be one the wrong way round."""
    if (share := float(hole.mean())) > MOST:
        warnings.warn(
            f"{share:.0%} of the photo is to be repainted, which leaves little to go by; "
            "white is what is repainted: invert the mask if it is meant the other way round",
            stacklevel=3,
        )


def united(masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Pixels of any of the masks (H, W), at least one."""
    return reduce(np.logical_or, masks)


def check_mask(mask: np.ndarray, size: Size, name: str = "mask") -> np.ndarray:
    """`mask` itself if it is of the photo's size (W, H) and neither empty nor full; else InputError."""
    height, width = mask.shape
    if (width, height) != size:
        photo = f"{size[0]}×{size[1]}"
        raise InputError(f"{name}: expected a mask of the photo's size, {photo} pixels, got {width}×{height}")
    if not mask.any():
        raise InputError(f"{name}: expected white where the photo is to be repainted, got an empty mask")
    if mask.all():
        raise InputError(
            f"{name}: expected part of the photo to keep, got a mask of all of it; nothing is left to go by"
        )
    return mask


def box_mask(box: Sequence[int], size: Size) -> np.ndarray:
    """(H, W) bool, true inside `box` (x, y, w, h), cut off at the edges of a photo of `size` (W, H).

    Raises InputError if the box has no area, lies outside the photo, or covers all of it.
    """
    x, y, w, h = _integers(box, "box", "X,Y,W,H")
    width, height = size
    if w <= 0 or h <= 0:
        raise InputError(f"box: expected a width and height above 0, got {w}×{h}")
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
    if left >= right or top >= bottom:
        raise InputError(f"box: expected one that meets the photo of {width}×{height} pixels, got {x},{y},{w},{h}")
    mask = np.zeros((height, width), np.bool_)
    mask[top:bottom, left:right] = True
    return check_mask(mask, size, "box")


def check_point(point: Sequence[int], size: Size) -> tuple[int, int]:
    """`point` (x, y) if it is a pixel of a photo of `size` (W, H); else InputError."""
    x, y = _integers(point, "point", "X,Y")
    width, height = size
    if not (0 <= x < width and 0 <= y < height):
        raise InputError(f"point: expected 0 ≤ X < {width} and 0 ≤ Y < {height}, got {x},{y}")
    return x, y


def parse_box(text: str) -> Box:
    """(x, y, w, h) from "X,Y,W,H" in whole pixels. Raises InputError."""
    x, y, w, h = _parse(text, "box", "X,Y,W,H")
    return x, y, w, h


def parse_point(text: str) -> tuple[int, int]:
    """(x, y) from "X,Y" in whole pixels. Raises InputError."""
    x, y = _parse(text, "point", "X,Y")
    return x, y


def save_mask(mask: np.ndarray, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write `mask` (H, W) bool as an 8-bit grey image, white = repaint. Raises as `save_photo` does."""
    kind = check_output(path, overwrite=overwrite)
    with replacing(path, what=f"{kind} file", overwrite=overwrite) as file:
        encode(mask.view(np.uint8) * np.uint8(255), "L", Metadata(), kind, file, str(path))


def _from_file(path: str | os.PathLike[str]) -> np.ndarray:
    with suppress(OSError), Path(path).open("rb") as file:  # `open_photo` says what is wrong
        width, height = png_size(file)
        if width * height > limits.HUGE:
            return _collected(bright_rows(file, str(path)), (height, width))
    photo = open_photo(path)
    if isinstance(photo, Photo):
        return _from_photo(photo, str(path))
    if photo.mode != "L":
        raise InputError(f"{path}: expected so large a mask in grey, got {photo.mode}; convert it first")
    return _collected(_bright_bands(photo), photo.size[::-1])


def _bright_bands(photo: HugePhoto) -> Iterator[np.ndarray]:
    width, height = photo.size
    step = max(1, limits.BAND // width)
    for top in range(0, height, step):
        native = photo.native(np.s_[top : min(height, top + step), 0:width])
        yield native > np.iinfo(native.dtype).max // 2


def _collected(bands: Iterable[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """The mask of `shape` (H, W) that bands of it make; takes memory only where something is true."""
    mask, top = np.zeros(shape, np.bool_), 0
    for band in bands:
        if band.any():
            mask[top : top + len(band)] = band
        top += len(band)
    return mask


def _from_photo(photo: Photo, name: str) -> np.ndarray:
    bright: np.ndarray = photo.pixels.max(axis=2) >= 128
    alpha = photo.native[..., -1] if photo.mode in ("LA", "RGBA") else np.zeros(1, np.uint8)
    opaque: np.ndarray = alpha > np.iinfo(alpha.dtype).max // 2
    if not opaque.any() or opaque.all():  # transparency says nothing
        light = photo.pixels.max(axis=2)
        plain = float(((light < 16) | (light > 239)).mean())
        if plain < PLAIN and _uneven(photo.pixels, np.ones_like(bright)) >= PHOTO:
            raise InputError(
                f"{name}: expected a mask, white where the photo is to be repainted, got what looks like a photo"
            )
        return bright if bright.any() else _one_colour(photo.pixels, name)
    if _uneven(photo.pixels, opaque) >= PHOTO:
        return ~opaque
    both: np.ndarray = bright & opaque
    return both if both.any() else opaque


def _uneven(pixels: np.ndarray, where: np.ndarray) -> float:
    """Share of the pixels (h, w, 3) in `where` (h, w) that are neither dark nor bright and no even course of light."""
    light = pixels.max(axis=2).astype(np.int16)
    bent = np.abs(light[:, :-2] - 2 * light[:, 1:-1] + light[:, 2:]) > 1
    middle = (light[:, 1:-1] >= 32) & (light[:, 1:-1] < 224)
    inside = where[:, :-2] & where[:, 1:-1] & where[:, 2:]
    return float((bent & middle & inside).sum() / max(1, inside.sum()))


def _one_colour(pixels: np.ndarray, name: str) -> np.ndarray:
    """Where dark `pixels` (h, w, 3) have the one colour besides black; nowhere without any black.

    Raises InputError where there are several.
    """
    found: np.ndarray = np.asarray(pixels.any(axis=2))
    if found.all():
        return np.zeros_like(found)
    colours = np.unique(pixels[found], axis=0)
    if len(colours) > 1:
        listed = ", ".join(str(c[0]) if len(set(c.tolist())) == 1 else str(tuple(c.tolist())) for c in colours[:9])
        more = ", …" if len(colours) > 9 else ""
        raise InputError(f"{name}: expected white where the photo is to be repainted, got the values {listed}{more}")
    return found


def _from_array(mask: np.ndarray) -> np.ndarray:
    flat = mask[..., 0] if mask.ndim == 3 and mask.shape[2] == 1 else mask
    if flat.ndim == 2 and flat.size:
        if flat.dtype == np.bool_:
            return flat
        if np.issubdtype(flat.dtype, np.floating):
            low, high = flat.min(), flat.max()
            if not (low >= 0 and high <= 1):
                raise InputError(f"mask: expected floats between 0 and 1, got {low} to {high}")
            return np.asarray(flat >= 0.5)
        if np.issubdtype(flat.dtype, np.integer) and flat.min() >= 0 and flat.max() <= 1:
            return flat.astype(np.bool_)
    return _from_photo(photo_from_array(mask), "mask")


def _integers(values: Sequence[int], name: str, form: str) -> tuple[int, ...]:
    numbers = tuple(values)
    if len(numbers) != form.count(",") + 1 or not all(isinstance(v, (int, np.integer)) for v in numbers):
        raise InputError(f"{name}: expected {form} in whole pixels, got {numbers}")
    return tuple(int(v) for v in numbers)


def _parse(text: str, name: str, form: str) -> tuple[int, ...]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"{name}: expected {form} in whole pixels, got {text!r}") from error
    return _integers(numbers, name, form)
