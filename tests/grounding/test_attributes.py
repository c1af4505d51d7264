"""Colours by their basic terms, and sizes beside others."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from restore.grounding.attributes import TERMS, colours, counted, fitting, is_like, plural
from restore.grounding.grounder import Instance
from restore.grounding.words import COLOURS

FOCAL = {  # the sRGB that a painter's chart gives for each term
    "black": (15, 15, 15), "grey": (128, 128, 128), "white": (245, 245, 245), "red": (200, 20, 30),
    "orange": (255, 140, 0), "yellow": (250, 220, 40), "green": (30, 140, 50), "blue": (30, 70, 200),
    "purple": (120, 40, 150), "pink": (250, 160, 190), "brown": (110, 65, 30),
}  # fmt: skip


def disc(colour: tuple[int, int, int], size: int = 80, radius: int = 30) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:size, :size] - size // 2
    mask = x**2 + y**2 < radius**2
    image = np.full((size, size, 3), (90, 120, 60), np.uint8)
    image[mask] = colour
    return image, mask


@pytest.mark.parametrize("term", FOCAL)
def test_a_focal_colour_has_its_name_and_few_others(term: str) -> None:
    image, mask = disc(FOCAL[term])
    shares = colours(image, mask)
    assert shares[term] == 1
    assert sum(shares.values()) <= 2
    assert is_like(image, mask, [term])
    opposite = {"black": "white", "white": "black", "grey": "red"}.get(term, "grey")
    assert not is_like(image, mask, [opposite])


def test_every_word_for_a_colour_is_one_of_the_eleven() -> None:
    assert set(COLOURS.values()) == set(TERMS)
    assert len(TERMS) == 11


def test_saturated_hues_all_have_a_name() -> None:
    for hue in range(0, 360, 5):
        rgb = tuple(round(255 * c) for c in colorsys.hsv_to_rgb(hue / 360, 0.9, 0.8))
        assert max(colours(*disc(rgb)).values()) == 1, hue


def test_both_colours_of_a_thing_count_and_shades_are_of_the_colour() -> None:
    image, mask = disc(FOCAL["black"])
    image[:40] = np.where(mask[:40, :, None], 245, image[:40])
    assert is_like(image, mask, ["black", "white"])
    assert not is_like(image, mask, ["black", "red"])
    assert is_like(*disc((20, 30, 90)), ["dark", "blue"])
    assert not is_like(*disc((20, 30, 90)), ["light", "blue"])
    assert is_like(*disc((120, 170, 240)), ["light", "blue"])


def test_the_outline_does_not_colour_a_thing() -> None:
    """A mask a pixel too wide takes nothing of the surroundings."""
    image, mask = disc(FOCAL["red"])
    wide = np.zeros_like(mask)
    wide[1:] = mask[1:] | mask[:-1]
    assert colours(image, wide)["green"] == 0


def instance(x: int, width: int) -> Instance:
    mask = np.zeros((100, 200), bool)
    mask[10 : 10 + width, x : x + width] = True
    return Instance(mask, 0.9)


def test_sizes_are_compared_among_the_things_found() -> None:
    image = np.full((100, 200, 3), 200, np.uint8)
    image[:, 100:] = FOCAL["red"]
    small, large, red = instance(5, 15), instance(40, 50), instance(120, 60)
    assert fitting(image, [small, large], ["big"]) == [large]
    assert fitting(image, [small, large], ["tiny"]) == [small]
    assert fitting(image, [small], ["big"]) == [small]  # nothing to compare with
    assert fitting(image, [small, large, red], ["red"]) == [red]
    assert fitting(image, [small, large, red], ["red", "big"]) == [red]
    assert fitting(image, [large, instance(100, 48)], ["big"]) == []  # of one size
    assert fitting(image, [small, large], ["ugly"]) == [small, large]


def test_what_was_found_is_said_in_words() -> None:
    image, mask = disc(FOCAL["blue"])
    assert counted(image, [Instance(mask, 1.0)], "bicycle") == "1 bicycle, blue"
    assert counted(image, [Instance(mask, 1.0)] * 2, "person") == "2 people, blue; blue"
    assert plural("bench") == "benches"
