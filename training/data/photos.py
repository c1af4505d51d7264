"""Photos and holes for training: a decoded cache on disk, seeded crops, object/stroke/box holes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import cv2
import numpy as np
from PIL import Image, ImageOps

from restore.errors import InputError

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
LEAST_SIDE = 64  # px


def photo_sources(data: list[Path]) -> list[Path]:
    """The tar shards and folders with photos among `data`.

    A folder stands for its photos-*.tar when it has any (its other content is labels and measuring sets), else for
    all pictures below it. Raises InputError when something is absent or holds no picture.
    """
    found: list[Path] = []
    for source in data:
        if not source.exists():
            raise InputError(f"expected a folder or tar shard of images, got no such path {source}; check --data")
        if source.is_file():
            found += [] if source.name.startswith("objects") else [source]
        elif shards := sorted(source.glob("photos-*.tar")):
            found += shards
        elif (source / "pixels.bin").exists() or next(_pictures(source), None) is not None:
            found += [] if (source / "objects.jsonl").exists() else [source]
        elif not (source / "objects.tar").exists():
            kinds = ", ".join(sorted(IMAGE_SUFFIXES))
            raise InputError(f"expected images ({kinds}) or photos-*.tar in {source}, got none; check --data")
    if not found:
        raise InputError(f"expected a folder or tar shard of photos, got {', '.join(map(str, data))}; check --data")
    return found


def _pictures(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())


def iter_photos(source: Path) -> Iterator[tuple[str, bytes]]:
    """(name, encoded bytes) of every picture in a tar shard or, recursively, a folder."""
    if source.is_dir():
        for path in sorted(_pictures(source)):
            yield path.stem, path.read_bytes()
        return
    try:
        with tarfile.open(source) as tar:
            for member in tar:
                if Path(member.name).suffix.lower() in IMAGE_SUFFIXES:
                    handle = tar.extractfile(member)
                    if handle is not None:
                        yield Path(member.name).stem, handle.read()
    except tarfile.TarError as error:
        raise InputError(f"expected a whole tar shard, got {source} ({error}); copy it again") from None


def decode(data: bytes, short_side: int) -> np.ndarray | None:
    """RGB (H, W, 3) uint8, upright, short side at most `short_side`; None when broken, cut off or too small."""
    try:
        with Image.open(io.BytesIO(data)) as file:
            image = np.asarray(ImageOps.exif_transpose(file).convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    least = min(image.shape[:2])
    if least < LEAST_SIDE:
        return None
    scale = short_side / least
    return image if scale >= 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


class PhotoCache:
    """Decoded RGB photos in one memory-mapped file, shared by every process that opens it."""

    def __init__(self, folder: Path) -> None:
        self.index = json.loads((folder / "index.json").read_text())
        self.pixels = np.memmap(folder / "pixels.bin", np.uint8, "r")

    def __len__(self) -> int:
        return len(self.index)

    def name(self, i: int) -> str:
        return str(self.index[i][0])

    def __getitem__(self, i: int) -> np.ndarray:
        _, start, h, w = self.index[i]
        return self.pixels[start : start + h * w * 3].reshape(h, w, 3)

    @classmethod
    def open(cls, folder: Path, data: list[Path], short_side: int = 288) -> PhotoCache:
        """The cache of `data` in `folder`, decoded when absent. Runs may share `folder`.

        Every set of sources (paths, sizes, times) and side has its own sub-folder. One source that is itself such
        a sub-folder is opened as it is. Raises InputError when there is no usable photo.
        """
        sources = photo_sources(data)
        if len(sources) == 1 and (sources[0] / "pixels.bin").exists():
            return cls(sources[0])
        goal = folder / f"decoded-{fingerprint(sources, short_side)}"
        if not goal.exists():
            with new_folder(goal) as part:
                _decode_all(part, sources, short_side)
        return cls(goal)


@contextmanager
def new_folder(goal: Path) -> Iterator[Path]:
    """A folder that becomes `goal` when the block is done, whole or not at all; that of a process that was faster is
    kept."""
    part = goal.with_name(f"{goal.name}.{os.getpid()}.part")
    part.mkdir(parents=True)
    try:
        yield part
        os.rename(part, goal)
    except OSError:
        if not goal.exists():
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _decode_all(folder: Path, sources: list[Path], short_side: int) -> None:
    index: list[tuple[str, int, int, int]] = []
    position, skipped = 0, 0
    with open(folder / "pixels.bin", "wb") as out:
        for source in sources:
            for name, data in iter_photos(source):
                image = decode(data, short_side)
                if image is None:
                    skipped += 1
                    continue
                out.write(image.tobytes())
                index.append((name, position, *image.shape[:2]))
                position += image.size
    if skipped:
        click.echo(f"restore: skipped {skipped} pictures, broken or under {LEAST_SIDE} px", err=True)
    if not index:
        where = ", ".join(map(str, sources))
        raise InputError(f"expected photos in {where}, got {skipped} unusable ones; check --data")
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "sources.json").write_text(json.dumps([source.name for source in sources]))


def source_names(data: list[Path]) -> list[str]:
    """File and folder names of `data`; of a decoded cache what it was made of."""
    names: list[str] = []
    for path in data:
        made_of = path / "sources.json"
        names += json.loads(made_of.read_text()) if made_of.exists() else [path.resolve().name]
    return names


def fingerprint(sources: list[Path], salt: int) -> str:
    """12 hex digits that change with the paths, sizes and times of the files in `sources`."""
    rows = [str(salt)]
    for source in sources:
        for path in sorted(_pictures(source)) if source.is_dir() else [source]:
            status = path.stat()
            rows.append(f"{path.resolve()} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:12]


def held_out(count: int, wanted: int) -> tuple[range, range]:
    """Indices to train on and to test on: the last `wanted`, kept apart when there are more than 100."""
    first = max(0, count - wanted)
    return range(first if count > 100 else count), range(first, count)


def random_crop(image: np.ndarray, size: int, rng: np.random.Generator, least: float = 0.45) -> np.ndarray:
    """A square crop of `least`..1 of the short side, mirrored half of the time, resized to `size`."""
    h, w = image.shape[:2]
    side = int(min(h, w) * rng.uniform(least, 1))
    y, x = rng.integers(0, h - side + 1), rng.integers(0, w - side + 1)
    crop = image[y : y + side, x : x + side]
    crop = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_LINEAR)
    return np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop)


class Holes:
    """Random hole masks (H, W) uint8 in {0, 1}: object silhouettes, brush strokes, boxes, borders."""

    def __init__(self, shapes: Path | None) -> None:
        self.shapes: np.ndarray | None = None
        if shapes is not None:
            packed = np.load(shapes)
            n = int(np.prod(packed["shape"]))
            self.shapes = np.unpackbits(packed["bits"])[:n].reshape(packed["shape"])

    @classmethod
    def open(cls, shapes: str, data: Sequence[Path]) -> Holes:
        """Of a recipe's `hole_shapes`, a path or the name of a file in or beside the run's `data`; without that file
        strokes, boxes and borders only, and says so."""
        folders = [source if source.is_dir() else source.parent for source in data]
        for path in (Path(shapes), *(folder / shapes for folder in folders)):
            if path.is_file():
                return cls(path)
        click.echo(f"restore: no {shapes}; holes are strokes, boxes and borders only", err=True)
        return cls(None)

    def sample(self, size: int, rng: np.random.Generator) -> np.ndarray:
        """One mask that covers between 2 % and 60 % of the square."""
        while True:
            kind = rng.random()
            if kind < 0.6 and self.shapes is not None:
                mask = self._object(size, rng)
            elif kind < 0.8:
                mask = self._strokes(size, rng)
            elif kind < 0.95:
                mask = self._boxes(size, rng)
            else:
                mask = self._border(size, rng)
            if 0.02 < mask.mean() < 0.6:
                return mask

    def _object(self, size: int, rng: np.random.Generator) -> np.ndarray:
        assert self.shapes is not None
        mask = np.zeros((size, size), np.uint8)
        for _ in range(rng.integers(1, 3)):
            shape = self.shapes[rng.integers(len(self.shapes))]
            ys, xs = np.nonzero(shape)
            if len(ys) < 20:
                continue
            shape = shape[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
            scale = size * rng.uniform(0.2, 0.75) / max(shape.shape)
            angle = rng.uniform(-25, 25)
            centre = (shape.shape[1] / 2, shape.shape[0] / 2)
            matrix = np.asarray(cv2.getRotationMatrix2D(centre, angle, scale), np.float64)
            matrix[:, 2] += rng.uniform(0.15, 0.85, 2) * size - np.array(shape.shape[::-1]) / 2
            mask |= np.asarray(cv2.warpAffine(shape, matrix, (size, size), flags=cv2.INTER_NEAREST), np.uint8)
        grow = int(rng.integers(1, 4)) * 2 + 1
        return cv2.dilate(mask, np.ones((grow, grow), np.uint8))

    def _strokes(self, size: int, rng: np.random.Generator) -> np.ndarray:
        mask = np.zeros((size, size), np.uint8)
        for _ in range(rng.integers(1, 5)):
            point, angle = rng.uniform(0, size, 2), rng.uniform(0, 6.28)
            width = int(size * rng.uniform(0.04, 0.2))
            for _ in range(rng.integers(2, 8)):
                angle += rng.normal(0, 0.8)
                step = size * rng.uniform(0.05, 0.25)
                end = point + step * np.array([np.cos(angle), np.sin(angle)])
                cv2.line(mask, point.astype(int).tolist(), end.astype(int).tolist(), 1, width)
                point = end
        return mask

    def _boxes(self, size: int, rng: np.random.Generator) -> np.ndarray:
        mask = np.zeros((size, size), np.uint8)
        for _ in range(rng.integers(1, 4)):
            h, w = (size * rng.uniform(0.1, 0.55, 2)).astype(int)
            y, x = rng.integers(0, size - h), rng.integers(0, size - w)
            mask[y : y + h, x : x + w] = 1
        return mask

    def _border(self, size: int, rng: np.random.Generator) -> np.ndarray:
        mask = np.zeros((size, size), np.uint8)
        mask[: int(size * rng.uniform(0.1, 0.35))] = 1
        return np.ascontiguousarray(np.rot90(mask, int(rng.integers(4))))
