"""Objects painted into shapes of stated precision: outline, background, and whether the grounder sees the object.

Example:
  python -m benchmarks.shape --data ../shared/data --out runs/benchmark-shape [--objects 40]

Held-out labelled objects (every 16th photo, as in training/recipes/shape.py) are hidden by their own shape at
precisions 0 to 1 and painted anew by name, kind and rendered solids apart. IoU: predicted with true outline.
background: mean change, in 1/255, inside the shape outside the predicted outline (what the pipeline promises to keep)
and outside the true one (what it costs when the outline is wrong). found: the grounder sees the kind in the shape. The
same question is asked of the original photo, for what the grounder misses anyway. OUT gets table.md and sheet.png.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from tqdm import tqdm

from benchmarks.ground import iou, sheet
from restore import Engine, ObjectNotFoundError
from restore.grounding.painting import KINDS
from restore.pipelines.paint.shape import ShapePipeline
from restore.training.data.scenes import common_names, find_objects, load_objects
from restore.training.publish import set_scores
from restore.training.recipes.shape import HELD_OUT, imprecise, rendered_object, view
from restore.weights.store import load_weights

PRECISIONS = (0.0, 0.25, 0.5, 0.75, 1.0)
SIDE = 256  # of the photos painted into, pixels
RENDERED = "solid"
SEED = 20_000_004

RGB = NDArray[np.uint8]
Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class Subject:
    """A photo (SIDE, SIDE, 3) with one named object; kind: row of the table."""

    kind: str
    name: str
    image: RGB
    instance: Mask


@dataclass(frozen=True)
class Trial:
    precision: float
    kind: str
    iou: float
    kept: float  # mean change inside the shape, outside the predicted outline, 1/255
    spilt: float  # the same outside the true outline
    found: bool | None  # None where the grounder does not know the kind


def subjects(data: Path, count: int) -> list[Subject]:
    """`count` held-out photos of every kind and as many rendered solids."""
    rng = np.random.default_rng(SEED)
    cuts = [cut for source in find_objects([data]) for cut in load_objects(source)]
    names = common_names(cuts, list(KINDS))
    chosen = []
    for kind in KINDS:
        own = [i for i in range(0, len(cuts), HELD_OUT) if kind in names[i]][:count]
        chosen += [Subject(kind, kind, *view(cuts[i], SIDE, rng)) for i in own]
    for _ in range(count):
        image, instance, name = rendered_object(SIDE, rng)
        chosen.append(Subject(RENDERED, name, image, instance))
    return chosen


def sees(engine: Engine, image: RGB, shape: Mask, name: str) -> bool:
    """Whether the grounder finds `name` with at least half of the find in the shape."""
    try:
        found = engine.segment(image, prompt=f"remove every {name}").instances
    except ObjectNotFoundError:
        return False
    return any((i.mask & (shape > 0)).sum() >= 0.5 * i.mask.sum() for i in found)


def paint(pipeline: ShapePipeline, subject: Subject, precision: float) -> tuple[RGB, Mask, Mask]:
    """(result, shape, predicted outline)."""
    shape = imprecise(subject.instance, precision)
    output = pipeline(
        torch.from_numpy(subject.image).permute(2, 0, 1)[None].float() / 255,
        torch.from_numpy(shape)[None, None].float(),
        subject.name,
        precision=precision,
        generator=torch.Generator().manual_seed(0),
    )
    result = (output.image[0].permute(1, 2, 0).numpy() * 255 + 0.5).astype(np.uint8)
    return result, shape, (output.instance[0, 0].numpy() > 0).astype(np.uint8)


def measured(subject: Subject, precision: float, result: RGB, shape: Mask, outline: Mask, engine: Engine) -> Trial:
    change = np.abs(result.astype(np.float32) - subject.image).mean(-1)
    ground = [(shape > 0) & (other == 0) for other in (outline, subject.instance)]
    kept, spilt = (float(change[g].mean()) if g.any() else 0.0 for g in ground)
    overlap = iou(outline > 0, (subject.instance > 0) & (shape > 0))
    found = None if subject.kind == RENDERED else sees(engine, result, shape, subject.kind)
    return Trial(precision, subject.kind, overlap, kept, spilt, found)


def row(label: str, trials: list[Trial]) -> str:
    seen = [t.found for t in trials if t.found is not None]
    means = [np.mean([getattr(t, k) for t in trials]) for k in ("iou", "kept", "spilt")]
    share = f"{np.mean(seen):.3f}" if seen else "–"
    return f"| {label} | {len(trials)} | {means[0]:.3f} | {means[1]:.3f} | {means[2]:.2f} | {share} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with objects.tar, or its unpacked copy")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--objects", type=int, default=20, help="of each kind [default: 20]")
    parser.add_argument("--weights", type=Path, help="safetensors file to measure instead of the shipped one")
    parser.add_argument("--record", action="store_true", help="enter the figures in the manifest")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    weights = load_weights("shape") if args.weights is None else load_file(args.weights)
    engine, pipeline = Engine(device="cpu"), ShapePipeline.from_weights(weights)
    trials: list[Trial] = []
    tiles, before = [], []
    for k, subject in enumerate(tqdm(subjects(args.data, args.objects), desc="objects")):
        pictures = [subject.image]
        for precision in PRECISIONS:
            result, shape, outline = paint(pipeline, subject, precision)
            trials.append(measured(subject, precision, result, shape, outline, engine))
            pictures.append(result)
        if subject.kind != RENDERED:
            before.append(sees(engine, subject.image, imprecise(subject.instance, 0.5), subject.kind))
        if k % max(1, args.objects // 6) == 0:
            tiles.append(np.hstack([cv2.resize(p, (160, 160), interpolation=cv2.INTER_AREA) for p in pictures]))
    cv2.imwrite(str(args.out / "sheet.png"), sheet(tiles, 2)[..., ::-1])
    lines = [
        "| s, kind | objects | IoU | background kept, 1/255 | background lost, 1/255 | found |",
        "|---|---|---|---|---|---|",
    ]
    for precision in PRECISIONS:
        some = [t for t in trials if t.precision == precision]
        lines.append(row(f"{precision}", some))
        lines += [row(f"{precision}, {kind}", [t for t in some if t.kind == kind]) for kind in (*KINDS, RENDERED)]
    lines.append(f"\nOf the original photos the grounder finds {np.mean(before):.3f}.")
    (args.out / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    if args.record:
        fine = [t.found for t in trials if t.found is not None and t.precision <= 0.5]
        card = {f"iou_{p}": float(np.mean([t.iou for t in trials if t.precision == p])) for p in PRECISIONS}
        card |= {"background": float(np.mean([t.kept for t in trials])), "found": float(np.mean(fine))}
        set_scores("shape", {name: round(value, 4) for name, value in card.items()})


if __name__ == "__main__":
    main()
