"""What files say besides their samples: carried where it is still true and the format has a place for it."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from restore.images.extras import jpeg_extras, png_chunks, without_claims
from restore.images.photo import Photo, load_photo, save_photo

SCENE = (np.arange(40 * 50 * 3) % 251).astype(np.uint8).reshape(40, 50, 3)
IPTC = b"\x1c\x02\x05\x00\x05Title\x1c\x02P\x00\x06Author"


def resource(number: int, content: bytes) -> bytes:
    return b"8BIM" + struct.pack(">HHI", number, 0, len(content)) + content + bytes(len(content) % 2)


PHOTOSHOP = b"Photoshop 3.0\0" + resource(1028, IPTC)


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def edited(path: Path, goal: Path) -> Path:
    """The picture at `path` with one pixel changed, at `goal`."""
    photo = load_photo(path)
    mask = np.zeros(photo.pixels.shape[:2], np.bool_)
    mask[5, 5] = True
    save_photo(photo.with_pixels(255 - photo.pixels, mask), goal)
    return goal


@pytest.fixture
def png(tmp_path: Path) -> Path:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a cat\nSteps: 20, Seed: 5")
    info.add_text("Title", "Straße", zip=True)
    info.add_itxt("Description", "Größe – 大", "de", "Beschreibung", zip=True)
    info.add(b"gAMA", struct.pack(">I", 45455))
    info.add(b"cHRM", bytes(32))
    info.add(b"prVA", b"private, but not safe to copy")
    info.add(b"prVt", b"private and safe")
    Image.fromarray(SCENE).save(tmp_path / "a.png", pnginfo=info)
    return tmp_path / "a.png"


@pytest.fixture
def jpeg(tmp_path: Path) -> Path:
    extra = segment(0xED, PHOTOSHOP + resource(1036, b"an old thumbnail")) + segment(0xEC, b"Ducky\0\1")
    Image.fromarray(SCENE).save(tmp_path / "a.jpg", quality=90, extra=extra, comment="box 14, größer")
    return tmp_path / "a.jpg"


def chunks(path: Path) -> list[tuple[str, bytes]]:
    with path.open("rb") as file:
        return [c for c in png_chunks(file) if c[0] not in ("IHDR", "PLTE", "tRNS")]


@pytest.mark.parametrize("deep", [False, True])
def test_the_chunks_of_a_png_stay_as_they_are(png: Path, deep: bool, tmp_path: Path) -> None:
    if deep:
        photo = load_photo(png)
        wide = Photo(photo.pixels, photo.native.astype(np.uint16) * 257, "RGB", photo.meta)
        save_photo(wide, png, overwrite=True)
    before, after = chunks(png), chunks(edited(png, tmp_path / "b.png"))
    assert after == [c for c in before if c[0] != "prVA"]
    kinds = [kind for kind, _ in after]
    assert kinds.count("tEXt") == 1
    assert {"zTXt", "iTXt", "gAMA", "cHRM", "prVt"} <= set(kinds)
    with Image.open(tmp_path / "b.png") as image:
        assert image.text["parameters"] == "a cat\nSteps: 20, Seed: 5"  # type: ignore[attr-defined]


def test_the_segments_of_a_jpeg_stay_but_for_the_thumbnail(jpeg: Path, tmp_path: Path) -> None:
    with Image.open(edited(jpeg, tmp_path / "b.jpg")) as image:
        found = dict(image.applist)  # type: ignore[attr-defined]
    assert found["APP13"] == PHOTOSHOP
    assert found["APP12"] == b"Ducky\0\1"
    assert found["COM"].decode() == "box 14, größer"


def test_texts_become_comments_and_back(png: Path, jpeg: Path, tmp_path: Path) -> None:
    with Image.open(edited(png, tmp_path / "b.jpg")) as image:
        comments = [content.decode() for kind, content in image.applist if kind == "COM"]  # type: ignore[attr-defined]
    assert comments == ["parameters: a cat\nSteps: 20, Seed: 5", "Title: Straße", "Description: Größe – 大"]
    with pytest.warns(UserWarning, match="cannot hold APP12"), Image.open(edited(jpeg, tmp_path / "c.png")) as image:
        assert image.text["Comment"] == "box 14, größer"  # type: ignore[attr-defined]


def test_iptc_goes_through_every_format_that_has_a_place_for_it(jpeg: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="cannot hold APP12"):
        edited(jpeg, tmp_path / "1.png")
    edited(tmp_path / "1.png", tmp_path / "2.jpg")
    with pytest.warns(UserWarning, match="cannot hold comments"):
        edited(tmp_path / "2.jpg", tmp_path / "3.tif")
    with Image.open(tmp_path / "3.tif") as image:
        assert image.tag_v2[34377] == resource(1028, IPTC)  # type: ignore[attr-defined]
    edited(tmp_path / "3.tif", tmp_path / "4.tif")
    with Image.open(edited(tmp_path / "4.tif", tmp_path / "5.jpg")) as image:
        assert dict(image.applist)["APP13"] == PHOTOSHOP  # type: ignore[attr-defined]


def test_what_a_format_has_no_place_for_is_told(png: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="a WEBP cannot hold texts; left out"):
        edited(png, tmp_path / "b.webp")


def test_colours_of_another_space_are_not_claimed(png: Path, tmp_path: Path) -> None:
    photo = load_photo(png)
    save_photo(Photo(photo.pixels, np.zeros((4, 5, 4), np.uint8), "CMYK", photo.meta), tmp_path / "b.png")
    assert {kind for kind, _ in chunks(tmp_path / "b.png")} == {"tEXt", "zTXt", "iTXt", "prVt"}


GAIN_MAP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description hdrgm:Version="1.0" dc:format="image/jpeg">
<hdrgm:GainMapMax>2.5</hdrgm:GainMapMax><Container:Directory><rdf:Seq><rdf:li rdf:parseType="Resource"><Container:Item
Item:Mime="image/jpeg" Item:Semantic="GainMap" Item:Length="4097"/></rdf:li></rdf:Seq></Container:Directory>
</rdf:Description></rdf:RDF></x:xmpmeta>"""
MOTION = b"""<x:xmpmeta><rdf:Description GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion='1'
  GCamera:MicroVideoOffset="4321" xmp:CreatorTool="HDR+"/></x:xmpmeta>"""


@pytest.mark.parametrize(("xmp", "name"), [(GAIN_MAP, "an HDR gain map"), (MOTION, "a video")])
def test_claims_of_what_is_lost_go_with_it(xmp: bytes, name: str, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(SCENE).save(buffer, "JPEG", xmp=xmp, extra=segment(0xE2, b"MPF\0II*\0"))
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue() + b"the gain map or video")
    with pytest.warns(UserWarning, match=f"also holds {name}; only the picture"):
        edited(tmp_path / "a.jpg", tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as image:
        left = image.info["xmp"]
        assert all(kind != "APP2" for kind, _ in image.applist)  # type: ignore[attr-defined]
    assert not any(word in left for word in (b"hdrgm", b"GainMap", b"Container", b"MotionPhoto", b"MicroVideo"))
    assert b"dc:format" in left or b"CreatorTool" in left
    assert b"the gain map" not in (tmp_path / "b.jpg").read_bytes()


def test_other_xmp_is_left_alone() -> None:
    xmp = b'<rdf:Description dc:title="hdr" GCamera:BurstID="7" crs:Version="15"/>'
    assert without_claims(xmp) == (xmp, [])


def test_signed_credentials_are_told_and_dropped() -> None:
    kept, lost = jpeg_extras([("APP11", b"JP\0\1jumb"), ("APP11", b"something else"), ("COM", b"x")])
    assert kept == (("APP11", b"something else"), ("COM", b"x"))
    assert lost == ["content credentials"]


@pytest.mark.parametrize("broken", [b"8BIM", b"8BIM\4\4\xff\0\0\0\0\1", b"8BIM\4\4\0\0\xff\xff\xff\xff", b"what"])
def test_unreadable_photoshop_resources_are_carried_as_they_are(broken: bytes) -> None:
    content = b"Photoshop 3.0\0" + broken
    kept, _ = jpeg_extras([("APP13", content)])
    assert kept == (("APP13", content),)


@pytest.mark.parametrize("text", [b"a\0\0not zlib", b"a\0\0", b"a", b""])
def test_unreadable_texts_do_no_harm(text: bytes, tmp_path: Path) -> None:
    Image.fromarray(SCENE).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    (tmp_path / "a.png").write_bytes(content[:33] + chunk + content[33:])
    try:
        photo = load_photo(tmp_path / "a.png")
    except ValueError:  # Pillow's word on it
        return
    save_photo(photo, tmp_path / "b.jpg")
    assert (load_photo(tmp_path / "b.jpg").pixels.shape) == SCENE.shape
