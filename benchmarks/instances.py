"""Touching things of one kind: how often is their number right, on pasted groups of cut-outs never trained on?

Example:
  python -m benchmarks.instances --data ../shared/data --count 60

Cats, dogs and people of objects.tar (every 16th, held out in training/recipes/instances.py), one or two to a photo,
pasted side by side or before each other; a pair is right where two things are found.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

from restore import Engine
from restore.grounding.vocabulary import Vocabulary
from restore.training.data.photos import PhotoCache
from restore.training.data.scenes import load_objects
from restore.training.recipes.instances import group, pools


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--count", type=int, default=60, help="scenes, half of them pairs [default: 60]")
    args = parser.parse_args()
    cuts, rng = load_objects(args.data / "objects.tar"), np.random.default_rng(5)
    cache = PhotoCache.open(args.cache, [args.data])
    plain = [i for i in range(len(cache)) if cache.name(i).startswith(("houses", "landscape"))]
    grounder, chosen = Engine(device="cpu")._grounder, pools(cuts, held_out=True)
    found: dict[tuple[str, int], Counter[int]] = {}
    for k in range(args.count):
        kind, count = ("cat", "dog", "person")[k % 3], 1 + k // 3 % 2
        picked = rng.choice(chosen[kind], count, replace=False).tolist()
        scene = group(cuts, picked, cache[plain[rng.integers(len(plain))]], rng)
        entry = Vocabulary.load().lookup(kind)
        number = len(grounder.find(scene.image, entry.classes, entry.person))
        found.setdefault((kind, count), Counter())[number] += 1
    print("| kind | there | right | found: times |\n|---|---|---|---|")
    for (kind, count), numbers in sorted(found.items(), key=lambda row: (row[0][1], row[0][0])):
        print(f"| {kind} | {count} | {numbers[count] / numbers.total():.2f} | {dict(sorted(numbers.items()))} |")
    for count in (1, 2):
        rows = [numbers for (_, there), numbers in found.items() if there == count]
        print(f"right of {count}: {sum(r[count] for r in rows) / max(1, sum(r.total() for r in rows)):.3f}")


if __name__ == "__main__":
    main()
