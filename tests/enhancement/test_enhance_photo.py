"""Between a photo and the sampler: sizes said in metadata, colours under transparency, inks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from restore.enhancement.photo import rebuilt, tensor_of, unstretched
from restore.images.colours import rgb_view
from restore.images.decode import Metadata
from restore.images.photo import Photo, photo_from_array


def test_sizes_follow_the_picture() -> None:
    exif = Image.Exif()
    exif[0x8769] = {0xA002: 20, 0xA003: 10}
    xmp = b'<a exif:PixelXDimension="20" exif:PixelYDimension="10"><tiff:ImageWidth>20</tiff:ImageWidth></a>'
    photo = photo_from_array(np.full((10, 20, 3), 99, np.uint8))
    photo = replace(photo, meta=Metadata("JPEG", exif=exif.tobytes(), xmp=xmp, dpi=(300, 300)))
    result = rebuilt(photo, torch.zeros(1, 3, 40, 80), "super-resolution", None)
    found = Image.Exif()
    found.load(result.meta.exif)
    assert dict(found.get_ifd(0x8769)) == {0xA002: 80, 0xA003: 40}
    assert (
        result.meta.xmp
        == b'<a exif:PixelXDimension="80" exif:PixelYDimension="40"><tiff:ImageWidth>80</tiff:ImageWidth></a>'
    )
    assert result.meta.dpi == (300, 300)


def test_what_is_not_seen_does_not_darken_the_rim() -> None:
    native = np.zeros((32, 32, 4), np.uint8)
    native[8:24, 8:24] = 255
    x = tensor_of(photo_from_array(native))
    assert float(x.min()) > 0.99  # white as far as the network looks
    assert torch.equal(tensor_of(photo_from_array(native[..., :3])).amin((1, 2, 3)), torch.tensor([-1.0]))


def test_transparency_that_is_everywhere_or_nowhere_changes_nothing() -> None:
    native = np.random.default_rng(0).integers(0, 256, (8, 8, 4), dtype=np.uint8)
    for alpha in (0, 1, 255):
        native[..., 3] = alpha
        assert torch.equal(tensor_of(photo_from_array(native)), tensor_of(photo_from_array(native[..., :3])))


def test_inks_stay_inks() -> None:
    native = np.zeros((16, 16, 4), np.uint8)
    native[4:12, 4:12, 3] = 200
    for factor, depth in ((1, np.uint8), (257, np.uint16)):
        wide = native.astype(depth) * depth(factor)
        photo = Photo(rgb_view(wide, "CMYK"), wide, "CMYK", Metadata("TIFF", icc=b"profile"))
        result = rebuilt(photo, tensor_of(photo), "denoise", None)
        assert result.mode == "CMYK"
        assert result.meta.icc == b"profile"
        np.testing.assert_array_equal(result.native, wide)


def narrow() -> Photo:
    """A sky of 300 levels out of 65,536, and a star."""
    native = np.random.default_rng(0).integers(1000, 1300, (40, 40), dtype=np.uint16)
    native[5, 7] = 60_000
    return photo_from_array(native)


def test_little_of_16_bits_is_seen_stretched_and_written_as_it_was() -> None:
    photo = narrow()
    x = tensor_of(photo)
    assert float(x.std()) > 0.5  # noise fills the view; unstretched it has a deviation of .003
    np.testing.assert_array_equal(rebuilt(photo, x, "denoise", None).native, photo.native)
    flat = rebuilt(photo, torch.zeros_like(x), "denoise", None)
    low, high = photo.levels
    assert np.abs(np.median(flat.native) - (low + high) / 2) <= 1
    assert flat.native[5, 7] > 55_000  # the star is still one
    np.testing.assert_array_equal(flat.levels, photo.levels)
    large = rebuilt(photo, torch.zeros(1, 3, 80, 80), "super-resolution", None)
    assert large.native[8:13, 12:17].max() > 40_000
    assert np.abs(np.median(large.native) - (low + high) / 2) <= 1


def test_the_dark_is_not_stretched_where_light_is_made() -> None:
    x = tensor_of(unstretched(narrow()))
    assert float(x.median()) < -0.95
