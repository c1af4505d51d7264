"""Natural-photo statistics: against scikit-learn, and what they say of pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from conftest import make_scene
from sklearn.datasets import load_sample_images
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from torch import Tensor

from restore.errors import InputError
from restore.features.lite0 import Lite0, trained_lite0
from restore.quality.judges.natural import NaturalPhotos, mixture
from restore.training.recipes.natural import KEPT_OUT, StatisticsTask, fit
from restore.training.tasks import load_recipe
from restore.weights.store import load_weights, manifest


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """Two clusters in a 3-dimensional sheet of 6 dimensions."""
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(400, 3)) * [3, 2, 1] + np.where(rng.random((400, 1)) < 0.4, 8, 0)
    return flat @ rng.normal(size=(3, 6)) + rng.normal(0, 0.01, (400, 6)) + 5


@pytest.fixture(scope="module")
def lite0() -> Lite0:
    return trained_lite0()


def test_evaluation_matches_scikit_learn(rows: np.ndarray) -> None:
    pca = PCA(3).fit(rows)
    theirs = GaussianMixture(2, covariance_type="full", random_state=0).fit(pca.transform(rows))
    weights = {
        "mean": torch.from_numpy(pca.mean_),
        "axes": torch.from_numpy(pca.components_.T.copy()),
        "shares": torch.from_numpy(theirs.weights_),
        "centres": torch.from_numpy(theirs.means_),
        "factors": torch.from_numpy(np.linalg.cholesky(theirs.covariances_)),
    }
    expected = theirs.score_samples(pca.transform(rows)) / 3
    np.testing.assert_allclose(mixture(weights)(rows), expected, rtol=1e-9)


def test_fit_is_as_likely_as_scikit_learns(rows: np.ndarray) -> None:
    tensors = fit(rows, 2, seed=0)
    out = np.arange(len(rows)) % KEPT_OUT == KEPT_OUT - 1
    dimensions = tensors["axes"].shape[1]
    pca = PCA(dimensions).fit(rows[~out])
    theirs = GaussianMixture(2, random_state=0, n_init=3).fit(pca.transform(rows[~out]))
    expected = theirs.score_samples(pca.transform(rows[out])).mean() / dimensions
    assert tensors["photos"].mean().item() == pytest.approx(expected, abs=0.02)
    assert len(tensors["photos"]) == out.sum()
    assert (tensors["photos"].diff() >= 0).all()


def test_rank_is_the_share_of_photos_no_more_typical(
    rows: np.ndarray, lite0: Lite0, monkeypatch: pytest.MonkeyPatch
) -> None:
    natural = NaturalPhotos(fit(rows, 2, seed=0), lite0)
    scale = natural.photos
    for value, rank in ((scale[0] - 1, 0.0), (scale[39], 50.0), (scale[-1] + 1, 100.0)):
        monkeypatch.setattr(natural, "log_likelihood", lambda _, value=value: value)
        assert natural(np.zeros((8, 8, 3), np.uint8)) == pytest.approx(rank)


def test_too_few_photos_are_refused() -> None:
    with pytest.raises(InputError, match="got 6"):
        fit(np.zeros((6, 4)), 2, seed=0)


def test_task_fits_a_folder_of_ten_photos(tmp_path_factory: pytest.TempPathFactory, lite0: Lite0) -> None:
    folder = tmp_path_factory.mktemp("ten")
    for i in range(10):
        cv2.imwrite(str(folder / f"{i}.png"), make_scene(90, 110, i)[..., ::-1])
    task = StatisticsTask(load_recipe("natural"), [folder], tmp_path_factory.mktemp("run"))
    weights: dict[str, Tensor] = task.export(task.net)
    assert not list(task.net.parameters())
    assert np.isfinite(task.evaluate(task.net)["log_likelihood"])
    natural = NaturalPhotos({name: value.half() for name, value in weights.items()}, lite0)
    noise = np.random.default_rng(0).integers(0, 256, (90, 110, 3), np.uint8)
    assert natural.log_likelihood(make_scene(90, 110, 20)) > natural.log_likelihood(noise)


def test_shipped_statistics_find_noise_stranger_than_photos(lite0: Lite0) -> None:
    natural = NaturalPhotos(load_weights("natural"), lite0)
    noise = np.random.default_rng(0).integers(0, 256, (128, 160, 3), np.uint8)
    assert natural(noise) < 3
    for photo in load_sample_images().images:
        assert natural.log_likelihood(photo) > natural.log_likelihood(noise) + 0.2
    assert manifest()["natural"]["bytes"] < 500_000


def test_other_arrays_are_refused(rows: np.ndarray, lite0: Lite0) -> None:
    natural = NaturalPhotos(fit(rows, 2, seed=0), lite0)
    with pytest.raises(InputError, match="uint8"):
        natural(np.zeros((8, 8), np.uint8))
