"""The networks for second looks (restore/grounding/instances.py): pasted groups, centres, rules, kinds.

Example:
  python -m restore.training.recipes.instances --data ../shared/data --out runs/instances
  python -m restore.training.publish runs/instances

Groups of one to four things of a kind are pasted side by side, before and behind each other; the shipped grounder's
features of them are kept, `Centres` is trained on them, then the two rules on its votes. The kinds are fitted to VOC
objects and to ImageNet ones of none of them, on masked means of the classifier's logits. Every 16th cut-out is held
out, as in training/recipes/grounder.py (benchmarks/instances.py measures on those). About 20 minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from tqdm import tqdm

from restore import Engine
from restore.grounding.grounder import Grounder
from restore.grounding.instances import FEW, KINDS, REACH, Centres, Votes, gathered
from restore.grounding.segmenter import Encoding
from restore.training.data.photos import PhotoCache
from restore.training.data.scenes import Cutout, Scene, _relight, common_names, load_objects, paste
from restore.training.recipes.grounder import HELD_OUT

SIDE = 480  # of a scene
COUNTS = {1: 0.36, 2: 0.40, 3: 0.16, 4: 0.08}  # how often so many things
TOUCH = 9  # pixels: things nearer than that are one group
SPREAD = 1.3  # of a centre in the heat map, cells


@dataclass(frozen=True)
class Example:
    """One group as the grounder sees it: features, share of each cell of the group and of each thing (n, h, w)."""

    features: Encoding
    mask: np.ndarray
    things: np.ndarray


def pools(cuts: Sequence[Cutout], *, held_out: bool) -> dict[str, list[int]]:
    """Indices of the cut-outs of one thing each, by kind: cat, dog, person and all others ("")."""
    found: dict[str, list[int]] = {"cat": [], "dog": [], "person": [], "": []}
    for i, names in enumerate(common_names(list(cuts), ["cat", "dog"])):
        if (i % HELD_OUT == 0) == held_out and len(cuts[i].kinds) == 1 and (cuts[i].mask > 0).mean() > 0.04:
            found[names[-1] if names[-1] in found else ""].append(i)
    return found


def group(cuts: list[Cutout], chosen: Sequence[int], background: np.ndarray, rng: np.random.Generator) -> Scene:
    """The chosen cut-outs on a background, side by side (beside, before or behind each other)."""
    scene = Scene(cv2.resize(background, (SIDE, SIDE)).copy(), [], [], complete=True)
    boxes = [cv2.boundingRect((cuts[i].mask > 0).astype(np.uint8)) for i in chosen]
    sides = rng.uniform(0.75, 1.25, len(chosen))
    widths = np.array([s * min(1, b[2] / b[3]) for s, b in zip(sides, boxes, strict=True)])
    heights = np.array([s * min(1, b[3] / b[2]) for s, b in zip(sides, boxes, strict=True)])
    beside = rng.random() < 0.7
    steps = (widths[1:] + widths[:-1]) / 2 * rng.uniform(*((0.55, 0.97) if beside else (0.25, 0.7)), len(chosen) - 1)
    x = np.concatenate([[0.0], np.cumsum(steps)])
    foot = rng.normal(0, 0.06, len(chosen)) if beside else rng.uniform(-0.5, 0.5, len(chosen))
    left, right = (x - widths / 2).min(), (x + widths / 2).max()
    top, bottom = (foot - heights).min(), foot.max()
    scale = rng.uniform(0.35, 0.62) / max(right - left, bottom - top)
    for k in rng.permutation(len(chosen)):
        centre = [0.5 + (x[k] - (left + right) / 2) * scale]
        centre += [0.5 + (foot[k] - heights[k] / 2 - (top + bottom) / 2) * scale]
        paste(scene, cuts, chosen[k], rng, np.array([*centre, sides[k] * scale]))
    scene.image = _relight(scene.image, rng)
    return scene


def example(grounder: Grounder, scene: Scene, rng: np.random.Generator) -> Example | None:
    """The largest touching group of a scene, its mask roughened as a found one is; None where little is left."""
    union = np.any([np.zeros((SIDE, SIDE), bool), *scene.instances], axis=0).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(cv2.dilate(union, np.ones((TOUCH, TOUCH), np.uint8)))
    if len(stats) < 2:
        return None
    whole = labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    parts = [m & whole for m in scene.instances if (m & whole).sum() > max(0.5 * m.sum(), 0.03 * union.sum())]
    if not parts or np.any(parts, axis=0).sum() < 1500:
        return None
    mask = np.any(parts, axis=0).astype(np.uint8)
    kernel, how = np.ones((int(rng.integers(3, 9)),) * 2, np.uint8), int(rng.integers(3))
    mask = np.asarray(cv2.dilate(mask, kernel) if how == 0 else cv2.erode(mask, kernel) if how == 1 else mask)
    noise = cv2.resize(rng.normal(0, 0.15, (16, 16)).astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    rough = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 5) + noise > 0.5
    closer = grounder.closer(scene.image, rough) if rough.any() else None
    if closer is None:
        return None
    f = closer.features  # clones: those made in inference mode cannot be trained on
    kept = Encoding(f.stride4[..., :1, :1].clone(), f.stride8.clone(), f.stride16.clone(), f.stride32.clone(), None)
    return Example(kept, closer.cells(rough, 16), np.stack([closer.cells(m, 16) for m in parts]))


def targets(things: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Heat (h, w) with a peak at each centre, offset (2, h, w) of each cell to its thing's, and which cells count."""
    h, w = things.shape[1:]
    rows, columns = np.mgrid[:h, :w].astype(np.float32)
    heat, offset = np.zeros((h, w), np.float32), np.zeros((2, h, w), np.float32)
    owned = np.zeros((h, w), np.float32)
    for thing in things:
        y, x = ((thing * v).sum() / max(thing.sum(), 1e-6) for v in (rows, columns))
        heat = np.maximum(heat, np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * SPREAD**2)))
        own = (thing > 0.4) & (thing > owned)
        offset[:, own] = np.stack([x - columns, y - rows])[:, own] / REACH
        owned = np.maximum(owned, thing * (thing > 0.4))
    return heat, offset, owned > 0


def centre_loss(out: Tensor, heat: Tensor, offset: Tensor, counts: Tensor) -> Tensor:
    """Cross entropy of the centres, sixfold at them, and L1 of the offsets where they count."""
    entropy = F.binary_cross_entropy_with_logits(out[:, 0], heat, reduction="none")
    distance = ((out[:, 1:] - offset).abs().sum(1) * counts).sum() / counts.sum().clamp(min=1)
    return 4 * (entropy * (1 + 6 * heat)).mean() + distance


def train_centres(examples: Sequence[Example], steps: int, batch: int, rng: np.random.Generator) -> Centres:
    """AdamW with one cycle of the learning rate; half of the batches mirrored."""
    net = Centres()
    optimiser = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps, pct_start=0.1)
    for _ in tqdm(range(steps), desc="centres"):
        loss = torch.zeros(())
        flip = rng.random() < 0.5
        for i in rng.choice(len(examples), batch, replace=False):
            e = examples[i]
            f, mask = e.features, torch.from_numpy(e.mask)[None, None]
            goal = [torch.from_numpy(t)[None].float() for t in targets(e.things)]
            if flip:
                f = Encoding(f.stride4, f.stride8.flip(-1), f.stride16.flip(-1), f.stride32.flip(-1), None)
                mask, goal = mask.flip(-1), [t.flip(-1) for t in goal]
                goal[1][:, 0] *= -1
            loss = loss + centre_loss(net(f, mask), *goal) / batch
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return net.eval()


def fit_rules(examples: Sequence[Example], net: Centres) -> dict[str, Tensor]:
    """The rules `first` (several or one) and `again` (is a part still several), by logistic regression."""
    first: list[tuple[np.ndarray, bool]] = []
    again: list[tuple[np.ndarray, bool]] = []
    for e in examples:
        with torch.inference_mode():
            out = net(e.features, torch.from_numpy(e.mask)[None, None])[0].numpy()
        votes, count = gathered(out, e.mask), len(e.things)
        found = votes.split() if len(votes.votes) >= FEW else None
        if found is None:
            continue
        first.append((found[0], count > 1))
        halves: list[Votes] = sorted((votes.of(s) for s in (found[1], ~found[1])), key=lambda v: -float(v.weight.sum()))
        for k, half in enumerate(halves if count > 1 else []):
            if len(half.votes) >= FEW and (split := half.split()) is not None:
                share = np.log(half.weight.sum() / votes.weight.sum())
                again.append((np.append(split[0], share), count == 4 or (count == 3 and k == 0)))
    rules: dict[str, Tensor] = {}
    for name, rows in (("first", first), ("again", again)):
        model = LogisticRegression(C=10, max_iter=5000).fit(np.array([r[0] for r in rows]), [r[1] for r in rows])
        rules[f"{name}.weight"] = torch.tensor(model.coef_[0]).float()
        rules[f"{name}.bias"] = torch.tensor(model.intercept_[0]).float()
    return rules


def fit_kinds(logits: np.ndarray, kinds: np.ndarray, decay: float = 1e-3) -> dict[str, Tensor]:
    """Softmax regression of the kinds on masked mean logits (N, 1000), standardised; kinds: (N,) indices of `KINDS`."""
    mean, scale = logits.mean(0), float(logits.std())
    x, y = torch.from_numpy((logits - mean) / scale).float(), torch.from_numpy(kinds)
    weight, bias = torch.zeros(len(KINDS), 1000, requires_grad=True), torch.zeros(len(KINDS), requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = F.cross_entropy(x @ weight.T + bias, y) + decay * (weight**2).sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    w = weight.detach() / scale
    return {"kinds.weight": w, "kinds.bias": bias.detach() - w @ torch.from_numpy(mean).float()}


def _maps(source: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Photo (H, W, 3) RGB and class map (H, W) of every pair in a tar."""
    with tarfile.open(source) as tar:
        files = {Path(m.name): tar.extractfile(m).read() for m in tar if m.isfile()}  # type: ignore[union-attr]
    for path, data in files.items():
        if path.suffix == ".webp":
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            classes = cv2.imdecode(np.frombuffer(files[path.with_suffix(".png")], np.uint8), cv2.IMREAD_UNCHANGED)
            yield np.ascontiguousarray(np.asarray(image)[..., ::-1]), np.asarray(classes)


def voc_objects(source: Path) -> list[tuple[np.ndarray, np.ndarray, str]]:
    """Photo (H, W, 3), mask (H, W) of its largest connected part, and kind, for every known kind in `voc.tar`."""
    names = {4: "bottle", 6: "car", 7: "cat", 8: "chair", 9: "cow", 11: "dog", 12: "horse", 14: "person"}
    names |= {15: "potted plant", 16: "sheep", 17: "couch", 19: "tv"}
    found = []
    for image, classes in _maps(source):
        for index, kind in names.items():
            _, labels, stats, _ = cv2.connectedComponentsWithStats((classes == index + 1).astype(np.uint8))
            if len(stats) > 1 and stats[1:, cv2.CC_STAT_AREA].max() > 0.006 * classes.size:
                found.append((image, labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()), kind))
    return found


def mean_logits(grounder: Grounder, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The classifier's logits averaged over the thing, (1000,)."""
    closer = grounder.closer(image, mask, classify=True)
    weight = closer.cells(mask, 32)
    logits = closer.features.logits
    assert logits is not None  # classified
    return np.asarray((logits[0].float().cpu().numpy() * weight).sum((1, 2)) / max(weight.sum(), 1e-6))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with objects.tar, voc.tar and photos-*.tar")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--groups", type=int, default=1300)
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    grounder, rng = Engine(device="cpu")._grounder, np.random.default_rng(args.seed)
    cuts = load_objects(args.data / "objects.tar")
    cache = PhotoCache.open(args.out / "cache", [args.data])
    plain = [i for i in range(len(cache)) if cache.name(i).startswith(("houses", "landscape"))]
    examples: list[Example] = []
    chosen = pools(cuts, held_out=False)
    for _ in tqdm(range(2 * args.groups), desc="groups"):
        pool = chosen[str(rng.choice(["cat", "dog", "person", ""], p=[0.25, 0.25, 0.3, 0.2]))]
        count = int(rng.choice(list(COUNTS), p=list(COUNTS.values())))
        scene = group(cuts, rng.choice(pool, count).tolist(), cache[plain[rng.integers(len(plain))]], rng)
        if (made := example(grounder, scene, rng)) is not None and len(examples) < args.groups:
            examples.append(made)
    net = train_centres(examples, args.steps, 8, rng)
    known = voc_objects(args.data / "voc.tar")
    others = [cuts[i] for i in chosen[""] if cuts[i].label == "model"]
    logits = [mean_logits(grounder, image, mask) for image, mask, _ in tqdm(known, desc="kinds")]
    logits += [mean_logits(grounder, cut.image, cut.mask > 0) for cut in others]
    kinds = [KINDS.index(kind) for _, _, kind in known] + [len(KINDS) - 1] * len(others)
    weights = {f"centres.{name}": v.contiguous() for name, v in net.state_dict().items()}
    weights |= fit_rules(examples, net) | fit_kinds(np.array(logits), np.array(kinds))
    save_file(weights, args.out / "weights.safetensors")
    record: dict[str, Any] = {
        "model": "instances",
        "architecture": "Details (restore/grounding/instances.py): Centres, two rules and a linear layer",
        "samples": 8 * args.steps,
        "recipe": {"groups": args.groups, "steps": args.steps, "seed": args.seed},
        "data": ["objects.tar", "voc.tar", "photos-00.tar"],
    }
    (args.out / "run.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
