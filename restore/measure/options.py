"""What is asked of many pictures, checked at once; light, so that a command line can ask before it loads networks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from restore.errors import InputError
from restore.settings import DEVICES

BY = ("overall", "quality", "score", "natural", "par_image", "sharpness", "noise", "giqa_gmm", "giqa_knn", "giqa_mbc")
StrPath = str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """device: where to compute. jobs: pictures measured at once, None: one per CPU. cache: the file that remembers
    measurements, None: the one in ~/.cache/restore; remember: whether any does. mbc: weights of `restore train mbc`,
    which add giqa_mbc. Raises InputError for values that mean nothing."""

    device: str = "auto"
    jobs: int | None = None
    cache: StrPath | None = None
    remember: bool = True
    mbc: StrPath | None = None

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise InputError(f"expected device to be one of {', '.join(DEVICES)}, got {self.device!r}")
        if self.jobs is not None and self.jobs < 1:
            raise InputError(f"expected jobs of at least 1, got {self.jobs}")


@dataclass(frozen=True, kw_only=True)
class RankOptions(MeasureOptions):
    """keep: share of the pictures to keep, or top: their number; neither: all. by: the measure that counts, one of BY.
    reference: a folder of pictures to be like, which adds the GIQA scores."""

    keep: float | None = None
    top: int | None = None
    by: str = "overall"
    reference: StrPath | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep is not None and self.top is not None:
            raise InputError("expected at most one of keep and top, got both; keep one")
        if self.keep is not None and not 0 < self.keep <= 1:
            raise InputError(f"expected keep to be a share above 0 and at most 1, got {self.keep}")
        if self.top is not None and self.top < 1:
            raise InputError(f"expected top to be at least 1, got {self.top}")
        if self.by not in BY:
            raise InputError(f"expected by to be one of {', '.join(BY)}, got {self.by!r}")
        if self.by in ("giqa_gmm", "giqa_knn") and self.reference is None:
            raise InputError(f"expected a reference to rank by {self.by}, got none")
        if self.by == "giqa_mbc" and self.mbc is None:
            raise InputError("expected mbc (--mbc FILE), weights of `restore train mbc`, to rank by giqa_mbc, got none")

    def count(self, pictures: int) -> int:
        """How many of so many are kept."""
        if self.top is not None:
            return self.top
        return pictures if self.keep is None else max(1, round(self.keep * pictures))


@dataclass(frozen=True, kw_only=True)
class CompareOptions(MeasureOptions):
    """features: further networks for set distances by name, each an ONNX file or a folder (CLIP, DINOv2). draws:
    resamples behind the intervals, at least 20."""

    features: Mapping[str, StrPath] = field(default_factory=dict)
    draws: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.features:
            if not name.isidentifier() or name == "lite0":
                raise InputError(f"expected a new name for a feature network, got {name!r}")
        if self.draws < 20:
            raise InputError(f"expected draws of at least 20, got {self.draws}")
