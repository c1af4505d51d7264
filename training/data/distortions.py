"""Ladders of distortions: what cameras, codecs and editors do to a photo, in five steps each.

`distort(name, photo, level, seed)` is one rung. What is random (a noise field, an angle, the lost blocks) depends
on the seed only, so the rungs of one ladder differ in strength alone and their order is known without an
observer: level 1 is closer to the photo than level 2, and so on (RankIQA, Liu et al., ICCV 2017, §3.1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import cv2
import numpy as np

from restore.errors import InputError

LEVELS = 5
LEAST_SIDE = 32  # pixels that JPEG 2000's coder needs
T = TypeVar("T")
Distortion = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


def distort(name: str, image: np.ndarray, level: int, seed: int) -> np.ndarray:
    """`image` (H, W, 3) uint8 RGB after distortion `name` at `level` 1 (slight) to 5 (strong); 0 gives it back.

    Raises InputError for an unknown name, a level outside 0–5 or another kind of array.
    """
    if name not in DISTORTIONS:
        raise InputError(f"expected one of {', '.join(DISTORTIONS)}, got '{name}'")
    if not 0 <= level <= LEVELS:
        raise InputError(f"expected a level from 0 to {LEVELS}, got {level}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"expected (H, W, 3) uint8, got {image.shape} {image.dtype}")
    if min(image.shape[:2]) < LEAST_SIDE:
        raise InputError(f"expected sides of {LEAST_SIDE} pixels or more, got {image.shape[1]}×{image.shape[0]}")
    if level == 0:
        return image.copy()
    return DISTORTIONS[name](image, level, np.random.default_rng(seed))


def at(level: int, *values: T) -> T:
    """The value of a level, 1 to 5."""
    return values[level - 1]


def to_bytes(image: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def to_linear(image: np.ndarray) -> np.ndarray:
    """sRGB bytes → scene light in [0, 1] (IEC 61966-2-1)."""
    x = image.astype(np.float32) / 255
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def from_linear(light: np.ndarray) -> np.ndarray:
    """Scene light, clipped to [0, 1] as a sensor well is, → sRGB bytes."""
    x = np.clip(light, 0, 1)
    return to_bytes(255 * np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055))


def gaussian_blur(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Optics and scaling: a Gaussian point spread, σ in pixels."""
    return cv2.GaussianBlur(image, (0, 0), at(level, 0.6, 1.0, 1.6, 2.6, 4.2))


def motion_blur(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Camera shake: a straight track of that many pixels in a random direction."""
    length, angle = at(level, 2.5, 4.0, 7.0, 12.0, 20.0), rng.uniform(0, np.pi)
    reach = int(np.ceil(length / 2)) + 1
    track = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for t in np.linspace(-length / 2, length / 2, 8 * reach):  # bilinear splats along the track
        x, y = reach + t * np.cos(angle), reach + t * np.sin(angle)
        i, j = int(y), int(x)
        track[i : i + 2, j : j + 2] += np.outer([i + 1 - y, y - i], [j + 1 - x, x - j])
    return cv2.filter2D(image, -1, track / track.sum(), borderType=cv2.BORDER_REFLECT_101)


def defocus_blur(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """A lens out of focus: a disk as wide as the aperture's image, radius in pixels."""
    radius = at(level, 1.0, 1.6, 2.6, 4.2, 6.5)
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)  # antialiased edge
    return cv2.filter2D(image, -1, disk / disk.sum(), borderType=cv2.BORDER_REFLECT_101)


def gaussian_noise(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Read noise: the same everywhere, σ of 255."""
    return to_bytes(image + rng.standard_normal(image.shape, np.float32) * at(level, 4, 8, 14, 24, 40))


def shot_noise(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Photon noise: variance grows with the light; white is that many photons (normal approximation)."""
    light = to_linear(image)
    noise = rng.standard_normal(image.shape, np.float32)
    return from_linear(light + noise * np.sqrt(light / at(level, 1200, 350, 110, 35, 11)))


def impulse_noise(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Dead and hot pixels: that share of pixels is black or white."""
    field, out = rng.random(image.shape[:2]), image.copy()
    share = at(level, 0.003, 0.01, 0.03, 0.08, 0.2)
    out[field < share] = 0
    out[field > 1 - share] = 255
    return out


def codec(suffix: str, flag: int, image: np.ndarray, value: int) -> np.ndarray:
    _, data = cv2.imencode(suffix, np.ascontiguousarray(image[..., ::-1]), [flag, value])
    return np.ascontiguousarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[..., ::-1])


def jpeg(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """JPEG: 8×8 cosine blocks coarsely quantised."""
    return codec(".jpg", cv2.IMWRITE_JPEG_QUALITY, image, at(level, 55, 32, 18, 10, 5))


def webp(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """WebP: predicted blocks, smoothed by a loop filter."""
    return codec(".webp", cv2.IMWRITE_WEBP_QUALITY, image, at(level, 50, 28, 14, 6, 1))


def jpeg2000(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """JPEG 2000: wavelet coefficients dropped; value = thousandths of the raw size."""
    return codec(".jp2", cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, image, at(level, 70, 40, 24, 14, 8))


def pixelation(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Enlarged by repeating pixels: squares of that many pixels a side hold their mean."""
    side, (h, w) = at(level, 2, 3, 4, 6, 9), image.shape[:2]
    whole = cv2.copyMakeBorder(image, 0, -h % side, 0, -w % side, cv2.BORDER_REFLECT)
    small = cv2.resize(whole, (whole.shape[1] // side, whole.shape[0] // side), interpolation=cv2.INTER_AREA)
    return small.repeat(side, 0).repeat(side, 1)[:h, :w]


def upscaling(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Enlarged by bicubic interpolation, by that factor."""
    factor, (h, w) = at(level, 1.5, 2.0, 3.0, 4.5, 7.0), image.shape[:2]
    small = cv2.resize(image, (max(1, round(w / factor)), max(1, round(h / factor))), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC)


def contrast_loss(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """A washed-out print: values drawn towards the mean grey."""
    share, mean = at(level, 0.78, 0.6, 0.44, 0.3, 0.18), float(image.mean())
    return to_bytes(mean + (image.astype(np.float32) - mean) * share)


def under_exposure(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Too short: light × 2^-stops on a sensor whose read noise stays (0.2 % of full well)."""
    light = to_linear(image) * 2.0 ** -at(level, 0.8, 1.6, 2.4, 3.3, 4.4)
    return from_linear(light + 0.002 * rng.standard_normal(image.shape, np.float32))


def over_exposure(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Too long: light × 2^stops, clipped where the well is full."""
    return from_linear(to_linear(image) * 2.0 ** at(level, 0.7, 1.3, 2.0, 2.8, 3.8))


def banding(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Too few colours: that many values per channel."""
    steps = at(level, 24, 14, 9, 6, 4) - 1
    return to_bytes(np.rint(image.astype(np.float32) * (steps / 255)) * (255 / steps))


def chroma_shift(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Lateral chromatic aberration: red and blue moved apart in a random direction, in pixels."""
    angle, out = rng.uniform(0, 2 * np.pi), image.copy()
    step = at(level, 0.7, 1.4, 2.5, 4.0, 6.5) * np.array([np.cos(angle), np.sin(angle)])
    for channel, sign in ((0, 1), (2, -1)):
        matrix = np.array([[1, 0, sign * step[0]], [0, 1, sign * step[1]]])
        out[..., channel] = cv2.warpAffine(
            image[..., channel], matrix, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT_101
        )
    return out


def over_sharpening(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Unsharp masking (σ 1.5 pixels) by that amount: halos beside the edges."""
    x = image.astype(np.float32)
    return to_bytes(x + at(level, 0.6, 1.3, 2.4, 4.2, 7.5) * (x - cv2.GaussianBlur(x, (0, 0), 1.5)))


def block_loss(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Lost packets: that share of 16×16 blocks shows the block to its left instead."""
    out, (rows, columns) = image.copy(), (image.shape[0] // 16, image.shape[1] // 16)
    order = rng.permutation(rows * columns)
    for k in order[: int(np.ceil(len(order) * at(level, 0.04, 0.1, 0.2, 0.36, 0.6)))]:
        y, x = 16 * (k // columns), 16 * (k % columns)
        source = x - 16 if x else min(16, 16 * (columns - 1))
        out[y : y + 16, x : x + 16] = image[y : y + 16, source : source + 16]
    return out


def denoise_smear(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Strong noise reduction: a bilateral filter leaves edges and wipes texture, that many passes."""
    for _ in range(at(level, 1, 2, 4, 7, 12)):
        image = cv2.bilateralFilter(image, 5, at(level, 18, 26, 36, 48, 62), 2.0)
    return image


def haze(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Fog: I = J·t + A·(1 − t) with that transmission t and a pale sky A (Koschmieder, 1924)."""
    t, air = at(level, 0.8, 0.62, 0.46, 0.32, 0.2), np.array([222, 226, 232], np.float32)
    return to_bytes(image * np.float32(t) + air * (1 - t))


def line_noise(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Readout noise: every row has its own offset, σ of 255."""
    return to_bytes(image + rng.standard_normal((len(image), 1, 1), np.float32) * at(level, 3, 6, 11, 19, 32))


DISTORTIONS: dict[str, Distortion] = {
    f.__name__: f
    for f in (
        *(gaussian_blur, motion_blur, defocus_blur, gaussian_noise, shot_noise, impulse_noise, jpeg, webp, jpeg2000),
        *(pixelation, upscaling, contrast_loss, under_exposure, over_exposure, banding, chroma_shift),
        *(over_sharpening, block_loss, denoise_smear, haze, line_noise),
    )
}
HELD_OUT = ("jpeg2000", "haze", "line_noise")  # never trained on, so that a benchmark can ask for the unknown
TRAINED = tuple(name for name in DISTORTIONS if name not in HELD_OUT)
