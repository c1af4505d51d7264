"""HDR gain maps go along with their picture."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from restore.enhancement.photo import rebuilt, tensor_of
from restore.images.gain import ISO, jpeg_end, segment
from restore.images.photo import Photo, load_photo, save_photo

HDRGM = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0" hdrgm:GainMapMax="2.5"/>
</rdf:RDF></x:xmpmeta>"""
SIZE = (160, 120)
EXIFTOOL = shutil.which("exiftool")


def jpeg(pixels: NDArray[np.uint8], xmp: bytes, extra: bytes = b"", orientation: int = 1) -> bytes:
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(buffer, "JPEG", xmp=xmp, extra=extra, exif=exif, quality=95, progressive=True)
    return buffer.getvalue()


def phone(kind: str, orientation: int = 1, behind: bytes = b"") -> bytes:
    """An Ultra HDR photo: all 120 but a light in the middle, whose gain is 200 where others' is 40."""
    photo, gain = np.full(SIZE[::-1], 120, np.uint8), np.full((30, 40), 40, np.uint8)
    photo[40:80, 60:100], gain[10:20, 15:25] = 250, 200
    version = segment(0xE2, ISO + b":-1\0" + bytes(4)) if kind == "iso" else b""
    second = jpeg(gain, b"" if kind == "iso" else HDRGM, version)
    return jpeg(photo, b"" if kind == "iso" else HDRGM, version, orientation) + second + behind


def edited(photo: Photo) -> Photo:
    mask = photo.pixels[..., 0] > 180
    return photo.with_pixels(np.full_like(photo.pixels, 120), mask)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("kind", ["xmp", "iso"])
def test_the_map_is_closed_where_the_picture_is(kind: str, orientation: int, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(phone(kind, orientation))
    photo = load_photo(tmp_path / "a.jpg")
    assert photo.size == (SIZE if orientation == 1 else SIZE[::-1])
    save_photo(photo, tmp_path / "same.jpg")
    save_photo(edited(photo), tmp_path / "b.jpg")
    same, after = load_photo(tmp_path / "same.jpg").meta.gain, load_photo(tmp_path / "b.jpg").meta.gain
    assert photo.meta.gain is not None
    assert same is not None
    assert after is not None
    assert np.abs(same.pixels.astype(int) - photo.meta.gain.pixels).max() <= 8
    assert photo.meta.gain.pixels.max() > 190
    assert after.pixels.max() < 50  # no light shines from where there is none
    shape = (40, 30) if orientation == 1 else (30, 40)
    assert after.pixels.shape[::-1] == shape
    if kind == "iso":  # Pillow leaves alone what Adobe's XMP tells of
        with Image.open(tmp_path / "b.jpg") as image:  # Multi-Picture Format, as viewers look for it
            assert image.n_frames == 2  # type: ignore[attr-defined]
            image.seek(1)
            np.testing.assert_array_equal(np.asarray(image), after.pixels)
    content = (tmp_path / "b.jpg").read_bytes()
    with Image.open(io.BytesIO(content[jpeg_end(content) :])) as image:
        np.testing.assert_array_equal(np.asarray(image), after.pixels)
        if kind == "xmp":
            assert b'GainMapMax="2.5"' in image.info["xmp"]
    length = len(content) - jpeg_end(content)
    assert (b'Item:Length="%d"' % length in content) == (kind == "xmp")
    assert (content.count(ISO) == 2) == (kind == "iso")


@pytest.mark.skipif(EXIFTOOL is None, reason="needs exiftool")
def test_exiftool_finds_the_map(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(phone("xmp"))
    save_photo(edited(load_photo(tmp_path / "a.jpg")), tmp_path / "b.jpg")
    command = [str(EXIFTOOL), "-b", "-MPImage2", str(tmp_path / "b.jpg")]
    found = subprocess.run(command, capture_output=True, check=True).stdout
    content = (tmp_path / "b.jpg").read_bytes()
    assert found == content[jpeg_end(content) :]


def test_what_else_a_phone_hangs_on_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(phone("xmp", behind=b"ftypmp42 a video"))
    with pytest.warns(UserWarning, match="also holds more; only"):
        photo = load_photo(tmp_path / "a.jpg")
    save_photo(photo, tmp_path / "b.jpg")
    assert b"a video" not in (tmp_path / "b.jpg").read_bytes()
    assert load_photo(tmp_path / "b.jpg").meta.gain is not None


def test_formats_and_lights_that_it_does_not_fit(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(phone("xmp"))
    photo = load_photo(tmp_path / "a.jpg")
    with pytest.warns(UserWarning, match="a PNG cannot hold an HDR gain map"):
        save_photo(photo, tmp_path / "b.png")
    with pytest.warns(UserWarning, match="does not fit the new light"):
        assert rebuilt(photo, tensor_of(photo), "low-light", None).meta.gain is None
    assert rebuilt(photo, tensor_of(photo), "denoise", None).meta.gain is not None


@pytest.mark.parametrize("damage", ["cut", "text", "nothing", "zeros"])
def test_broken_maps_are_told_and_dropped(damage: str, tmp_path: Path) -> None:
    data = phone("xmp")
    end = jpeg_end(data)
    behind = {"cut": data[end : end + 200], "text": b"hello", "nothing": b"", "zeros": bytes(500)}[damage]
    (tmp_path / "a.jpg").write_bytes(data[:end] + behind)
    with pytest.warns(UserWarning, match="also holds an HDR gain map"):
        photo = load_photo(tmp_path / "a.jpg")
    assert photo.meta.gain is None
    save_photo(photo, tmp_path / "b.jpg")
    assert b"hdrgm:Version" not in (tmp_path / "b.jpg").read_bytes()
