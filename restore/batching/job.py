"""What one batch is: its command, settings and folder; written down once, and held against what a later run asks."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore.batching.condition import Condition, read_condition
from restore.batching.fields import COMMANDS, check, check_words, part_of, read_settings
from restore.batching.naming import HOME, NAME, filled
from restore.batching.store import Folder, Objects, Store, is_url
from restore.edit.choose import models_for, settings_for
from restore.errors import InputError
from restore.images.files import reason, write_text
from restore.quality.catalogue import PER_IMAGE
from restore.settings import Settings
from restore.weights.store import digest

if TYPE_CHECKING:
    from restore.provenance.credentials import Signer

RESULTS = "results.jsonl"
KINDS = ("jpeg", "png", "webp", "tiff", "bmp")
MEASURES = {  # of a result, by command: what a condition may ask for
    "inpaint": ("par_hole", "par_image", "quality", "confidence", "presence_share", "seconds"),
    "refine": ("par_hole", "par_image", "quality", "confidence", "seconds"),
    "enhance": ("par_image", "quality", "score", "consistency", "seconds"),
    "assess": tuple(PER_IMAGE),
}


@dataclass(frozen=True)
class Job:
    """command: one of COMMANDS; out: the folder or URL it writes to; folder: of the ledger, where out is a URL;
    settings: for every picture, as `fields` reads them.

    name: what outputs are called, of {stem} and {suffix}; kind: the format they get, None: the input's. keep_if: a
    condition such as "par_hole < 0.1 and quality > 50"; what fails it goes to OUT/rejected. content: know inputs again
    by sha256 rather than by size and time. threads: of a worker; another number rounds differently. timeout: seconds a
    picture may take; recycle: pictures, memory: GB after which a worker is replaced. sign: who signs what is written,
    the fields of a `Signer` or one itself. Raises InputError.
    """

    command: str
    out: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    folder: str | None = None
    name: str = NAME
    kind: str | None = None
    keep_if: str | None = None
    content: bool = False
    threads: int = 1
    timeout: float | None = None
    recycle: int | None = None
    memory: float | None = None
    sign: Mapping[str, str] | Signer | None = None

    def __post_init__(self) -> None:
        if self.command not in COMMANDS:
            raise InputError(f"expected a command out of {', '.join(COMMANDS)}, got {self.command!r}")
        object.__setattr__(self, "settings", read_settings(self.command, self.settings))
        if self.kind is not None and self.kind.lower() not in KINDS:
            raise InputError(f"expected a format out of {', '.join(KINDS)}, got {self.kind!r}")
        if is_url(self.out) != (self.folder is not None):
            raise InputError(
                f"expected a folder of the ledger (--ledger) for results at a URL, and only there, got {self.out}"
            )
        if self.sign is not None and not isinstance(self.sign, Mapping):
            object.__setattr__(self, "sign", self.sign.named())
        if self.signer is not None and not self.writes:
            raise InputError(f"expected a command that writes pictures to sign, got {self.command}")
        filled(self.name, stem="a", suffix=".png")
        read_condition(self.keep_if, MEASURES[self.command])
        for label in ("threads", "recycle", "timeout", "memory"):
            value = getattr(self, label)
            if value is not None and not value > 0:
                raise InputError(f"expected {label} above 0, got {value}")

    @property
    def root(self) -> Path:
        """The folder of the ledger and the pages."""
        return Path(self.folder or self.out)

    @property
    def home(self) -> Path:
        return self.root / HOME

    @property
    def results(self) -> Path:
        return self.root / RESULTS

    @property
    def store(self) -> Store:
        """Where its pictures are put."""
        return Objects(self.out, self.home / "drafts") if is_url(self.out) else Folder(Path(self.out))

    @cached_property
    def signer(self) -> Signer | None:
        """Who signs; opened once in a process."""
        from restore.provenance.credentials import Signer

        return Signer(**self.sign) if isinstance(self.sign, Mapping) else None

    @property
    def writes(self) -> bool:
        """Whether it makes pictures."""
        return self.command != "assess"

    @property
    def condition(self) -> Condition:
        return read_condition(self.keep_if, MEASURES[self.command])

    def identity(self) -> dict[str, Any]:
        """All that the results depend on besides the pictures."""
        names = ("command", "settings", "name", "kind", "keep_if", "content", "threads")
        own = {name: getattr(self, name) for name in names} | {"weights": digest()}
        return own if self.signer is None else own | {"signed with": os.fspath(self.signer.cert)}

    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()[:16]

    def as_json(self) -> dict[str, Any]:
        """What `Job(**...)` makes this again from."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def begin(self) -> None:
        """Make the folder, and write down what is done in it, or check that it is the same as before.

        Raises InputError where the settings are others than those of the results that are there already.
        """
        path, own = self.home / "job.json", self.identity()
        try:
            (self.home / "receipts").mkdir(parents=True, exist_ok=True)
            for name in ("trying", "drafts"):
                (self.home / name).mkdir(exist_ok=True)
            known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        except (OSError, ValueError) as error:
            raise InputError(f"{self.out}: expected a folder to write a batch to, got: {reason(error)}") from None
        if known is None:
            write_text(json.dumps(own, indent=1), path, what="job")
        elif known != json.loads(json.dumps(own)):
            told = ", ".join(_differences(known, own))
            raise InputError(
                f"{self.out}: expected the settings of the batch that is there, got {told}; use a new folder"
            )

    def check_all(self, *, rows_say_more: bool) -> None:
        """What can be found wrong without any picture. rows_say_more: a table may give what is missing here.

        Raises InputError, ModelUnavailableError.
        """
        if not rows_say_more:
            check(self.command, self.settings)
        if self.command == "inpaint":
            check_words(self.settings)
        find_models(self.command, self.settings)


def find_models(command: str, settings: Mapping[str, Any]) -> None:
    """Raises InputError, ModelUnavailableError where the models are not on this machine. Loads nothing."""
    if command in ("inpaint", "refine"):
        models_for(settings_for(None, **part_of(Settings, settings)))
    elif command == "enhance" and (model := settings.get("model", Settings.model)) != Settings.model:
        from restore.pipelines.hub.prior import find_prior
        from restore.pipelines.restoration.realesrgan import NAME, find_realesrgan

        find_realesrgan() if model == NAME else find_prior(model)


def _differences(known: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """ "passes 5 instead of 3"."""
    old, new = ({**side, **side.get("settings", {})} for side in (known, asked))
    names = [name for name in {**new, **old} if name != "settings"]
    return [
        f"{name} {new.get(name)!r} instead of {old.get(name)!r}" for name in names if new.get(name) != old.get(name)
    ]
