"""Files are written whole or not at all, by one writer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore.errors import InputError
from restore.images.files import check_place, replacing, write_text
from restore.images.geometry import fitted

HANG = """
import sys, time
from restore.images.files import replacing
with replacing(sys.argv[1], overwrite=True) as file:
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    time.sleep(60)
"""


def writing(path: Path) -> subprocess.Popen[bytes]:
    """A process in the middle of writing `path`."""
    process = subprocess.Popen([sys.executable, "-c", HANG, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"writing\n"
    return process


def test_a_file_takes_its_place_when_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    path.chmod(0o640)
    with replacing(path, overwrite=True) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_block_that_fails_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    with pytest.raises(InputError, match="expected to write a report, got: No space left"):
        fail(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.txt"]


def fail(path: Path) -> None:
    with replacing(path, what="report", overwrite=True) as file:
        file.write(b"half")
        raise OSError(28, "No space left on device")


@pytest.mark.skipif(sys.platform == "win32", reason="there a killed process cannot be swept after by a lock")
def test_a_killed_writer_leaves_the_old_file_and_the_next_one_sweeps(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    process = writing(path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert path.read_bytes() == b"old"
    assert len(os.listdir(tmp_path)) == 2
    write_text("other", tmp_path / "b.txt")
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "b.txt"]


def test_the_draft_of_a_process_at_work_is_left_alone(tmp_path: Path) -> None:
    process = writing(tmp_path / "a.txt")
    try:
        write_text("other", tmp_path / "b.txt")
        assert len(os.listdir(tmp_path)) == 2
    finally:
        process.kill()
        process.communicate()


def test_places_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "taken.txt").touch()
    for path, reason in (
        (tmp_path / "none" / "a.txt", "found none at"),
        (tmp_path, "got a folder"),
        (tmp_path / "taken.txt", "got an existing file"),
        (tmp_path / ("a" * 300), "File name too long"),
    ):
        with pytest.raises(InputError, match=reason):
            check_place(path)
    check_place(tmp_path / "taken.txt", overwrite=True)


@given(st.tuples(st.integers(1, 9999), st.integers(1, 9999)), st.integers(1, 5000))
def test_fitted(sides: tuple[int, int], side: int) -> None:
    small, grown = fitted(sides, side), fitted(sides, side, grow=True)
    assert max(grown) == side
    assert min(grown) == max(1, round(min(sides) * (side / max(sides))))
    assert small == (grown if side <= max(sides) else sides)
