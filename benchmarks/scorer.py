"""Does the quality scorer put distorted photos in the right order? Photos and three distortions it never saw.

Example:
  python -m benchmarks.scorer scorer --photos ../shared/data/eval/restore --out runs/benchmark-scorer
  python -m benchmarks.scorer scorer --photos ../shared/data/eval/restore --cache runs/scorer/photos-… --out … --record
  python -m benchmarks.scorer natural --photos ../shared/data/eval/restore --out runs/benchmark-scorer

Per distortion: pairs of a ladder (photo and five levels) in the right order, whole ladders in order, mean score of
each level. For the scorer also how far the score of a whole photo moves when it is mirrored, trimmed or reduced a
little. The mixture of natural photos (quality/judges/natural.py) has seen no distortion; its order is a by-product.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from scipy.stats import spearmanr
from tqdm import tqdm

from restore.features.lite0 import trained_lite0
from restore.quality.judges.natural import NaturalPhotos
from restore.quality.judges.scorer import Scorer
from restore.training.data.distortions import DISTORTIONS, LEVELS, TRAINED, distort
from restore.training.data.photos import PhotoCache
from restore.training.publish import set_scores
from restore.weights.store import load_weights

Photos = list[tuple[str, np.ndarray]]


def read_photos(folder: Path) -> Photos:
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".png", ".jpg", ".webp"))
    return [(p.stem, np.ascontiguousarray(np.asarray(cv2.imread(str(p)))[..., ::-1])) for p in paths]


def window(photo: np.ndarray, side: int) -> np.ndarray:
    """The centre square, so that every photo costs the same."""
    y, x = (max(0, n - side) // 2 for n in photo.shape[:2])
    return np.ascontiguousarray(photo[y : y + side, x : x + side])


def ordered(scores: np.ndarray) -> float:
    """Share of the pairs of a ladder (best rung first) in the right order."""
    better, worse = np.triu_indices(len(scores), 1)
    return float((scores[better] > scores[worse]).mean())


def moved(scorer: Scorer, photos: Photos) -> dict[str, float]:
    """Mean |change| in points of whole photos."""
    found: dict[str, list[float]] = {}
    for _, photo in tqdm(photos, desc="stability"):
        whole = scorer(photo)
        changed = {
            "mirrored": photo[:, ::-1],
            "trimmed by 5 px a side": photo[5:-5, 5:-5],
            "trimmed by a tenth a side": window_share(photo, 0.8),
            "reduced to 90 %": reduced(photo, 0.9),
            "reduced to 75 %": reduced(photo, 0.75),
        }
        for name, other in changed.items():
            found.setdefault(name, []).append(abs(scorer(np.ascontiguousarray(other)) - whole))
    return {name: float(np.mean(values)) for name, values in found.items()}


def window_share(photo: np.ndarray, share: float) -> np.ndarray:
    top, left = (round(n * (1 - share) / 2) for n in photo.shape[:2])
    return photo[top : photo.shape[0] - top, left : photo.shape[1] - left]


def reduced(photo: np.ndarray, scale: float) -> np.ndarray:
    return cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def ladders(measure: Callable[[np.ndarray], float], photos: Photos) -> np.ndarray:
    """`measure` of every rung: (distortions, photos, levels + 1)."""
    found = np.zeros((len(DISTORTIONS), len(photos), LEVELS + 1))
    for j, (_, photo) in enumerate(tqdm(photos, desc="ladders")):
        found[:, j, 0] = measure(photo)
        for i, name in enumerate(DISTORTIONS):
            found[i, j, 1:] = [measure(distort(name, photo, level, seed=j)) for level in range(1, LEVELS + 1)]
    return found


def summary(found: np.ndarray) -> tuple[dict[str, float], list[str]]:
    """Figures and a table of `ladders`."""
    rank = np.array([[ordered(row) for row in rows] for rows in found]).mean(1)
    strict = (np.diff(found, axis=2) < 0).all(2).mean(1)
    seen = np.array([name in TRAINED for name in DISTORTIONS])
    levels = np.broadcast_to(np.arange(LEVELS + 1), found[seen].shape)
    figures = {
        "photos": found.shape[1],
        "rank_accuracy": float(rank[seen].mean()),
        "rank_accuracy_worst_distortion": float(rank[seen].min()),
        "rank_accuracy_unseen_distortions": float(rank[~seen].mean()),
        "monotone_ladders": float(strict[seen].mean()),
        "spearman_with_level": float(-spearmanr(found[seen].ravel(), levels.ravel()).statistic),
    }
    lines = ["| distortion | pairs in order | ladders in order | mean at level 0, 1 … 5 |", "|---|---|---|---|"]
    for i, name in enumerate(DISTORTIONS):
        means = " ".join(f"{v:.3g}" for v in found[i].mean(0))
        title = name.replace("_", " ") + ("" if seen[i] else " (never trained on)")
        lines.append(f"| {title} | {rank[i]:.3f} | {strict[i]:.2f} | {means} |")
    return figures, lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=("scorer", "natural"))
    parser.add_argument("--photos", type=Path, required=True, help="folder of undistorted photos")
    parser.add_argument("--cache", type=Path, help="decoded cache of the scorer's run: its last 200 were kept out")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=12, help="photos from either source")
    parser.add_argument("--side", type=int, default=256, help="of the centre square that is scored")
    parser.add_argument("--record", action="store_true", help="enter the figures in restore/weights/MANIFEST.json")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    whole = read_photos(args.photos)[: args.limit]
    photos = [(name, window(photo, args.side)) for name, photo in whole]
    if args.cache is not None:
        cache = PhotoCache(args.cache)
        last = np.linspace(len(cache) - 200, len(cache) - 1, args.limit).astype(int)
        photos += [(cache.name(int(i)), window(np.array(cache[int(i)]), args.side)) for i in last]
    lite0 = trained_lite0()
    if args.model == "scorer":
        scorer = Scorer(load_weights("scorer"), lite0)
        figures, lines = summary(ladders(scorer, photos))
        figures |= {f"points_moved_{name.replace(' ', '_')}": v for name, v in moved(scorer, whole[:6]).items()}
    else:
        figures, lines = summary(ladders(NaturalPhotos(load_weights("natural"), lite0).log_likelihood, photos))
    lines += ["", *(f"- {name.replace('_', ' ')}: {value:.3f}" for name, value in figures.items())]
    (args.out / f"{args.model}.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    if args.record:
        set_scores(args.model, figures)


if __name__ == "__main__":
    main()
