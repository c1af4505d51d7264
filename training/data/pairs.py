"""Pictures before and after an instruction: rendered, pasted together, or built by `restore dataset build`."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from restore.pipelines.networks.instruct import GRID, SIDE
from restore.training.data.photos import PhotoCache, random_crop
from restore.training.data.scenes import BACKGROUNDS, Cutout, Scene, paste
from restore.training.data.shards import read_shards
from restore.training.data.solids import COLOURS, SHAPES, SIZES, Case, cover, random_case, random_scene, render
from restore.training.data.solids import Scene as Solids

UNCLEAR = -1  # kind of a cell that training leaves alone

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Pair:
    """source, target (SIDE, SIDE, 3) in [0, 1]; text: the instruction; cells (3, GRID, GRID) in [0, 1]: shares covered
    by the named object and by its landmark, and whether the place or relation that is said holds there; kinds
    (GRID, GRID): class of the rendered solid there, 0 none."""

    source: Float
    target: Float
    text: str
    cells: Float
    kinds: NDArray[np.int64]


class PairSource(Protocol):
    """Something that makes pairs."""

    def sample(self, rng: np.random.Generator) -> Pair: ...


class Rendered:
    """Scenes of solids. kinds: shares of instructions, as `random_case` takes them."""

    def __init__(self, kinds: Mapping[str, float] | None = None) -> None:
        self.kinds = None if kinds is None else dict(kinds)

    def scene(self, rng: np.random.Generator) -> tuple[Solids, Case]:
        scene = random_scene(rng)
        return scene, random_case(scene, rng, self.kinds)

    def sample(self, rng: np.random.Generator) -> Pair:
        scene, case = self.scene(rng)
        cells, kinds = cell_labels(scene, case)
        return Pair(render(scene, SIDE), render(scene.without(case.chosen), SIDE), case.text, cells, kinds)


def cell_labels(scene: Solids, case: Case) -> tuple[Float, NDArray[np.int64]]:
    """What `Pair` calls cells and kinds of a rendered scene."""
    shares = np.stack([_cells(cover(scene, i, SIDE)) for i in range(len(scene.solids))])
    cells = np.zeros((3, GRID, GRID), np.float32)
    cells[2] = 1
    if case.side is not None:
        axis, limit, sign = case.side
        holds = sign * ((np.arange(GRID) + 0.5) / GRID - limit) > 0
        cells[2] = holds[None, :] if axis == 0 else holds[:, None]
    for k, index in enumerate((case.chosen, case.anchor)):
        if index is not None:
            cells[k] = shares[index]
    every = list(product(SHAPES, COLOURS, SIZES))
    names = [1 + every.index((s.shape, s.colour, s.size)) for s in scene.solids]
    some = np.where(shares.sum(0) > 0.05, UNCLEAR, 0)
    return cells, np.where(shares.max(0) > 0.5, np.array(names)[shares.argmax(0)], some).astype(np.int64)


class Pasted:
    """One or two cut-out objects on another photo: what was there before is known."""

    def __init__(self, cuts: list[Cutout], groups: Mapping[str, list[int]], cache: PhotoCache) -> None:
        """groups: the cut-outs of each name that is used; every name is drawn as often."""
        self.cuts, self.groups, self.cache = cuts, groups, cache
        named = [i for i in range(len(cache)) if cache.name(i).split("-")[0] in BACKGROUNDS]
        self.plain = named or list(range(len(cache)))

    def sample(self, rng: np.random.Generator) -> Pair:
        photo = random_crop(self.cache[self.plain[rng.integers(len(self.plain))]], 2 * SIDE, rng)
        scene = Scene(photo.copy(), [], [], complete=True)
        names = [str(n) for n in rng.choice(list(self.groups), int(rng.integers(1, 3)))]
        before = scene.image.copy()
        for k, name in enumerate(names):  # the last one pasted is the one to be removed: what it hides is known
            before = scene.image.copy()
            middle = (rng.uniform(0.2, 0.8) if len(names) == 1 else rng.uniform(0.15, 0.4) + 0.45 * k), 0.6
            kind = self.groups[name][int(rng.integers(len(self.groups[name])))]
            paste(scene, self.cuts, kind, rng, np.array([middle[0], rng.normal(middle[1], 0.1), rng.uniform(0.3, 0.8)]))
        text = f"remove the {names[-1]}"
        if len(names) == 2 and names[0] == names[1]:
            text += " on the right"
        if rng.random() < 0.5:  # the sides of the scene, and with them the words
            scene.image, before = scene.image[:, ::-1].copy(), before[:, ::-1].copy()
            text = text.replace("right", "left")
        if rng.random() < 0.2:
            absent = [n for n in self.groups if n not in names]
            if absent:
                text, before = f"remove the {rng.choice(absent)}", scene.image
        return photo_pair(scene.image, before, text)


class Triplets:
    """The samples of a folder that `restore dataset build` wrote, held in memory at working size."""

    def __init__(self, folder: Path) -> None:
        self.samples = [
            (_shrunk(files["source.png"]), _shrunk(files["target.png"]), json.loads(files["json"])["instruction"])
            for _, files in read_shards(folder)
        ]

    def sample(self, rng: np.random.Generator) -> Pair:
        source, target, text = self.samples[rng.integers(len(self.samples))]
        if rng.random() < 0.5 and not {"left", "right", "second", "third"} & set(text.split()):
            source, target = source[:, ::-1].copy(), target[:, ::-1].copy()
        return photo_pair(source, target, text)


def photo_pair(source: NDArray[np.uint8], target: NDArray[np.uint8], text: str) -> Pair:
    """A pair of photos (h, w, 3) at working size; the object is where they differ."""
    size = SIDE, SIDE
    small = [np.float32(1 / 255) * cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in (source, target)]
    cells = np.zeros((3, GRID, GRID), np.float32)
    cells[2] = 1
    cells[0] = _cells(np.abs(small[0] - small[1]).max(-1) > 0.04)
    return Pair(small[0], small[1], text, cells, np.full((GRID, GRID), UNCLEAR, np.int64))


def _cells(mask: NDArray[np.bool_]) -> Float:
    return np.asarray(cv2.resize(mask.astype(np.float32), (GRID, GRID), interpolation=cv2.INTER_AREA), np.float32)


def _shrunk(png: bytes) -> NDArray[np.uint8]:
    image = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    return np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
