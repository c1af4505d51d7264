"""What is laid over a photo: found where it was drawn, refused where there is none, and the same however looked at."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import make_scene
from PIL import Image
from torch import nn

from restore.cli import main
from restore.errors import ObjectNotFoundError
from restore.grounding import overlay_finder
from restore.grounding.meaning import OVERLAY_KINDS
from restore.grounding.overlay_net import CLASSES, TAP_CHANNELS, OverlayNet, folded, padded
from restore.images.windows import grow_strokes

FAST = {"passes": 1, "candidates": 1}
SCENE = make_scene(240, 320)


def captioned(where: tuple[int, int] = (40, 215)) -> tuple[np.ndarray, np.ndarray]:
    """A scene with a caption, and what of it the caption covers."""
    picture = SCENE.copy()
    cv2.putText(picture, "Summer 2019", where, cv2.FONT_HERSHEY_DUPLEX, 1.0, (255, 255, 255), 2, cv2.LINE_AA)
    return picture, np.any(picture != SCENE, axis=2)


def test_a_drawn_caption_is_found_and_removed(engine):
    picture, drawn = captioned()
    found = engine.segment(picture, find="text").mask
    assert (found & drawn).sum() > 0.7 * (found | drawn).sum()
    result = engine.inpaint(picture, find="text", **FAST)
    assert not drawn[~result.mask].any() or drawn[~result.mask].mean() < 0.01
    assert np.array_equal(result.image[~result.mask], picture[~result.mask])
    before, after = (np.abs(x.astype(float) - SCENE)[drawn].mean() for x in (picture, result.image))
    assert after < 0.25 * before
    assert result.presence is not None
    assert result.presence.right


def test_words_and_find_mean_the_same(engine):
    picture, _ = captioned()
    assert np.array_equal(
        engine.segment(picture, find="text").mask, engine.segment(picture, prompt="remove the text").mask
    )


def test_an_untouched_photo_is_refused_and_nothing_is_written(tmp_path):
    photo, out = tmp_path / "photo.png", tmp_path / "out.png"
    Image.fromarray(SCENE).save(photo)
    for kind in (*OVERLAY_KINDS, "all"):
        result = CliRunner().invoke(main, ["inpaint", str(photo), "--find", kind, "-o", str(out)])
        assert result.exit_code == 3, kind
        assert result.stderr.count("\n") == 1
        assert "in the photo, found none" in result.stderr
    assert not out.exists()
    words = CliRunner().invoke(main, ["inpaint", str(photo), "--prompt", "remove the text", "-o", str(out)])
    assert (words.exit_code, out.exists()) == (3, False)


def test_a_box_says_where_text_is_looked_for(engine):
    picture, _ = captioned()
    above = captioned((40, 60))[0]
    both = np.where(np.any(above != SCENE, axis=2)[..., None], above, picture)
    lower = engine.inpaint(both, find="text", box=(0, 150, 320, 90), **FAST).mask
    assert lower[150:].any()
    assert not lower[:120].any()
    with pytest.raises(ObjectNotFoundError, match="inside the given region"):
        engine.inpaint(both, find="text", box=(0, 90, 320, 40), **FAST)


def test_segment_shows_what_would_go(tmp_path):
    photo, out = tmp_path / "photo.png", tmp_path / "mask.png"
    picture, drawn = captioned()
    Image.fromarray(picture).save(photo)
    result = CliRunner().invoke(main, ["segment", str(photo), "--find", "text", "-o", str(out), "--json"])
    assert result.exit_code == 0, result.output
    mask = np.asarray(Image.open(out)) > 0
    assert json.loads(result.stdout)["pixels"] == mask.sum()
    assert (mask & drawn).sum() > 0.7 * drawn.sum()
    assert CliRunner().invoke(main, ["segment", str(photo)]).exit_code == 2


def test_the_order_of_kinds_and_calls_changes_nothing(engine):
    picture, _ = captioned()
    finder = engine._finder.finders.overlays
    several = finder.laid_over(picture, ("wires", "text"))
    again = finder.laid_over(picture, ("text", "wires"))
    assert len(several) == len(again)
    assert all(np.array_equal(a.mask, b.mask) and a.score == b.score for a, b in zip(several, again, strict=True))


def test_windows_change_next_to_nothing(engine, monkeypatch):
    picture, _ = captioned()
    finder = engine._finder.finders.overlays
    whole = finder.probabilities(picture, set(CLASSES))
    monkeypatch.setattr(overlay_finder, "WINDOW", 256)
    parts = finder.probabilities(picture, set(CLASSES))
    for name in CLASSES:
        a, b = whole[name] >= 1, parts[name] >= 1
        assert (a != b).mean() < 0.001
        assert (a & b).sum() >= 0.95 * (a | b).sum()


@pytest.mark.parametrize("length", [16, 256, 272, 1008, 4000])
def test_spans_keep_every_row_once(length, monkeypatch):
    monkeypatch.setattr(overlay_finder, "WINDOW", 256)
    spans = list(overlay_finder._spans(length))
    assert [row for _, keep in spans for row in range(keep.start, keep.stop)] == list(range(length))
    for looked, keep in spans:
        assert looked.start <= keep.start < keep.stop <= looked.stop <= length
        assert looked.stop - looked.start <= 256


def test_a_batch_changes_no_result():
    torch.manual_seed(0)
    net = OverlayNet().eval()
    image = torch.rand(3, 3, 32, 48)
    maps = [torch.rand(3, c, 32 // s, 48 // s) for c, s in zip(TAP_CHANNELS, (2, 4, 8, 16), strict=True)]
    with torch.no_grad():
        together = net(image, maps)
        alone = torch.cat([net(image[i : i + 1], [m[i : i + 1] for m in maps]) for i in range(3)])
    assert together.shape == (3, len(CLASSES), 32, 48)
    assert torch.allclose(together, alone, atol=1e-5)


def test_folding_changes_no_result():
    torch.manual_seed(0)
    net = OverlayNet(norm=True).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    image = padded(torch.rand(1, 3, 30, 41))
    assert image.shape == (1, 3, 32, 48)
    maps = [torch.rand(1, c, 32 // s, 48 // s) for c, s in zip(TAP_CHANNELS, (2, 4, 8, 16), strict=True)]
    with torch.no_grad():
        assert torch.allclose(net(image, maps), folded(net)(image, maps), atol=1e-4)


@pytest.mark.parametrize("halo", [1, 2, 3])
def test_strokes_grow_as_far_as_they_change_the_photo(halo):
    rng = np.random.default_rng(0)
    image = (120 + rng.normal(0, 3, (400, 800, 1)).repeat(3, 2)).clip(0, 255).astype(np.uint8)
    mask = np.zeros((400, 800), bool)
    mask[100:104, 100:700] = True
    wide = cv2.dilate(mask.astype(np.uint8), np.ones((2 * halo + 1,) * 2, np.uint8)) > 0
    image[wide] = 255
    grown = grow_strokes(mask, image)
    assert grown[wide].all()
    assert grown.sum() <= cv2.dilate(wide.astype(np.uint8), np.ones((3, 3), np.uint8)).sum()
