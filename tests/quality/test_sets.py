"""Distances of feature sets against closed forms and other implementations; crops around holes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from restore.errors import InputError
from restore.features.lite0 import Lite0
from restore.quality.features.pooled import crop_features, hole_windows
from restore.quality.metrics.sets import (
    LinearSVM,
    bootstrap_interval,
    frechet_distance,
    frechet_gaussians,
    half_samples,
    interval_of,
    kernel_distance,
    p_ids,
    paired_difference,
    resampled,
    share_interval,
    u_ids,
)

RNG = np.random.default_rng(0)


def covariance(d: int) -> np.ndarray:
    a = RNG.normal(size=(d, 2 * d))
    return a @ a.T / d


def test_frechet_of_commuting_gaussians_is_the_closed_form() -> None:
    mean1, mean2 = RNG.normal(size=5), RNG.normal(size=5)
    sd1, sd2 = RNG.uniform(0.5, 2, 5), RNG.uniform(0.5, 2, 5)
    turn = np.linalg.qr(RNG.normal(size=(5, 5)))[0]
    cov1, cov2 = (turn @ np.diag(sd**2) @ turn.T for sd in (sd1, sd2))
    expected = ((mean1 - mean2) ** 2).sum() + ((sd1 - sd2) ** 2).sum()
    assert frechet_gaussians(mean1, cov1, mean2, cov2) == pytest.approx(expected, rel=1e-9)


def test_frechet_agrees_with_the_matrix_square_root() -> None:
    mean1, mean2, cov1, cov2 = RNG.normal(size=12), RNG.normal(size=12), covariance(12), covariance(12)
    root = sqrtm(cov1 @ cov2).real
    expected = ((mean1 - mean2) ** 2).sum() + np.trace(cov1 + cov2 - 2 * root)
    assert frechet_gaussians(mean1, cov1, mean2, cov2) == pytest.approx(expected, rel=1e-8)
    assert frechet_gaussians(mean2, cov2, mean1, cov1) == pytest.approx(expected, rel=1e-8)


def test_frechet_survives_singular_covariances() -> None:
    x = RNG.normal(size=(10, 40))  # rank 9 at most
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-5)
    assert frechet_distance(x, x + 3) == pytest.approx(9 * 40, rel=1e-6)
    assert frechet_distance(np.ones((4, 1)), np.ones((4, 1))) == 0


def test_frechet_of_samples_converges_to_that_of_their_gaussians() -> None:
    x, y = RNG.normal(size=(20000, 3)), RNG.normal(size=(20000, 3)) * 2 + 1
    assert frechet_distance(x, y) == pytest.approx(3 + 3, rel=0.05)


def test_ids_tell_identical_mixed_and_apart() -> None:
    x = RNG.normal(size=(400, 4))
    away = x + np.array([10, 0, 0, 0])
    assert u_ids(x, away) == 0
    assert p_ids(x, away) == 0
    assert u_ids(x, RNG.normal(size=(400, 4))) == pytest.approx(0.5, abs=0.06)
    # One Gaussian feature, unit variance, means 0 and 2: the best threshold errs with Φ(−1) = 0.159.
    a, b = RNG.normal(size=(4000, 1)), RNG.normal(size=(4000, 1)) + 2
    assert u_ids(a, b) == pytest.approx(0.159, abs=0.02)
    assert p_ids(a, b) == pytest.approx(0.079, abs=0.02)  # Φ(−2/√2)


def test_p_ids_of_identical_sets_is_zero_and_of_exchangeable_pairs_a_half() -> None:
    x = RNG.normal(size=(600, 3))
    assert p_ids(x, x) == 0  # no fill looks more real than itself
    assert u_ids(x, x) == pytest.approx(0.5)
    assert p_ids(x, x + RNG.normal(size=x.shape) * 1e-3) == pytest.approx(0.5, abs=0.06)


def test_svm_is_at_the_optimum_of_its_objective() -> None:
    x, y = RNG.normal(size=(60, 3)), RNG.normal(size=(50, 3)) + 0.7
    svm = LinearSVM(x, y)

    def objective(weight: np.ndarray, bias: float) -> float:
        slack = np.concatenate([1 - (x @ weight + bias), 1 + (y @ weight + bias)]).clip(min=0)
        return float((weight @ weight + bias**2) / 2 + slack @ slack)

    best = objective(svm.weight, svm.bias)
    for _ in range(50):
        assert objective(svm.weight + RNG.normal(size=3) * 1e-2, svm.bias + RNG.normal() * 1e-2) > best


def test_svm_is_scikit_learns() -> None:
    svm = pytest.importorskip("sklearn.svm")
    x, y = RNG.normal(size=(200, 20)), RNG.normal(size=(200, 20)) * 1.5 + 0.2
    theirs = svm.LinearSVC(dual=False, tol=1e-9, max_iter=10000)
    theirs.fit(np.concatenate([x, y]), np.repeat([1, -1], 200))
    ours = LinearSVM(x, y)
    np.testing.assert_allclose(ours(x), theirs.decision_function(x), atol=1e-3)


def test_bootstrap_interval_matches_the_normal_theory_and_repeats() -> None:
    x = RNG.normal(size=400) + 5
    low, high = bootstrap_interval(x)
    half = 1.96 * x.std() / 20
    assert (low, high) == pytest.approx((x.mean() - half, x.mean() + half), abs=0.02)
    assert bootstrap_interval(x) == (low, high)
    assert bootstrap_interval(np.array([2.0])) == (2, 2)


@pytest.mark.parametrize("values", [[], [1.0, np.inf], [[1.0]]])
def test_bootstrap_refuses(values: list[float]) -> None:
    with pytest.raises(InputError, match="finite"):
        bootstrap_interval(np.array(values))


def test_kernel_distance_is_its_definition_and_unbiased() -> None:
    x, y = RNG.normal(size=(30, 4)), RNG.normal(size=(20, 4)) + 0.3

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / 4 + 1) ** 3)

    xx = np.mean([kernel(x[i], x[j]) for i in range(30) for j in range(30) if i != j])
    yy = np.mean([kernel(y[i], y[j]) for i in range(20) for j in range(20) if i != j])
    xy = np.mean([kernel(a, b) for a in x for b in y])
    assert kernel_distance(x, y) == pytest.approx(xx + yy - 2 * xy, rel=1e-9)
    nulls = [kernel_distance(RNG.normal(size=(50, 3)), RNG.normal(size=(50, 3))) for _ in range(200)]
    assert abs(np.mean(nulls)) < 3 * np.std(nulls) / 200**0.5
    assert min(nulls) < 0


def test_kernel_distance_of_paired_sets_leaves_the_pairs_out() -> None:
    plain, paired = [], []
    for _ in range(200):
        x = RNG.normal(size=(40, 3))
        y = 0.8 * x + 0.6 * RNG.normal(size=(40, 3))  # the same distribution, but every row leans on its partner
        plain.append(kernel_distance(x, y))
        paired.append(kernel_distance(x, y, paired=True))
    assert abs(np.mean(paired)) < 3 * np.std(paired) / 200**0.5
    assert np.mean(plain) < -10 * np.std(plain) / 200**0.5
    with pytest.raises(InputError, match="paired"):
        kernel_distance(x, y[:5], paired=True)


def test_share_interval_is_wilsons() -> None:
    assert share_interval(0.1, 100) == pytest.approx((0.0552, 0.1744), abs=1e-4)
    assert share_interval(1.0, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)


def test_frechet_and_kernel_distance_are_torchmetrics() -> None:
    torchmetrics = pytest.importorskip("torchmetrics")
    from torchmetrics.image.fid import _compute_fid
    from torchmetrics.image.kid import poly_mmd

    assert torchmetrics.__version__
    x, y = RNG.normal(size=(300, 12)), RNG.normal(size=(300, 12)) * 1.3 + 0.2
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    fid = _compute_fid(a.mean(0), a.T.cov(), b.mean(0), b.T.cov()).item()
    assert frechet_distance(x, y) == pytest.approx(fid, rel=1e-9)
    assert kernel_distance(x, y) == pytest.approx(poly_mmd(a, b).item(), rel=1e-9)


def test_half_samples_hold_half_the_rows_once() -> None:
    halves = half_samples(11, 40)
    assert {len(h) for h in halves} == {5}
    assert all(len(set(h)) == 5 for h in halves)
    assert set(np.concatenate(halves)) == set(range(11))


def test_interval_of_a_mean_difference_has_its_nominal_coverage() -> None:
    def statistic(real: np.ndarray, fake: np.ndarray) -> float:
        return float(real.mean() - fake.mean())

    hits, widths = 0, []
    for trial in range(100):
        rng = np.random.default_rng(trial)
        real, fake = rng.normal(size=(80, 1)) + 1, rng.normal(size=(80, 1))
        errors = resampled(statistic, real, fake, paired=False, draws=100)
        low, high = interval_of(statistic(real, fake), errors)
        hits += low <= 1 <= high
        widths.append(high - low)
    assert 88 <= hits <= 100
    assert np.mean(widths) == pytest.approx(2 * 1.96 * (2 / 80) ** 0.5, rel=0.08)


def test_paired_rows_stay_paired_and_bounds_hold() -> None:
    x = RNG.normal(size=(60, 2))
    errors = resampled(lambda a, b: float(np.abs(a - b).max()), x, x + 1, paired=True, draws=20)
    np.testing.assert_allclose(errors, 0, atol=1e-12)
    assert interval_of(0.98, np.array([-0.2, 0.0, 0.2]), bounds=(0, 1))[1] == 1


def test_paired_difference_sees_a_small_but_constant_gain() -> None:
    a = RNG.normal(size=50) * 10
    found = paired_difference(a + 0.5 + RNG.normal(size=50) * 0.1, a)
    _, (low, high), p = found
    assert low > 0.4
    assert high < 0.6
    assert p < 1e-6
    assert paired_difference(a, a) == (0, (0, 0), 1)
    with pytest.raises(InputError, match="equally long"):
        paired_difference(a, a[:3])


def test_sets_refuse_what_cannot_be_compared() -> None:
    x = np.zeros((5, 3))
    with pytest.raises(InputError, match="equal D"):
        u_ids(x, np.zeros((5, 2)))
    with pytest.raises(InputError, match="at least 2"):
        frechet_distance(x, x[:1])
    with pytest.raises(InputError, match="paired"):
        p_ids(x, x[:4])


def test_windows_are_square_inside_seeded_and_hold_the_hole() -> None:
    mask = np.zeros((100, 300), bool)
    mask[0:30, 250:300] = True  # in a corner: windows must stop at the border
    windows = hole_windows(mask, 6, np.random.default_rng(3))
    assert windows == hole_windows(mask, 6, np.random.default_rng(3))
    assert len(set(windows)) > 3
    assert windows[0] == (0, 225, 75)
    for top, left, side in windows:
        assert 0 <= top <= 100 - side
        assert 0 <= left <= 300 - side
        assert mask[top : top + side, left : left + side].sum() > 0.8 * mask.sum()
    mask[:] = True
    assert {side for *_, side in hole_windows(mask, 3, np.random.default_rng(0))} == {100}
    with pytest.raises(InputError, match="empty"):
        hole_windows(mask & False, 1, np.random.default_rng(0))


def test_crop_features_see_their_window_only() -> None:
    torch.manual_seed(0)
    lite0 = Lite0().eval()
    image = torch.rand(3, 96, 96)
    other = image.clone()
    other[:, :, 64:] = 0
    a, b = (crop_features(lite0, x, [(0, 0, 64), (32, 32, 64)]) for x in (image, other))
    assert a.shape == (2, 112)
    np.testing.assert_array_equal(a[0], b[0])
    assert np.abs(a[1] - b[1]).max() > 0
