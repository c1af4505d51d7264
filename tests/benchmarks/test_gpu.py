"""The benchmark of GPUs tries itself on tiny models on the CPU."""

from __future__ import annotations

import math

import torch

from benchmarks.gpu import _sample, measured, table, together
from benchmarks.gpu_toys import toys


def test_every_figure_is_measured_and_the_engine_makes_the_bare_models_picture():
    rows = [
        row
        for name, make in toys(large=False).items()
        for row in measured(name, make, torch.device("cpu"), 64, 2, compiling=False, repeats=1, candidates=1)
    ]
    assert [row.dtype for row in rows] == ["float32", "bfloat16", "float16"] * 2
    for row in rows:
        assert row.same, row
        assert 0 < row.weights < row.planned
        assert all(math.isfinite(x) and x > 0 for x in (row.bare, row.engine))
        assert (row.distance == 0) == (row.dtype == "float32")
        assert row.distance < 30
    assert table(rows).count("\n") == 2 + len(rows)


def test_candidates_in_one_call_are_timed_against_those_one_by_one():
    make = toys(large=False)["SD 1.5 (tiny)"]
    at_once, gain = together(make(torch.float32), torch.device("cpu"), 64, _sample((64, 64)), 2, 3)
    assert at_once == 3
    assert 0 < gain < 100
