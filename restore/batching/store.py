"""Where results are put, and pictures fetched from that are no files: folders, and object stores through fsspec.

A result comes as a finished draft, and takes its place in one step, over nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from restore.errors import InputError
from restore.images.decode import SUFFIXES
from restore.images.files import reason, sha256_of


def is_url(path: str) -> bool:
    """Whether it names something that fsspec opens: s3://bucket/photo.jpg."""
    return "://" in path


class Store(Protocol):
    """The place of results. `name` is inside it, with "/"."""

    def draft(self, name: str, key: str) -> Path:
        """Where the result is to be written before it is put in place."""

    def taken(self, name: str) -> str | None:
        """What lies there already, in words."""

    def holds(self, name: str, sha256: str) -> bool:
        """Whether this result lies there."""

    def put(self, draft: Path, name: str, sha256: str) -> None:
        """Let the draft take its place, where nothing may be but the same. Raises InputError, OSError."""


class Folder:
    """A folder: drafts lie beside their places, hidden."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def draft(self, name: str, key: str) -> Path:
        goal = self.root / name
        return goal.with_name(f".batch-{key}{goal.suffix}")

    def taken(self, name: str) -> str | None:
        return f"{self.root / name}" if (self.root / name).exists() else None

    def holds(self, name: str, sha256: str) -> bool:
        return (self.root / name).is_file() and sha256_of(self.root / name) == sha256

    def put(self, draft: Path, name: str, sha256: str) -> None:
        goal = self.root / name
        try:
            os.link(draft, goal)
        except FileExistsError:
            if sha256_of(goal) != sha256:
                raise InputError(f"{goal}: expected a new file name, got an existing file") from None
        except OSError:  # a file system without links
            if goal.exists():
                raise InputError(f"{goal}: expected a new file name, got an existing file") from None
            os.replace(draft, goal)


class Objects:
    """An object store, whose objects appear whole; drafts lie in a local folder."""

    def __init__(self, url: str, drafts: Path) -> None:
        self.url, self.drafts = url.rstrip("/"), drafts

    def draft(self, name: str, key: str) -> Path:
        return self.drafts / f"{key}{Path(name).suffix}"

    def taken(self, name: str) -> str | None:
        files, path = opened(f"{self.url}/{name}")
        return f"{self.url}/{name}" if files.exists(path) else None

    def holds(self, name: str, sha256: str) -> bool:
        files, path = opened(f"{self.url}/{name}")
        if not files.exists(path):
            return False
        return hashlib.sha256(files.cat_file(path)).hexdigest() == sha256

    def put(self, draft: Path, name: str, sha256: str) -> None:
        files, path = opened(f"{self.url}/{name}")
        if files.exists(path) and not self.holds(name, sha256):
            raise InputError(f"{self.url}/{name}: expected a new name, got an existing object")
        files.pipe_file(path, draft.read_bytes())


def opened(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path there. Raises InputError."""
    try:
        from fsspec.core import url_to_fs

        files, path = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise InputError(f"{url}: expected a store that fsspec opens, got: {reason(error)}") from None
    return files, str(path)


def state_of(url: str) -> str:
    """What an object is known again by: size, and tag or time of change. Raises InputError."""
    files, path = opened(url)
    try:
        files.invalidate_cache()
        return _state(files.info(path))
    except Exception as error:  # every store has its own
        raise InputError(f"{url}: expected a readable object, got: {reason(error)}") from None


def fetched(url: str, folder: Path) -> Path:
    """A copy in `folder`, which is made. Raises InputError."""
    files, path = opened(url)
    goal = folder / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}{os.path.splitext(path)[1]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with files.open(path, "rb") as source, goal.open("wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
    except Exception as error:  # every store has its own
        raise InputError(f"{url}: expected a readable object, got: {reason(error)}") from None
    return goal


def pictures_at(url: str) -> Iterator[tuple[str, str, str]]:
    """(URL, name below `url`, state) of all pictures there, sorted; hidden ones and masks (X.mask.png) passed over.
    Raises InputError."""
    files, root = opened(url)
    try:
        found = files.find(root, detail=True)
    except Exception as error:  # every store has its own
        raise InputError(f"{url}: expected objects that can be listed, got: {reason(error)}") from None
    for path in sorted(found):
        name = path[len(root) :].lstrip("/") or path.rsplit("/", 1)[-1]
        stem, suffix = os.path.splitext(name)
        hidden = any(part.startswith(".") for part in name.split("/"))
        if suffix.lower() in SUFFIXES and not hidden and not stem.endswith(".mask"):
            yield files.unstrip_protocol(path), name, _state(found[path])


def _state(info: dict[str, Any]) -> str:
    marks = ("ETag", "etag", "md5Hash", "LastModified", "mtime", "created")
    return f"{info.get('size')} {next((info[name] for name in marks if name in info), '')}"
