"""Instructions that name one annotated object: "remove the cup left of the plate".

As in GQA-Inpaint (Yildirim et al., 2023): the class alone where it is unique in the photo, else with a relation; here
also with a place, an order or a size. Every wording is read back: it must parse, and applied to the annotated
things it must choose exactly the one it was made for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import numpy as np

from restore.errors import InputError, ObjectNotFoundError
from restore.grounding.instruction import Extent, Instruction, parse, select
from restore.grounding.vocabulary import Entry, Vocabulary
from restore.images.geometry import Size
from restore.training.dataset.records import Rejected, Thing

PLACES = ("on the left", "on the right", "at the top", "at the bottom", "in the middle")
EXTREMES = ("leftmost", "rightmost", "topmost", "bottommost", "largest", "smallest")
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
APART = 0.06  # least distance of ordered neighbours, share of the photo's extent: closer ones people would not order
BIGGER = 1.5  # least ratio of areas for "largest" and "smallest"


@lru_cache(maxsize=4096)
def entry_of(name: str) -> Entry | None:
    """What the grounder knows of a class; None where that is nothing."""
    try:
        return Vocabulary.load().lookup(name)
    except ObjectNotFoundError:
        return None


def alike(a: str, b: str) -> bool:
    """Whether a thing called `a` may also be called `b`: "man" and "person", "dog" and "animal"."""
    first, second = entry_of(a), entry_of(b)
    if a == b or first is None or second is None:
        return a == b
    return (first.person and second.person) or not set(first.classes).isdisjoint(second.classes)


def say(name: str) -> str:
    """ "remove the [name]". Raises Rejected where that cannot be read back."""
    text = f"remove the {name}"
    told = _read(text)
    if told is None or told.also or told.phrase != name or told.quantity != "one" or told.selector or told.relation:
        raise Rejected("class name cannot be said")
    return text


def word_for(things: Sequence[Thing], index: int, size: Size, rng: np.random.Generator) -> str:
    """An instruction that means thing `index` of a photo of `size` (W, H) and no other. Raises Rejected."""
    name = things[index].name
    plain = say(name)
    rivals = [i for i, thing in enumerate(things) if alike(thing.name, name)]
    if any(things[i].crowd for i in rivals):
        raise Rejected("class is also there as a crowd")
    if rivals == [index]:
        return plain
    relations, places = list(_relations(things, index)), list(_places(name, len(rivals)))
    for wordings in (relations, places) if rng.random() < 0.5 else (places, relations):
        for i in rng.permutation(len(wordings)):
            if means_only(wordings[i], things, index, size):
                return wordings[i]
    raise Rejected("no unambiguous instruction")


def means_only(text: str, things: Sequence[Thing], index: int, size: Size) -> bool:
    """Whether `text` clearly means thing `index`: it is chosen, and none of its kind comes close to be chosen."""
    told = _read(text)
    if told is None or told.also or told.quantity != "one" or told.phrase != things[index].name:
        return False
    rivals = [i for i, thing in enumerate(things) if alike(thing.name, told.phrase)]
    found, related = [_candidate(things[i]) for i in rivals], None
    if told.relation is not None:
        related = [_candidate(t) for t in things if alike(t.name, told.relation.target.phrase)]
        if len(related) != 1:
            return False
    if [rivals[i] for i in select(found, told, size, related)] != [index]:
        return False
    order = None if told.selector is None else told.selector.order
    if order is not None:
        return _apart(found, order, size)
    every = select(found, replace(told, quantity="all", count=None), size, related)
    return [rivals[i] for i in every] == [index]


def _relations(things: Sequence[Thing], index: int) -> Iterator[str]:
    """By the scene graph, and by what the boxes show: the side on which it mainly lies, and nearness."""
    name = things[index].name
    for predicate, target in things[index].relations:
        yield f"remove the {name} {predicate} the {things[target].name}"
    x, y = _candidate(things[index]).centre
    for other in things:
        if other.crowd or alike(other.name, name):
            continue
        across, down = x - _candidate(other).centre[0], y - _candidate(other).centre[1]
        if abs(across) > abs(down):
            side = "left of" if across < 0 else "right of"
        else:
            side = "above" if down < 0 else "below"
        yield f"remove the {name} {side} the {other.name}"
        yield f"remove the {name} next to the {other.name}"


def _places(name: str, count: int) -> Iterator[str]:
    for place in PLACES:
        yield f"remove the {name} {place}"
    for extreme in EXTREMES:
        yield f"remove the {extreme} {name}"
    if count > 2:
        for ordinal in ORDINALS[: count - 1]:
            yield f"remove the {ordinal} {name} from the left"
            yield f"remove the {ordinal} {name} from the right"


def _read(text: str) -> Instruction | None:
    try:
        return parse(text)
    except InputError:
        return None


def _candidate(thing: Thing) -> Extent:
    return Extent(thing.box, thing.area, 1.0)


def _apart(found: Sequence[Extent], order: str, size: Size) -> bool:
    """Whether neighbours in this order differ enough for people to agree on it."""
    if order in ("largest", "smallest"):
        areas = sorted((c.area for c in found), reverse=order == "largest")
        ratio = areas[0] / max(1, areas[1]) if order == "largest" else areas[1] / max(1, areas[0])
        return ratio >= BIGGER
    axis = 0 if order in ("left", "right") else 1
    centres = sorted(c.centre[axis] / size[axis] for c in found)
    return all(b - a >= APART for a, b in pairwise(centres))
