"""Removal by instruction alone: rendered scenes whose answer is known, and real photos beside ground-then-fill.

Example:
  python -m benchmarks.instruct --out runs/benchmark-instruct [--scenes 500] [--data ../shared/data/eval/remove]

Rendered scenes (training/data/solids.py, seeds never trained on): an instruction is followed when the named solid is
gone and every other one is there: over a solid's own pixels the result is nearer to the scene without it, or with it.
Real photos: both models get the same words. removed: the grounder no longer finds the object in its true mask, which
a photo where nothing was done fails; IoU of what changed with the true mask; outside: mean change, in 1/255, further
than a tenth of the photo's side from it. OUT gets table.md, scenes.csv, scenes.png and photos.png.
"""

from __future__ import annotations

import argparse
import csv
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.ground import iou, sheet
from restore import Engine, ObjectNotFoundError
from restore.pipelines.networks.instruct import SIDE
from restore.pipelines.paint.instruct import InstructPipeline
from restore.training.data.solids import Case, Scene, cover, random_case, random_scene, render
from restore.training.publish import set_scores
from restore.weights.store import load_weights

SEED = 20_000_003  # far from every seed of the recipe
KINDS = ("attributes", "place", "relation", "irrelevant")
LOOKED_AT = 24  # scenes and photos on the sheets
GONE = 0.05  # share of the true mask in which the object may still be found

Picture = NDArray[np.float32]


@dataclass(frozen=True)
class Trial:
    """One scene: its instruction's kind, whether it was followed, PSNR to the exact target, bytes outside unchanged."""

    kind: str
    followed: bool
    psnr: float
    untouched: bool


def followed(scene: Scene, case: Case, source: Picture, result: Picture) -> bool:
    """Whether the named solid and no other is gone."""
    for i in range(len(scene.solids)):
        own = cover(scene, i, SIDE)
        there, gone = source[own], render(scene.without(i), SIDE)[own]
        is_gone = np.abs(result[own] - gone).mean() < np.abs(result[own] - there).mean()
        if is_gone != (i == case.chosen):
            return False
    return True


def rendered_scenes(pipeline: InstructPipeline, count: int, steps: int, out: Path) -> list[Trial]:
    trials: list[Trial] = []
    tiles: list[NDArray[np.uint8]] = []
    for k in tqdm(range(count), desc="scenes"):
        rng = np.random.default_rng([SEED, k])
        kind = KINDS[k % len(KINDS)]
        scene = random_scene(rng)
        case = random_case(scene, rng, {kind: 1.0})
        source, target = render(scene, SIDE), render(scene.without(case.chosen), SIDE)
        generator = torch.Generator().manual_seed(k)
        output = pipeline(
            torch.from_numpy(source).permute(2, 0, 1)[None], case.text, generator=generator, num_inference_steps=steps
        )
        result = output.image[0].permute(1, 2, 0).numpy()
        mse = float(np.square(result - target).mean())
        right = followed(scene, case, source, result)
        told = "irrelevant" if case.chosen is None else kind
        trials.append(Trial(told, right, -10 * np.log10(max(mse, 1e-10)), bool((result == source).all())))
        if len(tiles) < LOOKED_AT // 2 or (not right and len(tiles) < LOOKED_AT):
            tiles.append(_tile([source, result, target], ("" if right else "WRONG ") + case.text))
    cv2.imwrite(str(out / "scenes.png"), sheet(tiles, 4)[..., ::-1])
    with (out / "scenes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["kind", "followed", "psnr", "untouched"])
        writer.writerows([t.kind, int(t.followed), f"{t.psnr:.2f}", int(t.untouched)] for t in trials)
    return trials


def scene_table(trials: list[Trial]) -> tuple[list[str], dict[str, float]]:
    lines = ["| instruction | scenes | followed | PSNR to the exact target | unchanged |", "|---|---|---|---|---|"]
    for kind in ("all", *KINDS):
        some = [t for t in trials if kind in ("all", t.kind)]
        if some:
            right, same = (np.mean([getattr(t, k) for t in some]) for k in ("followed", "untouched"))
            asked = [t.psnr for t in some if t.kind != "irrelevant"]
            psnr = f"{np.mean(asked):.2f}" if asked else "–"
            lines.append(f"| {kind} | {len(some)} | {right:.3f} | {psnr} | {same:.3f} |")
    idle = [t.untouched for t in trials if t.kind == "irrelevant"]
    card = {"scenes_followed": float(np.mean([t.followed for t in trials]))}
    card["scenes_psnr"] = float(np.mean([t.psnr for t in trials if t.kind != "irrelevant"]))
    return lines, card | ({"scenes_irrelevant_unchanged": float(np.mean(idle))} if idle else {})


def real_photos(data: Path, limit: int | None, out: Path) -> list[str]:
    """The two models on photos with the true mask of all objects of one name."""
    rows = [json.loads(text) for text in (data / "index.jsonl").read_text().splitlines()][:limit]
    engines = {"instruct": Engine("instruct", "cpu"), "ground, then fill": Engine("builtin", "cpu")}
    lines = ["| model | photos | acted | removed | IoU of the change | outside, 1/255 |", "|---|---|---|---|---|---|"]
    tiles: dict[int, list[Picture]] = {}
    for name, engine in engines.items():
        acted, removed, overlap, outside = [], [], [], []
        for k, row in enumerate(tqdm(rows, desc=name)):
            image = np.asarray(cv2.imread(str(data / row["image"])))[..., ::-1].copy()
            truth = np.asarray(cv2.imread(str(data / row["mask"]), cv2.IMREAD_GRAYSCALE)) > 127
            try:
                result = engine.inpaint(image, prompt=row["prompt"], passes=1).image
            except ObjectNotFoundError:
                result = image
            changed = (result != image).any(-1)
            acted.append(changed.any())
            overlap.append(iou(changed, truth))
            removed.append(changed.any() and _is_gone(engines["ground, then fill"], result, truth, row["object"]))
            far = cv2.distanceTransform((~truth).astype(np.uint8), cv2.DIST_L2, 5) > 0.1 * max(truth.shape)
            difference = np.abs(result.astype(np.float32) - image).mean(-1)
            outside.append(float(difference[far].mean()) if far.any() else 0.0)
            if k < LOOKED_AT:
                tiles.setdefault(k, [_unit(image)]).append(_unit(result))
        means = (np.mean(acted), np.mean(removed), np.mean(overlap), np.mean(outside))
        lines.append(f"| {name} | {len(rows)} | " + " | ".join(f"{m:.3f}" for m in means) + " |")
    pictures = [_tile(t, rows[k]["prompt"]) for k, t in tiles.items()]
    cv2.imwrite(str(out / "photos.png"), sheet(pictures, 4)[..., ::-1])
    return lines


def _is_gone(engine: Engine, image: NDArray[np.uint8], truth: NDArray[np.bool_], name: str) -> bool:
    try:
        found = engine.segment(image, prompt=f"remove every {name}").mask
    except ObjectNotFoundError:
        return True
    return bool((found & truth).sum() <= GONE * truth.sum())


def _unit(image: NDArray[np.uint8]) -> Picture:
    return image.astype(np.float32) / np.float32(255)


def _tile(pictures: list[Picture], title: str) -> NDArray[np.uint8]:
    """Pictures side by side under a title."""
    row = np.hstack([cv2.resize(p, (192, 192), interpolation=cv2.INTER_AREA) for p in pictures])
    shown = np.vstack([np.zeros((16, row.shape[1], 3), np.uint8), (row * 255 + 0.5).astype(np.uint8)])
    cv2.putText(shown, title, (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 0), 1)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=500)
    parser.add_argument("--steps", type=int, default=1, help="denoising steps; 1 is the conditional mean [default: 1]")
    parser.add_argument("--data", type=Path, help="folder with index.jsonl, photos and masks")
    parser.add_argument("--limit", type=int, help="photos of --data [default: all]")
    parser.add_argument("--record", action="store_true", help="enter the figures in the manifest")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    pipeline = InstructPipeline.from_weights(load_weights("instruct"))
    lines, card = scene_table(rendered_scenes(pipeline, args.scenes, args.steps, args.out))
    if args.data is not None:
        lines += ["", *real_photos(args.data, args.limit, args.out)]
    (args.out / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    if args.record:
        set_scores("instruct", {name: round(value, 4) for name, value in card.items()})


if __name__ == "__main__":
    main()
