"""What is laid over photos: how well it is found on photos and drawings never trained on, what removing it is worth.

  python -m benchmarks.overlays --data ../shared/data/photos-00.tar --fonts FOLDER --out runs/benchmark-overlays

The last 256 photos of DATA are used, which no training saw. Detection: crops of 224² with one drawn overlay
(benchmarks/overlay_drawings.py), blurred, noised and coded as in training; a pixel belongs to the class from a cover of
LABELLED on, and pixels that the overlay covers without changing them are left out. Removal: whole photos, overlaid and
not damaged otherwise; the photo as found and repaired by `restore.inpaint(find=…, passes=1)` against the clean one.
OUT gets card.json, table.md and sheets to look at; --record enters the card in the manifest.
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

from benchmarks.overlay_drawings import drawings
from restore.api import Engine
from restore.errors import ObjectNotFoundError
from restore.features.lite0 import trained_lite0
from restore.grounding.meaning import OverlayKind
from restore.grounding.overlay_finder import EmbeddedOverlays
from restore.quality.metrics.full_reference import feature_distance
from restore.training.data.lettering import Fonts
from restore.training.data.overlays import CLASSES, overlaid
from restore.training.data.photos import PhotoCache, random_crop
from restore.training.publish import set_scores
from restore.weights.store import load_weights

HELD_OUT, CROP, LEAST = 256, 224, 0.72
KINDS: tuple[OverlayKind, ...] = ("text", "watermark", "scratches", "dust", "wires")  # of CLASSES, in their order
SHOWN = 8  # pictures on a sheet

Array = NDArray[Any]


def detection(photos: list[Array], finder: EmbeddedOverlays, fonts: Fonts, many: int, out: Path) -> dict[str, float]:
    """IoU and recall of each class over `many` pictures; false alarms on as many untouched photos."""
    draw = drawings(fonts, CROP)
    card: dict[str, float] = {}
    for c, (name, kind) in enumerate(zip(CLASSES, KINDS, strict=True)):
        rng, both, any_, true, rows = np.random.default_rng([7, c]), 0.0, 0.0, 0.0, []
        for i in range(many):
            crop = random_crop(photos[i % len(photos)], CROP, rng, LEAST)
            picture, label, weight = overlaid(crop, rng, draw, dict.fromkeys(CLASSES, 0.0) | {name: 1.0})
            image = (picture * 255 + 0.5).astype(np.uint8)
            found = finder.laid_over(image, (kind,))
            hit = np.any([np.zeros((CROP, CROP), np.bool_), *(f.mask for f in found)], axis=0) * weight[c]
            y = label[c] * weight[c]
            both, any_, true = both + (hit * y).sum(), any_ + np.maximum(hit, y).sum(), true + y.sum()
            rows.append(np.hstack((image, _marked(hit > 0, y > 0))))
        card |= {f"iou_{kind}": both / any_, f"recall_{kind}": both / true}
        _sheet(out / f"found-{kind}.png", rows)
    alarms: dict[str, list[float]] = {kind: [] for kind in (*KINDS, "all")}
    for photo in photos[:many]:
        masks = []
        for kind in KINDS:
            found = finder.laid_over(photo, (kind,))
            masks.append(np.any([np.zeros(photo.shape[:2], np.bool_), *(f.mask for f in found)], axis=0))
            alarms[kind].append(float(masks[-1].mean()))
        alarms["all"].append(float(np.any(masks, axis=0).mean()))
    card |= {f"false_alarms_{kind}": float(np.mean(a)) for kind, a in alarms.items()}
    return card | {f"refused_untouched_{kind}": float(np.mean(np.array(a) == 0)) for kind, a in alarms.items()}


def removal(photos: list[Array], engine: Engine, fonts: Fonts, out: Path) -> dict[str, float]:
    """Share of photos that the repair brings nearer to the clean one than the overlaid one is, by root mean square and
    by feature distance, of those in which the overlay was found."""
    lite0 = trained_lite0()
    rows: dict[str, list[tuple[float, ...]]] = {kind: [] for kind in KINDS}
    missed: dict[str, int] = dict.fromkeys(KINDS, 0)
    sheets: dict[str, list[Array]] = {kind: [] for kind in KINDS}
    for i, photo in enumerate(photos):
        side = min(photo.shape[:2]) // 16 * 16
        clean, c = photo[:side, :side], i % len(KINDS)
        kind, rng = KINDS[c], np.random.default_rng([9, i])
        over, *_ = drawings(fonts, side)[CLASSES[c]](rng).over(clean.astype(np.float32) / 255)
        damaged = (over.clip(0, 1) * 255 + 0.5).astype(np.uint8)
        try:
            repaired = engine.inpaint(damaged, find=kind, passes=1).image
        except ObjectNotFoundError:
            missed[kind] += 1
            continue
        pair = damaged, repaired
        rows[kind].append((*(_rms(x, clean) for x in pair), *(_features(lite0, x, clean) for x in pair)))
        sheets[kind].append(np.hstack((damaged, repaired)))
    for name, pictures in sheets.items():
        if pictures:
            _sheet(out / f"removed-{name}.png", pictures)
    card: dict[str, float] = {}
    for name, found in [*rows.items(), ("all", [r for rs in rows.values() for r in rs])]:
        if found:
            before, after, features_before, features_after = np.array(found).T
            card |= {
                f"nearer_{name}": float((after < before).mean()),
                f"nearer_features_{name}": float((features_after < features_before).mean()),
                f"rms_before_{name}": float(before.mean()),
                f"rms_after_{name}": float(after.mean()),
            }
    return card | {f"missed_{name}": float(n) for name, n in missed.items()} | {"photos": float(len(photos))}


def _rms(x: Array, y: Array) -> float:
    return float(np.sqrt(np.square(x.astype(np.float64) - y).mean()))


def _features(lite0: Any, x: Array, y: Array) -> float:
    a, b = (torch.from_numpy(i.astype(np.float32) / 255).permute(2, 0, 1)[None] for i in (x, y))
    with torch.no_grad():
        return float(feature_distance(lite0, a, b, torch.ones(1, 1, *x.shape[:2])))


def _marked(hit: Array, true: Array) -> Array:
    """Green: found; blue: missed; red: found where nothing is."""
    return np.stack((hit & ~true, hit & true, true & ~hit), 2).astype(np.uint8) * np.uint8(255)


def _sheet(path: Path, pictures: list[Array]) -> None:
    side = max(p.shape[0] for p in pictures)
    fitted = [cv2.copyMakeBorder(p, 0, side - p.shape[0], 0, 2 * side - p.shape[1], 0) for p in pictures[:SHOWN]]
    rows = [np.hstack(fitted[i : i + 2]) for i in range(0, len(fitted) - len(fitted) % 2, 2)] or [fitted[0]]
    cv2.imwrite(str(path), np.vstack(rows)[:, :, ::-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="photos-00.tar")
    parser.add_argument("--fonts", type=Path, required=True, help="folder of fonts that were not trained on")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=48, help="per class, and untouched")
    parser.add_argument("--removals", type=int, default=50, help="photos overlaid and repaired")
    parser.add_argument("--record", action="store_true", help="enter the card in restore/weights/MANIFEST.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    cache = PhotoCache.open(args.out.parent / "cache", [args.data])
    photos = [cache[i] for i in range(len(cache) - HELD_OUT, len(cache))]
    photos = photos[:: max(1, HELD_OUT // max(args.pictures, args.removals))]  # sources stand together: of each a few
    engine, fonts = Engine(device="cpu"), Fonts([args.fonts])
    finder = EmbeddedOverlays(load_weights("overlay"), trained_lite0(), torch.device("cpu"))
    card = detection(photos, finder, fonts, args.pictures, args.out)
    if args.removals:
        card |= removal(photos[: args.removals], engine, fonts, args.out)
    card = {name: round(float(value), 5) for name, value in card.items()}
    lines = ["| measure | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in card.items())]
    (args.out / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    (args.out / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    if args.record:
        set_scores("overlay", card)


if __name__ == "__main__":
    main()
