"""Blurs found from the photo: right kind and size, sharp ones told, refusals where nothing can be told."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from restore import InputError, enhance
from restore.pipelines.hub.prior import load_prior
from restore.pipelines.restoration import plans
from restore.pipelines.restoration.blind import find_blur
from restore.pipelines.restoration.degradations import Blur
from restore.pipelines.restoration.kernels import disk_kernel, gaussian_kernel, motion_kernel
from restore.pipelines.restoration.sampling import Sampling

NOISE = 1 / 127.5


def natural(side=224, seed=0):
    """(1, 3, side, side): random phases under a photo's power, f^-2.2 and a little soft, in [-1, 1]."""
    rng = np.random.default_rng(seed)
    f = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)).clip(1 / side)
    soft = np.exp(-0.5 * (2 * np.pi * 0.5 * f) ** 2)
    spectrum = np.fft.rfft2(rng.standard_normal((side, side))) * f**-1.1 * soft
    image = np.fft.irfft2(spectrum, s=(side, side))
    return torch.from_numpy((image / np.abs(image).max())[None, None]).float().expand(1, 3, side, side)


def blurred(kernel, noise=NOISE):
    y = natural() if kernel is None else Blur(kernel).forward(natural())
    return y + noise * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("kernel", "kind", "numbers", "slack"),
    [
        (gaussian_kernel(1.2), "gaussian", (1.2,), 0.15),
        (disk_kernel(3.0), "disk", (3.0,), 0.2),
        (disk_kernel(2.0), "disk", (2.0,), 0.2),
        (motion_kernel(8, 35), "motion", (8, 35), 1.5),
        (motion_kernel(14, 0), "motion", (14, 0), 1.5),
    ],
)
def test_kind_and_size_are_found(kernel, kind, numbers, slack):
    found = find_blur(blurred(kernel), NOISE**2 / 3)
    assert found.kind == kind
    assert found.numbers[0] == pytest.approx(numbers[0], abs=slack)
    if kind == "motion":
        turn = abs(found.numbers[1] - numbers[1])
        assert min(turn, 180 - turn) <= 5
    assert found.confidence > 0.3


def test_a_sharp_photo_is_told_from_a_soft_one():
    found = find_blur(blurred(None), NOISE**2 / 3)
    assert found.kind == "none" or found.numbers[0] <= 0.5
    assert find_blur(natural(96), 1e-5) is None


def pixels(x):
    return ((x[0].permute(1, 2, 0).numpy() * 0.5 + 0.5) * 255).clip(0, 255).round().astype(np.uint8)


def test_a_motion_is_undone_without_being_told():
    sharp = natural(144)
    soft = Blur(motion_kernel(9, 20)).forward(sharp)
    soft = pixels(soft + NOISE * torch.randn(soft.shape, generator=torch.Generator().manual_seed(0)))
    result = enhance(soft, task="deblur", passes=1)
    assert result.parameters["motion"] == pytest.approx(9, abs=1.5)
    before, after = (np.abs(np.asarray(i, float) - pixels(sharp)).mean() for i in (soft, result.image))
    assert after < 0.75 * before


@pytest.mark.parametrize("kernel", [disk_kernel(3.0), motion_kernel(9, 30), 2.0])
@torch.inference_mode()
def test_clipped_lights_do_not_ring(scene, kernel):
    sharp = torch.from_numpy(scene[:96, :96] * 0.6).permute(2, 0, 1)[None].float() / 127.5 - 1
    lights = torch.zeros(1, 1, 96, 96)
    for y, x in ((30, 40), (60, 80)):
        lights[..., y - 1 : y + 2, x - 1 : x + 2] = 12
    blur = Blur(kernel if isinstance(kernel, torch.Tensor) else gaussian_kernel(kernel))
    seen = ((blur.forward(sharp + lights).clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
    plan = plans.deblur(seen, kernel, 0.5 / 127.5)
    prior = load_prior("builtin", torch.device("cpu"))
    restored = plans.run(prior, plan, Sampling("half-quadratic"), torch.Generator().manual_seed(0)).clamp(-1, 1)
    around = torch.nn.functional.max_pool2d((lights > 0).float(), 15, 1, 7) == 0
    error = [float((x - sharp).square()[around.expand_as(x)].mean()) for x in (restored, seen)]
    assert error[0] < 0.6 * error[1]


def test_nothing_to_deblur_and_nothing_to_tell():
    sharp = pixels(blurred(None))
    result = enhance(sharp, task="deblur")
    assert result.nothing == "no blur is found in it"
    assert np.array_equal(result.image, sharp)
    with pytest.raises(InputError, match="tells its blur"):
        enhance(sharp[:100, :100], task="deblur")
