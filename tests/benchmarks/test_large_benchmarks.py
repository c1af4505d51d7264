"""What the benchmarks of large photographs and of peers measure with."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from benchmarks.lama import lama
from benchmarks.large import egg, noise, sharpness, spot_noise
from benchmarks.peers import table


def test_noise_is_estimated_and_sharpness_falls_with_blur():
    rng = np.random.default_rng(0)
    image = np.repeat((128 + rng.normal(0, 8, (128, 128, 1))).clip(0, 255), 3, 2).astype(np.uint8)
    everywhere = np.ones((128, 128), bool)
    assert noise(image, everywhere) == pytest.approx(8, rel=0.1)
    soft = cv2.GaussianBlur(image, (0, 0), 1.5)
    assert sharpness(soft, everywhere) < 0.3 * sharpness(image, everywhere)


def test_spot_noise_has_the_texture_s_spectrum_at_any_size():
    rng = np.random.default_rng(0)
    stripes = np.tile(127 + 60 * np.sin(np.arange(64) * 2 * np.pi / 8), (64, 1)).astype(np.uint8)
    made = spot_noise(stripes, (96, 160), rng)
    power = np.abs(np.fft.rfft2(made)) ** 2
    strongest = np.unravel_index(power.argmax(), power.shape)
    assert abs(strongest[1] - 160 / 8) <= 2  # eight pixels a stripe, upright
    assert min(strongest[0], 96 - strongest[0]) <= 2
    assert 0.5 < made.std() < 2


def test_the_hole_has_the_area_asked_for():
    assert egg((600, 800), 9600).sum() == pytest.approx(9600, rel=0.05)


@torch.inference_mode()
def test_lama_keeps_the_size_and_sees_all_of_the_photo():
    torch.manual_seed(0)
    net = lama(blocks=1, width=8).double()
    x = torch.rand(1, 4, 32, 48, dtype=torch.float64)
    out = net(x)
    assert out.shape == (1, 3, 32, 48)
    x[..., 0, 0] += 100
    assert (net(x) - out)[..., -1, -1].abs().max() > 0  # the far corner: through the spectrum


def test_ratios_pair_the_photos():
    rows = []
    for photo, own, peer in (("a", 2.0, 1.0), ("b", 8.0, 2.0)):
        for name, cpu in (("restore", own), ("peer", peer)):
            row = {"photo": photo, "peer": name, "cpu": cpu, "wall": cpu, "distance": 1.0}
            rows.append(row | {"process_cpu": float("nan"), "process_wall": float("nan")})
    line = next(line for line in table(rows).splitlines() if line.startswith("| peer |") and "÷" not in line)
    assert "3.00 (2.00–4.00)" in line
