"""What finds objects by name and by a click: the embedded grounder with its vocabulary, and the interface of others."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol

from restore.errors import ObjectNotFoundError
from restore.grounding import words as w
from restore.grounding.attributes import fitting
from restore.grounding.grounder import Grounder, Image, Instance
from restore.grounding.vocabulary import Entry, Vocabulary

log = logging.getLogger("restore")

SEEN = frozenset(w.COLOURS) | w.SHADES | w.LARGE | w.SMALL  # what can be looked at
TOLD = SEEN | w.OPINIONS  # opinions tell nothing apart


class ObjectFinder(Protocol):
    """Anything that finds objects by name and by a click."""

    def named(self, image: Image, phrase: str) -> list[Instance]:
        """Instances of what `phrase` names in `image` (H, W, 3) RGB, best first; none = empty list."""
        ...

    def at(self, image: Image, point: tuple[int, int]) -> Instance:
        """The object under a click at pixel x, y."""
        ...


@dataclass(frozen=True)
class Reading:
    """A phrase as the embedded grounder reads it: a word of its vocabulary, and what the thing is said to be like."""

    entry: Entry
    attributes: tuple[str, ...]


def read_phrase(phrase: str) -> Reading:
    """Every word of the phrase is the name's or an attribute that can be seen, or ObjectNotFoundError says which is
    not."""
    entry = Vocabulary.load().lookup(phrase)
    unknown = [word for word in entry.rest if word not in TOLD]
    if unknown:
        said = " ".join(unknown)
        raise ObjectNotFoundError(
            f"expected words that the embedded model can see, got '{said}' with '{entry.word}' in {phrase.strip()!r}: "
            "leave it out, show the object with a mask, box or point, or use a --grounder that knows more, "
            "for example grounding-dino+sam"
        )
    if entry.corrected:
        log.info("'%s' is read as '%s'", phrase.strip(), entry.word)
    return Reading(entry, entry.rest)


class EmbeddedFinder:
    """The embedded grounder behind words."""

    def __init__(self, grounder: Grounder) -> None:
        self.grounder = grounder

    def named(self, image: Image, phrase: str) -> list[Instance]:
        """Raises ObjectNotFoundError for a word that the vocabulary does not know and no look can tell."""
        reading = read_phrase(phrase)
        found = self.grounder.find(image, reading.entry.classes, reading.entry.person)
        return fitting(image, found, reading.attributes)

    def at(self, image: Image, point: tuple[int, int]) -> Instance:
        return self.grounder.at(image, point)
