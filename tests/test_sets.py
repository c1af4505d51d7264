"""Distances of feature sets against closed forms and other implementations; crops around holes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from restore.backbone import Lite0
from restore.errors import InputError
from restore.quality.features import crop_features, hole_windows
from restore.quality.sets import (
    LinearSVM,
    bootstrap_interval,
    frechet_distance,
    frechet_gaussians,
    p_ids,
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
