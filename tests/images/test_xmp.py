"""XMP: told of an edit and nothing else touched, as an XML parser reads it and as exiftool does."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from restore.images import xmp
from restore.images.decode import Metadata
from restore.images.photo import Photo, load_photo, save_photo
from restore.images.xmp import EVENT, IPTC, MEDIA, MOST, RDF, SOURCE_TYPES, Mark

MARK = Mark("compositeWithTrainedAlgorithmicMedia", 'inpaint; model <builtin> & "größer"', "restore 0.1.0")
EXIFTOOL = shutil.which("exiftool")
HEAD = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}">'
TAIL = "</rdf:RDF></x:xmpmeta>"


def packet(inner: str) -> bytes:
    begin = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    return f"{begin}{HEAD}{inner}{TAIL}{' ' * 400}\n<?xpacket end='w'?>".encode()


DC, PS = "http://purl.org/dc/elements/1.1/", "http://ns.adobe.com/photoshop/1.0/"
ATTRIBUTES = f"""<rdf:Description rdf:about="uuid:1" xmlns:p='{PS}' xmlns:ext="{IPTC}"
  p:Instructions="line 1&#xA;line 2 &gt; &lt;" ext:DigitalSourceType='{SOURCE_TYPES}digitalCapture'/>"""
ELEMENTS = f"""<rdf:Description
 rdf:about="" xmlns:dc="{DC}" xmlns:xmpMM="{MEDIA}" xmlns:stEvt="{EVENT}" xmlns:i="{IPTC}">
 <!-- a comment > here --><dc:title><rdf:Alt><rdf:li xml:lang="x-default">Größe</rdf:li></rdf:Alt></dc:title>
 <i:DigitalSourceType>{SOURCE_TYPES}digitalCapture</i:DigitalSourceType>
 <xmpMM:History><rdf:Seq><rdf:li rdf:parseType="Resource"><stEvt:action>created</stEvt:action></rdf:li></rdf:Seq>
 </xmpMM:History></rdf:Description>"""
OTHER_PREFIX = (
    f'<r:RDF xmlns:r="{RDF}"><r:Description r:about="" xmlns:dc="{DC}"><dc:x>1</dc:x></r:Description></r:RDF>'
)
RESOURCE = (
    f'<rdf:Description rdf:about="" xmlns:i="{IPTC}"><i:DigitalSourceType rdf:resource="{SOURCE_TYPES}digitalArt"/>'
)
PACKETS = {
    "none": b"",
    "attributes": packet(ATTRIBUTES),
    "elements": packet(ELEMENTS),
    "both": packet(ATTRIBUTES + ELEMENTS),
    "other prefix": OTHER_PREFIX.encode(),
    "resource": packet(RESOURCE + "</rdf:Description>"),
    "empty history": packet(f'<rdf:Description xmlns:m="{MEDIA}"><m:History><rdf:Seq/></m:History></rdf:Description>'),
    "utf-16": packet(ELEMENTS).decode().encode("utf-16"),
    "padded by NULs": packet(ELEMENTS) + bytes(9),
}


def properties(data: bytes) -> dict[str, list[str]]:
    """Every property but the two that are written, by name, each value as canonical XML."""
    root = ElementTree.fromstring(xmp.utf8(data).rstrip(b"\0"))
    found: dict[str, list[str]] = {}
    for description in root.iter(f"{{{RDF}}}Description"):
        for name, value in description.attrib.items():
            found.setdefault(name, []).append(value)
        for child in description:
            child.tail = None
            found.setdefault(child.tag, []).append(ElementTree.canonicalize(ElementTree.tostring(child)))
    for name in (f"{{{RDF}}}about", f"{{{IPTC}}}DigitalSourceType", f"{{{MEDIA}}}History"):
        found.pop(name, None)
    return found


@pytest.mark.parametrize("name", PACKETS)
def test_an_edit_is_told_of_and_nothing_else_is_touched(name: str) -> None:
    before = PACKETS[name]
    after = xmp.marked(before, MARK)
    assert xmp.source_type_of(after) == MARK.source_type
    assert properties(after) == (properties(before) if before else {})
    twice = xmp.marked(after, Mark("algorithmicallyEnhanced", "enhance dejpeg", "restore 0.1.0"))
    assert xmp.source_type_of(twice) == MARK.source_type  # what a machine made stays so
    told = [entry["action"] for entry in xmp.history_of(twice)]
    assert told == ["created"] * (b"created" in xmp.utf8(before)) + ["edited", "edited"]
    last, one = xmp.history_of(twice)[-1], xmp.history_of(twice)[-2]
    assert (last["parameters"], one["parameters"]) == ("enhance dejpeg", MARK.done)
    assert twice.count(b"DigitalSourceType>") == 2


def test_the_bytes_around_it_stay() -> None:
    at = OTHER_PREFIX.index("</r:RDF>")
    after = xmp.marked(OTHER_PREFIX.encode(), MARK)
    assert after.startswith(OTHER_PREFIX[:at].encode())
    assert after.endswith(OTHER_PREFIX[at:].encode())


@pytest.mark.parametrize(
    ("before", "now", "right"),
    [
        ("digitalCapture", "algorithmicallyEnhanced", "algorithmicallyEnhanced"),
        ("digitalCapture", "compositeWithTrainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"),
        ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", "trainedAlgorithmicMedia"),
        ("trainedAlgorithmicMedia", "algorithmicallyEnhanced", "trainedAlgorithmicMedia"),
        ("compositeSynthetic", "algorithmicallyEnhanced", "compositeSynthetic"),
        ("algorithmicallyEnhanced", "compositeWithTrainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"),
    ],
)
def test_an_edit_never_takes_back_what_a_machine_made(before: str, now: str, right: str) -> None:
    first = xmp.marked(b"", Mark(before, "a", "b"))
    assert xmp.source_type_of(xmp.marked(first, Mark(now, "c", "d"))) == right


@pytest.mark.parametrize(
    "broken",
    [b"<x/>", b"text", b"<rdf:RDF/>", b"\xff\xfe<", packet("<rdf:Description>"),
     packet("").replace(b"></rdf:RDF>", b"/>"),
     b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + packet("&b;")[40:], b"<a>" * 5000, bytes(50)],
)  # fmt: skip
def test_what_is_no_xmp_is_an_error_and_nothing_else(broken: bytes) -> None:
    for call in (
        lambda: xmp.marked(broken, MARK),
        lambda: xmp.joined(broken, [b"x"]),
        lambda: xmp.source_type_of(broken),
    ):
        with pytest.raises(ValueError, match=r".+"):
            call()


@given(st.binary(max_size=30), st.integers(0, 700), st.integers(0, 700))
def test_damage_is_an_error_or_still_xmp(junk: bytes, at: int, length: int) -> None:
    data = PACKETS["elements"]
    data = data[:at] + junk + data[at + length :]
    try:
        after = xmp.marked(data, MARK)
    except ValueError:
        return
    assert xmp.history_of(after)[-1]["parameters"] == MARK.done


def large(count: int, length: int) -> bytes:
    texts = "".join(f"<dc:t{i}>{chr(65 + i % 26) * length}</dc:t{i}>" for i in range(count))
    also = f' p:Small="1" p:Large="{"y" * length}"'
    return packet(f'<rdf:Description rdf:about="" xmlns:dc="{DC}" xmlns:p="{PS}"{also}>{texts}</rdf:Description>')


@pytest.mark.parametrize(("count", "length"), [(1, 30_000), (1, 40_000), (7, 10_000), (2000, 100), (3, 90_000)])
def test_long_packets_are_taken_apart_and_put_together(count: int, length: int) -> None:
    whole = large(count, length)
    first, rest = xmp.split(whole)
    assert len(first) <= MOST
    assert (rest == []) == (len(whole) <= MOST)
    assert all(len(xmp.STANDARD) < len(part) < 65_533 for part in rest)
    if rest:
        assert properties(xmp.joined(first, rest[::-1])) == properties(whole)
        for wrong in (rest[1:], [rest[0][:-1]], [rest[0].replace(b"\0", b"\1", 2)]):
            with pytest.raises(ValueError, match=r".+"):
                xmp.joined(first, wrong)


def as_exiftool_reads(path: Path) -> dict[str, str]:
    run = subprocess.run([str(EXIFTOOL), "-j", "-G1", "-struct", str(path)], capture_output=True, check=True)
    found: dict[str, object] = json.loads(run.stdout)[0]
    return {k: str(v) for k, v in found.items() if k.startswith(("XMP", "ICC", "IFD0", "ExifIFD")) and "Strip" not in k}


@pytest.mark.skipif(EXIFTOOL is None, reason="needs exiftool")
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("name", ["none", "elements", "both", "70 kB"])
def test_exiftool_reads_the_mark_and_every_earlier_tag(suffix: str, name: str, tmp_path: Path) -> None:
    from PIL import ImageCms

    data = large(7, 10_000) if name == "70 kB" else PACKETS[name]
    exif = Image.Exif()
    exif[0x010E], exif[0x8769] = "what it shows", {0x9003: "2024:01:02 03:04:05"}
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = np.full((16, 16, 3), 99, np.uint8)
    plain = Photo(pixels, pixels, "RGB", Metadata(exif=exif.tobytes(), icc=icc, xmp=data))
    save_photo(plain, tmp_path / f"a{suffix}")
    photo = load_photo(tmp_path / f"a{suffix}")
    assert properties(photo.meta.xmp or packet("")) == properties(data or packet(""))
    save_photo(photo.marked(MARK), tmp_path / f"b{suffix}")
    before, after = (as_exiftool_reads(tmp_path / f"{n}{suffix}") for n in "ab")
    assert after.pop("XMP-iptcExt:DigitalSourceType") == SOURCE_TYPES + MARK.source_type
    history = after.pop("XMP-xmpMM:History")
    assert str({"Parameters": MARK.done})[1:-1] in history
    before.pop("XMP-xmpMM:History", None)
    before.pop("XMP-iptcExt:DigitalSourceType", None)
    before.pop("XMP-xmpNote:HasExtendedXMP", None)
    assert before.items() <= after.items()
    assert not [key for key in after.keys() - before.keys() if key.startswith("XMP") and "Extended" not in key]
    np.testing.assert_array_equal(load_photo(tmp_path / f"b{suffix}").native, photo.native)


def test_a_packet_of_a_jpeg_in_pieces_goes_whole_into_a_png(tmp_path: Path) -> None:
    whole = large(7, 10_000)
    pixels = np.full((16, 16, 3), 99, np.uint8)
    save_photo(Photo(pixels, pixels, "RGB", Metadata(xmp=whole)), tmp_path / "a.jpg")
    save_photo(load_photo(tmp_path / "a.jpg"), tmp_path / "b.png")  # no warning: nothing is left out
    assert properties(load_photo(tmp_path / "b.png").meta.xmp) == properties(whole)


def test_a_part_that_is_lost_is_carried_as_it_lies(tmp_path: Path) -> None:
    first, rest = xmp.split(large(9, 20_000))
    buffer = io.BytesIO()
    extra = b"".join(b"\xff\xe1" + (len(r) + 2).to_bytes(2, "big") + r for r in rest[1:])
    Image.new("RGB", (16, 16)).save(buffer, "JPEG", xmp=first, extra=extra)
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    photo = load_photo(tmp_path / "a.jpg")
    assert photo.meta.xmp == first
    assert [content for _, content in photo.meta.extras] == rest[1:]


def test_packets_that_cannot_be_read_stay_and_it_is_told() -> None:
    pixels = np.full((16, 16, 3), 99, np.uint8)
    photo = Photo(pixels, pixels, "RGB", Metadata(xmp=b"<not XMP"))
    with pytest.warns(UserWarning, match="cannot be read"):
        assert photo.marked(MARK).meta.xmp == b"<not XMP"
