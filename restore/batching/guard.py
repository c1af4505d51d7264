"""What stands around one picture's work: a limit of time, and a list of what was told about it."""

from __future__ import annotations

import faulthandler
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import IO, Any

GRACE = 5.0  # seconds after which a process that cannot even say that time is up is ended


@contextmanager
def time_limit(seconds: float | None, action: Callable[[], None]) -> Iterator[None]:
    """Call `action` from another thread where the block takes longer; it should end the process, which ends anyway soon
    after, even while C code holds the interpreter."""
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()
    faulthandler.dump_traceback_later(seconds + GRACE, exit=True, file=_nowhere())
    try:
        yield
    finally:
        timer.cancel()
        faulthandler.cancel_dump_traceback_later()


class Notes:
    """Takes UserWarnings of every thread into the list that the thread has open, in place of printing them."""

    def __init__(self) -> None:
        self._open = threading.local()
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = self._hear

    @contextmanager
    def into(self, notes: list[str]) -> Iterator[None]:
        self._open.notes = notes
        try:
            yield
        finally:
            self._open.notes = None

    def _hear(self, message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        notes = getattr(self._open, "notes", None)
        if notes is not None and issubclass(category, UserWarning):
            notes.append(" ".join(str(message).split()))


@cache
def _nowhere() -> IO[str]:
    return open(os.devnull, "w")
