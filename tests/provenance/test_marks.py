"""What results tell of their edits in XMP, and what `restore provenance` says of a file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

import restore
from restore.cli import main
from restore.images.huge import open_photo
from restore.images.photo import load_photo
from restore.images.xmp import Mark, history_of, source_type_of
from restore.provenance.told import told
from restore.settings import Settings

FAST = {"passes": 1, "candidates": 1}
COMPOSITE = "compositeWithTrainedAlgorithmicMedia"


def run(*args: object) -> str:
    result = CliRunner().invoke(main, [str(a) for a in args])
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.fixture
def photo(scene: NDArray[np.uint8], tmp_path: Path) -> Path:
    Image.fromarray(scene).save(tmp_path / "a.jpg", quality=95)
    return tmp_path / "a.jpg"


def test_an_edit_tells_and_says_that_it_does(photo: Path, tmp_path: Path) -> None:
    box = ["--box", "80,70,45,40", "--draft", "--seed", "7", "--device", "cpu"]
    printed = json.loads(run("inpaint", photo, *box, "--report", tmp_path / "r.html", "--json"))
    packet = load_photo(tmp_path / "a.restored.jpg").meta.xmp
    assert source_type_of(packet) == printed["mark"]["digital_source_type"] == COMPOSITE
    (entry,) = history_of(packet)
    assert entry["parameters"] == printed["mark"]["done"]
    assert entry["parameters"].startswith("inpaint; model builtin; weights sha256:")
    assert entry["parameters"].endswith("seed 7; region 80,70,45,40 of 200x160 (1800 pixels)")
    assert COMPOSITE in (tmp_path / "r.html").read_text()
    run("inpaint", photo, *box, "--overwrite", "-o", tmp_path / "again.jpg")
    assert (tmp_path / "again.jpg").read_bytes() == (tmp_path / "a.restored.jpg").read_bytes()
    said = run("provenance", tmp_path / "again.jpg")
    assert f"XMP: {COMPOSITE}\n  edited, restore " in said
    plain = json.loads(run("inpaint", photo, *box, "--no-mark", "--json", "-o", tmp_path / "plain.jpg"))
    assert plain["mark"] is None
    assert load_photo(tmp_path / "plain.jpg").meta.xmp == b""
    assert "tells nothing" in run("provenance", tmp_path / "plain.jpg")
    pixels = [load_photo(tmp_path / name).native for name in ("again.jpg", "plain.jpg")]
    assert np.array_equal(*pixels)


def test_a_second_edit_is_a_second_entry(engine, photo: Path, hole: NDArray[np.bool_], tmp_path: Path) -> None:
    engine.inpaint(photo, mask=hole, draft=True).save(tmp_path / "b.png")
    second = engine.enhance(tmp_path / "b.png", task="dejpeg", quality=80, passes=1)
    second.save(tmp_path / "c.webp")
    packet = load_photo(tmp_path / "c.webp").meta.xmp
    assert source_type_of(packet) == COMPOSITE
    assert [e["parameters"].split(";")[0] for e in history_of(packet)] == ["inpaint", "enhance dejpeg"]


@pytest.mark.parametrize(
    ("task", "options", "right"),
    [("denoise", {"noise": 5}, "algorithmicallyEnhanced"), ("super-resolution", {"scale": 2}, COMPOSITE),
     ("denoise", {"noise": 5, "temperature": 1.0}, COMPOSITE)],
)  # fmt: skip
def test_what_is_only_corrected_says_so(engine, scene, task, options, right) -> None:
    result = engine.enhance(scene[:32, :32], task=task, passes=1, **options)
    assert result.mark is not None
    assert result.mark.source_type == right
    assert result.summary()["mark"]["digital_source_type"] == right
    assert engine.enhance(scene[:32, :32], task="denoise", noise=5, passes=1, mark=False).mark is None


def test_what_is_unchanged_tells_nothing(engine, monkeypatch: pytest.MonkeyPatch, scene, hole) -> None:
    monkeypatch.setattr(engine, "settings", replace(engine.settings, par=1.0))
    result = engine.refine(scene, mask=hole)
    assert np.array_equal(result.image, scene)
    assert result.mark is None
    assert "xmp" not in engine.refine(Image.fromarray(scene), mask=hole).image.info


def test_pictures_of_passes_tell_too(engine, photo: Path, hole, tmp_path: Path) -> None:
    engine.inpaint(photo, mask=hole, **FAST).save_passes(tmp_path / "passes")
    for path in (tmp_path / "passes").iterdir():
        assert told(path)["xmp"]["digital_source_type"] == COMPOSITE


def test_settings_say_whether(engine, scene, hole) -> None:
    assert engine.inpaint(scene, mask=hole, draft=True, mark=False).mark is None
    with pytest.raises(restore.InputError, match="mark to be true or false"):
        Settings(mark="no")  # type: ignore[arg-type]


def test_huge_photos_tell(monkeypatch: pytest.MonkeyPatch, scene, tmp_path: Path) -> None:
    monkeypatch.setattr("restore.images.limits.HUGE", 1000)
    Image.fromarray(scene).save(tmp_path / "a.tif")
    huge = open_photo(tmp_path / "a.tif").marked(Mark(COMPOSITE, "inpaint", "restore"))
    huge.save(tmp_path / "b.tif")
    assert told(tmp_path / "b.tif")["xmp"]["digital_source_type"] == COMPOSITE
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.tif")), scene)


def test_another_fill_of_the_same_pixels(engine, scene, hole) -> None:
    first = engine.inpaint(scene, mask=hole, seed=3, **FAST)
    other, same = first.again(), first.again(seed=3)
    assert np.array_equal(same.image, first.image)
    assert np.array_equal(other.image, engine.inpaint(scene, mask=hole, seed=4, **FAST).image)
    assert other.settings.seed == 4
    assert np.array_equal(other.mask, first.mask)
    assert other.again(seed=3, passes=2).settings.passes == 2
    refined = engine.refine(scene, mask=hole, seed=1, **FAST)
    assert np.array_equal(refined.again(seed=1).image, refined.image)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_what_is_no_picture_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    result = CliRunner().invoke(main, ["provenance", str(tmp_path / "a.png")])
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
