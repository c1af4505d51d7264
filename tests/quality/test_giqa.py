"""GIQA against scikit-learn's mixture, closed forms, and sets degraded or collapsed on purpose."""

from __future__ import annotations

import numpy as np
import pytest

from restore.errors import InputError
from restore.quality.metrics.giqa import (
    GmmScore,
    MbcScore,
    Space,
    diversity_scores,
    fit_mixture,
    knn_score,
    quality_scores,
)


def clusters(n: int, seed: int = 0, dimensions: int = 6) -> np.ndarray:
    """Three well-separated Gaussian modes with different shapes."""
    rng = np.random.default_rng(seed)
    centres = np.zeros((3, dimensions))
    centres[1, 0], centres[2, 1] = 12, 12
    spread = np.linspace(0.5, 1.5, dimensions)
    return centres[np.arange(n) % 3] + rng.normal(size=(n, dimensions)) * spread


def test_one_component_is_the_gaussian_of_mean_and_covariance() -> None:
    from scipy.stats import multivariate_normal

    x = clusters(400)
    expected = multivariate_normal(x.mean(0), np.cov(x, rowvar=False, bias=True)).logpdf(x[:20])
    np.testing.assert_allclose(fit_mixture(x, 1).log_density(x[:20]), expected, atol=1e-6)


def test_mixture_is_scikit_learns() -> None:
    mixture = pytest.importorskip("sklearn.mixture")
    x, fresh = clusters(900), clusters(60, seed=1)
    theirs = mixture.GaussianMixture(3, covariance_type="full", reg_covar=1e-6, tol=1e-9, max_iter=500, random_state=0)
    theirs.fit(x)
    ours = fit_mixture(x, 3, floor=1e-6, tolerance=1e-9)
    np.testing.assert_allclose(ours.log_density(fresh), theirs.score_samples(fresh), atol=1e-4)


def test_density_of_given_parameters_is_scikit_learns_even_for_overlapping_modes() -> None:
    mixture = pytest.importorskip("sklearn.mixture")
    x = np.random.default_rng(0).normal(size=(500, 3)) ** 3
    ours = fit_mixture(x, 4, steps=5)
    covariances = ours.factors @ ours.factors.transpose(0, 2, 1)
    theirs = mixture.GaussianMixture(4)
    theirs.weights_, theirs.means_, theirs.covariances_ = ours.weights, ours.means, covariances
    theirs.precisions_cholesky_ = np.linalg.cholesky(np.linalg.inv(covariances))
    np.testing.assert_allclose(ours.log_density(x), theirs.score_samples(x), rtol=1e-9)
    np.testing.assert_allclose(ours.responsibilities(x), theirs.predict_proba(x), atol=1e-9)


def test_gmm_and_knn_rank_a_ladder_of_distances() -> None:
    real = clusters(600)
    rng = np.random.default_rng(3)
    direction = rng.normal(size=(100, 6))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    ladder = [clusters(100, seed=2) + step * direction for step in (0, 2, 4, 8)]
    gmm = GmmScore.fit(real)
    for scores in ([gmm(x).mean() for x in ladder], [knn_score(x, real).mean() for x in ladder]):
        assert scores == sorted(scores, reverse=True)
        assert scores[0] > scores[3]


def test_knn_score_by_hand() -> None:
    reference = np.array([[0.0, 0], [3, 0], [0, 4], [100, 0]])
    # From (0, 2): 2, 2 and √13 away.
    assert knn_score(np.array([[0.0, 2]]), reference, k=3)[0] == pytest.approx((0.5 + 0.5 + 13**-0.5) / 3)
    assert np.isfinite(knn_score(reference, reference, k=1)).all()
    with pytest.raises(InputError, match="k = 5"):
        knn_score(reference, reference)


def test_qs_falls_for_worse_and_ds_for_fewer_kinds_of_pictures() -> None:
    real, good = clusters(600), clusters(600, seed=1)
    noisy = good + np.random.default_rng(5).normal(size=good.shape) * 2
    collapsed = good[np.arange(600) // 3 * 3]  # one of the three modes, as good as before
    assert quality_scores(noisy, real).mean() < quality_scores(good, real).mean() - 0.5
    assert quality_scores(collapsed, real).mean() == pytest.approx(quality_scores(good, real).mean(), abs=0.2)
    assert diversity_scores(collapsed, real).mean() < diversity_scores(good, real).mean() - 5


def test_principal_directions_hold_the_variance_and_small_sets_get_few() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 10)) * np.array([10, 5, 3] + [0.1] * 7)
    assert Space.of(x).axes.shape == (10, 3)
    assert Space.of(x[:8]).axes.shape[1] <= 4
    assert len(GmmScore.fit(x[:20]).mixture.weights) == 1
    with pytest.raises(InputError, match="at least 8"):
        GmmScore.fit(x[:7])


def test_mbc_ranks_by_the_iteration_pictures_were_made_at() -> None:
    rng = np.random.default_rng(0)
    iterations = rng.integers(0, 10, 800).astype(float)
    features = rng.normal(size=(800, 5))
    features[:, 0] += iterations  # one feature tells, the others do not
    model = MbcScore.fit(features[:600], iterations[:600], 4, steps=300)
    scores = model.score(features[600:])
    assert np.corrcoef(scores, iterations[600:])[0, 1] > 0.9
    assert scores.min() >= 0
    assert scores.max() <= 1
    np.testing.assert_array_equal(
        scores, MbcScore.fit(features[:600], iterations[:600], 4, steps=300).score(features[600:])
    )
    with pytest.raises(InputError, match="more than one kind"):
        MbcScore.fit(features, np.ones(800))


def test_mbc_takes_real_pictures_as_the_end_of_training() -> None:
    x = np.concatenate([np.full((50, 2), i, float) for i in range(4)])
    iterations = np.repeat([100.0, 200.0, 300.0, np.inf], 50)
    scores = MbcScore.fit(x, iterations, 3, steps=300).score(x)[::50]
    assert (np.diff(scores) > 0).all()
