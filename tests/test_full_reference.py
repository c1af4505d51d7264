"""PSNR over a region against its definition; the feature distance's bounds, locality and gradient."""

from __future__ import annotations

import math

import pytest
import torch

from restore.backbone import Lite0
from restore.errors import InputError
from restore.quality.full_reference import feature_distance, psnr


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


def test_psnr_respects_the_peak() -> None:
    truth, mask = scene()
    a = psnr(truth * 0.9, truth, mask)
    assert torch.allclose(a, psnr(truth * 0.9 * 255, truth * 255, mask, peak=255.0), atol=1e-4)


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


def test_refusals(lite0: Lite0) -> None:
    truth, mask = scene()
    with pytest.raises(InputError, match="empty"):
        psnr(truth, truth, mask * 0)
    with pytest.raises(InputError, match="expected image and truth"):
        psnr(truth, truth[..., :32], mask)
    with pytest.raises(InputError, match="expected image and truth"):
        feature_distance(lite0, truth, truth, mask[:, 0])
