"""Old photos brought back: how near to the clean photo, and that photos which are not old stay as they are.

  python -m benchmarks.old_photos --data ../shared/data/eval/fill --out runs/old-photos [--photos 60] [--side 448]

Photos no training saw are aged by benchmarks/aged_photos.py, which no training used, and restored by
`restore.enhance(task="old-photo")`. Distances to the clean one before and after: PSNR, and of features of
EfficientNet-Lite0. Each photo is also given untouched: what changed of it outside what was found, in levels of 255.
Written after every photo: rows.json, table.md and a sheet (clean, aged, restored) to look at.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from benchmarks.aged_photos import aged
from restore.api import Engine
from restore.features.lite0 import trained_lite0
from restore.quality.metrics.full_reference import feature_distance

RGB = NDArray[np.uint8]
SHOWN, TILE = 10, 320  # photos on the sheet, pixels of their longer side


def features(lite0: Any, a: RGB, b: RGB) -> float:
    x, y = (torch.from_numpy(i.astype(np.float32) / 255).permute(2, 0, 1)[None] for i in (a, b))
    with torch.no_grad():
        return float(feature_distance(lite0, x, y, torch.ones(1, 1, *x.shape[2:])))


def measured(engine: Engine, lite0: Any, photo: RGB, seed: int, passes: int) -> tuple[dict[str, float], list[RGB]]:
    clean, old = aged(photo, np.random.default_rng([3, seed]))
    begun = time.perf_counter()
    result = engine.enhance(old, task="old-photo", passes=passes)
    row = {
        "psnr_before": float(peak_signal_noise_ratio(clean, old)),
        "psnr": float(peak_signal_noise_ratio(clean, result.image)),
        "features_before": features(lite0, old, clean),
        "features": features(lite0, result.image, clean),
        "seconds": time.perf_counter() - begun,
    }
    row |= {f"psnr_after_{step}": float(peak_signal_noise_ratio(clean, p)) for step, p in result.stages[1:]}
    same = engine.enhance(photo, task="old-photo", passes=passes)
    assert same.mask is not None  # of this task it never is
    outside = np.abs(same.image.astype(np.float32) - photo)[~same.mask]
    row |= {"untouched": float(outside.mean()), "untouched_found": float(same.mask.mean())}
    return row | {"untouched_same": float(bool(same.nothing))}, [clean, old, result.image]


def table(rows: list[dict[str, float]]) -> str:
    def column(name: str) -> NDArray[np.float64]:
        return np.array([row[name] for row in rows if name in row])

    gain = column("psnr") - column("psnr_before")
    nearer = column("features") < column("features_before")
    lines = [
        ("photos", f"{len(rows)}"),
        ("PSNR, dB", f"{column('psnr_before').mean():.2f} → {column('psnr').mean():.2f} ({gain.mean():+.2f})"),
        ("nearer to the clean photo by PSNR", f"{(gain > 0).mean():.0%}"),
        ("feature distance", f"{column('features_before').mean():.3f} → {column('features').mean():.3f}"),
        ("nearer by features", f"{nearer.mean():.0%}"),
        *((f"PSNR after {s}", f"{column(f'psnr_after_{s}').mean():.2f}") for s in ("scratches", "grain", "tone")),
        ("untouched photos said to be sound", f"{column('untouched_same').mean():.0%}"),
        ("untouched, changed under 1 level outside what was found", f"{(column('untouched') < 1).mean():.0%}"),
        ("untouched, painted over", f"{column('untouched_found').mean():.2%}"),
        ("seconds", f"{column('seconds').mean():.1f}"),
    ]
    return "\n".join(["| measure | |", "|---|---|", *(f"| {name} | {value} |" for name, value in lines)]) + "\n"


def strip(pictures: list[RGB]) -> RGB:
    tiles = []
    for picture in pictures:
        scale = TILE / max(picture.shape[:2])
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        tiles.append(np.pad(small, [(0, TILE - small.shape[0]), (0, TILE - small.shape[1]), (0, 0)]))
    return np.concatenate(tiles, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=60)
    parser.add_argument("--side", type=int, default=448, help="pixels, long side")
    parser.add_argument("--passes", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    paths = sorted(args.data.glob("*.jpg"))
    chosen = [int(i) for i in np.linspace(0, len(paths) - 1, min(args.photos, len(paths)))]
    chosen = np.random.default_rng(0).permutation(chosen).tolist()  # those measured first are of all kinds
    engine, lite0 = Engine(device="cpu"), trained_lite0()
    rows: list[dict[str, float]] = []
    strips: list[RGB] = []
    for i in chosen:
        image = Image.open(paths[i]).convert("RGB")
        image.thumbnail((args.side, args.side), Image.Resampling.LANCZOS)
        row, pictures = measured(engine, lite0, np.array(image), i, args.passes)
        rows.append(row)
        print(paths[i].name, {name: round(value, 3) for name, value in row.items()}, flush=True)
        if len(strips) < SHOWN:
            strips.append(strip(pictures))
            Image.fromarray(np.concatenate(strips)).save(args.out / "sheet.png")
        (args.out / "rows.json").write_text(json.dumps(rows))
        (args.out / "table.md").write_text(table(rows), encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
