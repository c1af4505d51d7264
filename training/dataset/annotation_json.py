"""Annotations in one JSON file: COCO instances, GQA scene graphs, Visual Genome scene graphs.

COCO (Lin et al., ECCV 2014): polygons, or run lengths down the columns, as numbers or packed in a string. GQA
(Hudson & Manning, CVPR 2019) and Visual Genome (Krishna et al., IJCV 2017): boxes and relations, no masks.
"""

from __future__ import annotations

import json
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from restore.errors import InputError
from restore.images.geometry import Size, mask_box
from restore.training.dataset.records import Mask, PhotoRecord, Rejected, Thing, clipped, file_bytes, plain_name

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def read_json(path: Path, images: Path) -> list[PhotoRecord]:
    """The photos of a COCO, GQA or Visual Genome file, by id. Raises InputError for other and broken files."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"expected JSON in {path}, got: {' '.join(str(error).split())}") from None
    try:
        if isinstance(data, dict) and {"images", "annotations", "categories"} <= data.keys():
            return _coco(data, images)
        if isinstance(data, list) and data and all("image_id" in entry and "objects" in entry for entry in data):
            return [_visual_genome(entry, images) for entry in data]
        if isinstance(data, dict) and data and all("objects" in entry for entry in data.values()):
            return [_gqa(key, entry, images) for key, entry in sorted(data.items())]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"expected COCO, GQA or Visual Genome annotations in {path}, got: {reason}") from None
    raise InputError(
        f"expected COCO (images, annotations, categories), GQA or Visual Genome scene graphs in {path}, got other JSON"
    )


def _photo(images: Path, name: str) -> bytes:
    """A photo below `images`; names and links that lead out of it count as missing."""
    path = images / name
    if path.suffix.lower() in PHOTO_SUFFIXES:
        return file_bytes(path, images)
    found = (path.with_name(path.name + suffix) for suffix in PHOTO_SUFFIXES)
    return file_bytes(next((p for p in found if p.exists()), path), images)


def _coco(data: dict[str, Any], images: Path) -> list[PhotoRecord]:
    names = {entry["id"]: plain_name(entry["name"]) for entry in data["categories"]}
    found: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for annotation in data["annotations"]:
        found[annotation["image_id"]].append(annotation)
    records = []
    for entry in data["images"]:
        here = found[entry["id"]]
        kinds = tuple(names[a["category_id"]] for a in here if a.get("category_id") in names)
        things = partial(_coco_things, here, names, (entry.get("width"), entry.get("height")))
        records.append(PhotoRecord(str(entry["id"]), kinds, partial(_photo, images, str(entry["file_name"])), things))
    return records


def _coco_things(
    annotations: list[dict[str, Any]], names: dict[Any, str], said: tuple[int | None, int | None], size: Size
) -> list[Thing]:
    if said not in (size, (None, None)):
        raise Rejected("image of another size")
    things = []
    for a in annotations:
        name, crowd = names[a["category_id"]], bool(a.get("iscrowd"))
        if outline := a.get("segmentation"):
            mask = _polygons(outline, size) if isinstance(outline, list) else _run_lengths(outline, size)
            things.append(Thing(name, mask_box(mask), mask, crowd))
        else:
            x, y, w, h = (float(v) for v in a["bbox"])
            things.append(Thing(name, clipped(x, y, w, h, size), None, crowd))
    return things


def _polygons(polygons: list[list[float]], size: Size) -> Mask:
    mask = np.zeros((size[1], size[0]), np.uint8)
    for polygon in polygons:
        points = np.asarray(polygon, np.float64).reshape(-1, 2)
        if not np.isfinite(points).all() or np.abs(points).max() > 1e6:
            raise ValueError("expected finite coordinates")
        cv2.fillPoly(mask, [np.floor(points).astype(np.int32)], 1)
    return mask.astype(bool)


def _run_lengths(outline: dict[str, Any], size: Size) -> Mask:
    """Runs of outside and inside in turn, down the columns."""
    if tuple(outline["size"]) != (size[1], size[0]):
        raise Rejected("mask of another size")
    counts = outline["counts"]
    runs = np.asarray(_unpacked(counts) if isinstance(counts, str) else counts, np.int64)
    pixels = size[0] * size[1]
    if (runs < 0).any() or (runs > pixels).any() or runs.sum() != pixels:
        raise ValueError("expected run lengths that cover the photo")
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.ascontiguousarray(inside.reshape(size).T)


def _unpacked(text: str) -> list[int]:
    """Run lengths from COCO's string: five bits a letter, least first, bit 5 = more follow, bit 4 of the last = sign;
    from the fourth on each is the difference to the one two before."""
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        value |= (bits & 31) << shift
        shift += 5
        if shift > 40:
            raise ValueError("expected run lengths, got a letter sequence without end")
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def _gqa(key: str, entry: dict[str, Any], images: Path) -> PhotoRecord:
    objects = entry["objects"]
    names = tuple(plain_name(o["name"]) for o in objects.values())
    edges = [(k, str(r["name"]), r["object"]) for k, o in objects.items() for r in o.get("relations", ())]
    said = entry.get("width"), entry.get("height")
    return PhotoRecord(key, names, partial(_photo, images, key), partial(_graph_things, objects, edges, names, said))


def _visual_genome(entry: dict[str, Any], images: Path) -> PhotoRecord:
    objects = {o["object_id"]: o for o in entry["objects"]}
    names = tuple(plain_name((o["names"] or [""])[0]) for o in objects.values())
    edges = [(r["subject_id"], str(r["predicate"]).lower(), r["object_id"]) for r in entry.get("relationships", ())]
    key = str(entry["image_id"])
    said = entry.get("width"), entry.get("height")
    return PhotoRecord(key, names, partial(_photo, images, key), partial(_graph_things, objects, edges, names, said))


def _graph_things(
    objects: dict[Any, dict[str, Any]],
    edges: list[tuple[Any, str, Any]],
    names: tuple[str, ...],
    said: tuple[int | None, int | None],
    size: Size,
) -> list[Thing]:
    if said not in (size, (None, None)):
        raise Rejected("image of another size")
    order = {key: i for i, key in enumerate(objects)}
    relations: dict[Any, list[tuple[str, int]]] = defaultdict(list)
    for subject, predicate, other in edges:
        if other in order:
            relations[subject].append((predicate, order[other]))
    things = []
    for name, (key, o) in zip(names, objects.items(), strict=True):
        x, y, w, h = (float(o[k]) for k in "xywh")
        things.append(Thing(name, clipped(x, y, w, h, size), None, False, tuple(relations[key])))
    return things
