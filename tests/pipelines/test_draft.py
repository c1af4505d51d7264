"""Smooth fill, draft network and sampler."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from restore.pipelines.diffusion.sampler import SIGMA_START, sample
from restore.pipelines.diffusion.schedules import SIGMA_END, karras
from restore.pipelines.networks.draft import SIGMA_DATA, DraftConfig, DraftNet
from restore.pipelines.push_pull import push_pull

TINY = DraftConfig(outer=16, inner=32, blocks=(1, 2, 1), attention=1)


def tiny_net() -> DraftNet:
    torch.manual_seed(0)
    net = DraftNet(TINY).eval()
    for p in net.parameters():  # not the near-zero start, which would hide mistakes
        torch.nn.init.normal_(p, std=0.05)
    return net


def scene(n: int = 1, side: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    image = torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(n, 1, side, side)
    mask[..., 8:20, 10:24] = 1
    return image, mask


def test_push_pull_keeps_known_pixels_and_reproduces_a_constant():
    image, mask = scene()
    filled = push_pull(image, mask)
    assert torch.equal(filled * (1 - mask), image * (1 - mask))
    flat = push_pull(torch.full_like(image, 0.3), mask)
    assert torch.allclose(flat, torch.full_like(flat, 0.3), atol=1e-6)


def test_push_pull_never_leaves_the_range_of_known_colours():
    image, mask = scene()
    image = image * 0.2 + 0.5
    filled = push_pull(image, mask)
    assert 0.5 <= filled.min() <= filled.max() <= 0.7


def test_push_pull_of_nothing_known_is_grey():
    assert torch.equal(push_pull(torch.rand(1, 3, 16, 24), torch.ones(1, 1, 16, 24)), torch.full((1, 3, 16, 24), 0.5))


def test_the_draft_ignores_what_is_in_the_hole_and_keeps_the_rest():
    net = tiny_net()
    image, mask = scene()
    other = torch.where(mask > 0.5, 1 - image, image)
    with torch.no_grad():
        a, error = net.draft(image, mask)
        b, _ = net.draft(other, mask)
    assert torch.equal(a, b)
    assert torch.equal(a * (1 - mask), image * (1 - mask))
    assert (error > 0).all()


def test_batch_neighbours_never_change_a_draft():
    net = tiny_net()
    image, mask = scene(3)
    with torch.no_grad():
        together = net.draft(image, mask)[0]
        alone = torch.cat([net.draft(image[i : i + 1], mask[i : i + 1])[0] for i in range(3)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_preconditioning_has_the_limits_of_edm():
    """At σ → 0 the denoiser returns its input; at σ = ∞ it ignores it (Karras et al. 2022, table 1)."""
    net = tiny_net()
    image, mask = scene()
    smooth, noisy = push_pull(image, mask) * 2 - 1, image * 2 - 1
    with torch.no_grad():
        near = net.denoise(noisy, torch.tensor([1e-6]), smooth, mask)[0]
        far = [net.denoise(x, torch.tensor([math.inf]), smooth, mask)[0] for x in (noisy, -noisy)]
    assert torch.allclose(near * mask, noisy * mask, atol=1e-4)
    assert torch.equal(*far)


def test_schedule_falls_from_start_to_zero():
    levels = karras(6, 2.0)
    assert levels[0] == pytest.approx(2.0)
    assert levels[-2:] == [pytest.approx(SIGMA_END), 0]
    assert all(a > b for a, b in pairwise(levels))
    assert karras(1, 2.0) == [2.0, 0]


class GaussianNet(DraftNet):
    """Exact denoiser of independent pixels x ~ N(mean, SIGMA_DATA²): the posterior is known."""

    def denoise(self, noisy, sigma, smooth, mask):
        weight = SIGMA_DATA**2 / (SIGMA_DATA**2 + sigma[:, None, None, None] ** 2)
        return 0.1 + weight * (noisy - 0.1), torch.ones_like(mask)


def test_the_sampler_reaches_the_variance_of_a_known_gaussian():
    """The probability-flow equation scales x − mean by σ_data/√(σ_data² + σ₀²) exactly; Euler comes close."""
    image = torch.full((1, 3, 64, 64), 0.55)
    mask = torch.ones(1, 1, 64, 64)
    out = sample(GaussianNet(TINY), image, mask, image, 200, torch.Generator().manual_seed(0))
    expected = SIGMA_START * SIGMA_DATA / math.hypot(SIGMA_START, SIGMA_DATA) / 2
    assert out.std().item() == pytest.approx(expected, rel=0.03)
    assert out.mean().item() == pytest.approx(0.55, abs=0.01)


def test_same_seed_same_variant_and_known_pixels_exact():
    net = tiny_net()
    image, mask = scene()
    with torch.no_grad():
        draft = net.draft(image, mask)[0]
        a, b, c = (sample(net, image, mask, draft, 3, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.allclose(a * (1 - mask), image * (1 - mask), atol=1e-6)
