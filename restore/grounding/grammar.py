"""Sentences → `Instruction`: every word is read, or the sentence is refused with the words that could not be placed.

instruction = [please | can you …] [remove …] things
            | keep only things | everything except things | remove the background leaving things
            | replace things with subject | turn things into subject
            | add subject [relation thing]
things      = thing {, thing} [and thing]          (things.py reads a thing)
"""

from __future__ import annotations

import re
from dataclasses import replace

from restore.errors import InputError
from restore.grounding import words as w
from restore.grounding.languages import foreign
from restore.grounding.meaning import Describe, Instruction, Relation
from restore.grounding.things import EXAMPLE, QUOTE, Reader, read_thing, take_place, take_relation

MAX_LENGTH = 200
EXAMPLES = 'for example "replace the cat with a dog" or "add a hat on the man"'
CAN = "what can be done is to remove, replace, add or keep only something"
QUOTED = re.compile(r"[\"“”«»„]\s*([^\"“”«»„]+?)\s*[\"“”«»„]")
PLACE_WORDS = "|".join(w.PLACES)


def parse(text: str) -> Instruction:
    """Read an instruction such as "please remove both dogs next to the bench".

    A bare noun phrase means "remove" it; "keep only …" and "everything except …" are of action "keep"; "replace … with
    …", "turn … into …" and "add …" carry a `subject`. Singular nouns mean one instance, plural nouns and "every" all, a
    number exactly so many.

    Raises:
        InputError: nothing to edit is named, the sentence is not English, or not every word of it can be read.
    """
    words = _plain(text)
    if kept := _kept(words):
        return replace(_things(kept, text), action="keep")
    if match := w.NEGATION.search(words):
        raise InputError(
            f'expected what to edit, got an exception ("{match[0]}") in {text!r}: {EXAMPLE}, or "keep only the cat"'
        )
    if match := w.VANISH.match(words):
        return _things(match["object"], text)
    bare = _without_photo(words)
    if edit := _replacing(bare):
        return _replace(*edit, text)
    if match := w.GIVE.match(bare):
        return _add(f"{match['subject']} on {match['target']}", text)
    if match := w.ADD.match(bare):
        if match["verb"] in ("put", "place") and match["subject"].startswith(("the ", "my ", "this ", "that ", "it")):
            raise InputError(f'expected something new to add, got {text!r}: nothing can be moved; say "add a …"')
        return _add(w.TO.sub(r"\1 on \2", match["subject"]), text)
    if match := w.INCOMPLETE.match(bare):
        raise InputError(f"expected words that say what to {match[0].strip()} ({EXAMPLES}), got {text!r}")
    return _things(_removed(words, text), text)


def parse_shown(text: str) -> Instruction | Describe:
    """Read what was said with a mask, box or point: without a verb it says what shall appear there.

    Raises InputError as `parse` does, and for a text without words.
    """
    try:
        words = _plain(text)
    except InputError:
        if foreign(text) is None:
            raise
        return Describe(" ".join(text.split()))  # a model may know the language
    reader = Reader(words.split(), text)
    verb = reader.sees(w.REMOVE | w.KEEP) or reader.peek() in w.OTHER_VERBS or w.VANISH.match(words)
    if verb or any(pattern.match(words) for pattern in (w.CHANGE, w.REPLACE, w.ADD, w.GIVE, w.LEAVING)):
        return parse(text)
    return Describe(" ".join(text.split()))


def _plain(text: str) -> str:
    """The words in lower case without punctuation and courtesies; quoted ones begin with a quotation mark."""
    said = " ".join(re.sub(r"[’`´]", "'", text).split())
    if not re.search(r"[^\W\d_]", said) or len(said) > MAX_LENGTH:
        raise InputError(f"expected words that name an object ({EXAMPLE}), got {text[:40]!r}: name what to remove")
    if language := foreign(said):
        raise InputError(
            f"expected an English sentence ({EXAMPLE}), got what looks like {language} in {text!r}: say it in English, "
            "or show the object with a mask, box or point"
        )
    said = QUOTED.sub(lambda m: " " + " ".join(QUOTE + word for word in m[1].split()) + " ", said).lower()
    words = re.sub(r"[.!?;:()…]+(?=\s|$)|[()]", " ", said).replace(",", " , ")
    words = re.sub(rf"\b({PLACE_WORDS})-(?={PLACE_WORDS}|most|hand)", r"\1 ", words)
    words = re.sub(r"\b(left|right|top|bottom) most\b", r"\1most", words)
    words = " ".join(words.split()).strip(" ,")
    words = re.sub(r"^'(.*)'$", r"\1", words)
    while match := w.POLITE.match(words):
        words = words[match.end() :].lstrip(" ,")
    while match := w.POLITE_END.search(words):
        words = words[: match.start()]
    return words.strip(" ,")


def _without_photo(words: str) -> str:
    return " ".join(w.THE_PHOTO.sub("", f" {words}").split()).strip(" ,")


def _kept(words: str) -> str | None:
    """X of "keep only X", "remove everything but X", "remove the background leaving X"; None where it is none."""
    rest = w.AND_THE_REST.sub("", words)
    reader = Reader(rest.split(), words)
    removing = reader.take(w.REMOVE)
    if not removing and rest != words and reader.take(("keep", "leave", *w.KEEP)):
        return " ".join(reader.words[reader.at :])
    if rest == words and (start := reader.take(w.KEEP)) and not (removing and start.split()[0] in ("keep", "leave")):
        kept = _without_photo(" ".join(reader.words[reader.at :]))
        return re.sub(r" from (?:the |its )?(?:background|surroundings)$", "", kept)
    if match := w.LEAVING.match(" ".join(reader.words[reader.at :])):
        return _without_photo(match["object"])
    return None


def _removed(words: str, text: str) -> str:
    """The things of a sentence that says to remove them, by a verb or none. Raises InputError for another verb."""
    reader = Reader(words.split(), text)
    if reader.take(w.REMOVE):
        reader.take(("only", "just"))
    elif reader.peek() in w.PARTICLE_VERBS:
        verb = reader.next()
        rest = " ".join(reader.words[reader.at :])
        if not (reader.take(w.PARTICLES) or re.search(r" (?:out of|off|from|out$|away$|off$)(?: |$)", rest)):
            raise _verb(verb, text)
        if reader.words[-1] in w.PARTICLES:
            reader.words.pop()
    elif reader.left > 1 and reader.peek() in w.OTHER_VERBS:
        raise _verb(reader.peek(), text)
    return _without_photo(" ".join(reader.words[reader.at :]))


def _verb(verb: str, text: str) -> InputError:
    return InputError(f"expected what to remove, got '{verb}' in {text!r}: {CAN} ({EXAMPLE})")


def _things(words: str, text: str) -> Instruction:
    """Read a list of things: the first, with the others in its `also`."""
    reader = Reader(words.split(), text)
    found = [read_thing(reader)]
    determined = [reader.peek(-reader.at) in w.ARTICLES | w.ALL]
    while reader.peek() == "," or reader.peek() in w.AND or reader.sees(w.AND):
        reader.take((",",))
        reader.take(w.AND)
        if reader.sees(w.REMOVE) or (reader.peek() in w.OTHER_VERBS and not reader.names(1)):
            raise InputError(f"expected one edit, got several in {text!r}: make them one after the other")
        determined.append(reader.peek() in w.ARTICLES | w.ALL)
        found.append(read_thing(reader))
    if reader.left and len(found) == 1 and not determined[0] and reader.peek() in w.ARTICLES | w.ALL:
        raise _verb(" ".join(reader.words[: reader.at]), text)
    reader.done()
    _check_list(found, determined, text)
    if any(thing.object == "background" for thing in found):
        raise InputError(
            f'expected an object, got the background in {text!r}: say what stays, for example "keep only the cat"'
        )
    return replace(found[0], also=tuple(found[1:]))


def _check_list(found: list[Instruction], determined: list[bool], text: str) -> None:
    """Raises InputError where it is not clear which of several things an adjective, number or place belongs to."""
    first, last = found[:-1], found[-1]
    shared = [t for t in first if t.modifiers or t.count or t.selector]
    loose = not determined[-1] and len(found) > 1
    if any(thing.relation for thing in first) or (loose and (shared or last.selector or last.relation)):
        raise InputError(
            f"expected things that are told apart clearly, got a list in {text!r} that can be read in two ways: "
            "say each with its own 'the' and its place last, or one after the other"
        )


def _replacing(words: str) -> tuple[str, str] | None:
    """(old, new) of "replace old with new" and "turn old into new"; None where it is neither.

    A "with the …" before another "with" is part of the old object: "replace the man with the hat with a dog".
    """
    if match := w.CHANGE.match(words):
        return (match["old"], match["new"]) if match["old"] else (match["old_to"], match["new_to"])
    if not (match := w.REPLACE.match(words)):
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
    if w.NOTHING.match(new):
        return _things(old, text)
    if match := w.COLOUR_OF.match(old):  # "change the colour of the car to red"
        found = _things(match["object"], text)
        return replace(found, action="replace", subject=f"a {new} {found.object}")
    return replace(_things(old, text), action="replace", subject=_subject(new, text))


def _add(words: str, text: str) -> Instruction:
    """The last relation says where; one before it belongs to the subject ("a man with a dog next to the car")."""
    reader, cut = Reader(words.split(), text), None
    while reader.left:
        start = reader.at
        if take_place(reader):
            continue
        kind = take_relation(reader)
        if kind is None:
            reader.at += 1
        elif kind != "with" and start > 0:
            cut = start
    subject = words if cut is None else " ".join(reader.words[:cut])
    thing = Reader(subject.split(), text)
    found = read_thing(thing, new=True)
    if thing.peek() == "," or thing.sees(w.AND):
        raise InputError(f"expected one kind of object, got several in {text!r}: add them one after the other")
    thing.done()
    found = replace(found, action="add", subject=_subject(subject, text, placed=True), relation=None)
    if cut is None:
        return found
    reader.at = cut
    kind = take_relation(reader)
    target = read_thing(reader, nested=True)
    reader.done()
    return replace(found, relation=Relation(kind, target)) if kind is not None else found


def _subject(words: str, text: str, *, placed: bool = False) -> str:
    """What shall appear, as it was said; where it is `placed`, without the place that its selector has ("on the left").
    Raises InputError where nothing is named."""
    reader = Reader(words.split(), text)
    kept: list[str] = []
    while reader.left:
        if not (placed and take_place(reader)):
            kept.append(reader.next())
    if not any(Reader([word], text).names() for word in kept):
        raise InputError(f"expected what shall appear ({EXAMPLES}), got {text!r}")
    return " ".join(kept)
