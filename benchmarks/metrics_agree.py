"""Which scores that see no truth rank fills as the feature distance to the truth does?

  python -m benchmarks.metrics_agree --data ../shared/data/eval/fill --fills runs/benchmark-fill \\
      --photos runs/draft/photos/decoded-… --checkpoints 45000=a.safetensors 88000=b.safetensors --out runs/agree

FILLS is the output of `benchmarks.fill`: methods/NAME/X.png and scores.csv with the feature distances. For every
photo and every pair of methods a score votes for one fill; the table gives the share of votes for the nearer one,
over all pairs and over those whose distances differ by more than 0.1, with bootstrap intervals over photos, and
Kendall's τ of the methods' means. 50 % is chance.

GIQA's references are crops of --photos (the mixture of quality/judges/natural.py is listed too). MBC learns from fills
of photos by the draft network's checkpoints (ITERATION=FILE), untouched photos standing for the end of training.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.stats import kendalltau

from benchmarks import rivals
from benchmarks.fill import Photo, load, read, tensor, windows
from restore.measure.assessor import Assessor
from restore.quality.features.pooled import crop_features
from restore.quality.metrics.giqa import GmmScore, MbcScore, knn_score
from restore.quality.metrics.sets import bootstrap_interval
from restore.training.data.photos import PhotoCache

CLEAR = 0.1  # feature distance from which one fill is clearly nearer to the truth
WINDOWS = 2  # crops around a hole whose features are averaged

Score = Callable[[Photo, np.ndarray], float]  # of (photo with its mask, fill); higher = better


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--fills", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--checkpoints", nargs="*", default=[])
    parser.add_argument("--references", type=int, default=600, help="crops of photos for GIQA")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    photos = load(args.data, args.limit)
    assessor = Assessor(torch.device("cpu"))
    scores = named_scores(assessor, PhotoCache(args.photos), photos, args)
    methods = sorted(path.name for path in (args.fills / "methods").iterdir())
    with open(args.fills / "scores.csv", newline="") as file:
        distances = {(row["photo"], row["method"]): float(row["feature_distance"]) for row in csv.DictReader(file)}
    photos = [photo for photo in photos if all((photo.name, m) in distances for m in methods)]
    truth = np.array([[-distances[p.name, m] for m in methods] for p in photos])
    values = {name: np.empty_like(truth) for name in scores}
    for i, photo in enumerate(photos):
        for j, method in enumerate(methods):
            filled = read(args.fills / "methods" / method / f"{photo.name}.png")
            filled = np.where(photo.mask[..., None], filled, photo.image)
            for name, score in scores.items():
                values[name][i, j] = score(photo, filled)
    text = table(values, truth, methods)
    (args.out / "table.md").write_text(text)
    print(text)


def named_scores(
    assessor: Assessor, cache: PhotoCache, photos: list[Photo], args: argparse.Namespace
) -> dict[str, Score]:
    """Every score as a function, fitted where it has to be."""
    rng = np.random.default_rng(0)
    holes = [photo.mask for photo in photos]

    def features(photo: Photo, image: np.ndarray) -> np.ndarray:
        return np.asarray(crop_features(assessor.lite0, tensor(image)[0], windows(photo)[:WINDOWS]).mean(0))

    def crop(photo: Photo, image: np.ndarray) -> np.ndarray:
        y, x, side = windows(photo)[0]
        return np.ascontiguousarray(image[y : y + side, x : x + side])

    real = np.stack([features(*_sample(cache, holes, rng)) for _ in range(args.references)])
    gmm = GmmScore.fit(real)
    scores: dict[str, Score] = {
        "PAR hole": lambda p, f: -assessor.judge(f, p.mask).par_hole,
        "judge quality": lambda p, f: assessor.judge(f, p.mask).quality,
        "GIQA-GMM": lambda p, f: float(gmm(features(p, f)[None])[0]),
        "GIQA-KNN": lambda p, f: float(knn_score(features(p, f)[None], real)[0]),
    }
    if args.checkpoints:
        mbc = _mbc(args.checkpoints, features, cache, holes, rng)
        scores["GIQA-MBC"] = lambda p, f: float(mbc.score(features(p, f)[None])[0])
    if assessor.scorer is not None:
        scorer = assessor.scorer
        scores["scorer (RankIQA, student)"] = lambda p, f: scorer(crop(p, f))
    if assessor.natural is not None:
        natural = assessor.natural
        scores["natural photos (GMM)"] = lambda p, f: natural.log_likelihood(crop(p, f))
    return scores


def _sample(cache: PhotoCache, holes: list[np.ndarray], rng: np.random.Generator) -> tuple[Photo, np.ndarray]:
    """A photo of the cache with the hole of another as its mask."""
    i = int(rng.integers(len(cache)))
    image = np.array(cache[i])
    mask = cv2.resize(holes[int(rng.integers(len(holes)))].astype(np.uint8), image.shape[1::-1]) > 0
    return Photo(f"{cache.name(i)}-{i}", image, mask), image


def _mbc(
    checkpoints: list[str],
    features: Callable[[Photo, np.ndarray], np.ndarray],
    cache: PhotoCache,
    holes: list[np.ndarray],
    rng: np.random.Generator,
    count: int = 100,
) -> MbcScore:
    """Learned from `count` fills by every checkpoint and as many untouched photos."""
    rows, iterations = [], []
    for text in checkpoints:
        iteration, _, path = text.partition("=")
        fill = rivals.draft(Path(path))
        for _ in range(count):
            photo, image = _sample(cache, holes, rng)
            filled = np.where(photo.mask[..., None], fill(image.copy(), photo.mask.copy()), image)
            rows.append(features(photo, filled))
            iterations.append(float(iteration))
    for _ in range(count):
        rows.append(features(*_sample(cache, holes, rng)))
        iterations.append(np.inf)
    return MbcScore.fit(np.stack(rows), np.array(iterations), len(checkpoints))


def table(values: dict[str, np.ndarray], truth: np.ndarray, methods: list[str]) -> str:
    """Markdown; values and truth (photos, methods), higher = better."""
    lines = [
        f"{len(truth)} photos, {len(methods)} methods: {', '.join(methods)}.\n",
        "| score | agrees, all pairs | pairs over 0.1 apart | τ of method means |",
        "|---|---|---|---|",
    ]
    pairs = list(combinations(range(len(methods)), 2))
    for name, value in values.items():
        votes, clear = [], []
        for v, t in zip(value, truth, strict=True):
            right = np.array([0.5 if v[a] == v[b] else float((v[a] > v[b]) == (t[a] > t[b])) for a, b in pairs])
            far = np.array([abs(t[a] - t[b]) > CLEAR for a, b in pairs])
            votes.append(right.mean())
            clear += [right[far].mean()] if far.any() else []
        tau = kendalltau(value.mean(0), truth.mean(0)).statistic
        lines.append(f"| {name} | {_share(votes)} | {_share(clear)} | {tau:.2f} |")
    return "\n".join(lines) + "\n"


def _share(values: list[float]) -> str:
    low, high = bootstrap_interval(np.array(values))
    return f"{100 * np.mean(values):.0f} % ({100 * low:.0f}–{100 * high:.0f})"


if __name__ == "__main__":
    main()
