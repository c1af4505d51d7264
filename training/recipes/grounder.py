"""The grounder's data and losses (restore/grounding/segmenter.py): `restore train grounder`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from restore.features.lite0 import trained_lite0
from restore.grounding.segmenter import Segmenter, click_map
from restore.training.data.photos import Holes, PhotoCache, fingerprint
from restore.training.data.scenes import (
    BACKGROUNDS,
    PEOPLE,
    UNNAMED,
    Cutout,
    Scene,
    find_objects,
    load_objects,
    pseudo_objects,
    sample_scene,
)
from restore.training.loop import Task, write_json

CLASSES = 1000
EVALUATED = 48  # fixed scenes
HELD_OUT = 16  # every 16th cut-out is for evaluation


@dataclass
class Prompt:
    """What a scene is asked for: a click or, without one, ImageNet classes; and the answer."""

    click: tuple[float, float] | None  # x, y in pixels
    classes: list[int]
    target: np.ndarray  # bool (S, S)
    weight: float  # of the object loss
    gain: float  # of the evidence: weak evidence of what is there is amplified, here as in the grounder


@torch.no_grad()
def classes_of(net: Segmenter, cut: Cutout, count: int = 8) -> list[int]:
    """What the classifier calls a cut-out: its most likely classes, summed over the object's cells."""
    image = cv2.resize(cut.image, (256, 256), interpolation=cv2.INTER_AREA)
    f = net.encode(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)
    cells = F.adaptive_avg_pool2d(
        torch.from_numpy(cv2.resize((cut.mask > 0).astype(np.float32), (256, 256)))[None, None], 8
    )
    return (f.probabilities() * cells).sum((0, 2, 3)).topk(count).indices.tolist()


def known_classes(net: Segmenter, cuts: list[Cutout], path: Path) -> list[list[int]]:
    """`classes_of` for every cut-out, remembered in `path`."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, [classes_of(net, cut) for cut in tqdm(cuts, desc="classes of the objects", leave=False)])
    found: list[list[int]] = json.loads(path.read_text())
    return found


def prompt_of(scene: Scene, cuts: list[Cutout], classes: list[list[int]], rng: np.random.Generator) -> Prompt:
    """A random prompt for a scene; classes are those of `classes_of`, per cut-out."""
    size = scene.image.shape[0]
    visible = [i for i, m in enumerate(scene.instances) if m.sum() > 60]
    if visible and rng.random() < 0.5:
        i = visible[rng.integers(len(visible))]
        ys, xs = np.nonzero(scene.instances[i])
        k = rng.integers(len(ys))
        return Prompt((float(xs[k]), float(ys[k])), [], scene.instances[i], 1.0, 1.0)
    named = [i for i in visible if cuts[scene.kinds[i]].kinds[0] not in (PEOPLE, UNNAMED)]
    if named and rng.random() < 0.8:
        i = named[rng.integers(len(named))]
        label = cuts[scene.kinds[i]].kinds[0]
        chosen = classes[scene.kinds[i]][: int(rng.integers(1, 9))]
        same = [j for j in visible if cuts[scene.kinds[j]].kinds[0] == label]
        target = np.any([scene.instances[j] for j in same], axis=0)
        return Prompt(None, chosen, target, 1.0, float(np.exp(rng.uniform(0, 2.5))))
    # A class that the scene most likely does not hold.
    present = {c for k in scene.kinds for c in classes[k]}
    chosen = [c for c in rng.integers(0, CLASSES, 4).tolist() if c not in present] or [0]
    return Prompt(None, chosen, np.zeros((size, size), bool), 0.5, 1.0)


def segmentation_loss(logits: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    """Cross entropy + Dice per image, (N,); `counts` in [0, 1] weighs pixels (or images)."""
    bce = (counts * F.binary_cross_entropy_with_logits(logits, target, reduction="none")).mean((1, 2, 3))
    p, t = logits.sigmoid() * counts, target * counts
    dice = 1 - (2 * (p * target).sum((1, 2, 3)) + 1) / (p.sum((1, 2, 3)) + t.sum((1, 2, 3)) + 1)
    return 2 * bce + dice * counts.amax((1, 2, 3)) * (target.amax((1, 2, 3)) > 0.5)


@torch.no_grad()
def countable(logits: Tensor, target: Tensor, complete: Tensor) -> Tensor:
    """Pixel weights (N, 1, h, w): where labels are not `complete` (N,), "nobody here" counts half, and not at all
    where the network is of another opinion (Reed et al., hard bootstrapping, ICLR workshop 2015)."""
    doubtful = (target < 0.5) & (complete[:, None, None, None] < 0.5)
    return torch.where(doubtful, 0.5 * (logits < 0).to(logits.dtype), 1.0)


def overlap(logits: Tensor, target: Tensor) -> Tensor:
    """Mean IoU of the images whose target is not empty; NaN when all are."""
    a, b = logits > 0, target > 0.5
    iou = (a & b).sum((1, 2, 3)) / (a | b).sum((1, 2, 3)).clamp(min=1)
    return iou[b.any(dim=3).any(dim=2).any(dim=1)].mean()


class GrounderTask(Task):
    """Prompted object and people of composed scenes: cross entropy and Dice."""

    net: Segmenter
    slow: ClassVar[dict[str, float]] = {"tuned": 0.3}

    def __init__(self, recipe: dict[str, Any], data: list[Path], out: Path) -> None:
        super().__init__()
        self.recipe = recipe
        shared = out.parent / "cache"
        self.cache = PhotoCache.open(shared, data)
        objects = find_objects(data)
        if objects:
            self.cuts = [cut for source in objects for cut in load_objects(source)]
        else:
            self.cuts = pseudo_objects(self.cache, Holes.open(recipe["hole_shapes"], data), recipe["seed"])
        self.held_out = list(range(0, len(self.cuts), HELD_OUT))
        self.usable = [i for i in range(len(self.cuts)) if i % HELD_OUT] or self.held_out
        names = [self.cache.name(i).split("-")[0] for i in range(len(self.cache))]
        self.plain = [i for i, name in enumerate(names) if name in BACKGROUNDS] or list(range(len(names)))
        self.net = Segmenter(trained_lite0()).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        known = shared / f"classes-{fingerprint(objects or data, len(self.cuts))}.json"
        self.classes = known_classes(self.net, self.cuts, known)

    def batch(self, rng: np.random.Generator, progress: float) -> dict[str, Tensor]:
        """image (N, 3, S, S); click (N, 2) in pixels, is_click (N,), classes (N, 1000) of 0 and 1, gain (N,) of their
        evidence; target (N, 2, S/4, S/4): prompted object and people; weight (N,) of the object's loss; complete (N,)
        whether all people are labelled."""
        return self._compose(self.usable, rng)

    def _compose(self, usable: list[int], rng: np.random.Generator) -> dict[str, Tensor]:
        size, n = self.recipe["size"], self.recipe["batch"]
        scenes = [sample_scene(self.cuts, usable, self.cache, self.plain, size, rng) for _ in range(n)]
        prompts = [prompt_of(scene, self.cuts, self.classes, rng) for scene in scenes]
        people = [self._people(scene) for scene in scenes]
        masks = np.stack([np.stack([p.target, q]) for p, q in zip(prompts, people, strict=True)]).astype(np.float32)
        chosen = torch.zeros(len(scenes), CLASSES)
        for i, p in enumerate(prompts):
            chosen[i, p.classes] = 1
        return {
            "image": torch.from_numpy(np.stack([s.image for s in scenes])).permute(0, 3, 1, 2).float() / 255,
            "click": torch.tensor([p.click or (0.0, 0.0) for p in prompts]),
            "is_click": torch.tensor([float(p.click is not None) for p in prompts]),
            "classes": chosen,
            "gain": torch.tensor([p.gain for p in prompts]),
            "target": F.avg_pool2d(torch.from_numpy(masks), 4),
            "weight": torch.tensor([p.weight for p in prompts]),
            "complete": torch.tensor([float(s.complete) for s in scenes]),
        }

    def _people(self, scene: Scene) -> np.ndarray:
        mask = np.zeros(scene.image.shape[:2], bool)
        for instance, kind in zip(scene.instances, scene.kinds, strict=True):
            if self.cuts[kind].kinds[0] == PEOPLE:
                mask |= instance
        return mask

    def _predict(self, net: Segmenter, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        image, is_click = batch["image"].to(memory_format=torch.channels_last), batch["is_click"]
        f, cells = net.encode(image), image.shape[-1] // 16
        evidence = (f.probabilities() * batch["classes"][:, :, None, None]).sum(1, keepdim=True)
        evidence = F.interpolate(evidence, size=(cells, cells), mode="bilinear", align_corners=False).clamp(0, 1)
        most = (1 / evidence.amax((1, 2, 3)).clamp(min=1e-6)).clamp(min=1)
        evidence = evidence * torch.minimum(batch["gain"], most)[:, None, None, None]
        clicks = click_map(batch["click"] * cells / image.shape[-1], cells, cells)
        obj, person = net.decode(f, torch.where(is_click[:, None, None, None] > 0, clicks, evidence), is_click)
        return obj.float(), person.float()

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        obj, person = self._predict(self.net, batch)
        target, weight = batch["target"], batch["weight"][:, None, None, None]
        object_loss = segmentation_loss(obj, target[:, :1], weight.expand_as(obj)).mean()
        people = target[:, 1:]
        person_loss = segmentation_loss(person, people, countable(person, people, batch["complete"])).mean()
        losses = {"loss": object_loss + person_loss, "object": object_loss, "person": person_loss}
        return losses | {"iou_object": overlap(obj, target[:, :1]), "iou_person": overlap(person, target[:, 1:])}

    def evaluate(self, net: nn.Module) -> dict[str, float]:
        """IoU on fixed scenes composed of held-out cut-outs."""
        assert isinstance(net, Segmenter)
        device, found = next(net.parameters()).device, []
        for i in range(-(-EVALUATED // self.recipe["batch"])):
            batch = {k: v.to(device) for k, v in self._compose(self.held_out, np.random.default_rng([0, i])).items()}
            scores = (overlap(x, batch["target"][:, j : j + 1]) for j, x in enumerate(self._predict(net, batch)))
            found.append([score.item() for score in scores])
        means = {"iou_object": [a for a, _ in found], "iou_person": [b for _, b in found]}
        return {name: float(np.nanmean(v)) for name, v in means.items() if not np.isnan(v).all()}

    def export(self, net: nn.Module) -> dict[str, Tensor]:
        return {k: v for k, v in net.state_dict().items() if not k.startswith("lite0.")}
