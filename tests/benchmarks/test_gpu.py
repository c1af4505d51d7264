"""The benchmark of GPUs tries itself on tiny models on the CPU."""

from __future__ import annotations

import math

import torch

from benchmarks.gpu import CANDIDATES, measured, table
from benchmarks.gpu_toys import toys


def test_every_figure_is_measured_and_the_engine_makes_the_bare_models_picture():
    rows = [
        row
        for name, make in toys(large=False).items()
        for row in measured(name, make, torch.device("cpu"), 64, 2, compiling=False, repeats=1)
    ]
    assert [row.dtype for row in rows] == ["float32", "bfloat16", "float16"] * 2
    for row in rows:
        assert row.same, row
        assert 0 < row.weights < row.planned
        assert all(math.isfinite(x) and x > 0 for x in (row.bare, row.engine))
        assert (row.distance == 0) == (row.dtype == "float32")
        assert row.distance < 30
        assert row.at_once in (1, CANDIDATES)
        assert row.gain > 0
    assert any(row.at_once == CANDIDATES for row in rows)
    assert table(rows).count("\n") == 2 + len(rows)
