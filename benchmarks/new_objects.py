"""How often does a fill hold a new object? The grounder looks for people and common things in the builtin's fills.

Example:
  python -m benchmarks.new_objects --remove ../shared/data/eval/remove --fill ../shared/data/eval/fill \\
      --out runs/benchmark-new-objects [--fills runs/benchmark-fill/methods/builtin]

Photos of --remove (X.jpg, X.mask.png of an object) are filled in the mask as a prompt would grow it, those of --fill
in the mask as it is. A thing is new when it covers at least a twentieth of the hole, stands mainly in it, and the
grounder does not see the same name there in the untouched photo; what was to be removed counts whatever was there.
The grounder errs, so look at sheet.png; for --fill the same question about the untouched photo, compressed once more,
gives the share of "new" things where nothing was filled. (In photos of --remove the object itself stands in the hole.)
Made fills stay in OUT.
--fills: fills of --fill (X.png) made before. OUT gets new_objects.csv, table.md and sheet.png of what was found.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from benchmarks.fill import Photo, load, read
from benchmarks.ground import picture
from restore import Engine
from restore.features.lite0 import trained_lite0
from restore.grounding.grounder import Grounder, Instance
from restore.grounding.vocabulary import Entry, Vocabulary
from restore.images.windows import grow_mask
from restore.training.publish import set_scores
from restore.weights.store import load_weights

INSIDE = 0.5  # share of a new thing that stands in the hole
LEAST = 0.05  # of the hole that a new thing covers
SAME = 0.3  # overlap (IoU inside the hole) from which a thing of the untouched photo is the same one
QUALITY = 50  # JPEG, of the untouched photo that is asked for comparison
OBJECTS = tuple(
    """person, dog, cat, bird, horse, sheep, cow, elephant, bear, monkey, fish, snake, spider, butterfly, car, bus,
    truck, train, boat, bicycle, motorcycle, airplane, chair, couch, table, bed, bench, lamp, bottle, cup, bowl, vase,
    potted plant, tv, laptop, keyboard, phone, camera, clock, book, umbrella, backpack, suitcase, hat, shoe, ball,
    guitar, piano, knife, spoon, banana, orange, pizza, oven, refrigerator, sink, toilet, traffic light, street sign,
    teddy bear, fence, bridge, tower, house""".replace("\n", " ").split(",")
)


@dataclass(frozen=True)
class Fill:
    """photo.mask is the hole; `removed` is what stood in it, None when unknown; `image` the filled photo."""

    photo: Photo
    removed: Entry | None
    image: np.ndarray


@dataclass(frozen=True)
class New:
    """A thing that only the fill holds."""

    fill: Fill
    name: str
    instance: Instance


def grown(photo: Photo) -> Photo:
    return Photo(photo.name, photo.image, grow_mask(photo.mask, photo.image))


def filled(engine: Engine, photos: list[Photo], folder: Path) -> Iterator[np.ndarray]:
    """The builtin's fills, kept in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for photo in tqdm(photos, desc=f"fills of {folder.name}"):
        path = folder / f"{photo.name}.png"
        if not path.exists():
            image = np.asarray(engine.inpaint(photo.image, mask=photo.mask).image)
            cv2.imwrite(str(path), image[..., ::-1])
        yield read(path)


def new_objects(grounder: Grounder, entries: dict[str, Entry], fill: Fill) -> list[New]:
    """The new things of a fill, one per place, the surest name first."""
    hole, found = fill.photo.mask, []
    before, after = grounder.look(fill.photo.image), grounder.look(fill.image)
    for name, entry in entries.items():
        things = grounder.find_in(after, entry.classes, entry.person, hole)
        things = [i for i in things if standing(i.mask, hole)]
        if things and not (fill.removed and alike(entry, fill.removed)):
            old = [i.mask & hole for i in grounder.find_in(before, entry.classes, entry.person)]
            things = [i for i in things if all(overlap(i.mask & hole, mask) < SAME for mask in old)]
        found += [New(fill, name, i) for i in things]
    kept: list[New] = []
    for new in sorted(found, key=lambda new: -new.instance.score):
        if all(overlap(new.instance.mask, other.instance.mask) < SAME for other in kept):
            kept.append(new)
    return kept


def alike(a: Entry, b: Entry) -> bool:
    return (a.person and b.person) or bool(set(a.classes) & set(b.classes))


def standing(mask: np.ndarray, hole: np.ndarray) -> bool:
    inside = (mask & hole).sum()
    return bool(inside >= INSIDE * mask.sum() and inside >= LEAST * hole.sum())


def untouched(fill: Fill) -> Fill:
    """The photo itself in the fill's stead, compressed once more: nothing in it is new."""
    _, jpeg = cv2.imencode(".jpg", fill.photo.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return Fill(fill.photo, None, np.ascontiguousarray(np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR))[..., ::-1]))


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


def sheet(found: list[New], side: int = 256) -> np.ndarray:
    """Two tiles a thing, four things a row: the photo with its hole, the fill with the new thing (RGB)."""
    tiles = []
    for new in found:
        photo, nothing = new.fill.photo, np.zeros_like(new.fill.photo.mask)
        before = picture(photo.image, nothing, photo.mask, photo.name, side)
        title = f"{new.name} {new.instance.score:.2f}"
        tiles += [np.hstack([before, picture(new.fill.image, new.instance.mask, photo.mask, title, side)])]
    tiles += [np.zeros((side, 2 * side, 3), np.uint8)] * (-len(tiles) % 4 or (0 if tiles else 4))
    return np.vstack([np.hstack(tiles[i : i + 4]) for i in range(0, len(tiles), 4)])


def share(fills: list[Fill], found: list[New]) -> float:
    """Of the fills that hold a new thing."""
    return len({(new.fill.photo.name, id(new.fill.photo)) for new in found}) / max(1, len(fills))


def report(sets: dict[str, list[Fill]], grounder: Grounder, out: Path) -> float:
    """Write the table, the rows and the sheet; the share of fills with a new thing."""
    entries = {name.strip(): Vocabulary.load().lookup(name) for name in OBJECTS}
    lines = ["| fills of | photos | with a new object | untouched photos with one |", "|---|---|---|---|"]
    found: list[New] = []
    for name, fills in sets.items():
        new: list[New] = []
        none: list[New] = []
        plain = [fill for fill in fills if fill.removed is None]
        for fill in tqdm(fills, desc=f"objects in {name}"):
            new += new_objects(grounder, entries, fill)
        for fill in tqdm(plain, desc=f"objects in untouched {name}"):
            none += new_objects(grounder, entries, untouched(fill))
        floor = f"{share(plain, none):.1%}" if plain else "–"
        lines.append(f"| {name} | {len(fills)} | {share(fills, new):.1%} | {floor} |")
        found += new
    fills = [fill for group in sets.values() for fill in group]
    lines.append(f"| all | {len(fills)} | {share(fills, found):.1%} | |")
    (out / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    with open(out / "new_objects.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["photo", "object", "score", "pixels"])
        writer.writerows([n.fill.photo.name, n.name, f"{n.instance.score:.3f}", n.instance.mask.sum()] for n in found)
    cv2.imwrite(str(out / "sheet.png"), sheet(found)[..., ::-1])
    return share(fills, found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--remove", type=Path, help="folder of photos with masks of objects")
    parser.add_argument("--fill", type=Path, help="folder of photos with holes")
    parser.add_argument("--fills", type=Path, help="fills of --fill made before")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--record", action="store_true", help="enter the share in the manifest")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    device, lite0 = torch.device("cpu"), trained_lite0()
    engine, grounder = Engine(device="cpu"), Grounder(load_weights("grounder"), lite0, device)
    sets: dict[str, list[Fill]] = {}
    if args.remove is not None:
        photos = [grown(photo) for photo in load(args.remove, args.limit)]
        rows = [json.loads(text) for text in (args.remove / "index.jsonl").read_text().splitlines()]
        named = {Path(row["image"]).stem: Vocabulary.load().lookup(row["object"]) for row in rows}
        images = filled(engine, photos, args.out / "remove")
        sets["remove"] = [Fill(p, named.get(p.name), i) for p, i in zip(photos, images, strict=True)]
    if args.fill is not None:
        photos = load(args.fill, args.limit)
        made = (read(args.fills / f"{p.name}.png") for p in photos) if args.fills else None
        images = made if made is not None else filled(engine, photos, args.out / "fill")
        sets["fill"] = [Fill(p, None, i) for p, i in zip(photos, images, strict=True)]
    result = report(sets, grounder, args.out)
    if args.record:
        set_scores("draft", {"new_object_share": round(result, 4)})


if __name__ == "__main__":
    main()
