"""What was done, a line of JSON per picture, appended as it happens: `results.jsonl` is the ledger of a batch.

A line counts once it ends. Before a result takes its place its line lies as a receipt in a file of its own: a process
that is killed between the two leaves a receipt that says so, and nothing is computed again. One process writes the
ledger, the driver that holds the lease; receipts are written by the workers.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from restore.batching.record import Record, line_of
from restore.errors import InputError
from restore.images.files import reason, replacing, write_text

_KEY, _STATUS = slice(9, 41), slice(55, 56)  # of a line: {"key": "<32 hex digits>", "status": "d…
SETTLE = 1.0  # seconds between lines reaching the disk for good


class Receipts:
    """Records of results that may not be in the ledger yet, by key; one small file each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, record: Mapping[str, Any]) -> None:
        write_text(line_of(record), self._path(record["key"]), what="receipt", overwrite=True)

    def find(self, key: str) -> Record | None:
        try:
            record = json.loads(self._path(key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return dict(record)

    def drop(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def keys(self) -> Iterator[str]:
        """All there are."""
        with suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith(".json"):
                    yield entry.name.removesuffix(".json")

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"


class Ledger:
    """The ledger for its one writer. done, failed: 16-byte keys of lines that were there."""

    def __init__(self, path: Path, receipts: Receipts) -> None:
        """Reads what is there; a last line that was cut off is taken away. Raises InputError."""
        self.path, self.receipts = path, receipts
        self._settled, self._loose = time.monotonic(), list[str]()
        self.done, self.failed, end = _keys(path)
        try:
            self._file = path.open("ab")
            if self._file.tell() > end:  # a line that was cut off
                self._file.truncate(end)
        except OSError as error:
            raise InputError(f"{path}: expected a ledger to write to, got: {reason(error)}") from None
        for key in [*receipts.keys()]:
            if bytes.fromhex(key) in self.done or bytes.fromhex(key) in self.failed:
                receipts.drop(key)

    def append(self, record: Mapping[str, Any]) -> None:
        """Raises InputError where the disk refuses; the receipt then stays."""
        try:
            self._file.write((line_of(record) + "\n").encode())
            self._file.flush()
            self._loose.append(record["key"])
            if time.monotonic() - self._settled > SETTLE:
                self.settle()
        except OSError as error:
            raise InputError(f"{self.path}: expected to write results, got: {reason(error)}") from None

    def settle(self) -> None:
        """Wait until all lines are on the disk, and only then drop their receipts."""
        os.fsync(self._file.fileno())
        for key in self._loose:
            self.receipts.drop(key)
        self._settled = time.monotonic()
        self._loose.clear()

    def close(self) -> None:
        with suppress(OSError):  # a full disk: the receipts stay
            self.settle()
        self._file.close()


def finished_keys(path: Path) -> tuple[set[bytes], set[bytes]]:
    """16-byte keys of what is done and of what failed, by a ledger that may not be there. Raises InputError."""
    return _keys(path)[:2]


def _keys(path: Path) -> tuple[set[bytes], set[bytes], int]:
    """(done, failed, where the last whole line ends)."""
    done, failed, end = set[bytes](), set[bytes](), 0
    try:
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                end += len(line)
                key = bytes.fromhex(line[_KEY].decode("ascii"))
                if line[_STATUS] == b"d":
                    done.add(key)
                    failed.discard(key)
                else:
                    failed.add(key)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise InputError(f"{path}: expected a readable ledger, got: {reason(error)}") from None
    except ValueError:
        raise InputError(f"{path}: expected lines of a batch, got {line[:60]!r}; use a new folder") from None
    return done, failed, end


def read_records(path: Path) -> Iterator[Record]:
    """The records of a ledger, one by one."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def drop_superseded(path: Path) -> None:
    """Leave the last line of every "id" only: earlier ones failed, and were tried again."""
    last: dict[int, int] = {}
    lines = 0
    for lines, record in enumerate(read_records(path), 1):
        last[hash(record["id"])] = lines
    if len(last) == lines:
        return
    with path.open("rb") as all_lines, replacing(path, what="ledger", overwrite=True) as file:
        for number, line in enumerate(all_lines, 1):
            if last[hash(json.loads(line)["id"])] == number:
                file.write(line)
