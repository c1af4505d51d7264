"""One layer that is laid over a photo while it is drawn, and how it changes the photo under it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

Array = np.ndarray
FINE = 3  # lines are drawn this much larger, then averaged: real thickness
SEEN = 0.035  # a smaller change of the largest channel is no overlay


@dataclass(frozen=True)
class Layer:
    """Opacity (s, s), colour (s, s, 3) and the share of each pixel that belongs to the named thing (s, s), in [0, 1]:
    a caption's box is drawn, but not labelled.

    opacity: of the whole; mode: how colours mix; hidden: behind what is dark, as a wire before the sky is.
    """

    alpha: Array
    colour: Array
    label: Array
    opacity: float = 1.0
    mode: str = "normal"  # or "screen", "multiply"
    hidden: bool = False

    def over(self, photo: Array) -> tuple[Array, Array, Array, Array]:
        """(picture, what covers it, what of it is labelled, where a change can be seen) of a photo (s, s, 3)."""
        alpha, label = self.alpha * self.opacity, self.label
        if self.hidden:
            veil = ((cv2.blur(photo.mean(2), (9, 9)) - 0.3) * 12).clip(0, 1)
            alpha, label = alpha * veil, label * veil
        a = alpha[..., None]
        if self.mode == "screen":
            over = 1 - (1 - photo) * (1 - self.colour * a)
        elif self.mode == "multiply":
            over = photo * (1 - a + self.colour * a)
        else:
            over = photo + a * (self.colour - photo)
        return over, alpha, label, np.abs(over - photo).max(2) > SEEN


class Canvas:
    """One layer while it is painted."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.light: Array = np.zeros((size, size, 3), np.float32)  # colour times opacity
        self.alpha: Array = np.zeros((size, size), np.float32)
        self.label: Array = np.zeros((size, size), np.float32)

    def paint(self, cover: Array, colour: object, strength: float = 1.0, label: bool = True) -> None:
        """Lays a colour (3 numbers or a picture) over what is there, `cover` in [0, 1]."""
        a = cover * strength
        self.light = self.light * (1 - a)[..., None] + a[..., None] * np.asarray(colour, np.float32)
        self.alpha = self.alpha * (1 - a) + a
        if label:
            self.label = np.maximum(self.label, cover)

    def layer(self, opacity: float = 1.0, mode: str = "normal", hidden: bool = False) -> Layer:
        colour = (self.light / np.maximum(self.alpha, 1e-4)[..., None]).clip(0, 1)
        return Layer(self.alpha.clip(0, 1), colour, self.label.clip(0, 1), opacity, mode, hidden)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(math.log(low), math.log(high))))


def soft(cover: Array, sigma: float) -> Array:
    return cv2.GaussianBlur(cover, (0, 0), sigma)


def moved(cover: Array, dx: float, dy: float) -> Array:
    matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    return cv2.warpAffine(cover, matrix, cover.shape[::-1])


def shrunk(fine: Array, size: int) -> Array:
    """Cover (size, size) in [0, 1] of what was drawn FINE times larger in bytes."""
    return cv2.resize(fine, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def stroke(fine: Array, points: Array, width: float, value: int = 255) -> None:
    """A polyline of `width` pixels through points in pixels, on a picture FINE times larger."""
    cv2.polylines(fine, [np.round(points * FINE).astype(np.int32)], False, value, max(1, round(width * FINE)))
