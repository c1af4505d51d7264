"""Distances between two sets of features (real and filled), and intervals of means and distances.

All arrays are NumPy (N, D), any float type; sums run in float64. Features: `restore.quality.features.pooled`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import minimize

from restore.errors import InputError


def frechet_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """‖μ₁−μ₂‖² + tr(Σ₁ + Σ₂ − 2(Σ₁Σ₂)^½) of Gaussians fitted to both sets (Heusel et al., 2017, eq. 6).

    Biased upwards at small N: compare only values of the same N, and use N well above D.
    Raises InputError for fewer than two rows or different widths.
    """
    real, fake = _pair(real, fake)
    if min(len(real), len(fake)) < 2:
        raise InputError(f"expected at least 2 feature rows in each set, got {len(real)} and {len(fake)}")
    covariances = np.atleast_2d(np.cov(real, rowvar=False)), np.atleast_2d(np.cov(fake, rowvar=False))
    return frechet_gaussians(real.mean(0), covariances[0], fake.mean(0), covariances[1])


def frechet_gaussians(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> float:
    """The same from means (D,) and covariances (D, D).

    tr (Σ₁Σ₂)^½ = Σ √λᵢ of the symmetric Σ₁^½ Σ₂ Σ₁^½: two symmetric eigenproblems, so that singular
    covariances give neither complex numbers nor negative distances.
    """
    values, vectors = np.linalg.eigh(cov1)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    product = root @ cov2 @ root
    cross = np.sqrt(np.linalg.eigvalsh((product + product.T) / 2).clip(min=0)).sum()
    difference = mean1 - mean2
    return max(0.0, float(difference @ difference + np.trace(cov1) + np.trace(cov2) - 2 * cross))


def kernel_distance(real: np.ndarray, fake: np.ndarray, *, paired: bool = False) -> float:
    """Unbiased squared MMD with the kernel (x·y / D + 1)³: KID (Bińkowski et al., ICLR 2018), all rows at once.

    Unbiased at every N, so it can fall below 0. `paired` says that fakeᵢ was made from realᵢ: such pairs are more
    alike than the sets are, and are left out (Gretton et al., JMLR 2012, eq. 4).
    Raises InputError for fewer than two rows, different widths, and paired sets of different lengths.
    """
    real, fake = _pair(real, fake)
    n, m = len(real), len(fake)
    if min(n, m) < 2:
        raise InputError(f"expected at least 2 feature rows in each set, got {n} and {m}")
    within = 0.0
    for x in (real, fake):
        diagonal = float((((x * x).sum(1) / x.shape[1] + 1) ** 3).sum())
        within += (_kernel_sum(x, x) - diagonal) / (len(x) * (len(x) - 1))
    if not paired:
        return within - 2 * _kernel_sum(real, fake) / (n * m)
    if n != m:
        raise InputError(f"expected paired rows, got {n} real and {m} filled ones")
    matched = float((((real * fake).sum(1) / real.shape[1] + 1) ** 3).sum())
    return within - 2 * (_kernel_sum(real, fake) - matched) / (n * (n - 1))


def u_ids(real: np.ndarray, fake: np.ndarray) -> float:
    """½·P(f(real) < 0) + ½·P(f(fake) > 0): the share a linear SVM gets wrong (Zhao et al., ICLR 2021, §4).

    0 = told apart without error, 0.5 = not at all; a score of exactly 0 counts half (identical sets have no
    other). The SVM is fitted and scored on the same rows, as in the paper: with N near D everything is
    separable and the score is 0 whatever the fills.
    """
    real, fake = _pair(real, fake)
    decide = LinearSVM(real, fake)
    return float((2 - np.sign(decide(real)).mean() + np.sign(decide(fake)).mean()) / 4)


def p_ids(real: np.ndarray, fake: np.ndarray) -> float:
    """P(f(fakeᵢ) > f(realᵢ)) over pairs of rows: how often a fill looks more real than its own truth.

    Raises InputError when the sets have different lengths.
    """
    real, fake = _pair(real, fake)
    if len(real) != len(fake):
        raise InputError(f"expected paired rows, got {len(real)} real and {len(fake)} filled ones")
    decide = LinearSVM(real, fake)
    return float((decide(fake) > decide(real)).mean())


class LinearSVM:
    """f(x) = w·x + b with ½(‖w‖² + b²) + C·Σ max(0, 1 − y·f(x))² least; real has y = +1.

    The objective of LIBLINEAR's primal solver, so of scikit-learn's `LinearSVC(dual=False)`: smooth and
    convex, hence one optimum, found here by L-BFGS without that dependency.
    """

    def __init__(self, real: np.ndarray, fake: np.ndarray, c: float = 1.0) -> None:
        real, fake = _pair(real, fake)
        x = np.concatenate([real, fake])
        x = np.concatenate([x, np.ones((len(x), 1))], 1)
        y = np.repeat([1.0, -1.0], [len(real), len(fake)])

        def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
            slack = np.maximum(0, 1 - y * (x @ w))
            return float(w @ w / 2 + c * slack @ slack), w - 2 * c * x.T @ (y * slack)

        options = {"maxiter": 5000, "maxfun": 10000, "gtol": 1e-6, "ftol": 1e-13}
        found = minimize(objective, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B", options=options)
        self.weight, self.bias = found.x[:-1], float(found.x[-1])

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Signed scores (N,), positive = real."""
        return np.asarray(features @ self.weight + self.bias)


def bootstrap_interval(
    values: np.ndarray, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of `values` (N,) (Efron, 1979): (low, high).

    Raises InputError when there is no value or one is not finite.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise InputError(f"expected a row of finite numbers, got shape {values.shape}; drop inf and nan")
    rows = np.random.default_rng(seed).integers(0, len(values), (draws, len(values)))
    low, high = np.quantile(values[rows].mean(1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


Statistic = Callable[[np.ndarray, np.ndarray], float | np.ndarray]


def half_samples(count: int, draws: int, seed: int = 0) -> list[np.ndarray]:
    """`draws` random halves of range(count), sorted row numbers without repeats."""
    rng = np.random.default_rng(seed)
    return [np.sort(rng.permutation(count)[: count // 2]) for _ in range(draws)]


def resampled(
    statistic: Statistic, real: np.ndarray, fake: np.ndarray, *, paired: bool, draws: int = 100, seed: int = 0
) -> np.ndarray:
    """`statistic` of `draws` half-samples of both sets, moved to mean 0: its sampling errors, (draws, …).

    The delete-half jackknife (Shao & Wu, Annals of Statistics 1989): half-samples without replacement spread as
    the whole sample does around the truth. The ordinary bootstrap draws rows twice, and a row that stands twice
    has a neighbour at distance 0, which breaks every k-nearest-neighbour score and makes sets more separable.
    `paired` draws the same rows of both. The same seed and lengths give the same rows: errors of two fakes
    against one reference can then be subtracted, draw by draw.
    """
    rows_real = half_samples(len(real), draws, seed)
    rows_fake = rows_real if paired else half_samples(len(fake), draws, seed + 1)
    values = np.array([statistic(real[i], fake[j]) for i, j in zip(rows_real, rows_fake, strict=True)])
    return values - values.mean(0)


def interval_of(
    value: float, errors: np.ndarray, level: float = 0.95, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> tuple[float, float]:
    """Where the truth is with confidence `level`: value minus the quantiles of `errors`, within `bounds`."""
    high, low = np.quantile(errors, [(1 - level) / 2, (1 + level) / 2])
    return float(np.clip(value - low, *bounds)), float(np.clip(value - high, *bounds))


def share_interval(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a share counted over `count` cases (Wilson, 1927); never of width 0, unlike resampling's."""
    z = 1.959964
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def paired_difference(first: Sequence[float], second: Sequence[float]) -> tuple[float, tuple[float, float], float]:
    """(mean of first − second over pairs, its bootstrap interval, p of Wilcoxon's signed-rank test).

    Raises InputError for different lengths or fewer than two pairs.
    """
    from scipy.stats import wilcoxon

    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise InputError(f"expected two equally long rows of at least 2 numbers, got {a.shape} and {b.shape}")
    difference = a - b
    p = float(wilcoxon(difference).pvalue) if difference.any() else 1.0
    return float(difference.mean()), bootstrap_interval(difference), p


def _kernel_sum(x: np.ndarray, y: np.ndarray) -> float:
    """Σᵢⱼ k(xᵢ, yⱼ), a block of rows at a time."""
    return sum(float(((x[i : i + 1024] @ y.T / x.shape[1] + 1) ** 3).sum()) for i in range(0, len(x), 1024))


def _pair(real: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    if real.ndim != 2 or fake.ndim != 2 or real.shape[1] != fake.shape[1] or not (len(real) and len(fake)):
        raise InputError(f"expected two non-empty (N, D) sets of equal D, got {real.shape} and {fake.shape}")
    return real, fake
