"""Words → one thing of a photo: `read_thing` takes a noun phrase off a `Reader`.

thing    = [all | the two | second …] [left | largest …] [adjectives] noun {place | relation thing | "that is" …}
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from restore.errors import InputError
from restore.grounding import words as w
from restore.grounding.meaning import Instruction, Order, Overlay, OverlayKind, Relating, Relation, Selector, Side
from restore.grounding.nouns import MEASURES, singulars

EXAMPLE = 'for example "remove the cat on the left"'
QUOTE = '"'
LONGEST = 5  # words of a closed phrase


class Reader:
    """The words of a sentence, each read once from the left. `text`: the sentence as it was said."""

    def __init__(self, words: list[str], text: str) -> None:
        self.words, self.text, self.at = words, text, 0

    @property
    def left(self) -> int:
        return len(self.words) - self.at

    def peek(self, ahead: int = 0) -> str:
        """The word that many places ahead; "" behind the end."""
        return self.words[self.at + ahead] if self.at + ahead < len(self.words) else ""

    def next(self) -> str:
        self.at += 1
        return self.words[self.at - 1]

    def sees(self, phrases: Collection[str]) -> str:
        """The longest of the phrases that comes next; "" if none does."""
        for count in range(min(LONGEST, self.left), 0, -1):
            phrase = " ".join(self.words[self.at : self.at + count])
            if phrase in phrases:
                return phrase
        return ""

    def take(self, phrases: Collection[str]) -> str:
        """Read what `sees` sees."""
        phrase = self.sees(phrases)
        self.at += len(phrase.split())
        return phrase

    def names(self, ahead: int = 0) -> bool:
        """Whether the word there may be part of a name: it is in no closed list."""
        word = self.peek(ahead)
        return bool(word) and word != "," and word not in w.CLOSED and not word.isdecimal()

    def done(self) -> None:
        """Raises InputError that names the words which nobody could place."""
        if self.left:
            raise self.unplaced(self.words[self.at :])

    def unplaced(self, words: list[str]) -> InputError:
        said = " ".join(words).replace(" ,", ",").replace(QUOTE, "'")
        return InputError(
            f"expected words that say what to edit, could not place '{said}' in {self.text!r}: "
            f"leave it out or say it otherwise ({EXAMPLE})"
        )


@dataclass
class Thing:
    """A noun phrase while it is read."""

    every: str = ""
    vague: str = ""
    count: int | None = None
    one: bool = False
    order: Order | None = None
    rank: int | None = None
    where: list[Side] = field(default_factory=list)
    modifiers: list[str] = field(default_factory=list)
    noun: list[str] = field(default_factory=list)
    relation: Relation | None = None

    def instruction(self, reader: Reader) -> Instruction:
        """The thing as an instruction to remove it. Raises InputError where nothing, or nothing clear, is named."""
        if not self.noun and reader.left > 1 and reader.peek() not in w.PRONOUNS:
            raise reader.unplaced([reader.peek()])
        if not self.noun or w.PLACES.keys() >= set(self.noun):
            raise InputError(f"expected the name of an object ({EXAMPLE}), got {reader.text!r}: name what to remove")
        said = " ".join(self.noun)
        name, plural = singular(self.noun)
        if QUOTE in said or (self.noun[0] in w.SAYING and len(self.noun) > 1):
            raise InputError(
                f"expected text as a whole, got single words in {reader.text!r}: they cannot be told apart yet; "
                'say for example "remove the text on the sign", or give a box'
            )
        overlay = overlay_named(said, name)
        tails = [" ".join(self.noun[i:]) for i in range(1, len(self.noun))]
        if overlay is None and (tail := next((t for t in tails if overlay_named(t, singular(t.split())[0])), "")):
            raise reader.unplaced(said.removesuffix(tail).split())
        plural = (plural or (overlay is not None and overlay.kinds[0] in w.MASS)) and not self.one
        plural = plural and (self.count or 2) > 1
        if self.vague and (plural or self.vague != "some"):
            raise InputError(
                f"expected how many, got '{self.vague}' in {reader.text!r}: give a number, or say 'all' or which ones"
            )
        many = bool(self.every) or plural or (self.count or 1) > 1
        order = self.order or ("left" if self.rank is not None else None)
        selector = None
        if self.where or order:
            selector = Selector(tuple(dict.fromkeys(self.where)), order, 1 if self.rank is None else self.rank)
        return Instruction(
            "remove", name, "all" if many else "one", self.count if many else None, tuple(self.modifiers), selector,
            self.relation, overlay=overlay,
        )  # fmt: skip


def read_thing(reader: Reader, *, nested: bool = False, new: bool = False) -> Instruction:
    """Read one thing, with the thing that it stands in relation to; a `nested` one may have no relation of its own.
    `new`: it shall appear, so that "some flowers" are as good as any number."""
    thing = Thing()
    _front(reader, thing)
    if new:
        thing.vague = ""
    _adjectives(reader, thing)
    while reader.names() and not (thing.noun and _leaves(reader)):
        word = reader.next()
        if word.endswith(("'s", "s'")) and (reader.names() or reader.sees(w.ADJECTIVES)):
            thing.noun.append(word.removesuffix("'").removesuffix("'s") if word.endswith("'s") else word[:-1])
            thing = Thing(relation=Relation("at", thing.instruction(reader)))
            _adjectives(reader, thing)
        elif word.endswith(("'s", "s'")):
            raise reader.unplaced([word])
        else:
            thing.noun.append(word)
    if thing.noun:
        while _after(reader, thing, nested):
            pass
    return thing.instruction(reader)


def _leaves(reader: Reader) -> bool:
    """Whether a place, a posture or a relation comes next, and no further word of the name."""
    return bool(reader.peek() in w.POSTURES or reader.sees(w.RELATIONS) or place(reader)[0])


def _front(reader: Reader, thing: Thing) -> None:
    """Determiners, numbers, ranks, orders and places before the noun."""
    start = reader.at
    while reader.left > 1:
        word = reader.peek()
        counted = thing.every or thing.one or thing.vague or thing.count is not None
        if not counted and reader.take(("one of", "any of", "any one of")):
            thing.one = True
        elif not counted and reader.take(("a couple of", "the couple of", "couple of")):
            thing.count = 2
        elif not counted and reader.at == start and reader.take(w.VAGUE):
            thing.vague = word
            if reader.peek() in w.ARTICLES:
                break
        elif not counted and reader.take(("all of", "both of", "each of", *w.ALL)):
            thing.every, thing.count = word, 2 if word == "both" else None
        elif thing.count is None and thing.every in ("", "all") and (word in w.NUMBERS or word.isdecimal()):
            thing.count = w.NUMBERS.get(word) or int(reader.peek())
            reader.at += 1
        elif word in w.RANKS and thing.rank is None:
            thing.rank = w.RANKS[reader.next()]
            _counted_from(reader, thing)
        elif word in w.ORDERS and thing.order is None and not reader.sees(w.RELATIONS):
            thing.order = w.ORDERS[reader.next()]
        elif word in w.FAR and reader.peek(1) in w.PLACES:
            reader.at += 1
        elif word in w.PLACES and word not in w.PARTS and _leads(reader) and reader.words[-2:] != ["top", "hat"]:
            thing.where.append(w.PLACES[reader.next()])
        elif not reader.take(w.ARTICLES):
            break


def _leads(reader: Reader) -> bool:
    """Whether the place that comes next stands before a noun, an adjective or another place."""
    return reader.names(1) or reader.peek(1) in w.PLACES or reader.peek(1) in w.ADJECTIVES


def _adjectives(reader: Reader, thing: Thing) -> None:
    """Adjectives, as long as a noun comes after them; "and" or a comma may stand between them."""
    while reader.peek() in w.ADJECTIVES:
        joined = 1
        while reader.peek(joined) == "," or reader.peek(joined) in w.AND:
            joined += 1
        another = reader.peek(joined) in w.ADJECTIVES and (joined == 1 or reader.names(joined + 1))
        if not another and not (joined == 1 and reader.names(1)):
            return
        thing.modifiers.append(reader.next())
        reader.at += joined - 1


def _after(reader: Reader, thing: Thing, nested: bool) -> bool:
    """Read one place, relation or clause after the noun; False if there is none."""
    if thing.order is None and (order := reader.take(w.CAMERA)):
        thing.order = w.CAMERA[order]
    elif thing.rank is None and reader.peek() in w.RANKS and reader.peek(1) in ("", "from", "on"):
        thing.rank = w.RANKS[reader.next()]
        _counted_from(reader, thing)
    elif thing.rank is not None and thing.order is None and _counted_from(reader, thing):
        pass
    elif sides := take_place(reader):
        thing.where += sides
    elif reader.sees(w.CLAUSES):
        return _clause(reader, thing)
    elif reader.peek() in w.POSTURES and not reader.sees(w.RELATIONS):
        _posture(reader, thing)
    elif reader.peek() == "of" and singular(thing.noun)[0] in MEASURES and "of" not in thing.noun:
        _members(reader, thing)
    elif reader.peek() == "of" and reader.names(1) and "of" not in thing.noun:
        thing.noun.append(reader.next())
        while reader.names():
            thing.noun.append(reader.next())
    elif reader.peek() == "in" and (colours := _only_adjectives(reader, 1, w.COLOURS)):
        thing.modifiers += colours
        reader.at += 1 + len(colours)
    elif kind := take_relation(reader):
        if nested or thing.relation is not None:
            raise InputError(f'expected one relation such as "next to", got two in {reader.text!r}: {EXAMPLE}')
        thing.relation = Relation(kind, read_thing(reader, nested=True))
    else:
        return False
    return True


def _members(reader: Reader, thing: Thing) -> None:
    """Read "of people" after "group". Raises InputError where one group of several is meant."""
    if thing.modifiers or thing.where or thing.order or thing.rank is not None or thing.count or thing.relation:
        raise reader.unplaced(thing.noun)
    reader.at += 1
    _front(reader, thing)
    _adjectives(reader, thing)
    thing.noun = ["group", "of"]
    while reader.names() and not (len(thing.noun) > 2 and _leaves(reader)):
        thing.noun.append(reader.next())


def _clause(reader: Reader, thing: Thing) -> bool:
    """ "that is …": followed by adjectives, a place, a relation or a posture."""
    start = reader.at
    reader.take(w.CLAUSES)
    if adjectives := _only_adjectives(reader, 0):
        thing.modifiers += adjectives
        reader.at += len(adjectives)
        return True
    follows = reader.peek() in w.POSTURES or reader.sees(w.RELATIONS) or reader.peek() in w.AT
    if not follows:
        reader.at = start
    return bool(follows)


def _posture(reader: Reader, thing: Thing) -> None:
    """ "standing" only leads to the place or relation after it; alone it says what the thing is like."""
    word = reader.next()
    reader.take(("up", "there", "around", "down"))
    if not (reader.sees(w.RELATIONS) or reader.peek() in w.AT):
        thing.modifiers.append(word)


def _only_adjectives(reader: Reader, ahead: int, known: Collection[str] = w.ADJECTIVES) -> list[str]:
    """The adjectives from there on, if nothing that could be a noun comes after them; else none."""
    found: list[str] = []
    while reader.peek(ahead) in known:
        found.append(reader.peek(ahead))
        ahead += 1
    return [] if reader.names(ahead) else found


def _counted_from(reader: Reader, thing: Thing) -> bool:
    """ "from the right" after a rank."""
    for ahead in (1, 2, 3):
        side = reader.peek(ahead)
        if reader.peek() in ("from", "on", "at") and side in w.SIDES:
            between = reader.words[reader.at + 1 : reader.at + ahead]
            if all(word in ("the", "far") for word in between) and reader.peek(ahead + 1) != "of":
                thing.order = w.SIDES[side]
                reader.at += ahead + 1
                reader.take(("hand side", "side", "hand"))
                return True
    return False


def take_place(reader: Reader) -> list[Side]:
    """Read "on the left", "in the top left corner", "bottom right": the sides; nothing where that is no place."""
    sides, reader.at = place(reader)
    return sides


def place(reader: Reader) -> tuple[list[Side], int]:
    """The sides of the place that comes next, and where the words after it start; the reader stays where it is."""
    start, sides = reader.at, list[Side]()
    bare = not reader.take(w.AT)
    if not bare:
        reader.take(("the", "its", "my"))
        reader.take(w.FAR)
    while reader.peek() in w.PLACES and len(sides) < 2 and not (bare and reader.peek() in w.PARTS):
        sides.append(w.PLACES[reader.next()])
    if sides:
        reader.take(("hand",))
        reader.take(w.AREAS)
    stands = sides and not reader.names() and reader.peek() not in ("of", *w.ADJECTIVES, *w.PLACES)
    end = reader.at
    reader.at = start
    return (sides, end) if stands else ([], start)


def take_relation(reader: Reader) -> Relating | None:
    """Read a relation such as "to the left of"; "of the car" is one too, "of coffee" is none."""
    if reader.peek() == "of" and reader.peek(1) in w.ARTICLES:
        reader.at += 1
        return "at"
    phrase = reader.take(w.RELATIONS)
    return w.RELATIONS[phrase] if phrase else None


def overlay_named(said: str, name: str) -> Overlay | None:
    """What is laid over photos under this name, as said or in the singular."""
    kind: OverlayKind | None = w.OVERLAYS.get(said) or w.OVERLAYS.get(name)
    return None if kind is None else Overlay((kind,))


def singular(noun: list[str]) -> tuple[str, bool]:
    """The noun phrase in the singular, and whether it was plural or a group."""
    if len(noun) == 1 and noun[0] in w.ANYBODY:
        return "person", w.ANYBODY[noun[0]] == "all"
    if "of" in noun[1:-1]:
        at = noun.index("of")
        if at == 1 and (singulars(noun[0]) or [noun[0]])[0] in MEASURES:
            return singular(noun[at + 1 :])[0], True
        name, plural = singular(noun[:at])
        return " ".join([name, *noun[at:]]), plural
    forms = ["glass"] if noun[-1] == "glasses" and w.DRINKS.intersection(noun[-2:-1]) else singulars(noun[-1])
    return " ".join([*noun[:-1], *forms[:1]] if forms else noun), bool(forms) or noun[-1] in w.CROWDS
