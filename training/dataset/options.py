"""How a data set is built; light, so that the command line can ask before it loads anything."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class RemovalOptions:
    """par: most PAR_hole of a kept removal, and where the engine stops; passes, candidates: as of `Engine.inpaint`."""

    par: float = 0.05
    passes: int = 2
    candidates: int = 2
    seed: int = 0


@dataclass(frozen=True)
class BuildOptions:
    """removal: how objects are removed and judged; short_side: photos are reduced to it, pixels; per_photo: most
    removals from one photo; irrelevant: share of the triplets whose instruction names nothing in the photo;
    shard_size: triplets per tar."""

    removal: RemovalOptions = field(default_factory=RemovalOptions)
    short_side: int = 512
    per_photo: int = 2
    irrelevant: float = 0.2
    shard_size: int = 1000
