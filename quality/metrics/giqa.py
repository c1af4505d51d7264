"""GIQA: the quality of one generated picture from its features (Gu et al., ECCV 2020).

Three scores, higher = better. GMM: log-likelihood under a mixture of Gaussians fitted to real features. KNN: how
near the nearest real features are. MBC: how far along its training a generator made it. All rows are (N, D).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import solve_triangular
from torch import Tensor, nn

from restore.errors import InputError
from restore.quality.metrics.manifold import nearest_distances

VARIANCE_KEPT = 0.95  # by PCA before the mixture
COMPONENTS = 7
ROWS_PER_DIMENSION = 5  # that a full covariance needs; fewer rows, fewer components
FLOOR = 1e-3  # least variance of a direction, as a share of the mean over directions
LEAST_ROWS = 8


@dataclass(frozen=True)
class GaussianMixture:
    """weights (K,); means (K, D); lower Cholesky factors of the covariances (K, D, D)."""

    weights: np.ndarray
    means: np.ndarray
    factors: np.ndarray

    def log_density(self, x: np.ndarray) -> np.ndarray:
        """log Σₖ wₖ N(x; μₖ, Σₖ) for rows (N, D): (N,)."""
        joint = self._joint(x)
        top = joint.max(1)
        return np.asarray(top + np.log(np.exp(joint - top[:, None]).sum(1)))

    def responsibilities(self, x: np.ndarray) -> np.ndarray:
        """P(component | x), (N, K)."""
        return np.asarray(np.exp(self._joint(x) - self.log_density(x)[:, None]))

    def _joint(self, x: np.ndarray) -> np.ndarray:
        columns = []
        for weight, mean, factor in zip(self.weights, self.means, self.factors, strict=True):
            z = solve_triangular(factor, (x - mean).T, lower=True)
            constant = np.log(weight) - np.log(np.diag(factor)).sum() - 0.5 * len(mean) * np.log(2 * np.pi)
            columns.append(constant - 0.5 * (z * z).sum(0))
        return np.stack(columns, 1)


def fit_mixture(
    x: np.ndarray, components: int, *, floor: float = 0.0, steps: int = 200, tolerance: float = 1e-5, seed: int = 0
) -> GaussianMixture:
    """Maximum likelihood by expectation–maximisation, started at k-means++ seeds; `floor` is added to every variance.

    Ends when the mean log-likelihood grows by less than `tolerance`.
    """
    x = np.asarray(x, np.float64)
    rng = np.random.default_rng(seed)
    share = np.zeros((len(x), components))
    seeds = _seeds(x, components, rng)
    share[np.arange(len(x)), ((x[:, None] - seeds) ** 2).sum(2).argmin(1)] = 1
    mixture, last = _maximised(x, share, floor), -np.inf
    for _ in range(steps):
        likelihood = float(mixture.log_density(x).mean())
        if likelihood - last < tolerance:
            break
        mixture, last = _maximised(x, mixture.responsibilities(x), floor), likelihood
    return mixture


@dataclass(frozen=True)
class Space:
    """Principal directions of a set: mean (D,), axes (D, d), floor = least variance of a mixture in it."""

    mean: np.ndarray
    axes: np.ndarray
    floor: float

    @classmethod
    def of(cls, rows: np.ndarray) -> Space:
        """PCA to 95 % of the variance, at most half as many directions as rows. InputError below 8 rows."""
        rows = np.asarray(rows, np.float64)
        if rows.ndim != 2 or len(rows) < LEAST_ROWS:
            raise InputError(f"expected at least {LEAST_ROWS} feature rows (N, D), got {rows.shape}")
        mean = rows.mean(0)
        _, scale, axes = np.linalg.svd(rows - mean, full_matrices=False)
        kept = np.cumsum(scale**2) / max(1e-300, float((scale**2).sum()))
        size = min(int(np.searchsorted(kept, VARIANCE_KEPT)) + 1, len(rows) // 2)
        variance = float((scale[:size] ** 2).mean() / len(rows))
        return cls(mean, axes[:size].T, FLOOR * max(variance, 1e-12))

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray((np.asarray(rows, np.float64) - self.mean) @ self.axes)


@dataclass(frozen=True)
class GmmScore:
    """GMM-GIQA of rows against the reference set it was fitted to."""

    space: Space
    mixture: GaussianMixture

    @classmethod
    def fit(
        cls, reference: np.ndarray, components: int = COMPONENTS, *, space: Space | None = None, seed: int = 0
    ) -> GmmScore:
        """A full-covariance mixture in `space`, by default the reference's own principal directions.

        Small references get fewer components: five rows per dimension and component. InputError below 8 rows.
        """
        if len(reference) < LEAST_ROWS:
            raise InputError(f"expected at least {LEAST_ROWS} feature rows (N, D), got {np.shape(reference)}")
        space = space or Space.of(reference)
        rows = space(reference)
        fitting = int(np.clip(len(rows) // (ROWS_PER_DIMENSION * rows.shape[1]), 1, components))
        return cls(space, fit_mixture(rows, fitting, floor=space.floor, seed=seed))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Log-likelihoods per dimension, in nats, (N,)."""
        rows = self.space(features)
        return self.mixture.log_density(rows) / rows.shape[1]


def knn_score(features: np.ndarray, reference: np.ndarray, k: int = 5) -> np.ndarray:
    """KNN-GIQA: mean of 1 / distance to the `k` nearest reference rows, (N,).

    A row that stands in the reference itself is at distance 0, which counts as 1e-6 of the mean distance.
    Raises InputError when the reference has fewer than `k` rows.
    """
    if len(reference) < k:
        raise InputError(f"expected at least k = {k} reference rows, got {len(reference)}")
    near = nearest_distances(np.asarray(features, np.float64), np.asarray(reference, np.float64), k)
    return np.asarray((1 / near.clip(min=1e-6 * max(float(near.mean()), 1e-12))).mean(1))


class MbcScore(nn.Module):
    """MBC-GIQA: one classifier per threshold of the generator's iteration; score = mean of their sigmoids."""

    def __init__(self, dimensions: int, thresholds: int, hidden: int = 64) -> None:
        super().__init__()
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(dimensions))
        self.register_buffer("scale", torch.ones(dimensions))
        self.net = nn.Sequential(nn.Linear(dimensions, hidden), nn.ReLU(), nn.Linear(hidden, thresholds))

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, T) of "made after threshold t"."""
        out: Tensor = self.net((features - self.mean) / self.scale)
        return out

    @torch.no_grad()
    def score(self, features: np.ndarray) -> np.ndarray:
        """(N,) in [0, 1]."""
        return self(torch.as_tensor(features, dtype=torch.float32)).sigmoid().mean(1).double().numpy()

    @classmethod
    def of(cls, tensors: dict[str, Tensor]) -> MbcScore:
        """The classifiers in a state dict, of any size. Raises InputError for tensors of something else."""
        try:
            (hidden, dimensions), (thresholds, _) = (tensors[f"net.{i}.weight"].shape for i in (0, 2))
            model = cls(dimensions, thresholds, hidden)
            model.load_state_dict(tensors)
        except (KeyError, ValueError, RuntimeError):
            raise InputError(f"expected weights of 'restore train mbc', got {', '.join(list(tensors)[:3])}…") from None
        return model.eval().requires_grad_(False)

    @classmethod
    def fit(
        cls, features: np.ndarray, iterations: np.ndarray, thresholds: int = 8, *, steps: int = 500, seed: int = 0
    ) -> MbcScore:
        """Learn from features (N, D) of pictures made after `iterations` (N,) of training; real ones: infinity.

        Thresholds are quantiles of the iterations, each splitting them. Raises InputError where all are the same.
        """
        cuts = np.unique(np.quantile(iterations, np.linspace(0, 1, thresholds + 2)[1:-1], method="lower"))
        cuts = cuts[cuts < np.max(iterations)]
        if len(cuts) == 0 or len(features) != len(iterations):
            raise InputError(f"expected one iteration per row, of more than one kind, got {np.unique(iterations)[:4]}")
        x = torch.as_tensor(features, dtype=torch.float32)
        y = torch.as_tensor(iterations[:, None] > cuts, dtype=torch.float32)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = cls(x.shape[1], len(cuts))
        model.mean.copy_(x.mean(0))
        model.scale.copy_(x.std(0).clamp(min=1e-6))
        optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(steps):
            rows = torch.randint(len(x), (256,), generator=generator)
            loss = nn.functional.binary_cross_entropy_with_logits(model(x[rows]), y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return model.eval()


def quality_scores(generated: np.ndarray, real: np.ndarray, seed: int = 0) -> np.ndarray:
    """GMM scores of generated rows under the real set's model (N,). QS is their mean: it falls with quality."""
    return GmmScore.fit(real, seed=seed)(generated)


def diversity_scores(generated: np.ndarray, real: np.ndarray, seed: int = 0) -> np.ndarray:
    """GMM scores of real rows under the generated set's model (M,). DS is their mean: it falls with diversity.

    Both models stand in the real set's principal directions: in its own, a collapsed set would not see what it lacks.
    """
    return GmmScore.fit(generated, space=Space.of(real), seed=seed)(real)


def _maximised(x: np.ndarray, share: np.ndarray, floor: float) -> GaussianMixture:
    """The M step: `share` (N, K) are the responsibilities."""
    mass = share.sum(0) + 10 * np.finfo(np.float64).eps
    means = share.T @ x / mass[:, None]
    factors = np.empty((len(mass), x.shape[1], x.shape[1]))
    for k, mean in enumerate(means):
        away = x - mean
        covariance = (share[:, k, None] * away).T @ away / mass[k]
        factors[k] = np.linalg.cholesky(covariance + (floor + 1e-12) * np.eye(x.shape[1]))
    return GaussianMixture(mass / mass.sum(), means, factors)


def _seeds(x: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """k-means++ (Arthur & Vassilvitskii, SODA 2007)."""
    chosen = [x[rng.integers(len(x))]]
    for _ in range(count - 1):
        distance = np.min([((x - c) ** 2).sum(1) for c in chosen], axis=0)
        total = distance.sum()
        chosen.append(x[rng.choice(len(x), p=distance / total if total > 0 else None)])
    return np.array(chosen)
