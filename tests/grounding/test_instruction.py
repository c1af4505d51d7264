from __future__ import annotations

import pytest

from restore.errors import InputError, ObjectNotFoundError
from restore.grounding.instruction import Extent, parse, select
from restore.grounding.nouns import singulars

SIZE = (1000, 800)


@pytest.mark.parametrize(
    ("text", "noun", "quantity", "count"),
    [
        ("remove the cat", "cat", "one", None),
        ("a cat", "cat", "one", None),
        ("cat", "cat", "one", None),
        ("Remove all cats.", "cat", "all", None),
        ("erase every cat", "cat", "all", None),
        ("delete both cats", "cat", "all", 2),
        ("remove the cats", "cat", "all", None),
        ("get rid of the two dogs", "dog", "all", 2),
        ("remove all three dogs", "dog", "all", 3),
        ("3 sheep", "sheep", "all", 3),
        ("one of the dogs", "dog", "one", None),
        ("remove people", "person", "all", None),
        ("remove everyone", "person", "all", None),
        ("somebody", "person", "one", None),
        ("the children playing", "child", "all", None),
        ("remove the crowd", "crowd", "all", None),
        ("a group of people", "person", "all", None),
        ("the pair of shoes", "shoe", "all", None),
        ("two cups of coffee", "cup of coffee", "all", 2),
        ("the bus", "bus", "one", None),
        ("the glass", "glass", "one", None),
        ("the glasses", "glasses", "one", None),
        ("the wine glasses", "wine glass", "all", None),
        ("the scissors", "scissors", "one", None),
        ("Please, can you take the traffic light out?", "traffic light", "one", None),
        ("could you please wipe out the stop sign from this picture", "stop sign", "one", None),
        ("I'd like you to eliminate the hot dogs", "hot dog", "all", None),
        ("make the car disappear please", "car", "one", None),
        ("the top hat", "top hat", "one", None),
        ("  CLEAN   AWAY the  graffiti!!", "graffiti", "one", None),
    ],
)
def test_object_and_quantity(text: str, noun: str, quantity: str, count: int | None) -> None:
    got = parse(text)
    assert (got.action, got.object, got.quantity, got.count) == ("remove", noun, quantity, count)
    assert got.relation is None


@pytest.mark.parametrize(
    ("text", "noun", "where", "order", "rank"),
    [
        ("the cat on the left", "cat", ("left",), None, 1),
        ("the left cat", "cat", ("left",), None, 1),
        ("the cat on the far right side of the photo", "cat", ("right",), None, 1),
        ("the bird in the top-left corner", "bird", ("top", "left"), None, 1),
        ("the top left bird", "bird", ("top", "left"), None, 1),
        ("the person in the middle", "person", ("middle",), None, 1),
        ("people in the background", "person", ("background",), None, 1),
        ("the foreground person", "person", ("foreground",), None, 1),
        ("the car in front", "car", ("foreground",), None, 1),
        ("leftmost dog", "dog", (), "left", 1),
        ("the right-most dog", "dog", (), "right", 1),
        ("the two leftmost dogs", "dog", (), "left", 1),
        ("the largest bus", "bus", (), "largest", 1),
        ("the person closest to the camera", "person", (), "largest", 1),
        ("the smallest boat in the distance", "boat", ("background",), "smallest", 1),
        ("second from the right dog", "dog", (), "right", 2),
        ("the second dog from the right", "dog", (), "right", 2),
        ("the dog second from the left", "dog", (), "left", 2),
        ("the third car", "car", (), "left", 3),
        ("the last car", "car", (), "left", -1),
    ],
)
def test_selector(text: str, noun: str, where: tuple[str, ...], order: str | None, rank: int) -> None:
    got = parse(text)
    assert got.object == noun
    assert got.selector is not None
    assert (got.selector.where, got.selector.order, got.selector.rank) == (where, order, rank)


@pytest.mark.parametrize(
    ("text", "noun", "kind", "target"),
    [
        ("remove the cat next to the dog", "cat", "near", "dog"),
        ("the cat near dogs", "cat", "near", "dog"),
        ("the cat beside the chair", "cat", "near", "chair"),
        ("the man behind the car", "man", "behind", "car"),
        ("the man standing in front of the car", "man", "front", "car"),
        ("the cat left of the dog", "cat", "left", "dog"),
        ("the cat to the left of the dog", "cat", "left", "dog"),
        ("the cat on the right side of the dog", "cat", "right", "dog"),
        ("the lamp above the couch", "lamp", "above", "couch"),
        ("the lamp over the couch", "lamp", "above", "couch"),
        ("the dog under the table", "dog", "below", "table"),
        ("the cup on the table", "cup", "on", "table"),
        ("the cup that is on top of the table", "cup", "on", "table"),
        ("the man with the hat", "man", "with", "hat"),
        ("person wearing sunglasses", "person", "with", "sunglasses"),
        ("woman in a white dress", "woman", "in", "dress"),
        ("the hat from the man", "hat", "at", "man"),
        ("the hat of the man", "hat", "at", "man"),
        ("the man's hat", "hat", "at", "man"),
        ("take the hat off the man", "hat", "at", "man"),
    ],
)
def test_relation(text: str, noun: str, kind: str, target: str) -> None:
    got = parse(text)
    assert got.relation is not None
    assert (got.object, got.relation.kind, got.relation.target.object) == (noun, kind, target)
    assert got.selector is None


@pytest.mark.parametrize(
    ("text", "noun", "subject"),
    [
        ("replace the cat with a dog", "cat", "a dog"),
        ("Replace the cat by a small dog.", "cat", "a small dog"),
        ("swap the cat for a dog", "cat", "a dog"),
        ("substitute a dog for the cat", "cat", "a dog"),
        ("turn the car into a bike please", "car", "a bike"),
        ("change the cat to a dog in the photo", "cat", "a dog"),
        ("change the colour of the car to dark blue", "car", "a dark blue car"),
        ("replace the cat with a dog with a hat", "cat", "a dog with a hat"),
        ("replace all cats with dogs", "cat", "dogs"),
        ("replace the cat with the dog", "cat", "the dog"),
    ],
)
def test_replace(text: str, noun: str, subject: str) -> None:
    got = parse(text)
    assert (got.action, got.object, got.subject, got.relation) == ("replace", noun, subject, None)


def test_replace_keeps_selectors_and_relations_of_the_old_object() -> None:
    got = parse("replace the two dogs on the left with cats")
    assert (got.object, got.quantity, got.count, got.subject) == ("dog", "all", 2, "cats")
    assert got.selector is not None
    assert got.selector.where == ("left",)
    for text, kind in (
        ("replace the man with the hat with a dog", "with"),
        ("replace the man by the car with a dog", "near"),
        ("change the man next to the car to a dog", "near"),
    ):
        got = parse(text)
        assert got.relation is not None
        assert (got.object, got.relation.kind, got.subject) == ("man", kind, "a dog")


def test_replacing_with_nothing_removes() -> None:
    for text in ("replace the cat with nothing", "replace the cat with the background"):
        assert parse(text) == parse("remove the cat")


@pytest.mark.parametrize(
    ("text", "noun", "subject", "kind", "target"),
    [
        ("add a dog", "dog", "a dog", None, None),
        ("please add some red flowers to the photo", "flower", "some red flowers", None, None),
        ("add a dog on the left", "dog", "a dog", None, None),
        ("add a hat on the man", "hat", "a hat", "on", "man"),
        ("put a straw hat on the man", "straw hat", "a straw hat", "on", "man"),
        ("give the man a hat", "hat", "a hat", "on", "man"),
        ("add sunglasses to the man", "sunglasses", "sunglasses", "on", "man"),
        ("add a dog to the left of the bench", "dog", "a dog", "left", "bench"),
        ("insert a boat in the lake", "boat", "a boat", "in", "lake"),
        ("add two birds above the tree", "bird", "two birds", "above", "tree"),
        ("add a man with a dog next to the car", "man", "a man with a dog", "near", "car"),
        ("add a woman in a red dress behind the bench", "woman", "a woman in a red dress", "behind", "bench"),
    ],
)
def test_add(text: str, noun: str, subject: str, kind: str | None, target: str | None) -> None:
    got = parse(text)
    assert (got.action, got.object, got.subject) == ("add", noun, subject)
    found = (got.relation.kind, got.relation.target.object) if got.relation is not None else (None, None)
    assert found == (kind, target)


def test_target_of_a_relation_has_its_own_selector() -> None:
    got = parse("the two cats next to the dog on the left")
    assert got.selector is None
    assert got.count == 2
    assert got.relation is not None
    assert got.relation.target.selector is not None
    assert got.relation.target.selector.where == ("left",)


def test_adjectives_are_kept_apart_and_in_the_phrase() -> None:
    assert parse("the black and white cat").modifiers == ("black", "white")
    assert parse("the big, red car").modifiers == ("big", "red")
    assert parse("the man in red").modifiers == ("red",)
    assert parse("the orange").object == "orange"
    assert parse("remove the red panda").phrase == "red panda"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "name an object"),
        ("  ...  ", "name an object"),
        ("12345", "name an object"),
        ("cat " * 100, "name an object"),
        ("remove", "name of an object"),
        ("remove the", "name of an object"),
        ("remove it", "name of an object"),
        ("remove everything", "name of an object"),
        ("remove the left one", "name of an object"),
        ("replace the cat", "what to replace"),
        ("turn the cat", "what to turn"),
        ("replace the cat with it", "what shall appear"),
        ("add", "what to add"),
        ("add it", "name of an object"),
        ("add a dog and a cat", "one after the other"),
        ("add a hat on the man but no scarf", "exception"),
        ("remove everyone except the dog", "exception"),
        ("don't remove the dog", "exception"),
        ("remove the man with the dog and the cat", "one after the other"),
        ("remove the cat and add a dog", "one after the other"),
        ("the cup on the table next to the wall", "one relation"),
    ],
)
def test_refusals_are_one_line_with_advice(text: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("plural", "singular"),
    [
        ("dogs", "dog"), ("buses", "bus"), ("boxes", "box"), ("horses", "horse"), ("houses", "house"),
        ("glasses", None), ("dresses", "dress"), ("benches", "bench"), ("cities", "city"), ("ties", "tie"),
        ("knives", "knife"), ("wolves", "wolf"), ("gloves", "glove"), ("leaves", "leaf"), ("shoes", "shoe"),
        ("tomatoes", "tomato"), ("policemen", "policeman"), ("women", "woman"), ("cactus", None),
        ("sheep", None),
        ("pandas", "panda"), ("skis", "ski"), ("bus", None), ("dress", None), ("mice", "mouse"),
        ("walruses", "walrus"), ("vases", "vase"), ("zebras", "zebra"), ("toothbrushes", "toothbrush"),
    ],
)  # fmt: skip
def test_singulars(plural: str, singular: str | None) -> None:
    assert singulars(plural)[:1] == ([singular] if singular else [])


def candidate(x: int, y: int, w: int, h: int, score: float = 0.9) -> Extent:
    return Extent((x, y, w, h), w * h, score)


ROW = [candidate(x, 400, 80, 80, score) for x, score in ((700, 0.7), (100, 0.8), (400, 0.95), (900, 0.6))]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("the dog", [2]),
        ("all dogs", [2, 1, 0, 3]),
        ("the four dogs", [2, 1, 0, 3]),
        ("both dogs on the left", [2, 1]),
        ("the leftmost dog", [1]),
        ("the rightmost dog", [3]),
        ("the two rightmost dogs", [3, 0]),
        ("the second dog from the right", [0]),
        ("the third dog", [0]),
        ("the last dog", [3]),
        ("the fifth dog", []),
        ("the dog on the right", [3]),
        ("the dogs on the right", [0, 3]),
        ("the dogs on the left", [2, 1]),
        ("the dog in the middle", [2]),
        ("the dogs at the top", []),
    ],
)
def test_select_by_place_and_order(text: str, want: list[int]) -> None:
    assert select(ROW, parse(text), SIZE) == want


@pytest.mark.parametrize(
    "text", ["both dogs", "three dogs", "five dogs", "the three dogs on the left", "ten largest dogs"]
)
def test_a_count_is_exact(text: str) -> None:
    with pytest.raises(ObjectNotFoundError, match=r"'dog' there, found [24]"):
        select(ROW, parse(text), SIZE)


def test_select_by_size_and_depth() -> None:
    people = [candidate(100, 100, 300, 600), candidate(600, 300, 60, 120, 0.99), candidate(800, 300, 50, 100)]
    assert select(people, parse("the largest person"), SIZE) == [0]
    assert select(people, parse("the smallest person"), SIZE) == [2]
    assert select(people, parse("the people in the background"), SIZE) == [1, 2]
    assert select(people, parse("the person in the foreground"), SIZE) == [0]
    assert select(people[1:], parse("everyone in the background"), SIZE) == [0, 1]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("the cat next to the dog", [3]),
        ("the cats next to the dog", [3, 1]),
        ("the cat on the left next to the dog", [1]),
        ("all cats left of the dog", [1, 0]),
        ("the cat right of the dog", [2]),
        ("the cat on the dog", [3]),
        ("the cat above the dog", [3]),
        ("the cats below the dog", []),
        ("the cat in the box", []),
        ("the leftmost cat left of the dog", [0]),
        ("the cat from the dog", [3]),
        ("the dog's cat", [3]),
    ],
)
def test_select_by_relation(text: str, want: list[int]) -> None:
    dog = [candidate(500, 500, 100, 100)]
    cats = [candidate(50, 500, 80, 100), candidate(410, 500, 80, 100), candidate(800, 500, 80, 100)]
    cats.append(candidate(520, 450, 60, 70))
    related = dog if "dog" in text else [candidate(0, 0, 20, 20)]
    assert select(cats, parse(text), SIZE, related) == want


def test_relation_uses_the_targets_selector_and_never_the_object_itself() -> None:
    people = [candidate(100, 300, 100, 300), candidate(230, 300, 100, 300), candidate(700, 300, 100, 300)]
    dogs = [candidate(190, 500, 60, 60), candidate(820, 500, 60, 60)]
    assert select(people, parse("the person next to the dog on the right"), SIZE, dogs) == [2]
    assert sorted(select(people, parse("the people next to the person"), SIZE, people)) == [0, 1]
    assert select(people, parse("the person next to the dog"), SIZE, []) == []
    with pytest.raises(InputError, match="related"):
        select(people, parse("the person next to the dog"), SIZE)


def test_select_of_nothing_is_nothing() -> None:
    for text in ("the cat", "all cats", "the leftmost cat", "cats in the background"):
        assert select([], parse(text), SIZE) == []
