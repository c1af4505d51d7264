"""Make fills by many methods, with their truth: what the artifact segmenter and the scorer learn from.

Example:
  python -m restore.training.make_fills --photos runs/draft/photos --out runs/fills --count 20000 \\
      --shapes ../shared/data/hole-shapes.npz --draft runs/draft/weights.safetensors

Every photo gets four fills of one hole: two shift maps of different faithfulness (what the engine chooses
between), one blurred kind and one of another kind. OUT/0000, 0001, … hold truth.npy (n, 256, 256, 3) uint8 RGB,
fill.npy (n, 4, 256, 256, 3), mask.npy (n, 256, 256) in {0, 1} and method.npy (n, 4), indices into METHODS; open
them with `mmap_mode="r"`. Outside the mask fill and truth are equal. Photo i depends on --seed and i alone: runs
may be split by --start. Shards on disk are kept, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file

from restore.pipelines import seams, shift_map
from restore.pipelines.draft_net import DraftConfig, DraftNet
from restore.pipelines.smooth import push_pull
from restore.training.data import Holes, PhotoCache, random_crop

SIZE, SHARD = 256, 100
METHODS = ("shiftmap", "draft", "smooth", "blurred", "telea", "ns", "copied", "patchmatch")
BLURRED, OTHERS = METHODS[1:4], METHODS[4:]
FAITHFULNESS = (0.05, 0.15, 0.7, 2.0)
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
    small = int(rng.choice([SIZE // 2, SIZE // 2, SIZE]))
    image, hole = truth, mask
    if small < SIZE:
        known = cv2.resize(1.0 - mask, (small, small), interpolation=cv2.INTER_AREA)[..., None]
        image = cv2.resize(truth * (1.0 - mask[..., None]), (small, small), interpolation=cv2.INTER_AREA)
        image, hole = image / np.maximum(known, 1e-6), (known[..., 0] < 1).astype(np.uint8)
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    out = net.draft(x, torch.from_numpy(hole)[None, None].float())[0][0].permute(1, 2, 0).numpy()
    out = cv2.resize(out, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    return np.round(out.clip(0, 1) * 255).astype(np.uint8)


def shift_maps(
    guide: Method, truth: np.ndarray, mask: np.ndarray, count: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """`count` fills by the builtin's shift map, each of another faithfulness; seams closed or, rarely, left."""
    image, hole = np.asarray(truth / 255, np.float32), mask.astype(bool)
    options = shift_map.ShiftMapOptions(side=int(rng.choice([96, 128])))
    small, small_hole = seams.shrink(image, hole, options.side)
    labels = shift_map.offsets(small, small_hole, options)
    wanted = np.where(hole[..., None], guide(truth, mask, rng).astype(np.float32) / 255, image)
    wanted = np.asarray(cv2.resize(wanted, small.shape[1::-1], interpolation=cv2.INTER_AREA), np.float32)
    out = []
    for lam in rng.choice(FAITHFULNESS, count, replace=False):
        solved = shift_map.solve(small, small_hole, wanted, labels, replace(options, lam=float(lam)), rng=rng)
        composite = seams.compose(image, hole, solved)
        filled = composite.image if rng.random() < 0.15 else seams.close_seams(composite)
        out.append(np.round(filled.clip(0, 1) * 255).astype(np.uint8))
    return out


def load_draft(weights: Path) -> DraftNet:
    """A draft network whose widths and depths are read off its weights."""
    state = load_file(weights)
    down, mid, up, attention = (
        len({key.split(".")[1] for key in state if re.match(rf"{part}\.\d", key)})
        for part in ("down", "mid", "up", "attend")
    )
    config = DraftConfig(len(state["stem.weight"]), len(state["narrow.weight"]), (down, mid, up), attention)
    net = DraftNet(config).eval()
    net.load_state_dict(state)
    return net


def available(weights: Path | None) -> dict[str, Method]:
    """The methods that can run here: `draft` needs weights, `patchmatch` its package."""
    methods: dict[str, Method] = {
        "telea": partial(classic, cv2.INPAINT_TELEA),
        "ns": partial(classic, cv2.INPAINT_NS),
        "smooth": smooth,
        "blurred": blurred,
        "copied": copied,
    }
    if weights is not None:
        methods["draft"] = partial(draft, load_draft(weights))
    try:
        import patchmatch_cython  # noqa: F401
    except ImportError:
        return methods
    return methods | {"patchmatch": patchmatch}


def sample(
    i: int, seed: int, cache: PhotoCache, holes: Holes, methods: dict[str, Method]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Truth, mask, four fills and their methods of photo `i`."""
    rng = np.random.default_rng([seed, i])
    truth = random_crop(cache[int(rng.integers(len(cache)))], SIZE, rng, least=0.7)
    mask = holes.sample(SIZE, rng)
    names = [str(rng.choice([name for name in kind if name in methods])) for kind in (BLURRED, OTHERS)]
    guide = methods[str(rng.choice([name for name in ("draft", "draft", "smooth") if name in methods]))]
    fills = shift_maps(guide, truth, mask, 2, rng) + [methods[name](truth.copy(), mask.copy(), rng) for name in names]
    pasted = np.where(mask[..., None], np.stack(fills), truth)
    return truth, mask, pasted, ["shiftmap", "shiftmap", *names]


def main() -> None:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--photos", type=Path, required=True, help="folder of a PhotoCache")
    parser.add_argument("--shapes", type=Path, help="hole-shapes.npz (default: strokes and boxes only)")
    parser.add_argument("--draft", type=Path, help="weights of the draft network (default: no drafts)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=5000, help="photos")
    parser.add_argument("--start", type=int, default=0, help=f"first photo, a multiple of {SHARD}")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    cache, holes, methods = PhotoCache(args.photos), Holes(args.shapes), available(args.draft)
    begun = time.process_time()
    for first in range(args.start, args.start + args.count, SHARD):
        folder = args.out / f"{first // SHARD:04d}"
        if folder.exists():
            continue
        rows = [sample(i, args.seed, cache, holes, methods) for i in range(first, first + SHARD)]
        unfinished = folder.with_suffix(".part")
        unfinished.mkdir(parents=True, exist_ok=True)
        for key, column in zip(("truth", "mask", "fill"), zip(*(row[:3] for row in rows), strict=True), strict=True):
            np.save(unfinished / f"{key}.npy", np.stack(column))
        np.save(
            unfinished / "method.npy", np.array([[METHODS.index(name) for name in row[3]] for row in rows], np.uint8)
        )
        os.rename(unfinished, folder)
        print(f"{first + SHARD} photos, {time.process_time() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
