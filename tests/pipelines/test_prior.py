"""The prior: EDM's preconditioning, any size, and no memory of position."""

from __future__ import annotations

import pytest
import torch

from restore.pipelines.networks.prior import SIGMA_DATA, PriorConfig, PriorNet


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    net = PriorNet(PriorConfig((16, 24, 32), (1, 2, 1), (1, 2))).eval()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(torch.randn_like(p) * 0.05)  # no layer may be silent
    return net


def picture(height, width):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.inference_mode()
def test_clean_pixels_stay_at_the_lowest_noise(net):
    x = picture(32, 32)
    assert (net.denoise(x, torch.tensor([1e-4])) - x).abs().max() < 1e-3


@torch.inference_mode()
def test_a_silent_network_is_the_gaussian_denoiser():
    net = PriorNet(PriorConfig((16, 24, 32), (1, 2, 1), (1, 2)))
    torch.nn.init.zeros_(net.final.weight)
    torch.nn.init.zeros_(net.final.bias)
    x, sigma = picture(16, 16), 0.3
    shrunk = x * SIGMA_DATA**2 / (SIGMA_DATA**2 + sigma**2)  # the posterior mean under N(0, σ_data²)
    assert torch.allclose(net.denoise(x, torch.tensor([sigma])), shrunk, atol=1e-6)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (9, 64)])
@torch.inference_mode()
def test_any_size(net, size):
    x = picture(*size)
    assert net.denoise(x, torch.tensor([0.2])).shape == x.shape


@torch.inference_mode()
def test_a_shifted_picture_gives_a_shifted_estimate(net):
    x, sigma, step = picture(96, 96), torch.tensor([0.2]), net.multiple
    whole = net.denoise(x, sigma)
    part = net.denoise(x[..., step:, step:], sigma)
    inner = slice(40, -40)  # beyond the reach of the borders
    assert torch.allclose(whole[..., step:, step:][..., inner, inner], part[..., inner, inner], atol=1e-5)


@torch.inference_mode()
def test_every_picture_has_its_own_level_and_the_batch_changes_nothing(net):
    x = torch.cat([picture(32, 32), picture(32, 32)])
    sigma = torch.tensor([0.05, 0.8])
    both = net.denoise(x, sigma)
    for i in range(2):
        assert torch.allclose(both[i : i + 1], net.denoise(x[i : i + 1], sigma[i : i + 1]), atol=1e-6)
    assert not torch.allclose(both[0], both[1], atol=1e-2)
