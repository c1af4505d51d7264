"""Triplets on disk: WebDataset shards and a log that makes a build resumable wherever it was stopped.

A shard is a plain tar; the files of one sample share their name up to the first dot (Aizman et al., "High performance
I/O for large scale deep learning", 2019): KEY.source.png, KEY.target.png, KEY.mask.png, KEY.json. A sample is on
disk before the log's line that counts it, so what the log does not count is cut off when a build goes on. Headers
carry no time and no owner: the same samples make the same bytes.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from restore.images.geometry import Box

BLOCK = 512  # bytes, of a tar
PNG_LEVEL = 4  # a third of the best one's time for a twelfth more bytes

Entry = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Triplet:
    """source and target (H, W, 3) uint8, equal outside mask (H, W) bool; of an irrelevant instruction all over."""

    source: NDArray[np.uint8]
    target: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    instruction: str
    name: str
    box: Box
    par_hole: float
    quality: float

    @property
    def relevant(self) -> bool:
        return bool(self.mask.any())


def shard_name(number: int) -> str:
    return f"triplets-{number:06d}.tar"


class Log:
    """One JSON object per attempt, in order. A line that was cut off is dropped when the log is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[Entry] = []
        whole = 0
        for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
            try:
                self.entries.append(json.loads(line))
            except ValueError:
                break
            if not line.endswith(b"\n"):
                self.entries.pop()
                break
            whole += len(line)
        self._file = path.open("ab")
        self._file.truncate(whole)

    def append(self, entry: Entry) -> None:
        self.entries.append(entry)
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()
        if "sample" in entry:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class ShardWriter:
    """Writes samples into shards of `size`, one after the other; goes on after `count` that end at byte `end`."""

    def __init__(self, folder: Path, size: int, count: int = 0, end: int = 0) -> None:
        self.folder = folder
        self.size = size
        self.count = count
        self._file: io.BufferedRandom | None = None
        if count:
            self._reopen((count - 1) // size, end)

    def append(self, key: str, files: dict[str, bytes]) -> int:
        """Add a sample; the byte at which it ends in its shard."""
        if self._file is None:
            self._file = self._draft().open("w+b")
        for name, data in files.items():
            info = tarfile.TarInfo(f"{key}.{name}")
            info.size = len(data)
            self._file.write(info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % BLOCK))
        self._file.flush()
        os.fsync(self._file.fileno())
        self.count += 1
        return self._file.tell()

    def turn(self) -> None:
        """Finish the shard if it is full; called once its last sample is logged."""
        if self._file is not None and self.count % self.size == 0:
            self.close()

    def close(self) -> None:
        """Finish the shard that is being written, full or not."""
        if self._file is not None:
            draft = self._draft((self.count - 1) // self.size)
            self._file.write(bytes(2 * BLOCK))
            self._file.close()
            self._file = None
            os.replace(draft, draft.with_suffix(""))

    def release(self) -> None:
        """Let go of the shard that is being written, as it is: a later build goes on with it."""
        if self._file is not None:
            self._file.close()

    def _reopen(self, number: int, end: int) -> None:
        draft = self._draft(number)
        if not draft.exists():
            os.replace(self.folder / shard_name(number), draft)
        self._file = draft.open("r+b")
        self._file.truncate(end)
        self._file.seek(end)
        self.turn()

    def _draft(self, number: int | None = None) -> Path:
        return self.folder / (shard_name(self.count // self.size if number is None else number) + ".part")


def sample_files(triplet: Triplet, facts: Entry) -> dict[str, bytes]:
    """The files of one sample by the ends of their names; pictures without loss."""
    return {
        "source.png": _png(triplet.source),
        "target.png": _png(triplet.target),
        "mask.png": _png(triplet.mask.astype(np.uint8) * np.uint8(255)),
        "json": json.dumps(facts).encode(),
    }


def read_shards(folder: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """(key, files) of every sample in `folder`'s shards, in order."""
    for path in sorted(folder.glob("triplets-*.tar")):
        sample: dict[str, bytes] = {}
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                key, _, name = member.name.partition(".")
                sample[name] = tar.extractfile(member).read()  # type: ignore[union-attr]
                if name == "json":
                    yield key, sample
                    sample = {}


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=PNG_LEVEL)
    return buffer.getvalue()
