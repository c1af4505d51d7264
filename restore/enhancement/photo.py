"""From a photo to what the sampler works on, and back to the file's own samples."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow
from torch import Tensor

from restore.enhancement.damage import Damage
from restore.enhancement.tasks import LIGHTING
from restore.errors import InputError
from restore.images.colours import FULL, colour_channels, inks, rgb_view
from restore.images.decode import with_size
from restore.images.mask import AnyMask, load_mask
from restore.images.photo import Photo, load_photo
from restore.images.transfer import coded, is_linear, light_of
from restore.pipelines.push_pull import push_pull
from restore.pipelines.restoration.degradations import Grey
from restore.pipelines.restoration.jpeg import Jpeg, found_compression
from restore.pipelines.restoration.kernels import disk_kernel, motion_kernel


@dataclass(frozen=True)
class Given:
    """What a restoration is made of: the photos (one, or the exposures of "hdr"), the damage, the mask of "inpaint"."""

    photos: list[Photo]
    damage: Damage
    mask: AnyMask = None

    @cached_property
    def shots(self) -> list[Tensor]:
        """Every photo, (1, 3, H, W) in [-1, 1]."""
        return [tensor_of(photo) for photo in self.photos]

    @property
    def y(self) -> Tensor:
        """The photo, (1, 3, H, W) in [-1, 1]."""
        return self.shots[0]

    @property
    def grey(self) -> Tensor:
        """Its luma, (1, 1, H, W) in [-1, 1]."""
        return Grey().forward(self.y)

    @property
    def lost(self) -> Tensor:
        """(1, 1, H, W), 1 = lost."""
        return torch.from_numpy(load_mask(self.mask, self.photos[0].size))[None, None].float()

    @property
    def noise(self) -> float | None:
        """Standard deviation in [-1, 1]."""
        return None if self.damage.noise is None else self.damage.noise / 127.5

    @property
    def kernel(self) -> Tensor | float | None:
        """Of the blur, as `plans.deblur` takes it."""
        damage = self.damage
        if damage.kernel is not None:
            grey = load_photo(damage.kernel).pixels.astype(np.float32).mean(2)
            odd = grey[: grey.shape[0] - 1 + grey.shape[0] % 2, : grey.shape[1] - 1 + grey.shape[1] % 2]
            return torch.from_numpy(np.ascontiguousarray(odd))
        if damage.motion is not None:
            return motion_kernel(*damage.motion)
        return disk_kernel(damage.disk) if damage.disk is not None else damage.blur

    @property
    def jpeg(self) -> Jpeg:
        """From the option, the file's own tables, or the picture."""
        photo, quality = self.photos[0], self.damage.quality
        if quality is None and photo.meta.quantisation:
            return Jpeg.of_file(photo.meta.quantisation, photo.meta.subsampling)
        if quality is not None:
            return Jpeg.of_quality(quality)
        found = found_compression(photo.pixels)
        if found is None:
            raise InputError("expected a picture with traces of JPEG blocks, found none; give its quality")
        return found[0]


def tensor_of(photo: Photo) -> Tensor:
    """(1, 3, H, W) in [-1, 1], with all bits of the file; -1 and 1 are the photo's levels."""
    if photo.native.dtype == np.uint16 and photo.mode != "CMYK":
        low, high = photo.levels
        colours = colour_channels(photo.native, photo.mode).clip(low, high)
        image = (np.broadcast_to(colours, (*colours.shape[:2], 3)) - np.float32(low)) * np.float32(2 / (high - low))
        if is_linear(photo.meta.icc):  # the network knows pictures for eyes
            image = 2 * coded((image / 2).astype(np.float32))
    else:
        image = photo.pixels.astype(np.float32) / 127.5
    x = torch.from_numpy(image).permute(2, 0, 1)[None].contiguous()
    if photo.mode in ("LA", "RGBA"):
        unseen = torch.from_numpy(photo.native[..., -1] == 0)[None, None].float()
        if 0 < float(unseen.mean()) < 1:  # what is there in no colour must not show at the rim of what is seen
            x = push_pull(x, unseen)
    return x - 1


def rebuilt(photo: Photo, restored: Tensor, task: str, mask: AnyMask) -> Photo:
    """The result in the file's own samples: depth, greys, inks and alpha as they were, colour where colour was made."""
    image = (restored[0].clamp(-1, 1).permute(1, 2, 0).numpy() + 1) / 2
    deep = photo.native.dtype == np.uint16
    height, width = image.shape[:2]
    # A restored picture must not be put through the tables that damaged it.
    meta = replace(with_size(photo.meta, (width, height)), quantisation=(), subsampling=0)
    if meta.gain is not None and task in (*LIGHTING, "colorize"):
        warnings.warn("the photo's HDR gain map does not fit the new light; left out", stacklevel=2)
        meta = replace(meta, gain=None)
    if photo.mode == "CMYK":
        colours, known = (image * 255 + 0.5).astype(np.uint8).reshape(-1, 3), photo.pixels.reshape(-1, 3)
        native = inks(colours, known, photo.native.reshape(-1, 4)).reshape(height, width, 4)
        return Photo(rgb_view(native, "CMYK"), native, "CMYK", meta)
    grey = photo.mode in ("1", "L", "LA") and task != "colorize"
    if grey:
        image = image @ np.array((0.299, 0.587, 0.114), np.float32)[:, None]
    native = _deep(image, photo) if deep else (image * 255 + 0.5).astype(np.uint8)
    if photo.mode in ("LA", "RGBA"):
        alpha = _resized(photo.native[..., -1], (native.shape[1], native.shape[0]))
        native = np.concatenate([native, alpha[..., None]], 2)
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[native.shape[2]]
    native = np.ascontiguousarray(native[..., 0] if mode == "L" else native)
    if task == "inpaint" and mode == photo.mode:  # known pixels keep their samples
        lost = load_mask(mask, photo.size)
        native = np.where(lost.reshape(lost.shape + (1,) * (native.ndim - 2)), native, photo.native)
    pixels = image if not grey else np.repeat(image, 3, 2)
    if photo.mode in ("1", "L", "LA") and task == "colorize":
        meta = replace(meta, icc=b"")
    return Photo((pixels * 255 + 0.5).astype(np.uint8), native, mode, meta, photo.levels)


def _deep(image: NDArray[np.floating], photo: Photo) -> NDArray[np.uint16]:
    """Colours (H, W, C) in [0, 1] as 16-bit samples between the photo's levels; what lay beyond them lies as far beyond
    them again: a star stays as bright as it was."""
    low, high = photo.levels
    if is_linear(photo.meta.icc):
        image = light_of(image.astype(np.float32))
    out = low + image * np.float32(high - low)
    if photo.levels != FULL:
        before = colour_channels(photo.native, photo.mode).astype(np.float32)
        beyond = before - before.clip(low, high)
        size = image.shape[1], image.shape[0]
        out += np.dstack([_enlarged(beyond[..., c], size) for c in range(beyond.shape[2])])
    return (out.clip(0, 65535) + 0.5).astype(np.uint16)


def _resized(alpha: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    if alpha.shape[::-1] == size:
        return alpha
    large, top = _enlarged(alpha.astype(np.float32), size), np.iinfo(alpha.dtype).max
    return (large.clip(0, top) + 0.5).astype(alpha.dtype)


def _enlarged(plane: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """A plane (h, w) at `size` (W, H)."""
    if plane.shape[::-1] == size:
        return plane
    return np.asarray(Pillow.fromarray(plane).resize(size, Pillow.Resampling.BICUBIC))


def unstretched(photo: Photo) -> Photo:
    """The photo as bright as its file says, however little of 16 bits it uses: for tasks that make light."""
    return replace(photo, pixels=rgb_view(photo.native, photo.mode), levels=FULL)
