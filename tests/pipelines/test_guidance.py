"""Samplers against a Gaussian prior, whose denoiser and posterior are known exactly."""

from __future__ import annotations

import pytest
import torch

from restore.errors import InputError
from restore.pipelines.diffusion.denoiser import GaussianPrior
from restore.pipelines.diffusion.schedules import alpha_bar_of, ddpm, geometric, linear_alpha_bars, sigma_of, warm
from restore.pipelines.restoration.degradations import Blur, Downsample, Grey, Mask
from restore.pipelines.restoration.guidance import GradientGuidance, Measurement, sample
from restore.pipelines.restoration.half_quadratic import HalfQuadratic
from restore.pipelines.restoration.kernels import gaussian_kernel
from restore.pipelines.restoration.terms import QualityTerms, exposure, total_variation

DEVIATION, NOISE = 0.5, 0.1
COUNT = 400
SHAPE = (1, 3, 8, 8)
LEVELS = geometric(60, 4, 0.03)
KNOWN = (torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(5)) > 0.5).float()
OPERATORS = {
    "super-resolution": Downsample(4, "area"),
    "bicubic": Downsample(2),
    "blur": Blur(gaussian_kernel(1.0)),
    "mask": Mask(KNOWN),
    "grey": Grey(),
}


def problem(name: str) -> tuple[Measurement, torch.Tensor, torch.Tensor, torch.Tensor]:
    """(measurement, prior mean, posterior mean (pixels,), posterior covariance), by dense linear algebra."""
    generator = torch.Generator().manual_seed(7)
    operator = OPERATORS[name]
    mean = 0.3 * torch.randn(SHAPE, generator=generator)
    y = operator.forward(mean + DEVIATION * torch.randn(SHAPE, generator=generator))
    y = y + NOISE * torch.randn(y.shape, generator=generator)
    matrix = dense(name)
    covariance = torch.linalg.inv(torch.eye(mean.numel()).double() / DEVIATION**2 + matrix.T @ matrix / NOISE**2)
    pull = covariance @ matrix.T @ (y.flatten().double() - matrix @ mean.flatten().double()) / NOISE**2
    return Measurement(operator, y, NOISE**2), mean, mean.flatten().double() + pull, covariance


def draw(correct, mean: torch.Tensor, sigmas: list[float], seed: int = 0) -> torch.Tensor:
    """COUNT samples (COUNT, pixels), started from pure noise."""
    generator = torch.Generator().manual_seed(seed)
    x = mean + sigmas[0] * torch.randn(COUNT, *SHAPE[1:], generator=generator)
    return sample(GaussianPrior(mean, DEVIATION), correct, x, sigmas, generator).flatten(1).double()


def errors(
    name: str, samples: torch.Tensor, mean: torch.Tensor, covariance: torch.Tensor
) -> tuple[float, float, float]:
    """(rms error of the mean in posterior deviations, variance over true variance, the same of what is measured)."""
    variance = covariance.diagonal()
    bias = ((samples.mean(0) - mean) ** 2 / variance).mean().sqrt()
    matrix = dense(name)
    measured = (matrix @ covariance @ matrix.T).diagonal()
    seen = (samples @ matrix.T).var(0)
    return float(bias), float(samples.var(0).sum() / variance.sum()), float(seen.sum() / measured.sum())


def dense(name: str) -> torch.Tensor:
    basis = torch.eye(3 * 64).reshape(-1, *SHAPE[1:])
    return OPERATORS[name].forward(basis).flatten(1).T.double()


def correction(kind: str, measurement: Measurement, strength: float = 1.0):
    if kind == "half-quadratic":
        return HalfQuadratic(measurement, strength, DEVIATION)
    return GradientGuidance(measurement, strength, deviation=DEVIATION)


EXACT = ("super-resolution", "mask", "grey")  # A Aᵀ = c I: a single gradient step is the whole data step


@pytest.mark.parametrize(
    ("name", "kind"),
    [(n, "half-quadratic") for n in OPERATORS] + [(n, "gdp") for n in EXACT],
)
def test_guided_samples_have_the_posteriors_mean_and_variance(name, kind):
    measurement, prior, mean, covariance = problem(name)
    bias, ratio, measured = errors(name, draw(correction(kind, measurement), prior, LEVELS), mean, covariance)
    assert bias < 0.12
    assert 0.88 < ratio < 1.05
    assert 0.75 < measured < 1.1


@pytest.mark.parametrize("strength", [0.5, 2.0])
@pytest.mark.parametrize("name", ["super-resolution", "mask"])
def test_a_wrong_scale_misses_the_posterior(name, strength):
    """The tolerances above tell a scale that is off by two."""
    measurement, prior, mean, covariance = problem(name)
    samples = draw(correction("gdp", measurement, strength), prior, LEVELS)
    assert not 0.75 < errors(name, samples, mean, covariance)[2] < 1.1


@pytest.mark.parametrize("kind", ["gdp", "half-quadratic"])
def test_the_scale_does_not_depend_on_the_number_of_steps(kind):
    measurement, prior, mean, _ = problem("super-resolution")
    matrix = dense("super-resolution")
    pull = (matrix @ (mean - prior.flatten())).square().mean().sqrt()
    for steps in (15, 120):
        found = draw(correction(kind, measurement), prior, geometric(steps, 4, 0.03)).mean(0)
        assert float((matrix @ (found - mean)).square().mean().sqrt() / pull) < 0.06


def test_more_gradient_steps_end_in_the_exact_data_step():
    measurement, prior, *_ = problem("blur")
    exact = HalfQuadratic(measurement, deviation=DEVIATION)(prior, prior, 1.0)
    away = [
        float((GradientGuidance(measurement, steps=n, deviation=DEVIATION)(prior, prior, 1.0) - exact).norm())
        for n in (1, 4, 16, 200)
    ]
    assert away == sorted(away, reverse=True)
    assert away[-1] < 1e-3 * away[0]


def test_the_scale_does_not_depend_on_the_image_size():
    """A tiled photo gets the tiled correction."""
    generator = torch.Generator().manual_seed(0)
    clean, truth = torch.randn(2, 1, 3, 8, 8, generator=generator).unbind(0)
    operator = Downsample(4, "area")
    small = GradientGuidance(Measurement(operator, operator.forward(truth), 0.01))(clean, clean, 0.3)
    wide, wide_truth = clean.repeat(1, 1, 4, 4), truth.repeat(1, 1, 4, 4)
    large = GradientGuidance(Measurement(operator, operator.forward(wide_truth), 0.01))(wide, wide, 0.3)
    assert torch.allclose(large, small.repeat(1, 1, 4, 4), atol=1e-6)


def test_guidance_at_the_noisy_picture_is_the_worse_variant():
    measurement, prior, mean, covariance = problem("super-resolution")
    sigmas = LEVELS
    good = errors("super-resolution", draw(correction("gdp", measurement), prior, sigmas), mean, covariance)
    noisy = GradientGuidance(measurement, at_noisy=True, deviation=DEVIATION)
    bad = errors("super-resolution", draw(noisy, prior, sigmas), mean, covariance)
    assert bad[0] > good[0]
    unguided = errors("super-resolution", draw(None, prior, sigmas), mean, covariance)
    assert bad[0] < unguided[0]


def test_a_warm_start_reaches_the_same_posterior():
    """Started from the prior mean given y, noised to a middle level that covers what it does not know."""
    measurement, prior, mean, covariance = problem("super-resolution")
    generator = torch.Generator().manual_seed(1)
    sigmas = warm(LEVELS, 2.0)
    rough = measurement.operator.data_step(prior, measurement.y, DEVIATION**2, NOISE**2)
    x = rough + sigmas[0] * torch.randn(COUNT, *SHAPE[1:], generator=generator)
    found = sample(GaussianPrior(prior, DEVIATION), correction("gdp", measurement), x, sigmas, generator)
    bias, ratio, measured = errors("super-resolution", found.flatten(1).double(), mean, covariance)
    assert bias < 0.12
    assert 0.88 < ratio < 1.05
    assert 0.75 < measured < 1.1


def test_without_noise_the_answer_is_the_posterior_mean():
    """DPIR on a Gaussian prior converges to the mean, for a flat prior around it."""
    measurement, prior, mean, _ = problem("mask")
    x = sample(
        GaussianPrior(prior, DEVIATION),
        HalfQuadratic(measurement, deviation=DEVIATION),
        prior.clone(),
        geometric(30, 10, 0.01),
        torch.Generator(),
        temperature=0.0,
    )
    hidden = (KNOWN.expand(SHAPE) == 0).flatten()
    assert torch.allclose(x.flatten().double()[hidden], mean[hidden], atol=1e-4)


def test_callbacks_see_every_step():
    _measurement, prior, *_ = problem("grey")
    seen: list[int] = []
    sample(GaussianPrior(prior, 1.0), None, prior, geometric(5, 1, 0.1), torch.Generator(), on_step=seen.append)
    assert seen == [0, 1, 2, 3, 4]


def test_levels_convert_both_ways_and_respace():
    assert sigma_of(alpha_bar_of(0.7)) == pytest.approx(0.7)
    assert alpha_bar_of(1.0) == pytest.approx(0.5)
    full = ddpm()
    assert len(full) == 1001
    assert full[-2] == pytest.approx(0.01, rel=1e-3)  # β₁ = 1e-4
    assert full[0] == pytest.approx(sigma_of(float(linear_alpha_bars()[-1])))
    for steps in (25, 50, 100, 250):
        levels = ddpm(steps)
        assert len(levels) == steps + 1
        assert set(levels) <= set(full)
        assert (levels[0], levels[-2]) == (full[0], full[-2])
        assert levels == sorted(levels, reverse=True)
    assert warm([4.0, 2.0, 1.0, 0.0], 1.5) == [1.5, 1.0, 0.0]
    assert warm([4.0, 2.0, 0.0], 9.0) == [4.0, 2.0, 0.0]
    for wrong in (lambda: ddpm(0), lambda: geometric(3, 0.1, 0.2)):
        with pytest.raises(InputError, match="expected"):
            wrong()


def test_quality_terms_pull_their_way():
    flat = torch.full((1, 3, 16, 16), -0.8)
    terms = QualityTerms(0.5, exposure=1.0)
    measurement = Measurement(Mask(torch.zeros(1, 1, 16, 16)), torch.zeros_like(flat))
    brighter = HalfQuadratic(measurement, quality=terms)(flat, flat, 0.5)
    assert float(brighter.mean()) > -0.8
    assert float(exposure((brighter + 1) / 2, 0.5)) < float(exposure((flat + 1) / 2, 0.5))
    noisy = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    smoother = HalfQuadratic(measurement, quality=QualityTerms(0.5, variation=0.5))(noisy, noisy, 0.5)
    assert float(total_variation(smoother)) < float(total_variation(noisy))
    assert float(QualityTerms(0.5)(noisy)) == 0
    assert float(QualityTerms(0.5, colour=1.0)(noisy.mean(1, keepdim=True).expand(1, 3, 16, 16))) == pytest.approx(
        0, abs=1e-6
    )
    assert float(QualityTerms(0.5, spatial=1.0, reference=noisy)(noisy)) == 0
