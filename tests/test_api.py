"""The Python API on the shipped models."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import restore
from restore.cli import main

FAST = {"passes": 1, "candidates": 1}


def test_inputs_are_never_changed_and_kinds_come_back(engine, scene, hole):
    array, picture = scene.copy(), Image.fromarray(scene)
    first = engine.inpaint(array, mask=hole, **FAST)
    assert np.array_equal(array, scene)
    assert isinstance(first.image, np.ndarray)
    assert first.image.dtype == np.uint8
    second = engine.inpaint(picture, mask=hole, **FAST)
    assert isinstance(second.image, Image.Image)
    assert np.array_equal(np.asarray(second.image), first.image)
    assert np.array_equal(first.image[~hole], scene[~hole])


def test_same_seed_same_bytes_and_the_command_line_agrees(engine, scene, hole, tmp_path):
    a, b = (engine.inpaint(scene, mask=hole, seed=3, passes=2, candidates=2).image for _ in range(2))
    assert np.array_equal(a, b)
    Image.fromarray(scene).save(tmp_path / "p.png")
    Image.fromarray((hole * 255).astype(np.uint8)).save(tmp_path / "m.png")
    args = ["inpaint", f"{tmp_path}/p.png", "--mask", f"{tmp_path}/m.png", "-o", f"{tmp_path}/o.png",
            "--seed", "3", "--passes", "2", "--candidates", "2", "--device", "cpu"]  # fmt: skip
    assert CliRunner().invoke(main, args).exit_code == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "o.png")), a)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_same_seed_same_bytes_holds_for_a_number_of_threads(engine, scene, hole, threads):
    """What README promises: another number may round differently, and only in the hole."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        a, b = (engine.inpaint(scene, mask=hole, seed=3, **FAST).image for _ in range(2))
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(a, b)
    assert np.array_equal(a[~hole], scene[~hole])


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "1", "P", "LA"])
def test_every_mode_comes_back_in_its_size(engine, scene, hole, mode):
    picture = Image.fromarray(scene).convert(mode)
    result = engine.inpaint(picture, mask=hole, **FAST).image
    assert result.size == picture.size
    if mode != "P":
        assert result.mode == mode
        before, after = np.asarray(picture), np.asarray(result)
        assert np.array_equal(before[~hole], after[~hole])


def test_sixteen_bits_stay_sixteen_bits(engine, scene, hole):
    deep = scene.astype(np.uint16) * 257 + 3
    out = engine.inpaint(deep, mask=hole, **FAST).image
    assert out.dtype == np.uint16
    assert np.array_equal(out[~hole], deep[~hole])


def test_odd_sizes_and_holes_at_the_border(engine):
    rng = np.random.default_rng(0)
    for h, w in ((37, 53), (64, 9), (200, 31)):
        image = rng.integers(0, 255, (h, w, 3), dtype=np.uint8)
        mask = np.zeros((h, w), bool)
        mask[: h // 3, : w // 2] = True
        out = engine.inpaint(image, mask=mask, **FAST).image
        assert out.shape == image.shape
        assert np.array_equal(out[~mask], image[~mask])


def test_several_holes_are_all_filled(engine, scene):
    mask = np.zeros(scene.shape[:2], bool)
    mask[5:20, 5:20] = mask[130:150, 170:190] = mask[60:70, 100:110] = True
    marked = scene.copy()
    marked[mask] = (255, 0, 255)
    out = engine.inpaint(marked, mask=mask, **FAST).image
    assert not (out[mask] == (255, 0, 255)).all(-1).any()


def test_the_hole_is_filled_from_its_surroundings(engine, scene, hole):
    """What was in the hole must leave no trace."""
    marked = scene.copy()
    marked[hole] = 255 - marked[hole]
    a = engine.inpaint(scene, mask=hole, **FAST).image
    b = engine.inpaint(marked, mask=hole, **FAST).image
    assert np.array_equal(a[hole], b[hole])


def test_callbacks_see_every_pass_and_can_stop(engine, scene, hole):
    seen: list[int] = []
    steps: list[tuple[int, int]] = []
    result = engine.inpaint(scene, mask=hole, passes=2, candidates=2, par=0.0, on_pass=lambda r: seen.append(r.index),
                            on_step=lambda done, total: steps.append((done, total)))  # fmt: skip
    assert seen == [p.index for p in result.passes]
    assert [s[0] for s in steps] == list(range(len(steps)))  # once before the first
    assert all(total == 4 for _, total in steps)
    with pytest.raises(restore.Cancelled, match="stopped"):
        engine.inpaint(scene, mask=hole, on_step=lambda done, total: False)


def test_wrong_arguments(engine, scene, hole):
    with pytest.raises(restore.InputError, match="prompt, find, mask, box or point"):
        engine.inpaint(scene)
    with pytest.raises(restore.InputError, match="'watermark'"):
        engine.inpaint(scene, find="watermarks")
    with pytest.raises(restore.InputError, match="got both"):
        engine.segment(scene, prompt="the cat", point=(3, 3))
    with pytest.raises(restore.InputError, match="uint8"):
        engine.inpaint(scene.astype(np.float32), mask=hole)
    with pytest.raises(restore.ObjectNotFoundError):
        engine.inpaint(scene, prompt="remove the giraffe")
    with pytest.raises(restore.InputError, match="got neither"):
        engine.segment(scene)
    with pytest.raises(restore.ModelUnavailableError, match="nothing-here"):
        restore.Engine(model="nothing-here")


def test_assess_ranks_damage_below_the_photo(engine, scene, hole):
    damaged = scene.copy()
    damaged[hole] = np.random.default_rng(1).integers(0, 255, (int(hole.sum()), 3), dtype=np.uint8)
    clean, bad = engine.assess(scene, mask=hole), engine.assess(damaged, mask=hole)
    assert bad.par_hole > clean.par_hole
    assert bad.quality < clean.quality
    assert engine.assess(scene).par_hole is None
    assert bad.artifacts.shape == scene.shape[:2]


def test_refine_leaves_a_clean_picture_alone(engine):
    flat = np.full((96, 96, 3), 128, np.uint8)
    result = engine.refine(flat)
    assert result.stop == "threshold" or result.passes[-1].par_hole <= result.passes[0].par_hole
    assert np.array_equal(result.image[~result.mask], flat[~result.mask])
