"""One triplet: an annotated photo, an instruction, and the photo after it (GQA-Inpaint, Yildirim et al., 2023).

Object → mask with the best IoU → refined → dilated → removed by the engine → quality gate. Whatever fails on the way
is `Rejected` with the reason that the statistics count.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from restore.api import Engine
from restore.errors import ObjectNotFoundError
from restore.grounding.grounder import Instance
from restore.images.geometry import mask_box
from restore.images.windows import grow_mask
from restore.training.data.shards import Triplet
from restore.training.dataset.annotations import box_iou
from restore.training.dataset.options import RemovalOptions
from restore.training.dataset.records import Annotated, Mask, Rejected, Thing
from restore.training.dataset.wording import alike, entry_of, say, word_for

LEAST_SIDE = 16  # px, of an object's box
LEAST_AREA, MOST_AREA = 0.005, 0.35  # of an object, share of the photo
MOST_HOLE = 0.5  # of the photo: more leaves too little to copy from
DILATION, DILATION_SIDE = 11, 256  # side of the dilating square, of photos whose short side is the second
MATCH = 0.5  # least IoU of an annotated object and the grounder's mask of it
UNITE = 0.7  # IoU from which both masks together are the object: each misses other bits of its edge
SURE = 0.5  # score from which an object that is not annotated counts as there
INSIDE = 0.3  # share of a found object inside the hole from which it counts as not removed
SPECK, PINHOLE = 0.02, 0.05  # stray parts and gaps up to these shares of an object's area are mended

Image = NDArray[np.uint8]


class Remover:
    """Makes triplets with an engine; the same photo, object and options give the same triplet."""

    def __init__(self, engine: Engine, options: RemovalOptions) -> None:
        self.engine = engine
        self.options = options

    def remove(self, photo: Annotated, index: int, salt: str) -> Triplet:
        """Thing `index` of `photo` removed; `salt` (the photo's id) and the seed decide what is random."""
        thing = photo.things[index]
        check_size(thing, photo)
        rng = np.random.default_rng([self.options.seed, zlib.crc32(salt.encode()), 1 + index])
        instruction = word_for(photo.things, index, photo.size, rng)
        if entry_of(thing.name) is None:
            raise Rejected("class unknown to the grounder")
        hole = self._hole(photo, index)
        options = self.options
        result = self.engine.inpaint(
            photo.pixels,
            mask=hole,
            seed=int(rng.integers(2**31)),
            passes=options.passes,
            candidates=options.candidates,
            par=options.par,
        )
        last = [record for record in result.passes if record.accepted][-1]
        if last.par_hole > options.par:
            raise Rejected("artifacts in the hole")
        if not np.array_equal(result.image[~hole], photo.pixels[~hole]):
            raise Rejected("changed outside the hole")
        if any(_share(found.mask, hole) > INSIDE for found in self._find(result.image, thing.name)):
            raise Rejected("object still found")
        return Triplet(
            photo.pixels, result.image, hole, instruction, thing.name, thing.box, last.par_hole, last.quality
        )

    def leave(self, photo: Annotated, names: Mapping[str, int], salt: str) -> Triplet:
        """An instruction about a class that is not there, drawn from `names` by their counts; nothing changes."""
        rng = np.random.default_rng([self.options.seed, zlib.crc32(salt.encode())])
        absent = [n for n in names if entry_of(n) and not any(alike(thing.name, n) for thing in photo.things)]
        if not absent:
            raise Rejected("no class is absent")
        weights = np.array([names[n] for n in absent], np.float64)
        name = absent[int(rng.choice(len(absent), p=weights / weights.sum()))]
        instruction = say(name)
        if self._find(photo.pixels, name):
            raise Rejected("absent class found")
        nothing = np.zeros(photo.pixels.shape[:2], bool)
        return Triplet(photo.pixels, photo.pixels, nothing, instruction, name, (0, 0, 0, 0), 0.0, 100.0)

    def _hole(self, photo: Annotated, index: int) -> Mask:
        """Thing `index` as the grounder and the annotation see it, refined and dilated, shadow included."""
        thing = photo.things[index]
        found = self._find(photo.pixels, thing.name)
        best = max(found, key=lambda instance: _match(instance, thing), default=None)
        if best is None or _match(best, thing) < MATCH:
            raise Rejected("object not grounded")
        known = [other for other in photo.things if alike(other.name, thing.name)]
        if any(i.score >= SURE and not any(_touches(i, other) for other in known) for i in found):
            raise Rejected("more of them than annotated")
        mask = best.mask
        if thing.mask is not None:
            mask = thing.mask | best.mask if _match(best, thing) >= UNITE else thing.mask
        mask = refined(mask)
        hole = grow_mask(mask, photo.pixels) | dilated(mask)
        if hole.mean() > MOST_HOLE:
            raise Rejected("object too large")
        others = [t.mask for i, t in enumerate(photo.things) if i != index and t.mask is not None]
        if others:
            hole &= mask | ~np.any(others, axis=0)  # a neighbour stays whole
        return hole

    def _find(self, image: Image, name: str) -> list[Instance]:
        try:
            return self.engine.segment(image, prompt=f"every {name}").instances
        except ObjectNotFoundError:
            return []


def check_size(thing: Thing, photo: Annotated) -> None:
    """Raises Rejected for objects outside the photo, too small or too large."""
    width, height = photo.size
    if min(thing.box[2:]) <= 0:
        raise Rejected("object outside the photo")
    if min(thing.box[2:]) < LEAST_SIDE or thing.area < LEAST_AREA * width * height:
        raise Rejected("object too small")
    if thing.area > MOST_AREA * width * height:
        raise Rejected("object too large")
    if thing.crowd:
        raise Rejected("object is a crowd")


def refined(mask: Mask) -> Mask:
    """`mask` without stray specks and pinholes, both measured against its area."""
    area = mask.sum()
    inside = mask & ~_parts(mask, SPECK * area)
    return inside | _parts(~inside, PINHOLE * area)


def dilated(mask: Mask) -> Mask:
    """`mask` grown by the 11×11 square of GQA-Inpaint, scaled to the photo."""
    side = 2 * math.ceil((DILATION * min(mask.shape) / DILATION_SIDE - 1) / 2) + 1
    return cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)).astype(bool)


def _parts(mask: Mask, most: float) -> Mask:
    """The connected parts of at most `most` pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    small = stats[:, cv2.CC_STAT_AREA] <= most
    small[0] = False
    return np.asarray(small[labels], bool)


def _match(instance: Instance, thing: Thing) -> float:
    """IoU of a found instance with an annotated one: of masks, or of boxes where there is no mask."""
    if thing.mask is None:
        return box_iou(mask_box(instance.mask), thing.box)
    return float((instance.mask & thing.mask).sum() / max(1, (instance.mask | thing.mask).sum()))


def _touches(instance: Instance, thing: Thing) -> bool:
    """Whether a found instance may be (a part of) an annotated one."""
    x, y, w, h = thing.box
    return bool(instance.mask[y : y + h, x : x + w].sum() > INSIDE * instance.mask.sum())


def _share(mask: Mask, region: Mask) -> float:
    """Share of `mask` inside `region`."""
    return float((mask & region).sum() / max(1, mask.sum()))
