"""What the judge is worth: its artifact map against the truth, and its picks among the builtin's own candidates.

  python -m benchmarks.judge --data ../shared/data/eval/fill --fills runs/benchmark-fill/methods \\
      --out runs/benchmark-judge

DATA holds X.jpg and X.mask.png; FILLS holds a folder of X.png per method (benchmarks/fill.py writes them). The truth
of a pixel is the severity d > SEVERE of quality/judges/judge_net.py, of a fill the feature distance in its hole. OUT
gets the candidates, card.json, table.md and reliability.png; --record enters the card in the manifest.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks import candidates
from benchmarks.fill import Photo, load, read, tensor
from restore.features.lite0 import Lite0, trained_lite0
from restore.pipelines.fill.builtin import BuiltinPipeline
from restore.quality.judges.judge import Judge
from restore.quality.judges.judge_net import SEVERE, severity
from restore.training.publish import set_scores
from restore.weights.store import load_weights

UNSEEN = ("biharmonic", "shiftmap")  # never in training (OpenCV-contrib's shift map, not the builtin's)
BLURS = (1.5, 3.0, 6.0)  # pixels
BINS = 10

Array = NDArray[Any]


def pixel_truth(fill: NDArray[np.uint8], photo: Photo, lite0: Lite0) -> Array:
    """Severity of every pixel of a filled photo, (H, W) in [0, 2]."""
    h, w = photo.mask.shape
    size = (w // 16 * 16, h // 16 * 16)
    x, y = (tensor(cv2.resize(image, size, interpolation=cv2.INTER_AREA)) for image in (fill, photo.image))
    return np.asarray(cv2.resize(severity(lite0, x, y)[0, 0].numpy(), (w, h)))


def artifact_map(photos: list[Photo], folder: Path, judge: Judge, lite0: Lite0) -> dict[str, Array]:
    """Per pixel of the holes: artifact or not, the judge's probability; per photo: mean severity said and true."""
    columns: dict[str, list[Array]] = {"label": [], "probability": [], "said": [], "true": [], "par": [], "area": []}
    for photo in photos:
        fill = np.where(photo.mask[..., None], read(folder / f"{photo.name}.png"), photo.image)
        found, true = judge(fill, photo.mask), pixel_truth(fill, photo, lite0)
        pixels = np.flatnonzero(photo.mask)[::16]  # neighbours say the same
        columns["label"].append(true.ravel()[pixels] > SEVERE)
        columns["probability"].append(found.probability.ravel()[pixels])
        columns["said"].append(np.array([found.severity]))
        columns["true"].append(candidates.distances(photo, [fill], lite0))
        columns["par"].append(np.array([found.par_hole]))
        columns["area"].append(np.array([photo.mask.mean()]))
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def picks(photos: list[Photo], folder: Path, judge: Judge, lite0: Lite0) -> tuple[Array, Array]:
    """Feature distance to the truth and the judge's cost of every candidate, both (photos, K)."""
    true, said = [], []
    for photo in photos:
        images = candidates.load(photo, folder)
        true.append(candidates.distances(photo, images, lite0))
        said.append([judge(image, photo.mask).cost for image in images])
    return np.array(true), np.array(said)


def worth(true: Array, said: Array) -> dict[str, float]:
    """Mean distance of the judge's pick beside that of a random, last, best single and best candidate."""
    rows = np.arange(len(true))
    pick, single, oracle = true[rows, said.argmin(1)].mean(), true.mean(0).min(), true.min(1).mean()
    first, second = np.triu_indices(true.shape[1], 1)
    clear = np.abs(true[:, first] - true[:, second]) > 0.02
    right = (true[:, first] < true[:, second]) == (said[:, first] < said[:, second])
    return {
        "pick": pick,
        "random": true.mean(),
        "last": true[:, -1].mean(),
        "single": single,
        "oracle": oracle,
        "gap_closed": (single - pick) / (single - oracle),
        "gap_closed_from_random": (true.mean() - pick) / (true.mean() - oracle),
        "pair_agreement": right[clear].mean(),
    }


def sharp_beats_blurred(photos: list[Photo], judge: Judge) -> float:
    """Share of pairs in which the photo itself is judged better than the same photo with its hole blurred."""
    wins = []
    for photo in photos:
        own = judge(photo.image, photo.mask).severity
        for sigma in BLURS:
            blurred = np.where(photo.mask[..., None], cv2.GaussianBlur(photo.image, (0, 0), sigma), photo.image)
            wins.append(own < judge(blurred, photo.mask).severity)
    return float(np.mean(wins))


def reliability(label: Array, probability: Array, path: Path) -> float:
    """Expected calibration error, and its plot at `path`."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    which = np.minimum((probability * BINS).astype(int), BINS - 1)
    full = [b for b in range(BINS) if (which == b).any()]
    said, true = (np.array([values[which == b].mean() for b in full]) for values in (probability, label))
    share = np.array([(which == b).mean() for b in full])
    figure, axes = pyplot.subplots(figsize=(4, 4))
    axes.plot([0, 1], [0, 1], "k:")
    axes.plot(said, true, "o-")
    axes.set(xlabel="probability said", ylabel="share of artifacts", xlim=(0, 1), ylim=(0, 1))
    figure.savefig(path, dpi=120, bbox_inches="tight")
    pyplot.close(figure)
    return float((share * np.abs(said - true)).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of X.jpg and X.mask.png")
    parser.add_argument("--fills", type=Path, required=True, help="folder of METHOD/X.png")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--record", action="store_true", help="enter the card in restore/weights/MANIFEST.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    photos = load(args.data, args.limit)
    lite0 = trained_lite0()
    pipeline = BuiltinPipeline.shipped()
    judge = Judge(load_weights("judge"), lite0, torch.device("cpu"), pipeline.expectation)
    card: dict[str, float] = {}
    lines = [
        "| fills | AUROC ↑ | AP ↑ | share of artifacts | rank correlation with distance ↑ | PAR_hole |",
        "|" + "---|" * 6,
    ]
    unseen: list[dict[str, Array]] = []
    for folder in sorted(path for path in args.fills.iterdir() if path.is_dir()):
        found = artifact_map(photos, folder, judge, lite0)
        auroc, ap = (f(found["label"], found["probability"]) for f in (roc_auc_score, average_precision_score))
        rank = spearmanr(found["said"], found["true"]).statistic
        share, par = found["label"].mean(), found["par"].mean()
        lines.append(f"| {folder.name} | {auroc:.3f} | {ap:.3f} | {share:.3f} | {rank:.3f} | {par:.3f} |")
        if folder.name in UNSEEN:
            unseen.append(found)
            card |= {f"auroc_{folder.name}": auroc, f"ap_{folder.name}": ap, f"rank_{folder.name}": rank}
        if folder.name == "builtin":
            card["par_rises_with_area"] = spearmanr(found["area"], found["par"]).statistic
    label, probability = (np.concatenate([f[name] for f in unseen]) for name in ("label", "probability"))
    card["calibration_error"] = reliability(label, probability, args.out / "reliability.png")
    card["par_untouched"] = float(np.mean([judge(photo.image, photo.mask).par_hole for photo in photos]))
    card["sharp_beats_blurred"] = sharp_beats_blurred(photos, judge)
    candidates.make(photos, pipeline, args.out / "candidates")
    card |= worth(*picks(photos, args.out / "candidates", judge, lite0))
    card = {name: round(float(value), 4) for name, value in card.items()}
    lines += ["", "| measure | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in card.items())]
    (args.out / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    (args.out / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    if args.record:
        set_scores("judge", card)


if __name__ == "__main__":
    main()
