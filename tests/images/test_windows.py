"""Mask growth, contact shadows and windows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restore.images import windows as module
from restore.images.windows import contact_shadow, grow_mask, shrunk, windows


def boxes(shape: tuple[int, int], *where: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    for x, y, w, h in where:
        mask[y : y + h, x : x + w] = True
    return mask


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 180)] * 2, *[st.integers(1, 60)] * 2), min_size=1, max_size=5))
def test_windows_cover_every_hole_with_context_and_do_not_leave_the_photo(where):
    mask = boxes((200, 240), *where)
    found = windows(mask)
    covered = np.zeros_like(mask)
    for w in found:
        assert 0 <= w.x < w.x + w.w <= 240
        assert 0 <= w.y < w.y + w.h <= 200
        covered[w.slices] = True
    assert not (mask & ~covered).any()


def test_far_holes_get_windows_of_their_own_and_near_ones_share():
    assert len(windows(boxes((400, 400), (20, 20, 30, 30), (320, 320, 30, 30)))) == 2
    assert len(windows(boxes((400, 400), (100, 100, 30, 30), (140, 100, 30, 30)))) == 1


HOLES = st.lists(st.tuples(*[st.integers(0, 180)] * 2, *[st.integers(1, 60)] * 2), min_size=1, max_size=9)


@settings(max_examples=80, deadline=None)
@given(HOLES, st.integers(2, 70))
def test_large_masks_have_the_same_windows(where, cells):
    mask = boxes((240, 230), *where)
    mask[::7, ::5] &= False  # no longer boxes
    expected = windows(mask)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LABELLED", cells**2)
        patch.setattr(module, "CELLS", cells)
        assert windows(mask) == expected


def test_a_shrunk_mask_has_the_cells_that_are_touched():
    mask = np.random.default_rng(0).random((31, 50)) < 0.05
    mask[10:20] = False
    rows, columns = np.arange(8) * 31 // 7, np.arange(14) * 50 // 13
    parts = [[mask[a:b, c:d].any() for c, d in zip(columns, columns[1:])] for a, b in zip(rows, rows[1:])]  # noqa: B905, RUF007
    assert np.array_equal(shrunk(mask, (7, 13)), parts)
    assert np.array_equal(shrunk(mask, mask.shape), mask)


def test_no_hole_no_window():
    assert windows(np.zeros((10, 10), bool)) == []


def test_growth_follows_the_size_of_each_object():
    mask = boxes((400, 400), (20, 20, 10, 10), (150, 150, 200, 200))
    grown = grow_mask(mask)
    assert (grown & mask).sum() == mask.sum()
    small, large = grown[:100, :100], grown[100:, 100:]
    assert small.any(1).sum() == 10 + 2 * 2
    assert large.any(1).sum() == 200 + 2 * 10


def test_contact_shadow_is_taken_in_and_lit_ground_is_not():
    image = np.full((120, 120, 3), 180, np.uint8)
    mask = boxes((120, 120), (40, 20, 30, 60))
    assert contact_shadow(image, mask).sum() == 0
    image[80:86, 40:75] = 90
    shadow = contact_shadow(image, mask)
    assert shadow[81:85, 42:68].all()
    assert shadow[:40].sum() == 0
    assert not shadow[95:].any()


@pytest.mark.parametrize("level", [20, 90])
def test_a_dark_floor_is_not_a_shadow(level):
    image = np.full((120, 120, 3), 180, np.uint8)
    image[80:] = level
    assert contact_shadow(image, boxes((120, 120), (40, 20, 30, 60))).sum() == 0
