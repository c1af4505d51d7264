"""Files of several frames or pages: one of them is edited, the others stay.

Pages of a TIFF stay byte for byte: the edited one is written anew behind the file and linked in its place, what it was
is blanked (TIFF 6.0, section 2; BigTIFF). Frames of an animation lie on top of one another in the file, so all are
coded again, without loss.
"""

from __future__ import annotations

import io
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from PIL import Image, ImageOps

from restore.errors import InputError
from restore.images import limits
from restore.images.files import reason

Source = bytes | str  # a file's content, or its path
Writer = Callable[[IO[bytes], bytes, bool], None]  # writes a page at the file's end; byte order, BigTIFF or not

ANIMATED = ("PNG", "WEBP")  # formats whose frames are all of one size
_NEXT = "a file of as many frames or pages as it was read with; it changed since"
_SUBFILE, _SUB_IFDS = 254, 330
_PLACES = ((273, 279), (324, 325), (513, 514))  # tags of offsets and lengths: strips, tiles, an old JPEG
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 13: 4, 16: 8, 17: 8, 18: 8}  # bytes of the types that matter
_CODES = {3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_MOST_PAGES = 100_000


@contextmanager
def opened(source: Source) -> Iterator[IO[bytes]]:
    """The file that is meant, open for reading."""
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
        yield file


def sequence(source: Source, frame: int, edited: Image.Image, name: str) -> tuple[Image.Image, dict[str, Any]]:
    """The first frame of an animation in which number `frame`, from 1, is `edited`, and the options that make Pillow
    write the others behind it. Neighbours that are the same become one. Raises InputError where the sizes differ."""
    try:
        with opened(source) as file, Image.open(file, formats=ANIMATED) as image:
            loop, separate = image.info.get("loop", 0), bool(image.info.get("default_image"))
            frames, durations = _read(image, frame, edited)
    except Exception as error:  # on broken files Pillow's decoders raise almost anything
        found = f"damaged ones ({reason(error)})"
        raise InputError(f"{name}: expected to write the other frames too, found {found}") from error
    count = len(frames)
    if count < max(2, frame):
        raise InputError(f"{name}: expected {_NEXT}")
    check_animation(count, frames[frame % count].size, edited.size, deep=False, name=name)
    mode = "RGBA" if any(each.has_transparency_data for each in frames) else "RGB"
    first, *others = [each.convert(mode) for each in frames]
    options: dict[str, Any] = {"save_all": True, "append_images": others, "loop": loop}
    options["duration"] = durations[1:] if separate else durations
    return first, options | ({"default_image": True} if separate else {})


def _read(image: Image.Image, frame: int, edited: Image.Image) -> tuple[list[Image.Image], list[float]]:
    """(all frames, `edited` as number `frame`, milliseconds of each)."""
    frames, durations = [], []
    for index in range(getattr(image, "n_frames", 1)):
        image.seek(index)
        image.load()
        durations.append(image.info.get("duration", 0))
        frames.append(ImageOps.exif_transpose(image) if index != frame - 1 else edited)
    return frames, durations


def check_animation(frames: int, before: tuple[int, int], size: tuple[int, int], *, deep: bool, name: str) -> None:
    """Raise InputError unless a frame of `size` (W, H) can go back among `frames` ones of the size `before`."""
    least = limits.MAX_PIXELS // 1_000_000
    if size != before:
        got = f"{before[0]}×{before[1]} pixels as the other frames, got {size[0]}×{size[1]}"
    elif frames * size[0] * size[1] > limits.MAX_PIXELS:
        got = f"an animation of at most {least} megapixels in all frames, got {frames} of {size[0]}×{size[1]} pixels"
    elif deep:
        got = "8 bits a sample in an animation, got 16"
    else:
        return
    raise InputError(f"{name}: expected {got}; write another format, which takes this frame alone")


def replace_page(source: Source, frame: int, file: IO[bytes], write: Writer, name: str) -> None:
    """Write to the empty `file` the TIFF of `source`, its page number `frame`, from 1, as `write` writes it.

    Reduced copies of that page go with it. Raises InputError where the pages cannot be told.
    """
    with opened(source) as whole:
        shutil.copyfileobj(whole, file)
    try:
        chain = _Chain(file)
        pages = chain.pages()
        if not 1 <= frame <= len(pages):
            raise InputError(f"{name}: expected {_NEXT}")
        old, *behind = pages[frame - 1 :]
        gone = [old]
        while behind and behind[0].reduced and not old.reduced:
            gone.append(behind.pop(0))
        kept = [page for page in pages if page not in gone]
        chain.blank([span for page in gone for span in page.spans], [span for page in kept for span in page.spans])
        end = file.seek(0, io.SEEK_END)
        start = end + end % 2
        file.write(bytes(start - end))
        write(file, chain.prefix, chain.big)
        chain.link(old.pointer, start)
        chain.link(chain.page(start, 0).following, behind[0].start if behind else 0)
        file.seek(0, io.SEEK_END)
    except (struct.error, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{name}: expected pages that can be written again, got a damaged or too large file"
        ) from error


@dataclass(frozen=True)
class _Page:
    """A directory at `start`, what points to it, where it points to the next one; samples as (offset, length)."""

    start: int
    pointer: int
    following: int
    reduced: bool
    spans: list[tuple[int, int]]


class _Chain:
    """The directories of the TIFF in an open file."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.prefix = self._read(0, 2)
        self.order = ">" if self.prefix == b"MM" else "<"
        self.big = self._numbers(2, "H")[0] == 43
        self.word, self.size = ("Q", 8) if self.big else ("I", 4)

    def pages(self) -> list[_Page]:
        """All of the chain. Raises ValueError if it runs in a circle."""
        found: list[_Page] = []
        seen: set[int] = set()
        pointer = 8 if self.big else 4
        while start := self._numbers(pointer, self.word)[0]:
            if start in seen or len(seen) > _MOST_PAGES:
                raise ValueError("a circle of pages")
            seen.add(start)
            found.append(self.page(start, pointer))
            pointer = found[-1].following
        return found

    def page(self, start: int, pointer: int) -> _Page:
        """The directory at `start`."""
        head, each = (8, 20) if self.big else (2, 12)
        (count,) = self._numbers(start, "Q" if self.big else "H")
        if count > 65_535:
            raise ValueError("too many tags")
        tags = {}
        for at in range(start + head, start + head + count * each, each):
            tag, kind, number = self._numbers(at, "HH" + self.word)
            if kind in _CODES and number < 1 << 26:
                length = number * _SIZES[kind]
                place = at + each - self.size
                tags[tag] = self._numbers(
                    place if length <= self.size else self._numbers(place, self.word)[0], f"{number}{_CODES[kind]}"
                )
        spans = [span for pair in _PLACES for span in zip(*(tags.get(tag, ()) for tag in pair), strict=False)]
        for below in tags.get(_SUB_IFDS, ()):
            spans += self.page(below, 0).spans if below > start else []  # above itself: no circle
        return _Page(start, pointer, start + head + count * each, bool(tags.get(_SUBFILE, (0,))[0] & 1), spans)

    def blank(self, spans: list[tuple[int, int]], kept: list[tuple[int, int]]) -> None:
        """Zeros where samples were, unless another page has them too."""
        end = self.file.seek(0, io.SEEK_END)
        for offset, length in set(spans):
            if offset + length <= end and not any(o < offset + length and offset < o + n for o, n in kept):
                self.file.seek(offset)
                self.file.write(bytes(length))

    def link(self, pointer: int, start: int) -> None:
        """Make what is at `pointer` point to `start`."""
        self.file.seek(pointer)
        self.file.write(struct.pack(self.order + self.word, start))

    def _read(self, at: int, length: int) -> bytes:
        self.file.seek(at)
        return self.file.read(length)

    def _numbers(self, at: int, layout: str) -> tuple[int, ...]:
        layout = self.order + layout
        return struct.unpack(layout, self._read(at, struct.calcsize(layout)))
