"""PSNR against its definition, SSIM and MS-SSIM against other implementations; the feature distance's properties."""

from __future__ import annotations

import math

import pytest
import torch

from restore.errors import InputError
from restore.features.lite0 import Lite0
from restore.quality.metrics.full_reference import MS_SSIM_SIDE, SCALES, feature_distance, lpips, ms_ssim, psnr, ssim


@pytest.fixture(scope="module")
def lite0() -> Lite0:
    torch.manual_seed(0)
    return Lite0().eval().requires_grad_(False)


def scene(n: int = 1, size: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise photos (n, 3, size, size) and a mask with a quarter-side square hole in the middle."""
    mask = torch.zeros(n, 1, size, size)
    mask[..., 3 * size // 8 : 5 * size // 8, 3 * size // 8 : 5 * size // 8] = 1
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(1)), mask


def test_psnr_of_a_constant_error_is_its_closed_form() -> None:
    truth, mask = scene(2)
    error = torch.tensor([0.1, 0.01])[:, None, None, None]
    assert psnr(truth + error, truth, mask).tolist() == pytest.approx([20.0, 40.0], abs=1e-3)


def test_psnr_ignores_everything_outside_the_region() -> None:
    truth, mask = scene()
    spoiled = torch.where(mask > 0.5, truth + 0.1, torch.zeros(()))
    assert psnr(spoiled, truth, mask).item() == pytest.approx(20.0, abs=1e-3)
    assert psnr(torch.where(mask > 0.5, truth, torch.zeros(())), truth, mask).item() == math.inf


def test_psnr_respects_the_data_range() -> None:
    truth, mask = scene()
    a = psnr(truth * 0.9, truth, mask)
    assert torch.allclose(a, psnr(truth * 0.9 * 255, truth * 255, mask, data_range=255.0), atol=1e-4)


def test_distance_is_zero_for_the_truth_and_at_most_four(lite0: Lite0) -> None:
    truth, mask = scene()
    assert feature_distance(lite0, truth, truth, mask).item() == 0
    assert 0 < feature_distance(lite0, 1 - truth, truth, mask).item() <= 4


def test_distance_grows_with_the_damage(lite0: Lite0) -> None:
    truth, mask = scene()
    noise = torch.rand(truth.shape, generator=torch.Generator().manual_seed(2))
    fills = [torch.lerp(truth, noise, a * mask) for a in (0.1, 0.4, 1.0)]
    distances = [feature_distance(lite0, fill, truth, mask).item() for fill in fills]
    assert distances == sorted(distances)
    assert distances[0] < distances[2] / 2


def test_distance_equals_its_definition_cell_by_cell(lite0: Lite0) -> None:
    truth, mask = scene()
    fill = torch.where(mask > 0.5, 1 - truth, truth)
    (a,), (b,) = lite0.features(fill, (2,)), lite0.features(truth, (2,))
    cells = []
    for y in range(16):  # block 2 has stride 4
        for x in range(16):
            if mask[0, 0, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4].any():
                u, v = a[0, :, y, x], b[0, :, y, x]
                u, v = (w / (w.square().sum() + 1e-4).sqrt() for w in (u, v))
                cells.append((u - v).square().sum().item())
    assert feature_distance(lite0, fill, truth, mask, (2,)).item() == pytest.approx(sum(cells) / len(cells), rel=1e-4)


def test_cells_that_do_not_touch_the_hole_do_not_count(lite0: Lite0) -> None:
    truth, mask = scene(size=128)
    spoiled = truth.clone()
    spoiled[..., :16, :16] = 0  # farther from the hole than block 0 can see
    assert feature_distance(lite0, spoiled, truth, mask, (0,)).item() == 0


def test_gradient_flows_to_the_fill_only_and_agrees_with_differences(lite0: Lite0) -> None:
    double = Lite0().double().eval().requires_grad_(False)
    double.load_state_dict(lite0.state_dict())
    truth, mask = (t.double() for t in scene())
    fill = (truth * 0.5).requires_grad_()
    truth.requires_grad_()
    feature_distance(double, fill, truth, mask, (0, 2)).backward()
    assert truth.grad is None
    assert fill.grad is not None
    step = 1e-3 * fill.grad / fill.grad.abs().max()
    with torch.no_grad():
        ahead, behind = (feature_distance(double, fill + s * step, truth, mask, (0, 2)) for s in (1, -1))
    assert (ahead - behind).item() == pytest.approx(2 * (fill.grad * step).sum().item(), rel=0.02)


def ladder(size: int = MS_SSIM_SIDE) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """A smooth picture (2, 3, size, size + 8) and noisier and noisier copies."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(2, 3, 12, 12, generator=generator)
    truth = torch.nn.functional.interpolate(coarse, (size, size + 8), mode="bicubic").clamp(0, 1)
    noise = torch.randn(truth.shape, generator=generator)
    return truth, [(truth + s * noise).clamp(0, 1) for s in (0.02, 0.1, 0.3)]


def test_psnr_and_ssim_are_scikit_images() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    truth, worse = ladder(64)
    for image in worse:
        for i in range(2):
            a, b = (t[i].permute(1, 2, 0).double().numpy() for t in (image, truth))
            settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
            theirs = metrics.structural_similarity(a, b, data_range=1.0, channel_axis=2, **settings)
            assert ssim(image, truth)[i].item() == pytest.approx(theirs, abs=1e-9)
            assert psnr(image, truth)[i].item() == pytest.approx(metrics.peak_signal_noise_ratio(b, a, data_range=1.0))


def test_ms_ssim_is_made_of_torchmetrics_terms() -> None:
    """torchmetrics' own product differs by 1e-5: at the last scale it also counts windows over the mirrored edge,
    which Wang's has not. With that one term taken from windows wholly inside, both agree."""
    theirs = pytest.importorskip("torchmetrics.functional.image")
    truth, worse = ladder()
    for image in worse[1:]:
        x, y = image.double(), truth.double()
        whole = theirs.multiscale_structural_similarity_index_measure(x, y, data_range=1.0, reduction="none")
        product = torch.ones(2, dtype=torch.float64)
        settings = {"data_range": 1.0, "reduction": "none"}
        for exponent in SCALES[:-1]:
            _, contrast = theirs.structural_similarity_index_measure(x, y, return_contrast_sensitivity=True, **settings)
            product *= contrast**exponent
            x, y = (torch.nn.functional.avg_pool2d(t, 2) for t in (x, y))
        _, similarity = theirs.structural_similarity_index_measure(x, y, return_full_image=True, **settings)
        mirrored = product * similarity.mean((1, 2, 3)) ** SCALES[-1]
        inside = product * similarity[..., 5:-5, 5:-5].mean((1, 2, 3)) ** SCALES[-1]
        torch.testing.assert_close(mirrored, whole, atol=1e-7, rtol=0)  # its exponents are float32
        torch.testing.assert_close(ms_ssim(image, truth), inside, atol=1e-12, rtol=0)


def test_similarities_are_one_for_the_truth_fall_with_damage_and_scale_with_the_range() -> None:
    truth, worse = ladder()
    for metric in (ssim, ms_ssim):
        assert metric(truth, truth).tolist() == pytest.approx([1, 1])
        values = [metric(image, truth)[0].item() for image in worse]
        assert values == sorted(values, reverse=True)
        scaled = metric(worse[1] * 255, truth * 255, data_range=255.0)
        torch.testing.assert_close(scaled, metric(worse[1], truth), atol=1e-6, rtol=0)


def test_a_batch_is_its_pictures_one_by_one() -> None:
    truth, worse = ladder()
    for metric in (psnr, ssim, ms_ssim):
        alone = torch.cat([metric(worse[1][i : i + 1], truth[i : i + 1]) for i in range(2)])
        torch.testing.assert_close(metric(worse[1], truth), alone, atol=0, rtol=1e-12)


def test_ssim_inside_and_outside_of_a_hole_average_to_the_whole() -> None:
    truth, mask = scene(size=64)
    damaged = torch.where(mask > 0.5, 1 - truth, truth)
    inside, outside, whole = ssim(damaged, truth, mask), ssim(damaged, truth, 1 - mask), ssim(damaged, truth)
    share = mask[..., 5:-5, 5:-5].mean()
    assert inside < outside
    torch.testing.assert_close(share * inside + (1 - share) * outside, whole, atol=1e-6, rtol=0)
    with pytest.raises(InputError, match="edge"):
        ssim(truth, truth, torch.nn.functional.pad(torch.ones(1, 1, 64, 2), (0, 62)))


def test_lpips_hands_its_network_what_it_expects() -> None:
    truth, _ = scene(2)
    seen = []

    def net(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        seen.append((a, b))
        return (a - b).abs().mean((1, 2, 3), keepdim=True)

    found = lpips(net, truth * 255, truth * 0, data_range=255.0)
    torch.testing.assert_close(seen[0][0], truth * 2 - 1)
    torch.testing.assert_close(found, 2 * truth.mean((1, 2, 3)))


def test_refusals(lite0: Lite0) -> None:
    truth, mask = scene()
    with pytest.raises(InputError, match="empty"):
        psnr(truth, truth, mask * 0)
    with pytest.raises(InputError, match="expected image and truth"):
        psnr(truth, truth[..., :32], mask)
    with pytest.raises(InputError, match="expected image and truth"):
        feature_distance(lite0, truth, truth, mask[:, 0])
    small = torch.rand(1, 3, MS_SSIM_SIDE - 1, 300)
    with pytest.raises(InputError, match="176"):
        ms_ssim(small, small)
    with pytest.raises(InputError, match="11"):
        ssim(truth[..., :10], truth[..., :10])
