"""Other drawings than the trained ones, to measure by: other fonts, other scratches, wires and specks.

Scratches are random walks of turning and changing width, specks are levels of smooth noise, wires are true catenaries,
drawn as sums of discs in floating point rather than as polylines.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from PIL import Image, ImageDraw

from restore.training.data.layers import Array, Layer
from restore.training.data.lettering import Fonts, font, phrase, stamp
from restore.training.data.overlays import Draw

SCALE = 4


def drawings(fonts: Fonts, size: int) -> dict[str, Draw]:
    """What draws one layer (size, size) of each class."""
    return {
        "text": lambda rng: text(rng, size, fonts),
        "watermark": lambda rng: watermark(rng, size, fonts),
        "scratch": lambda rng: scratch(rng, size),
        "dust": lambda rng: dust(rng, size),
        "wire": lambda rng: wire(rng, size),
    }


def _layer(cover: Array, tone: float, opacity: float) -> Layer:
    return Layer(cover.clip(0, 1), np.full((*cover.shape, 3), tone, np.float32), cover.clip(0, 1), opacity)


def discs(size: int, points: Array, width: Array) -> Array:
    """Cover of a line of changing width: discs on a picture four times larger, averaged."""
    big = np.zeros((size * SCALE, size * SCALE), np.uint8)
    for (x, y), r in zip(points * SCALE * 16, np.maximum(width * SCALE * 8, 8), strict=True):
        if -640 < x < (size + 10) * 64 and -640 < y < (size + 10) * 64:
            cv2.circle(big, (int(x), int(y)), int(r), 255, -1, cv2.LINE_8, 4)
    return cv2.resize(big, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def text(rng: np.random.Generator, size: int, fonts: Fonts) -> Layer:
    alpha, label = np.zeros((size, size), np.float32), np.zeros((size, size), np.float32)
    colour: Array = np.zeros((size, size, 3), np.float32)
    height = int(np.exp(rng.uniform(math.log(10), math.log(60))))
    kind = int(rng.integers(4))
    path = str(rng.choice(fonts.latin))
    dated = kind == 3
    if dated and rng.random() < 0.5 and fonts.digits:
        path = str(rng.choice(fonts.digits))
    height = min(height, 30) if kind >= 2 else height
    face = font(path, height)
    script = "cyrillic" if path in fonts.by_script["cyrillic"] and rng.random() < 1 / 3 else "latin"
    inks = [np.ones(3), np.zeros(3), np.array([1, 0.9, 0.1]), rng.random(3)]
    ink = np.array([1, 0.55, 0.1]) if dated else inks[rng.integers(4)]
    rows = 1 if dated else int(rng.integers(1, 4))
    y = rng.uniform(0.02, 0.95) * size - height * rows / 2
    for _ in range(rows):
        words = stamp(rng) if dated else phrase(rng, script, max(1, int(size / height / 3)))
        width = face.getlength(words)
        x = (size - width) / 2 if kind == 2 else rng.uniform(-0.1, 0.5) * size
        outline = max(1, height // 14) if kind == 2 else 0
        for pen_width, value in ((outline, np.zeros(3)), (0, ink)) if outline else ((0, ink),):
            page = Image.new("L", (size, size))
            ImageDraw.Draw(page).text((x, y), words, 255, font=face, stroke_width=pen_width)
            cover = np.asarray(page).astype(np.float32) / 255
            colour = colour * (1 - cover[..., None]) + cover[..., None] * value
            alpha, label = np.maximum(alpha, cover), np.maximum(label, cover)
        y += height * 1.35
    return Layer(alpha, colour / np.maximum(alpha, 1e-4)[..., None], label)


def watermark(rng: np.random.Generator, size: int, fonts: Fonts) -> Layer:
    height = int(rng.uniform(14, 48))
    face = font(str(rng.choice(fonts.latin)), height)
    page = Image.new("L", (size * 2, size * 2))
    pen, words = ImageDraw.Draw(page), phrase(rng, "latin", int(rng.integers(1, 3)))
    if rng.random() < 0.5:
        for y in range(0, size * 2, int(height * rng.uniform(2, 5))):
            for x in range(-int(rng.uniform(0, 90)), size * 2, int(face.getlength(words) + height * 2)):
                pen.text((x, y), words, 255, font=face)
    else:
        pen.text((size - face.getlength(words) / 2, size * rng.uniform(0.8, 1.2)), words, 255, font=face)
        r = height * rng.uniform(1, 2)
        c = size + rng.uniform(-0.3, 0.3) * size
        pen.ellipse((c - r, size * 0.75 - r, c + r, size * 0.75 + r), outline=255, width=max(2, height // 6))
    turned = page.rotate(float(rng.uniform(-40, 40)), Image.Resampling.BICUBIC)
    cover = np.asarray(turned)[size // 2 : size // 2 + size, size // 2 : size // 2 + size].astype(np.float32) / 255
    tone = rng.choice([1.0, 1.0, 0.0])
    return _layer(cover, tone, rng.uniform(0.2, 0.55))


def scratch(rng: np.random.Generator, size: int) -> Layer:
    total = np.zeros((size, size), np.float32)
    for _ in range(int(rng.integers(2, 7))):
        steps = int(rng.uniform(0.3, 1.6) * size * 2)
        bend = np.cumsum(rng.normal(0, 0.004, steps)) + rng.normal(0, 0.01, steps)
        turn = rng.choice([math.pi / 2, rng.uniform(0, 2 * math.pi)]) + np.cumsum(bend) * 0.3
        start = rng.uniform(-0.1, 1.0, 2) * size
        points = start + np.cumsum(np.stack((np.cos(turn), np.sin(turn)), 1), 0) * 0.5
        wander = np.cumsum(rng.normal(0, 0.06, steps))
        width = (rng.uniform(0.9, 2.6) * np.exp(0.5 * np.sin(wander))).clip(0.7, 4)
        strength = cv2.resize(rng.uniform(0.45, 1, (6, 6)).astype(np.float32), (size, size))
        total = np.maximum(total, discs(size, points, width) * strength)
    tone = rng.uniform(0.8, 1) if rng.random() < 0.7 else rng.uniform(0, 0.2)
    return _layer(total, tone, rng.uniform(0.6, 1))


def dust(rng: np.random.Generator, size: int) -> Layer:
    field = np.zeros((size, size), np.float32)
    for sigma in (0.8, 1.6, 3.0):
        noise = cv2.GaussianBlur(rng.normal(0, 1, (size, size)).astype(np.float32), (0, 0), sigma)
        level = float(np.quantile(noise, 1 - 10 ** rng.uniform(-3.5, -2.3)))
        field = np.maximum(field, ((noise - level) / max(1e-4, noise.std()) * 3).clip(0, 1))
    tone = rng.uniform(0.8, 1) if rng.random() < 0.6 else rng.uniform(0, 0.25)
    return _layer(field, tone, rng.uniform(0.7, 1))


def wire(rng: np.random.Generator, size: int) -> Layer:
    total = np.zeros((size, size), np.float32)
    x = np.arange(-4, size + 4, 0.4)
    slope, low, bow = rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 1.5) * size, rng.uniform(0.8, 6) * size
    y0, width, gap = rng.uniform(0.05, 0.8) * size, rng.uniform(0.8, 3.2), rng.uniform(4, 30)
    for k in range(int(rng.integers(1, 5))):
        sag = np.cosh((x - low) / bow) - np.cosh((size / 2 - low) / bow)
        y = y0 + k * gap + slope * (x - size / 2) - bow * sag * rng.uniform(0.95, 1.05)
        total = np.maximum(total, discs(size, np.stack((x, y), 1), np.full(len(x), width)))
    tone = rng.uniform(0.02, 0.3) if rng.random() < 0.9 else rng.uniform(0.7, 0.95)
    return _layer(total, tone, rng.uniform(0.85, 1))
