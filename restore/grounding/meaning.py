"""What a sentence means: which things of a photo, and what shall happen to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Action = Literal["remove", "replace", "add", "keep"]

Side = Literal["left", "right", "top", "bottom", "middle", "background", "foreground"]
Order = Literal["left", "right", "top", "bottom", "largest", "smallest"]
Relating = Literal["near", "left", "right", "above", "below", "behind", "front", "on", "in", "with", "at"]
OverlayKind = Literal["text", "watermark", "date", "scratches", "dust", "wires"]
OVERLAY_KINDS: tuple[OverlayKind, ...] = ("text", "watermark", "date", "scratches", "dust", "wires")


@dataclass(frozen=True)
class Selector:
    """Which instances of the object: those at all the places in `where`; then, sorted by `order` (from the left, from
    the largest, …), the one numbered `rank` (1 = first, −1 = last)."""

    where: tuple[Side, ...] = ()
    order: Order | None = None
    rank: int = 1


@dataclass(frozen=True)
class Relation:
    """How the object stands to another one: "on the left of" is kind "left"; "at" is from, off or of another."""

    kind: Relating
    target: Instruction


@dataclass(frozen=True)
class Overlay:
    """Something laid over the photo or written in it, of any of `kinds`."""

    kinds: tuple[OverlayKind, ...]


@dataclass(frozen=True)
class Instruction:
    """One parsed instruction.

    `object` is the noun phrase in the singular without its adjectives, which are in `modifiers`; `quantity` "all" with
    a `count` means exactly that many ("both cats": 2). `subject` is what shall appear, as it was said ("a red hat"):
    None for "remove" and "keep". "keep" means everything but the object. For "add" the object is the subject's noun,
    and the relation, if any, says beside what. `overlay`: the object is no thing but text, scratches, …. `also`:
    further things of a list ("the dog and the toilet"), which the same is done to. `described`: the subject tells what
    shall appear in a region that was shown, and nothing else was said.
    """

    action: Action
    object: str
    quantity: Literal["one", "all"] = "one"
    count: int | None = None
    modifiers: tuple[str, ...] = ()
    selector: Selector | None = None
    relation: Relation | None = None
    subject: str | None = None
    overlay: Overlay | None = None
    also: tuple[Instruction, ...] = ()
    described: bool = False

    @property
    def phrase(self) -> str:
        """Adjectives and noun: what to look up, since some adjectives are part of a name ("red panda")."""
        return " ".join((*self.modifiers, self.object))

    @property
    def things(self) -> tuple[Instruction, ...]:
        """The things of the list, this one first."""
        return (self, *self.also)

    @property
    def listed(self) -> str:
        """The phrases of all things: "dog and toilet"."""
        return " and ".join(dict.fromkeys(thing.phrase for thing in self.things))


@dataclass(frozen=True)
class Describe:
    """What shall appear in a region that was shown, as it was said: "a red ball on the grass"."""

    text: str
