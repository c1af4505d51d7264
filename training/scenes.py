"""Scenes for the segmenter: labelled photos and cut-outs pasted on other photos, with exact masks."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from restore.training.data import PhotoCache

# Photo sources that hold few people or animals: safe backgrounds for pasting.
BACKGROUNDS = ("houses", "food", "landscape", "dps", "imagenet")
PEOPLE = "person"


@dataclass(frozen=True)
class Cutout:
    name: str
    image: np.ndarray  # (H, W, 3) uint8 RGB
    mask: np.ndarray  # (H, W) uint8, n = instance n
    label: str
    kinds: tuple[str, ...]  # class of instance 1, 2, …


def load_objects(source: Path) -> list[Cutout]:
    """`objects.tar`, or a folder of the same layout: ID.webp, ID.png and objects.jsonl."""
    if source.is_dir():
        files = {p.name: p.read_bytes() for p in source.rglob("*") if p.is_file()}
    else:
        with tarfile.open(source) as tar:
            files = {Path(m.name).name: tar.extractfile(m).read() for m in tar if m.isfile()}  # type: ignore[union-attr]
    out = []
    for line in io.BytesIO(files["objects.jsonl"]):
        row = json.loads(line)
        image = _decode(files[row["id"] + ".webp"], cv2.IMREAD_COLOR)
        mask = _decode(files[row["id"] + ".png"], cv2.IMREAD_UNCHANGED)
        kinds = tuple(row["instances"][k] for k in sorted(row["instances"], key=int))
        out.append(Cutout(row["id"], np.ascontiguousarray(image[..., ::-1]), mask, row["label"], kinds))
    return out


def _decode(data: bytes, flags: int) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), flags))


@dataclass
class Scene:
    image: np.ndarray  # (S, S, 3) uint8
    instances: list[np.ndarray]  # bool (S, S), visible part of each
    kinds: list[int]  # index of the cut-out each came from


def _fit(image: np.ndarray, mask: np.ndarray, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A random square view of a labelled photo: zoomed in by up to 1.6 or out (padded) by up to 1.5."""
    h, w = mask.shape
    scale = size / max(h, w) * float(np.exp(rng.uniform(-0.4, 0.5)))
    dx, dy = rng.uniform(0, 1, 2) * (size - np.array([w, h]) * scale)
    matrix = np.array([[scale, 0, dx], [0, scale, dy]])
    if rng.random() < 0.5:
        matrix = np.array([[-scale, 0, size - dx], [0, scale, dy]])
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    image = cv2.warpAffine(image, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT)
    return image, cv2.warpAffine(mask, matrix, (size, size), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT)


def _paste(scene: Scene, cut: Cutout, kind: int, rng: np.random.Generator) -> None:
    size = scene.image.shape[0]
    mask = (cut.mask > 0).astype(np.uint8)
    x, y, w, h = cv2.boundingRect(mask)
    if min(w, h) < 16:
        return
    scale = size * float(np.exp(rng.uniform(np.log(0.1), np.log(0.8)))) / max(w, h)
    cx, cy = rng.uniform(0.05, 0.95, 2) * size
    flip = -1.0 if rng.random() < 0.5 else 1.0
    matrix = np.array([[flip * scale, 0, cx - flip * scale * (x + w / 2)], [0, scale, cy - scale * (y + h / 2)]])
    # Smooth before shrinking.
    blur = cv2.blur(cut.image, (int(1 / scale), int(1 / scale))) if scale < 0.6 else cut.image
    colour = cv2.warpAffine(blur, matrix, (size, size), flags=cv2.INTER_LINEAR)
    alpha = cv2.warpAffine(mask.astype(np.float32), matrix, (size, size), flags=cv2.INTER_LINEAR)
    gain = rng.uniform(0.8, 1.2)
    soft = cv2.GaussianBlur(alpha, (3, 3), 0)[..., None]
    scene.image[:] = np.clip(scene.image * (1 - soft) + colour * gain * soft, 0, 255).astype(np.uint8)
    hard = alpha > 0.5
    if hard.sum() < 40:
        return
    for other in scene.instances:
        other &= ~hard
    scene.instances.append(hard)
    scene.kinds.append(kind)


def sample_scene(
    cuts: list[Cutout], backgrounds: PhotoCache, plain: list[int], size: int, rng: np.random.Generator
) -> Scene:
    """A labelled photo with up to two pasted objects, or another photo with up to five."""
    if rng.random() < 0.55:
        kind = int(rng.integers(len(cuts)))
        image, mask = _fit(cuts[kind].image, cuts[kind].mask, size, rng)
        found = [mask == n for n in range(1, int(mask.max()) + 1) if (mask == n).sum() > 40]
        scene = Scene(image, found, [kind] * len(found))
        extra = int(rng.integers(0, 3))
    else:
        photo = backgrounds[plain[rng.integers(len(plain))]]
        image, _ = _fit(photo, np.zeros(photo.shape[:2], np.uint8), size, rng)
        scene, extra = Scene(image, [], []), int(rng.integers(0, 6))
    for _ in range(extra):
        kind = int(rng.integers(len(cuts)))
        if cuts[kind].label == "human" and rng.random() < 0.3 and scene.kinds:
            kind = scene.kinds[0]  # several of a kind
        _paste(scene, cuts[kind], kind, rng)
    scene.image[:] = np.clip(scene.image * rng.uniform(0.75, 1.25) + rng.uniform(-15, 15), 0, 255)
    if rng.random() < 0.3:
        quality = int(rng.integers(40, 95))
        _, jpeg = cv2.imencode(".jpg", scene.image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        scene.image = _decode(jpeg.tobytes(), cv2.IMREAD_COLOR)
    return scene
