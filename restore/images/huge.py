"""Photos of more than a hundred megapixels, from tiled TIFFs: only what is edited is decoded at full size."""

from __future__ import annotations

import os
import warnings
import weakref
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from restore.errors import InputError
from restore.images import limits
from restore.images.colours import FULL, Levels, levels_of, near, repainted, rgb_view
from restore.images.decode import ORIENTATION, Metadata, metadata
from restore.images.encode import check_fit
from restore.images.files import replacing
from restore.images.frames import ANIMATED, check_animation
from restore.images.geometry import fitted, upright
from restore.images.photo import (
    Photo,
    Seal,
    check_output,
    load_photo,
    marked,
    photo_from_array,
    save_photo,
)
from restore.images.tiff_tiles import Part, TiledTiff, is_tiff, read_header, read_layout
from restore.images.xmp import Mark

LOOK, LOOKS = 64, 8  # pixels and number, across and down, of the crops that levels are found in


@dataclass(frozen=True, eq=False)
class HugePhoto:
    """A photo whose samples stay in its file. Like `photo.Photo`, but `pixels` decodes the crops that are asked for.

    base: the photo before it was edited in the rows `changed`, which its overview is taken over from.
    """

    tiff: TiledTiff
    meta: Metadata
    orientation: int
    base: HugePhoto | None = None
    changed: tuple[slice, ...] = ()

    @property
    def mode(self) -> str:
        """Of `decode.CHANNELS`."""
        return self.tiff.layout.mode

    @property
    def size(self) -> tuple[int, int]:
        """(W, H), upright."""
        height, width = self.tiff.layout.shape
        return (height, width) if self.orientation in (5, 6, 7, 8) else (width, height)

    @property
    def pixels(self) -> Crops:
        """What an array (H, W, 3) would be."""
        return Crops(self)

    def native(self, part: Part) -> np.ndarray:
        """Upright samples (h, w) or (h, w, C) of rows and columns, as `Photo.native`."""
        return np.ascontiguousarray(upright(self.tiff.read(self._stored(part)), self.orientation))

    @cached_property
    def levels(self) -> Levels:
        """As `Photo.levels`, of samples from all over."""
        if self.base is not None:
            return self.base.levels
        if self.tiff.layout.depth.itemsize == 1:
            return FULL
        width, height = self.size
        tops, lefts = (range(0, max(1, n - LOOK), max(1, n // LOOKS)) for n in (height, width))
        looks = [self.native(np.s_[y : y + LOOK, x : x + LOOK]) for y in tops for x in lefts]
        return levels_of(np.concatenate(looks), self.mode)

    @cached_property
    def overview(self) -> Photo:
        """All of the photo, RGB, long side `limits.OVERVIEW_SIDE` at most."""
        import cv2  # not needed for masks

        width, height = self.size
        w, h = fitted(self.size, limits.OVERVIEW_SIDE)
        out = np.empty((h, w, 3), np.uint8) if self.base is None else self.base.overview.pixels.copy()
        step = max(1, h * limits.BAND // (width * height))
        for top in range(0, h, step):
            bottom = min(h, top + step)
            rows = slice(top * height // h, bottom * height // h)
            if self.base is None or any(c.start < rows.stop and rows.start < c.stop for c in self.changed):
                band = self.pixels[rows, slice(0, width)]
                out[top:bottom] = cv2.resize(band, (w, bottom - top), interpolation=cv2.INTER_AREA)
        return photo_from_array(out)

    def with_patches(self, patches: Iterable[tuple[Part, np.ndarray, np.ndarray]]) -> HugePhoto:
        """As `Photo.with_patches`; the tiles that change are decoded, edited and coded again, and kept coded."""
        tiff, changed = self.tiff, list(self.changed)
        for (rows, columns), colours, mask in patches:
            if mask.any():
                box = near(mask)
                top, left = rows.start + box[0].start, columns.start + box[1].start
                height, width = mask[box].shape
                part = np.s_[top : top + height, left : left + width]
                shown = self.native(part), colours[box], mask[box]
                before, after, where = (_turned(a, self.orientation) for a in shown)
                samples = repainted(before, after, where, self.mode, self.levels)
                tiff = tiff.edited(self._stored(part), samples, where)
                changed.append(part[0])
        return HugePhoto(tiff, self.meta, self.orientation, self.base or self, tuple(changed))

    def marked(self, mark: Mark) -> HugePhoto:
        """As `Photo.marked`."""
        return replace(self, meta=marked(self.meta, mark))

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the photo as it was read, edited tiles replaced, whole or not at all. Raises as `save_photo` does, and
        InputError for a name that is no TIFF's."""
        check_goal(self, path, overwrite=overwrite)
        with replacing(path, what="TIFF file", overwrite=overwrite) as file:
            self.tiff.write(file, self.meta)

    def _stored(self, part: Part) -> Part:
        """Upright rows and columns as they lie in the file."""
        (rows, columns), (width, height) = part, self.size
        if self.orientation in (2, 3, 6, 7):
            columns = slice(width - columns.stop, width - columns.start)
        if self.orientation in (3, 4, 7, 8):
            rows = slice(height - rows.stop, height - rows.start)
        return (columns, rows) if self.orientation in (5, 6, 7, 8) else (rows, columns)


@dataclass(frozen=True)
class Crops:
    """(H, W, 3) uint8 RGB of a huge photo, crop by crop; implements `photo.Pixels`."""

    photo: HugePhoto

    @property
    def shape(self) -> tuple[int, int, int]:
        width, height = self.photo.size
        return height, width, 3

    def __getitem__(self, part: Part, /) -> np.ndarray:
        return rgb_view(self.photo.native(part), self.photo.mode, self.photo.levels)


AnyPhoto = Photo | HugePhoto


def open_photo(path: str | os.PathLike[str], frame: int | None = None) -> AnyPhoto:
    """`load_photo`, but for TIFFs of more than `limits.HUGE` pixels whose tiles can be read one by one.

    Raises InputError as `load_photo` does; what cannot be read tile by tile is decoded whole up to
    `limits.MAX_PIXELS`.
    """
    path = Path(path)
    try:
        if not path.is_file() or (frame or 1) > 1:
            return load_photo(path, frame)
        file = path.open("rb")
        try:
            huge = _opened(file, str(path)) if is_tiff(file.read(4)) else None
        except BaseException:
            file.close()
            raise
    except OSError:
        return load_photo(path, frame)
    if huge is None:
        file.close()
        return load_photo(path, frame)
    weakref.finalize(huge.tiff, file.close)
    return huge


def check_goal(
    photo: AnyPhoto,
    path: str | os.PathLike[str],
    *,
    kind: str | None = None,
    scale: int = 1,
    overwrite: bool = False,
) -> str:
    """`check_output` for the result of `photo`, enlarged by `scale`: can the format hold it?

    Raises InputError also for sides or transparency that it cannot, for a huge photo that shall not become a TIFF, for
    a frame that shall be enlarged among others, and where several frames or pages would be overwritten with one.
    """
    kind = check_output(path, kind=kind, overwrite=overwrite)
    alone = photo.meta.whole is None or photo.meta.format != kind
    if photo.meta.frames > 1 and alone and (frames := _frames(path)) > 1:
        raise InputError(f"{path}: expected a new file name, got a file of {frames} frames or pages that would be lost")
    check_kind(photo, kind, str(path), scale=scale)
    return kind


def check_kind(photo: AnyPhoto, kind: str, name: str, *, scale: int = 1) -> None:
    """Raise InputError where the format `kind` cannot hold `photo`, enlarged by `scale`."""
    if isinstance(photo, Photo):
        size = photo.size[0] * scale, photo.size[1] * scale
        check_fit(photo.native, photo.mode, size, kind, name)
        if photo.meta.whole is not None and kind == photo.meta.format and kind in ANIMATED:
            deep = photo.native.dtype == np.uint16
            check_animation(photo.meta.frames, photo.size, size, deep=deep, name=name)
    elif kind != "TIFF":
        raise InputError(f"{name}: expected an output name ending in .tif for so large a photo, got a {kind}'s")


def _frames(path: str | os.PathLike[str]) -> int:
    """How many frames or pages the file holds; 1 where there is none or it is no picture."""
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")
            return getattr(image, "n_frames", 1)
    except Exception:  # on broken files Pillow's readers raise almost anything
        return 1


def save_any(
    photo: AnyPhoto,
    path: str | os.PathLike[str],
    *,
    kind: str | None = None,
    overwrite: bool = False,
    seal: Seal | None = None,
) -> None:
    """`save_photo` for photos of any size; huge ones are not sealed. Raises InputError as `check_goal` does."""
    kind = check_goal(photo, path, kind=kind, overwrite=overwrite)
    if isinstance(photo, HugePhoto):
        photo.save(path, overwrite=overwrite)
    else:
        save_photo(photo, path, kind=kind, overwrite=overwrite, seal=seal)


def _opened(file: IO[bytes], name: str) -> HugePhoto | None:
    """None for what `load_photo` shall read, or shall say is broken."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as for `decode.decode`
            image = read_header(file)
            meta, pixels = replace(metadata(image), frames=image.n_frames), image.width * image.height
    except Exception:  # on broken files Pillow's readers raise almost anything
        return None
    if pixels <= limits.HUGE:
        return None
    try:
        layout = read_layout(image, file, name)
    except InputError:
        if pixels <= limits.MAX_PIXELS:
            return None
        raise
    if meta.frames > 1:
        warnings.warn(f"{name}: holds {meta.frames} frames or pages; only the first is used", stacklevel=4)
    return HugePhoto(TiledTiff(file, layout, name), meta, image.getexif().get(ORIENTATION, 1))


def _turned(array: np.ndarray, orientation: int) -> np.ndarray:
    """The inverse of `decode.upright`."""
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return array.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else array
