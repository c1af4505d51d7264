"""SDD-FIQA: quality of a face picture for a recogniser, learned without labels (Ou et al., CVPR 2021).

A picture is good if the recogniser finds its own person in it and nobody else: the distance between its
similarities to pictures of the same identity and of others is the pseudo-label, which a regressor learns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor, nn

from restore.errors import InputError
from restore.quality.features.pooled import OnnxNet

SAMPLES, DRAWS = 24, 12  # m similarities of each kind, K times

Embed = Callable[[Tensor], np.ndarray]


def recogniser(source: Embed | nn.Module | Path | str) -> Embed:
    """Any recogniser as faces (N, 3, H, W) RGB in [0, 1] → embeddings (N, D): a callable, a module or an ONNX file.

    A module runs in evaluation mode without gradients. Raises InputError for anything else.
    """
    if isinstance(source, nn.Module):
        net = source.eval()

        def embed(faces: Tensor) -> np.ndarray:
            with torch.no_grad():
                return np.asarray(net(faces).float().cpu().numpy())

        return embed
    if isinstance(source, (str, Path)):
        return OnnxNet(Path(source))
    if callable(source):
        return source
    raise InputError(f"expected a callable, a torch module or an ONNX file, got {type(source).__name__}")


def pseudo_labels(
    embeddings: np.ndarray, identities: Iterable[object], *, m: int = SAMPLES, draws: int = DRAWS, seed: int = 0
) -> np.ndarray:
    """Quality (N,) in 0–100 of every face: mean Wasserstein distance of its two kinds of cosine similarities.

    embeddings (N, D) of any length; identities: one label per row. Each draw takes `m` similarities to others of the
    same identity and `m` to strangers, with replacement where there are fewer. Faces that are alone in their
    identity get NaN. Scaled so that the least is 0 and the most 100.
    Raises InputError when no two faces share an identity or all do.
    """
    unit = _unit(embeddings)
    groups = np.unique(np.asarray([str(i) for i in identities]), return_inverse=True)[1]
    if len(groups) != len(unit):
        raise InputError(f"expected one identity per embedding, got {len(groups)} for {len(unit)}")
    rng = np.random.default_rng(seed)
    labels = np.full(len(unit), np.nan)
    for i in range(len(unit)):
        similarity = unit @ unit[i]
        same, other = groups == groups[i], groups != groups[i]
        same[i] = False
        if same.any() and other.any():
            labels[i] = _mean_distance(similarity[same], similarity[other], m, draws, rng)
    if np.isnan(labels).all():
        raise InputError("expected identities with several faces and strangers to them, got none; check the labels")
    low, high = np.nanmin(labels), np.nanmax(labels)
    return np.asarray(100 * (labels - low) / max(float(high - low), 1e-12))


class QualityRegressor(nn.Module):
    """Embedding (N, D) → quality (N,) on the labels' scale, 0–100, with dropout."""

    def __init__(self, dimensions: int, hidden: int = 128, dropout: float = 0.5) -> None:
        super().__init__()
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(dimensions))
        self.register_buffer("scale", torch.ones(dimensions))
        self.net = nn.Sequential(
            nn.Linear(dimensions, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 1), nn.Flatten(0)
        )

    def forward(self, embeddings: Tensor) -> Tensor:
        out: Tensor = self.net((embeddings - self.mean) / self.scale)
        return 50 + 25 * out

    @torch.no_grad()
    def score(self, embeddings: np.ndarray) -> np.ndarray:
        """(N,), in evaluation mode, clipped to 0–100."""
        return self.eval()(torch.as_tensor(embeddings, dtype=torch.float32)).clamp(0, 100).double().numpy()


def fit_regressor(
    features: np.ndarray, labels: np.ndarray, *, hidden: int = 128, steps: int = 1500, rate: float = 1e-3, seed: int = 0
) -> QualityRegressor:
    """Learn labels (N,) from features (N, D), of the recogniser or any other network; NaN labels are left out.

    Huber loss in units of 10 points. Raises InputError for different lengths or no label.
    """
    known = np.isfinite(labels)
    if len(features) != len(labels) or not known.any():
        raise InputError(
            f"expected features with finite labels, got {len(features)} rows and {int(known.sum())} labels"
        )
    x = torch.as_tensor(features[known], dtype=torch.float32)
    y = torch.as_tensor(labels[known], dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # initial weights and dropout
        model = QualityRegressor(x.shape[1], hidden)
        model.mean.copy_(x.mean(0))
        model.scale.copy_(x.std(0).clamp(min=1e-6))
        optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(steps):
            rows = torch.randint(len(x), (128,))
            loss = nn.functional.huber_loss(model(x[rows]) / 10, y[rows] / 10)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model.eval()


def error_versus_reject(
    embeddings: np.ndarray,
    identities: Iterable[object],
    quality: np.ndarray,
    rejected: Sequence[float] = (0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3),
    false_match_rate: float = 1e-3,
) -> np.ndarray:
    """False non-match rate after rejecting the worst share of faces, for each of `rejected` (Grother & Tabassi, 2007).

    The threshold gives `false_match_rate` among all pairs of strangers before any rejection and stays. A good
    quality lowers the rate as faces go; a random one leaves it. NaN where no pair of an identity is left.
    """
    unit = _unit(embeddings)
    groups = np.unique(np.asarray([str(i) for i in identities]), return_inverse=True)[1]
    rows, columns = np.triu_indices(len(unit), 1)
    similarity, same = (unit @ unit.T)[rows, columns], groups[rows] == groups[columns]
    if not same.any() or same.all():
        raise InputError("expected pairs of the same and of other identities, got one kind only")
    threshold = np.quantile(similarity[~same], 1 - false_match_rate)
    missed = similarity < threshold
    order = np.argsort(np.asarray(quality), kind="stable")
    rates = []
    for share in rejected:
        kept = np.ones(len(unit), bool)
        kept[order[: round(share * len(unit))]] = False
        genuine = same & kept[rows] & kept[columns]
        rates.append(missed[genuine].mean() if genuine.any() else np.nan)
    return np.array(rates)


def _mean_distance(same: np.ndarray, other: np.ndarray, m: int, draws: int, rng: np.random.Generator) -> float:
    distances = []
    for _ in range(draws):
        a = rng.choice(same, m, replace=len(same) < m)
        b = rng.choice(other, m, replace=len(other) < m)
        distances.append(wasserstein_distance(a, b))
    return float(np.mean(distances))


def _unit(embeddings: np.ndarray) -> np.ndarray:
    x = np.asarray(embeddings, np.float64)
    if x.ndim != 2 or not np.isfinite(x).all():
        raise InputError(f"expected finite embeddings (N, D), got {x.shape}")
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True).clip(min=1e-12))
