"""What a restoration was asked for and what came of it: plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore.enhancement.damage import Damage
from restore.images.photo import Photo
from restore.images.xmp import Mark
from restore.pipelines.restoration.sampling import Sampling


@dataclass(frozen=True)
class EnhancePass:
    """The picture after a pass; index 0 is the input, enlarged where the task enlarges, 1 the first restoration.

    par_image: share of pixels judged artifacts; quality: the judge's, score: the scorer's, both 0 to 100;
    consistency: rms of D(picture) − input in levels of 255, None of the input; windows: how many were replaced;
    step: of "old-photo", what was done to it.
    """

    index: int
    par_image: float
    quality: float
    score: float
    consistency: float | None
    windows: int
    accepted: bool
    seconds: float
    step: str = ""


@dataclass(frozen=True)
class EnhanceRecord:
    """What a restoration did; `like` is the input as it was given.

    parameters: what was estimated (noise, blur width, gain, ghosts, JPEG quality). consistency: rms difference, in
    levels of 255, between the degraded result and the input. passes: the input, enlarged where the task enlarges,
    as pass 0, the first restoration, and every further pass of the loop. light_map (H, W, 3) float32 in
    [-1, 1], added by the scene's light, or None. nothing: why there was nothing to restore; photo is the input then.
    invented: whether the model makes up detail that nobody saw. mark: what the XMP of `photo` tells of it, if anything.
    Of "old-photo": mask (H, W) bool, what was painted over; stages: (step, picture after it) of every pass.
    """

    photo: Photo
    original: Photo
    task: str
    damage: Damage
    sampling: Sampling
    steps: int
    seed: int
    model: str
    device: str
    parameters: dict[str, Any]
    consistency: float
    passes: list[EnhancePass]
    seconds: float
    nothing: str
    invented: bool
    light_map: NDArray[np.float32] | None = field(repr=False)
    like: Any = field(repr=False)
    mark: Mark | None = None
    mask: NDArray[np.bool_] | None = field(default=None, repr=False)
    stages: list[tuple[str, NDArray[np.uint8]]] = field(default_factory=list, repr=False)

    @property
    def kept(self) -> list[EnhancePass]:
        """The passes whose pixels were kept; the result has those of the last."""
        return [record for record in self.passes if record.accepted]

    def summary(self, output: str | None = None) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "output": output,
            "task": self.task,
            "model": self.model,
            "method": self.sampling.method,
            "steps": self.steps,
            "seed": self.seed,
            "device": self.device,
            "size": list(self.photo.size),
            "parameters": self.parameters,
            "nothing": self.nothing or None,
            "invented": self.invented,
            "consistency": round(self.consistency, 4),
            "passes": [asdict(record) for record in self.passes],
            "seconds": round(self.seconds, 3),
            "mark": None if self.mark is None else self.mark.summary(),
        }
