"""Classic measures against scikit-image and pictures whose answer is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from conftest import make_scene

from restore.errors import InputError
from restore.quality.metrics.no_reference import colour_cast, exposure, noise, sharpness


def test_sharpness_falls_with_blur() -> None:
    scene = make_scene()
    values = [sharpness(cv2.GaussianBlur(scene, (0, 0), s)) for s in (0.5, 1, 2, 4, 8)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 2 * values[4]
    assert sharpness(np.full((20, 20, 3), 90, np.uint8)) == 0


def test_sharpness_is_scikit_images() -> None:
    measure = pytest.importorskip("skimage.measure")
    for sigma in (0.5, 2):
        scene = cv2.GaussianBlur(make_scene(), (0, 0), sigma)
        theirs = 1 - measure.blur_effect(scene, channel_axis=2, reduce_func=max)
        assert sharpness(scene) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("sigma", [2.0, 6.0, 15.0])
def test_noise_finds_the_deviation_that_was_added(sigma: float) -> None:
    y, x = np.mgrid[:200, :240]
    grey = 90 + 60 * np.sin(x / 40) + 40 * y / 200
    grey = grey + 40 * (x > 120)  # an edge is not noise
    noisy = grey + np.random.default_rng(0).normal(0, sigma, grey.shape)
    image = np.repeat(noisy.clip(0, 255).round().astype(np.uint8)[..., None], 3, 2)
    assert noise(image) == pytest.approx(np.hypot(sigma, 12**-0.5), rel=0.03)


def test_exposure_counts_what_is_clipped() -> None:
    image = np.full((10, 10, 3), 100, np.uint8)
    image[:2], image[9:] = 0, 255
    found = exposure(image)
    assert (found.dark, found.bright) == (0.2, 0.1)
    assert found.mean == pytest.approx((70 * 100 + 10 * 255) / 100 / 255)


def test_colour_cast_is_zero_for_grey_and_the_distance_in_lab_otherwise() -> None:
    colour = pytest.importorskip("skimage.color")
    grey = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, 2)
    assert colour_cast(grey) < 0.05
    scene = make_scene()
    assert colour_cast(scene) == pytest.approx(np.hypot(*colour.rgb2lab(scene)[..., 1:].mean((0, 1))), abs=0.05)


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((2, 9, 3), np.uint8)])
def test_refusals(image: np.ndarray) -> None:
    with pytest.raises(InputError, match="expected"):
        noise(image)
