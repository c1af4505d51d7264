"""What a GGUF file says of itself at its beginning (github.com/ggml-org/ggml, docs/gguf.md). Nothing is loaded.

Read here and not by the package `gguf`, which believes every length it finds.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

MOST = 1 << 21  # tensors, or entries of a list such as the words of a language model
LONGEST = 1 << 27  # bytes of a text or a list of numbers
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes of a value by its type's number
UINT32, TEXT, LIST = 4, 8, 9


@dataclass(frozen=True)
class GgufTensor:
    """kind: the number of its type in ggml; start: bytes from where the tensors begin."""

    shape: tuple[int, ...]
    kind: int
    start: int


@dataclass(frozen=True)
class GgufHeader:
    """architecture: "flux", "llama", …, "" where it does not say; tensors: by name; start: where they begin, bytes."""

    architecture: str
    tensors: dict[str, GgufTensor]
    start: int


def gguf_header(file: Path) -> GgufHeader:
    """Raises ValueError where it is no GGUF or is cut short before the tensors, OSError where it cannot be read."""
    with file.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise ValueError("it is no GGUF file")
        version, tensors, values = _read(stream, "<IQQ")
        if version not in (2, 3) or max(tensors, values) > MOST:
            raise ValueError(f"it is of version {version}, with {tensors} tensors")
        said = dict(_value(stream) for _ in range(values))
        found = dict(_tensor(stream) for _ in range(tensors))
        align = max(1, int(said.get("general.alignment") or 32))
        return GgufHeader(str(said.get("general.architecture") or ""), found, -(-stream.tell() // align) * align)


def _read(stream: BinaryIO, form: str) -> tuple[Any, ...]:
    size = struct.calcsize(form)
    read = stream.read(size)
    if len(read) != size:
        raise ValueError("it is cut short")
    return struct.unpack(form, read)


def _text(stream: BinaryIO) -> str:
    (length,) = _read(stream, "<Q")
    if length > LONGEST:
        raise ValueError(f"it has a text of {length} bytes")
    return bytes(_read(stream, f"{length}s")[0]).decode("utf-8", "replace")


def _value(stream: BinaryIO) -> tuple[str, str | int | None]:
    """A key with its text or whole number; other values are passed over."""
    key, (kind,) = _text(stream), _read(stream, "<I")
    if kind == TEXT:
        return key, _text(stream)
    if kind == UINT32:
        return key, int(_read(stream, "<I")[0])
    length = 1
    if kind == LIST:
        kind, length = _read(stream, "<IQ")
        if kind == TEXT and length <= MOST:
            for _ in range(length):
                _text(stream)
            return key, None
    if kind not in SIZES or length > LONGEST:
        raise ValueError(f"it has {length} values of type {kind}")
    stream.seek(SIZES[kind] * length, 1)
    return key, None


def _tensor(stream: BinaryIO) -> tuple[str, GgufTensor]:
    name, (dimensions,) = _text(stream), _read(stream, "<I")
    if dimensions > 4:
        raise ValueError(f"it has a tensor of {dimensions} dimensions")
    shape = _read(stream, f"<{dimensions}Q")
    return name, GgufTensor(shape, *_read(stream, "<IQ"))
