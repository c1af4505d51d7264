"""What image files say besides samples, EXIF, XMP, profile and resolution: carried as it lies while it is true.

PNG: chunks (PNG specification, third edition, section 14.2: what an editor may copy). JPEG: application segments and
comments. What speaks of bytes that an edit loses (a gain map, a video, a second picture, signed credentials, previews)
goes with them.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import IO

Extra = tuple[
    str, bytes
]  # ("tEXt", content of the chunk) of a PNG, ("APP13" or "COM", content of the segment) of a JPEG

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Chunks that describe colours and place, besides those that say by their name that they may be copied.
_COLOURS = ("gAMA", "cHRM", "sRGB", "cICP", "mDCV", "cLLI")
_PLACE = ("sBIT", "bKGD", "oFFs", "sCAL", "pCAL", "sTER")
_REWRITTEN = ("pHYs", "eXIf", "iCCP", "tIME", "tRNS", "hIST", "acTL", "fcTL", "fdAT")
_PROFILES = (b"Raw profile type exif\0", b"Raw profile type APP1\0", b"XML:com.adobe.xmp\0")  # become eXIf and iTXt
_TEXTS = ("tEXt", "zTXt", "iTXt")
_PREVIEWS = (1033, 1036)  # Photoshop's resources that hold a thumbnail
_PHOTOSHOP = b"Photoshop 3.0\0"
_IPTC = b"Raw profile type iptc"  # keyword under which PNGs hold Photoshop's resources, as ImageMagick writes them
_SEGMENT = 65_533  # bytes of content in a JPEG's segment

# What the XMP of phones says of bytes behind or inside the file: attributes or elements of these names.
_CLAIMS = {
    "an HDR gain map": rb"hdrgm:\w+|HDRGainMap:\w+",
    "a video": rb"GCamera:(?:MotionPhoto|MicroVideo)\w*",
}
_DIRECTORY = rb"<Container:Directory\b.*?</Container:Directory>|<GContainer:Directory\b.*?</GContainer:Directory>"


def png_chunks(file: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    """Name and content of a PNG's chunks but the pixels, as far as they are whole."""
    file.seek(len(SIGNATURE))
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IDAT":
            file.seek(length + 4, 1)
            continue
        content = file.read(length)
        if len(content) < length or kind == b"IEND":
            return
        file.seek(4, 1)
        yield kind.decode("latin-1"), content


def png_extras(file: IO[bytes], channels: int) -> tuple[tuple[Extra, ...], list[str]]:
    """Chunks of a PNG to be carried into one of as many `channels`, and what had to be dropped."""
    kept: list[Extra] = []
    dropped = []
    for kind, content in png_chunks(file):
        fits = (kind != "sBIT" or len(content) == channels) and (kind != "bKGD" or len(content) == 2 * min(channels, 3))
        if kind in (*_COLOURS, *_PLACE):
            if fits:
                kept.append((kind, content))
        elif kind == "caBX":
            dropped.append("content credentials")
        elif kind[0].islower() and kind[3:].islower() and kind not in _REWRITTEN and not content.startswith(_PROFILES):
            kept.append((kind, content))
    return tuple(kept), dropped


def webp_chunks(file: IO[bytes]) -> list[str]:
    """Names of a WebP's chunks, as far as they are whole."""
    found, end = [], file.seek(0, 2)
    at = 12
    while at + 8 <= end:
        file.seek(at)
        kind, length = struct.unpack("<4sI", file.read(8))
        found.append(kind.decode("latin-1"))
        at += 8 + length + length % 2
    return found


def jpeg_extras(segments: Sequence[tuple[str, bytes]]) -> tuple[tuple[Extra, ...], list[str]]:
    """Segments (Pillow's `applist`) of a JPEG to be carried, and what had to be dropped."""
    kept: list[Extra] = []
    dropped = []
    for kind, content in segments:
        if kind == "APP2" and content.startswith(b"urn:iso:std:iso:ts:21496"):
            dropped.append("an HDR gain map")
        elif kind == "APP11" and content.startswith(b"JP"):
            dropped.append("content credentials")
        elif kind == "APP13" and content.startswith(_PHOTOSHOP):
            kept.append((kind, _without_previews(content)))
        elif kind not in ("APP0", "APP14") and not content.startswith(
            (b"Exif\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0", b"MPF\0")
        ):
            kept.append((kind, content))
    return tuple(kept), dropped


def _without_previews(photoshop: bytes) -> bytes:
    """Image resources (Adobe Photoshop file formats specification) less thumbnails; as they are where unreadable."""
    out, at = [_PHOTOSHOP], len(_PHOTOSHOP)
    while photoshop[at : at + 4] == b"8BIM" and at + 12 <= len(photoshop):
        number, name = struct.unpack_from(">HB", photoshop, at + 4)
        start = at + 6 + (name + 2) // 2 * 2
        if start + 4 > len(photoshop):
            return photoshop
        (length,) = struct.unpack_from(">I", photoshop, start)
        end = start + 4 + length + length % 2
        if number not in _PREVIEWS:
            out.append(photoshop[at:end])
        at = end
    return b"".join(out) if at >= len(photoshop) else photoshop


def without_claims(xmp: bytes) -> tuple[bytes, list[str]]:
    """XMP less what it says of a gain map, a video and other parts of the file that an edit loses; and their names."""
    found = []
    for name, claim in _CLAIMS.items():
        attributes = rb"\s+(?:" + claim + rb')\s*=\s*(?:"[^"]*"|\'[^\']*\')'
        elements = rb"<(" + claim + rb")\b[^>]*(?:/>|>.*?</\1>)"
        changed = re.sub(elements, b"", re.sub(attributes, b"", xmp), flags=re.DOTALL)
        if changed != xmp:
            found.append(name)
            xmp = changed
    return re.sub(_DIRECTORY, b"", xmp, flags=re.DOTALL), found


def for_png(extras: Sequence[Extra], *, same_colours: bool) -> tuple[list[Extra], list[str]]:
    """(chunks, what a PNG cannot hold). Colour chunks go with the colour space they describe."""
    chunks, lost = [], []
    for kind, content in extras:
        if kind == "COM":
            text = content.decode("utf-8", "replace")
            chunks.append(("iTXt", b"Comment\0\0\0\0\0" + text.encode()))
        elif kind == "APP13" and content.startswith(_PHOTOSHOP):
            resources = content[len(_PHOTOSHOP) :]
            text = f"\niptc\n{len(resources):8}\n{resources.hex()}\n"
            chunks.append(("zTXt", _IPTC + b"\0\0" + zlib.compress(text.encode())))
        elif kind.startswith("APP"):
            lost.append(kind)
        elif same_colours or kind not in (*_COLOURS, *_PLACE):
            chunks.append((kind, content))
    return chunks, lost


def for_jpeg(extras: Sequence[Extra]) -> tuple[bytes, list[str]]:
    """(segments, what a JPEG cannot hold). Texts of a PNG become comments, "keyword: text"."""
    out, lost = [], []
    for kind, content in extras:
        if kind in _TEXTS:
            keyword, text = _png_text(kind, content)
            kind, content = _segment(keyword, text)
        elif kind != "COM" and not kind.startswith("APP"):
            continue
        if len(content) > _SEGMENT:
            lost.append("a text too long for it")
            continue
        marker = 0xFE if kind == "COM" else 0xE0 + int(kind[3:])
        out.append(struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content)
    return b"".join(out), lost


def _segment(keyword: bytes, text: bytes) -> Extra:
    """A text of a PNG as a segment of a JPEG."""
    if keyword == _IPTC:
        try:
            return "APP13", _PHOTOSHOP + bytes.fromhex("".join(text.decode("latin-1").split()[2:]))
        except ValueError:
            pass
    return "COM", text if keyword == b"Comment" else keyword + b": " + text


def photoshop(resources: bytes) -> Extra:
    """Tag 34377 of a TIFF, as a JPEG would hold it."""
    return "APP13", _without_previews(_PHOTOSHOP + resources)


def for_tiff(extras: Sequence[Extra]) -> tuple[bytes, list[str]]:
    """(content of tag 34377, what a TIFF cannot hold)."""
    resources = [content[len(_PHOTOSHOP) :] for kind, content in extras if kind == "APP13"]
    return b"".join(resources), names([extra for extra in extras if extra[0] != "APP13"])


def names(extras: Sequence[Extra]) -> list[str]:
    """What a format without any place for them loses, as people call it."""
    called = {"COM": "comments", "APP13": "IPTC"} | dict.fromkeys(_TEXTS, "texts")
    return sorted({called[kind] for kind, _ in extras if kind in called})


def _png_text(kind: str, content: bytes) -> tuple[bytes, bytes]:
    """(keyword, text in UTF-8) of a text chunk; an unreadable one has no text."""
    keyword, _, rest = content.partition(b"\0")
    try:
        if kind == "tEXt":
            return keyword, rest.decode("latin-1").encode()
        if kind == "zTXt":
            return keyword, zlib.decompressobj().decompress(rest[1:], 1 << 20).decode("latin-1").encode()
        packed, (_, _, text) = rest[0], rest[2:].split(b"\0", 2)
        return keyword, zlib.decompressobj().decompress(text, 1 << 20) if packed else text
    except (zlib.error, ValueError, IndexError):
        return keyword, b""
