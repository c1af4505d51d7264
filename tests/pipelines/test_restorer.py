"""The restorer: what it is told, looks from all sides, windows, and that it beats sampling on what it knows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from restore import enhance
from restore.pipelines.hub.prior import load_prior
from restore.pipelines.networks import restorer
from restore.pipelines.networks.restorer import RestorerNet, load_restorer
from restore.pipelines.restoration import plans
from restore.pipelines.restoration.degradations import Blur, Downsample
from restore.pipelines.restoration.direct import restored
from restore.pipelines.restoration.jpeg import Jpeg
from restore.pipelines.restoration.kernels import gaussian_kernel
from restore.pipelines.restoration.noise import blotch_level, is_white, noise_level
from restore.pipelines.restoration.sampling import Sampling
from restore.training.data import damages
from restore.training.recipes.restorer import DAMAGES
from restore.weights.store import load_weights


@pytest.fixture(scope="module")
def net():
    return load_restorer()


@pytest.fixture
def clean(scene):
    return torch.from_numpy(scene[32:128, 48:144].copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


def psnr(a, b):
    return float(-10 * torch.log10((a.clamp(-1, 1) - b).square().mean() / 4))


@torch.inference_mode()
def test_with_the_priors_weights_alone_it_is_the_prior(clean):
    net, prior = RestorerNet(), load_prior("builtin", torch.device("cpu"))
    net.load_state_dict(load_weights("prior"), strict=False)
    sigma = torch.tensor([0.2])
    told = torch.rand(1, restorer.TOLD, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(net.restore(clean, sigma, told), prior.denoise(clean, sigma), atol=1e-5)


@torch.inference_mode()
def test_eight_looks_turn_with_the_photo(net, clean):
    y, cause = clean[..., :64, :80], restorer.noise(0.2)
    whole = restored(net, y, cause, looks=8)
    assert torch.allclose(restored(net, y.flip(-1), cause, looks=8), whole.flip(-1), atol=1e-5)
    assert torch.allclose(restored(net, y.rot90(1, (-2, -1)), cause, looks=8), whole.rot90(1, (-2, -1)), atol=1e-5)
    assert (restored(net, y, cause) - whole).abs().max() > 1e-3  # one look does not


@torch.inference_mode()
def test_windows_give_what_the_whole_gives(net, scene):
    y = torch.from_numpy(scene.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    noise = torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    whole = restored(net, y + 0.1 * noise, restorer.noise(0.1), window=4096)
    apart = restored(net, y + 0.1 * noise, restorer.noise(0.1), window=160)
    assert (whole - apart).abs().mean() < 2e-3


def measured(name, clean):
    """A damage, its plan, and the picture before restoration at the size of the result."""
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(3))
    if name == "denoise":
        y = damages.rounded(clean + 25 / 127.5 * noise)
        return plans.denoise(y, 25 / 127.5), y
    if name == "super-resolution":
        plan = plans.super_resolution(damages.rounded(Downsample(2).forward(clean)), 2)
        return plan, plan.start
    if name == "deblur":
        y = damages.rounded(Blur(gaussian_kernel(1.5)).forward(clean) + 2 / 127.5 * noise)
        return plans.deblur(y, 1.5, 2 / 127.5), y
    jpeg = Jpeg.of_quality(15)
    y = damages.rounded(jpeg.forward(clean))
    return plans.dejpeg(y, jpeg), y


@pytest.mark.parametrize("name", ["denoise", "super-resolution", "deblur", "dejpeg"])
@torch.inference_mode()
def test_one_look_is_nearer_than_the_input_and_than_sampling(net, clean, name):
    plan, before = measured(name, clean)
    sampled = plans.run(
        load_prior("builtin", torch.device("cpu")), plan, Sampling("half-quadratic"), torch.Generator().manual_seed(0)
    )
    looked = plans.look(net, plan, 1)
    assert psnr(looked, clean) > psnr(before, clean) + 0.8
    assert psnr(looked, clean) > psnr(sampled, clean)
    m = plan.measurement
    if plan.guided:  # and it explains the input within its rounding and noise
        assert m.error(looked) < 2 * max(1 / 127.5, float(m.noise_var) ** 0.5)


@pytest.mark.parametrize("name", DAMAGES)
def test_damages_of_the_training_keep_the_size_and_hurt(clean, name):
    rng = np.random.default_rng(0)
    y, cause = DAMAGES[name][0](clean, rng)
    assert y.shape == clean.shape
    assert 15 < psnr(y, clean) < 50
    assert len(cause.told) == restorer.TOLD
    again, same = DAMAGES[name][0](clean, np.random.default_rng(0))
    assert torch.equal(y, again)
    assert cause == same


def white(y):
    return is_white(y, noise_level(y), blotch_level(y))


def test_white_noise_is_told_from_a_cameras(scene):
    x = torch.from_numpy(scene.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    assert white(damages.rounded(x + 15 / 127.5 * noise))
    smooth = Blur(gaussian_kernel(0.8)).forward(noise)
    assert not white(damages.rounded(x + 15 / 127.5 * smooth / smooth.std()))
    common = noise.mean(1, keepdim=True).expand_as(x) * 3**0.5
    assert not white(damages.rounded(x + 15 / 127.5 * common))
    assert plans.denoise(damages.rounded(x + 15 / 127.5 * noise)).cause.level == pytest.approx(15 / 127.5, rel=0.1)


def test_a_plan_moves_with_all_that_was_measured(clean):
    """A map of variances, as of clipped lights, goes where the picture goes; "meta" stands for any other device."""
    y = clean.clone()
    y[..., 40:44, 40:44] = 1
    measurement = plans.deblur(y, 1.5, 1 / 127.5).measurement
    assert isinstance(measurement.noise_var, torch.Tensor)
    moved = measurement.to(torch.device("meta"))
    assert (moved.y.device.type, moved.noise_var.device.type) == ("meta", "meta")


def test_a_picture_without_noise_comes_back_as_it_is(tmp_path):
    image = np.full((48, 56, 3), (90, 120, 40), np.uint8)
    result = enhance(image, task="denoise")
    assert result.nothing == "no noise is found in it"
    assert np.array_equal(result.image, image)
    assert result.summary()["nothing"] == result.nothing
