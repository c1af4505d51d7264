"""`enhance --task old-photo`: what is there is restored step by step, what is not stays."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import restore
from restore.cli import main
from restore.enhancement.old_photo import Wishes


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    """Grey hills under a sky, from black to white."""
    rng = np.random.default_rng(1)
    coarse = cv2.resize(rng.random((9, 12)).astype(np.float32), (192, 144), interpolation=cv2.INTER_CUBIC)
    coarse = (coarse - coarse.min()) / np.ptp(coarse)
    tint = np.stack([coarse, coarse**1.1, np.roll(coarse, 9, 1)], 2)
    tint[100:, :90] *= 0.1
    tint[:30, 100:] = 1 - 0.1 * tint[:30, 100:]
    return (tint * 250 + 2).astype(np.uint8)


def scratched(photo: np.ndarray) -> np.ndarray:
    old = photo.copy()
    for start, end in (((20, 0), (35, 143)), ((150, 5), (120, 140))):
        cv2.line(old, start, end, (235, 235, 235), 1, cv2.LINE_AA)
    return old


def faded(photo: np.ndarray) -> np.ndarray:
    return (35 + photo * (0.78 - 35 / 255)).astype(np.uint8)


@pytest.fixture(scope="module")
def old(clean) -> np.ndarray:
    grain = np.random.default_rng(0).normal(0, 7, (*clean.shape[:2], 1))
    grain = cv2.GaussianBlur(grain, (0, 0), 0.6)[..., None] * 1.6
    return scratched(faded((clean + grain).clip(0, 255).astype(np.uint8)))


@pytest.fixture(scope="module")
def result(engine, old):
    return engine.enhance(old, task="old-photo", passes=1)


def test_every_step_is_taken_and_brings_it_nearer(result, clean, old):
    assert [p.step for p in result.passes] == ["input", "scratches", "grain", "tone"]
    near = [psnr(picture, clean) for _, picture in result.stages]
    assert near[-1] > near[0] + 4
    assert near[1] > near[0]
    line = np.abs(scratched(clean).astype(int) - clean).max(2) > 60
    assert result.mask[line].mean() > 0.6
    assert result.mask.mean() < 0.2


def test_what_is_kept_is_not_touched(engine, old, result):
    kept = engine.enhance(old, task="old-photo", keep=("grain", "tone"), passes=1)
    assert np.array_equal(kept.image[~kept.mask], old[~kept.mask])
    assert not np.array_equal(kept.image[kept.mask], old[kept.mask])
    toned = engine.enhance(old, task="old-photo", keep=("scratches", "grain"))
    assert not toned.mask.any()
    assert [p.step for p in toned.passes] == ["input", "tone"]
    # what was painted is told as such
    assert "composite" in kept.mark.source_type
    assert toned.mark.source_type == "algorithmicallyEnhanced"
    nothing = engine.enhance(old, task="old-photo", keep=("scratches", "grain", "tone"))
    assert "kept" in nothing.nothing
    assert np.array_equal(nothing.image, old)


def test_a_sound_photo_comes_back_as_it_was(engine, clean):
    result = engine.enhance(clean, task="old-photo")
    assert result.nothing
    assert np.array_equal(result.image, clean)
    assert not result.mask.any()


def test_greys_stay_grey_and_depth_stays(engine, old):
    grey = cv2.cvtColor(old, cv2.COLOR_RGB2GRAY)
    as_colour = engine.enhance(np.repeat(grey[..., None], 3, 2), task="old-photo", keep=["scratches"]).image
    assert np.ptp(as_colour, 2).max() <= 1
    assert engine.enhance(grey, task="old-photo", keep=["scratches"]).image.shape == grey.shape
    deep = engine.enhance(old.astype(np.uint16) * 257, task="old-photo", keep=["scratches"]).image
    assert deep.dtype == np.uint16
    assert len(np.unique(deep % 257)) > 1


def test_sepia_stays_sepia_unless_told(engine, clean):
    grey = cv2.cvtColor(clean, cv2.COLOR_RGB2GRAY)[..., None]
    sepia = (grey * np.array([1.0, 0.85, 0.65])).astype(np.uint8)
    toned = engine.enhance(faded(sepia), task="old-photo", keep=["scratches", "grain"])
    assert toned.parameters["black"][0] == toned.parameters["black"][2]
    assert np.abs(toned.image.astype(float).mean((0, 1)) - sepia.mean((0, 1))).max() < 12
    neutral = engine.enhance(faded(sepia), task="old-photo", keep=["scratches", "grain"], neutral=True).image
    assert np.ptp(neutral, 2).max() <= 1


def test_scans_of_one_film_get_the_same_curves(engine, old):
    other = old[:, 60:].copy()
    film = engine.film([old, other])
    results = [engine.enhance(o, task="old-photo", keep=["scratches"], film=film) for o in (old, other)]
    assert results[0].parameters["black"] == results[1].parameters["black"]
    assert results[0].parameters["white"] == results[1].parameters["white"]
    with pytest.raises(restore.InputError, match="at least two"):
        engine.film([old])


def test_what_this_task_cannot_take_is_refused(engine, old):
    for options in ({"mask": old[..., 0] > 9}, {"terms": {"colour": 1.0}}, {"model": "other"}, {"keep": ("dust",)}):
        with pytest.raises(restore.InputError, match="expected"):
            engine.enhance(old, task="old-photo", **options)
    with pytest.raises(restore.InputError, match="one photo"):
        engine.enhance([old, old], task="old-photo")
    with pytest.raises(restore.InputError, match="old-photo only"):
        engine.enhance(old, task="denoise", keep=("grain",))
    assert Wishes(("grain",)).keep == ("grain",)


def call(*args: object):
    return CliRunner().invoke(main, ["enhance", *(str(a) for a in args), "--task", "old-photo"])


def test_the_command_writes_photo_mask_report_and_scans_of_a_film(old, tmp_path):
    scans = [tmp_path / "a.png", tmp_path / "b.png"]
    for scan, picture in zip(scans, (old, old[:, 40:]), strict=True):
        Image.fromarray(np.ascontiguousarray(picture)).save(scan)
    report, mask = tmp_path / "r.html", tmp_path / "m.png"
    done = call(scans[0], "--json", "--report", report, "--mask-out", mask, "--passes", 1)
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert [p["step"] for p in summary["passes"]] == ["input", "scratches", "grain", "tone"]
    assert np.asarray(Image.open(mask)).shape == old.shape[:2]
    page = report.read_text(encoding="utf-8")
    assert "After scratches" in page
    assert "what was painted over" in page
    folder = tmp_path / "film"
    refused = call(*scans, "--same-film", "-o", folder)
    assert refused.exit_code == 2
    assert "folder" in refused.output
    folder.mkdir()
    done = call(*scans, "--same-film", "--keep", "scratches", "-o", folder)
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in folder.iterdir()) == ["a.png", "b.png"]
    assert call(*scans).exit_code == 2
    assert call(*scans, "--same-film", "--mask-out", mask).exit_code == 2
