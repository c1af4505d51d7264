"""How often does the judge call untouched photos broken, by threshold? Chooses ARTIFACT of quality/judges/judge.py.

Example:
  python -m restore.training.calibrate_judge --photos runs/draft/photos --shapes ../shared/data/hole-shapes.npz \\
      --fills runs/fills
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from restore import Engine
from restore.training.data.photos import Holes, PhotoCache, random_crop

THRESHOLDS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder of a PhotoCache")
    parser.add_argument("--shapes", type=Path)
    parser.add_argument("--fills", type=Path, required=True, help="shards of make_fills, for the other side")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=99, help="another seed than the training's: other crops and holes")
    args = parser.parse_args()
    cache, holes, judge = PhotoCache(args.photos), Holes(args.shapes), Engine(device="cpu")._judge
    real: list[list[float]] = []
    for i in range(args.count):
        rng = np.random.default_rng([args.seed, i])
        photo = random_crop(cache[int(rng.integers(len(cache)))], 256, rng, least=0.7)
        hole = holes.sample(256, rng).astype(bool)
        p = judge(photo, hole).probability[hole]
        real.append([float((p > t).mean()) for t in THRESHOLDS])
    fake: list[list[float]] = []
    for folder in sorted(p for p in args.fills.iterdir() if p.suffix != ".part")[:2]:
        fill, mask = np.load(folder / "fill.npy", mmap_mode="r"), np.load(folder / "mask.npy")
        for i in range(0, len(fill), 2):
            hole = mask[i].astype(bool)
            p = judge(np.ascontiguousarray(fill[i, 0]), hole).probability[hole]
            fake.append([float((p > t).mean()) for t in THRESHOLDS])
    print("threshold  PAR of untouched photos  PAR of shift-map fills")
    for t, a, b in zip(THRESHOLDS, np.mean(real, 0), np.mean(fake, 0), strict=True):
        print(f"{t:9.2f}  {a:23.4f}  {b:22.4f}")


if __name__ == "__main__":
    main()
