"""One piece of work: a folder with what was sent, and what is to be done with it.

The process that listens writes what was sent, the one that works reads it and writes the results beside it; only names
and numbers pass between them. A job is a case that is kept.
"""

from __future__ import annotations

import json
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from restore.provenance.credentials import Signer

TASKS = ("edit", "refine", "enhance", "segment", "assess")
SENT = ("image", "mask", "reference")  # names of uploads; several images are numbered


@dataclass(frozen=True)
class Case:
    """folder: its files; task: one of `TASKS`; options: JSON, checked (`fields`); signer: who signs its results."""

    folder: Path
    task: str
    options: dict[str, Any]
    signer: Signer | None = None

    @classmethod
    def new(cls, root: Path, task: str, options: dict[str, Any], name: str | None = None) -> Case:
        folder = root / (name or secrets.token_hex(16))
        folder.mkdir(parents=True)
        return cls(folder, task, options)

    def images(self) -> list[Path]:
        """The photos that were sent, in their order."""
        return [self.folder / f"image-{i}" for i in range(self.options["images"])]

    def sent(self, name: str) -> Path | None:
        """Another upload, None where there was none."""
        path = self.folder / name
        return path if path.exists() else None

    def drop_uploads(self) -> None:
        """Results stay."""
        for path in self.folder.iterdir():
            if path.name.partition("-")[0] in SENT and not path.suffix:
                path.unlink(missing_ok=True)

    def drop(self) -> None:
        with suppress(OSError):
            shutil.rmtree(self.folder)

    @property
    def text(self) -> str:
        """Its options, for a database."""
        return json.dumps(self.options)
