"""Enlarging a fill: copies are copied again at full size, regions meet, models' pixels get the photo's detail."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from restore.pipelines.fill.enlarge import KEPT, enlarge, enlarged, similar_places
from restore.pipelines.fill.recut import Level, align, recut
from restore.pipelines.fill.transforms import LINEAR, SHIFTED, TURNED, Transforms

SCALE = 3


def tiles(period: int, count: int, seed: int = 0) -> np.ndarray:
    """A smooth texture of `count` periods each way, (n, n, 3) uint8."""
    tile = np.random.default_rng(seed).random((period, period, 3))
    tile = cv2.GaussianBlur(np.tile(tile, (3, 3, 1)), (0, 0), 1.2)[period : 2 * period, period : 2 * period]
    tile = (tile - tile.min()) / np.ptp(tile)
    return np.tile((255 * tile).astype(np.uint8), (count, count, 1))


def box(side: int, first: int, last: int) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[first:last, first:last] = True
    return mask


def at_working_size(full: np.ndarray, hole: np.ndarray, shift: int):
    """(picture, source) of a fill at a third of the size that copies from `shift` pixels to the right."""
    side = len(full) // SCALE
    small = cv2.resize(full, (side, side), interpolation=cv2.INTER_AREA)
    touched = cv2.resize(hole.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA) > 0
    source = np.where(touched[..., None], np.int32([SHIFTED, 0, shift]), np.int32(KEPT))
    image = small.copy()
    image[touched] = np.roll(small, -shift, 1)[touched]
    return image, source


@pytest.mark.parametrize("period", [24, 25])  # at working size the period is 8 or 8⅓: the region must be moved
def test_a_periodic_photo_is_continued_to_the_pixel(period: int) -> None:
    full = tiles(period, 9)[:216, :216]
    hole = box(216, 90, 126)
    image, source = at_working_size(full, hole, round(2 * period / SCALE))
    given = np.where(hole[..., None], np.uint8(0), full)
    out = enlarge(given, hole, image, source).astype(int)
    assert np.abs(out - full)[hole].max() <= 2
    assert not (out != full)[~hole].any()


@pytest.mark.parametrize("kind", TURNED)
def test_scaled_and_turned_regions_are_sampled_from_the_full_size_photo(kind: int) -> None:
    """Waves of 6 pixels do not survive a third of the size; right of the middle they are seen through the map."""
    linear, at = LINEAR[kind].astype(float), np.moveaxis(np.indices((216, 324)), 0, -1).astype(float)

    def waves(at: np.ndarray) -> np.ndarray:
        phase = at @ np.array([[0.9, 0.5, -0.2], [0.3, 0.8, 1.0]])
        return 127 + 50 * np.sin(phase) + 60 * np.sin(at @ np.array([[0.05], [0.11]]))

    shift = np.array([108, 78]) - linear @ (108, 240)  # the centres of both halves
    shift = Transforms(np.int32([kind]), np.rint(shift / SCALE)[None].astype(np.int32)).scaled(np.array([SCALE] * 2))
    full = np.where(at[..., 1:] < 162, waves(at), waves(at @ linear.T + shift.shift[0])).astype(np.uint8)
    hole = np.zeros((216, 324), bool)
    hole[96:120, 228:252] = True
    given = np.where(hole[..., None], np.uint8(0), full)
    small = cv2.resize(full, (108, 72), interpolation=cv2.INTER_AREA)
    touched = cv2.resize(hole.astype(np.float32), (108, 72), interpolation=cv2.INTER_AREA) > 0
    move = shift.scaled(np.array([1 / SCALE] * 2))
    source = np.where(touched[..., None], move.rows(), np.int32(KEPT))
    image = small.copy()
    y, x = np.nonzero(touched)
    known = np.ones_like(touched)
    image[touched] = move.look(small, known, np.zeros(len(y), int), y, x)[0].clip(0, 255).astype(np.uint8)
    out = enlarge(given, hole, image, source).astype(int)
    assert np.abs(out - full)[hole].mean() < 4
    soft = cv2.resize(image, (324, 216), interpolation=cv2.INTER_CUBIC).astype(int)
    assert np.abs(soft - full)[hole].mean() > 15
    assert not (out != full)[~hole].any()


def test_what_the_hole_holds_is_never_read() -> None:
    full, hole = tiles(25, 9)[:216, :216], box(216, 90, 126)
    image, source = at_working_size(np.where(hole[..., None], np.uint8(0), full), hole, 17)
    filled = (source != KEPT).any(-1)
    for kind in (source, np.where(filled[..., None], 0, source)):
        results = [enlarge(np.where(hole[..., None], np.uint8(v), full), hole, image, kind) for v in (0, 255)]
        assert np.array_equal(*results)


def test_pixels_that_were_not_filled_stay_though_the_hole_has_them() -> None:
    full, hole = tiles(24, 9), box(216, 90, 126)
    image, source = at_working_size(full, hole, 16)
    source[:, :36] = KEPT
    image[:, :36] = cv2.resize(full, (72, 72), interpolation=cv2.INTER_AREA)[:, :36]
    marked = full.copy()
    marked[hole] = 255 - marked[hole]
    out = enlarge(marked, hole, image, source)
    left = np.zeros_like(hole)
    left[:, :108] = True
    assert np.array_equal(out[hole & left], marked[hole & left])
    assert not np.array_equal(out[hole & ~left], marked[hole & ~left])


def test_a_change_of_tone_at_working_size_is_carried_over() -> None:
    full, hole = tiles(24, 9) // 2, box(216, 90, 126)
    image, source = at_working_size(full, hole, 16)
    touched = (source != KEPT).any(-1)
    image[touched] += 30
    out = enlarge(full, hole, image, source)
    inner = box(216, 105, 111)  # at its border the tone meets the photo's
    assert np.abs(out[inner].astype(int) - full[inner] - 30).max() <= 3


def test_what_a_model_made_gets_the_photo_s_grain_and_keeps_its_colours() -> None:
    rng = np.random.default_rng(1)
    ramp = np.linspace(60, 180, 240)[None, :, None] * np.ones((240, 1, 3))
    full = (ramp + rng.normal(0, 12, ramp.shape)).clip(0, 255).astype(np.uint8)
    hole = box(240, 90, 150)
    image = cv2.resize(ramp.astype(np.uint8), (80, 80), interpolation=cv2.INTER_AREA)
    source = np.where(box(80, 30, 50)[..., None], np.int32(0), np.int32(KEPT))
    image = np.where(box(80, 30, 50)[..., None], image, cv2.resize(full, (80, 80), interpolation=cv2.INTER_AREA))
    out = enlarge(full, hole, image, source)
    inner = box(240, 96, 144)

    def grain(picture: np.ndarray) -> float:
        return float(cv2.Laplacian(picture.astype(np.float32), cv2.CV_32F)[inner].std())

    assert 0.85 < grain(out) / grain(full) < 1.15
    assert grain(cv2.resize(image, (240, 240), interpolation=cv2.INTER_CUBIC)) < 0.1 * grain(full)
    low = cv2.blur(out.astype(np.float32), (15, 15)) - cv2.blur(ramp.astype(np.float32), (15, 15))
    assert np.abs(low[inner]).max() < 6


def test_similar_places_lie_outside_the_hole() -> None:
    image, hole = tiles(12, 8), box(96, 36, 60)
    source = similar_places(image, hole)
    y, x = np.nonzero(hole)
    found = source[y, x, 0] == SHIFTED
    assert found.mean() > 0.95
    sy, sx = y + source[y, x, 1], x + source[y, x, 2]
    assert not hole[sy[found], sx[found]].any()
    off = np.abs(image[sy[found], sx[found]].astype(int) - image[y[found], x[found]])
    assert off.mean() < 3  # a periodic picture has a place that looks the same


def test_cells_of_an_enlarged_map_hold_the_pixels_that_begin_in_them() -> None:
    values = np.arange(6).reshape(2, 3)
    assert np.array_equal(enlarged(values, (4, 6)), values.repeat(2, 0).repeat(2, 1))
    assert np.array_equal(enlarged(values, (2, 3)), values)
    assert np.array_equal(np.unique(enlarged(values, (5, 7))), np.arange(6))


def two_regions(seed: int) -> Level:
    """Random noise whose hole is copied from the left, in its left half, and from the right."""
    rng = np.random.default_rng(seed)
    picture = cv2.GaussianBlur(rng.integers(0, 256, (48, 96, 3)).astype(np.uint8), (0, 0), 1)
    todo = np.zeros((48, 96), bool)
    todo[14:34, 36:60] = True
    label = np.zeros((48, 96), np.int32)
    label[:, 48:] = 1
    moves = Transforms.shifts(np.array([0, 1]), np.array([-26, 27]))
    return Level(picture, todo, ~todo, label, moves)


def seams(level: Level) -> float:
    """Colour steps of the whole fill, pair by pair, from their definition."""
    total = 0.0

    def brings(k: int, y: int, x: int) -> np.ndarray:
        return level.look(np.array([k]), np.array([y]), np.array([x]))[0][0]

    for y, x in np.argwhere(level.todo):
        for v, u, twice in ((y, x + 1, True), (y + 1, x, True), (y, x - 1, False), (y - 1, x, False)):
            a, b = int(level.label[y, x]), int(level.label[v, u])
            if not level.todo[v, u]:
                total += 2 * float(np.linalg.norm(brings(a, v, u) - level.picture[v, u] / np.float32(255)))
            elif twice and a != b:
                total += float(np.linalg.norm(brings(a, y, x) - brings(b, y, x)))
                total += float(np.linalg.norm(brings(a, v, u) - brings(b, v, u)))
    return total


@pytest.mark.parametrize("seed", range(3))
def test_cutting_again_lowers_the_seams_near_the_old_ones_only(seed: int) -> None:
    level = two_regions(seed)
    again = recut(level, 3)
    assert seams(again) < seams(level)
    changed = again.label != level.label
    assert changed.any()
    assert not changed[:, :45].any()
    assert not changed[:, 51:].any()
    assert not changed[~level.todo].any()


def test_a_displaced_region_is_moved_back() -> None:
    picture = tiles(24, 4)
    todo = box(96, 40, 60)
    moves = Transforms.shifts(np.array([23]), np.array([-26]))
    level = Level(picture, todo, ~todo, np.zeros((96, 96), np.int32), moves)
    assert align(level, 2).moves.shift.tolist() == [[24, -24]]
    assert align(level, 1).moves.shift[0].tolist() != [23, -26]
