"""PNGs too large to be decoded whole, read a few rows at a time (PNG specification, third edition)."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from PIL import PngImagePlugin

from restore.errors import InputError
from restore.images import limits
from restore.images.encode import write_chunk
from restore.images.extras import SIGNATURE

# Of (colour type, bits): bytes in a pixel, which filters need, and the colour type of as many 8-bit samples.
_PIXELS = {(0, 1): (1, 0), (0, 8): (1, 0), (0, 16): (2, 4), (2, 8): (3, 2)}

Bright = np.ndarray[Any, np.dtype[np.bool_]]


def png_size(file: IO[bytes]) -> tuple[int, int]:
    """(W, H) of a PNG file; (0, 0) if it is none."""
    file.seek(0)
    head = file.read(24)
    if head[:8] != SIGNATURE or len(head) < 24:
        return 0, 0
    width, height = struct.unpack(">II", head[16:])
    return width, height


def bright_rows(file: IO[bytes], name: str) -> Iterator[Bright]:
    """Bands (h, W) of a grey or RGB PNG: where the brightest colour reaches half the range.

    Raises InputError for other kinds and damaged files.
    """
    file.seek(16)
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", file.read(13))
    size, shown = _PIXELS.get((colour, bits), (0, 0))
    if not size or interlaced:
        found = "an interlaced one" if interlaced else f"{bits} bits of PNG colour type {colour}"
        raise InputError(f"{name}: expected so large a mask in grey or RGB without transparency, got {found}")
    length = -(-width * bits // 8) if bits == 1 else width * size
    above, rows = bytes(length), max(1, limits.BATCH // (length + 1))
    left = height
    for data in _inflated(file, rows * (length + 1), name):
        count = min(left, len(data) // (length + 1))
        if not count:
            break
        decoded = _unfiltered(above, data[: count * (length + 1)], (length // size, count + 1), shown)[1:]
        left, above = left - count, decoded[-1:].tobytes()
        if bits == 1:
            yield np.unpackbits(decoded, axis=1, count=width).astype(np.bool_)
        else:  # of 16 bits the first byte tells
            yield np.asarray((decoded.reshape(count, width, size)[..., :: bits // 8] > 127).any(axis=2))
    if left:
        raise InputError(f"{name}: expected a whole PNG image, got a damaged file ({left} of its rows are not there)")


def _inflated(file: IO[bytes], size: int, name: str) -> Iterator[bytes]:
    """The image data in pieces of `size` bytes, the last one shorter."""
    file.seek(8)
    inflater, waiting = zlib.decompressobj(), b""
    try:
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind != b"IDAT":
                file.seek(length + 4, io.SEEK_CUR)
                continue
            coded = file.read(length)
            file.seek(4, io.SEEK_CUR)
            while coded:
                waiting += inflater.decompress(coded, size - len(waiting))
                coded = inflater.unconsumed_tail
                if len(waiting) == size:
                    yield waiting
                    waiting = b""
    except zlib.error as error:
        raise InputError(f"{name}: expected a whole PNG image, got a damaged file ({error})") from error
    if waiting:
        yield waiting


def _unfiltered(above: bytes, data: bytes, size: tuple[int, int], colour: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Bytes (h, bytes in a row) of filtered rows below the row `above`: Pillow decodes them as a small PNG."""
    width, height = size
    file = io.BytesIO()
    file.write(SIGNATURE)
    rows = b"\0" + above + data
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    for kind, content in ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b"")):
        write_chunk(file, kind, content)
    file.seek(0)
    with PngImagePlugin.PngImageFile(file) as image:
        image.load()
        return np.asarray(image).reshape(height, -1)
