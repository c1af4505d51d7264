"""What an edit came to, as plain data: results hand it out, reports read it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from restore.edit.area import Mask, Outcome, PassRecord
from restore.edit.presence import Presence
from restore.edit.request import Part, sources
from restore.images.geometry import mask_box
from restore.images.huge import AnyPhoto
from restore.images.xmp import Mark
from restore.settings import Settings


@dataclass(frozen=True)
class EditRecord:
    """What `inpaint` and `refine` did: `mask` (H, W) bool is what was repainted, `like` the input as it was given,
    `mark` what the XMP of `photo` tells of it, if anything."""

    photo: AnyPhoto
    original: AnyPhoto
    mask: Mask
    parts: tuple[Part, ...]
    passes: list[PassRecord]
    stop: str
    settings: Settings
    device: str
    seconds: float
    like: Any = field(repr=False)
    outcome: Outcome = field(repr=False)
    presence: Presence | None = field(default=None, repr=False)
    mark: Mark | None = None

    @property
    def mask_source(self) -> str:
        """Where the mask came from, "mask and box" where from several."""
        return sources(self.parts)

    @property
    def kept(self) -> list[PassRecord]:
        """The passes whose pixels were kept; the result has those of the last."""
        return [record for record in self.passes if record.accepted]

    def summary(self, output: str | None = None) -> dict[str, Any]:
        """The object that `--json` prints."""
        told = self.presence
        parts = [asdict(part) | {"box": list(part.box)} for part in self.parts]
        mask = {"source": self.mask_source, "pixels": int(self.mask.sum()), "box": list(mask_box(self.mask))}
        mask["regions"] = parts
        return {
            "output": output,
            "model": self.settings.model,
            "changes": self.settings.changes or None,
            "seed": self.settings.seed,
            "device": self.device,
            "mask": mask,
            "presence": None if told is None else {"object": told.name, "wanted": told.wanted, "share": told.share},
            "passes": [asdict(record) for record in self.passes],
            "stop": self.stop,
            "seconds": round(self.seconds, 3),
            "mark": None if self.mark is None else self.mark.summary(),
        }
