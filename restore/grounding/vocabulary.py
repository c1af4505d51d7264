"""Words → ImageNet classes: which outputs of the classifier speak for the object that a user names.

The table (vocabulary.json.gz, built by training/vocabulary.py) is derived from WordNet 3.0, Princeton
University; its licence stands in the table's header.
"""

from __future__ import annotations

import difflib
import gzip
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from typing import TypedDict

from restore.errors import ObjectNotFoundError
from restore.grounding.nouns import MEASURES, VESSELS, singulars
from restore.grounding.words import ARTICLES

TABLE = "vocabulary.json.gz"
SUGGESTIONS = 3
LIKE = 0.75  # least share of letters in common (difflib)
COMMON = 1500  # suggestions come from this many commonest words


class Table(TypedDict):
    """Content of vocabulary.json.gz; its own header says what the fields hold."""

    about: str
    source: str
    licence: str
    classes: list[str]
    sets: list[list[int]]
    words: dict[str, list[int]]
    plurals: dict[str, str]
    unmapped: list[str]


@dataclass(frozen=True)
class Entry:
    """What the classifier knows of a word.

    `word`: the table's word; `classes`: ImageNet class indices (0–999, ascending) that speak for it, empty if
    only a dedicated head does; `person`: whether it names a person; `similarity`: in (0, 1], 1 where the
    classes show the word itself, less where they are its nearest relatives; `rest`: words of the phrase that are no
    part of the word ("red" of "red car"; "of stone" of "lion of stone"); `corrected`: whether the spelling had to be.
    """

    word: str
    classes: tuple[int, ...]
    person: bool
    similarity: float
    rest: tuple[str, ...] = ()
    corrected: bool = False


class Vocabulary:
    """The word table. `load` gives the shared instance."""

    def __init__(self, table: Table) -> None:
        self._words = table["words"]
        self._sets = table["sets"]
        self._plurals = table["plurals"]
        self._unmapped = frozenset(table["unmapped"])
        self._classes = table["classes"]
        self.licence = table["licence"]

    @staticmethod
    @lru_cache(maxsize=1)
    def load() -> Vocabulary:
        """The shipped table, read once."""
        data = resources.files(__package__).joinpath(TABLE).read_bytes()
        return Vocabulary(json.loads(gzip.decompress(data)))

    def __len__(self) -> int:
        return len(self._words)

    def __contains__(self, word: str) -> bool:
        return self._exact(_normal(word)) is not None

    def names(self, limit: int | None = None) -> list[str]:
        """The words, commonest first."""
        return list(self._words)[:limit]

    def class_name(self, index: int) -> str:
        """Name of an ImageNet class, 0–999."""
        return self._classes[index]

    def lookup(self, phrase: str) -> Entry:
        """The entry of a noun phrase: case, plurals and small misspellings do not matter.

        The longest known end of the phrase wins, and the entry says which words are left: "red sports car" →
        "sports car", rest "red". What a vessel holds is no rest: "cup of coffee" → "cup".

        Raises:
            ObjectNotFoundError: no end of the phrase is a word of the table.
        """
        normal = _normal(phrase)
        if word := self._exact(normal):
            return self._entry(word)
        head, of = _head(normal, lambda word: bool(self._exact(word)) or self._known(word))
        ends = _ends(head)
        for end in ends:
            if word := self._exact(end):
                return self._entry(word, head.removesuffix(end), of)
        if not any(self._known(end) for end in ends):
            for end in ends:
                if word := self._corrected(end):
                    return replace(self._entry(word, head.removesuffix(end), of), corrected=True)
        if (start := next((s for s in _starts(head) if self._exact(s)), "")) and not self._known(ends[0]):
            rest = head.removeprefix(start).strip()
            raise ObjectNotFoundError(
                f"expected words that the embedded model knows, could not place '{rest}' after '{start}' in "
                f"{phrase.strip()!r}: leave it out or say it otherwise"
            )
        suggestions = ", ".join(self.suggest(phrase))
        near = f" (near in spelling: {suggestions})" if suggestions else ""
        raise ObjectNotFoundError(
            f"expected an object that the embedded model knows{near}, "
            f"got {phrase.strip()!r}: use a commoner word, or show the object with a mask, box or point"
        )

    def suggest(self, phrase: str) -> list[str]:
        """Up to three common words spelt most like the phrase's last word; none if that is a known word."""
        ends = _ends(_head(_normal(phrase), bool)[0])[-1:]
        if not ends or self._known(ends[0]):
            return []
        return difflib.get_close_matches(ends[0], self.names(COMMON), SUGGESTIONS, LIKE)

    def _entry(self, word: str, *rest: str) -> Entry:
        index, percent, person = self._words[word]
        runs = self._sets[index]
        classes = (i for first, last in zip(runs[::2], runs[1::2], strict=True) for i in range(first, last + 1))
        left = tuple(word for words in rest for word in words.split() if word not in ARTICLES)
        return Entry(word, tuple(classes), bool(person), percent / 100, left)

    def _exact(self, phrase: str) -> str | None:
        """The table's word for a phrase: as it stands, singular, or written in one word or two."""
        *first, last = phrase.split() or [""]
        lasts = [self._plurals[last]] if last in self._plurals else []
        for form in [last, *lasts, *singulars(last)]:
            for word in (" ".join([*first, form]), "".join([*first, form])):
                if word in self._words:
                    return word
        return None

    def _known(self, phrase: str) -> bool:
        return phrase in self._unmapped or any(form in self._unmapped for form in singulars(phrase))

    def _corrected(self, phrase: str) -> str | None:
        """The commonest word at the least edit distance, `slips` allowed in each of its words."""
        best, least = None, 3
        for form in [phrase, *singulars(phrase)]:
            letters = Counter(form)
            for word in self._words:
                if word[0] != form[0] or abs(len(word) - len(form)) >= least:
                    continue
                if max((letters - Counter(word)).total(), (Counter(word) - letters).total()) >= least:
                    continue
                if _slipped(form, word) and (distance := edit_distance(form, word)) < least:
                    best, least = word, distance
        return best


def slips(length: int) -> int:
    """Letters that may be wrong in a word: one from 5 letters on, two from 7; of shorter words too many are alike."""
    return (length >= 5) + (length >= 7)


def _slipped(form: str, word: str) -> bool:
    """Whether each word of `form` is one of `word`, misspelt at most; or all of it, but for the spaces."""
    ours, theirs = form.split(), word.split()
    if len(ours) != len(theirs):
        return form.replace(" ", "") == word.replace(" ", "")
    return all(a == b or edit_distance(a, b) <= slips(len(a)) for a, b in zip(ours, theirs, strict=True))


def edit_distance(a: str, b: str) -> int:
    """Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours, one each.

    Damerau, "A technique for computer detection and correction of spelling errors", CACM 1964.
    """
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, last, row = row, before, [i]
        for j, y in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]


def _normal(phrase: str) -> str:
    """Lower case, hyphens as spaces, possessives and punctuation gone."""
    text = re.sub(r"[’`´]", "'", phrase.lower())
    text = re.sub(r"'s\b|['.]", "", text)
    return " ".join(re.sub(r"[^\w]+|_", " ", text).split())


def _head(phrase: str, known: Callable[[str], bool]) -> tuple[str, str]:
    """The part of "X of Y" that names the object, and what the other says of it: nothing where it is a group of them
    or something that is `known` in a vessel."""
    x, of, y = phrase.partition(" of ")
    if not of:
        return phrase, ""
    last = x.split()[-1] if x else ""
    forms = {last, *singulars(last)}
    if forms & MEASURES:
        return y, x.removesuffix(last)
    return x, "" if forms & VESSELS and known(y) else f"of {y}"


def _ends(phrase: str) -> list[str]:
    words = phrase.split()
    return [" ".join(words[i:]) for i in range(len(words))]


def _starts(phrase: str) -> list[str]:
    words = phrase.split()
    return [" ".join(words[:i]) for i in range(len(words) - 1, 0, -1)]
