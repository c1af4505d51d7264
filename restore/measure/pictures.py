"""Measure many pictures: one by one, in parallel, remembered on disk, resumable.

Every picture is measured on its own by one thread, so neither its neighbours nor the number of jobs can change
a number. What was measured is kept by the content of the files, not by their names: an interrupted run goes on
where it stopped, and a second command on the same pictures only reads.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore.errors import InputError
from restore.features.lite0 import trained_lite0
from restore.images.decode import SUFFIXES
from restore.images.mask import load_mask
from restore.images.photo import load_photo
from restore.quality.features.folder import FolderNet
from restore.quality.features.pooled import OnnxNet, photo_features
from restore.quality.judges.judge import Judge, Judgement
from restore.quality.judges.natural import NaturalPhotos
from restore.quality.judges.scorer import Scorer
from restore.quality.metrics.full_reference import (
    MS_SSIM_SIDE,
    SSIM_SIDE,
    feature_distance,
    lpips,
    ms_ssim,
    psnr,
    ssim_map,
)
from restore.quality.metrics.giqa import MbcScore
from restore.quality.metrics.no_reference import colour_cast, exposure, noise, sharpness
from restore.weights.store import load_weights, manifest

VERSION = 1  # raised when a measure changes, so that remembered numbers are not mixed with new ones
EDGE = SSIM_SIDE // 2  # pixels at the picture's edge where no SSIM window is centred
FEATURE_SIDE = 1024  # long side, pixels, at which feature distances are taken: bounds memory

RGB = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Scores = dict[str, float | None]


@dataclass(frozen=True)
class Item:
    """One picture to measure, where it was edited (None: unknown), and its truth (None: unknown)."""

    image: Path
    mask: Path | None = None
    reference: Path | None = None


@dataclass
class Record:
    """What was measured of one picture; `error` says why nothing was. features (D,) by feature network."""

    image: Path
    sha256: str = ""
    size: tuple[int, int] = (0, 0)
    scores: Scores = field(default_factory=dict)
    features: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    error: str | None = None


class Assessor:
    """The networks that judge, loaded when first needed, safe to call from several threads.

    nets: further feature networks by name, for set distances in other features than Lite0's. mbc: the classifiers
    behind the score giqa_mbc.
    """

    def __init__(
        self, device: torch.device, nets: Mapping[str, OnnxNet | FolderNet] | None = None, mbc: MbcScore | None = None
    ) -> None:
        self.device, self.nets, self.mbc = device, nets or {}, mbc
        self.lite0 = trained_lite0().to(device)
        self.judge = Judge(load_weights("judge"), self.lite0, device)
        self.scorer = Scorer(load_weights("scorer"), self.lite0, str(device)) if "scorer" in manifest() else None
        self.natural = (
            NaturalPhotos(load_weights("natural"), self.lite0, str(device)) if "natural" in manifest() else None
        )

        self.lpips = self._lpips()

    def _lpips(self) -> Callable[[Tensor, Tensor], Tensor] | None:
        """The network of the lpips package, if that was installed: its weights come with torchvision's."""
        if find_spec("lpips") is None:
            return None
        net = import_module("lpips").LPIPS(net="alex", verbose=False).eval().requires_grad_(False)
        return net.to(self.device)

    @cached_property
    def version(self) -> str:
        """Changes with every weight file and every measure."""
        names = ("lite0", "judge", "scorer", "natural")
        return json.dumps(
            [VERSION, self.lpips is not None, *(manifest()[name]["sha256"] for name in names if name in manifest())]
        )

    def alone(self, image: RGB, hole: Mask | None = None) -> Scores:
        """Scores of `image` (H, W, 3) by itself; `hole` (H, W) is where it was edited."""
        return self.described(image, self.judge(image, hole), edited=hole is not None)

    def described(self, image: RGB, judged: Judgement, *, edited: bool) -> Scores:
        """The same of a picture that was judged already, in a hole (`edited`) or all over."""
        exposed = exposure(image)
        scores: Scores = {
            "quality": judged.quality,
            "par_hole": judged.par_hole if edited else None,
            "par_image": judged.par_image,
            "sharpness": sharpness(image),
            "noise": noise(image),
            "exposure": exposed.mean,
            "clipped_dark": exposed.dark,
            "clipped_bright": exposed.bright,
            "colour_cast": colour_cast(image),
        }
        if self.scorer is not None:
            scores["score"] = self.scorer(image)
        if self.natural is not None:
            scores["natural"] = self.natural(image)
        return scores

    @torch.inference_mode()
    def against(self, image: RGB, truth: RGB, hole: Mask | None = None) -> Scores:
        """Distances to `truth`, a picture of the same size, whole, inside `hole` and outside it.

        None stands for what cannot be a number: the PSNR of equal pixels, SSIM of pictures smaller than its window.
        Raises InputError where the sizes differ.
        """
        if image.shape != truth.shape:
            sizes = [f"{a.shape[1]}×{a.shape[0]}" for a in (truth, image)]
            raise InputError(f"expected a picture of its reference's size, {sizes[0]} pixels, got {sizes[1]}")
        x, y = self._tensor(image), self._tensor(truth)
        everything = torch.ones_like(x[:, :1])
        regions = {"": everything}
        if hole is not None:
            inside = torch.from_numpy(hole).to(self.device)[None, None].float()
            regions |= {"_hole": inside, "_outside": 1 - inside}
        side = min(image.shape[:2])
        scores: Scores = {"ms_ssim": ms_ssim(x, y).item() if side >= MS_SSIM_SIDE else None}
        if self.lpips is not None:
            scores["lpips"] = lpips(self.lpips, x, y).item()
        small_x, small_y = _at_most(x, FEATURE_SIDE), _at_most(y, FEATURE_SIDE)
        similarity = ssim_map(x, y) if side >= SSIM_SIDE else None
        for suffix, region in regions.items():
            scores[f"psnr{suffix}"] = _finite(psnr(x, y, region).item())
            inner = region[..., EDGE:-EDGE, EDGE:-EDGE]
            scores[f"ssim{suffix}"] = None
            if similarity is not None and bool(inner.any()):
                scores[f"ssim{suffix}"] = similarity[inner > 0.5].mean().item()  # what full_reference.ssim gives
            if suffix != "_outside":
                cells = _at_most(region, FEATURE_SIDE)
                scores[f"feature_distance{suffix}"] = feature_distance(self.lite0, small_x, small_y, cells).item()
        return scores

    def features(self, image: RGB, net: str = "lite0") -> NDArray[np.float32]:
        """The picture's row (D,) for distances of sets."""
        x = self._tensor(image)
        return photo_features(self.lite0, x[0]) if net == "lite0" else self.nets[net](x)[0]

    def _tensor(self, image: RGB) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(image)).to(self.device).permute(2, 0, 1)[None].float() / 255


class Memory:
    """Numbers by key in one SQLite file, shared by threads and by processes. `path` None: nothing outlives the run.

    A key is a hash of all that a number depends on; there is nothing to invalidate. A damaged file raises InputError.
    """

    def __init__(self, path: Path | None) -> None:
        self.path, self.lock = path, threading.Lock()
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self.file = sqlite3.connect(path or ":memory:", check_same_thread=False, timeout=60)
            self.file.execute("PRAGMA journal_mode=WAL")
            self.file.execute("PRAGMA synchronous=NORMAL")
            self.file.execute("CREATE TABLE IF NOT EXISTS measured (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"{path}: expected a file to remember measurements in, got: {error}; delete it") from error

    def recall(self, key: str, measure: Callable[[], bytes]) -> bytes:
        """The bytes of `key`, measured and kept if they are not there yet."""
        with self.lock:
            row = self.file.execute("SELECT value FROM measured WHERE key = ?", (key,)).fetchone()
        if row is not None:
            return bytes(row[0])
        value = measure()
        with self.lock, self.file:
            self.file.execute("INSERT OR REPLACE INTO measured VALUES (?, ?)", (key, value))
        return value

    def close(self) -> None:
        self.file.close()


def default_memory() -> Path:
    """Where numbers are kept unless told: the user's cache folder ($XDG_CACHE_HOME or ~/.cache)."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "restore" / "measured.sqlite3"


def assess_files(
    items: Sequence[Item], assessor: Assessor, memory: Memory, jobs: int, *, features: bool = False
) -> Iterator[Record]:
    """Records of `items` in their order, as they come. What cannot be read or measured has an `error`.

    Sets torch to one thread per operation: pictures, not operations, are what runs in parallel.
    """
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(jobs)
    try:
        yield from pool.map(lambda item: measure(item, assessor, memory, features=features), items)
    finally:
        pool.shutdown(cancel_futures=True)


def measure(item: Item, assessor: Assessor, memory: Memory, *, features: bool = False) -> Record:
    """All that can be measured of one picture, remembered or new. Never raises for a bad file: see `Record.error`."""
    record = Record(item.image)
    try:
        digests = [_digest(path) for path in (item.image, item.mask, item.reference)]
        record.sha256 = digests[0]
        loaded = _Pictures(item)
        base = [assessor.version, digests[0]]

        def scores(part: str, compute: Callable[[], dict[str, Any]], *more: str) -> dict[str, Any]:
            found = memory.recall(_key(*base, part, *more), lambda: json.dumps(compute()).encode())
            return dict(json.loads(found))

        record.size = tuple(scores("size", lambda: {"size": loaded.size})["size"])
        record.scores = scores("alone", lambda: assessor.alone(loaded.image, loaded.hole), digests[1])
        if item.reference is not None:
            record.scores |= scores(
                "against", lambda: assessor.against(loaded.image, loaded.truth, loaded.hole), *digests[1:]
            )
        wanted = ("lite0", *assessor.nets) if features else ("lite0",) if assessor.mbc is not None else ()
        for net in wanted:
            more = assessor.nets[net].digest if net in assessor.nets else ""
            row = memory.recall(
                _key(*base, "features", net, more),
                lambda net=net: assessor.features(loaded.image, net).astype("<f4").tobytes(),  # type: ignore[misc]
            )
            record.features[net] = np.frombuffer(row, "<f4")
        if assessor.mbc is not None:
            record.scores["giqa_mbc"] = float(assessor.mbc.score(record.features["lite0"][None].copy())[0])
    except InputError as error:
        named = str(item.image) in str(error)
        record.error = str(error) if named else f"{item.image}: {error}"
    return record


class _Pictures:
    """The files of an item, decoded when first asked for: nothing is when all numbers are remembered."""

    def __init__(self, item: Item) -> None:
        self.item = item

    @cached_property
    def image(self) -> RGB:
        return load_photo(self.item.image).pixels.copy()  # torch wants arrays that could be written to

    @cached_property
    def truth(self) -> RGB:
        if self.item.reference is None:
            raise InputError(f"{self.item.image}: expected a reference, got none")
        return load_photo(self.item.reference).pixels.copy()

    @cached_property
    def hole(self) -> Mask | None:
        return None if self.item.mask is None else load_mask(self.item.mask, self.size)

    @property
    def size(self) -> tuple[int, int]:
        return self.image.shape[1], self.image.shape[0]


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The files among `paths`, and of folders all pictures inside, sorted, without masks (X.mask.png).

    Raises InputError for a path that is not there and where nothing is found.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = (p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and not _is_mask(p))
            found += sorted(p for p in inside if p.is_file())
        elif path.exists():
            found.append(path)
        else:
            raise InputError(f"{path}: expected an image file or a folder, found nothing there; check the path")
    if not found:
        raise InputError(
            f"expected pictures in {', '.join(map(str, paths))}, found none; formats: {', '.join(SUFFIXES)}"
        )
    return found


def partner(image: Path, others: Path | None, kind: str, alone: bool) -> Path | None:
    """The file of `others` that belongs to `image`: of a folder the one of its stem, or STEM.mask; a file as it is.

    A file can belong to one picture only (`alone`). A folder without a match gives None.
    Raises InputError for a missing path, a file given for many pictures, and several files of the stem.
    """
    if others is None:
        return None
    if not others.exists():
        raise InputError(f"{others}: expected the {kind} or a folder of them, found nothing there; check the path")
    if not others.is_dir():
        if not alone:
            raise InputError(
                f"{others}: expected a folder with a {kind} per picture, got one file for several pictures"
            )
        return others
    names = (image.stem, f"{image.stem}.mask") if kind == "mask" else (image.stem,)
    found = [others / f"{name}{suffix}" for name in names for suffix in SUFFIXES]
    found = [path for path in found if path.is_file()]
    if len(found) > 1:
        raise InputError(f"{others}: expected one {kind} for {image.name}, found {', '.join(p.name for p in found)}")
    return found[0] if found else None


def _is_mask(path: Path) -> bool:
    return path.stem.endswith(".mask")


def _digest(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{path}: expected a readable file, got: {error.strerror or error}") from error


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _at_most(x: Tensor, side: int) -> Tensor:
    """`x` (1, C, H, W) with its long side reduced to `side` where it is longer."""
    height, width = x.shape[-2:]
    scale = side / max(height, width)
    if scale >= 1:
        return x
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(x[0].permute(1, 2, 0).cpu().numpy(), size, interpolation=cv2.INTER_AREA)
    return torch.from_numpy(small.reshape(size[1], size[0], -1)).to(x.device).permute(2, 0, 1)[None]
