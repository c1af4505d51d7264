"""What users give as a photo."""

from __future__ import annotations

import os
from typing import Any

from restore.images.huge import AnyPhoto, HugePhoto, open_photo
from restore.images.photo import Photo, load_photo, photo_from_array

AnyImage = Any  # a path, a Pillow image or an array: see restore.images.photo


def any_photo_of(image: AnyImage) -> AnyPhoto:
    """As `photo_of`, left on disk where it is too large for memory."""
    if isinstance(image, HugePhoto):
        return image
    return open_photo(image) if isinstance(image, (str, os.PathLike)) else photo_of(image)


def photo_of(image: AnyImage) -> Photo:
    """The photo that a path, a Pillow image or an array stands for. Raises InputError."""
    if isinstance(image, Photo):
        return image
    return load_photo(image) if isinstance(image, (str, os.PathLike)) else photo_from_array(image)
