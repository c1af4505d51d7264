"""A look at files before the work: what their first bytes say. Used where nothing is computed yet."""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import Image

from restore.errors import InputError
from restore.images import limits
from restore.images.decode import KINDS
from restore.images.files import reason
from restore.images.tiff_tiles import is_tiff

Size = tuple[int, int]
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")


def check_head(path: str) -> Size:
    """(W, H) as it is stored. Raises InputError for what cannot be a picture, or is one of too many pixels."""
    place = Path(path)
    if not place.is_file():
        found = "nothing there" if not place.exists() else "no file"
        raise InputError(f"{path}: expected an image file, found {found}")
    try:
        with warnings.catch_warnings(), place.open("rb") as file:
            warnings.simplefilter("ignore")
            tiled = is_tiff(file.read(4))
            file.seek(0)
            with Image.open(file, formats=_FORMATS) as image:
                size = image.size
    except Image.DecompressionBombError:
        size = (limits.MAX_PIXELS, 2)
    except Exception as error:  # on broken files Pillow's readers raise almost anything
        raise InputError(f"{path}: expected a {KINDS} image, got: {reason(error)}") from None
    if size[0] * size[1] > limits.MAX_PIXELS and not tiled:
        raise InputError(f"{path}: expected at most {limits.MAX_PIXELS} pixels, got more; scale it down first")
    return size


def check_same_size(mask: str, size: Size) -> None:
    """Raises InputError where the picture and its mask differ in size however they are turned."""
    found = check_head(mask)
    if sorted(found) != sorted(size):
        raise InputError(f"{mask}: expected a mask of {size[0]}×{size[1]} pixels, got {found[0]}×{found[1]}")
