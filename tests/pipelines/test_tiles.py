"""Windows: what they cover, that they leave no seams, that window-wise and whole restorations agree."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from restore.pipelines.diffusion.denoiser import GaussianPrior
from restore.pipelines.restoration import plans
from restore.pipelines.restoration.degradations import Blur, Compose, Downsample, Grey, Identity, Linear, Mask
from restore.pipelines.restoration.guidance import Measurement, Overview
from restore.pipelines.restoration.jpeg import Jpeg
from restore.pipelines.restoration.kernels import gaussian_kernel
from restore.pipelines.restoration.sampling import Sampling
from restore.pipelines.restoration.tiles import Windowed, boxes, reduced

RNG = np.random.default_rng(0)


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Like a photo: power f^-2, a few hard edges; (1, 3, H, W) in [-1, 1]."""
    rng = np.random.default_rng(seed)
    f = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    spectrum = np.fft.rfft2(
        rng.normal(size=(1, height, width)) + 0.2 * rng.normal(size=(3, height, width))
    ) / np.maximum(f, 1 / max(height, width))
    image = np.fft.irfft2(spectrum, s=(height, width))
    image = 0.3 * image / image.std()
    y, x = np.mgrid[:height, :width]
    image[:, y > 0.6 * height + 0.2 * x] += 0.4
    image[:, (x - width / 3) ** 2 + (y - height / 3) ** 2 < (height / 6) ** 2] -= 0.5
    return torch.from_numpy(image.clip(-1, 1)).float()[None]


class Median:
    """A denoiser that looks at its surroundings, and so differs at a window's edges."""

    def denoise(self, noisy: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        image = noisy[0].permute(1, 2, 0).numpy()
        return torch.from_numpy(cv2.bilateralFilter(image, 9, 3 * float(sigma[0]), 2.5)).permute(2, 0, 1)[None]


def seam_ratio(image: torch.Tensor, edges: list[int]) -> float:
    """Energy of steps across the windows' edges over that of all other steps along x."""
    steps = image.diff(dim=-1).square().mean((0, 1, 2))
    at = torch.zeros(len(steps), dtype=torch.bool)
    at[[e - 1 for e in edges]] = True
    return float(steps[at].mean() / steps[~at].mean())


def inner_edges(width: int, side: int, overlap: int, unit: int) -> list[int]:
    """Columns where a window of a row ends or begins."""
    ends = {e for box in boxes(side, width, side, overlap, unit) for e in (box[2].start, box[2].stop)}
    return sorted(ends - {0, width})


@pytest.mark.parametrize("unit", [1, 3, 8, 16])
def test_windows_cover_everything_and_overlap(unit):
    for length in (48, 49 + unit, 99, 1000):
        spans = [box[2] for box in boxes(48, length, 48, 16, unit)]
        assert spans[0].start == 0
        assert spans[-1].stop == length
        assert all(s.start % unit == 0 and s.stop - s.start <= 48 + unit for s in spans)
        assert all(a.stop - b.start >= 16 for a, b in itertools.pairwise(spans))


def test_windows_match_one_pass():
    x, sigma = torch.randn(1, 3, 100, 130, generator=torch.Generator().manual_seed(0)), torch.tensor([0.3])
    whole = GaussianPrior(0.1, 0.5).denoise(x, sigma)
    assert torch.allclose(Windowed(GaussianPrior(0.1, 0.5), 48, 16).denoise(x, sigma), whole, atol=1e-5)


class Shifting:
    """A denoiser that answers every window with another brightness: the worst case for seams."""

    def __init__(self) -> None:
        self.calls = 0

    def denoise(self, noisy: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return torch.full_like(noisy, float(self.calls % 2))


def test_disagreeing_windows_meet_in_a_ramp_not_a_step():
    out = Windowed(Shifting(), 64, 32).denoise(torch.zeros(1, 3, 64, 96), torch.tensor([0.1]))
    assert float(out.diff(dim=-1).abs().max()) < 0.1


@pytest.mark.parametrize("name", ["super-resolution", "deblur", "inpaint", "colorize", "dejpeg"])
def test_a_restoration_in_windows_has_no_seams_and_is_that_of_the_whole(name):
    truth = picture(96, 240)
    plan = plan_of(name, truth)

    def restored(window: int) -> torch.Tensor:
        return plans.run(Median(), plan, Sampling(steps=3), torch.Generator().manual_seed(0), window=window)

    whole, parts = restored(1000), restored(96)
    edges = inner_edges(240, 96, 64, plan.measurement.operator.unit)
    assert len(edges) >= 4
    assert seam_ratio(parts - whole + 0.02 * truth, edges) < 3  # what windows add has no steps at their edges
    assert 0.9 < seam_ratio(parts, edges) / seam_ratio(whole, edges) < 1.1
    if name not in ("inpaint", "colorize"):  # those see the whole photo reduced besides
        assert float((parts - whole).abs().mean()) < 2e-3


def plan_of(name: str, truth: torch.Tensor) -> plans.Plan:
    if name == "super-resolution":
        return plans.super_resolution(Downsample(4).forward(truth), 4)
    if name == "deblur":
        return plans.deblur(Blur(gaussian_kernel(1.5)).forward(truth), 1.5, 0.01)
    if name == "inpaint":
        return plans.inpaint(truth, (torch.from_numpy(RNG.random(truth.shape[-2:])) < 0.5)[None, None].float())
    if name == "colorize":
        return plans.colorize(Grey().forward(truth))
    return plans.dejpeg(Jpeg.of_quality(20).forward(truth), Jpeg.of_quality(20))


OPERATORS: dict[str, Linear | Jpeg] = {
    "identity": Identity(),
    "mask": Mask((torch.from_numpy(np.random.default_rng(1).random((96, 128))) < 0.5)[None, None].float()),
    "grey": Grey(),
    "bicubic": Downsample(4),
    "blur": Blur(gaussian_kernel(1.5)),
    "jpeg": Jpeg.of_quality(30),
    "blurred, then small": Compose([Blur(gaussian_kernel(1.0)), Downsample(2)]),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_a_cut_measurement_is_what_the_cut_operator_sees(name):
    x, operator = picture(96, 128), OPERATORS[name]
    m = Measurement(operator, operator.forward(x))
    box = (..., slice(16, 80), slice(32, 112))
    part = m.cut(box)
    seen = part.operator.forward(x[box])
    assert seen.shape == part.y.shape
    inner = (..., slice(6, -6), slice(6, -6))  # nearer to the edge, a blur sees what is not there
    assert torch.allclose(seen[inner], part.y[inner], atol=1e-5)


@pytest.mark.parametrize("name", OPERATORS)
def test_a_reduced_measurement_is_nearly_what_the_reduced_photo_shows(name):
    x, operator = picture(96, 128), OPERATORS[name]
    m = Measurement(operator, operator.forward(x)).reduced(0.5)
    seen = m.operator.forward(reduced(x, 0.5))
    assert seen.shape == m.y.shape
    assert float((seen - m.y).square().mean().sqrt()) < 0.12


class Keep:
    def __call__(self, x: torch.Tensor, clean: torch.Tensor, sigma: float) -> torch.Tensor:
        return clean


def test_the_overview_sets_low_frequencies_and_leaves_the_others():
    truth = picture(96, 128)
    drifted = truth + torch.linspace(-0.3, 0.3, 128)
    guided = Overview(Keep(), reduced(truth, 0.25), 10.0)(drifted, drifted, 5.0)
    assert float((reduced(guided, 0.25) - reduced(truth, 0.25)).abs().mean()) < 0.02
    high = drifted - cv2_smooth(drifted), guided - cv2_smooth(guided)
    assert float((high[0] - high[1]).abs().mean()) < 0.02
    assert torch.allclose(Overview(Keep(), reduced(truth, 0.25), 1.0)(drifted, drifted, 0.001), drifted, atol=1e-3)


def cv2_smooth(x: torch.Tensor) -> torch.Tensor:
    image: NDArray[np.float32] = x[0].permute(1, 2, 0).numpy()
    return torch.from_numpy(cv2.GaussianBlur(image, (0, 0), 6)).permute(2, 0, 1)[None]


class Reddish:
    """Knows one thing, and only at a small size: that everything is red."""

    def denoise(self, noisy: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        if min(noisy.shape[-2:]) > 16:
            return noisy
        return torch.tensor([0.5, -0.5, -0.5])[None, :, None, None].expand_as(noisy)


@pytest.mark.parametrize("shape", [(64, 150), (200, 9)])
def test_colours_come_from_a_sketch_of_the_whole_photo(shape):
    y = torch.zeros(1, 1, *shape)
    plan = plans.colorize(y)
    result = plans.run(Reddish(), plan, Sampling(), torch.Generator(), window=96)
    assert result.shape == (1, 3, *shape)
    assert float(result[:, 0].mean()) > float(result[:, 1].mean()) + 0.3
    assert float((Grey().forward(result) - y).abs().max()) < 0.01


def test_a_long_photo_is_not_reduced_below_what_the_network_needs():
    seen: list[int] = []

    class Small:
        def denoise(self, noisy: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            seen.append(min(noisy.shape[-2:]))
            return noisy

    plan = plans.inpaint(torch.zeros(1, 3, 16, 400), torch.zeros(1, 1, 16, 400))
    plans.run(Small(), plan, Sampling(steps=1), torch.Generator(), window=96)
    assert min(seen) == 8
