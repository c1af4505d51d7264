"""Inks, little-used depths and transparency: a fill is made of what lies around it."""

from __future__ import annotations

import numpy as np
import pytest

from restore.images.colours import FULL, inks, levels_of, rgb_view
from restore.images.photo import Photo, photo_from_array

HOLE = np.s_[20:30, 20:30]


def square() -> np.ndarray:
    mask = np.zeros((60, 60), np.bool_)
    mask[HOLE] = True
    return mask


def photo_of(native: np.ndarray, mode: str) -> Photo:
    return Photo(rgb_view(native, mode, levels_of(native, mode)), native, mode, levels=levels_of(native, mode))


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_black_text_stays_in_the_black_ink(depth: type) -> None:
    factor = 257 if depth == np.uint16 else 1
    native = np.zeros((60, 60, 4), depth)
    native[:, ::3, 3] = 179 * factor
    native[40:] = np.array((30, 200, 90, 60)) * factor  # something printed elsewhere
    photo = photo_of(native, "CMYK")
    copied = photo.pixels.copy()
    copied[HOLE] = copied[20:30, 23:33]
    result = photo.with_pixels(copied, square()).native
    np.testing.assert_array_equal(result[HOLE], native[20:30, 23:33])


def test_other_greys_between_black_and_paper_are_black_ink_too() -> None:
    known = np.array([(0, 0, 0, 0), (0, 0, 0, 255)], np.uint8)
    seen = rgb_view(known[None], "CMYK")[0]
    greys = np.repeat(np.arange(10, 245, 5, dtype=np.uint8)[:, None], 3, 1)
    made = inks(greys, seen, known)
    assert not made[:, :3].any()
    assert np.abs(rgb_view(made[None], "CMYK")[0].astype(int) - greys).max() <= 4


def test_separations_give_the_colour_asked_for() -> None:
    rng = np.random.default_rng(0)
    known = rng.integers(0, 256, (500, 4), dtype=np.uint8)
    colours = rng.integers(0, 256, (2000, 3), dtype=np.uint8)
    made = rgb_view(inks(colours, rgb_view(known[None], "CMYK")[0], known)[None], "CMYK")[0]
    error = np.abs(made.astype(int) - colours).max(1)
    assert np.median(error) <= 4
    assert error[colours.max(1) >= 16].max() <= 5


@pytest.mark.parametrize(("low", "span"), [(1000, 60), (300, 3000), (60000, 5000)])
def test_16_bits_that_use_little_of_their_range_are_seen_and_filled_in_it(low: int, span: int) -> None:
    rng = np.random.default_rng(0)
    native = (low + rng.normal(span / 2, span / 8, (60, 60))).clip(0, 65535).astype(np.uint16)
    native[3, 5] = 65535  # a star
    photo = photo_from_array(native)
    assert photo.pixels.std() > 7
    copied = photo.pixels.copy()
    copied[HOLE] = copied[30:40, 30:40]
    result = photo.with_pixels(copied, square())
    step = (photo.levels[1] - photo.levels[0]) / 255
    error = result.native[HOLE].astype(int) - native[30:40, 30:40]
    assert np.abs(error).mean() <= step
    assert len(np.unique(result.native[HOLE])) > 0.8 * len(np.unique(native[30:40, 30:40]))
    assert result.levels == photo.levels
    np.testing.assert_array_equal(result.pixels[~square()], photo.pixels[~square()])


def test_16_bits_that_use_their_range_are_seen_as_ever() -> None:
    native = np.random.default_rng(0).integers(0, 20000, (60, 60, 3), dtype=np.uint16)
    photo = photo_from_array(native)
    assert photo.levels == FULL
    np.testing.assert_array_equal(photo.pixels, native >> 8)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_what_lay_on_transparency_leaves_nothing(mode: str, depth: type) -> None:
    native = np.zeros((60, 60, len(mode)), depth)
    native[HOLE] = np.iinfo(depth).max
    result = photo_of(native, mode).with_pixels(np.zeros((60, 60, 3), np.uint8), square())
    assert not result.native.any()


def test_what_lay_on_a_shape_leaves_the_shape() -> None:
    native = np.full((60, 60, 4), 255, np.uint8)
    native[:, 45:, 3] = 0
    native[HOLE][..., 3] = 100
    result = photo_of(native, "RGBA").with_pixels(np.zeros((60, 60, 3), np.uint8), square())
    assert (result.native[HOLE][..., 3] == 255).all()
    np.testing.assert_array_equal(result.native[~square()], native[~square()])
