"""Is what should be gone gone: the share of the hole, whose find counts, and where a find was copied from."""

from __future__ import annotations

import numpy as np
import pytest

from restore.edit.area import Area
from restore.edit.presence import GONE, Presence, copied_from, presence
from restore.errors import ObjectNotFoundError
from restore.grounding.grounder import Instance
from restore.images.windows import Window
from restore.pipelines.fill.transforms import MIRRORED, SHIFTED


class RedFinder:
    """Finds what is red, as one instance."""

    def named(self, image, phrase):
        if phrase != "red thing":
            raise ObjectNotFoundError("expected red things")
        mask = (image[..., 0] > 200) & (image[..., 1] < 50)
        return [Instance(mask, 1.0)] if mask.any() else []

    def at(self, image, point):
        raise ObjectNotFoundError("expected a name")


def area(red: tuple[slice, slice] | None, hole: tuple[slice, slice], source: np.ndarray | None = None) -> Area:
    image, mask = np.full((40, 60, 3), 90, np.uint8), np.zeros((40, 60), bool)
    mask[hole] = True
    if red is not None:
        image[red] = (255, 0, 0)
    return Area(Window(0, 0, 60, 40), mask, image, source=source)


HOLE = (slice(10, 30), slice(20, 40))  # 400 pixels


def red_things(image):
    return RedFinder().named(image, "red thing")


@pytest.mark.parametrize(
    ("red", "share", "gone"),
    [
        (None, 0.0, True),
        ((slice(10, 14), slice(20, 24)), 16 / 400, True),  # a speck
        ((slice(12, 22), slice(25, 35)), 100 / 400, False),
        ((slice(0, 12), slice(0, 60)), 0.0, True),  # stands mainly outside the hole
    ],
)
def test_what_covers_a_twentieth_of_the_hole_is_not_gone(red, share, gone):
    told = presence(red_things, [area(red, HOLE)], "red thing", wanted=False)
    assert told.share == pytest.approx(share)
    assert told.right is gone
    assert (share > GONE) is not gone
    assert presence(red_things, [area(red, HOLE)], "red thing", wanted=True).right is not gone


def test_shares_of_several_areas_are_of_all_their_holes():
    areas = [area((slice(10, 20), slice(20, 40)), HOLE), area(None, (slice(0, 10), slice(0, 20)))]
    assert presence(red_things, areas, "red thing", wanted=False).share == pytest.approx(200 / 600)


def test_a_word_that_the_finder_does_not_know_says_nothing():
    def blue_things(image):
        return RedFinder().named(image, "blue thing")

    assert presence(blue_things, [area(None, HOLE)], "blue thing", wanted=False) is None


def test_less_is_better_of_what_should_be_gone_and_more_of_what_should_be_there():
    little, much = (Presence("cat", [], share, False) for share in (0.1, 0.6))
    assert little.better(much)
    assert not much.better(little)
    assert Presence("cat", [], 0.6, True).better(Presence("cat", [], 0.1, True))


def test_a_find_is_traced_to_where_it_was_copied_from():
    """A shift by (0, −15), and a mirror about column 20: y' = y, x' = −x + 40."""
    source = np.zeros((40, 60, 3), np.int32)
    source[..., 0] = SHIFTED
    source[10:30, 20:30] = (SHIFTED, 0, -15)
    source[10:30, 30:40] = (MIRRORED, 0, 40)
    found = np.zeros((40, 60), bool)
    found[12:20, 22:28] = True
    barred = copied_from([area(None, HOLE, source)], [found], (40, 60, 3))
    assert barred[12:20, 7:13].all()
    assert barred.sum() == found.sum()
    found[:] = False
    found[12:20, 32:36] = True
    assert copied_from([area(None, HOLE, source)], [found], (40, 60))[12:20, 5:9].all()


def test_made_pixels_come_from_nowhere():
    found = np.zeros((40, 60), bool)
    found[12:20, 22:28] = True
    made = np.zeros((40, 60, 3), np.int32)
    assert not copied_from([area(None, HOLE, made)], [found], (40, 60)).any()
    assert not copied_from([area(None, HOLE)], [found], (40, 60)).any()
