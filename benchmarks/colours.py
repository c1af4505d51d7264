"""60 objects of known colour: is the thing found when it is called by its colour, and refused when by another?

Example:
  python -m benchmarks.colours --data ../shared/data

Two questions for each object of colours.yaml: "the blue bicycle" of a blue one must find it (IoU ≥ .5 with its mask),
"the red bicycle" must be refused. The wrong colour is drawn from those that nobody would call it. Also printed: how
often the colour alone is judged right, on the object's own mask.
"""

from __future__ import annotations

import argparse
import tarfile
from pathlib import Path

import cv2
import numpy as np
import yaml

from restore import Engine
from restore.errors import RestoreError
from restore.grounding.attributes import TERMS, is_like
from restore.grounding.finder import EmbeddedFinder, ObjectFinder
from restore.grounding.ground import Finders, ground
from restore.grounding.instruction import parse

OBJECTS = Path(__file__).with_suffix(".yaml")
FOUND = 0.5  # IoU


def load(data: Path, rows: list[dict]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Photo (H, W, 3) RGB and map (H, W) of every object, by id."""
    wanted = {row["id"] for row in rows}
    files: dict[str, bytes] = {}
    for name in ("objects.tar", "voc.tar"):
        with tarfile.open(data / name) as tar:
            for member in tar:
                path = Path(member.name)
                if path.stem in wanted and (stream := tar.extractfile(member)) is not None:
                    files[path.name] = stream.read()
    photos = {}
    for stem in wanted:
        image, labels = (
            np.asarray(cv2.imdecode(np.frombuffer(files[stem + end], np.uint8), how))
            for end, how in ((".webp", cv2.IMREAD_COLOR), (".png", cv2.IMREAD_UNCHANGED))
        )
        photos[stem] = np.ascontiguousarray(image[..., ::-1]), labels
    return photos


def asked(image: np.ndarray, sentence: str, finder: ObjectFinder) -> np.ndarray | None:
    """The mask that a sentence means; None where it is refused."""
    try:
        return ground(image, parse(sentence), Finders(finder)).mask
    except RestoreError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with objects.tar and voc.tar")
    args = parser.parse_args()
    rows = yaml.safe_load(OBJECTS.read_text())
    photos, rng = load(args.data, rows), np.random.default_rng(0)
    finder = EmbeddedFinder(Engine(device="cpu")._grounder)
    right = dict.fromkeys(("own mask: yes", "own mask: no", "found", "refused", "not found by name alone"), 0)
    for row in rows:
        image, labels = photos[row["id"]]
        truth = labels == row["value"] if row["value"] else (labels > 0) & (labels < 255)
        own = row["colours"][0]
        wrong = str(rng.choice([term for term in TERMS if term not in row["colours"] + row["perhaps"]]))
        right["own mask: yes"] += is_like(image, truth, [own])
        right["own mask: no"] += not is_like(image, truth, [wrong])
        found, other = (asked(image, f"the {colour} {row['name']}", finder) for colour in (own, wrong))
        hit = found is not None and (found & truth).sum() >= FOUND * (found | truth).sum()
        right["found"] += hit
        right["refused"] += other is None
        if not hit:
            alone = asked(image, f"the {row['name']}", finder)
            missed = alone is None or (alone & truth).sum() < FOUND * (alone | truth).sum()
            right["not found by name alone"] += missed
            print(f"{row['id']}: '{own} {row['name']}' not found{' (nor without its colour)' if missed else ''}")
        if other is not None:
            print(f"{row['id']}: '{wrong} {row['name']}' found")
    print("| " + " | ".join(["objects", *right]) + " |\n|" + "---|" * (1 + len(right)))
    print("| " + " | ".join(map(str, [len(rows), *right.values()])) + " |")


if __name__ == "__main__":
    main()
