"""Files written whole or not at all: the one way in which this package writes.

What is written goes into a draft beside its goal and takes its place at the end. A process that is killed leaves its
draft behind, unlocked; the next one that writes into the folder deletes it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO

from restore.errors import InputError

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be deleted: no lock is needed
    fcntl = None  # type: ignore[assignment]

AnyPath = str | os.PathLike[str]
_DRAFT = ".restore-{}.tmp"


@contextmanager
def replacing(path: AnyPath, *, what: str = "file", overwrite: bool = False) -> Iterator[IO[bytes]]:
    """A new file that takes its place at `path` once it is written; where the block fails nothing is left of it.

    A link is followed, the mode of a file that is replaced stays. `what` the file is goes into the message.
    Raises InputError as `check_place` does, and if the disk refuses.
    """
    check_place(path, overwrite=overwrite)
    goal = Path(os.path.realpath(path))
    try:
        _sweep(goal.parent)
        draft, file = _draft(goal.parent)
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                if goal.exists():
                    shutil.copymode(goal, draft)
                if fcntl is not None:
                    os.replace(draft, goal)  # before the lock goes with the file
            if fcntl is None:
                os.replace(draft, goal)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    except InputError:
        raise
    except (OSError, ValueError, MemoryError, struct.error) as error:
        raise InputError(f"{path}: expected to write a {what}, got: {reason(error)}") from error


def write_text(text: str, path: AnyPath, *, what: str = "report", overwrite: bool = False) -> None:
    """Write `text` to `path`, whole or not at all. Raises InputError as `replacing` does."""
    with replacing(path, what=what, overwrite=overwrite) as file:
        file.write(text.encode("utf-8", errors="replace"))  # file names may hold undecodable bytes


def check_place(path: AnyPath, *, overwrite: bool = False) -> None:
    """Raise InputError for a missing or unwritable folder, and for an existing file unless `overwrite`."""
    path = Path(path)
    try:
        folder, taken, exists = path.parent.is_dir(), path.is_dir(), path.exists()
    except (OSError, ValueError) as error:  # e.g. a name that is too long
        raise InputError(f"{path}: expected a place that can be written to, got: {reason(error)}") from error
    if not folder:
        raise InputError(f"{path}: expected an existing folder, found none at {path.parent}; create it first")
    if taken:
        raise InputError(f"{path}: expected a file name to write to, got a folder")
    if exists and not overwrite:
        raise InputError(f"{path}: expected a new file name, got an existing file; allow overwriting or rename")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"{path}: expected a folder that can be written to, got the read-only {path.parent}")


def sha256_of(path: AnyPath) -> str:
    """Hex digest of a file's content. Raises OSError."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def reason(error: Exception) -> str:
    """What an error says, in one line."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return " ".join(text.split())


def _draft(folder: Path) -> tuple[Path, IO[bytes]]:
    """A new file in `folder`, locked until it is closed."""
    while True:
        draft = folder / _DRAFT.format(secrets.token_hex(8))
        file = draft.open("x+b")
        if fcntl is not None:
            with suppress(OSError):  # file systems without locks: no draft is swept there
                fcntl.flock(file, fcntl.LOCK_EX)
            if not os.fstat(file.fileno()).st_nlink:  # swept away before it was locked
                file.close()
                continue
        return draft, file


@cache
def _sweep(folder: Path) -> None:
    """`sweep`, once a process."""
    sweep(folder)


def sweep(folder: Path) -> None:
    """Delete the drafts that killed processes left in `folder`."""
    for draft in folder.glob(_DRAFT.format("*")):
        with suppress(OSError), draft.open("rb") as file:  # a lock that is held raises
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            draft.unlink()
