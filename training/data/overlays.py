"""Photos with drawn overlays, the damage that comes after, and what should be found.

Order from far to near: wires, dust, scratches, watermarks, text. Nothing is learned from pixels that a layer covers
without changing them, nor about text from a watermark's letters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np

from restore.training.data.layers import Array, Layer
from restore.training.data.lettering import Fonts, text
from restore.training.data.marks import dust, scratch, wire
from restore.training.data.watermarks import watermark

CLASSES = ("text", "watermark", "scratch", "dust", "wire")
ORDER = (4, 3, 2, 1, 0)
LABELLED = 0.15  # share of a pixel, blurred like the picture, from which it is one of the class and to be repainted
TOUCHED = 0.1  # share from which a pixel counts as covered
Draw = Callable[[np.random.Generator], Layer]


def drawings(fonts: Fonts, size: int) -> dict[str, Draw]:
    """What draws one layer (size, size) of each of CLASSES."""
    return {
        "text": lambda rng: text(rng, size, fonts),
        "watermark": lambda rng: watermark(rng, size, fonts),
        "scratch": lambda rng: scratch(rng, size),
        "dust": lambda rng: dust(rng, size),
        "wire": lambda rng: wire(rng, size),
    }


def overlaid(
    photo: Array, rng: np.random.Generator, draw: Mapping[str, Draw], shares: Mapping[str, float]
) -> tuple[Array, Array, Array]:
    """(picture (s, s, 3), labels (5, s, s), weights (5, s, s)) in [0, 1], float32, of a photo (s, s, 3) uint8.

    shares: of the pictures that get a layer of a class.
    """
    picture = photo.astype(np.float32) / 255
    picture = aged(picture, rng) if rng.random() < 0.5 else picture
    cover = np.zeros((*picture.shape[:2], len(CLASSES)), np.float32)
    seen = np.ones(cover.shape, np.bool_)
    for c in ORDER:
        if rng.random() >= shares[CLASSES[c]]:
            continue
        picture, alpha, cover_of_c, seen[..., c] = draw[CLASSES[c]](rng).over(picture)
        cover *= (1 - alpha)[..., None]
        cover[..., c] = cover_of_c
    picture, cover = degraded(picture, cover, rng)
    label, weight = targets(cover, seen)
    return picture, label.transpose(2, 0, 1), weight.transpose(2, 0, 1)


def aged(photo: Array, rng: np.random.Generator) -> Array:
    """A photo in other light; some grey or brown, as scratched ones are."""
    if rng.random() < 0.22:
        tint = np.array([1.05, 0.95, 0.78] if rng.random() < 0.4 else [1, 1, 1], np.float32)
        photo = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[..., None] * tint
    mean = photo.mean()
    return ((photo - mean) * rng.uniform(0.75, 1.15) + mean * rng.uniform(0.75, 1.2)).clip(0, 1).astype(np.float32)


def degraded(picture: Array, cover: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Blur (of the cover too), noise, JPEG: each on a part of the pictures."""
    sigma = rng.uniform(-1.1, 1.1)
    if sigma > 0.3:
        picture, cover = (cv2.GaussianBlur(x, (0, 0), sigma) for x in (picture, cover))
    if rng.random() < 0.06:
        picture = np.repeat(picture.mean(2, keepdims=True), 3, 2)
    noise = max(0.0, rng.uniform(-0.03, 0.035))
    same = rng.random() < 0.5
    picture = picture + noise * rng.standard_normal((*picture.shape[:2], 1 if same else 3), np.float32)
    if rng.random() < 0.6:
        y, x = rng.integers(0, 8, 2)  # the blocks of a cut photo begin anywhere
        stored = np.roll(picture, (y, x), (0, 1))
        how = [cv2.IMWRITE_JPEG_QUALITY, int(rng.uniform(35, 97))]
        coded = cv2.imencode(".jpg", (stored.clip(0, 1) * 255).astype(np.uint8), how)[1]
        decoded = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)).astype(np.float32) / 255
        picture = np.roll(decoded, (-y, -x), (0, 1))
    return picture.clip(0, 1).astype(np.float32), cover


def targets(cover: Array, seen: Array) -> tuple[Array, Array]:
    """(labels, weights), both (h, w, 5) float32 in {0, 1}, of the cover by each class and where it can be seen."""
    label = cover > LABELLED
    weight = ~((cover > TOUCHED) & ~seen)
    weight[..., 0] &= label[..., 0] | (cover[..., 1] <= TOUCHED)
    return label.astype(np.float32), weight.astype(np.float32)
