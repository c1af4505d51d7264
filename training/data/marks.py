"""Drawn damage and wires to lay over photos: scratches, hairs, cracks, dust, stains, sagging lines."""

from __future__ import annotations

import math

import cv2
import numpy as np

from restore.training.data.layers import FINE, Array, Canvas, Layer, log_uniform, moved, shrunk, soft, stroke


def cracked(rng: np.random.Generator, a: Array, b: Array, rough: float) -> Array:
    """A jagged path from a to b: midpoints moved, again and again."""
    points = np.stack((a, b)).astype(np.float32)
    for _ in range(int(rng.integers(4, 7))):
        middle = (points[1:] + points[:-1]) / 2
        length = np.linalg.norm(points[1:] - points[:-1], axis=1, keepdims=True)
        middle += rng.normal(0, 1, middle.shape).astype(np.float32) * rough * length
        both = np.empty((len(points) + len(middle), 2), np.float32)
        both[::2], both[1::2] = points, middle
        points = both
    return points


def curled(rng: np.random.Generator, size: int) -> Array:
    """A hair: an arc whose radius changes from piece to piece, often bent into a loop."""
    turn, points = rng.uniform(0, 2 * math.pi), [rng.uniform(-0.05, 1.05, 2) * size]
    for _ in range(int(rng.integers(1, 5))):
        radius = log_uniform(rng, 0.03, 0.8) * size * rng.choice([-1, 1])
        length = min(rng.uniform(0.1, 0.8) * size, abs(radius) * rng.uniform(1, 9))
        for _ in range(max(2, int(length / 3))):
            turn += 3 / radius
            points.append(points[-1] + 3 * np.array([math.cos(turn), math.sin(turn)]))
    return np.array(points)


def _mode(rng: np.random.Generator, light: bool) -> str:
    """How marks mix: as they are, or like light, or like a shadow."""
    return str(rng.choice(["normal", "normal", "screen" if light else "multiply"]))


def scratch(rng: np.random.Generator, size: int) -> Layer:
    """Film scratches, curves, hairs, creases and cracks with branches, scuffs and tears."""
    canvas, edge = Canvas(size), size * FINE
    fine = np.zeros((edge, edge), np.uint8)
    kind = rng.choice(["film", "curve", "hair", "crack", "scuff", "tear"], p=[0.24, 0.18, 0.2, 0.22, 0.1, 0.06])
    light = rng.random() < 0.72
    ink: Array = np.full(3, rng.uniform(0.75, 1) if light else rng.uniform(0, 0.25), np.float32)
    ink = (ink + rng.normal(0, 0.04, 3)).clip(0, 1)
    if rng.random() < 0.08:
        ink = rng.random(3)
    if kind == "film":
        tilt = rng.normal(0, 0.03)
        for _ in range(int(rng.integers(1, 9))):
            t = np.linspace(0, 1, 24)
            ends = (0, 1) if rng.random() < 0.6 else np.sort(rng.random(2))
            y = (ends[0] + (ends[1] - ends[0]) * t) * size
            x = rng.random() * size + tilt * y + rng.uniform(0, 3) * np.sin(t * rng.uniform(1, 9) + rng.random() * 6)
            stroke(fine, np.stack((x, y), 1), log_uniform(rng, 0.7, 3.2), int(rng.uniform(120, 256)))
        if rng.random() < 0.15:
            fine = np.ascontiguousarray(fine.T)
    elif kind == "curve":
        for _ in range(int(rng.integers(1, 7))):
            t = np.linspace(0, 1, 32)[:, None]
            p = rng.random(2) * size + np.cumsum(rng.normal(0, rng.uniform(0.08, 0.35) * size, (4, 2)), 0)
            curve = (1 - t) ** 3 * p[0] + 3 * t * (1 - t) ** 2 * p[1] + 3 * t**2 * (1 - t) * p[2] + t**3 * p[3]
            stroke(fine, curve, log_uniform(rng, 0.7, 3), int(rng.uniform(130, 256)))
    elif kind == "hair":
        for _ in range(int(rng.integers(1, 6))):
            stroke(fine, curled(rng, size), log_uniform(rng, 0.7, 3), int(rng.uniform(130, 256)))
    elif kind == "scuff":
        for _ in range(int(rng.integers(1, 4))):
            middle, turn = rng.random(2) * size, rng.random() * math.pi
            for _ in range(int(rng.integers(4, 26))):
                a = middle + rng.normal(0, 0.09, 2) * size
                d = np.array([math.cos(turn), math.sin(turn)]) * rng.uniform(6, 60)
                turn += rng.normal(0, 0.06)
                bent = np.stack((a, a + d / 2 + rng.normal(0, 1, 2), a + d))
                stroke(fine, bent, log_uniform(rng, 0.6, 1.6), int(rng.uniform(90, 256)))
    else:
        rough = rng.uniform(0.03, 0.16)
        wide = log_uniform(rng, 0.8, 3) if kind == "crack" else log_uniform(rng, 3, 12)
        paths = []
        for _ in range(int(rng.integers(1, 4)) if kind == "crack" else 1):
            a, turn = rng.random(2) * size, rng.random() * 2 * math.pi
            b = a + np.array([math.cos(turn), math.sin(turn)]) * rng.uniform(0.25, 1.3) * size
            paths.append(cracked(rng, a, b, rough))
        for path in list(paths) if kind == "crack" else []:
            for _ in range(int(rng.integers(0, 6))):
                a = path[rng.integers(len(path))]
                paths.append(cracked(rng, a, a + rng.normal(0, 0.14 * size, 2), rough * 1.3))
        for path in paths:
            width = wide * rng.uniform(0.6, 1.1)
            for i in range(0, len(path) - 1, 4):
                stroke(fine, path[i : i + 5], width * rng.uniform(0.6, 1.3))
    cover = shrunk(fine, size)
    if kind in ("film", "curve", "hair") and rng.random() < 0.6:  # comes and goes
        knots = rng.uniform(0, 1, (int(rng.integers(3, 14)),) * 2).astype(np.float32)
        wave = cv2.resize(knots, (size, size), interpolation=cv2.INTER_CUBIC)
        cover = cover * (wave * 2.5 - 0.2).clip(0, 1)
    if kind in ("crack", "tear") and rng.random() < 0.6:  # the paper bends beside it
        side = soft(cover, rng.uniform(1.5, 6))
        canvas.paint((side * 2).clip(0, 1), rng.choice([0.0, 1.0]) * np.ones(3), rng.uniform(0.1, 0.4), label=False)
    if kind == "tear":
        grain = rng.normal(0, 0.05, (size, size, 1)).astype(np.float32)
        canvas.paint(cover, (np.array([0.92, 0.9, 0.86], np.float32) + grain).clip(0, 1))
    elif kind == "film" and rng.random() < 0.2:  # a groove: one light and one dark side
        canvas.paint(moved(cover, 1, 0), 1 - ink)
        canvas.paint(cover, ink)
    else:
        canvas.paint(cover, ink)
    solid = kind == "tear" or rng.random() < 0.3
    mode = "normal" if solid else _mode(rng, light)
    return canvas.layer(1.0 if solid else rng.uniform(0.35, 1), mode)


def dust(rng: np.random.Generator, size: int) -> Layer:
    """Specks, fibres and blotches."""
    canvas, edge = Canvas(size), size * FINE
    fine = np.zeros((edge, edge), np.uint8)
    light, many = rng.random() < 0.6, int(log_uniform(rng, 4, 160))
    big = rng.uniform(2, 12)
    for _ in range(many):
        c, value = rng.random(2) * edge, int(rng.uniform(110, 256))
        r = min(log_uniform(rng, 0.5, big), 6.5) * FINE / (2 if many > 60 else 1.2)
        u = rng.random()
        if u < 0.5:
            radii = max(1, int(r)), max(1, int(r * rng.uniform(0.4, 1)))
            cv2.ellipse(fine, c.astype(int).tolist(), radii, rng.uniform(0, 180), 0, 360, value, -1)
        elif u < 0.88:
            n = int(rng.integers(4, 10))
            t = np.sort(rng.random(n)) * 2 * math.pi
            p = c + (r * rng.uniform(0.4, 1.2, n))[:, None] * np.stack((np.cos(t), np.sin(t)), 1)
            cv2.fillPoly(fine, [p.astype(np.int32)], value)
        else:
            p = c / FINE + np.cumsum(rng.normal(0, rng.uniform(1.5, 4), (5, 2)), 0)
            stroke(fine, p, log_uniform(rng, 0.7, 1.8), value)
    ink = np.full(3, rng.uniform(0.75, 1) if light else rng.uniform(0, 0.3), np.float32) + rng.normal(0, 0.03, 3)
    if rng.random() < 0.25:  # stains
        blot = np.zeros((size, size), np.uint8)
        for _ in range(int(rng.integers(1, 6))):
            at, radii = rng.integers(0, size, 2).tolist(), rng.integers(3, 13, 2).tolist()
            cv2.ellipse(blot, at, radii, rng.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)
        stain = soft(blot.astype(np.float32) / 255, rng.uniform(0.7, 2))
        canvas.paint(stain, (0.45, 0.3, 0.15), rng.uniform(0.35, 0.8))
    cover = shrunk(fine, size)
    cover = soft(cover, rng.uniform(0.4, 0.9)) if rng.random() < 0.35 else cover
    canvas.paint(cover, ink.clip(0, 1))
    return canvas.layer(rng.choice([1.0, rng.uniform(0.5, 1)]), _mode(rng, light))


def wire(rng: np.random.Generator, size: int) -> Layer:
    """Sagging lines of real thickness across the picture, several side by side, poles not labelled."""
    canvas, edge = Canvas(size), size * FINE
    fine = np.zeros((edge, edge), np.uint8)
    t = np.linspace(0, 1, 48)
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        left, right = rng.uniform(-0.15, 1.05, 2) * size
        right = left + (right - left) * rng.uniform(0.1, 1)
        x0, x1 = (-4, size + 4) if rng.random() < 0.75 else np.sort(rng.uniform(-0.1, 1.1, 2)) * size
        sag, gap, width = rng.exponential(0.06) * (x1 - x0), log_uniform(rng, 3, 40), log_uniform(rng, 0.7, 4)
        fan = rng.uniform(0.6, 1.6)
        for k in range(int(rng.choice([1, 1, 2, 3, 4, 6]))):
            first, last = left + k * gap, right + k * gap * fan
            y = first + (last - first) * t + sag * rng.uniform(0.85, 1.15) * 4 * t * (1 - t)
            points = np.stack((x0 + (x1 - x0) * t, y), 1)
            stroke(fine, points, width * rng.uniform(0.8, 1.2), int(rng.choice([255, 255, rng.uniform(140, 255)])))
    if rng.random() < 0.1:
        fine = np.ascontiguousarray(fine.T)
    cover = shrunk(fine, size)
    tone = rng.uniform(0, 0.35) if rng.random() < 0.85 else rng.uniform(0.6, 1)
    ink = np.full(3, tone, np.float32) + rng.normal(0, 0.03, 3)
    if rng.random() < 0.25:
        pole = np.zeros((edge, edge), np.uint8)
        x, lean, thick = rng.uniform(0, 1) * size, rng.normal(0, 6), rng.uniform(4, 14)
        stroke(pole, np.array([[x, rng.uniform(0, 0.4) * size], [x + lean, size + 9]]), thick)
        y = rng.uniform(0, 0.5) * size
        stroke(pole, np.array([[x - 22, y], [x + 22, y + rng.normal(0, 3)]]), rng.uniform(2, 6))
        canvas.paint(cover, ink.clip(0, 1))
        over = shrunk(pole, size)
        canvas.paint(over, rng.uniform(0.05, 0.5) * np.ones(3), label=False)
        canvas.label *= 1 - over
    else:
        canvas.paint(cover, ink.clip(0, 1))
    return canvas.layer(rng.choice([1.0, rng.uniform(0.6, 1)]), hidden=rng.random() < 0.3)
