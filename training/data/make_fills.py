"""Make fills by many methods, with their truth: what the artifact segmenter and the scorer learn from.

Example:
  python -m restore.training.data.make_fills --photos runs/draft/photos --out runs/fills --count 20000 \\
      --shapes ../shared/data/hole-shapes.npz

Every photo gets six fills of one hole: four shift maps of different faithfulness (what the engine chooses
between), one blurred kind and one of another kind. OUT/0000, 0001, … hold truth.npy (n, 256, 256, 3) uint8 RGB,
fill.npy (n, 6, 256, 256, 3), mask.npy (n, 256, 256) in {0, 1} and method.npy (n, 6), indices into METHODS; open
them with `mmap_mode="r"`. Outside the mask fill and truth are equal. Photo i depends on --seed and i alone: runs may
be split by --start. Shards on disk are kept, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file

from restore.features.expectation import Expectation
from restore.pipelines.fill import seams, shift_map
from restore.pipelines.fill.builtin import BuiltinPipeline, features_at
from restore.pipelines.networks.draft import DraftNet
from restore.pipelines.push_pull import push_pull
from restore.training.data.photos import Holes, PhotoCache, random_crop
from restore.weights.store import verified

SIZE, SHARD = 256, 100
DRAFT_SIZE = SIZE // 2
CANDIDATES = 4  # shift maps per photo
METHODS = ("shiftmap", "draft", "smooth", "blurred", "telea", "ns", "copied", "patchmatch")
BLURRED, OTHERS = METHODS[1:4], METHODS[4:]
FAITHFULNESS = (0.05, 0.15, 0.7, 2.0)  # weights of the guide's colours
EXPECTING = (0.0, 0.5, 1.0, 2.0)  # weights of the expected features
Method = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


def classic(flag: int, truth: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """OpenCV's Telea or Navier–Stokes."""
    return cv2.inpaint(truth, mask, float(rng.integers(2, 8)), flag)


def smooth(truth: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Push–pull; half of the time with the photo's grain faked, so that blur is not the only sign."""
    x = torch.from_numpy(truth).permute(2, 0, 1)[None].float() / 255
    filled = push_pull(x, torch.from_numpy(mask)[None, None].float())[0].permute(1, 2, 0).numpy() * 255
    if rng.random() < 0.5:
        filled = filled + rng.normal(0, rng.uniform(1, 8), filled.shape)
    return filled.clip(0, 255).astype(np.uint8)


def blurred(truth: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The truth without its detail: right structure, wrong sharpness, as regression gives."""
    return cv2.GaussianBlur(truth, (0, 0), float(np.exp(rng.uniform(0, 2.1))))


def copied(truth: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another place of the photo, maybe mirrored or scaled, its edge feathered: sharp and wrong."""
    shift = rng.uniform(0.15, 0.6, 2) * SIZE * rng.choice([-1, 1], 2)
    zoom = rng.choice([1, 1, 0.7, 1.4])
    matrix = np.array([[zoom * rng.choice([1, 1, -1]), 0, 0], [0, zoom, 0]])
    matrix[:, 2] = shift + SIZE / 2 - matrix[:, :2].sum(1) * SIZE / 2
    pasted = cv2.warpAffine(truth, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT)
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    weight = (depth / rng.choice([1.0, 3.0, 8.0])).clip(0, 1)[..., None]
    base = cv2.inpaint(truth, mask, 3, cv2.INPAINT_TELEA)
    return np.asarray(pasted * weight + base * (1 - weight), np.uint8)


def patchmatch(truth: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pyramid PatchMatch of the optional package `patchmatch-cython`."""
    from patchmatch_cython import inpaint_pyramid

    return np.asarray(inpaint_pyramid(truth, mask.astype(bool), patch_size=5, seed=int(rng.integers(2**31))))


@torch.inference_mode()
def draft(net: DraftNet, truth: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The draft network at half or full size, as the pipeline and as its training show it."""
    return draft_at(net, truth, mask, int(rng.choice([DRAFT_SIZE, DRAFT_SIZE, SIZE])))


@torch.inference_mode()
def draft_at(net: DraftNet, truth: np.ndarray, mask: np.ndarray, side: int) -> np.ndarray:
    """The draft made at `side`² and enlarged: (SIZE, SIZE, 3) uint8."""
    small, hole = seams.shrink(np.asarray(truth / 255, np.float32), mask.astype(bool), side)
    x = torch.from_numpy(small).permute(2, 0, 1)[None]
    out = net.draft(x, torch.from_numpy(hole)[None, None].float())[0][0].permute(1, 2, 0).numpy()
    out = cv2.resize(out, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    return np.round(out.clip(0, 1) * 255).astype(np.uint8)


def shift_maps(
    guides: list[np.ndarray],
    truth: np.ndarray,
    mask: np.ndarray,
    expectation: Expectation,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """One fill by the builtin's shift map per guide, each of another faithfulness; a few keep their seams."""
    image, hole = np.asarray(truth / 255, np.float32), mask.astype(bool)
    options = shift_map.ShiftMapOptions(side=int(rng.choice([96, 128])))
    small, small_hole = seams.shrink(image, hole, options.side)
    expected = features_at(expectation.expect(image, hole), small_hole.shape)
    labels = shift_map.offsets(small, small_hole, options, expected=expected)
    fills = []
    for guide, lam, mu in zip(guides, rng.permutation(FAITHFULNESS), rng.permutation(EXPECTING), strict=True):
        wanted = np.where(hole[..., None], guide.astype(np.float32) / 255, image)
        wanted = np.asarray(cv2.resize(wanted, small.shape[1::-1], interpolation=cv2.INTER_AREA), np.float32)
        chosen = replace(options, lam=float(lam), mu=float(mu))
        solved = shift_map.solve(small, small_hole, wanted, labels, chosen, rng=rng)
        composite = seams.compose(image, hole, solved)
        filled = composite.image if rng.random() < 0.15 else seams.close_seams(composite)
        fills.append(np.round(filled.clip(0, 1) * 255).astype(np.uint8))
    return fills


def available(weights: list[Path]) -> dict[str, Method]:
    """The methods that can run here: `draft` needs weights (checkpoints take turns), `patchmatch` its package."""
    methods: dict[str, Method] = {
        "telea": partial(classic, cv2.INPAINT_TELEA),
        "ns": partial(classic, cv2.INPAINT_NS),
        "smooth": smooth,
        "blurred": blurred,
        "copied": copied,
    }
    nets = [DraftNet.from_weights(load_file(path)) for path in weights]
    if nets:
        methods["draft"] = lambda truth, mask, rng: draft(nets[rng.integers(len(nets))], truth, mask, rng)
    try:
        import patchmatch_cython  # noqa: F401
    except ImportError:
        return methods
    return methods | {"patchmatch": patchmatch}


def sample(
    i: int, seed: int, cache: PhotoCache, holes: Holes, methods: dict[str, Method], pipeline: BuiltinPipeline
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of photo `i` (see the module's docstring) and its fills' methods."""
    rng = np.random.default_rng([seed, i])
    truth = random_crop(cache[int(rng.integers(len(cache)))], SIZE, rng, least=0.7)
    mask = holes.sample(SIZE, rng)
    blurry, other = (str(rng.choice([name for name in kind if name in methods])) for kind in (BLURRED, OTHERS))
    best = draft_at(pipeline.net, truth, mask, DRAFT_SIZE)
    guides = [best if rng.random() < 0.7 else methods[str(rng.choice(["smooth", blurry]))](truth, mask, rng)]
    guides = guides + [best] * (CANDIDATES - 1)
    fills = shift_maps(guides, truth, mask, pipeline.expectation, rng)
    fills += [methods[name](truth.copy(), mask.copy(), rng) for name in (blurry, other)]
    arrays = {"truth": truth, "mask": mask, "fill": np.where(mask[..., None], np.stack(fills), truth)}
    return arrays, ["shiftmap"] * CANDIDATES + [blurry, other]


def write_shard(folder: Path, rows: list[tuple[dict[str, np.ndarray], list[str]]]) -> None:
    """All arrays of a shard, complete or not at all."""
    unfinished = folder.with_suffix(".part")
    unfinished.mkdir(parents=True, exist_ok=True)
    for key in rows[0][0]:
        np.save(unfinished / f"{key}.npy", np.stack([arrays[key] for arrays, _ in rows]))
    np.save(
        unfinished / "method.npy", np.array([[METHODS.index(name) for name in names] for _, names in rows], np.uint8)
    )
    os.rename(unfinished, folder)


def main() -> None:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--photos", type=Path, required=True, help="folder of a PhotoCache")
    parser.add_argument("--shapes", type=Path, help="hole-shapes.npz (default: strokes and boxes only)")
    parser.add_argument("--draft", type=Path, nargs="*", default=[], help="more draft weights, to fill like them too")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=5000, help="photos")
    parser.add_argument("--start", type=int, default=0, help=f"first photo, a multiple of {SHARD}")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    pipeline = BuiltinPipeline.shipped()
    cache, holes = PhotoCache(args.photos), Holes(args.shapes)
    methods = available([verified("draft"), *args.draft])
    begun = time.process_time()
    for first in range(args.start, args.start + args.count, SHARD):
        folder = args.out / f"{first // SHARD:04d}"
        if folder.exists():
            continue
        photos = range(first, first + SHARD)
        write_shard(folder, [sample(i, args.seed, cache, holes, methods, pipeline) for i in photos])
        print(f"{first + SHARD} photos, {time.process_time() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
