"""The fuzzer's files, undamaged, go through every command; damaged ones are refused in a line."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.fuzz import commands, damaged, originals, run, stand_ins

FILES = originals()


@pytest.fixture(scope="module", autouse=True)
def _stand_ins() -> Iterator[None]:
    with stand_ins():
        yield


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_format_goes_through(name: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a PNG cannot hold is told
        result, faults = run(tmp_path / "work", name, FILES[name], "inpaint to png")
    assert faults == []
    assert result.exit_code == (2 if name == "P.gif" else 0), result.stderr


@pytest.mark.parametrize("command", sorted(commands("")))
def test_every_command_refuses_what_is_cut_short(command: str, tmp_path: Path) -> None:
    for steps in ([(2, 0.5, False, 0, b"\0\0\0\0")], [(5, 0.1, True, 0, b"\5\0\0\0")]):
        data = damaged(FILES["RGB.png"], steps, mend=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _, faults = run(tmp_path / "work", "RGB.png", data, command)
        assert faults == []
