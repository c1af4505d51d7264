"""Where should variants of a fill come from? Samples of the draft against weights of the shift map.

  python -m benchmarks.variants --data ../shared/data/eval/fill --out runs/benchmark-variants

Every source makes as many fills; reported are the mean feature distance to the truth, that of the best by truth, of
the judge's pick, and how far the fills of a photo are apart.
"""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from benchmarks import candidates
from benchmarks.fill import load, tensor
from restore.features.lite0 import trained_lite0
from restore.pipelines.fill.builtin import BuiltinPipeline, Strategy
from restore.quality.judges.judge import Judge
from restore.quality.metrics.full_reference import feature_distance
from restore.weights.store import load_weights

SOURCES = {
    "samples": [Strategy("sample", 0.7)] * 4,
    "weights of the guide (λ)": [Strategy("draft", lam) for lam in (0.15, 0.35, 0.7, 2.0)],
    "weights of the expectation (μ)": [Strategy("draft", 0.7, mu) for mu in (0.0, 0.5, 1.0, 2.0)],
    "working sizes": [Strategy("draft", 0.7, side=side) for side in (96, 112, 128, 160)],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of X.jpg and X.mask.png")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int)
    args = parser.parse_args()
    torch.set_num_threads(1)
    photos = load(args.data, args.limit)
    pipeline = BuiltinPipeline.shipped()
    lite0 = trained_lite0()
    judge = Judge(load_weights("judge"), lite0, torch.device("cpu"), pipeline.expectation)
    lines = ["| variants from | mean ↓ | best by truth ↓ | judge's pick ↓ | apart ↑ |", "|---|---|---|---|---|"]
    for i, (name, strategies) in enumerate(SOURCES.items()):
        folder = args.out / str(i)
        candidates.make(photos, pipeline, folder, strategies)
        rows = []
        for photo in photos:
            images = candidates.load(photo, folder, len(strategies))
            true = candidates.distances(photo, images, lite0)
            pick = int(np.argmin([judge(image, photo.mask).cost for image in images]))
            hole = torch.from_numpy(photo.mask)[None, None].float()
            with torch.inference_mode():
                pairs = [feature_distance(lite0, tensor(a), tensor(b), hole) for a, b in combinations(images, 2)]
            rows.append([true.mean(), true.min(), true[pick], float(torch.stack(pairs).mean())])
        lines.append(f"| {name} | " + " | ".join(f"{value:.3f}" for value in np.mean(rows, 0)) + " |")
        print(lines[-1], flush=True)
    (args.out / "table.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
