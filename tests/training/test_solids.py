"""Rendered scenes: what an instruction names is what a reader would take away, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

from restore.grounding.instruction import parse
from restore.training.data.solids import (
    COLOURS,
    RELATIONS,
    SHAPES,
    SIZES,
    Scene,
    cover,
    random_case,
    random_scene,
    render,
)

CASES = range(60)


def test_without_one_solid_only_its_surroundings_change():
    for seed in range(20):
        scene = random_scene(np.random.default_rng(seed))
        whole = render(scene, 96)
        for i, solid in enumerate(scene.solids):
            changed = np.abs(render(scene.without(i), 96) - whole).max(-1) > 0
            assert changed[cover(scene, i, 96)].mean() > 0.8  # all but what stands in front of it
            ys, xs = np.nonzero(changed)
            # Its shadow reaches at most half the light's slant and two half widths to the side.
            assert np.abs(xs / 96 - solid.x).max() < 2.6 * solid.half + 0.03
            assert (ys / 96 - solid.y).max() < solid.half + 0.03
            assert (solid.y - ys / 96).max() < 2.4 * solid.half + 0.03


def test_a_scene_without_anything_removed_is_the_same_scene():
    scene = random_scene(np.random.default_rng(3))
    assert scene.without(None) is scene


def test_the_same_seed_gives_the_same_picture():
    first, second = (render(random_scene(np.random.default_rng(7)), 64) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def reading(scene: Scene, text: str) -> list[int]:
    """The solids that an instruction fits, read word by word, without the generator's help."""
    words = text.split()
    words = words[words.index("the") + 1 :]

    def fits(i: int, said: list[str]) -> bool:
        solid = scene.solids[i]
        told = {"size": SIZES, "colour": COLOURS, "shape": SHAPES}
        return all(
            getattr(solid, kind) == word for word in said for kind, known in told.items() if word in known
        )  # "object" is in none of them

    everyone = range(len(scene.solids))
    for kind, phrase in RELATIONS.items():
        if f" {phrase} the " in f" {' '.join(words)} ":
            named, _, landmark = " ".join(words).partition(f" {phrase} the ")
            (anchor,) = [i for i in everyone if fits(i, landmark.split())] or [None]
            other = scene.solids[anchor]
            sign = 1 if kind in ("left", "behind") else -1
            axis = "x" if kind in ("left", "right") else "y"
            holds = [sign * getattr(s, axis) < sign * getattr(other, axis) for s in scene.solids]
            return [i for i in everyone if i != anchor and fits(i, named.split()) and holds[i]]
    found = [i for i in everyone if fits(i, words)]
    if words[-3:-1] == ["on", "the"] and found:
        return [(min if words[-1] == "left" else max)(found, key=lambda i: scene.solids[i].x)]
    return found


@pytest.mark.parametrize("kind", ["attributes", "place", "relation"])
def test_an_instruction_fits_exactly_the_chosen_solid(kind):
    kinds = []
    for seed in CASES:
        rng = np.random.default_rng(seed)
        scene = random_scene(rng)
        case = random_case(scene, rng, {kind: 1.0})
        if case.chosen is not None:
            assert reading(scene, case.text) == [case.chosen], case.text
            assert (case.anchor is not None) == any(f" {phrase} the " in case.text for phrase in RELATIONS.values())
            kinds.append(kind if (case.side is not None) == (kind != "attributes") else "other")
    assert kinds.count(kind) > 30  # few scenes offer none


@pytest.mark.parametrize("kind", ["place", "relation"])
def test_the_side_that_is_said_leaves_the_chosen_one_alone(kind):
    """Of several that the attributes fit, only the chosen one stands where the place or relation holds."""
    checked = 0
    for seed in CASES:
        rng = np.random.default_rng(seed)
        scene = random_scene(rng)
        case = random_case(scene, rng, {kind: 1.0})
        if case.side is None:
            continue
        axis, limit, sign = case.side
        words = case.text.split(" the ", 1)[1].split(" on the ")[0]
        for phrase in RELATIONS.values():
            words = words.split(f" {phrase} the ")[0]
        alike = [i for i in reading(scene, f"remove the {words}") if i != case.anchor]
        # Depth is compared where solids stand, their limit drawn through the middle of the landmark.
        where = [sign * (s.centre[axis] - limit) for s in scene.solids]
        assert len(alike) > 1
        if axis == 0:
            assert [i for i in alike if where[i] > 0] == [case.chosen]
            checked += 1
    assert checked > 10


def test_an_irrelevant_instruction_names_nothing_that_is_there():
    for seed in CASES:
        rng = np.random.default_rng(seed)
        scene = random_scene(rng)
        case = random_case(scene, rng, {"irrelevant": 1.0})
        named = case.text
        for phrase in RELATIONS.values():  # what is to go, without a landmark
            named = named.split(f" {phrase} the ")[0]
        assert case.chosen is None
        assert reading(scene, named) == []


def test_instructions_are_what_the_grammar_reads():
    for seed in CASES:
        rng = np.random.default_rng(seed)
        case = random_case(random_scene(rng), rng)
        told = parse(case.text)
        assert told.action == "remove"
        assert told.object in (*SHAPES, "object")
        assert (told.relation is not None) == any(f" {phrase} the " in case.text for phrase in RELATIONS.values())
