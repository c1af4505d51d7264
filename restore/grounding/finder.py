"""What finds objects by name and by a click: the embedded grounder with its vocabulary, and the interface of others."""

from __future__ import annotations

from typing import Protocol

from restore.grounding.grounder import Grounder, Image, Instance
from restore.grounding.vocabulary import Vocabulary


class ObjectFinder(Protocol):
    """Anything that finds objects by name and by a click."""

    def named(self, image: Image, phrase: str) -> list[Instance]:
        """Instances of what `phrase` names in `image` (H, W, 3) RGB, best first; none = empty list."""
        ...

    def at(self, image: Image, point: tuple[int, int]) -> Instance:
        """The object under a click at pixel x, y."""
        ...


class EmbeddedFinder:
    """The embedded grounder behind words."""

    def __init__(self, grounder: Grounder) -> None:
        self.grounder = grounder

    def named(self, image: Image, phrase: str) -> list[Instance]:
        """Raises InputError for a word that the vocabulary does not know."""
        entry = Vocabulary.load().lookup(phrase)
        return self.grounder.find(image, entry.classes, entry.person)

    def at(self, image: Image, point: tuple[int, int]) -> Instance:
        return self.grounder.at(image, point)
