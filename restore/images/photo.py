"""Photos: loaded from files or taken from arrays, edited only where a mask says so, saved without loss.

A `Photo` holds the samples as the file has them (grey, CMYK, 16 bits, alpha...) and the 8-bit RGB view of
them that the models work on. An edit is converted back to the file's own samples inside the mask; all others
stay as decoded.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from PIL import Image

from restore.errors import InputError
from restore.images import xmp
from restore.images.colours import FULL, Levels, levels_of, near, repainted, rgb_view
from restore.images.decode import KINDS, SUFFIXES, USUAL, Metadata, decode, metadata, samples
from restore.images.encode import encode, high_byte, pillow_image
from restore.images.files import check_place, reason, replacing
from restore.images.xmp import Mark

Seal = Callable[[bytes, str], bytes]  # a file's content and format → the same, signed
ImageLike = str | os.PathLike[str] | Image.Image | np.ndarray


class Pixels(Protocol):
    """(H, W, 3) uint8 RGB that crops can be taken of, by rows and columns: an array, or a file decoded on demand."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, part: tuple[slice, slice], /) -> Any: ...


@dataclass(frozen=True, eq=False)
class Photo:
    """One photo in memory; its arrays are read-only.

    pixels: (H, W, 3) uint8 RGB for the models. 16-bit samples give their high byte, or, where they use little of the
        range, are stretched to `levels`; grey is repeated, CMYK is converted without its profile, alpha is left out;
        RGB stays in the photo's own colour space.
    native: (H, W) or (H, W, C) upright samples as decoded: bool for 1-bit images, uint8 or uint16.
    mode: "1", "L", "LA", "RGB", "RGBA" or "CMYK"; the depth is that of `native`.
    meta: EXIF, ICC profile, XMP, texts, resolution and coding of the source.
    levels: 16-bit samples that are black and white in `pixels`.
    """

    pixels: np.ndarray
    native: np.ndarray
    mode: str
    meta: Metadata = field(default_factory=Metadata)
    levels: Levels = FULL

    @property
    def size(self) -> tuple[int, int]:
        """(W, H), upright."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def overview(self) -> Photo:
        """This photo at a size at which all of it can be looked at: its own. See `huge.HugePhoto`."""
        return self

    def with_pixels(self, edited: np.ndarray, mask: np.ndarray) -> Photo:
        """This photo with `edited` (H, W, 3) uint8 RGB where `mask` (H, W) bool is true.

        Everything else keeps its samples. An edit v becomes 257 v in 16 bits, or as much of `levels`; in a 1-bit image
        the nearer of black and white. Inks are separated as those around the hole are; transparency is continued from
        there. Raises InputError if a shape or type differs.
        """
        expected = self.pixels.shape
        if edited.shape != expected or edited.dtype != np.uint8:
            raise InputError(f"edit: expected shape {expected}, uint8, got {edited.shape}, {edited.dtype}")
        if mask.shape != expected[:2] or mask.dtype != np.bool_:
            raise InputError(f"mask: expected shape {expected[:2]}, bool, got {mask.shape}, {mask.dtype}")
        return self.with_patches([(np.s_[0 : mask.shape[0], 0 : mask.shape[1]], edited, mask)])

    def with_patches(self, patches: Iterable[tuple[tuple[slice, slice], np.ndarray, np.ndarray]]) -> Photo:
        """This photo with patches put in: rows and columns, colours (h, w, 3) uint8 RGB, and where (h, w) bool they
        count. As `with_pixels`, without a second copy of the photo."""
        native, meta = self.native.copy(), self.meta
        hole = None if meta.gain is None else np.zeros(native.shape[:2], np.bool_)
        for part, colours, mask in patches:
            if mask.any():
                box = near(mask)
                edited = repainted(self.native[part][box], colours[box], mask[box], self.mode, self.levels)
                native[part][mask] = edited if native.ndim == 3 else edited[:, 0]
                if hole is not None:
                    hole[part] |= mask
        if meta.gain is not None and hole is not None:
            meta = replace(meta, gain=meta.gain.closed(hole))
        return _photo(native, self.mode, meta, self.levels)

    def marked(self, mark: Mark) -> Photo:
        """This photo, its XMP telling of an edit. A packet that cannot be read stays as it is, with a UserWarning."""
        return replace(self, meta=marked(self.meta, mark))


def load_photo(path: str | os.PathLike[str], frame: int | None = None) -> Photo:
    """Photo from a JPEG, PNG, WebP, TIFF or BMP file, whatever its name, its EXIF orientation applied.

    Palettes become RGB or RGBA. Of an animation or several pages only `frame` is read, from 1, or the first, with a
    UserWarning.
    Raises InputError if the file is missing, unreadable, damaged, no such image or over `limits.MAX_PIXELS`.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            found = "a folder" if path.is_dir() else "a device or pipe"
            raise InputError(f"{path}: expected an image file, got {found}")
        with path.open("rb") as file:
            if not file.read(1):
                raise InputError(f"{path}: expected a {KINDS} image, got an empty file")
            return read_photo(file, str(path), frame)
    except FileNotFoundError as error:
        raise InputError(f"{path}: expected an image file, found nothing there; check the path") from error
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected a readable image file, got: {reason(error)}") from error


def read_photo(file: IO[bytes], name: str, frame: int | None = None) -> Photo:
    """`load_photo` from an open file that can be sought in; `name` is what messages call it."""
    return _photo(*decode(file, name, frame))


def photo_from_array(array: np.ndarray | Image.Image) -> Photo:
    """Photo from a Pillow image, or an array of uint8 or uint16: (H, W), or (H, W, C) with C = 1 to 4.

    Channels are grey, grey + alpha, RGB, RGBA. Images in memory are taken as they lie: no orientation tag is
    applied. Samples are copied, the input is never changed.
    Raises InputError for other shapes and types, and for Pillow images that cannot be decoded.
    """
    if isinstance(array, Image.Image):
        try:
            array.load()
        except Exception as error:  # lazily opened broken files: Pillow's decoders raise almost anything
            raise InputError(f"image: expected one that can be decoded, got: {reason(error)}") from error
        native, mode = samples(array, "image")
        return _photo(native, mode, metadata(array))
    if not isinstance(array, np.ndarray):
        raise InputError(f"image: expected a path, Pillow image or NumPy array, got {type(array).__name__}")
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or array.size == 0 or not 1 <= channels <= 4:
        raise InputError(f"image: expected an array of shape (H, W) or (H, W, 1 to 4), got {array.shape}")
    if array.dtype not in (np.uint8, np.uint16):
        raise InputError(f"image: expected uint8 or uint16 samples, got {array.dtype}; convert them first")
    native = np.array(array[..., 0] if array.ndim == 3 and channels == 1 else array, order="C")
    return _photo(native, {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels], Metadata())


def to_kind(photo: Photo, like: ImageLike) -> Image.Image | np.ndarray:
    """The photo as the same kind of object as `like`, the API input it was made from.

    An array gives an array of its dtype and shape; a Pillow image one of its mode (palettes: RGB or RGBA)
    with its `info`; a path gives a Pillow image, 8-bit where Pillow has no 16-bit mode.
    """
    if isinstance(like, np.ndarray):
        array: np.ndarray = photo.native.reshape(like.shape).copy()
        return array
    native, wide = photo.native, photo.native.dtype == np.uint16
    if wide and photo.mode != "L":
        native = high_byte(native)
    image = pillow_image(native, photo.mode).copy()
    if not isinstance(like, Image.Image):
        image.info.update(_info(photo.meta))
        return image
    if image.mode != like.mode and like.mode in ("RGBX", "RGBa", "La", "YCbCr", "HSV"):
        image = image.convert(like.mode)
    elif wide and image.mode != like.mode and like.mode.startswith("I;16"):
        data = photo.native.astype(">u2" if like.mode.endswith("B") else "<u2").tobytes()
        image = Image.frombytes(like.mode, photo.size, data)
    image.info.update({k: v for k, v in like.info.items() if k != "transparency"})
    return image


def default_output(path: str | os.PathLike[str], kind: str | None = None) -> Path:
    """Where the result for `path` goes unless told: photo.jpg → photo.restored.jpg, beside it.

    kind: the format of its content, which is written whatever the name says: download → download.restored.jpg.
    """
    path = Path(path)
    known = SUFFIXES.get(path.suffix.lower())
    if kind is None or known == kind:
        return path.with_name(f"{path.stem}.restored{path.suffix}")
    return path.with_name(f"{path.stem if known else path.name}.restored{USUAL[kind]}")


def check_output(path: str | os.PathLike[str], *, kind: str | None = None, overwrite: bool = False) -> str:
    """Format (a value of `decode.SUFFIXES`) of a result at `path`, checked before any work is done; `kind` if given.

    Raises InputError for an unknown suffix, a missing or unwritable folder, and an existing file unless
    `overwrite`.
    """
    path = Path(path)
    kind = kind or SUFFIXES.get(path.suffix.lower())
    if kind is None:
        known, found = ", ".join(sorted(SUFFIXES)), path.suffix or "no suffix"
        raise InputError(f"{path}: expected an output name ending in one of {known}, got {found}")
    check_place(path, overwrite=overwrite)
    return kind


def save_photo(
    photo: Photo,
    path: str | os.PathLike[str],
    *,
    kind: str | None = None,
    overwrite: bool = False,
    seal: Seal | None = None,
) -> None:
    """Write `photo` to `path` in the format `kind`, or that its suffix names; whole or not at all.

    PNG, TIFF, BMP and WebP (from a lossless source) keep all samples. JPEG from JPEG keeps the source's
    quantisation tables. Formats without 16 bits, CMYK or 1 bit get the nearest they hold; transparency is
    never dropped silently. seal: signs the content, with its format, as the last thing done to it.
    Raises InputError as `check_output` does, and if the format cannot hold the photo or the disk refuses.
    """
    kind = check_output(path, kind=kind, overwrite=overwrite)
    with replacing(path, what=f"{kind} file", overwrite=overwrite) as file:
        if seal is None:
            encode(photo.native, photo.mode, photo.meta, kind, file, str(path))
        else:
            file.write(seal(encoded(photo, kind, str(path)), kind))


def encoded(photo: Photo, kind: str, name: str) -> bytes:
    """What `save_photo` writes; `name` is what messages call it."""
    buffer = io.BytesIO()
    encode(photo.native, photo.mode, photo.meta, kind, buffer, name)
    return buffer.getvalue()


def marked(meta: Metadata, mark: Mark) -> Metadata:
    """See `Photo.marked`."""
    try:
        return replace(meta, xmp=xmp.marked(meta.xmp, mark))
    except ValueError as error:
        warnings.warn(
            f"expected XMP to tell of the edit in, found a packet that cannot be read ({error})", stacklevel=3
        )
        return meta


def _photo(native: np.ndarray, mode: str, meta: Metadata, levels: Levels | None = None) -> Photo:
    native.flags.writeable = False
    levels = levels_of(native, mode) if levels is None else levels
    pixels = rgb_view(native, mode, levels)
    pixels.flags.writeable = False
    return Photo(pixels, native, mode, meta, levels)


def _info(meta: Metadata) -> dict[str, object]:
    """Pillow's `info` entries for the metadata, so that a later `save` can pass them on."""
    named = {"exif": meta.exif, "icc_profile": meta.icc, "xmp": meta.xmp, "dpi": meta.dpi}
    return {key: value for key, value in named.items() if value}
