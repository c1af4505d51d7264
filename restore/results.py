"""What the public calls return."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore.edit.area import Mask, edited
from restore.edit.record import EditRecord
from restore.edit.run import OnPass, OnStep
from restore.enhancement.record import EnhanceRecord
from restore.errors import InputError
from restore.grounding.grounder import Instance
from restore.images.huge import HugePhoto, save_any
from restore.images.photo import to_kind
from restore.measure.comparing import Comparison
from restore.measure.ranking import Ranking
from restore.provenance.credentials import Signer


@dataclass(frozen=True)
class Segmentation:
    """mask (H, W) bool: union of the chosen instances; score in [0, 1]; instances best first."""

    mask: Mask
    score: float
    instances: list[Instance]


@dataclass(frozen=True)
class Assessment:
    """par_hole is None without a mask; artifacts (H, W) float32: probability of a visible artifact.

    scores: every measure by the names of `restore.quality.catalogue.PER_IMAGE`, the three above among them.
    """

    par_hole: float | None
    par_image: float
    quality: float
    artifacts: NDArray[np.float32]
    scores: dict[str, float | None]


@dataclass(frozen=True)
class InpaintResult(EditRecord):
    """What `inpaint` and `refine` return. `image` is of the input's kind; `mask` (H, W) bool is what was repainted."""

    repaint: Callable[..., InpaintResult] | None = field(default=None, repr=False, compare=False)

    def again(
        self, *, seed: int | None = None, on_pass: OnPass | None = None, on_step: OnStep | None = None, **options: Any
    ) -> InpaintResult:
        """Another fill of the same pixels, which are not looked for again.

        seed: the last one's next if None. options: passes, max_seconds, par, candidates, steps, shape_precision and
        mark as of `Engine.inpaint`; the others stay as they were. Raises InputError, Cancelled.
        """
        if self.repaint is None:
            raise InputError("expected the result of an engine, got one without; call inpaint again")
        settings = self.settings.updated(seed=self.settings.seed + 1 if seed is None else seed, **options)
        return self.repaint(settings, on_pass, on_step)

    @property
    def image(self) -> Any:
        if isinstance(self.photo, HugePhoto):
            raise InputError("expected .save(path) for so large a photo, got .image; it is never whole in memory")
        return to_kind(self.photo, self.like)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False, sign: Signer | None = None) -> None:
        """Write the picture with the input's metadata, signed if asked for; the format follows the name's suffix."""
        save_any(self.photo, path, overwrite=overwrite, seal=None if sign is None else sign.seal(self, self.like))

    def report(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write one self-contained HTML page about this result."""
        from restore.reports.edit import write_report

        write_report(self, Path(path), overwrite=overwrite)

    def save_passes(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the best picture after every pass as pass-00.png, pass-01.png, … into `folder` (made if absent);
        huge ones as TIFFs."""
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"expected a folder to write passes to, got {folder} ({error.strerror})") from None
        suffix = ".tif" if isinstance(self.original, HugePhoto) else ".png"
        for record, areas in zip(self.passes, self.outcome.history, strict=True):
            photo = edited(self.original, areas, self.mask)
            if self.mark is not None:
                photo = photo.marked(self.mark)
            save_any(photo, folder / f"pass-{record.index:02d}{suffix}", overwrite=overwrite)


@dataclass(frozen=True)
class EnhanceResult(EnhanceRecord):
    """What `enhance` returns. `image` is of the input's kind, its size the scaled one after super-resolution.

    parameters: what was estimated (noise, blur width, gain, ghosts, JPEG quality). consistency: rms difference, in
    levels of 255, between the degraded result and the input. passes: the input, enlarged where the task enlarges,
    as pass 0, the first restoration, and every further pass of the loop. light_map (H, W, 3) float32 in
    [-1, 1], added by the scene's light, or None.
    """

    @property
    def image(self) -> Any:
        if isinstance(self.like, np.ndarray) and self.photo.native.shape != self.like.shape:
            return self.photo.native.copy()
        return to_kind(self.photo, self.like)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False, sign: Signer | None = None) -> None:
        """Write the picture with the input's metadata, signed if asked for; the format follows the name's suffix."""
        save_any(self.photo, path, overwrite=overwrite, seal=None if sign is None else sign.seal(self, self.like))

    def report(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write one self-contained HTML page about this result."""
        from restore.reports.enhance import write_enhance_report

        write_enhance_report(self, Path(path), overwrite=overwrite)


@dataclass(frozen=True)
class RankResult(Ranking):
    """What `rank` returns."""

    def report(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write one self-contained HTML page about this ranking."""
        from restore.reports.measured import write_ranking

        write_ranking(self, Path(path), overwrite=overwrite)


@dataclass(frozen=True)
class CompareResult(Comparison):
    """What `compare` returns."""

    def report(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write one self-contained HTML page about this comparison."""
        from restore.reports.measured import write_comparison

        write_comparison(self, Path(path), overwrite=overwrite)
