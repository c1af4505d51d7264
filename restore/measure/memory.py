"""Measured numbers kept on disk by what they depend on."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from restore.errors import InputError


class Memory:
    """Numbers by key in one SQLite file, shared by threads and by processes. `path` None: nothing outlives the run.

    A key is a hash of all that a number depends on; there is nothing to invalidate. A damaged file raises InputError.
    """

    def __init__(self, path: Path | None) -> None:
        self.path, self.lock = path, threading.Lock()
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self.file = sqlite3.connect(path or ":memory:", check_same_thread=False, timeout=60)
            self.file.execute("PRAGMA journal_mode=WAL")
            self.file.execute("PRAGMA synchronous=NORMAL")
            self.file.execute("CREATE TABLE IF NOT EXISTS measured (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"{path}: expected a file to remember measurements in, got: {error}; delete it") from error

    def recall(self, key: str, measure: Callable[[], bytes]) -> bytes:
        """The bytes of `key`, measured and kept if they are not there yet."""
        with self.lock:
            row = self.file.execute("SELECT value FROM measured WHERE key = ?", (key,)).fetchone()
        if row is not None:
            return bytes(row[0])
        value = measure()
        with self.lock, self.file:
            self.file.execute("INSERT OR REPLACE INTO measured VALUES (?, ?)", (key, value))
        return value

    def close(self) -> None:
        self.file.close()


def default_memory() -> Path:
    """Where numbers are kept unless told: the user's cache folder ($XDG_CACHE_HOME or ~/.cache)."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "restore" / "measured.sqlite3"
