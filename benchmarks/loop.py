"""Is the loop worth its passes? PAR and distance to the truth after every pass, and PAR of untouched photos.

Example:
  python -m benchmarks.loop --data ../shared/data/eval/fill --out runs/benchmark-loop
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.fill import Photo, load, tensor
from restore import Engine
from restore.edit.area import Area
from restore.features.lite0 import Lite0, trained_lite0
from restore.quality.metrics.full_reference import feature_distance
from restore.training.publish import set_scores


def distance(lite0: Lite0, photo: Photo, image: np.ndarray) -> float:
    """Feature distance of a filled photo to the truth, inside the hole."""
    mask: Tensor = tensor(photo.mask[..., None].astype(np.uint8) * 255)[:, :1]
    with torch.no_grad():
        return float(feature_distance(lite0, tensor(image), tensor(photo.image), mask))


def pasted(photo: Photo, areas: list[Area]) -> np.ndarray:
    image = photo.image.copy()
    for area in areas:
        image[area.window.slices][area.hole] = area.image[area.hole]
    return image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of X.jpg and X.mask.png")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--candidates", type=int, default=3)
    parser.add_argument("--record", action="store_true", help="enter the figures in restore/weights/MANIFEST.json")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    engine, lite0 = Engine(device="cpu"), trained_lite0()
    rows: list[dict[str, Any]] = []
    for photo in load(args.data, args.limit):
        real = engine.assess(photo.image, mask=photo.mask)
        result = engine.inpaint(photo.image, mask=photo.mask, passes=args.passes, candidates=args.candidates)
        outcome = result.outcome
        distances = [distance(lite0, photo, pasted(photo, areas)) for areas in outcome.history]
        proposed = [distance(lite0, photo, pasted(photo, areas)) for areas in outcome.proposed]
        first, last = result.passes[0], [p for p in result.passes if p.accepted][-1]
        later = list(zip(result.passes[1:], distances, proposed[1:], strict=False))  # pass, before, what it proposed
        row: dict[str, Any] = {
               "name": photo.name, "par_real": real.par_hole, "par_first": first.par_hole, "par_last": last.par_hole,
               "distance_first": distances[0], "distance_last": distances[-1], "passes": len(result.passes),
               "later": len(later), "right": sum(p.accepted == (new < old) for p, old, new in later),
               "kept": sum(p.accepted for p, _, _ in later),
               "kept_nearer": sum(p.accepted and new < old for p, old, new in later),
               "stop": result.stop, "seconds_per_pass": result.seconds / len(result.passes)}  # fmt: skip
        rows.append(row)
        print({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
    with open(args.out / "loop.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    mean = {k: float(np.mean([r[k] for r in rows])) for k, v in rows[0].items() if isinstance(v, (int, float))}
    changed = [r for r in rows if r["distance_last"] != r["distance_first"]]
    right = sum(r["distance_last"] < r["distance_first"] for r in changed)
    later_passes, right_passes, kept, nearer = (
        sum(r[key] for r in rows) for key in ("later", "right", "kept", "kept_nearer")
    )
    table = [
        f"{len(rows)} photos, {args.passes} passes of {args.candidates} candidates",
        f"PAR_hole: first pass {mean['par_first']:.4f}, after the loop {mean['par_last']:.4f}, "
        f"ratio {mean['par_last'] / max(1e-9, mean['par_first']):.3f}; untouched photos {mean['par_real']:.4f}",
        f"Feature distance to truth: first pass {mean['distance_first']:.4f}, "
        f"after the loop {mean['distance_last']:.4f}",
        f"Photos that later passes changed: {len(changed)}, nearer to the truth {right}",
        f"Later passes: {later_passes}, kept or rolled back as the truth would "
        f"{right_passes / max(1, later_passes):.0%}; kept {kept}, nearer to the truth {nearer / max(1, kept):.0%}",
        f"Seconds per pass {mean['seconds_per_pass']:.2f}; passes {mean['passes']:.2f}",
    ]
    (args.out / "table.md").write_text("\n".join(table) + "\n")
    if args.record:
        card = {"loop_par_ratio": mean["par_last"] / max(1e-9, mean["par_first"])}
        card |= {"loop_par_untouched": mean["par_real"]}
        card |= {"loop_decisions_right": right_passes / max(1, later_passes)}
        card |= {"loop_kept_nearer_to_truth": nearer / max(1, kept)}
        set_scores("judge", {name: round(value, 4) for name, value in card.items()})
    print("\n".join(table))


if __name__ == "__main__":
    main()
