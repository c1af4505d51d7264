"""Measure many pictures: one by one, in parallel, remembered on disk, resumable.

Every picture is measured on its own by one thread, so neither its neighbours nor the number of jobs can change
a number. What was measured is kept by the content of the files, not by their names: an interrupted run goes on
where it stopped, and a second command on the same pictures only reads.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from restore.errors import InputError
from restore.images.files import sha256_of
from restore.images.mask import load_mask
from restore.images.photo import load_photo
from restore.measure.assessor import RGB, Assessor, Mask, Scores
from restore.measure.memory import Memory


@dataclass(frozen=True)
class Item:
    """One picture to measure, where it was edited (None: unknown), and its truth (None: unknown)."""

    image: Path
    mask: Path | None = None
    reference: Path | None = None


@dataclass
class Record:
    """What was measured of one picture; `error` says why nothing was. features (D,) by feature network."""

    image: Path
    sha256: str = ""
    size: tuple[int, int] = (0, 0)
    scores: Scores = field(default_factory=dict)
    features: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    error: str | None = None


def assess_files(
    items: Sequence[Item], assessor: Assessor, memory: Memory, jobs: int | None = None, *, features: bool = False
) -> Iterator[Record]:
    """Records of `items` in their order, as they come. What cannot be read or measured has an `error`.

    jobs: pictures measured at once, one per CPU unless told.

    Sets torch to one thread per operation: pictures, not operations, are what runs in parallel.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(jobs or cpus)
    try:
        yield from pool.map(lambda item: measure(item, assessor, memory, features=features), items)
    finally:
        pool.shutdown(cancel_futures=True)


def measure(item: Item, assessor: Assessor, memory: Memory, *, features: bool = False) -> Record:
    """All that can be measured of one picture, remembered or new. Never raises for a bad file: see `Record.error`."""
    record = Record(item.image)
    try:
        digests = [_digest(path) for path in (item.image, item.mask, item.reference)]
        record.sha256 = digests[0]
        loaded = _Pictures(item)
        base = [assessor.version, digests[0]]

        def scores(part: str, compute: Callable[[], dict[str, Any]], *more: str) -> dict[str, Any]:
            found = memory.recall(_key(*base, part, *more), lambda: json.dumps(compute()).encode())
            return dict(json.loads(found))

        record.size = tuple(scores("size", lambda: {"size": loaded.size})["size"])
        record.scores = scores("alone", lambda: assessor.alone(loaded.image, loaded.hole), digests[1])
        if item.reference is not None:
            record.scores |= scores(
                "against", lambda: assessor.against(loaded.image, loaded.truth, loaded.hole), *digests[1:]
            )
        wanted = ("lite0", *assessor.nets) if features else ("lite0",) if assessor.mbc is not None else ()
        for net in wanted:
            more = assessor.nets[net].digest if net in assessor.nets else ""
            row = memory.recall(
                _key(*base, "features", net, more),
                lambda net=net: assessor.features(loaded.image, net).astype("<f4").tobytes(),  # type: ignore[misc]
            )
            record.features[net] = np.frombuffer(row, "<f4")
        if assessor.mbc is not None:
            record.scores["giqa_mbc"] = float(assessor.mbc.score(record.features["lite0"][None].copy())[0])
    except InputError as error:
        named = str(item.image) in str(error)
        record.error = str(error) if named else f"{item.image}: {error}"
    return record


class _Pictures:
    """The files of an item, decoded when first asked for: nothing is when all numbers are remembered."""

    def __init__(self, item: Item) -> None:
        self.item = item

    @cached_property
    def image(self) -> RGB:
        return load_photo(self.item.image).pixels.copy()  # torch wants arrays that could be written to

    @cached_property
    def truth(self) -> RGB:
        if self.item.reference is None:
            raise InputError(f"{self.item.image}: expected a reference, got none")
        return load_photo(self.item.reference).pixels.copy()

    @cached_property
    def hole(self) -> Mask | None:
        return None if self.item.mask is None else load_mask(self.item.mask, self.size)

    @property
    def size(self) -> tuple[int, int]:
        return self.image.shape[1], self.image.shape[0]


def _digest(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return sha256_of(path)
    except OSError as error:
        raise InputError(f"{path}: expected a readable file, got: {error.strerror or error}") from error


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
