"""Drawn watermarks to lay over photos: half-transparent names, tiled or single, and logos."""

from __future__ import annotations

import math

import cv2
import numpy as np
from PIL import Image, ImageDraw

from restore.training.data.layers import FINE, Array, Canvas, Layer, log_uniform, moved, shrunk
from restore.training.data.lettering import Fonts, font, phrase, write


def logo(rng: np.random.Generator, size: int, fonts: Fonts, side: float, at: tuple[float, float]) -> Array:
    """Cover of a simple drawn mark with, often, a name beside it."""
    big = np.zeros((size * 2, size * 2), np.uint8)
    c = (int(at[0] * 2), int(at[1] * 2))
    r, line = max(4, int(side)), int(rng.choice([-1, 3, 5]))
    for _ in range(int(rng.integers(1, 4))):
        kind, ink, r2 = rng.integers(5), int(255 * (rng.random() < 0.8)), int(r * rng.uniform(0.5, 1))
        if kind == 0:
            cv2.circle(big, c, r2, ink, line, cv2.LINE_AA)
        elif kind == 1:
            n = int(rng.integers(3, 8))
            t = np.arange(2 * n) * math.pi / n + rng.random()
            rr = np.where(np.arange(2 * n) % 2, rng.uniform(0.4, 1), 1) * r2
            points = np.stack((c[0] + rr * np.cos(t), c[1] + rr * np.sin(t)), 1).astype(np.int32)
            cv2.polylines(big, [points], True, ink, 4, cv2.LINE_AA) if line > 0 else cv2.fillPoly(big, [points], ink)
        elif kind == 2:
            cv2.rectangle(big, (c[0] - r2, c[1] - r2 // 2), (c[0] + r2, c[1] + r2 // 2), ink, line, cv2.LINE_AA)
        elif kind == 3:
            cv2.ellipse(big, c, (r2, r2 // 2), rng.uniform(0, 180), 0, rng.uniform(120, 360), ink, line, cv2.LINE_AA)
        else:
            cv2.line(big, (c[0] - r2, c[1] + r2), (c[0] + r2, c[1] - r2), ink, 6, cv2.LINE_AA)
    cover = cv2.resize(big, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    if rng.random() < 0.6:
        face = font(fonts.choose(rng)[0], max(8, int(side * rng.uniform(0.3, 0.7))))
        words = phrase(rng, "latin", int(rng.integers(1, 3)))
        cover = np.maximum(cover, write(rng, size, words, face, centre=(at[0], at[1] + side * rng.uniform(0.6, 1)))[0])
    return cover


def watermark(rng: np.random.Generator, size: int, fonts: Fonts) -> Layer:
    """Half-transparent names, tiled or single, and logos; sometimes embossed or with crossing lines."""
    canvas = Canvas(size)
    cover: Array = np.zeros((size, size), np.float32)
    kind = rng.choice(["tiled", "single", "logo", "corner"], p=[0.35, 0.3, 0.2, 0.15])
    path, script = fonts.choose(rng)
    turn = float(rng.choice([0, 0.5236, -0.5236, 0.7854, -0.7854, rng.normal(0, 0.3)]))
    if kind == "tiled":
        height = log_uniform(rng, 10, 36)
        words = phrase(rng, script, int(rng.integers(1, 3)))
        face, big = font(path, int(height)), int(size * 1.5)
        step_x = face.getlength(words) + rng.uniform(0.8, 5) * height
        step_y = height * rng.uniform(1.8, 6)
        tile = Image.new("L", (big, big))
        pen = ImageDraw.Draw(tile)
        for j in range(int(big / step_y) + 1):
            for i in range(int(big / step_x) + 2):
                pen.text(((i - 0.5 * (j % 2)) * step_x, j * step_y), words, 255, font=face)
        matrix = np.asarray(cv2.getRotationMatrix2D((big / 2, big / 2), math.degrees(turn), 1), np.float64)
        matrix[:, 2] += (size - big) / 2
        cover = cv2.warpAffine(np.asarray(tile), matrix, (size, size)).astype(np.float32) / 255
    elif kind == "logo":
        side = log_uniform(rng, 12, 90)
        cover = logo(rng, size, fonts, side, (rng.uniform(0.2, 0.8) * size, rng.uniform(0.2, 0.8) * size))
    else:
        height = log_uniform(rng, 24, 90) if kind == "single" else log_uniform(rng, 9, 22)
        words = phrase(rng, script, int(rng.integers(1, 4)))
        words = words if kind == "single" else str(rng.choice(["© ", "(c) ", "www.", "", "@"])) + words
        cover = write(rng, size, words, font(path, int(height)), turn=turn if kind == "single" else 0.0)[0]
    if rng.random() < 0.06 and kind != "corner":
        lines = np.zeros((size * FINE, size * FINE), np.uint8)
        for _ in range(int(rng.integers(1, 5))):
            a, b = rng.integers(0, size * FINE, (2, 2))
            cv2.line(lines, a.tolist(), b.tolist(), 255, int(rng.integers(2, 7)))
        cover = np.maximum(cover, shrunk(lines, size))
    ink = np.full(3, rng.choice([1.0, 1.0, 1.0, 0.0, 0.5]), np.float32) if rng.random() < 0.8 else rng.random(3)
    emboss = rng.random() < 0.18
    if emboss:  # a light and a dark side
        d = int(rng.choice([1, 1, 2]))
        light, dark = np.maximum(cover - moved(cover, d, d), 0), np.maximum(cover - moved(cover, -d, -d), 0)
        canvas.paint(cover, (0.5, 0.5, 0.5), rng.choice([0.0, 0.3]))
        canvas.paint(light, (1, 1, 1), label=False)
        canvas.paint(dark, (0, 0, 0), label=False)
    else:
        if rng.random() < 0.2:
            canvas.paint(np.maximum(moved(cover, 1, 1) - cover, 0), 1 - ink, 0.8, label=False)
        canvas.paint(cover, ink)
    faint = kind != "logo" or rng.random() < 0.75
    opacity = log_uniform(rng, 0.3, 0.8) if emboss else log_uniform(rng, 0.14, 0.62) if faint else 1.0
    light = ink[0] > 0.6 and not emboss
    return canvas.layer(opacity, "screen" if light and rng.random() < 0.25 else "normal")
