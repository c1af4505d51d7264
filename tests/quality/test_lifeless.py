"""The judge against fills without any life: one flat colour in a photo that has none there."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import make_scene

from restore.features.lite0 import trained_lite0
from restore.quality.judges.judge import Judge
from restore.quality.judges.lifeless import lifeless
from restore.weights.store import load_weights

HOLE = np.zeros((160, 200), bool)
HOLE[40:110, 60:140] = True
PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "eval" / "fill"


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge(load_weights("judge"), trained_lite0(), torch.device("cpu"))


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (128, 128, 128), None])
@pytest.mark.parametrize("share", [1.0, 0.4])
def test_flat_pixels_are_never_judged_good_where_the_surroundings_are_not(judge, colour, share):
    image = make_scene(160, 200)
    flat = HOLE.copy()
    flat[:, round(60 + 80 * share) :] = False
    good = judge(image, HOLE)
    image[flat] = image[~HOLE].mean(0) if colour is None else colour
    judged = judge(image, HOLE)
    assert judged.artifacts[flat].mean() > 0.9
    assert judged.quality < (10 if share == 1 else good.quality)
    assert judged.cost > good.cost


def test_a_flat_fill_of_a_flat_picture_is_its_continuation():
    white = np.full((160, 200, 3), 250, np.uint8)
    assert not lifeless(white, HOLE).any()
    white[HOLE] = 0
    assert lifeless(white, HOLE)[HOLE].mean() > 0.9


def test_nothing_is_lifeless_without_a_hole_or_without_surroundings():
    black = np.zeros((160, 200, 3), np.uint8)
    assert not lifeless(black, np.zeros_like(HOLE)).any()
    assert not lifeless(black, np.ones_like(HOLE)).any()


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs ../shared/data")
def test_what_cameras_saw_is_not_lifeless_and_a_black_hole_is():
    for path in sorted(PHOTOS.glob("*.mask.png"))[::3]:
        image, hole = cv2.imread(str(path).replace(".mask.png", ".jpg")), cv2.imread(str(path), 0) > 127
        assert not lifeless(image, hole).any(), path.name
        image[hole] = 0
        assert lifeless(image, hole)[hole].mean() > 0.9, path.name
