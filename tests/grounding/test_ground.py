"""From instructions to masks: lists, counts, attributes, overlays and all but the named, with finders made here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from restore.edit.request import check_instruction
from restore.errors import InputError, ModelUnavailableError, ObjectNotFoundError
from restore.grounding.attributes import fitting
from restore.grounding.finder import TOLD, read_phrase
from restore.grounding.ground import Finders, Grounded, ground
from restore.grounding.grounder import Instance
from restore.grounding.instruction import parse

RED, BLUE = (200, 20, 30), (30, 70, 200)
BOXES = {  # name: x, y, width, height, colour
    "dog": [(10, 10, 30, 30, RED), (60, 10, 20, 20, BLUE)],
    "bicycle": [(110, 10, 40, 40, BLUE)],
    "sign": [(10, 70, 60, 40, RED), (110, 70, 60, 40, BLUE)],
}
WORDS = {"text": [(20, 80, 40, 8), (120, 80, 40, 8)], "watermark": [(60, 110, 80, 8)]}


def box(x: int, y: int, w: int, h: int) -> np.ndarray:
    mask = np.zeros((120, 200), bool)
    mask[y : y + h, x : x + w] = True
    return mask


def photo() -> np.ndarray:
    image = np.full((120, 200, 3), 225, np.uint8)
    for boxes in BOXES.values():
        for *where, colour in boxes:
            image[box(*where)] = colour
    return image


class Objects:
    def named(self, image: np.ndarray, phrase: str) -> list[Instance]:
        *attributes, name = [word for word in phrase.split() if word in TOLD or word in BOXES] or [phrase]
        found = [Instance(box(*where), 0.9 - 0.1 * i) for i, (*where, _) in enumerate(BOXES.get(name, []))]
        return fitting(image, found, attributes)

    def at(self, image: np.ndarray, point: tuple[int, int]) -> Instance:
        raise AssertionError("not clicked")


class Overlays:
    def laid_over(self, image: np.ndarray, kinds: Sequence[str]) -> list[Instance]:
        return [Instance(box(*where), 0.8) for kind in kinds for where in WORDS.get(kind, [])]


def found(text: str) -> Grounded:
    return ground(photo(), parse(text), Finders(Objects(), Overlays()))


def union(*boxes: Sequence[int]) -> np.ndarray:
    return np.any([box(*b[:4]) for b in boxes], axis=0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("remove the red dog", BOXES["dog"][:1]),
        ("remove the blue dog", BOXES["dog"][1:]),
        ("remove two dogs", BOXES["dog"]),
        ("the big dog", BOXES["dog"][:1]),
        ("the dogs and the bicycle", BOXES["dog"] + BOXES["bicycle"]),
        ("the blue dog, the bicycle", BOXES["dog"][1:] + BOXES["bicycle"]),
        ("remove the text", WORDS["text"]),
        ("remove the text from the red sign", WORDS["text"][:1]),
        ("remove the text on the right", WORDS["text"][1:]),
        ("the watermark and the red dog", WORDS["watermark"] + BOXES["dog"][:1]),
        ("the ugly bicycle", BOXES["bicycle"]),
    ],
)
def test_what_is_meant_is_found(text: str, expected: list[tuple[int, ...]]) -> None:
    assert np.array_equal(found(text).mask, union(*expected))


def test_keeping_is_everything_else() -> None:
    assert np.array_equal(found("keep only the bicycle").mask, ~union(*BOXES["bicycle"]))
    assert np.array_equal(found("remove everything but the dogs").mask, ~union(*BOXES["dog"]))
    with pytest.raises(InputError, match="restore segment"):
        check_instruction("lama", parse("keep only the bicycle"))


def test_the_least_certain_instance_gives_the_score_and_the_rest_are_others() -> None:
    grounded = found("two dogs")
    assert grounded.score == pytest.approx(0.8)
    assert grounded.others == []
    assert len(found("the dog on the right").others) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("remove the red bicycle", "found 1 bicycle, blue"),
        ("remove the green dog", "found 2 dogs, red; blue"),
        ("three dogs", "found 2"),
        ("the two bicycles", "found 1"),
        ("the cat", "'cat' in the photo, found none"),
        ("the fourth dog", "found 2 dogs, red; blue"),
        ("the ugly dog", "which is 'ugly' cannot be seen"),
        ("the text on the bicycle", "'text'"),
        ("the scratches", "'scratch' in the photo, found none"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(text: str, says: str) -> None:
    with pytest.raises(ObjectNotFoundError) as caught:
        found(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_without_a_finder_of_overlays_they_are_refused() -> None:
    with pytest.raises(ModelUnavailableError, match="finds 'watermark'"):
        ground(photo(), parse("remove the watermark"), Finders(Objects()))
    with pytest.raises(InputError, match="to be added"):
        ground(photo(), parse("add a hat"), Finders(Objects()))


@pytest.mark.parametrize(
    ("phrase", "word", "attributes"),
    [
        ("red bicycle", "bicycle", ("red",)),
        ("red panda", "red panda", ()),
        ("big black dog", "dog", ("big", "black")),
        ("a dog", "dog", ()),
        ("cup of coffee", "cup", ()),
    ],
)
def test_every_word_of_a_phrase_is_read(phrase: str, word: str, attributes: tuple[str, ...]) -> None:
    reading = read_phrase(phrase)
    assert (reading.entry.word, reading.attributes) == (word, attributes)


@pytest.mark.parametrize("phrase", ["wooden chair", "chocolate dog", "statue of stone", "dog zorple", "sleeping cat"])
def test_a_word_that_cannot_be_seen_is_refused_by_name(phrase: str) -> None:
    with pytest.raises(ObjectNotFoundError, match=r"chocolate|wooden|stone|zorple|sleeping"):
        read_phrase(phrase)
