"""Scenes for the segmenter: labelled photos and cut-outs pasted on other photos, with exact masks."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from restore.grounding.vocabulary import Vocabulary
from restore.training.data.photos import Holes, PhotoCache, random_crop

# Photo sources that hold few people or animals: safe backgrounds for pasting.
BACKGROUNDS = ("houses", "food", "landscape", "dps", "imagenet")
PEOPLE = "person"
UNNAMED = ""  # class of a pseudo-object: it can be clicked, not named


@dataclass(frozen=True)
class Cutout:
    name: str
    image: np.ndarray  # (H, W, 3) uint8 RGB
    mask: np.ndarray  # (H, W) uint8, n = instance n
    label: str
    kinds: tuple[str, ...]  # class of instance 1, 2, …


def find_objects(data: list[Path]) -> list[Path]:
    """The objects*.tar and folders with objects.jsonl among `data` and directly in it."""
    found: list[Path] = []
    for source in data:
        if source.is_dir():
            found += [source] if (source / "objects.jsonl").exists() else sorted(source.glob("objects*.tar"))
        elif source.name.startswith("objects"):
            found.append(source)
    return found


def pseudo_objects(cache: PhotoCache, holes: Holes, seed: int, size: int = 256, limit: int = 1000) -> list[Cutout]:
    """Outlines of one photo pasted on another: something to click at when nothing is labelled."""
    out = []
    for i in range(min(limit, 4 * len(cache))):
        rng = np.random.default_rng([seed, i])
        image = random_crop(cache[i % len(cache)], size, rng)
        other = random_crop(cache[int(rng.integers(len(cache)))], size, rng)
        mask = holes.sample(size, rng)
        mixed = np.where(mask[..., None], other, image)
        out.append(Cutout(f"pseudo-{i}", mixed, mask, "pseudo", (UNNAMED,)))
    return out


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


def common_names(cuts: list[Cutout], drawn: list[str]) -> list[list[str]]:
    """Per cut-out its own name and, last, that of its kind, where it is of one of the `drawn` (a beagle is a dog)."""
    words = Vocabulary.load()
    wider = {words.class_name(c): kind for kind in drawn for c in words.lookup(kind).classes}
    return [list(dict.fromkeys((cut.kinds[0], wider.get(cut.kinds[0], cut.kinds[0])))) for cut in cuts]


def _decode(data: bytes, flags: int) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), flags))


@dataclass
class Scene:
    image: np.ndarray  # (S, S, 3) uint8
    instances: list[np.ndarray]  # bool (S, S), visible part of each
    kinds: list[int]  # index of the cut-out each came from
    complete: bool  # every person in it is labelled


def _fit(image: np.ndarray, mask: np.ndarray, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A random square view of a labelled photo: zoomed in by up to 2.2 or out (padded) by up to 1.5."""
    h, w = mask.shape
    scale = size / max(h, w) * float(np.exp(rng.uniform(-0.4, 0.8)))
    dx, dy = rng.uniform(0, 1, 2) * (size - np.array([w, h]) * scale)
    matrix = np.array([[scale, 0, dx], [0, scale, dy]])
    if rng.random() < 0.5:
        matrix = np.array([[-scale, 0, size - dx], [0, scale, dy]])
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    image = cv2.warpAffine(image, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT)
    return image, cv2.warpAffine(mask, matrix, (size, size), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT)


def paste(scene: Scene, cuts: list[Cutout], kind: int, rng: np.random.Generator, place: np.ndarray) -> None:
    """Paste cut-out `kind`: `place` = centre x, y and long side, as shares of the scene's side."""
    size, cut = scene.image.shape[0], cuts[kind]
    mask = (cut.mask > 0).astype(np.uint8)
    x, y, w, h = cv2.boundingRect(mask)
    if min(w, h) < 16:
        return
    cx, cy, scale = place * size / (1, 1, max(w, h))
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


def _paste_group(scene: Scene, cuts: list[Cutout], people: list[int], rng: np.random.Generator) -> None:
    """Two to six people of like size side by side, who hide parts of each other."""
    height = float(np.exp(rng.uniform(np.log(0.15), np.log(1.1))))
    x, bottom = rng.uniform(0, 0.5), rng.uniform(max(0.4, height * 0.6), max(0.9, height))
    for _ in range(int(rng.integers(2, 7))):
        tall = height * rng.uniform(0.85, 1.1)
        kind = people[rng.integers(len(people))]
        paste(scene, cuts, kind, rng, np.array([x, bottom - tall / 2 + rng.normal(0, 0.03), tall]))
        x += height * rng.uniform(0.15, 0.55)


def _relight(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exposure, gamma (dark rooms, back light), colour cast and saturation (grey photos) at random; JPEG, defocus."""
    x = np.clip(image * rng.uniform(0.75, 1.25) + rng.uniform(-15, 15), 0, 255).astype(np.float32) / 255
    x = x ** float(np.exp(rng.normal(0, 0.35))) * rng.uniform(0.85, 1.15, 3).astype(np.float32)
    grey = x.mean(2, keepdims=True)
    x = grey + (x - grey) * np.float32(0 if rng.random() < 0.1 else rng.uniform(0.5, 1.3))
    out = (np.clip(x, 0, 1) * 255).astype(np.uint8)
    if rng.random() < 0.15:
        out = np.asarray(cv2.GaussianBlur(out, (0, 0), rng.uniform(0.5, 1.8)))
    if rng.random() < 0.3:
        _, jpeg = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 95))])
        out = _decode(jpeg.tobytes(), cv2.IMREAD_COLOR)
    return out


def sample_scene(
    cuts: list[Cutout],
    usable: list[int],
    backgrounds: PhotoCache,
    plain: list[int],
    size: int,
    rng: np.random.Generator,
) -> Scene:
    """A labelled photo with up to two pasted objects, or another photo with up to five or a group of people.

    `usable`: the cut-outs to choose from; `plain`: the photos of `backgrounds` to paste on.
    """
    people = [i for i in usable if cuts[i].label == "human"]
    if rng.random() < 0.55:
        kind = usable[rng.integers(len(usable))]
        image, mask = _fit(cuts[kind].image, cuts[kind].mask, size, rng)
        found = [mask == n for n in range(1, int(mask.max()) + 1) if (mask == n).sum() > 40]
        # Passers-by behind a labelled person, and people beside a labelled thing, have no label.
        scene = Scene(image, found, [kind] * len(found), complete=False)
        extra = int(rng.integers(0, 3))
    else:
        photo = backgrounds[plain[rng.integers(len(plain))]]
        image, _ = _fit(photo, np.zeros(photo.shape[:2], np.uint8), size, rng)
        scene, extra = Scene(image, [], [], complete=True), int(rng.integers(0, 6))
        if people and rng.random() < 0.35:
            _paste_group(scene, cuts, people, rng)
            extra = int(rng.integers(0, 2))
    for _ in range(extra):
        kind = usable[rng.integers(len(usable))]
        if scene.kinds and rng.random() < 0.15:
            kind = scene.kinds[0]  # several of a kind
        side = float(np.exp(rng.uniform(np.log(0.1), np.log(0.8))))
        paste(scene, cuts, kind, rng, np.array([*rng.uniform(0.05, 0.95, 2), side]))
    scene.image = _relight(scene.image, rng)
    return scene
