"""The loop: what it keeps, when it stops, what it records. Judge and fills here are closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from restore.engine import Area, Candidate, areas_of, repair
from restore.quality.judge import Judgement
from restore.settings import Settings

SHAPE = (64, 64)


def picture(level: int) -> np.ndarray:
    return np.full((*SHAPE, 3), level, np.uint8)


def judge(image: np.ndarray, hole: np.ndarray) -> Judgement:
    """Brightness is badness: a pixel of level v is an artifact with probability v / 255."""
    probability = (image[..., 0] / 255).astype(np.float32) * hole
    return Judgement(probability, hole, float(probability[hole].mean()))


def hole_mask() -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[20:40, 20:40] = True
    return mask


def fills(levels: list[list[int]]):
    """Candidates of flat levels, pass by pass; remembers what it was asked to fill."""
    asked: list[np.ndarray] = []

    def fill(area: Area, todo: np.ndarray, index: int) -> list[Candidate]:
        asked.append(todo)
        out = []
        for level in levels[index - 1]:
            image = area.image.copy()
            image[todo] = level
            out.append(Candidate(image, 0.5))
        return out

    return fill, asked


def run(levels: list[list[int]], **settings: float):
    fill, asked = fills(levels)
    areas = areas_of(picture(0), hole_mask())
    outcome = repair(areas, 64 * 64, fill, judge, Settings(passes=len(levels), **settings))
    return outcome, asked


def test_picks_the_best_candidate_and_stops_at_the_threshold():
    outcome, _ = run([[200, 40, 90], [10]], par=0.0)
    assert outcome.stop == "threshold"
    assert len(outcome.passes) == 1
    assert (outcome.areas[0].image[outcome.areas[0].hole] == 40).all()


def test_a_worse_pass_is_rolled_back_and_recorded():
    outcome, _ = run([[240], [255], [10]], par=0.0)
    assert [p.accepted for p in outcome.passes] == [True, False, True]
    assert outcome.passes[1].par_hole == 1
    assert (outcome.history[1][0].image == outcome.history[0][0].image).all()
    assert outcome.stop == "threshold"


def test_a_pass_that_only_moves_the_artifacts_is_no_gain_and_the_budget_ends_the_loop():
    outcome, _ = run([[240], [235]], par=0.0)
    assert [p.accepted for p in outcome.passes] == [True, False]
    assert outcome.stop == "budget"


def test_stops_after_three_passes_without_gain():
    outcome, _ = run([[235], [245], [250], [240], [10]], par=0.0)
    assert outcome.stop == "no-gain"
    assert len(outcome.passes) == 4


def test_later_passes_fill_only_the_dilated_artifacts_inside_the_hole():
    hole = hole_mask()
    calls: list[np.ndarray] = []

    def fill(area: Area, todo: np.ndarray, index: int) -> list[Candidate]:
        calls.append(todo)
        image = area.image.copy()
        image[todo] = 0
        if index == 1:
            part = np.zeros_like(todo)
            part[area.hole.argmax() // todo.shape[1] :, :] = True
            ys, xs = np.nonzero(todo)
            image[ys[:4], xs[:4]] = 255
        return [Candidate(image, 0.5)]

    outcome = repair(areas_of(picture(0), hole), 64 * 64, fill, judge, Settings(passes=2, par=0.0))
    first, second = calls
    assert second.sum() < first.sum()
    assert not (second & ~first).any()
    bad = outcome.history[0][0].judgement.artifacts
    assert (second & bad).sum() == bad.sum()


def test_areas_with_a_judgement_are_refined_from_pass_zero():
    areas = areas_of(picture(240), hole_mask())
    areas = [Area(a.window, a.hole, a.image, judge(a.image, a.hole)) for a in areas]
    fill, _ = fills([[20]])
    outcome = repair(areas, 64 * 64, fill, judge, Settings(passes=1, par=0.01))
    assert [p.index for p in outcome.passes] == [0, 1]
    assert outcome.stop == "threshold"


def test_par_image_counts_the_photo_and_par_hole_the_hole():
    outcome, _ = run([[255]], par=0.0)
    record = outcome.passes[0]
    assert record.par_hole == 1
    assert record.par_image == pytest.approx(400 / 4096)


def test_an_interrupted_pass_raises_through():
    def stop(_: object) -> None:
        raise RuntimeError("enough")

    fill, _ = fills([[10]])
    with pytest.raises(RuntimeError, match="enough"):
        repair(areas_of(picture(0), hole_mask()), 1, fill, judge, Settings(passes=1), stop)


def test_a_pass_takes_each_separate_part_from_the_best_candidate():
    """Two bad corners, two candidates that each mend one: the pass keeps both repairs."""
    hole = np.zeros(SHAPE, bool)
    hole[8:56, 8:56] = True
    left, right = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    left[10:16, 10:16] = right[46:52, 46:52] = True

    def fill(area: Area, todo: np.ndarray, index: int) -> list[Candidate]:
        inside_left, inside_right = left[area.window.slices], right[area.window.slices]
        if index == 1:
            image = np.zeros_like(area.image)
            image[inside_left | inside_right] = 240
            return [Candidate(image, 0.5)]
        out = []
        for mended, broken in ((inside_left, inside_right), (inside_right, inside_left)):
            image = area.image.copy()
            image[todo & mended] = 0
            image[todo & broken] = 255
            out.append(Candidate(image, 0.5))
        return out

    outcome = repair(areas_of(picture(0), hole), 64 * 64, fill, judge, Settings(passes=2, par=0.0))
    assert [p.accepted for p in outcome.passes] == [True, True]
    assert outcome.passes[1].par_hole == 0
    assert outcome.stop == "threshold"


def test_a_picture_without_holes_is_done_at_once():
    fill, asked = fills([[0]])
    outcome = repair([], 64, fill, judge, Settings())
    assert (outcome.stop, asked, outcome.areas) == ("threshold", [], [])
    assert outcome.passes[0].quality == 100
