"""Image files in, image files out: nothing lost, nothing half written, nothing hostile let in."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import tempfile
import warnings
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, JpegImagePlugin

from restore.errors import InputError
from restore.images.photo import (
    Photo,
    check_output,
    default_output,
    load_photo,
    photo_from_array,
    save_photo,
    to_kind,
)

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
CHANNELS = {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,), "CMYK": (4,)}


def noise(mode: str, dtype: type = np.uint8, size: tuple[int, int] = (13, 9), seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if mode == "1":
        return rng.integers(0, 2, size).astype(np.bool_)
    return rng.integers(0, np.iinfo(dtype).max + 1, size + CHANNELS[mode], dtype=dtype)


def photo_of(native: np.ndarray, mode: str) -> Photo:
    return Photo(np.zeros((*native.shape[:2], 3), np.uint8), native, mode)


def smooth(width: int = 96, height: int = 64) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.dstack([x * 2, y * 3, (x + y) % 256]).astype(np.uint8)


LOSSLESS = [
    *[(m, np.uint8, s) for m in ("1", "L", "LA", "RGB", "RGBA") for s in (".png", ".tif")],
    *[(m, np.uint16, ".png") for m in ("L", "LA", "RGB", "RGBA")],
    *[(m, np.uint16, ".tiff") for m in ("L", "RGB", "RGBA", "CMYK")],
    *[(m, np.uint8, ".bmp") for m in ("1", "L", "RGB", "RGBA")],
    *[(m, np.uint8, ".webp") for m in ("RGB", "RGBA")],
    ("CMYK", np.uint8, ".tif"),
]


@pytest.mark.parametrize(("mode", "dtype", "suffix"), LOSSLESS)
@pytest.mark.parametrize("size", [(1, 1), (13, 9), (301, 7)])
def test_lossless_round_trip_keeps_every_sample(
    mode: str, dtype: type, suffix: str, size: tuple[int, int], tmp_path: Path
) -> None:
    native = noise(mode, dtype, size)
    if suffix == ".webp" and mode == "RGBA":
        native[0, 0, 3] = 0  # an opaque image comes back without alpha
    elif suffix == ".bmp" and mode == "RGBA":
        native[0, 0, 3] = 7
    save_photo(photo_of(native, mode), tmp_path / f"a{suffix}")
    back = load_photo(tmp_path / f"a{suffix}")
    assert back.mode == mode
    assert back.native.dtype == native.dtype
    np.testing.assert_array_equal(back.native, native)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_deep_files_agree_with_opencv_both_ways(mode: str, suffix: str, tmp_path: Path) -> None:
    native = noise(mode, np.uint16, (23, 31))
    swap = (lambda a: a) if mode == "L" else (lambda a: a[..., [2, 1, 0, 3][: a.shape[2]]])
    theirs, ours = tmp_path / f"theirs{suffix}", tmp_path / f"ours{suffix}"
    cv2.imwrite(str(theirs), swap(native))
    np.testing.assert_array_equal(load_photo(theirs).native, native)
    save_photo(photo_of(native, mode), ours)
    np.testing.assert_array_equal(swap(cv2.imread(str(ours), cv2.IMREAD_UNCHANGED)), native)


def tiff16(native: np.ndarray, photometric: int, order: str, extra: int | None = None) -> bytes:
    """Uncompressed one-strip TIFF in either byte order, by hand."""
    channels = native.shape[2] if native.ndim == 3 else 1
    entries = [(256, 4, 1, native.shape[1]), (257, 4, 1, native.shape[0]), (258, 3, channels, None)]
    entries += [(259, 3, 1, 1), (262, 3, 1, photometric), (273, 4, 1, 0), (277, 3, 1, channels)]
    entries += [(278, 4, 1, native.shape[0]), (279, 4, 1, native.nbytes)]
    entries += [(338, 3, 1, extra)] if extra is not None else []
    start = 8 + 2 + 12 * len(entries) + 4
    body = struct.pack(order + "H", len(entries))
    for tag, kind, count, value in entries:
        if tag == 258:
            data = struct.pack(order + "I", start) if channels > 2 else struct.pack(order + "HH", 16, 16)
        elif tag == 273:
            data = struct.pack(order + "I", start + 8)
        else:
            data = struct.pack(order + ("I" if kind == 4 else "HH"), *((value,) if kind == 4 else (value, 0)))
        body += struct.pack(order + "HHI", tag, kind, count) + data
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return head + body + b"\0" * 4 + struct.pack(order + "4H", 16, 16, 16, 16) + native.astype(order + "u2").tobytes()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("mode", "photometric", "extra"), [("RGB", 2, None), ("RGBA", 2, 2), ("CMYK", 5, None)])
def test_deep_tiff_of_either_byte_order(
    order: str, mode: str, photometric: int, extra: int | None, tmp_path: Path
) -> None:
    native = noise(mode, np.uint16)
    path = tmp_path / "a.tif"
    path.write_bytes(tiff16(native, photometric, order, extra))
    photo = load_photo(path)
    assert photo.mode == mode
    np.testing.assert_array_equal(photo.native, native)


def test_deep_tiff_whose_white_is_zero_is_turned_round(tmp_path: Path) -> None:
    native = noise("L", np.uint16)
    (tmp_path / "a.tif").write_bytes(tiff16(native, 0, "<"))
    np.testing.assert_array_equal(load_photo(tmp_path / "a.tif").native, 65535 - native)


def test_deep_premultiplied_alpha_becomes_straight(tmp_path: Path) -> None:
    straight = noise("RGBA", np.uint16)
    straight[..., 3] |= 0x8000
    alpha = straight[..., 3:].astype(np.float64) / 65535
    stored = straight.copy()
    stored[..., :3] = np.round(straight[..., :3] * alpha)
    (tmp_path / "a.tif").write_bytes(tiff16(stored, 2, "<", extra=1))
    photo = load_photo(tmp_path / "a.tif")
    assert photo.mode == "RGBA"
    np.testing.assert_allclose(photo.native.astype(int), straight.astype(int), atol=1)


def test_deep_colour_key_becomes_alpha(tmp_path: Path) -> None:
    native = noise("RGB", np.uint16)
    save_photo(photo_of(native, "RGB"), tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    key = struct.pack(">3H", *native[4, 5].tolist())
    chunk = struct.pack(">I", 6) + b"tRNS" + key + struct.pack(">I", zlib.crc32(b"tRNS" + key))
    (tmp_path / "a.png").write_bytes(data[:33] + chunk + data[33:])
    photo = load_photo(tmp_path / "a.png")
    assert photo.mode == "RGBA"
    np.testing.assert_array_equal(photo.native[..., :3], native)
    assert photo.native[4, 5, 3] == 0
    assert (photo.native[..., 3] == 65535).sum() == native.shape[0] * native.shape[1] - 1


@pytest.mark.parametrize("alpha", [False, True])
def test_palette_becomes_rgb_or_rgba(alpha: bool, tmp_path: Path) -> None:
    image = Image.fromarray(smooth()).quantize(16)
    image.save(tmp_path / "a.png", **({"transparency": 3} if alpha else {}))
    photo = load_photo(tmp_path / "a.png")
    assert photo.mode == ("RGBA" if alpha else "RGB")
    np.testing.assert_array_equal(photo.pixels, np.asarray(image.convert("RGB")))
    if alpha:
        np.testing.assert_array_equal(photo.native[..., 3] == 0, np.asarray(image) == 3)


# The eight meanings in the EXIF specification: where the stored first row and first column are to be shown.
UPRIGHT = {
    1: lambda a: a,  # top, left
    2: np.fliplr,  # top, right
    3: lambda a: np.rot90(a, 2),  # bottom, right
    4: np.flipud,  # bottom, left
    5: lambda a: np.swapaxes(a, 0, 1),  # left, top
    6: lambda a: np.rot90(a, -1),  # right, top
    7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),  # right, bottom
    8: lambda a: np.rot90(a, 1),  # left, bottom
}


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once_and_the_tag_corrected(orientation: int, suffix: str, tmp_path: Path) -> None:
    path, out = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    stored = smooth(96, 64)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Maker"
    exif.get_ifd(0x8769).update({0xA002: 96, 0xA003: 64, 0x9003: "2024:01:02 03:04:05"})
    exif.get_ifd(0x8825)[1] = "N"
    options = {"lossless": True} if suffix == ".webp" else {"quality": 95} if suffix == ".jpg" else {}
    whole = Image.Exif()
    whole.load(exif.tobytes())  # Pillow writes a TIFF's inner directories only if they were read
    Image.fromarray(stored).save(path, exif=whole, **options)
    with Image.open(path) as raw:
        decoded = np.asarray(raw)  # Pillow turns TIFF on its own
    expected = decoded if suffix == ".tif" else UPRIGHT[orientation](decoded)
    if suffix != ".jpg":
        np.testing.assert_array_equal(expected, UPRIGHT[orientation](stored))
    photo = load_photo(path)
    np.testing.assert_array_equal(photo.native, expected)

    save_photo(photo, out)
    again = load_photo(out)
    if suffix != ".jpg":
        np.testing.assert_array_equal(again.native, expected)
    assert again.size == (expected.shape[1], expected.shape[0])
    with Image.open(out) as image:
        tags = image.getexif()
        assert tags.get(0x0112) == 1
        assert tags[0x010F] == "Maker"
        inner = tags.get_ifd(0x8769)
        assert inner[0x9003] == "2024:01:02 03:04:05"
        assert (inner[0xA002], inner[0xA003]) == again.size
        assert tags.get_ifd(0x8825)[1] == "N"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_png_orientation(orientation: int, tmp_path: Path) -> None:
    native = noise("RGB", np.uint16)
    exif = Image.Exif()
    exif[0x0112] = orientation
    save_photo(Photo(native, native, "RGB", photo_of(native, "RGB").meta), tmp_path / "a.png")
    data, tiff = (tmp_path / "a.png").read_bytes(), exif.tobytes()[6:]
    chunk = struct.pack(">I", len(tiff)) + b"eXIf" + tiff + struct.pack(">I", zlib.crc32(b"eXIf" + tiff))
    (tmp_path / "a.png").write_bytes(data[:33] + chunk + data[33:])
    np.testing.assert_array_equal(load_photo(tmp_path / "a.png").native, UPRIGHT[orientation](native))


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6" kept="yes"/></x:xmpmeta>'


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("target", [".png", ".jpg", ".tif", ".webp", ".bmp"])
@pytest.mark.parametrize("source", [".jpg", ".png", ".tif"])
def test_profile_resolution_and_xmp_travel(source: str, target: str, deep: bool, tmp_path: Path) -> None:
    path, out = tmp_path / f"a{source}", tmp_path / f"b{target}"
    Image.fromarray(smooth()).save(path, icc_profile=ICC, dpi=(300, 300))
    photo = load_photo(path)
    meta = type(photo.meta)(**{**vars(photo.meta), "xmp": XMP.replace(b"6", b"1"), "quantisation": ()})
    native = photo.native.astype(np.uint16) * 257 if deep else photo.native
    save_photo(Photo(photo.pixels, native, "RGB", meta), out)
    with Image.open(out) as image:
        assert image.info.get("icc_profile") == (None if target == ".bmp" else ICC)
        if target != ".webp":  # which has no place for it
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.05)
        if target != ".bmp":
            assert image.info["xmp"] in (meta.xmp, meta.xmp.decode())


def test_orientation_said_in_xmp_is_corrected_too(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", xmp=XMP)
    photo = load_photo(tmp_path / "a.jpg")
    assert photo.size == (64, 96)
    save_photo(photo, tmp_path / "b.jpg")
    again = load_photo(tmp_path / "b.jpg")
    assert again.size == (64, 96)
    assert b'kept="yes"' in again.meta.xmp


def test_the_thumbnail_of_the_unedited_photo_is_left_behind(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif[0x927C] = b"x"
    plain = exif.tobytes()
    secret = b"\xff\xd8the removed person\xff\xd9"
    tiff = bytearray(plain[6:])
    entries = struct.unpack_from(">H", tiff, 8)[0]
    struct.pack_into(">I", tiff, 10 + 12 * entries, len(tiff))
    base = len(tiff) + 2 + 24 + 4
    tiff += struct.pack(">HHHIIHHIII", 2, 0x0201, 4, 1, base, 0x0202, 4, 1, len(secret), 0) + secret
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + bytes(tiff))
    assert secret in (tmp_path / "a.jpg").read_bytes()
    save_photo(load_photo(tmp_path / "a.jpg"), tmp_path / "b.jpg")
    data = (tmp_path / "b.jpg").read_bytes()
    assert b"Maker" in data
    assert secret not in data


def photograph() -> np.ndarray:
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    big = cv2.resize(coarse, (256, 192), interpolation=cv2.INTER_CUBIC).astype(float)
    return np.clip(big + rng.normal(0, 6, big.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("quality", [60, 93])
def test_jpeg_keeps_its_tables_and_neither_grows_nor_degrades(quality: int, subsampling: int, tmp_path: Path) -> None:
    source, out = tmp_path / "a.jpg", tmp_path / "b.jpg"
    Image.fromarray(photograph()).save(source, quality=quality, subsampling=subsampling, progressive=True)
    photo = load_photo(source)
    save_photo(photo, out)
    with Image.open(source) as a, Image.open(out) as b:
        assert a.quantization == b.quantization
        assert JpegImagePlugin.get_sampling(b) == subsampling
        assert b.info.get("progressive")
    assert out.stat().st_size <= 1.02 * source.stat().st_size
    error = load_photo(out).pixels.astype(float) - photo.pixels
    assert np.sqrt(np.mean(error**2)) < 1.5


def test_turned_jpeg_turns_its_tables(tmp_path: Path) -> None:
    tables = [[min(255, 1 + 3 * r + c) for r in range(8) for c in range(8)]] * 2
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photograph()).save(tmp_path / "a.jpg", qtables=tables, subsampling=1, exif=exif)
    save_photo(load_photo(tmp_path / "a.jpg"), tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.quantization[0] == np.reshape(tables[0], (8, 8)).T.ravel().tolist()
        assert JpegImagePlugin.get_sampling(image) == 0


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_jpeg_keeps_grey_and_cmyk(mode: str, tmp_path: Path) -> None:
    Image.fromarray(photograph()).convert(mode).save(tmp_path / "a.jpg", quality=90)
    photo = load_photo(tmp_path / "a.jpg")
    assert photo.mode == mode
    save_photo(photo, tmp_path / "b.jpg")
    again = load_photo(tmp_path / "b.jpg")
    assert again.mode == mode
    assert np.abs(again.native.astype(int) - photo.native).mean() < 2


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@given(seed=st.integers(0, 1000), density=st.floats(0, 1))
@settings(max_examples=15, deadline=None)
def test_an_edit_changes_colours_inside_the_mask_and_nothing_else(
    mode: str, dtype: type, seed: int, density: float
) -> None:
    native = noise(mode, dtype, seed=seed)
    rng = np.random.default_rng(seed)
    mask = rng.random(native.shape[:2]) < density
    edited = rng.integers(0, 256, (*mask.shape, 3), dtype=np.uint8)
    before = native.copy()
    result = photo_of(native, mode).with_pixels(edited, mask)
    np.testing.assert_array_equal(native, before)
    np.testing.assert_array_equal(result.native[~mask], before[~mask])
    if mode in ("RGB", "RGBA"):
        np.testing.assert_array_equal(result.pixels[mask], edited[mask])
    if mode == "CMYK":
        assert np.abs(result.pixels[mask].astype(int) - edited[mask]).max(initial=0) <= 16
    luma = edited[mask] @ np.array([0.299, 0.587, 0.114])
    if mode in ("L", "LA"):
        assert np.abs(result.pixels[mask] - luma[:, None]).max(initial=0) <= 0.51
    if mode == "1":
        sure = np.abs(luma - 127.5) > 1
        np.testing.assert_array_equal(result.native[mask][sure], (luma > 127.5)[sure])
    assert not result.native.flags.writeable
    assert not result.pixels.flags.writeable


def test_deep_view_is_the_high_byte_and_an_edit_survives_it() -> None:
    photo = photo_from_array(np.arange(65536, dtype=np.uint16).reshape(256, 256))
    np.testing.assert_array_equal(photo.pixels[..., 0], np.arange(65536).reshape(256, 256) // 256)
    white = np.full((256, 256, 3), 255, np.uint8)
    assert (photo.with_pixels(white, np.ones((256, 256), np.bool_)).native == 65535).all()


@pytest.mark.parametrize(
    ("edited", "mask"),
    [
        (np.zeros((9, 13, 3), np.uint8), np.zeros((13, 9), np.bool_)),
        (np.zeros((13, 9, 3), np.float32), np.zeros((13, 9), np.bool_)),
        (np.zeros((13, 9, 3), np.uint8), np.zeros((13, 9), np.uint8)),
        (np.zeros((13, 9, 3), np.uint8), np.zeros((9, 13), np.bool_)),
    ],
)
def test_edits_of_another_shape_or_type_are_refused(edited: np.ndarray, mask: np.ndarray) -> None:
    with pytest.raises(InputError, match="expected"):
        photo_of(noise("RGB"), "RGB").with_pixels(edited, mask)


def test_untouched_samples_survive_an_edit_on_disk(tmp_path: Path) -> None:
    for name, mode, dtype in (
        ("a.tif", "CMYK", np.uint16),
        ("b.png", "RGBA", np.uint16),
        ("c.png", "L", np.uint8),
    ):
        native = noise(mode, dtype)
        save_photo(photo_of(native, mode), tmp_path / name)
        photo = load_photo(tmp_path / name)
        mask = np.zeros(native.shape[:2], np.bool_)
        mask[3:6, 2:7] = True
        save_photo(photo.with_pixels(255 - photo.pixels, mask), default_output(tmp_path / name))
        result = load_photo(default_output(tmp_path / name))
        np.testing.assert_array_equal(result.native[~mask], native[~mask])
        assert (result.native[mask] != native[mask]).any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 2), (5, 7, 3), (5, 7, 4)])
def test_arrays_come_back_as_they_were(shape: tuple[int, ...], dtype: type) -> None:
    array = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)[::-1]
    photo = photo_from_array(array)
    back = to_kind(photo, array)
    assert isinstance(back, np.ndarray)
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, array)
    back[...] = 0  # the caller's own
    assert photo.pixels.shape == (5, 7, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "CMYK", "I;16", "I;16B", "P", "YCbCr", "RGBX"])
def test_pillow_images_come_back_in_their_mode(mode: str) -> None:
    image = Image.fromarray(smooth())
    if mode.startswith("I;16"):
        image = Image.frombytes(mode, (9, 13), noise("L", np.uint16).tobytes())
    elif mode == "LA":
        image = Image.merge("LA", [image.getchannel(0), image.getchannel(1)])
    else:
        image = image.convert(mode)
    image.info["dpi"] = (72, 72)
    before = image.tobytes()
    back = to_kind(photo_from_array(image), image)
    assert isinstance(back, Image.Image)
    assert back.mode == ("RGB" if mode == "P" else mode)
    assert back.info["dpi"] == (72, 72)
    assert image.tobytes() == before
    if mode not in ("P", "YCbCr"):
        assert back.tobytes() == before


def test_a_pillow_image_with_an_orientation_tag_is_taken_as_it_lies(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(smooth()).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        photo = photo_from_array(image)
        assert photo.size == image.size
        assert to_kind(photo, image).size == image.size
        assert image.getexif()[0x0112] == 6
    save_photo(photo, tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as image:
        assert image.getexif()[0x0112] == 6


def test_a_path_gives_a_pillow_image_with_its_metadata(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(tmp_path / "a.png", icc_profile=ICC)
    back = to_kind(load_photo(tmp_path / "a.png"), tmp_path / "a.png")
    assert isinstance(back, Image.Image)
    assert (back.mode, back.info["icc_profile"]) == ("RGB", ICC)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((4, 5, 5), np.uint8),
        np.zeros(5, np.uint8),
        np.zeros((4, 5, 3), np.float32),
        np.zeros((4, 5, 3), np.int64),
        [[1, 2], [3, 4]],
        Image.new("F", (4, 4)),
        Image.new("I", (4, 4)),
        Image.new("LAB", (4, 4)),
    ],
)
def test_unfit_images_in_memory_are_refused(array: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"^image: expected .*, got"):
        photo_from_array(array)


def bomb() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10_000_000)))
        + chunk(b"IEND", b"")
    )


def encoded(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photograph()).save(buffer, kind, **options)
    return buffer.getvalue()


HOSTILE = {
    "empty.png": b"",
    "text.png": b"this is no picture, whatever its name says\n" * 20,
    "truncated.jpg": encoded("JPEG")[:3000],
    "truncated.png": encoded("PNG")[:3000],
    "truncated.webp": encoded("WEBP")[:3000],
    "truncated.bmp": encoded("BMP")[:3000],
    "truncated.tif": encoded("TIFF")[:3000],
    "header.jpg": encoded("JPEG")[:20],
    "bomb.png": bomb(),
    "a.gif": encoded("GIF"),
    "deep_truncated.tif": tiff16(noise("RGB", np.uint16), 2, "<")[:-40],
    "grey_alpha.tif": tiff16(noise("LA", np.uint16), 1, "<", 2),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_give_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(HOSTILE[name])
    with pytest.raises(InputError, match=r"expected .*got ") as caught:
        load_photo(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_the_bomb_is_refused_by_its_header_even_if_pillow_is_told_to_allow_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bomb.png").write_bytes(HOSTILE["bomb.png"])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(InputError, match="megapixels"):
        load_photo(tmp_path / "bomb.png")


def test_pillows_own_limit_holds_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(encoded("PNG"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InputError, match="megapixels"):
        load_photo(tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "BMP"])
@given(cuts=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=8))
@settings(max_examples=25, deadline=None)
def test_flipped_bytes_load_or_are_refused(kind: str, cuts: list[tuple[int, int]]) -> None:
    data = bytearray(FUZZED[kind])
    for place, value in cuts:
        data[place % len(data)] = value
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "a.img"
        path.write_bytes(data)
        photo, message = None, ""
        try:
            photo = load_photo(path)
        except InputError as error:
            message = str(error)
    assert "\n" not in message
    assert photo is None or photo.pixels.shape[2] == 3


FUZZED = {k: encoded(k, **({} if k == "BMP" else {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"})) for k in (
    "JPEG", "PNG", "TIFF", "WEBP", "BMP")}  # fmt: skip


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found nothing there"):
        load_photo(tmp_path / "none.jpg")
    with pytest.raises(InputError, match="got a folder"):
        load_photo(tmp_path)
    with pytest.raises(InputError, match="expected a readable"):
        load_photo(tmp_path / ("x" * 300 + ".png"))
    with pytest.raises(InputError, match="expected"):
        load_photo("a\0b.png")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the administrator reads and writes everything")
def test_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded("PNG"))
    photo = load_photo(path)
    path.chmod(0)
    with pytest.raises(InputError, match="Permission denied"):
        load_photo(path)
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="read-only"):
        save_photo(photo, tmp_path / "b.png")
    tmp_path.chmod(0o700)


def test_animation_gives_its_first_frame_with_a_warning(tmp_path: Path) -> None:
    frames = [Image.fromarray(smooth()), Image.fromarray(255 - smooth())]
    for name in ("a.webp", "a.tif", "a.png"):
        options = {"lossless": True} if name == "a.webp" else {}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
        with pytest.warns(UserWarning, match="holds 2 frames or pages; only the first is used"):
            photo = load_photo(tmp_path / name)
        np.testing.assert_array_equal(photo.pixels, smooth())


def test_a_phones_jpeg_with_a_second_picture_is_a_jpeg(tmp_path: Path) -> None:
    frames = [Image.fromarray(smooth()), Image.fromarray(255 - smooth())]
    frames[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=frames[1:], quality=95)
    with pytest.warns(UserWarning, match="also holds a second picture"):
        photo = load_photo(tmp_path / "a.jpg")
    assert photo.meta.format == "JPEG"
    assert photo.meta.quantisation
    save_photo(photo, tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.format == "JPEG"


def test_default_output() -> None:
    assert default_output("some/photo.jpg") == Path("some/photo.restored.jpg")
    assert default_output("a.b.PNG") == Path("a.b.restored.PNG")


def test_existing_files_are_kept_unless_told(tmp_path: Path) -> None:
    path, photo = tmp_path / "a.png", photo_from_array(smooth())
    path.write_bytes(b"mine")
    with pytest.raises(InputError, match="existing file"):
        save_photo(photo, path)
    assert path.read_bytes() == b"mine"
    path.chmod(0o640)
    save_photo(photo, path, overwrite=True)
    np.testing.assert_array_equal(load_photo(path).pixels, smooth())
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["a.png"]


def test_a_link_is_followed_on_overwriting(tmp_path: Path) -> None:
    (tmp_path / "real.png").write_bytes(b"old")
    (tmp_path / "link.png").symlink_to("real.png")
    save_photo(photo_from_array(smooth()), tmp_path / "link.png", overwrite=True)
    assert (tmp_path / "link.png").is_symlink()
    np.testing.assert_array_equal(load_photo(tmp_path / "real.png").pixels, smooth())


def test_unfit_outputs(tmp_path: Path) -> None:
    photo = photo_from_array(smooth())
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_bytes(b"")
    for name, reason in {
        "a.xyz": "expected an output name ending in",
        "a": "no suffix",
        "none/a.png": "create it first",
        "file/a.png": "create it first",
        "folder.png": "got a folder",
        "x" * 300 + ".png": "File name too long",
    }.items():
        with pytest.raises(InputError, match=reason):
            check_output(tmp_path / name, overwrite=True)
        with pytest.raises(InputError, match=reason):
            save_photo(photo, tmp_path / name, overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.png"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_nothing(error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise error

    (tmp_path / "a.png").write_bytes(b"mine")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(InputError if isinstance(error, OSError) else KeyboardInterrupt):
        save_photo(photo_from_array(smooth()), tmp_path / "a.png", overwrite=True)
    assert os.listdir(tmp_path) == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"mine"


def test_formats_get_what_they_can_hold(tmp_path: Path) -> None:
    save_photo(photo_of(noise("CMYK"), "CMYK"), tmp_path / "a.png")
    assert load_photo(tmp_path / "a.png").mode == "RGB"
    deep = noise("RGB", np.uint16)
    save_photo(photo_of(deep, "RGB"), tmp_path / "a.webp")
    np.testing.assert_array_equal(load_photo(tmp_path / "a.webp").native, deep >> 8)
    grey_alpha = noise("LA", np.uint16)
    save_photo(photo_of(grey_alpha, "LA"), tmp_path / "a.tif")
    np.testing.assert_array_equal(load_photo(tmp_path / "a.tif").native, grey_alpha[..., [0, 0, 0, 1]])
    save_photo(photo_of(noise("1"), "1"), tmp_path / "a.jpg")
    assert load_photo(tmp_path / "a.jpg").mode == "L"


def test_jpeg_takes_opaque_alpha_only(tmp_path: Path) -> None:
    native = noise("RGBA")
    with pytest.raises(InputError, match="keeps transparency"):
        save_photo(photo_of(native, "RGBA"), tmp_path / "a.jpg")
    assert not os.listdir(tmp_path)
    native[..., 3] = 255
    save_photo(photo_of(native, "RGBA"), tmp_path / "a.jpg")
    assert load_photo(tmp_path / "a.jpg").mode == "RGB"


def test_too_long_metadata_does_not_stop_a_jpeg(tmp_path: Path) -> None:
    photo = photo_from_array(smooth())
    meta = type(photo.meta)(xmp=b"x" * 70_000, exif=b"Exif\0\0" + b"x" * 70_000)
    with pytest.warns(UserWarning, match="cannot hold EXIF of more than 64 kB, XMP of more than 64 kB that cannot be"):
        save_photo(Photo(photo.pixels, photo.native, photo.mode, meta), tmp_path / "a.jpg")
    assert load_photo(tmp_path / "a.jpg").size == (96, 64)


def test_import_is_light() -> None:
    code = "import sys, restore.images.mask; print(any(m in sys.modules for m in ('torch', 'cv2', 'scipy')))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


@pytest.mark.parametrize("progressive", [False, True])
def test_noise_fits_into_a_jpeg(progressive: bool, tmp_path: Path) -> None:
    noisy = np.random.default_rng(0).integers(0, 256, (600, 800, 3), dtype=np.uint8)
    Image.fromarray(noisy).save(tmp_path / "a.png")
    photo = load_photo(tmp_path / "a.png")
    save_photo(replace(photo, meta=replace(photo.meta, progressive=progressive)), tmp_path / "b.jpg")
    assert load_photo(tmp_path / "b.jpg").size == (800, 600)


FULL_DISK = """
import resource, signal, sys
from restore.errors import InputError
from restore.images.photo import load_photo, save_photo
photo = load_photo(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    save_photo(photo, sys.argv[2], overwrite=True)
except InputError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of file sizes to stand for a full disk")
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".bmp"])
def test_a_disk_that_fills_up_leaves_the_old_file(suffix: str, tmp_path: Path) -> None:
    noisy = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    Image.fromarray(noisy).save(tmp_path / "in.png")
    goal = tmp_path / f"out{suffix}"
    goal.write_bytes(b"old")
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "in.png"), str(goal)]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "expected to write a" in told.stdout
    assert "File too large" in told.stdout
    assert goal.read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["in.png", goal.name]
