"""Where a new thing goes."""

from __future__ import annotations

import numpy as np
import pytest

from restore.edit.find import RegionFinder
from restore.edit.request import to_inpaint
from restore.errors import InputError
from restore.grounding.ground import Finders
from restore.grounding.grounder import Instance
from restore.grounding.placement import room
from restore.images.photo import photo_from_array

MAN = (100, 100, 40, 90)  # √(w·h) = 60
SIZE = (300, 260)


@pytest.mark.parametrize(
    ("kind", "box"),
    [
        ("left", (40, 130, 60, 60)),
        ("right", (140, 130, 60, 60)),
        ("near", (140, 130, 60, 60)),  # more room at the right
        ("on", (105, 78, 30, 30)),
        ("above", (105, 70, 30, 30)),
        ("below", (105, 190, 30, 30)),
        ("behind", (90, 70, 60, 60)),
        ("front", (90, 160, 60, 60)),
        ("in", (105, 130, 30, 30)),
        ("with", (105, 130, 30, 30)),
    ],
)
def test_a_box_beside_its_target(kind, box):
    assert room(kind, MAN, SIZE) == box


def test_near_takes_the_side_with_more_room():
    assert room("near", (200, 100, 40, 90), SIZE)[0] == 140


def test_a_box_is_cut_at_the_photos_edge_and_refused_where_little_is_left():
    assert room("above", (100, 20, 40, 90), SIZE) == (105, 0, 30, 20)
    with pytest.raises(InputError, match="room left"):
        room("left", (10, 100, 40, 90), SIZE)


class Finder:
    """Knows one man."""

    def named(self, image: np.ndarray, phrase: str) -> list[Instance]:
        mask = np.zeros(image.shape[:2], bool)
        mask[100:190, 100:140] = phrase == "man"
        return [Instance(mask, 0.9)] if mask.any() else []

    def at(self, image: np.ndarray, point: tuple[int, int]) -> Instance:
        raise AssertionError("not clicked")


def test_what_is_added_goes_beside_the_target_or_into_the_mask():
    photo = photo_from_array(np.zeros((260, 300, 3), np.uint8))
    finder = RegionFinder(None, Finders(Finder()), copies=False)
    region = finder.find(to_inpaint("sd15-inpaint", photo, "add a hat on the man"))
    expected = np.zeros((260, 300), bool)
    expected[78:108, 105:135] = True
    assert np.array_equal(region.hole, expected)
    assert region.instruction is not None
    assert region.instruction.subject == "a hat"
    given = finder.find(to_inpaint("sd15-inpaint", photo, "add a hat on the man", box=(5, 6, 20, 10))).hole
    assert given.sum() == 200
    assert given[6:16, 5:25].all()
    with pytest.raises(InputError, match="where to add a dog"):
        finder.find(to_inpaint("sd15-inpaint", photo, "add a dog"))
