"""Image files to arrays: JPEG, PNG, WebP, TIFF and BMP, in their own colours and depth, with metadata.

Pillow decodes everything. It keeps only the high byte of 16-bit colour, so such files are decoded twice,
once per byte. Arrays are upright: the orientation tag has been applied, and the metadata kept says so.
"""

from __future__ import annotations

import os
import re
import struct
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import IO, Any

import numpy as np
from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from restore.errors import InputError
from restore.images import limits, xmp
from restore.images.extras import Extra, jpeg_extras, photoshop, png_extras, webp_chunks, without_claims
from restore.images.frames import Source
from restore.images.gain import ISO, GainMap, gain_map
from restore.images.gain import NAME as GAIN_MAP
from restore.images.geometry import upright

SUFFIXES = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
USUAL = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif", "BMP": ".bmp"}
KINDS = "JPEG, PNG, WebP, TIFF or BMP"
_SMALLER = "scale it down first ('inpaint' edits larger TIFFs)"
CHANNELS = {"1": 1, "L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}

_CONVERTED = {"PA": "RGBA", "RGBX": "RGB", "RGBa": "RGBA", "La": "LA", "YCbCr": "RGB", "HSV": "RGB"}
ORIENTATION = 274
_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANAR_CONFIGURATION = 258, 262, 284
_X_RESOLUTION, _PHOTOSHOP, _C2PA = 282, 34377, 52545
_EXIF_IFD, _GPS_IFD, _INTEROP_IFD = 34665, 34853, 40965
# Tags that describe how a TIFF lays out its samples, not the photo: rebuilt on writing.
_LAYOUT_TAGS = frozenset(
    {254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 277, 278, 279, 280, 281, 284, 290, 291, 292, 293, 301}
    | {317, 318, 319, 320, 321, 322, 323, 324, 325, 330, 332, 333, 334, 338, 339, 340, 341, 342, 347}
    | {512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, 700, 34377, 34675, _C2PA}
)


@dataclass(frozen=True)
class Metadata:
    """What a file says besides its samples, and how it was coded."""

    format: str | None = None  # Pillow's name, None for an image that came as an array
    exif: bytes = b""  # b"Exif\0\0" + a TIFF structure, no thumbnail
    icc: bytes = b""
    xmp: bytes = b""
    dpi: tuple[float, float] | None = None
    lossy: bool = False  # the source was JPEG or lossy WebP
    uncompressed: bool = False  # the source was an uncompressed TIFF
    quantisation: tuple[tuple[int, ...], ...] = ()  # JPEG tables, 64 entries each, row by row
    subsampling: int = 0  # Pillow's code of the JPEG's chroma subsampling: 0 is 4:4:4
    progressive: bool = False
    extras: tuple[Extra, ...] = ()  # texts, comments, IPTC and the like, see `extras`
    frames: int = 1  # frames or pages in the file, of which this is one
    frame: int = 1  # which, from 1
    gain: GainMap | None = field(default=None, repr=False)  # of a JPEG
    whole: Source | None = field(default=None, repr=False)  # that file, where there are several


def decode(file: IO[bytes], name: str, frame: int | None = None) -> tuple[np.ndarray, str, Metadata]:
    """Upright samples (H, W) or (H, W, C), bool, uint8 or uint16, their mode (see `CHANNELS`) and metadata.

    Of several frames or pages the one asked for is taken, from 1, or the first, with a warning; so is what a phone puts
    behind its JPEG (a gain map, a video, a second picture) told of, and neither kept nor claimed.
    Raises InputError if this is no image, a broken one, one of too many pixels, or of a kind not handled.
    """
    with _read_by_pillow(name):
        native, mode, meta, lost = _decode(file, name, frame or 1)
    if meta.frames > 1:
        used = "the first" if frame is None else f"number {frame}"
        warnings.warn(f"{name}: holds {meta.frames} frames or pages; only {used} is used", stacklevel=3)
    if lost:
        warnings.warn(f"{name}: also holds {' and '.join(lost)}; only the picture is used", stacklevel=3)
    return native, mode, meta


def packet_of(file: IO[bytes], name: str) -> tuple[bytes, str]:
    """(XMP as it is, format) of a picture. Raises InputError as `decode` does."""
    with _read_by_pillow(name), _open(file, name, 1) as image:
        if image.format == "PNG":
            image.load()  # text may follow the pixels
        meta = metadata(image)
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            meta, _ = _whole_xmp(meta, jpeg_extras(image.applist)[0])
        return meta.xmp, meta.format or ""


@contextmanager
def _read_by_pillow(name: str) -> Iterator[None]:
    """What Pillow raises becomes an InputError."""
    try:
        with warnings.catch_warnings(), quiet():
            warnings.filterwarnings("ignore", module=r"PIL\.")  # what matters of it becomes an error here
            yield
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(name) from error
    except MemoryError as error:
        raise InputError(f"{name}: expected an image that fits into memory, got a larger one; {_SMALLER}") from error
    except UnidentifiedImageError as error:
        raise InputError(
            f"{name}: expected a {KINDS} image, got something else or a rare variant; convert it to PNG first"
        ) from error
    except Exception as error:  # on broken files Pillow's decoders raise almost anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{name}: expected a whole {KINDS} image, got a damaged file ({reason})") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without the lines that libtiff and libjpeg print about broken files: the error raised says it. The descriptor
    is the whole process's, so that this holds in its main thread only."""
    try:
        if threading.current_thread() is not threading.main_thread():
            raise OSError
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, AttributeError):  # no stderr at all: nothing to hide
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _decode(file: IO[bytes], name: str, frame: int) -> tuple[np.ndarray, str, Metadata, list[str]]:
    with _open(file, name, frame) as image:
        rawmode = _rawmode(image)
        _check_depth(image, rawmode, name)
        if ";16" in rawmode and not image.mode.startswith("I;16"):
            native, mode = _decode_deep(file, name, frame, image, rawmode)
        else:
            image.load()
            native, mode = samples(image, name)
        meta = metadata(image)
        if image.format == "WEBP":
            meta = replace(meta, lossy=not _is_lossless_webp(file))
        exif = image.getexif()
        # Pillow itself turns TIFF upright on loading, and then forgets the tag.
        native = upright(native, exif.get(ORIENTATION, 1))
        height, width = native.shape[:2]
        meta, lost = _with_extras(meta, image, file, mode)
        meta = _oriented(meta, exif, (width, height))
        if meta.frames > 1:
            meta = replace(meta, frame=frame, whole=_source(file))
    return np.ascontiguousarray(native), mode, meta, lost


def _whole_xmp(meta: Metadata, extras: tuple[Extra, ...]) -> tuple[Metadata, tuple[Extra, ...]]:
    """`meta` with the parts of its packet put together, and the other segments; as they lie where they do not fit."""
    parts = [extra for extra in extras if extra[1].startswith(xmp.EXTENSION)]
    if not parts or not meta.xmp:
        return meta, extras
    try:
        packet = xmp.joined(meta.xmp, [content for _, content in parts])
    except ValueError:
        return meta, extras
    return replace(meta, xmp=packet), tuple(extra for extra in extras if extra not in parts)


def _source(file: IO[bytes]) -> Source:
    """What an open file can be read from again: its path if it has one."""
    path = getattr(file, "name", None)
    if isinstance(path, (str, bytes)):
        return os.path.abspath(os.fsdecode(path))
    file.seek(0)
    return file.read()


def _with_extras(meta: Metadata, image: Image.Image, file: IO[bytes], mode: str) -> tuple[Metadata, list[str]]:
    """`meta` with what else is to be carried, and what cannot be."""
    extras, lost = meta.extras, list[str]()
    frames = getattr(image, "n_frames", 1)
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        extras, lost = jpeg_extras(image.applist)
        meta, extras = _whole_xmp(meta, extras)
    elif image.format == "PNG":
        extras, lost = png_extras(file, CHANNELS[mode])
    elif _C2PA in getattr(image, "tag_v2", ()) or (image.format == "WEBP" and "C2PA" in webp_chunks(file)):
        lost = ["content credentials"]
    packet, claimed = without_claims(meta.xmp)
    lost += claimed
    if image.format in ("JPEG", "MPO"):
        if GAIN_MAP in lost:
            meta, lost = _with_gain(meta, image, file, lost)
        lost += ["a second picture"] * (frames > 1 and not lost and meta.gain is None)
        frames = 1
    return replace(meta, extras=extras, xmp=packet, frames=frames), sorted(set(lost))


def _with_gain(meta: Metadata, image: Image.Image, file: IO[bytes], lost: list[str]) -> tuple[Metadata, list[str]]:
    """`meta` with the gain map that the JPEG tells of, if it is there, and what is lost then."""
    file.seek(0)
    found, more = gain_map(file.read(), image.getexif().get(ORIENTATION, 1))
    if found is None:
        return meta, lost
    told = [c for kind, c in getattr(image, "applist", ()) if kind == "APP2" and c.startswith(ISO)]
    left = [name for name in lost if name != GAIN_MAP]
    return replace(meta, gain=replace(found, told=b"".join(told[:1]))), left + ["more"] * (more and not left)


def _open(file: IO[bytes], name: str, frame: int) -> Image.Image:
    file.seek(0)
    image = Image.open(file, formats=("JPEG", "PNG", "WEBP", "TIFF", "BMP"))
    if image.width * image.height > limits.MAX_PIXELS:
        raise _too_large(name)
    if frame > 1 and frame > (frames := getattr(image, "n_frames", 1)):
        raise InputError(f"{name}: expected frame 1 to {frames}, got {frame}")
    if frame > 1:
        image.seek(frame - 1)
    return image


def _too_large(name: str) -> InputError:
    most = limits.MAX_PIXELS // 1_000_000
    return InputError(f"{name}: expected at most {most} megapixels, got more; {_SMALLER}")


def _rawmode(image: Image.Image) -> str:
    """Pillow's name for the sample layout in the file, such as "RGB;16B"; empty where it has none."""
    tiles = getattr(image, "tile", None)
    if not tiles:
        return ""
    args = tiles[0].args
    return str(args[0] if isinstance(args, tuple) else args)


def _with_rawmode(image: Image.Image, rawmode: str) -> np.ndarray:
    """Decode `image` as if its samples were laid out as `rawmode`, of as many bits as the true one."""
    assigned = []
    for tile in image.tile:  # type: ignore[attr-defined]
        args = (rawmode, *tile.args[1:]) if isinstance(tile.args, tuple) else rawmode
        assigned.append(tile._replace(args=args))
    image.tile = assigned  # type: ignore[attr-defined]
    return np.asarray(image)


def _check_depth(image: Image.Image, rawmode: str, name: str) -> None:
    """Refuse deep TIFFs that Pillow would silently cut to 8 bits, or scale in a way of its own."""
    tags = getattr(image, "tag_v2", {})
    bits = max(tags.get(_BITS_PER_SAMPLE, (1,)))
    separate = tags.get(_PLANAR_CONFIGURATION) == 2
    if bits > 8 and (";16" not in rawmode or separate):
        found = f"{bits}-bit {'separate planes' if separate else 'ones'}"
        raise InputError(f"{name}: expected interleaved 8- or 16-bit samples, got {found}; convert it first")


def _decode_deep(file: IO[bytes], name: str, frame: int, image: Image.Image, rawmode: str) -> tuple[np.ndarray, str]:
    """16-bit colour: Pillow's unpackers keep one byte of a sample; the other byte order yields the other."""
    if rawmode == "LA;16B":  # four bytes a pixel, exactly as 8-bit RGBA: grey high, low, alpha high, low
        grey_alpha = _with_rawmode(image, "RGBA")
        return np.ascontiguousarray(grey_alpha).view(">u2").astype(np.uint16), "LA"
    layout, order = rawmode.replace("RGBa", "RGBA").split(";16")
    if order not in ("L", "B", "N"):
        raise InputError(f"{name}: expected unsigned samples, got the layout {rawmode}; convert it first")
    high_is_second = order == "L" or (order == "N" and sys.byteorder == "little")
    native = _with_rawmode(image, f"{layout};16{order}").astype(np.uint16)
    native <<= 8
    with _open(file, name, frame) as again:
        native |= _with_rawmode(again, f"{layout};16{'B' if high_is_second else 'L'}")
    if rawmode.startswith("RGBa"):  # colours stored multiplied by alpha
        alpha = np.maximum(native[..., 3:].astype(np.uint32), 1)
        straight = (native[..., :3].astype(np.uint32) * 65535 + alpha // 2) // alpha
        native[..., :3] = np.minimum(straight, 65535)
    if image.format == "PNG" and "transparency" in image.info:  # one colour stands for "transparent"
        native = _keyed(native, image.info["transparency"])
    return native, {3: "RGB", 4: "CMYK" if layout == "CMYK" else "RGBA"}[native.shape[2]]


def _keyed(native: np.ndarray, key: Any) -> np.ndarray:
    """Add an alpha channel that is 0 where all samples equal `key`."""
    colour = native if native.ndim == 3 else native[..., None]
    opaque = (colour != np.asarray(key)).any(axis=2)
    return np.dstack([colour, opaque.astype(np.uint16) * np.uint16(65535)])


def samples(image: Image.Image, name: str) -> tuple[np.ndarray, str]:
    """Samples and mode of a Pillow image, as they lie. Palettes become RGB, or RGBA with transparency.

    Raises InputError for floating point, 32-bit and L*a*b* images.
    """
    if image.mode.startswith("I;16"):
        deep = np.asarray(image).astype(np.uint16)  # in this machine's byte order
        if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0:
            deep = np.uint16(65535) - deep  # white is zero
        if "transparency" in image.info:
            return _keyed(deep, image.info["transparency"]), "LA"
        return deep, "L"
    target = _CONVERTED.get(image.mode, image.mode)
    if image.mode == "P":
        target = "RGBA" if image.has_transparency_data else "RGB"
    elif image.mode in ("1", "L", "RGB") and "transparency" in image.info:
        target = "RGBA" if image.mode == "RGB" else "LA"
    if target not in CHANNELS:
        raise InputError(f"{name}: expected 8- or 16-bit grey, RGB or CMYK, got {image.mode}; convert it first")
    return np.asarray(image if image.mode == target else image.convert(target)), target


def metadata(image: Image.Image) -> Metadata:
    """What a Pillow image carries besides its samples; its orientation tag as it is."""
    info = image.info
    is_jpeg = isinstance(image, JpegImagePlugin.JpegImageFile)
    tables: dict[int, list[int]] = getattr(image, "quantization", {}) if is_jpeg else {}
    return Metadata(
        format="JPEG" if is_jpeg else image.format,
        exif=_exif_bytes(_photo_tags(image.getexif())),
        icc=info.get("icc_profile") or b"",
        xmp=_xmp(info.get("xmp", b"")),
        dpi=_dpi(info.get("dpi")) if _X_RESOLUTION in getattr(image, "tag_v2", (_X_RESOLUTION,)) else None,
        lossy=is_jpeg,
        uncompressed=image.format == "TIFF" and info.get("compression") == "raw",
        quantisation=tuple(tuple(table) for table in tables.values()),
        subsampling=max(JpegImagePlugin.get_sampling(image), 0) if is_jpeg else 0,
        progressive=bool(info.get("progressive")),
        extras=_tiff_extras(image),
    )


def _tiff_extras(image: Image.Image) -> tuple[Extra, ...]:
    resources = getattr(image, "tag_v2", {}).get(_PHOTOSHOP)
    return (photoshop(resources),) if isinstance(resources, bytes) else ()


def _photo_tags(own: Image.Exif) -> Image.Exif:
    """A copy without layout and thumbnail; the caller's image stays as it is. Pillow cannot copy a BigTIFF's."""
    exif = Image.Exif()
    exif.endian = own.endian
    for tag, value in own.items():
        if tag in (_EXIF_IFD, _GPS_IFD):
            value = dict(own.get_ifd(tag))
            if _INTEROP_IFD in value:
                value[_INTEROP_IFD] = own.get_ifd(_INTEROP_IFD)
        if tag not in _LAYOUT_TAGS:
            exif[tag] = value
    return exif


def _exif_bytes(exif: Image.Exif) -> bytes:
    for tag in _LAYOUT_TAGS.intersection(exif):
        del exif[tag]
    return exif.tobytes() if len(exif) else b""


def _xmp(value: bytes | str | tuple[bytes, ...]) -> bytes:
    if isinstance(value, tuple):
        value = value[0]
    return value.encode() if isinstance(value, str) else value


def _dpi(value: Any) -> tuple[float, float] | None:
    try:
        x, y = (float(v) for v in value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 0 < x < 1e6 and 0 < y < 1e6 else None


def _is_lossless_webp(file: IO[bytes]) -> bool:
    """Whether the first picture of a WebP file is coded as VP8L (WebP container specification)."""
    file.seek(12)
    while len(head := file.read(8)) == 8:
        kind, length = struct.unpack("<4sI", head)
        if kind in (b"VP8 ", b"VP8L"):
            return bool(kind == b"VP8L")
        # An animation's frame holds 16 bytes of its own, then chunks like those of a still image.
        file.seek(16 if kind == b"ANMF" else length + length % 2, 1)
    return False


def _oriented(meta: Metadata, exif: Image.Exif, size: tuple[int, int]) -> Metadata:
    """`meta` for samples that have been turned upright to `size` (W, H)."""
    orientation = exif.get(ORIENTATION, 1)
    if meta.exif:
        fixed = Image.Exif()
        fixed.load(meta.exif)
        fixed[ORIENTATION] = 1
        meta = replace(meta, exif=_exif_bytes(fixed))
    tables = meta.quantisation
    if orientation in (5, 6, 7, 8):  # rows and columns of the blocks change places too
        tables = tuple(tuple(np.reshape(t, (8, 8)).T.ravel().tolist()) for t in tables)
    # 4:2:2 turned by 90° would be 4:4:0, which Pillow cannot write: keep all the chroma instead.
    subsampling = 0 if orientation in (5, 6, 7, 8) and meta.subsampling == 1 else meta.subsampling
    packet = re.sub(rb'(tiff:Orientation(?:\s*=\s*["\']|>))\d', rb"\g<1>1", meta.xmp)
    return with_size(replace(meta, xmp=packet, quantisation=tables, subsampling=subsampling), size)


def with_size(meta: Metadata, size: tuple[int, int]) -> Metadata:
    """`meta` for a picture of `size` (W, H), in pixels, wherever it says so."""
    exif = meta.exif
    if exif:
        fixed = Image.Exif()
        fixed.load(exif)
        inner = fixed.get_ifd(_EXIF_IFD) if _EXIF_IFD in fixed else {}
        for tag, length in zip((0xA002, 0xA003), size, strict=True):  # PixelXDimension, PixelYDimension
            if tag in inner:
                inner[tag] = length
        exif = _exif_bytes(fixed)
    packet = meta.xmp
    for names, length in zip(
        (rb"exif:PixelXDimension|tiff:ImageWidth", rb"exif:PixelYDimension|tiff:ImageLength"), size, strict=True
    ):
        packet = re.sub(rb"((?:" + names + rb')(?:\s*=\s*["\']|>))\d+', rb"\g<1>%d" % length, packet)
    return replace(meta, exif=exif, xmp=packet)
