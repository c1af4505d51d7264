"""Photos and holes for training: a decoded cache on disk, seeded crops, object/stroke/box holes."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


def iter_photos(source: Path) -> Iterator[tuple[str, bytes]]:
    """(name, encoded bytes) of every picture in a tar shard or, recursively, a folder."""
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                yield path.stem, path.read_bytes()
        return
    with tarfile.open(source) as tar:
        for member in tar:
            if Path(member.name).suffix.lower() in IMAGE_SUFFIXES:
                handle = tar.extractfile(member)
                if handle is not None:
                    yield Path(member.name).stem, handle.read()


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
    def open(cls, folder: Path, sources: list[Path], short_side: int = 288) -> PhotoCache:
        """The cache in `folder`, built from `sources` (tar shards or folders) when absent."""
        if not (folder / "index.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            index, position = [], 0
            with open(folder / "pixels.bin", "wb") as out:
                for source in sources:
                    for name, data in iter_photos(source):
                        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
                        if image is None or min(image.shape[:2]) < 64:
                            continue
                        scale = short_side / min(image.shape[:2])
                        if scale < 1:
                            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
                        out.write(image[..., ::-1].tobytes())
                        index.append((name, position, *image.shape[:2]))
                        position += image.size
            (folder / "index.json").write_text(json.dumps(index))
        return cls(folder)


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
