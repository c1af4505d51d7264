"""Arrays to image files: JPEG, PNG, WebP, TIFF and BMP, with nothing lost that the format can hold.

Pillow writes neither 16-bit colour nor BMP with transparency, so these are written here, and every TIFF is
(PNG specification, third edition; TIFF 6.0; BITMAPV4HEADER).
"""

from __future__ import annotations

import io
import struct
import sys
import threading
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import IO, Any, Literal

import numpy as np
from PIL import Image, ImageFile, PngImagePlugin, TiffImagePlugin, TiffTags

from restore.errors import InputError
from restore.images import xmp
from restore.images.decode import CHANNELS, Metadata
from restore.images.extras import Extra, for_jpeg, for_png, for_tiff, names
from restore.images.frames import replace_page, sequence
from restore.images.gain import NAME as GAIN_MAP
from restore.images.gain import index, segment, together

_LONGEST = {"JPEG": 65_500, "WEBP": 16_383}  # pixels of a side; of the others more than fits into memory
_JPEG_SEGMENT = 65_000  # bytes an EXIF segment can hold, less its header
_ZLIB_LEVEL = 4  # a third of the default's time for a twelfth more bytes
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_BUFFER = threading.Lock()
_PNG_HEAD = 33  # bytes of a PNG's signature and header


def encode(
    native: np.ndarray,
    mode: str,
    meta: Metadata,
    target: str,
    file: IO[bytes],
    name: str,
    quality: int | None = None,
) -> None:
    """Write upright samples as `target` (a value of `SUFFIXES`); quality: 1 to 100 of a JPEG or lossy WebP.

    Depth, greys and inks the format lacks are converted; JPEG drops alpha only where it is opaque throughout. Without
    a quality JPEG from JPEG keeps the quantisation tables, and WebP is lossless unless the source was lossy. Texts and
    the like without a place in the format are left out, with a warning. A frame or page goes back among the others of
    its file where that is of the format `target`; `file`, empty, must then be readable too.
    Raises InputError as `check_fit` does.
    """
    check_fit(native, mode, (native.shape[1], native.shape[0]), target, name)
    fitted, kept = fit(native, mode, target)
    same_colours = (kept in ("RGB", "RGBA")) == (mode in ("RGB", "RGBA")) and (kept == "CMYK") == (mode == "CMYK")
    if not same_colours:
        meta = replace(meta, icc=b"")  # a profile of another colour space would mislead
    if target == "PNG":
        chunks, lost = for_png(meta.extras, same_colours=same_colours)
        _write_png(file, fitted, kept, meta, chunks, name)
    elif target == "JPEG":
        segments, lost = for_jpeg(meta.extras)
        lost += ["EXIF of more than 64 kB"] * (len(meta.exif) >= _JPEG_SEGMENT)
        _write_jpeg(file, pillow_image(fitted, kept), meta, segments, lost, quality)
    elif target == "TIFF":
        lost = for_tiff(meta.extras)[1]
        if meta.whole is not None and meta.format == "TIFF":
            replace_page(meta.whole, meta.frame, file, partial(_write_tiff, native=fitted, mode=kept, meta=meta), name)
        else:
            _write_tiff(file, b"II", False, fitted, kept, meta)
    else:
        lost = names(meta.extras)
        if target == "BMP" and kept == "RGBA":
            _write_bmp32(file, fitted, meta)
        else:
            image, more = _among_others(pillow_image(fitted, kept), meta, target, name)
            file.write(_coded(image, target, **_options(meta, target, quality) | more))
    if meta.gain is not None and target != "JPEG":
        lost = [*lost, GAIN_MAP]
    if lost:
        warnings.warn(f"{name}: a {target} cannot hold {', '.join(sorted(set(lost)))}; left out", stacklevel=3)


def _write_jpeg(
    file: IO[bytes], image: Image.Image, meta: Metadata, segments: bytes, lost: list[str], quality: int | None
) -> None:
    """A JPEG with `segments`, the photo's gain map behind it; names what it cannot hold to `lost`."""
    packet, second = meta.xmp, b""
    if meta.gain is not None:
        second = meta.gain.encoded()
        try:
            packet = meta.gain.claims(packet, len(second))
        except ValueError:
            second = b""
            lost.append(GAIN_MAP)
    packets, unfit = _xmp_segments(packet)
    lost += unfit
    if second and meta.gain is not None:
        told = segment(0xE2, meta.gain.told) if meta.gain.told else b""
        segments += told + index()
    coded = _coded(image, "JPEG", extra=packets + segments, **_options(replace(meta, xmp=b""), "JPEG", quality))
    file.write(together(bytes(coded), second) if second else coded)


def _xmp_segments(packet: bytes) -> tuple[bytes, list[str]]:
    """(segments of a JPEG that hold the packet, what is lost)."""
    try:
        first, rest = xmp.split(packet)
    except ValueError:
        return b"", ["XMP of more than 64 kB that cannot be read"]
    return for_jpeg([("APP1", content) for content in ([xmp.STANDARD + first] if first else []) + rest])


def _among_others(image: Image.Image, meta: Metadata, target: str, name: str) -> tuple[Image.Image, dict[str, Any]]:
    """What to write as `target`, and with which options: of an animation in that format all frames, without loss."""
    if meta.whole is None or meta.format != target:
        return image, {}
    first, options = sequence(meta.whole, meta.frame, image, name)
    # Of what is lossless "quality" is the effort: 100 takes minutes.
    return first, options | ({"lossless": True, "quality": 10, "method": 0} if target == "WEBP" else {})


def check_fit(native: np.ndarray, mode: str, size: tuple[int, int], target: str, name: str) -> None:
    """Raise InputError where `target` holds no picture of `size` (W, H), or not the transparency of these samples."""
    longest = _LONGEST.get(target, max(size))
    if max(size) > longest:
        found = f"{size[0]}×{size[1]}; use .png or .tif"
        raise InputError(f"{name}: expected sides of at most {longest} pixels for {target}, got {found}")
    if target == "JPEG" and mode in ("LA", "RGBA") and not _opaque(native):
        raise InputError(f"{name}: expected a format that keeps transparency, got JPEG; use .png or .webp")


def _opaque(native: np.ndarray) -> bool:
    return bool((native[..., -1] == np.iinfo(native.dtype).max).all())


def fit(native: np.ndarray, mode: str, target: str) -> tuple[np.ndarray, str]:
    """Samples and mode that `target` can hold."""
    deep = native.dtype == np.uint16
    if deep and (target not in ("PNG", "TIFF") or (mode == "CMYK" and target == "PNG")):
        native, deep = high_byte(native), False
    if mode in ("LA", "RGBA") and target in ("JPEG", "BMP") and _opaque(native):
        native, mode = (native[..., 0], "L") if mode == "LA" else (native[..., :3], "RGB")
    if mode == "CMYK" and target not in ("JPEG", "TIFF"):
        return np.asarray(pillow_image(native, mode).convert("RGB")), "RGB"
    if mode == "1" and target in ("JPEG", "WEBP"):
        native, mode = native.astype(np.uint8) * np.uint8(255), "L"
    if mode == "L" and target == "WEBP":
        return np.repeat(native[..., None], 3, axis=2), "RGB"
    # 16-bit grey with alpha is a TIFF that Pillow, and so most of Python, cannot read.
    if mode == "LA" and (target in ("WEBP", "BMP") or (target == "TIFF" and deep)):
        return native[..., [0, 0, 0, 1]], "RGBA"
    return native, mode


def high_byte(deep: np.ndarray) -> np.ndarray:
    """uint8 of the same shape: the upper half of 16-bit samples."""
    high = np.empty(deep.shape, np.uint8)
    np.right_shift(deep, 8, out=high, casting="unsafe")
    return high


def pillow_image(native: np.ndarray, mode: str) -> Image.Image:
    """Pillow image of 8-bit or 1-bit samples, or of 16-bit greys."""
    height, width = native.shape[:2]
    if native.dtype == np.uint16:
        return Image.fromarray(native)
    if mode == "1":
        return Image.fromarray(native)
    return Image.frombuffer(mode, (width, height), np.ascontiguousarray(native), "raw", mode, 0, 1)


def _options(meta: Metadata, target: str, quality: int | None = None) -> dict[str, Any]:
    """What Pillow's writer of `target` has to know."""
    if target == "BMP":
        return {"dpi": meta.dpi} if meta.dpi else {}
    options: dict[str, Any] = {"icc_profile": meta.icc or None}
    longest = _JPEG_SEGMENT if target == "JPEG" else sys.maxsize
    if 0 < len(meta.exif) < longest:
        options["exif"] = meta.exif
    if meta.dpi and target != "WEBP":
        options["dpi"] = meta.dpi
    if target == "PNG":
        options |= {"pnginfo": _png_text(meta.xmp), "compress_level": _ZLIB_LEVEL}
    elif meta.xmp:
        options["xmp"] = meta.xmp
    if target == "WEBP":
        lossy, lossless = {"quality": quality or 95}, {"lossless": True, "exact": True, "method": 0}
        options |= lossy if meta.lossy or quality is not None else lossless
    if target == "JPEG":
        options |= {"optimize": True, "progressive": meta.progressive}
        if meta.quantisation and quality is None:
            options |= {"qtables": [list(t) for t in meta.quantisation], "subsampling": meta.subsampling}
        else:
            options |= {"quality": quality or 95, "subsampling": 0}
    return options


def _png_text(xmp: bytes) -> PngImagePlugin.PngInfo:
    text = PngImagePlugin.PngInfo()
    if xmp:
        text.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
    return text


def _coded(image: Image.Image, target: str, **options: Any) -> memoryview:
    """What Pillow makes of an image.

    Into memory: Pillow takes a write that a full disk cuts short for done. Its buffer has to hold the whole of a JPEG,
    and its own guess is too small for noise.
    """
    file = io.BytesIO()
    with _BUFFER:
        before = ImageFile.MAXBLOCK
        ImageFile.MAXBLOCK = max(before, 2 * image.width * image.height * len(image.getbands()) + 2**20)
        try:
            image.save(file, format=target, **options)
        finally:
            ImageFile.MAXBLOCK = before
    return file.getbuffer()


def _write_png(file: IO[bytes], native: np.ndarray, mode: str, meta: Metadata, chunks: list[Extra], name: str) -> None:
    """A PNG with `chunks` behind its header."""
    if native.dtype == np.uint16:
        _write_png16(file, native, mode, meta, chunks)
        return
    image, more = _among_others(pillow_image(native, mode), meta, "PNG", name)
    content = _coded(image, "PNG", **_options(meta, "PNG") | more)
    file.write(content[:_PNG_HEAD])
    _write_chunks(file, chunks)
    file.write(content[_PNG_HEAD:])


def _write_chunks(file: IO[bytes], chunks: list[Extra]) -> None:
    for kind, content in chunks:
        write_chunk(file, kind.encode("latin-1"), content)


def _write_png16(file: IO[bytes], native: np.ndarray, mode: str, meta: Metadata, chunks: list[Extra]) -> None:
    """16-bit PNG, every row filtered by the one above it (filter type 2, PNG specification section 9)."""
    height, width = native.shape[:2]
    colour_type = {"L": 0, "RGB": 2, "LA": 4, "RGBA": 6}[mode]
    file.write(b"\x89PNG\r\n\x1a\n")
    write_chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))
    _write_chunks(file, chunks)
    if meta.icc:
        write_chunk(file, b"iCCP", b"ICC profile\0\0" + zlib.compress(meta.icc))
    if meta.dpi:
        per_metre = (round(v / 0.0254) for v in meta.dpi)
        write_chunk(file, b"pHYs", struct.pack(">IIB", *per_metre, 1))
    if meta.exif:
        write_chunk(file, b"eXIf", meta.exif.removeprefix(b"Exif\0\0"))
    if meta.xmp:
        write_chunk(file, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + meta.xmp)
    packer = zlib.compressobj(_ZLIB_LEVEL)
    above = np.zeros((1, width * CHANNELS[mode] * 2), np.uint8)
    for rows in _bands(native, 1 << 20):
        raw = np.ascontiguousarray(rows, ">u2").reshape(len(rows), -1).view(np.uint8)
        filtered = np.full((len(raw), raw.shape[1] + 1), 2, np.uint8)
        np.subtract(raw, np.concatenate([above, raw[:-1]]), out=filtered[:, 1:])
        above = raw[-1:]
        if packed := packer.compress(filtered.tobytes()):
            write_chunk(file, b"IDAT", packed)
    write_chunk(file, b"IDAT", packer.flush())
    write_chunk(file, b"IEND", b"")


def write_chunk(file: IO[bytes], kind: bytes, data: bytes) -> None:
    """One chunk of a PNG."""
    file.write(struct.pack(">I", len(data)) + kind)
    file.write(data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))


def _write_tiff(file: IO[bytes], order: bytes, big: bool, native: np.ndarray, mode: str, meta: Metadata) -> None:
    """TIFF or BigTIFF of byte order b"II" or b"MM", or one more page behind what `file` holds: 1, 8 or 16 bits,
    uncompressed if the source was, else Deflate with predictor."""
    height, width = native.shape[:2]
    channels, bits = CHANNELS[mode], 1 if mode == "1" else 8 * native.dtype.itemsize
    predict = bits > 1 and not meta.uncompressed
    bands = list(_bands(native, 1 << 18))
    strips = [_strip(rows, predict, "<" if order == b"II" else ">") for rows in bands]
    if not meta.uncompressed:
        strips = [zlib.compress(strip, _ZLIB_LEVEL) for strip in strips]
    lengths = [len(strip) for strip in strips]
    directory = tiff_directory(meta, order, big=big)
    layout: dict[int, Any] = {
        256: width,
        257: height,
        258: (bits,) * channels,
        259: 1 if meta.uncompressed else 8,  # Compression: none or Adobe Deflate
        262: {"RGB": 2, "RGBA": 2, "CMYK": 5}.get(mode, 1),  # PhotometricInterpretation; 1: black is zero
        273: tuple(np.cumsum([0, *lengths[:-1]]).tolist()),  # StripOffsets, made absolute on saving
        277: channels,
        278: len(bands[0]),  # RowsPerStrip
        279: tuple(lengths),  # StripByteCounts
        284: 1,  # PlanarConfiguration: interleaved
    }
    if predict:
        layout[317] = 2
    if mode in ("LA", "RGBA"):
        layout[338] = 2  # ExtraSamples: unassociated alpha
    for tag, value in layout.items():
        directory[tag] = value
    directory.save(file)
    file.writelines(strips)


def tiff_directory(meta: Metadata, order: bytes = b"II", *, big: bool = False) -> TiffImagePlugin.ImageFileDirectory_v2:
    """The tags that do not depend on the samples, for a TIFF or BigTIFF of byte order b"II" or b"MM"."""
    header = b"II\x2b\0" + bytes(12) if big else b"II\x2a\0" + bytes(4)
    directory = TiffImagePlugin.ImageFileDirectory_v2(header, prefix=order)
    directory.tagtype[273] = directory.tagtype[279] = TiffTags.LONG8 if big else TiffTags.LONG
    if meta.exif:
        exif = Image.Exif()
        exif.load(meta.exif)
        for tag, value in exif.items():
            directory[tag] = exif.get_ifd(tag) if tag in (_EXIF_IFD, _GPS_IFD) else value
    tags = ((34675, TiffTags.UNDEFINED, meta.icc), (700, TiffTags.BYTE, meta.xmp))
    for tag, kind, data in (*tags, (34377, TiffTags.BYTE, for_tiff(meta.extras)[0])):
        if data:
            directory.tagtype[tag] = kind
            directory[tag] = data
    if meta.dpi:
        directory[282], directory[283], directory[296] = *meta.dpi, 2
    return directory


def _write_bmp32(file: IO[bytes], native: np.ndarray, meta: Metadata) -> None:
    """BMP of BGRA samples, rows from the bottom up, with the version 4 header that says where alpha lies."""
    height, width = native.shape[:2]
    data = np.ascontiguousarray(native[::-1, :, [2, 1, 0, 3]])
    start = 14 + 108
    per_metre = [round(v / 0.0254) for v in meta.dpi or (0, 0)]
    masks = (0x00FF0000, 0x0000FF00, 0x000000FF, 0xFF000000)
    file.write(struct.pack("<2sIII", b"BM", start + data.nbytes, 0, start))
    file.write(struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, data.nbytes, *per_metre, 0, 0))
    file.write(struct.pack("<4I4s48x", *masks, b"BGRs"))  # sRGB; the 48 bytes would calibrate other spaces
    file.write(data.tobytes())


def _bands(native: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Blocks of whole rows of about `size` bytes."""
    rows = max(1, size // native[0].nbytes)
    return (native[top : top + rows] for top in range(0, len(native), rows))


def _strip(rows: np.ndarray, predict: bool, order: Literal["<", ">"]) -> bytes:
    """Rows as TIFF stores them, each sample less its left neighbour if `predict` (TIFF 6.0, section 14)."""
    if rows.dtype == np.bool_:
        return np.packbits(rows, axis=1).tobytes()
    if predict:
        rows = rows.copy()
        rows[:, 1:] -= rows[:, :-1].copy()
    return rows.astype(rows.dtype.newbyteorder(order), copy=False).tobytes()
