"""Large photos end to end: worked on at a bounded size, rendered at their own; previews; maps that cost little."""

from __future__ import annotations

import numpy as np
import pytest

from restore import Engine
from restore.edit.fillers import BuiltinFiller, DraftFiller
from restore.edit.find import PENALTY, Region
from restore.images.photo import photo_from_array
from restore.images.windows import Window


@pytest.fixture(scope="module")
def warm() -> Engine:
    return Engine(device="cpu")


def photo(side: int = 220) -> np.ndarray:
    y, x = np.mgrid[:side, :side] / side
    waves = np.stack([0.5 + 0.3 * np.sin(9 * a * x + 7 * b * y) for a, b in ((1, 2), (2, 1), (3, 1))], -1)
    grain = np.random.default_rng(0).normal(0, 0.04, waves.shape)
    return ((waves + grain).clip(0, 1) * 255).astype(np.uint8)


def hole(side: int = 220) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[90:140, 80:130] = True
    return mask


def grain(image: np.ndarray, where: np.ndarray) -> float:
    level = image.astype(np.float32).mean(-1)
    return float(np.abs(level[1:, 1:] - level[:-1, 1:] - level[1:, :-1] + level[:-1, :-1])[where[1:, 1:]].mean())


@pytest.mark.parametrize("draft", [False, True])
def test_a_large_hole_gets_the_photo_s_grain_and_nothing_else_changes(
    warm: Engine, monkeypatch: pytest.MonkeyPatch, draft: bool
) -> None:
    for filler in (BuiltinFiller, DraftFiller):
        monkeypatch.setattr(filler, "side", 64)
    image, mask = photo(), hole()
    results = [warm.inpaint(image, mask=mask, passes=1, candidates=1, draft=draft) for _ in range(2)]
    assert np.array_equal(results[0].image, results[1].image)
    out = np.asarray(results[0].image)
    assert np.array_equal(out[~mask], image[~mask])
    assert max(results[0].outcome.areas[0].image.shape) == 64
    assert 0.7 < grain(out, mask) / grain(image, ~mask) < 1.3


def test_a_draft_is_one_pass_of_one_candidate(warm: Engine) -> None:
    seen = []
    result = warm.inpaint(
        photo(96), box=(30, 30, 30, 30), draft=True, on_step=lambda done, total: seen.append((done, total))
    )
    assert (len(result.passes), result.settings.candidates, seen) == (1, 1, [(0, 1), (1, 1)])


def test_patches_count_where_they_say() -> None:
    given = photo_from_array(photo(32))
    part, colours = np.s_[4:12, 6:16], np.full((8, 10, 3), 7, np.uint8)
    where = np.zeros((8, 10), bool)
    where[2:5, 3:8] = True
    out = given.with_patches([(part, colours, where)]).pixels
    expected = given.pixels.copy()
    expected[6:9, 9:14] = 7
    assert np.array_equal(out, expected)
    assert np.array_equal(given.with_patches([]).pixels, given.pixels)


@pytest.mark.parametrize("scale", [1, 2])
def test_the_cost_of_copying_people_is_read_off_a_smaller_map(scale: int) -> None:
    mask = np.zeros((40, 60), bool)
    mask[10:20, 10:20] = True
    alive = np.zeros((40 // scale, 60 // scale), bool)
    alive[: 16 // scale, : 30 // scale] = True
    cost = Region(mask, "mask", alive=alive).penalty(Window(4, 6, 50, 30))
    expected = np.zeros((40, 60), np.float32)
    expected[:16, :30] = PENALTY
    expected[mask] = 0
    assert np.array_equal(cost, expected[6:36, 4:54])
    assert Region(mask, "mask").penalty(Window(0, 0, 60, 40)) is None
