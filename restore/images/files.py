"""Files written whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from restore.errors import InputError

if TYPE_CHECKING:
    pass


def write_text(text: str, path: Path, *, overwrite: bool = False) -> None:
    """Write `text` to `path`, whole or not at all.

    Raises InputError as `check_report` does, and if the disk refuses.
    """
    check_report(path, overwrite=overwrite)
    data = text.encode("utf-8", errors="replace")  # file names may hold undecodable bytes
    goal = Path(os.path.realpath(path))  # a link is followed, not replaced
    draft = goal.with_name(f".restore-{secrets.token_hex(8)}.tmp")
    try:
        try:
            draft.write_bytes(data)
            os.replace(draft, goal)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(f"{path}: expected to write a report, got: {error.strerror or error}") from error


def check_report(path: Path, *, overwrite: bool = False) -> None:
    """Raise InputError for a missing or unwritable folder, and for an existing file unless `overwrite`."""
    try:
        folder, taken, exists = path.parent.is_dir(), path.is_dir(), path.exists()
    except OSError as error:  # e.g. a name that is too long
        reason = error.strerror or error
        raise InputError(f"{path}: expected a place that can be written to, got: {reason}") from error
    if not folder:
        raise InputError(f"{path}: expected an existing folder, found none at {path.parent}; create it first")
    if taken:
        raise InputError(f"{path}: expected a file name for the report, got a folder")
    if exists and not overwrite:
        raise InputError(f"{path}: expected a new file name, got an existing file; allow overwriting or rename")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"{path}: expected a folder that can be written to, got the read-only {path.parent}")
