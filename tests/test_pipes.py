"""Standard streams, names that say nothing, formats that cannot hold the result, and files of several frames."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from restore.cli import main
from restore.errors import InputError
from restore.images.huge import check_goal, save_any
from restore.images.photo import Photo, default_output, load_photo, photo_from_array
from restore.measure.files import find_images
from tests.conftest import make_scene

SCENE = make_scene(48, 64)
BOX = ["--box", "20,20,10,10", "--draft"]


def run(*args: str, given: bytes | None = None) -> Result:
    return CliRunner().invoke(main, args, input=given)


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(SCENE).save(buffer, kind, quality=95)
    return buffer.getvalue()


def test_a_photo_through_a_pipe(tmp_path: Path) -> None:
    result = run("inpaint", "-", *BOX, given=encoded("PNG"))
    assert result.exit_code == 0, result.stderr
    with Image.open(io.BytesIO(result.stdout_bytes)) as image:
        assert image.format == "PNG"
        changed = (np.asarray(image) != SCENE).any(axis=2)
    assert changed[20:30, 20:30].any()
    assert changed.sum() == changed[20:30, 20:30].sum()
    assert result.stderr.startswith("-: 1 pass")
    (tmp_path / "a.png").write_bytes(encoded("PNG"))
    as_file = run("inpaint", str(tmp_path / "a.png"), *BOX, "-o", "-", "--format", "webp")
    with Image.open(io.BytesIO(as_file.stdout_bytes)) as image:
        assert image.format == "WEBP"


@pytest.mark.parametrize(
    ("args", "given", "reason"),
    [
        (["-"], b"", "got nothing; pipe one in"),
        (["-"], b"not an image", "standard input: expected a"),
        (["-", "--json"], encoded("PNG"), "with --json"),
        (["-", "--format", "gif"], encoded("PNG"), "'gif' is not one of"),
    ],
)
def test_pipes_that_cannot_be(args: list[str], given: bytes, reason: str) -> None:
    result = run("inpaint", *args, *BOX, given=given)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert result.stdout_bytes == b""


@pytest.mark.parametrize(
    ("name", "kind", "goal"),
    [
        ("photo.jpg", "JPEG", "photo.restored.jpg"),
        ("photo.jfif", "JPEG", "photo.restored.jfif"),
        ("download", "JPEG", "download.restored.jpg"),
        ("really-a-png.jpg", "PNG", "really-a-png.restored.png"),
        ("photo.php", "WEBP", "photo.php.restored.webp"),
        ("scan.TIFF", "TIFF", "scan.restored.TIFF"),
    ],
)
def test_results_are_named_by_content(name: str, kind: str, goal: str) -> None:
    assert default_output(name, kind) == Path(goal)


def test_a_name_without_suffix_is_edited(tmp_path: Path) -> None:
    (tmp_path / "download").write_bytes(encoded("JPEG"))
    assert run("inpaint", str(tmp_path / "download"), *BOX).exit_code == 0
    with Image.open(tmp_path / "download.restored.jpg") as image:
        assert image.format == "JPEG"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_names_that_are_no_text(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    with open(path, "wb") as file:
        file.write(encoded("PNG"))
    command = [sys.executable, "-m", "restore", "inpaint", path, *BOX]
    result = subprocess.run(command, capture_output=True, check=True)
    assert b"caf\xe9.restored.png: 1 pass" in result.stdout
    again = subprocess.run([*command, "--overwrite", "--json"], capture_output=True, check=True)
    assert json.loads(again.stdout)["output"].endswith("caf\udce9.restored.png")


def strip(width: int, channels: int = 3) -> Photo:
    native = np.zeros((2, width, channels), np.uint8)
    return photo_from_array(native)


@pytest.mark.parametrize(
    ("photo", "name", "scale", "reason"),
    [
        (strip(65_501), "a.jpg", 1, "at most 65500 pixels for JPEG, got 65501×2"),
        (strip(16_384), "a.webp", 1, "at most 16383 pixels for WEBP"),
        (strip(4_096), "a.webp", 4, "got 16384×8"),
        (strip(8, 4), "a.jpg", 1, "keeps transparency"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_beforehand(
    photo: Photo, name: str, scale: int, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=reason):
        check_goal(photo, tmp_path / name, scale=scale)
    if scale == 1:
        with pytest.raises(InputError, match=reason):
            save_any(photo, tmp_path / name)
    check_goal(photo, tmp_path / "a.png", scale=scale)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("name", "side"), [("a.jpg", 65_500), ("a.webp", 16_383)])
def test_the_limits_are_the_formats_own(name: str, side: int, tmp_path: Path) -> None:
    save_any(strip(side), tmp_path / name)
    assert load_photo(tmp_path / name).size == (side, 2)


@pytest.mark.parametrize("suffix", [".tif", ".webp", ".png"])
def test_frames_and_pages(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    frames = [Image.fromarray(np.full((8, 9, 3), value, np.uint8)) for value in (10, 100, 200)]
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    with pytest.warns(UserWarning, match="holds 3 frames or pages; only number 2 is used"):
        second = load_photo(path, 2)
    assert (second.native == 100).all()
    with pytest.raises(InputError, match="expected frame 1 to 3, got 4"):
        load_photo(path, 4)
    save_any(second, tmp_path / "b.png" if suffix != ".png" else tmp_path / "b.tif")
    other = tmp_path / ("b.png" if suffix != ".png" else "b.tif")
    save_any(second, other, overwrite=True)
    with pytest.raises(InputError, match="expected frame 1 to 1, got 2"):
        load_photo(other, 2)
    with pytest.raises(InputError, match="3 frames or pages that would be lost"):
        save_any(second, path, kind="BMP", overwrite=True)


def test_folders_without_what_systems_leave_there(tmp_path: Path) -> None:
    for name in ("b.png", "download", ".hidden.png", "._b.png", ".thumbnails/b.png", "sub/c.jfif", "sub/b.mask.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encoded("PNG"))
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / "raw.cr2").write_bytes(b"raw")
    with pytest.warns(UserWarning, match=r"passed over 1 × \.cr2, 1 × \.txt, which are no JPEG"):
        found = find_images([tmp_path])
    assert [str(p.relative_to(tmp_path)) for p in found] == ["b.png", "download", "sub/c.jfif"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_images([tmp_path / ".thumbnails"]) == [tmp_path / ".thumbnails/b.png"]
        assert find_images([tmp_path / "._b.png"]) == [tmp_path / "._b.png"]
