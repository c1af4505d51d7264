"""One driver per batch: a lease file that it holds and keeps fresh, and that its workers look at.

On one machine a lock on the file decides, which the system releases when the driver is gone. Elsewhere, or where the
file system has no locks, the beat does: a file whose time stands still for `STALE` seconds belongs to nobody. Workers
stop when the lease names another driver or its beat stands still, so that none outlives its driver by more than that.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from restore.errors import InputError
from restore.images.files import fcntl, reason

BEAT, STALE = 2.0, 15.0  # seconds


class Lease:
    """Held from `__init__` to `close`. Raises InputError where another driver holds it."""

    def __init__(self, path: Path, *, beat: float = BEAT, stale: float = STALE) -> None:
        self.path, self.token, self._beat = path, secrets.token_hex(8), beat
        try:
            self._file = path.open("a+b")
            try:
                self._take(stale)
            except BaseException:
                self._file.close()
                raise
            own = {"token": self.token, "host": socket.gethostname(), "pid": os.getpid()}
            self._file.truncate(0)
            self._file.write(json.dumps(own).encode())
            self._file.flush()
            os.utime(path)
        except OSError as error:
            raise InputError(f"{path}: expected a lease to hold, got: {reason(error)}") from None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def lost(self) -> bool:
        """Whether another driver has taken over."""
        return _token(self.path) != self.token

    def close(self) -> None:
        """Give it up: workers that still run stop."""
        self._stopped.set()
        self._thread.join()
        with suppress(OSError):
            self._file.truncate(0)
        self._file.close()

    def _take(self, stale: float) -> None:
        if fcntl is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(self._refusal()) from None
            except OSError:  # a file system without locks
                pass
        self._file.seek(0)
        try:
            held = json.loads(self._file.read() or b"null")
        except ValueError:
            held = None
        if not isinstance(held, dict) or (fcntl is not None and held.get("host") == socket.gethostname()):
            return
        before, end = self.path.stat().st_mtime_ns, time.monotonic() + stale
        while time.monotonic() < end:
            time.sleep(min(0.2, stale))
            _token(self.path)  # opening it makes NFS look for the file's time anew
            if self.path.stat().st_mtime_ns != before:
                raise InputError(self._refusal())

    def _refusal(self) -> str:
        with suppress(OSError, ValueError):
            held = json.loads(self.path.read_text())
            return (
                f"{self.path.parent.parent}: expected a batch that nobody works on, got one held by process "
                f"{held['pid']} on {held['host']}; wait for it or stop it"
            )
        return f"{self.path.parent.parent}: expected a batch that nobody works on, got one that another process holds"

    def _keep(self) -> None:
        while not self._stopped.wait(self._beat):
            with suppress(OSError):
                os.utime(self.path)


def watch(path: Path, token: str, leave: Callable[[], None], *, beat: float = BEAT, stale: float = STALE) -> None:
    """In a worker: call `leave` from a thread once the lease is no longer the driver's whose `token` this is."""

    def look() -> None:
        seen, since = 0, time.monotonic()
        while True:
            if not is_held(path, token):
                leave()
                return
            with suppress(OSError):
                if (found := path.stat().st_mtime_ns) != seen:
                    seen, since = found, time.monotonic()
            if time.monotonic() - since > stale:
                leave()
                return
            time.sleep(beat)

    threading.Thread(target=look, daemon=True).start()


def is_held(path: Path, token: str) -> bool:
    """Whether the lease is still that of `token`."""
    return _token(path) == token


def _token(path: Path) -> str | None:
    try:
        return str(json.loads(path.read_text())["token"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
