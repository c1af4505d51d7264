"""HDR gain maps behind a JPEG (Ultra HDR 1.0; ISO 21496-1): how much brighter each place is on a screen that can.

A map is a small JPEG behind the picture. It is edited along: where the picture is repainted it goes on from around.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from restore.images import xmp
from restore.images.geometry import upright

ISO = b"urn:iso:std:iso:ts:21496"  # begins a segment that tells of a gain map
NAME = "an HDR gain map"

_ADOBE = "http://ns.adobe.com/hdr-gain-map/1.0/"
_GOOGLE = "http://ns.google.com/photos/1.0/container/"
_MPF = b"MPF\0MM\0*"
_STANDALONE = (*range(0xD0, 0xDA), 0x01)  # markers without a length: restarts, start and end of image


@dataclass(frozen=True, eq=False)
class GainMap:
    """pixels (h, w) or (h, w, 3) uint8, upright; packet, segments, icc: what the map's JPEG says; told: the segment by
    which the picture's JPEG tells of it besides XMP, b"" for none; tables: its quantisation."""

    pixels: NDArray[np.uint8]
    packet: bytes
    segments: tuple[bytes, ...]
    icc: bytes
    told: bytes
    tables: tuple[tuple[int, ...], ...]

    def closed(self, hole: NDArray[np.bool_]) -> GainMap:
        """The map for a picture that was repainted in `hole` (H, W): continued from around (Telea 2004)."""
        import cv2  # not needed to read photos

        height, width = self.pixels.shape[:2]
        part = cv2.resize(hole.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) > 0
        if not part.any() or part.all():
            return self
        wide = cv2.dilate(part.astype(np.uint8), np.ones((3, 3), np.uint8))  # a map is interpolated
        return replace(self, pixels=np.asarray(cv2.inpaint(self.pixels, wide, 3, cv2.INPAINT_TELEA), np.uint8))

    def encoded(self) -> bytes:
        """The map's JPEG."""
        file = io.BytesIO()
        extra = b"".join(segment(0xE2, content) for content in self.segments)
        tables = [list(table) for table in self.tables]
        image = Image.fromarray(self.pixels)
        image.save(file, "JPEG", qtables=tables, xmp=self.packet, icc_profile=self.icc or None, extra=extra)
        return file.getvalue()

    def claims(self, packet: bytes, length: int) -> bytes:
        """The picture's XMP, telling of a map of so many bytes. Raises ValueError where it cannot be read."""
        if b"hdrgm:" not in self.packet:
            return packet
        item = 'xmlns:Item="http://ns.google.com/photos/1.0/container/item/" Item:Mime="image/jpeg" Item:Semantic='
        entries = (f'{item}"Primary"', f'{item}"GainMap" Item:Length="{length}"')
        listed = "".join(f'<rdf:li rdf:parseType="Resource"><Container:Item {e}/></rdf:li>' for e in entries)
        inner = f'xmlns:hdrgm="{_ADOBE}" xmlns:Container="{_GOOGLE}" hdrgm:Version="1.0">'
        inner += f"<Container:Directory><rdf:Seq>{listed}</rdf:Seq></Container:Directory>"
        return xmp.described(packet, inner)


def gain_map(data: bytes, orientation: int) -> tuple[GainMap | None, bool]:
    """(the gain map in a JPEG file, whether there is anything else behind the picture)."""
    end = jpeg_end(data)
    start = data.find(b"\xff\xd8\xff", end, end + 4096)
    if start < 0:
        return None, bool(data[end:].strip(b"\0"))
    stop = jpeg_end(data, start)
    rest = bool(data[stop:].strip(b"\0"))
    try:
        with Image.open(io.BytesIO(data[start:stop]), formats=("JPEG",)) as image:
            if not isinstance(image, JpegImagePlugin.JpegImageFile) or image.mode not in ("L", "RGB"):
                return None, True
            packet = image.info.get("xmp", b"")
            segments = tuple(c for kind, c in image.applist if kind == "APP2" and c.startswith(ISO))
            if b"hdrgm:" not in packet and not segments:
                return None, True
            image.load()
            pixels = np.ascontiguousarray(upright(np.asarray(image), orientation))
            tables = tuple(tuple(table) for table in image.quantization.values())
            return GainMap(pixels, packet, segments, image.info.get("icc_profile") or b"", b"", tables), rest
    except Exception:  # on broken files Pillow's decoders raise almost anything
        return None, True


def jpeg_end(data: bytes, at: int = 0) -> int:
    """Where the JPEG that starts at `at` ends; the end of the data where it is cut short."""
    at += 2
    while at + 4 <= len(data):
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            break
        marker = data[at + 1]
        if marker == 0xD9:
            return at + 2
        if marker in (0x00, 0xFF) or marker in _STANDALONE:  # within the samples
            at += 1 + (marker != 0xFF)
            continue
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return len(data)


def segment(marker: int, content: bytes) -> bytes:
    """A segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def index() -> bytes:
    """The segment of a JPEG that tells of a second picture (CIPA DC-007, Multi-Picture Format), its numbers blank."""
    tags = struct.pack(">HHHI4s", 3, 0xB000, 7, 4, b"0100") + struct.pack(">HHII", 0xB001, 4, 1, 2)
    tags += struct.pack(">HHII", 0xB002, 7, 32, 50) + bytes(4)
    return segment(0xE2, _MPF + struct.pack(">I", 8) + tags + bytes(32))


def together(picture: bytes, second: bytes) -> bytes:
    """The file of a picture, which holds an `index`, and of a second one behind it."""
    at = picture.index(_MPF) + 4
    entries = struct.pack(">IIII", 0x00030000, len(picture), 0, 0) + struct.pack(
        ">IIII", 0, len(second), len(picture) - at, 0
    )
    return picture[: at + 50] + entries + picture[at + 82 :] + second
