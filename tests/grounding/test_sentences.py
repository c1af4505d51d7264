"""Every word of a sentence counts: the table of benchmarks/sentences.yaml, and properties of sentences made here."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.sentences import SENTENCES, notation, read, verdict
from restore.errors import InputError
from restore.grounding import words as w
from restore.grounding.instruction import Describe, Instruction, Overlay, parse, parse_shown
from restore.grounding.languages import foreign
from restore.grounding.nouns import singulars


def row(text: str) -> set[str]:
    return set(text.split())


TABLE = yaml.safe_load(SENTENCES.read_text())
UNDERSTOOD = [sentence for sentence, expected in TABLE.items() if not expected.startswith("! ")]

# Words that a sentence may have without meaning anything by them.
COURTESY = w.ARTICLES | row("please thanks just now also then so only some")  # "some dog" is a dog
JOINTS = row("that is are which who who's of from out off away and , & plus as well also side hand part one")
POOL = sorted(
    row("dog dogs horse cup woman sign text watermark scratches sky zorple flurb oldish 7 car's")
    | row("remove erase keep only replace with add take out blur make disappear isolate everything except")
    | row("the a two three both every some other another red small wooden left right largest second last")
    | row("on in next to of from behind between near wearing at bottom and , not no quickly that is sitting")
)


def shown(word: str, told: str) -> bool:
    """Whether a word is in a notation, as itself, in the singular or as what it stands for."""
    stands_for = [word, *singulars(word), str(w.PLACES.get(word)), str(w.ORDERS.get(word)), word.removesuffix("'s")]
    stands_for += [str(w.NUMBERS.get(word)), f"#{w.RANKS.get(word)}", "order left" if word == "first" else word]
    stands_for += (
        ["2"] * (word == "both") + ["all"] * (word in w.ALL | {"everyone", "everybody"}) + ["[0-9]"] * (word == "all")
    )
    stands_for += ["person"] * (word in w.ANYBODY)
    if word in w.AT | w.POSTURES and re.search(r"[@\[(]|order", told):  # they lead on: "sitting on the chair"
        return True
    if any(
        re.search(rf"(?<![a-z]){form if form == '[0-9]' else re.escape(form)}(?![a-z])", told) for form in stands_for
    ):
        return True
    kinds = {kind for phrase, kind in w.RELATIONS.items() if word in phrase.split()}
    return any(f"{kind} [" in told for kind in kinds)


def meaningful(sentence: str) -> list[str]:
    """Its words without verbs, courtesies and joints."""
    verbs = {word for phrase in w.REMOVE | w.KEEP for word in phrase.split()} | w.PARTICLE_VERBS | w.PARTICLES
    verbs |= row("replace with add make disappear isolate everything except keep only put give insert draw")
    tokens = sentence.lower().replace(",", " , ").split()
    return [t for t in tokens if t not in verbs | COURTESY | JOINTS]


@pytest.mark.parametrize("sentence", TABLE)
def test_the_table_of_sentences(sentence: str) -> None:
    assert verdict(read(sentence), TABLE[sentence]) == "right"


def test_the_table_is_large_and_has_refusals() -> None:
    assert len(TABLE) >= 200
    assert len(TABLE) - len(UNDERSTOOD) >= 80


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(POOL), min_size=1, max_size=9))
def test_no_word_is_dropped_from_any_row_of_words(drawn: list[str]) -> None:
    sentence = " ".join(drawn)
    try:
        told = notation(parse(sentence))
    except InputError:
        return
    for word in meaningful(sentence):
        assert shown(word, told), (sentence, told)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(UNDERSTOOD), st.sampled_from(POOL), st.integers(0, 12))
def test_a_word_put_into_a_sentence_changes_what_it_means_or_is_refused(sentence: str, word: str, at: int) -> None:
    before = sentence.split()
    longer = " ".join([*before[:at], word, *before[at:]])
    got = read(longer)
    if got.startswith("! ") or not meaningful(word) or word in before:
        return
    if word in w.ALL and "all" in got:  # as without it: "every text" is "the text"
        return
    assert got != read(sentence) or word in w.AT | w.POSTURES, (longer, got)
    assert shown(word, got), (longer, got)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(UNDERSTOOD), st.integers(0, 12), st.text("bdfgklmprtvz", min_size=3, max_size=7))
def test_a_word_that_nobody_knows_is_refused(sentence: str, at: int, word: str) -> None:
    before = sentence.split()
    got = read(" ".join([*before[:at], word, *before[at:]]))
    assert got.startswith("! ") or (word in got and "→" in got)  # what shall appear is passed on as it is


def _refusal(reader: Callable[[str], object], text: str) -> str:
    try:
        reader(text)
    except InputError as error:
        return str(error)
    return ""


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    for reader in (parse, parse_shown):
        said = _refusal(reader, text)
        assert "\n" not in said
        assert len(said) < 600


@pytest.mark.parametrize(
    ("text", "kind"),
    [("the date stamp", "date"), ("all scratches", "scratches"), ("the dust", "dust"), ("power lines", "wires"),
     ("the watermark", "watermark"), ("the subtitles", "text")],
)  # fmt: skip
def test_what_is_laid_over_a_photo(text: str, kind: str) -> None:
    assert parse(f"remove {text}").overlay == Overlay((kind,))
    assert parse(f"keep only {text}").action == "keep"


def test_a_list_is_one_instruction_with_further_things() -> None:
    told = parse("remove the dog, two cats and the text")
    assert [t.object for t in told.things] == ["dog", "cat", "text"]
    assert told.also[0].count == 2
    assert parse("the dog").things == (parse("the dog"),)


@pytest.mark.parametrize(
    "text", ["a red ball", "the cat", "ein roter Ball", "a man without a hat", "remains of a wall"]
)
def test_a_description_of_a_shown_region_is_passed_on_as_it_is(text: str) -> None:
    assert parse_shown(f" {text}  ") == Describe(text)


@pytest.mark.parametrize(
    "text", ["remove the cat", "replace the cat with a dog", "add a hat", "please keep only the cat"]
)
def test_a_command_for_a_shown_region_is_a_command(text: str) -> None:
    assert isinstance(parse_shown(text), Instruction)
    assert parse_shown(text) == parse(text)


def test_another_verb_is_refused_with_a_region_too() -> None:
    for text in ("blur the cat", "make the cat bigger", ""):
        with pytest.raises(InputError):
            parse_shown(text)


@pytest.mark.parametrize(
    "text", ["remove the den", "the café sign", "the los angeles sign", "the sushi", "do it", "die"]
)
def test_english_is_not_taken_for_another_language(text: str) -> None:
    assert foreign(text) is None
