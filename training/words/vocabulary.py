"""Build the grounder's word table, restore/grounding/vocabulary.json.gz.

Inputs: WordNet 3.0 (Debian package `wordnet-base`) for words, senses and hypernyms, and the sorted list of
ImageNet's 1000 synset ids (`timm/data/_info/imagenet_synsets.txt` in the wheel of `timm`, read, not
imported).

Example:
  apt-get install wordnet-base && pip download --no-deps timm
  python -m restore.training.words.vocabulary --wordnet /usr/share/wordnet --synsets timm-*.whl

A word covers the classes below its synset. A synset with no class below it borrows the class above it, or,
for animals, the classes below its parent, at the mean similarity of Wu & Palmer ("Verb semantics and lexical
selection", ACL 1994): 2·depth(common hypernym) / (depth(word) + depth(class)). Other artefacts have no
likeness to their cousins (a surfboard's is a scoreboard) and are left to the hand-written overrides.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from restore.grounding.vocabulary import Table
from restore.training.words.vocabulary_overrides import ALIASES, PEOPLE, TOO_GENERIC, UNKNOWN, WEAK, WORDS

OUT = Path("restore/grounding/vocabulary.json.gz")
SYNSETS_IN_WHEEL = "timm/data/_info/imagenet_synsets.txt"
THRESHOLD = 0.75  # of similarity, for borrowed classes
MAX_BORROWED = 40  # a hypernym that covers more classes than this says too little about the word
MAX_COVER = 130  # words covering more classes are too generic to point at one object …
BROAD = {"animal", "beast", "creature", "mammal", "vertebrate", "pet", "wildlife"}  # … except these
MIN_SHARE = 0.15  # a sense counts if it has this share of the word's uses in WordNet's tagged corpora
FORCED, WEAK_SIMILARITY = 1.0, 0.6

PHYSICAL = frozenset({"00002684", "07555863", "00021265"})  # object, solid food, food
PERSON, ANIMAL = "00007846", "00015388"
# Persons by what they do; those by character, creed or origin are mostly no words for a photo, or slurs:
# worker, entertainer, contestant, traveler, relative, professional, serviceman, musician (twice), athlete,
# performer, juvenile.
ROLES = frozenset(
    f"{offset:08d}"
    for offset in (
        9632518,
        9616922,
        9613191,
        9629752,
        10235549,
        10480253,
        10582746,
        10340312,
        10339966,
        9820263,
        10415638,
        9622049,
    )
)
OFFENSIVE = re.compile("offensive|slur|derogat|disparag|obscen|pejorativ|vulgar|insult|contempt|slang|prostitut")
NOT_THINGS = frozenset({"08630985", "09334396", "05220461", "00027167"})  # region, land, body part, location


@dataclass(frozen=True)
class Synset:
    lemmas: tuple[str, ...]
    keys: tuple[str, ...]
    hypernyms: tuple[str, ...]
    is_instance: bool
    gloss: str


@dataclass
class WordNet:
    """Nouns of a WordNet 3.0 database: `synsets` by offset, `senses` of each lemma (commonest first)."""

    synsets: dict[str, Synset]
    senses: dict[str, list[str]]
    uses: dict[str, int]
    plurals: dict[str, str]
    classes: list[str]
    _above: dict[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, classes: list[str]) -> WordNet:
        synsets, senses, uses = {}, {}, {}
        for line in _records(folder / "data.noun"):
            f = line.split("|")[0].split()
            words = range(4, 4 + 2 * int(f[3], 16), 2)
            lemmas = tuple(f[i] for i in words)
            keys = tuple(f"{f[i].lower()}%1:{f[1]}:{int(f[i + 1], 16):02d}::" for i in words)
            links = list(zip(f, f[1:], f[2:], strict=False))[words.stop + 1 :]
            up = tuple(b for a, b, c in links if a in ("@", "@i") and c == "n")
            synsets[f[0]] = Synset(lemmas, keys, up, any(a == "@i" for a, _, _ in links), line.split("|")[1])
        for line in _records(folder / "index.noun"):
            f = line.split()
            senses[f[0]] = f[-int(f[2]) :]
        for line in _records(folder / "cntlist.rev"):
            key, _, count = line.split()
            uses[key] = int(count)
        plurals = dict(line.split()[:2] for line in _records(folder / "noun.exc"))
        return cls(synsets, senses, uses, plurals, classes)

    def above(self, synset: str) -> frozenset[str]:
        """The synset and all its hypernyms."""
        if synset not in self._above:
            ups = [self.above(up) for up in self.synsets[synset].hypernyms]
            self._above[synset] = frozenset({synset}).union(*ups)
        return self._above[synset]

    def depth(self, synset: str) -> int:
        """Nodes on the shortest path to the root, both ends counted."""
        return 1 + min((self.depth(up) for up in self.synsets[synset].hypernyms), default=0)

    @cached_property
    def cover(self) -> dict[str, frozenset[int]]:
        """Synset → indices of the ImageNet classes it equals or is a hypernym of."""
        below = defaultdict(set)
        for index, synset in enumerate(self.classes):
            for up in self.above(synset):
                below[up].add(index)
        return {synset: frozenset(indices) for synset, indices in below.items()}

    def tagged(self, lemma: str, synset: str) -> int:
        """Uses of the lemma in this sense in WordNet's sense-tagged corpora."""
        s = self.synsets[synset]
        return sum(self.uses.get(k, 0) for word, k in zip(s.lemmas, s.keys, strict=True) if word.lower() == lemma)

    def map(self, synset: str) -> tuple[frozenset[int], float]:
        """Classes of one sense and their similarity to it; nothing where the hierarchy has none near."""
        if synset in self.cover:
            return self.cover[synset], 1.0
        near = [up for up in self.above(synset) if up in self.cover]
        if not near or not self.above(synset).intersection(PHYSICAL):
            return frozenset(), 0.0
        best = max(near, key=lambda up: (self.depth(up), -len(self.cover[up]), up))
        classes = self.cover[best]
        cousins = ANIMAL in self.above(synset) and best in self.synsets[synset].hypernyms
        if best not in self.classes and not cousins:
            return frozenset(), 0.0
        depth, own = self.depth(best), self.depth(synset)
        return classes, sum(2 * depth / (own + self.depth(self.classes[i])) for i in classes) / len(classes)


@dataclass
class Row:
    """One word of the table: class indices, whether it names a person, similarity, uses in tagged corpora."""

    classes: frozenset[int]
    person: bool
    similarity: float
    uses: int = 0


def _records(path: Path) -> Iterable[str]:
    return (line for line in path.read_text("utf-8").splitlines() if line and not line.startswith(" "))


def normal(lemma: str) -> str:
    return lemma.replace("_", " ").replace("-", " ").replace("'", "").replace(".", "").lower()


def is_person(net: WordNet, sense: str, things: list[str], uses: dict[str, int]) -> bool:
    """Whether a word's first physical sense is a person by role, and its other senses are hardly used."""
    others = [s for s in things if PERSON not in net.above(s)]
    return bool(
        net.above(sense).intersection(ROLES)
        and not OFFENSIVE.search(net.synsets[sense].gloss)
        and (not others or uses[sense] > 4 * sum(uses[s] for s in others))
    )


def describe(net: WordNet, lemma: str) -> Row | None:
    """Classes of a lemma: of senses that are classes, of the first one if physical, and of common ones."""
    senses = [s for s in net.senses[lemma] if not net.synsets[s].is_instance]
    uses = {s: net.tagged(lemma, s) for s in senses}
    total = max(sum(uses.values()), 1)
    things = [
        s for s in senses
        if s in net.classes or (net.above(s).intersection(PHYSICAL) and not
        net.above(s).intersection(NOT_THINGS))
    ]  # fmt: skip
    rank = {s: i for i, s in enumerate(senses)}
    common = [s for s in things if uses[s] >= MIN_SHARE * total or (rank[s] == 0)]
    own = [s for s in things if s in net.classes and net.synsets[s].lemmas[0].lower() == lemma]
    if common and not own and is_person(net, common[0], things, uses):
        return Row(net.cover.get(common[0], frozenset()), True, 1.0, total)
    chosen = [s for s in things if s in own or (s in common and PERSON not in net.above(s))]
    mapped = [(s, *net.map(s)) for s in chosen]
    if any(similarity == 1 for *_, similarity in mapped):
        mapped = [m for m in mapped if m[2] == 1]
    mapped = [
        (s, classes, similarity) for s, classes, similarity in mapped
        if similarity == 1 or (similarity >= THRESHOLD and len(classes) <= MAX_BORROWED)
    ]  # fmt: skip
    if not mapped:
        return None
    classes = frozenset().union(*(m[1] for m in mapped))
    return Row(classes, False, max(m[2] for m in mapped), total)


def build_rows(net: WordNet) -> tuple[dict[str, Row], list[str]]:
    """All mapped words, and common single words that are known but name nothing the classifier has."""
    rows: dict[str, Row] = {}
    unknown: list[str] = []
    written = {lemma for s in net.synsets.values() for lemma in s.lemmas}
    class_lemmas = {lemma.lower() for s in net.classes for lemma in net.synsets[s].lemmas}
    for lemma in net.senses:
        word = normal(lemma)
        plain = lemma in written or lemma in class_lemmas
        if not plain or any(c.isdigit() for c in word) or len(word) < 2 or len(word) > 28:
            continue
        row = describe(net, lemma)
        if row and len(word.split()) > (1 if row.person else 2 if row.similarity < 1 else 9):
            continue  # the last words of the phrase say the same
        if row and not row.person and len(row.classes) > MAX_COVER and word not in BROAD:
            row = None
        if row and word not in TOO_GENERIC and lemma not in TOO_GENERIC:
            if word not in rows or rows[word].similarity < row.similarity:
                rows[word] = row
        elif " " not in word and any(net.tagged(lemma, s) for s in net.senses[lemma]):
            unknown.append(word)
    return rows, unknown


def override(net: WordNet, rows: dict[str, Row]) -> None:
    """Apply the hand-written decisions of vocabulary_overrides.py."""
    named: dict[str, set[int]] = defaultdict(set)
    for index, synset in enumerate(net.classes):
        for lemma in net.synsets[synset].lemmas:
            named[normal(lemma)].add(index)
    for words, similarity in ((WORDS, FORCED), (WEAK, WEAK_SIMILARITY)):
        for word, names in words.items():
            parts = [name.strip() for name in names.split(",")]
            classes = frozenset(i for name in parts for i in (named.get(name) or rows[name].classes))
            rows[word] = Row(classes, False, similarity, rows[word].uses if word in rows else 1)
    for word in PEOPLE:
        old = rows.get(word)
        rows[word] = Row(old.classes if old and old.person else frozenset(), True, 1.0, old.uses if old else 1)
    for words_, target in ALIASES.items():
        for word in words_.split(", "):
            rows[word] = Row(rows[target].classes, rows[target].person, rows[target].similarity, rows[target].uses)
    for word in UNKNOWN:
        rows.pop(word, None)


def class_names(net: WordNet) -> list[str]:
    """First lemma of each class; where two share it, the hypernym's is added in brackets."""
    names = [net.synsets[s].lemmas[0].replace("_", " ") for s in net.classes]
    twice = {name for name in names if names.count(name) > 1}
    return [
        f"{name} ({net.synsets[net.synsets[s].hypernyms[0]].lemmas[0].replace('_', ' ')})" if name in twice else name
        for name, s in zip(names, net.classes, strict=True)
    ]


def spans(indices: Iterable[int]) -> list[int]:
    """Ascending indices as flat [first, last, first, last, …] runs."""
    out: list[int] = []
    for i in sorted(indices):
        if out and out[-1] == i - 1:
            out[-1] = i
        else:
            out += [i, i]
    return out


def table(net: WordNet, licence: str) -> Table:
    """The shipped table; words are in order of commonness."""
    rows, unknown = build_rows(net)
    override(net, rows)
    sets: dict[frozenset[int], int] = {}
    words = {}
    for word, row in sorted(rows.items(), key=lambda kv: (-kv[1].uses, kv[0])):
        words[word] = [sets.setdefault(row.classes, len(sets)), round(100 * row.similarity), int(row.person)]
    irregular = {normal(p): normal(s) for p, s in net.plurals.items() if normal(s) in words and normal(p) not in words}
    return {
        "about": "Words of the grounder: word -> [index into sets, similarity in percent, 1 if a person]; "
        "sets hold runs [first, last, ...] of ImageNet class indices. Built by training/words/vocabulary.py.",
        "source": "WordNet 3.0, Princeton University; ImageNet ILSVRC-2012 synset list",
        "licence": licence,
        "classes": class_names(net),
        "sets": [spans(s) for s in sets],
        "words": words,
        "plurals": irregular,
        "unmapped": sorted(set(unknown + list(UNKNOWN)) - words.keys()),
    }


def read_synsets(path: Path) -> list[str]:
    wheel = path.suffix == ".whl"
    text = zipfile.ZipFile(path).read(SYNSETS_IN_WHEEL).decode() if wheel else path.read_text()
    return [line[1:] for line in text.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--synsets", type=Path, required=True, help="imagenet_synsets.txt, or timm's wheel")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    with (args.wordnet / "data.noun").open(encoding="utf-8") as file:
        notice = [line.split(maxsplit=1) for line in file if line.startswith(" ")]
    licence = " ".join(words[1].strip() for words in notice if len(words) > 1)
    content = table(WordNet.read(args.wordnet, read_synsets(args.synsets)), licence)
    raw = json.dumps(content, separators=(",", ":")).encode()
    args.out.write_bytes(gzip.compress(raw, 9, mtime=0))
    print(f"{args.out}: {len(content['words'])} words, {len(raw)} bytes, {args.out.stat().st_size} compressed")


if __name__ == "__main__":
    main()
