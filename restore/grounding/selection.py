"""Which of the instances found does an instruction mean: places, order, size and relations of boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from restore.errors import InputError, ObjectNotFoundError
from restore.grounding.meaning import Instruction, Order, Relating, Selector, Side

NEAR = 0.5  # boxes closer than this times their mean side are near each other
FOREGROUND_SHARE = 0.5  # of the largest instance's area: smaller ones are in the background …
SUBJECT_SHARE = 0.05  # … of a photo in which the largest covers at least this share
TOUCHING = 0.3  # of a box must lie in another for its thing to be on, in or part of it
SAME = 0.8  # boxes overlapping this much (IoU) are one object


@dataclass(frozen=True)
class Extent:
    """A detected instance: box (x, y, width, height) and mask area in pixels, score in [0, 1]."""

    box: tuple[int, int, int, int]
    area: int
    score: float

    @property
    def centre(self) -> tuple[float, float]:
        x, y, w, h = self.box
        return x + w / 2, y + h / 2

    @property
    def bottom(self) -> int:
        return self.box[1] + self.box[3]


def select(
    instances: Sequence[Extent],
    instruction: Instruction,
    image_size: tuple[int, int],
    related: Sequence[Extent] | None = None,
) -> list[int]:
    """Indices of the instances that the instruction means, best first; empty if none fits.

    `image_size` is (width, height) in pixels; `related` are the instances of the relation's target, all of them (the
    target's own selector is applied here). Without selector or relation the highest score comes first. A count is
    exact, but of things in an order ("the two largest") the first so many are meant.

    Raises:
        InputError: the instruction has a relation and `related` was not given.
        ObjectNotFoundError: there are more or fewer than the instruction counts.
    """
    chosen = sorted(range(len(instances)), key=lambda i: (-instances[i].score, i))
    if instruction.relation is not None:
        if related is None:
            raise InputError("expected the instances of the relation's target, got none: pass related=[…]")
        target = instruction.relation.target
        if target.selector is None:
            target = replace(target, quantity="all", count=None)
        refs = [related[i] for i in select(related, target, image_size)]
        chosen = _related(instances, chosen, refs, instruction)
    if instruction.selector is not None:
        chosen = _at(instances, chosen, instruction.selector, image_size, instruction.quantity == "all")
    if instruction.quantity == "one":
        return chosen[:1]
    count, ordered = instruction.count, instruction.selector is not None and instruction.selector.order is not None
    if count is not None and chosen and (len(chosen) < count if ordered else len(chosen) != count):
        raise ObjectNotFoundError(
            f"expected {count} × '{instruction.phrase}' there, found {len(chosen)}: give the number that is there, "
            "or say 'all' or which ones"
        )
    return chosen[:count]


def _at(
    instances: Sequence[Extent], chosen: list[int], selector: Selector, size: tuple[int, int], every: bool
) -> list[int]:
    for side in selector.where:
        if side in ("background", "foreground"):
            chosen = _by_depth(instances, chosen, size, side)
    places: list[Side] = [side for side in selector.where if side not in ("background", "foreground")]
    if places and every:
        chosen = [i for i in chosen if all(_offset(instances[i], side, size) < 0.5 for side in places)]
    elif places:
        chosen = sorted(chosen, key=lambda i: sum(_offset(instances[i], side, size) for side in places))
    if selector.order in ("largest", "smallest"):
        sign = -1 if selector.order == "largest" else 1
        chosen = sorted(chosen, key=lambda i: sign * instances[i].area)
    elif selector.order is not None:
        order = selector.order
        chosen = sorted(chosen, key=lambda i: _offset(instances[i], order, size))
    if selector.rank == -1:
        return chosen[::-1]
    return chosen[selector.rank - 1 :]


def _offset(candidate: Extent, side: Side | Order, size: tuple[int, int]) -> float:
    """Distance from a side of the image as a share of its extent; from the middle, twice that."""
    x, y = candidate.centre[0] / size[0], candidate.centre[1] / size[1]
    if side == "middle":
        return 2 * math.hypot(x - 0.5, y - 0.5)
    return {"left": x, "right": 1 - x, "top": y, "bottom": 1 - y}[side]


def _by_depth(instances: Sequence[Extent], chosen: list[int], size: tuple[int, int], side: Side) -> list[int]:
    """Foreground: at least half the largest instance's area, if that is a subject; background: the others."""
    largest = max((instances[i].area for i in chosen), default=0)
    subject = largest >= SUBJECT_SHARE * size[0] * size[1]
    front = [i for i in chosen if subject and instances[i].area >= FOREGROUND_SHARE * largest]
    return front if side == "foreground" else [i for i in chosen if i not in front]


def _related(
    instances: Sequence[Extent], chosen: list[int], refs: Sequence[Extent], instruction: Instruction
) -> list[int]:
    """Instances standing in the relation to some reference, closest fit first."""
    if instruction.relation is None:
        return chosen
    kind = instruction.relation.kind
    fits: dict[int, tuple[bool, float]] = {}
    for i in chosen:
        ways = [_relate(instances[i], ref, kind) for ref in refs if _iou(instances[i], ref) < SAME]
        if ways:
            fits[i] = min(ways, key=lambda way: (not way[0], way[1]))
    found = sorted((i for i in fits if fits[i][0]), key=lambda i: fits[i][1])
    if not found and kind == "near" and instruction.quantity == "one":
        found = sorted(fits, key=lambda i: fits[i][1])  # "next to" the nearest there is
    return found


def _relate(a: Extent, b: Extent, kind: Relating) -> tuple[bool, float]:
    """Whether `a` stands in the relation to `b`, and how far from its ideal (smaller is better)."""
    (ax, ay), (bx, by) = a.centre, b.centre
    gap = _gap(a, b) / max((_side(a) + _side(b)) / 2, 1)
    inside, around = _share(a, b), _share(b, a)
    if kind in ("left", "right"):
        return (ax < bx if kind == "left" else ax > bx), gap + abs(ay - by) / max(_side(b), 1)
    if kind in ("above", "below"):
        return (ay < by if kind == "above" else ay > by), gap + abs(ax - bx) / max(_side(b), 1)
    if kind == "behind":  # farther things stand higher on the ground plane
        return gap < NEAR and a.bottom <= b.bottom, gap - inside
    if kind == "front":
        return gap < NEAR and a.bottom >= b.bottom, gap - around
    if kind == "on":
        over = min(a.box[0] + a.box[2], b.box[0] + b.box[2]) - max(a.box[0], b.box[0])
        rests = b.box[1] - 0.1 * a.box[3] <= a.bottom <= b.bottom + 0.1 * b.box[3]
        return rests and over >= 0.5 * min(a.box[2], b.box[2]), -inside
    if kind == "in":
        return inside >= 0.5, -inside
    if kind == "with":
        return around >= 0.2 or gap < NEAR / 2, gap - around
    if kind == "at":  # on it, in it or part of it
        return inside >= TOUCHING or gap < NEAR / 5, gap - inside
    return gap < NEAR, gap


def _side(c: Extent) -> float:
    return math.sqrt(c.box[2] * c.box[3])


def _gap(a: Extent, b: Extent) -> float:
    """Distance between two boxes, 0 if they touch."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = a.box, b.box
    return math.hypot(max(bx - ax - aw, ax - bx - bw, 0), max(by - ay - ah, ay - by - bh, 0))


def _overlap(a: Extent, b: Extent) -> float:
    (ax, ay, aw, ah), (bx, by, bw, bh) = a.box, b.box
    return max(min(ax + aw, bx + bw) - max(ax, bx), 0) * max(min(ay + ah, by + bh) - max(ay, by), 0)


def _share(a: Extent, b: Extent) -> float:
    """Share of `a`'s box inside `b`'s."""
    return _overlap(a, b) / max(a.box[2] * a.box[3], 1)


def _iou(a: Extent, b: Extent) -> float:
    both = _overlap(a, b)
    return both / max(a.box[2] * a.box[3] + b.box[2] * b.box[3] - both, 1)
