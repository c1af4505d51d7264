"""Precision, recall, density and coverage against their definitions, point by point."""

from __future__ import annotations

import numpy as np
import pytest

import restore.quality.metrics.manifold as manifold
from restore.errors import InputError
from restore.quality.metrics.manifold import density_coverage, nearest_distances, precision_recall


def by_definition(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, float, float, float]:
    def radius(x: np.ndarray, i: int) -> float:
        return float(np.sort([np.linalg.norm(x[i] - x[j]) for j in range(len(x)) if j != i])[k - 1])

    in_real = np.array([[np.linalg.norm(f - r) <= radius(real, i) for i, r in enumerate(real)] for f in fake])
    in_fake = np.array([[np.linalg.norm(f - r) <= radius(fake, j) for j, f in enumerate(fake)] for r in real])
    return in_real.any(1).mean(), in_fake.any(1).mean(), in_real.sum() / k / len(fake), in_real.any(0).mean()


@pytest.mark.parametrize("k", [1, 3])
def test_all_four_are_their_definitions_in_one_block_and_in_many(monkeypatch: pytest.MonkeyPatch, k: int) -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(40, 3)), rng.normal(size=(30, 3)) * 0.6 + 0.5
    expected = by_definition(real, fake, k)
    assert 0 < expected[0] < 1 or 0 < expected[1] < 1
    for block in (1024, 7):
        monkeypatch.setattr(manifold, "BLOCK", block)
        found = *precision_recall(real, fake, k), *density_coverage(real, fake, k)
        assert found == pytest.approx(expected)


def test_collapse_costs_recall_and_coverage_noise_costs_precision_and_density() -> None:
    rng = np.random.default_rng(1)
    real, same = rng.normal(size=(300, 4)), rng.normal(size=(300, 4))
    collapsed, spread = same * 0.2, same * 4
    (p, r), (d, c) = precision_recall(real, same), density_coverage(real, same)
    assert precision_recall(real, collapsed)[0] >= p
    assert precision_recall(real, collapsed)[1] < r / 3
    assert density_coverage(real, collapsed)[1] < c / 2
    assert precision_recall(real, spread)[0] < p / 2
    assert density_coverage(real, spread)[0] < d / 2
    assert d == pytest.approx(1, abs=0.15)
    assert precision_recall(real, real + 100) == (0, 0)
    assert density_coverage(real, real) == (pytest.approx(1, abs=0.3), 1)


def test_nearest_distances_ascend_and_small_sets_are_refused() -> None:
    x = np.array([[0.0], [1], [3], [7]])
    np.testing.assert_allclose(nearest_distances(np.array([[2.0]]), x, 3), [[1, 1, 2]])
    with pytest.raises(InputError, match="more than k = 3"):
        precision_recall(x[:3], x)
    with pytest.raises(InputError, match="equal D"):
        density_coverage(x, np.zeros((9, 2)))
