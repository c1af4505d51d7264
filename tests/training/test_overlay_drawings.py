"""Drawn overlays: what is labelled is what was changed, the same for the same seed, with and without fonts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import make_scene
from PIL import Image
from safetensors.torch import load_file

from restore.errors import InputError
from restore.grounding.overlay_net import CLASSES, OverlayNet
from restore.training.data import overlays
from restore.training.data.lettering import LETTERS, Fonts
from restore.training.data.overlays import drawings, overlaid, targets
from restore.training.loop import run
from restore.training.recipes.overlay import OverlayTask
from restore.training.tasks import load_recipe

SIZE = 96
SCENE = make_scene(SIZE, SIZE)
DRAW = drawings(Fonts([]), SIZE)


@pytest.mark.parametrize("name", CLASSES)
def test_the_same_seed_draws_the_same_and_labels_lie_in_the_cover(name):
    for seed in range(12):
        a, b = (DRAW[name](np.random.default_rng(seed)) for _ in range(2))
        assert np.array_equal(a.alpha, b.alpha)
        assert np.array_equal(a.colour, b.colour)
        picture, alpha, label, seen = a.over(SCENE.astype(np.float32) / 255)
        assert picture.shape == SCENE.shape
        untouched = alpha == 0
        assert np.allclose(picture[untouched], (SCENE / 255)[untouched], atol=1e-6)
        assert not seen[untouched].any()
        assert label.min() >= 0
        assert label.max() <= 1


def test_untouched_photos_have_no_labels(monkeypatch):
    nothing = dict.fromkeys(CLASSES, 0.0)
    _, label, weight = overlaid(SCENE, np.random.default_rng(0), DRAW, nothing)
    assert label.sum() == 0
    assert weight.min() == 1


def test_each_class_is_labelled_where_it_changes_the_photo(monkeypatch):
    monkeypatch.setattr(overlays, "degraded", lambda picture, cover, rng: (picture, cover))
    monkeypatch.setattr(overlays, "aged", lambda picture, rng: picture)
    for c, name in enumerate(CLASSES):
        shares = dict.fromkeys(CLASSES, 0.0) | {name: 1.0}
        for seed in range(8):
            picture, label, weight = overlaid(SCENE, np.random.default_rng(seed), DRAW, shares)
            changed = np.abs(picture - SCENE / 255).max(2) > 1e-3
            assert not (label[c] * weight[c])[~changed].any()
            assert not np.delete(label, c, 0).any()


def test_what_is_covered_without_a_change_is_left_out():
    cover = np.zeros((1, 4, 5), np.float32)
    cover[0, :, 4] = (0, 0.12, 0.5, 0.5)
    seen = np.zeros((1, 4, 5), bool)
    seen[0, 3] = True
    label, weight = targets(cover, seen)
    assert label[0, :, 4].tolist() == [0, 0, 1, 1]
    assert weight[0, :, 4].tolist() == [1, 0, 0, 1]


def test_letters_of_a_watermark_say_nothing_about_text():
    cover = np.zeros((1, 2, 5), np.float32)
    cover[0, 0, 1] = cover[0, 1, 1] = 0.4
    cover[0, 1, 0] = 0.9
    label, weight = targets(cover, np.ones((1, 2, 5), bool))
    assert weight[0, :, 0].tolist() == [0, 1]
    assert label[0, 1, 0] == 1


def test_without_fonts_pillows_own_writes_latin():
    path, script = Fonts([]).choose(np.random.default_rng(0))
    assert (path, script in LETTERS) == ("", True)


def test_a_run_exports_convolutions_and_thresholds(tmp_path: Path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(2):
        Image.fromarray(make_scene(120, 140, i)).save(photos / f"{i}.png")
    recipe = load_recipe("overlay") | {"size": 64, "batch": 2, "steps": 2, "report": 1, "fonts": []}
    record = run(OverlayTask, "overlay", recipe, [photos], tmp_path / "run")
    tensors = load_file(tmp_path / "run" / "weights.safetensors")
    net = OverlayNet.from_weights({k: v.float() for k, v in tensors.items()})
    assert ((net.thresholds > 0) & (net.thresholds < 1)).all()
    assert record["samples"] == 4
    again = recipe | {"norm": False}
    run(OverlayTask, "overlay", again, [photos], tmp_path / "again", warm=tmp_path / "run" / "weights.safetensors")
    with pytest.raises(InputError, match="this recipe's network"):
        run(OverlayTask, "overlay", recipe, [photos], tmp_path / "b", warm=tmp_path / "run" / "weights.safetensors")
