"""What the embedded filler offers the loop in later passes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from restore.edit.area import areas_of
from restore.edit.fillers import BuiltinFiller, Order
from restore.pipelines.fill.builtin import BuiltinPipeline
from restore.pipelines.fill.transforms import Transforms
from restore.quality.judges.judge import Judgement
from restore.settings import Settings


def test_a_later_pass_looks_at_the_bad_part_only_and_tells_where_its_pixels_come_from() -> None:
    """On a drawing every pixel is copied as it is, so its source must have its very colour."""
    rng = np.random.default_rng(3)
    colours = rng.integers(0, 256, (8, 3), np.uint8)
    picture = colours[np.kron(rng.integers(0, 8, (32, 32)), np.ones((8, 8), int))]
    hole = np.zeros(picture.shape[:2], bool)
    hole[100:160, 96:176] = True
    (area,) = areas_of(picture, hole)
    top, left = np.argwhere(area.hole).min(0)
    todo = np.zeros_like(area.hole)
    todo[top + 8 : top + 38, left + 12 : left + 42] = True
    bad = todo.astype(np.float32)
    area = replace(area, judgement=Judgement(bad, area.hole, 1.0), source=np.zeros((*todo.shape, 3), np.int32))
    order = Order(Settings(candidates=2), index=2)
    for candidate in BuiltinFiller(BuiltinPipeline.shipped()).fill(area, todo, order):
        assert np.array_equal(candidate.image[~todo], area.image[~todo])
        y, x = np.nonzero(todo)
        rows = candidate.source[y, x]
        assert (rows[:, 0] > 0).all()
        there = np.stack(
            [
                Transforms(row[None, 0], row[None, 1:]).apply(np.array([0]), at[None])[0]
                for row, at in zip(rows, np.stack([y, x], 1), strict=True)
            ]
        )
        assert not area.hole[there[:, 0], there[:, 1]].any()
        assert np.array_equal(candidate.image[y, x], area.image[there[:, 0], there[:, 1]])
