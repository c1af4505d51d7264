"""TIFFs too large to be decoded whole: read, edited and written tile by tile (TIFF 6.0; BigTIFF).

Pillow reads the tags and codes the bytes of a tile; what they mean (predictor, byte order, samples) is handled here.
Strips are tiles as wide as the picture.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import IO, Any

import numpy as np
from PIL import Image, TiffImagePlugin, TiffTags

from restore.errors import InputError
from restore.images import limits
from restore.images.decode import Metadata, quiet
from restore.images.encode import tiff_directory

MOST_TILE = 128_000_000  # bytes of samples in the largest tile that is still small

_HEADERS = (b"II*\0", b"MM\0*", b"II+\0")  # Pillow reads no big-endian BigTIFF
_PREDICTED = (5, 8, 32946, 50000)  # compressions that know the predictor: LZW, Deflate, Deflate of old, Zstandard
_CODED = (1, 32773, *_PREDICTED)  # none, PackBits: all without loss
_CHANNELS: dict[Any, str] = {
    (1, 1): "L",
    (1, 2): "LA",
    (2, 3): "RGB",
    (2, 4): "RGBA",
    (5, 4): "CMYK",
}  # photometric, samples: mode
_COPIED = (254, 256, 257, 258, 259, 262, 277, 284, 317, 338, 339)  # tags of the layout that stay as they are
_MOST_CLASSIC = 2**32 - 2**24  # bytes; beyond, offsets need BigTIFF

Samples = np.ndarray[Any, np.dtype[Any]]
Part = tuple[slice, slice]  # rows and columns, as stored: before the orientation tag is applied


@dataclass(frozen=True)
class Layout:
    """Where the tiles of a TIFF's first page lie and how they are coded.

    shape (H, W), tile (h, w): in pixels, as stored; the last strip may be lower. offsets, counts: bytes in the file,
    row by row. mode: of `decode.CHANNELS`; depth: type of a sample with its byte order; tags: as Pillow reads them.
    """

    shape: tuple[int, int]
    tile: tuple[int, int]
    offsets: list[int]
    counts: list[int]
    channels: int
    mode: str
    depth: np.dtype[Any]
    compression: int
    predict: bool
    big: bool
    tags: TiffImagePlugin.ImageFileDirectory_v2

    @property
    def across(self) -> int:
        """Tiles in a row of them."""
        return -(-self.shape[1] // self.tile[1])

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of a tile, not coded."""
        return self.tile[1] * self.channels * self.depth.itemsize

    def rows(self, index: int) -> int:
        """Rows of one tile; only the last strip is lower than others."""
        if 322 in self.tags:
            return self.tile[0]
        return min(self.tile[0], self.shape[0] - index * self.tile[0])

    def covering(self, part: Part) -> Iterator[tuple[int, Part]]:
        """(index, place) of the tiles that meet `part`; a place may reach beyond the picture."""
        (h, w), (rows, columns) = self.tile, part
        for i in range(rows.start // h, -(-rows.stop // h)):
            for j in range(columns.start // w, -(-columns.stop // w)):
                yield i * self.across + j, np.s_[i * h : (i + 1) * h, j * w : (j + 1) * w]


def is_tiff(head: bytes) -> bool:
    """Whether a file that begins with these bytes says that it is a TIFF."""
    return head[:4] in _HEADERS


def read_header(file: IO[bytes]) -> TiffImagePlugin.TiffImageFile:
    """A TIFF of any size as Pillow sees it, its samples unread. Raises what Pillow raises for broken ones."""
    file.seek(0)
    return TiffImagePlugin.TiffImageFile(file)  # Image.open would refuse large ones


def read_layout(image: TiffImagePlugin.TiffImageFile, file: IO[bytes], name: str) -> Layout:
    """The layout of a TIFF whose tiles can be read and written one by one; else InputError says what is in the way."""
    tags = image.tag_v2
    kind, samples = tags.get(262), tags.get(277, 1)
    bits, extra = set(tags.get(258, (1,))), set(tags.get(338, ()))
    mode = _CHANNELS.get((kind, samples))
    found = {
        f"compression {image.info.get('compression', tags.get(259))}": tags.get(259, 1) not in _CODED,
        f"{max(bits)} bits": bits not in ({8}, {16}) or set(tags.get(339, (1,))) != {1} or tags.get(266, 1) != 1,
        f"{samples} channels of photometric kind {kind}": mode is None,
        "colours multiplied by alpha": 1 in extra,
        "separate planes": samples > 1 and tags.get(284, 1) != 1,
        f"predictor {tags.get(317)}": tags.get(317, 1) not in (1, 2),
    }
    wrong = [reason for reason, holds in found.items() if holds]
    if wrong or mode is None:
        raise _unfit(name, wrong[0])
    height, width = tags[257], tags[256]
    tiled = 322 in tags
    tile = (tags[323], tags[322]) if tiled else (min(tags.get(278, height), height), width)
    offsets, counts = (list(tags.get(tag, ())) for tag in ((324, 325) if tiled else (273, 279)))
    depth = np.dtype(f"{'>' if tags.prefix == b'MM' else '<'}u{max(bits) // 8}")
    coded = tags.get(259, 1)
    if coded == 1 and not tiled and all(o + n == following for (o, n), following in _pairs(offsets, counts)):
        tile, offsets, counts = _split(offsets, counts, (height, width), width * samples * depth.itemsize)
    predict = tags.get(317, 1) == 2 and coded in _PREDICTED
    file.seek(2)
    big = b"+" in file.read(2)
    layout = Layout((height, width), tile, offsets, counts, samples, mode, depth, coded, predict, big, tags)
    _check(layout, file.seek(0, io.SEEK_END), name)
    return layout


def _pairs(offsets: list[int], counts: list[int]) -> Iterator[tuple[tuple[int, int], int]]:
    for (start, count), (following, _) in pairwise(zip(offsets, counts, strict=False)):
        yield (start, count), following


def _split(
    offsets: list[int], counts: list[int], shape: tuple[int, int], row: int
) -> tuple[tuple[int, int], list[int], list[int]]:
    """Samples that lie uncoded in one piece, as strips of about a megabyte: tile, offsets, counts."""
    rows = min(shape[0], max(1, 2**20 // row))
    starts = range(0, shape[0], rows)
    lengths = [min(rows, shape[0] - top) * row for top in starts]
    if not offsets or sum(counts) < sum(lengths):
        return (rows, shape[1]), [], []  # found to be damaged
    return (rows, shape[1]), [offsets[0] + top * row for top in starts], lengths


def _check(layout: Layout, size: int, name: str) -> None:
    if layout.row_bytes * layout.tile[0] > MOST_TILE:
        raise _unfit(name, f"a single strip or tile of {layout.tile[1]}×{layout.tile[0]} pixels")
    down = -(-layout.shape[0] // layout.tile[0])
    ends = [start + count for start, count in zip(layout.offsets, layout.counts, strict=False)]
    if len(ends) != down * layout.across or len(layout.counts) != len(ends) or max(ends) > size or 0 in layout.counts:
        raise InputError(f"{name}: expected a whole TIFF image, got a damaged file (some of its tiles are not there)")


def _unfit(name: str, found: str) -> InputError:
    return InputError(
        f"{name}: expected so large a TIFF in tiles or strips of interleaved 8- or 16-bit grey, RGB or CMYK without "
        f"lossy compression, got {found}; convert it first"
    )


class TiledTiff:
    """The first page of a TIFF, decoded where asked; the file stays open.

    edits: coded tiles, by index, that stand in for the file's own. Reading raises InputError where the file is damaged.
    """

    def __init__(self, file: IO[bytes], layout: Layout, name: str, edits: Mapping[int, bytes] | None = None) -> None:
        self.file, self.layout, self.name, self.edits = file, layout, name, edits or {}

    def read(self, part: Part) -> Samples:
        """Samples (h, w) or (h, w, C) of rows and columns inside the picture, uint8 or uint16."""
        layout, (rows, columns) = self.layout, part
        shape = rows.stop - rows.start, columns.stop - columns.start, layout.channels
        out = np.empty(shape, layout.depth.newbyteorder("="))
        tiles = list(layout.covering(part))
        step = max(1, limits.BATCH // (layout.row_bytes * layout.tile[0]))
        for first in range(0, len(tiles), step):
            batch = tiles[first : first + step]
            for (_, place), samples in zip(batch, self._tiles([index for index, _ in batch]), strict=True):
                here, there = zip(*map(_meet, part, place), strict=True)
                out[here] = samples[there]
        return out[..., 0] if layout.channels == 1 else out

    def edited(self, part: Part, samples: Samples, mask: Samples) -> TiledTiff:
        """This picture with colours (n, c) put into the first channels of the n pixels of `part` where mask (h, w) bool
        is true, row by row."""
        colours = np.zeros((*mask.shape, samples.shape[1]), samples.dtype)
        colours[mask] = samples
        edits = dict(self.edits)
        for index, place in self.layout.covering(part):
            here, there = zip(*map(_meet, part, place), strict=True)
            if mask[here].any():
                tile = next(self._tiles([index]))
                tile[there][..., : samples.shape[1]][mask[here]] = colours[here][mask[here]]
                edits[index] = _packed(tile, self.layout)
        return TiledTiff(self.file, self.layout, self.name, edits)

    def write(self, file: IO[bytes], meta: Metadata) -> None:
        """The picture as a TIFF of the same layout; what was not edited is copied without being decoded."""
        layout = self.layout
        counts = [len(self.edits[i]) if i in self.edits else count for i, count in enumerate(layout.counts)]
        big = layout.big or sum(counts) > _MOST_CLASSIC
        directory = _directory(layout, meta, counts, big)
        directory.save(file)
        for index, count in enumerate(layout.counts):
            file.write(self.edits[index] if index in self.edits else self._stored(layout.offsets[index], count))

    def _stored(self, offset: int, count: int) -> bytes:
        self.file.seek(offset)
        return self.file.read(count)

    def _tiles(self, indices: list[int]) -> Iterator[Samples]:
        """Tiles (h, w, C) that are decoded together."""
        layout = self.layout
        coded = [
            self.edits[i] if i in self.edits else self._stored(layout.offsets[i], layout.counts[i]) for i in indices
        ]
        rows = [layout.rows(i) for i in indices]
        try:
            data = _unpacked(coded, rows, layout)
        except (OSError, ValueError, SyntaxError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{self.name}: expected a whole TIFF image, got a damaged file ({reason})") from error
        samples = data.view(layout.depth).astype(layout.depth.newbyteorder("="))
        samples = samples.reshape(len(samples), layout.tile[1], layout.channels)
        if layout.predict:
            np.add.accumulate(samples, axis=1, dtype=samples.dtype, out=samples)
        yield from np.split(samples, np.cumsum(rows)[:-1])


def _meet(part: slice, place: slice) -> tuple[slice, slice]:
    """Where a part and a tile meet along one axis: in the part and in the tile."""
    start, stop = max(part.start, place.start), min(part.stop, place.stop)
    return slice(start - part.start, stop - part.start), slice(start - place.start, stop - place.start)


def _unpacked(coded: list[bytes], rows: list[int], layout: Layout) -> Samples:
    """Bytes (sum of rows, bytes in a row) of tiles under one another."""
    shape = sum(rows), layout.row_bytes
    if layout.compression == 1:
        return np.frombuffer(b"".join(coded), np.uint8, shape[0] * shape[1]).reshape(shape)
    # Pillow decodes them as strips of a grey picture: codes are of bytes, whatever the samples.
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    counts = [len(data) for data in coded]
    tags = {256: shape[1], 257: shape[0], 258: 8, 259: layout.compression, 262: 1, 277: 1, 278: rows[0]}
    for tag, value in (tags | {273: tuple(_starts(counts)), 279: tuple(counts)}).items():
        directory.tagtype[tag] = TiffTags.LONG
        directory[tag] = value
    file = io.BytesIO()
    directory.save(file)
    file.writelines(coded)
    with quiet(), read_header(file) as image:
        image.load()
        return np.asarray(image)


def _packed(tile: Samples, layout: Layout) -> bytes:
    """A tile (h, w, C) as the file codes it."""
    if layout.predict:
        tile = tile.copy()
        tile[:, 1:] -= tile[:, :-1].copy()
    data = tile.astype(layout.depth, copy=False).tobytes()
    if layout.compression == 1:
        return data
    file = io.BytesIO()
    name = TiffImagePlugin.COMPRESSION_INFO[layout.compression]
    grey = Image.frombytes("L", (layout.row_bytes, len(tile)), data)
    grey.save(file, "TIFF", compression=name, tiffinfo={278: len(tile)})
    with read_header(file) as image:
        (start,), (count,) = image.tag_v2[273], image.tag_v2[279]
    return file.getvalue()[start : start + count]


def _directory(layout: Layout, meta: Metadata, counts: list[int], big: bool) -> TiffImagePlugin.ImageFileDirectory_v2:
    """The tags of a file whose tiles follow its directory at once."""
    directory = tiff_directory(meta, layout.tags.prefix, big=big)
    for tag in _COPIED:
        if tag in layout.tags:
            directory[tag] = layout.tags[tag]
    tiled = 322 in layout.tags
    if tiled:
        directory[322], directory[323] = layout.tile[1], layout.tile[0]
    else:
        directory[278] = layout.tile[0]
    where, lengths = (324, 325) if tiled else (273, 279)
    directory.tagtype[where] = directory.tagtype[lengths] = TiffTags.LONG8 if big else TiffTags.LONG
    starts = _starts(counts)
    directory[lengths] = tuple(counts)
    directory[where] = tuple(starts)
    if tiled:  # Pillow makes the offsets of strips absolute by itself
        header = 16 if big else 8
        first = header + len(directory.tobytes(header))
        directory[where] = tuple(first + start for start in starts)
    return directory


def _starts(counts: list[int]) -> list[int]:
    return [0, *np.cumsum(counts)[:-1].tolist()]
