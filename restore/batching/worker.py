"""The one worker: takes an item, leaves its picture in place, and gives back its record. Executors only feed it.

A result is written beside its goal, then its receipt, then it takes its place. So a worker may be killed at any moment:
who gets the item next finds either a receipt and the picture it speaks of, and computes nothing, or does it anew.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from restore.batching.fields import PATHS
from restore.batching.guard import Notes, time_limit
from restore.batching.job import Job
from restore.batching.lease import is_held
from restore.batching.ledger import Receipts
from restore.batching.naming import REJECTED, paths_of
from restore.batching.perform import Outcome, Performer, kind_of, scale_of
from restore.batching.record import DONE, FAILED, Record, failure, record_of
from restore.batching.store import fetched, is_url
from restore.errors import InputError, RestoreError, UnsureError
from restore.images.files import reason, sha256_of
from restore.images.huge import AnyPhoto, check_goal, save_any
from restore.images.photo import Seal

Item = Mapping[str, Any]
TRIES = 3  # workers that an item may take with it
TIME_UP = 75  # exit code


@dataclass
class Loaded:
    """A picture that was read ahead, or why it could not be; image, settings: as it is found here; copies: local copies
    of what lies elsewhere, by URL; notes: what was told about it."""

    image: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)
    photo: AnyPhoto | None = None
    error: Exception | None = None
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Worker:
    """token: of the lease under which results may be put in place."""

    def __init__(self, job: Job, token: str) -> None:
        self.job, self.token, self.done = job, token, 0
        self.store = job.store
        self.receipts = Receipts(job.home / "receipts")
        self._performer = Performer(job.command)
        self._notes, self._placing = Notes(), threading.Lock()

    def warm(self) -> None:
        """Load what every picture needs, and keep to the job's threads. Raises RestoreError."""
        import cv2
        import torch

        torch.set_num_threads(self.job.threads)
        cv2.setNumThreads(self.job.threads)
        self._performer.warm(self.job.settings)

    def load(self, item: Item) -> Loaded:
        """Read an item's picture; may be called from another thread, ahead of its turn."""
        begun, loaded = time.perf_counter(), Loaded()
        trying = self._trying(item)
        if (tries := _size(trying)) >= TRIES:
            loaded.error = InputError(f"expected a picture that can be worked on, got {tries} workers that died of it")
            return loaded
        with self._notes.into(loaded.notes):
            try:
                with trying.open("ab") as file:
                    file.write(b".")
                loaded.settings = {**self.job.settings, **item["settings"]}
                loaded.image = self._fetch(item, loaded)
                loaded.photo = self._performer.open(loaded.image, loaded.settings)
            except Exception as error:
                loaded.error = error
        loaded.seconds = time.perf_counter() - begun
        return loaded

    def __call__(self, item: Item, load: Callable[[], Loaded] | None = None) -> Record:
        """The record of an item, whose result is then in its place. load: gives the picture if it is read ahead."""
        with time_limit(self.job.timeout, self._out_of_time(item)):
            record = self._known(item) or self._attempt(item, load or (lambda: self.load(item)))
        for left in (self._trying(item), *(self._draft(item, folder) for folder in ("", REJECTED))):
            left.unlink(missing_ok=True)
        shutil.rmtree(self._copies(item), ignore_errors=True)
        self.done += 1
        return record

    def is_worn(self) -> bool:
        """Whether it should be replaced by a fresh one."""
        job = self.job
        return (job.recycle is not None and self.done >= job.recycle) or (
            job.memory is not None and _resident() > job.memory * 1e9
        )

    def _attempt(self, item: Item, load: Callable[[], Loaded]) -> Record:
        begun, loaded = time.perf_counter(), load()
        try:
            if loaded.error is not None:
                raise loaded.error
            kind = None
            if loaded.photo is not None:
                kind = kind_of(item["id"], loaded.photo, self.job.kind)
                self._check_goal(item, loaded.photo, kind, scale_of(self.job.command, loaded.settings))
            with self._notes.into(loaded.notes):
                outcome = self._performer(loaded.image, loaded.photo, loaded.settings)
            told = outcome.told | {"seconds": round(time.perf_counter() - begun + loaded.seconds, 3)}
            record = record_of(self.job, item, DONE, told) | {"warnings": loaded.notes}
            signer, made = self.job.signer, outcome.record
            seal = None if signer is None or made is None else signer.seal(made, loaded.image)
            return self._put(record, outcome, kind, seal)
        except MemoryError:
            return failure(
                self.job, item, "expected enough memory, got too little; use fewer workers or smaller photos"
            )
        except RestoreError as error:
            more = {"candidates": error.candidates} if isinstance(error, UnsureError) else {}
            text = str(error)
            for url, copy in loaded.copies.items():
                text = text.replace(copy, url)
            return failure(self.job, item, text, more)
        except Exception as error:  # whatever it is, it is this picture's alone
            return failure(self.job, item, f"expected a result, got {type(error).__name__}: {reason(error)}")

    def _check_goal(self, item: Item, photo: AnyPhoto, kind: str | None, scale: int) -> None:
        """Can the result be written? Raises InputError, OSError."""
        if (taken := self.store.taken(item["id"])) is not None:
            raise InputError(f"{taken}: expected a new file name, got an existing file")
        draft = self._draft(item, "")
        draft.parent.mkdir(parents=True, exist_ok=True)
        try:
            written = check_goal(photo, draft, kind=kind, scale=scale, overwrite=True)
        except InputError as error:
            raise InputError(str(error).replace(str(draft), item["id"])) from None
        if self.job.signer is not None:
            self.job.signer.check(written, photo)

    def _put(self, record: Record, outcome: Outcome, kind: str | None, seal: Seal | None = None) -> Record:
        """Write the result, then the receipt, then let the result take its place."""
        record["kept"] = self.job.condition.holds(record)
        if outcome.photo is None:
            self.receipts.write(record)
            return record
        folder = "" if record["kept"] else REJECTED
        name, draft = _inside(folder, record), self._draft(record, folder)
        draft.parent.mkdir(parents=True, exist_ok=True)
        try:
            save_any(outcome.photo, draft, kind=kind, overwrite=True, seal=seal)
            record["width"], record["height"] = outcome.photo.size
            record["output"], record["sha256"] = name, sha256_of(draft)
            with self._placing:
                if not is_held(self.job.home / "lease", self.token):
                    raise InputError("expected the lease of the batch, got another driver's; this worker stops")
                self.receipts.write(record)
                self.store.put(draft, name, record["sha256"])
        except InputError as error:
            self.receipts.drop(record["key"])
            raise InputError(str(error).replace(str(draft), name)) from None
        return record

    def _known(self, item: Item) -> Record | None:
        """What a worker that was killed had finished."""
        record = self.receipts.find(item["key"])
        if record is None or record["status"] == FAILED or not self.job.writes:
            return record
        return record if self.store.holds(record["output"], record["sha256"]) else None

    def _draft(self, item: Item, folder: str) -> Path:
        """Where a result is written before it takes its place in OUT/folder."""
        return self.store.draft(_inside(folder, item), item["key"])

    def _trying(self, item: Item) -> Path:
        """A file with a byte per worker that began with the item and did not end."""
        return self.job.home / "trying" / item["key"]

    def _copies(self, item: Item) -> Path:
        """A folder for what has to be fetched."""
        return Path(tempfile.gettempdir(), f"restore-{self.token}", item["key"])

    def _fetch(self, item: Item, loaded: Loaded) -> str:
        """The picture's path here, with its files' in `loaded.settings`. Raises InputError."""
        named = {name: paths_of(loaded.settings.get(name)) for name in PATHS}
        for path in (item["image"], *(path for paths in named.values() for path in paths)):
            if is_url(path):
                loaded.copies[path] = str(fetched(path, self._copies(item)))
        for name, paths in named.items():
            if any(path in loaded.copies for path in paths):
                here = [loaded.copies.get(path, path) for path in paths]
                loaded.settings[name] = here if isinstance(loaded.settings[name], list) else here[0]
        return loaded.copies.get(item["image"]) or str(item["image"])

    def _out_of_time(self, item: Item) -> Callable[[], None]:
        def leave() -> None:
            with suppress(Exception), self._placing:
                if self.receipts.find(item["key"]) is None:
                    error = f"expected a result within {self.job.timeout:g} s, got none"
                    self.receipts.write(failure(self.job, item, error))
            os._exit(TIME_UP)

        return leave


def _inside(folder: str, item: Item) -> str:
    return f"{folder}/{item['id']}" if folder else str(item["id"])


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _resident() -> int:
    """Bytes of memory that this process takes."""
    import psutil

    return int(psutil.Process().memory_info().rss)
