"""Annotated photos for the data set builder: what a photo shows, where, and how its things stand to each other.

Read here: the layout of objects.tar (ID.webp, ID.png with n = instance n, objects.jsonl) and Pascal VOC folders
(JPEGImages, SegmentationObject, SegmentationClass, Annotations). COCO and scene graphs: `annotation_json`.
Files as a whole must be sound (InputError); what is wrong with one photo is raised as `Rejected` when it is loaded,
so that a few broken ones among many are counted, not fatal.
"""

from __future__ import annotations

import io
import json
import tarfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from restore.errors import InputError
from restore.images.geometry import Box, Size, mask_box
from restore.training.data.photos import IMAGE_SUFFIXES, decode
from restore.training.data.scenes import find_objects
from restore.training.dataset.records import (
    BROKEN,
    VOC_CLASSES,
    Annotated,
    PhotoRecord,
    Rejected,
    Thing,
    clipped,
    file_bytes,
    inside,
    plain_name,
)

FULL_SIZE = 10**9  # px: a short side that no photo reaches
VOC_VOID = 255  # of a mask: the unlabelled line around objects


def load(record: PhotoRecord, short_side: int) -> Annotated:
    """The photo with its short side at most `short_side` pixels, and its things at that size. Raises Rejected."""
    try:
        pixels = decode(record.image(), FULL_SIZE)
        if pixels is None:
            raise Rejected("image broken or too small")
        size = pixels.shape[1], pixels.shape[0]
        things = record.things(size)
    except BROKEN as error:
        raise Rejected("annotation broken") from error
    scale = short_side / min(size)
    if scale < 1:
        pixels = np.asarray(cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
        things = [_scaled(thing, scale, (pixels.shape[1], pixels.shape[0])) for thing in things]
    return Annotated(np.ascontiguousarray(pixels), things)


def read_annotations(source: Path, images: Path | None = None) -> list[PhotoRecord]:
    """The annotated photos of `source`, in a fixed order.

    source: a JSON file (COCO, GQA or Visual Genome), a VOC folder, objects*.tar, or a folder that holds such tars or
    objects.jsonl. images: where the photos of a JSON file lie; default: beside it. Raises InputError.
    """
    if not source.exists():
        raise InputError(f"expected annotations, got no such path {source}; check the spelling")
    if images is not None and not images.is_dir():
        raise InputError(f"expected a folder of photos, got {images}; check --images")
    if source.suffix.lower() == ".json":
        from restore.training.dataset.annotation_json import read_json

        records = read_json(source, images or source.parent)
    elif (source / "JPEGImages").is_dir():
        records = _voc(source)
    elif source.suffix == ".tar" or (source.is_dir() and find_objects([source])):
        sources = [source] if source.is_file() else find_objects([source])
        records = [record for path in sources for record in _objects(path)]
    else:
        raise InputError(
            f"expected COCO, GQA or Visual Genome JSON, a VOC folder or objects.tar, got {source}; see --help"
        )
    if not records:
        raise InputError(f"expected annotated photos in {source}, got none")
    return records


def map_things(labels: NDArray[np.integer], names: Callable[[int], str]) -> list[Thing]:
    """Things of an instance map (H, W), 0 = background; `names` of an instance's number."""
    masks = [(int(n), labels == n) for n in np.unique(labels) if n]
    return [Thing(plain_name(names(n)), mask_box(mask), mask) for n, mask in masks]


def _scaled(thing: Thing, scale: float, size: Size) -> Thing:
    if thing.mask is None:
        x, y, w, h = (v * scale for v in thing.box)
        return replace(thing, box=clipped(x, y, w, h, size))
    mask = cv2.resize(thing.mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
    return replace(thing, mask=mask, box=mask_box(mask))


def _labels(data: bytes, size: Size) -> NDArray[np.integer]:
    """An instance or class map as written: palette and grey values, no colours."""
    with Image.open(io.BytesIO(data)) as file:
        if file.size != size:
            raise Rejected("mask of another size")
        if len(file.getbands()) != 1:
            raise ValueError(f"expected a mask of one channel, got {file.mode}")
        return np.asarray(file)


def _objects(source: Path) -> list[PhotoRecord]:
    """Of objects.tar or a folder of that layout. Files are read when needed, from where they stand in the tar."""
    if source.is_dir():
        files = {p.name: partial(file_bytes, p, source) for p in sorted(source.iterdir()) if inside(p, source)}
    else:
        try:
            with tarfile.open(source, "r:") as tar:
                files = {Path(m.name).name: partial(_span, source, m.offset_data, m.size) for m in tar if m.isfile()}
        except (tarfile.TarError, OSError) as error:
            raise InputError(f"expected a whole uncompressed tar, got {source} ({error}); copy it again") from None
    if "objects.jsonl" not in files:
        raise InputError(f"expected objects.jsonl in {source}, got none; see --help for the layouts")
    records = []
    for number, line in enumerate(files["objects.jsonl"]().splitlines(), 1):
        try:
            row = json.loads(line)
            kinds = {int(n): plain_name(name) for n, name in row["instances"].items()}
            name = str(row["id"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            where = f"{source}, objects.jsonl line {number}"
            raise InputError(f"{where}: expected id and instances, got: {error}") from None
        image = next((files[name + end] for end in sorted(IMAGE_SUFFIXES - {".png"}) if name + end in files), _missing)
        things = partial(_object_things, files.get(name + ".png", _missing), kinds)
        records.append(PhotoRecord(name, tuple(kinds.values()), image, things))
    return records


def _object_things(labels: Callable[[], bytes], kinds: dict[int, str], size: Size) -> list[Thing]:
    return map_things(_labels(labels(), size), lambda n: kinds[n])


def _missing() -> bytes:
    raise Rejected("image missing")


def _span(path: Path, start: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(size)


def _voc(folder: Path) -> list[PhotoRecord]:
    records = []
    for path in sorted((folder / "JPEGImages").iterdir()):
        boxes, masks = folder / "Annotations" / f"{path.stem}.xml", folder / "SegmentationObject" / f"{path.stem}.png"
        if path.suffix.lower() in IMAGE_SUFFIXES and (boxes.exists() or masks.exists()):
            names = () if masks.exists() else _voc_names(boxes)
            records.append(
                PhotoRecord(
                    path.stem, names, partial(file_bytes, path, folder), partial(_voc_things, folder, path.stem)
                )
            )
    return records


def _voc_names(path: Path) -> tuple[str, ...]:
    try:
        return tuple(plain_name(e.text) for e in ElementTree.parse(path).iterfind("object/name"))
    except (ElementTree.ParseError, ValueError, OSError):
        return ()  # loading the photo counts it as broken


def _voc_things(folder: Path, stem: str, size: Size) -> list[Thing]:
    """Instances of SegmentationObject, named by SegmentationClass; where there are none, boxes of Annotations."""
    instances, classes = folder / "SegmentationObject" / f"{stem}.png", folder / "SegmentationClass" / f"{stem}.png"
    boxed = _voc_boxes(folder / "Annotations" / f"{stem}.xml", size)
    if not instances.exists():
        return boxed
    labels = _labels(file_bytes(instances, folder), size)
    kinds = _labels(file_bytes(classes, folder), size) if classes.exists() else None

    def name(n: int) -> str:
        inside = labels == n
        if kinds is not None:
            return ("", *VOC_CLASSES)[int(np.bincount(kinds[inside]).argmax())]
        return max(boxed, key=lambda thing: box_iou(thing.box, mask_box(inside))).name

    return map_things(np.where(labels == VOC_VOID, 0, labels), name)


def _voc_boxes(path: Path, size: Size) -> list[Thing]:
    if not path.exists():
        return []
    try:
        root = ElementTree.parse(path)
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from None
    things = []
    for element in root.iterfind("object"):
        x0, y0, x1, y1 = (float(element.findtext(f"bndbox/{k}") or "") for k in ("xmin", "ymin", "xmax", "ymax"))
        box = clipped(x0 - 1, y0 - 1, x1 - x0 + 1, y1 - y0 + 1, size)  # VOC counts pixels from 1, the last included
        things.append(Thing(plain_name(element.findtext("name")), box))
    return things


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes (x, y, w, h)."""
    across = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    down = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(0, across) * max(0, down)
    return both / max(1, a[2] * a[3] + b[2] * b[3] - both)
