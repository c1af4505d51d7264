"""Instructions → what to do with which object: a small grammar, and the choice among the instances found.

instruction = [please | can you …] [remove …] object [relation object]
            | replace object with subject | turn object into subject
            | add subject [relation object]
object      = [all | the two | …] [leftmost | second …] [adjectives] noun [on the left | in the background |
…]
relation    = next to | left of | behind | on | with | …
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from restore.errors import InputError
from restore.grounding.nouns import MEASURES, singulars

MAX_LENGTH = 200
EXAMPLE = 'for example "remove the cat on the left"'
EXAMPLES = 'for example "replace the cat with a dog" or "add a hat on the man"'

Action = Literal["remove", "replace", "add"]

Side = Literal["left", "right", "top", "bottom", "middle", "background", "foreground"]
Order = Literal["left", "right", "top", "bottom", "largest", "smallest"]
Relating = Literal["near", "left", "right", "above", "below", "behind", "front", "on", "in", "with"]


@dataclass(frozen=True)
class Selector:
    """Which instances of the object: those at all the places in `where`; then, sorted by `order` (from the
    left,
    from the largest, …), the one numbered `rank` (1 = first, −1 = last)."""

    where: tuple[Side, ...] = ()
    order: Order | None = None
    rank: int = 1


@dataclass(frozen=True)
class Relation:
    """How the object stands to another one: "on the left of" is kind "left"."""

    kind: Relating
    target: Instruction


@dataclass(frozen=True)
class Instruction:
    """One parsed instruction.

    `object` is the noun phrase in the singular without its adjectives, which are in `modifiers`;
    `quantity` "all"
    with a `count` means that many ("both cats": 2). `subject` is what shall appear, as it was said ("a red hat"):
    None for "remove". For "add" the object is the subject's noun, and the relation, if any, says beside what.
    """

    action: Action
    object: str
    quantity: Literal["one", "all"] = "one"
    count: int | None = None
    modifiers: tuple[str, ...] = ()
    selector: Selector | None = None
    relation: Relation | None = None
    subject: str | None = None

    @property
    def phrase(self) -> str:
        """Adjectives and noun: what to look up, since some adjectives are part of a name ("red panda")."""
        return " ".join((*self.modifiers, self.object))


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


POLITE = re.compile(
    r"(?:(?:please|kindly|just|now|hey|hi|hello|ok|okay|so|then|also|and|lets|let's),?\s+"
    r"|(?:can|could|would|will) (?:you|u|we|i)\s+|i(?:'d| would)? (?:want|need|like|wish)(?: you| it)? to\s+"
    r"|try to\s+|help me(?: to)?\s+|go ahead and\s+)"
)
VERB = re.compile(
    r"(?:(?:remove|erase|delete|eliminate|get rid of|getting rid of|dispose of|take|clean|clear|wipe|cut"
    r"|edit|crop|photoshop|paint|scrub|strip|lose|removing|erasing|deleting|inpaint)"
    r"(?: (?:out|away|off|up))?|make)(?:\s+|$)"
)
AFTER = re.compile(r" (?:out|away|off|disappear|vanish|go away|gone|please|thanks|thank you|now|completely|entirely)$")
REPLACE = re.compile(r"(?:replace|swap|substitute|exchange|switch)(?: out)?\s+(?P<rest>.+)")
CHANGE = re.compile(
    r"(?:turn|change|transform|convert|make)\s+(?P<old>.+?) into (?P<new>.+)"
    r"|(?:change|transform|convert)\s+(?P<old_to>.+) to (?P<new_to>.+)"
)
COLOUR = re.compile(r"(?:the )?colou?r of (?P<object>.+)")
ADD = re.compile(r"(?:add|insert|put|place|draw)(?: in)?\s+(?P<subject>.+)")
GIVE = re.compile(r"give\s+(?P<target>.+?) (?P<subject>(?:an?|some) .+)")
TO = re.compile(  # "a hat to the man"
    r"^(.+)(?<! next)(?<! close)(?<! closest)(?<! nearby)(?<! adjacent) (?:on)?to "
    r"(?!the (?:left|right) )((?:the|this|that|his|her|my|each|every) .+)$"
)
INCOMPLETE = re.compile(r"(?:replace|swap|substitute|exchange|turn|change|transform|add|insert|put|give)(?: |$)")
NOTHING = re.compile(r"(?:nothing|(?:the |its )?(?:empty )?(?:background|space|surroundings))$")
NEGATION = re.compile(r"\b(?:except|besides|apart from|but|don't|dont|do not|not|never|keep|without)\b")
THE_PHOTO = re.compile(
    r" (?:from|in|of|on|out of|(?:in|on)?to) (?:the|this|that|my|our) (?:whole |entire )?"
    r"(?:photo|photograph|picture|image|scene|shot|frame|pic|view)\b"
)
CLAUSE = re.compile(
    r" (?:that|which|who)(?: is| are|'s|'re) | (?:located|situated|placed) (?=on|in|at|to|next|near|by)"
)
POSTURE = re.compile(
    r" (?:sitting|standing|lying|laying|parked|walking|running|hanging|resting|flying|sleeping"
    r"|playing|smiling|jumping|talking|eating|swimming|waiting|passing|standing (?:up|there|around))(?= |$)"
)

TO_CAMERA = re.compile(r"(.*) (?:closest|nearest) to (?:the )?(?:camera|viewer)$")

PLACE = "left|right|top|upper|bottom|lower|middle|center|centre|background|foreground|front|back|rear|distance"
PLACES: dict[str, Side] = {
    "left": "left", "right": "right", "top": "top", "upper": "top", "bottom": "bottom", "lower": "bottom",
    "middle": "middle", "center": "middle", "centre": "middle", "central": "middle",
    "background": "background",
    "back": "background", "rear": "background", "distance": "background", "foreground": "foreground",
    "front": "foreground",
}  # fmt: skip
POSITION = re.compile(
    rf" (?:on|at|in|to|from|towards?) (?:the |its |my )?(?:far |very |extreme )?({PLACE})(?:[- ]({PLACE}))?"
    r"(?:[- ]hand)?(?: (?:side|half|part|corner|edge|third|end|area))?(?= |$)"
)
FROM = re.compile(r" (?:from|on|at) (?:the )?(?:far )?(left|right|top|bottom)(?:[- ]hand)?(?: side)?(?= |$)")
ORDERS: dict[str, Order] = {
    "leftmost": "left", "rightmost": "right", "topmost": "top", "uppermost": "top", "highest": "top",
    "bottommost": "bottom", "lowest": "bottom", "largest": "largest", "biggest": "largest",
    "closest": "largest",
    "nearest": "largest", "main": "largest", "smallest": "smallest", "tiniest": "smallest",
    "farthest": "smallest",
    "furthest": "smallest",
}  # fmt: skip
SIDES: dict[str, Order] = {"left": "left", "right": "right", "top": "top", "bottom": "bottom"}
RANKS = {
    word: rank
    for rank, names in enumerate(
        (
            "first 1st",
            "second 2nd",
            "third 3rd",
            "fourth 4th",
            "fifth 5th",
            "sixth 6th",
            "seventh 7th",
            "eighth 8th",
        ),
        1,
    )
    for word in names.split()
} | {"last": -1}
NUMBERS = {
    word: n for n, word in enumerate(("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), 1)
}
ALL = _words("all every each both any")
DETERMINERS = _words("the a an this that these those my our your his her its their some of single other entire whole")
ADJECTIVES = _words(
    """red green blue yellow cyan turquoise magenta orange white black brown grey gray pink purple violet beige golden
    gold silver blond blonde
    dark light bright pale colorful colourful striped spotted transparent shiny big large huge giant small
    little tiny
    tall short long thin thick fat wide narrow round square old young new ugly beautiful nice cute annoying
    unwanted
    random wooden metal plastic leather stone concrete broken dirty clean empty full open closed wet dry
    blurry sitting
    standing lying sleeping running walking flying parked moving lone
    single stray smiling photobombing distracting"""
)
ANYBODY = {"everyone": "all", "everybody": "all", "anyone": "all", "someone": "one", "somebody": "one"}
CROWDS = _words("crowd audience family couple herd flock")
DRINKS = _words("wine beer water drinking champagne cocktail shot")
NO_NOUN = _words(
    "one ones it them him her me us this that these those everything something anything thing things stuff"
)

RELATIONS: tuple[tuple[Relating, str], ...] = (
    ("left", r"(?:(?:to|on|at) the )?(?:immediate )?left(?:[- ]hand)?(?: side)? of"),
    ("right", r"(?:(?:to|on|at) the )?(?:immediate )?right(?:[- ]hand)?(?: side)? of"),
    ("front", r"in front of|ahead of"),
    ("behind", r"(?:at|in) (?:the )?back of|behind"),
    (
        "near",
        r"(?:right )?next to|near(?:by)?(?: to)?|beside|close(?:st)? to|nearest(?: to)?|by|alongside"
        r"|adjacent to",
    ),
    ("on", r"on top of|on|riding|atop"),
    ("above", r"above|over"),
    ("below", r"below|beneath|under(?:neath)?"),
    ("in", r"inside(?: of)?|within|in"),
    (
        "with",
        r"with|wearing|holding|carrying|having|(?:walking|pushing|pulling) (?=(?:a|an|the|his|her|their) )",
    ),
)
RELATION = re.compile(
    rf" (?!(?:on|in|at) (?:the |its )?(?:far |very |extreme )?(?:{PLACE})\b(?!(?:[- ]hand)?(?: side)? of ))"
    r"(?:" + "|".join(f"(?P<{kind}>{pattern})" for kind, pattern in RELATIONS) + ") +"
)


def parse(text: str) -> Instruction:
    """Read an instruction such as "please remove both dogs next to the bench".

    A bare noun phrase means "remove" it; "replace … with …", "turn … into …" and "add …" carry a `subject`.
    Singular nouns mean one instance, plural nouns and "every" all.

    Raises:
        InputError: nothing to edit is named, or the text asks for more than the grammar can say.
    """
    said = " ".join(re.sub(r"[’`´]", "'", text).lower().split())
    if not re.search(r"[^\W\d_]", said) or len(said) > MAX_LENGTH:
        raise InputError(f"expected words that name an object ({EXAMPLE}), got {text[:40]!r}: name what to remove")
    words = re.sub(r"[.!?;:\"()]+", " ", said).strip(" ,'")
    words = re.sub(r"left[- ]most", "leftmost", re.sub(r"right[- ]most", "rightmost", " ".join(words.split())))
    while match := POLITE.match(words):
        words = words[match.end() :]
    if match := NEGATION.search(words):
        raise InputError(f'expected what to edit, got an exception ("{match[0]}") in {text!r}: {EXAMPLE}')
    while match := AFTER.search(words):
        words = words[: match.start()]
    words = THE_PHOTO.sub("", " " + words.strip(" ,")).strip()
    if edit := _replacing(words):
        return _replace(*edit, text)
    if match := GIVE.match(words):
        return _add(f"{match['subject']} on {match['target']}", text)
    if match := ADD.match(words):
        return _add(TO.sub(r"\1 on \2", match["subject"]), text)
    if match := INCOMPLETE.match(words):
        raise InputError(f"expected words that say what to {match[0].strip()} ({EXAMPLES}), got {text!r}")
    if match := VERB.match(words):
        words = words[match.end() :]
    return _object(words, text)


def _object(words: str, text: str) -> Instruction:
    """Parse `words` = object [relation object]: which thing of the photo."""
    return _phrase(TO_CAMERA.sub(r"largest\1", _join(" " + words, text)), text)


def _replacing(words: str) -> tuple[str, str] | None:
    """(old, new) of "replace old with new" and "turn old into new"; None where it is neither.

    A "with the …" before another "with" is part of the old object: "replace the man with the hat with a dog".
    """
    if match := CHANGE.match(words):
        return (match["old"], match["new"]) if match["old"] else (match["old_to"], match["new_to"])
    if not (match := REPLACE.match(words)):
        return None
    for separator in ("with", "by", "for"):
        cuts = [(m.start(), m.end()) for m in re.finditer(rf" {separator} ", match["rest"])]
        if cuts:
            free = [cut for cut in cuts if not match["rest"].startswith(("the ", "his ", "her "), cut[1])]
            start, end = (free or cuts)[0] if free else cuts[-1]
            old, new = match["rest"][:start], match["rest"][end:]
            return (new, old) if separator == "for" and words.startswith("substitute") else (old, new)
    return None


def _replace(old: str, new: str, text: str) -> Instruction:
    if NOTHING.match(new):
        return _object(old, text)
    if match := COLOUR.match(old):  # "change the colour of the car to red"
        found = _object(match["object"], text)
        return replace(found, action="replace", subject=f"a {new} {found.object}")
    return replace(_object(old, text), action="replace", subject=_subject(new, text))


def _add(words: str, text: str) -> Instruction:
    """The last relation says where; one before it belongs to the subject ("a man with a dog next to the car")."""
    places = [m for m in RELATION.finditer(f" {words} ") if m.lastgroup != "with" and m.start() > 0]
    subject, where = words, ""
    if places:
        subject, where = words[: places[-1].start() - 1].strip(), words[places[-1].start() - 1 :]
    joined = f" {_join(subject, text)} "
    inner = RELATION.search(joined, 1)
    thing = _noun_phrase(joined[: inner.start()] if inner else joined, text)
    found = replace(thing, action="add", subject=_subject(subject, text))
    return replace(found, relation=_phrase(f"place {where}", text).relation) if where else found


def _subject(words: str, text: str) -> str:
    """What shall appear, without the place that "on the left" names. Raises InputError where nothing is named."""
    subject = POSITION.sub("", " " + words).strip(" ,")
    if not subject or subject.split()[-1] in NO_NOUN | DETERMINERS | ALL:
        raise InputError(f"expected what shall appear ({EXAMPLES}), got {text!r}")
    return subject


def _join(words: str, text: str) -> str:
    """Commas and "and" between adjectives become spaces; between objects they are refused."""
    parts = re.split(r",? and |, ?| & | or | plus ", words)
    for before, after in pairwise(parts):
        if not {before.split()[-1:][0] if before.split() else "", (after.split() or [""])[0]} <= ADJECTIVES:
            raise InputError(f"expected one kind of object, got several in {text!r}: edit them one after the other")
    return " ".join(parts)


def _phrase(words: str, text: str, *, nested: bool = False) -> Instruction:
    """Parse `words` = object [relation object]."""
    words = " " + " ".join(CLAUSE.sub(" ", f" {words.strip()} ").split())
    match = next((m for m in RELATION.finditer(words) if words[: m.start()].strip()), None)
    if match is None:
        return _noun_phrase(words, text)
    if nested:
        raise InputError(f'expected one relation such as "next to", got two in {text!r}: {EXAMPLE}')
    subject, target = words[: match.start()], words[match.end() :]
    told = [word for word in target.split() if word not in DETERMINERS]
    if match.lastgroup == "in" and told and ADJECTIVES.issuperset(told):  # "the man in red"
        found = _noun_phrase(subject, text)
        return replace(found, modifiers=(*found.modifiers, *told))
    related = _phrase(target, text, nested=True)
    kind = next(kind for kind, _ in RELATIONS if kind == match.lastgroup)
    return replace(_noun_phrase(subject, text), relation=Relation(kind, related))


def _noun_phrase(words: str, text: str) -> Instruction:
    """Parse `words` = [determiners, numbers, selectors] [adjectives] noun [place]."""
    words = POSTURE.sub("", words)
    ranked = any(word in RANKS for word in words.split())
    order: Order | None = None
    rank, count, where, every = 1, None, [], False
    if ranked and (match := FROM.search(words)):
        order = SIDES[match[1]]
        words = words[: match.start()] + words[match.end() :]
    if match := POSITION.search(words):
        where = [PLACES[group] for group in match.groups() if group]
        words = words[: match.start()] + words[match.end() :]
    tokens = words.split()
    if tokens and tokens[-1] in RANKS:
        tokens.insert(0, tokens.pop())
    one = tokens[:2] == ["one", "of"]
    while len(tokens) > 1 and tokens != ["top", "hat"]:
        token = tokens[0]
        if token in ALL:
            every, count = True, 2 if token == "both" else count
        elif token in NUMBERS or token.isdecimal():
            count = NUMBERS.get(token) or int(token)
        elif token in RANKS:
            rank, order = RANKS[token], order or "left"
        elif token in ORDERS:
            order = ORDERS[token]
        elif token in PLACES:
            where.append(PLACES[token])
        elif token not in DETERMINERS and not (token == "far" and tokens[1] in PLACES):
            break
        tokens.pop(0)
    split = 0
    while split < len(tokens) - 1 and tokens[split] in ADJECTIVES:
        split += 1
    modifiers, noun = tuple(tokens[:split]), tokens[split:]
    if not noun or noun[-1] in NO_NOUN | DETERMINERS | ALL:
        raise InputError(f"expected the name of an object ({EXAMPLE}), got {text!r}: name what to remove")
    name, plural = _singular(noun)
    plural = plural and not one and (count or 2) > 1
    many = every or plural or (count or 1) > 1
    selector = Selector(tuple(dict.fromkeys(where)), order, rank) if where or order else None
    return Instruction("remove", name, "all" if many else "one", count if many else None, modifiers, selector)


def _singular(noun: list[str]) -> tuple[str, bool]:
    """The noun phrase in the singular, and whether it was plural or a group."""
    if noun[-1] in ANYBODY:
        return "person", ANYBODY[noun[-1]] == "all"
    if "of" in noun[1:-1]:
        at = noun.index("of")
        if (singulars(noun[at - 1]) or [noun[at - 1]])[0] in MEASURES:
            return _singular([w for w in noun[at + 1 :] if w not in DETERMINERS])[0], True
        name, plural = _singular(noun[:at])
        return " ".join([name, *noun[at:]]), plural
    forms = ["glass"] if noun[-1] == "glasses" and DRINKS.intersection(noun[-2:-1]) else singulars(noun[-1])
    return " ".join([*noun[:-1], *forms[:1]] if forms else noun), bool(forms) or noun[-1] in CROWDS
