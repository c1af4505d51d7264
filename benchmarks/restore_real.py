"""Restorations of photos whose damage is real: noise, darkness, exposure stacks.

  python -m benchmarks.restore_real --data ../shared/data/eval --out runs/benchmark-real [--limit 6]

`noise/` holds X_real and X_mean (the clean mean of many shots), `lowlight/` dark photos, `exposure/` stacks (one prefix
before the last "-" a scene, up to five shots used). Written: a contact sheet for each, and real.md with what
was measured before and after: PSNR to the clean mean; mean brightness, share of dark and clipped pixels, colour
cast, noise and the scorer's number.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from restore import EnhanceResult, enhance
from restore.quality.metrics.no_reference import colour_cast, exposure, noise

RGB = NDArray[np.uint8]
SIDE = 384  # pixels, long side at which darkness and stacks are measured
CROP = 256  # pixels of the noisy photos, at their own size
TILE = 240  # pixels, side of a picture on a sheet


def loaded(path: Path, side: int | None) -> RGB:
    image = Image.open(path).convert("RGB")
    if side is None:
        left, top = (image.width - CROP) // 2, (image.height - CROP) // 2
        return np.array(image.crop((left, top, left + CROP, top + CROP)))
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.array(image)


def tile(image: RGB) -> RGB:
    scale = TILE / max(image.shape[:2])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.pad(small, [(0, TILE - small.shape[0]), (0, TILE - small.shape[1]), (0, 0)])


def measures(image: RGB) -> list[float]:
    light = exposure(image)
    return [light.mean, light.dark, light.bright, colour_cast(image), noise(image)]


def row(name: str, before: RGB, result: EnhanceResult, truth: RGB | None) -> list[float]:
    after = np.asarray(result.image, np.uint8)
    scores = [result.passes[0].score, result.passes[-1].score]
    pairs = [*zip(measures(before), measures(after), strict=True), tuple(scores)]
    if truth is not None:
        pairs.insert(0, (peak_signal_noise_ratio(truth, before), peak_signal_noise_ratio(truth, after)))
    print(name, " ".join(f"{a:.3g}→{b:.3g}" for a, b in pairs), result.parameters, flush=True)
    return [value for pair in pairs for value in pair]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="photos of each kind")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    names = ["mean brightness", "dark", "clipped", "colour cast", "noise", "score"]
    lines = ["| photos | " + " | ".join(["PSNR dB", *names]) + " |", "|" + "---|" * 8]
    kinds = (("noise", "denoise"), ("lowlight", "low-light"), ("exposure", "hdr"))
    for kind, task in (pair for pair in kinds if (args.data / pair[0]).is_dir()):
        rows, strips = [], []
        groups: dict[str, list[Path]] = defaultdict(list)
        for path in sorted((args.data / kind).glob("*.*")):
            stem = path.stem.rsplit("_", 1) if kind == "noise" else path.stem.rsplit("-", 1)
            groups[stem[0] if kind != "lowlight" else path.stem].append(path)
        for name, paths in list(groups.items())[: args.limit]:
            if kind == "noise":
                truth, photo = (loaded(p, None) for p in paths)  # _mean sorts before _real
                result, shown = enhance(photo, task=task), [photo]
            else:
                shots = [loaded(p, SIDE) for p in paths[:5]]
                shown, truth = sorted(shots, key=lambda shot: float(shot.mean())), None
                photo = shown[len(shown) // 2]
                result = enhance(shown if task == "hdr" else photo, task=task)
            rows.append(row(name, photo, result, truth))
            ends = [shown[0], shown[-1]] if task == "hdr" else [photo]
            pictures = [*ends, np.asarray(result.image, np.uint8)]
            strips.append(np.concatenate([tile(p) for p in ([*pictures, truth] if truth is not None else pictures)], 1))
        Image.fromarray(np.concatenate(strips)).save(args.out / f"sheet-{kind}.png")
        mean = np.mean(rows, 0).reshape(-1, 2)
        cells = [f"{a:.3g} → {b:.3g}" for a, b in mean]
        lines.append(f"| {kind} ({len(rows)}) | " + " | ".join(cells if kind == "noise" else ["", *cells]) + " |")
    (args.out / "real.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
