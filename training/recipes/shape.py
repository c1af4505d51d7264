"""The shape network's data and losses (pipelines/networks/shape.py): `restore train shape`.

A mean of all dogs is a brown shape. One step from pure noise is therefore trained against a critic that sees the
object in its photo beside its outline (adversarial diffusion distillation, Sauer et al., 2023, without a teacher).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from restore.features.lite0 import Lite0, trained_lite0
from restore.pipelines.networks.draft import SIGMA_DATA, DraftConfig
from restore.pipelines.networks.instruct import BUCKETS, token_ids
from restore.pipelines.networks.shape import SIGMA_PURE, ShapeNet
from restore.pipelines.push_pull import push_pull
from restore.quality.metrics.full_reference import TAPS, feature_distance
from restore.training.critic import WIDTH, Critic, distance, hinge, over
from restore.training.data.scenes import Cutout, common_names, find_objects, load_objects
from restore.training.data.solids import cover, random_scene, render
from restore.training.loop import Task
from restore.weights.store import load_weights

RGB = NDArray[np.uint8]
Mask = NDArray[np.uint8]

EVALUATED = 24  # held-out objects
HELD_OUT = 16  # every 16th labelled photo is for evaluation
SEMANTIC_TAPS = (*TAPS, 15)  # the last block tells classes apart


@dataclass(frozen=True)
class Sample:
    """image (s, s, 3); instance and shape (s, s) in {0, 1}; precision of the shape in [0, 1]; name of the object."""

    image: RGB
    instance: Mask
    shape: Mask
    precision: float
    name: str


class NamedCritic(Critic):
    """The critic told the object's outline, its shape and its name (Miyato & Koyama, ICLR 2018)."""

    def __init__(self) -> None:
        super().__init__(maps=2)
        self.words = nn.Embedding(BUCKETS, WIDTH, padding_idx=0)
        nn.init.normal_(self.words.weight[1:], std=0.1)

    def named(self, features: list[Tensor], outline: Tensor, shape: Tensor, ids: Tensor) -> list[Tensor]:
        """Logits; features at `taps`; outline and shape (N, 1, H, W) in [0, 1]; ids (N, words)."""
        name = self.words(ids).sum(1) / (ids > 0).sum(1, keepdim=True).clamp(min=1)
        seen = self.seen(features, outline, shape)
        return [
            verdict(h) + (h * name[:, :, None, None]).mean(1, keepdim=True)
            for verdict, h in zip(self.verdicts, seen, strict=True)
        ]


class ShapeTask(Task):
    """L1, features and critic of the object in its shape, its outline (Dice), and EDM's loss at lower noise."""

    net: ShapeNet
    critic: NamedCritic

    def __init__(self, recipe: dict[str, Any], data: list[Path], out: Path) -> None:
        super().__init__()
        self.recipe = recipe
        self.cuts = [cut for source in find_objects(data) for cut in load_objects(source)]
        self.train_on = [i for i in range(len(self.cuts)) if i % HELD_OUT]
        self.test_on = [i for i in range(len(self.cuts)) if i % HELD_OUT == 0]
        self.names = common_names(self.cuts, recipe["drawn"])
        drawn = {kind: [i for i in self.train_on if kind in self.names[i]] for kind in recipe["drawn"]}
        rest = [i for i in self.train_on if not any(i in members for members in drawn.values())]
        self.groups = [group for group in (*drawn.values(), rest) if group]
        sizes: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in recipe["network"].items()}
        net = ShapeNet(DraftConfig(**sizes))
        take_draft(net, load_weights("draft"))
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.critic = NamedCritic()
        self.lite0: Lite0 = trained_lite0().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def batch(self, rng: np.random.Generator, progress: float) -> dict[str, Tensor]:
        """x (n, 3, s, s) in [-1, 1]; instance and shape (n, 1, s, s); precision (n,); ids (n, words); sigma (n,) with
        the lower ones first, noisy of them; noise."""
        recipe, n = self.recipe, self.recipe["batch"]
        size = recipe["sizes"][progress >= recipe["small_until"]]
        samples = [self.sample(size, rng) for _ in range(n)]
        noisy = int(n * recipe["noisy_share"])
        sigma = np.full(n, SIGMA_PURE, np.float32)
        sigma[:noisy] = np.exp(rng.standard_normal(noisy) * 1.2 - 1.2)
        return collate(samples) | {
            "sigma": torch.from_numpy(sigma),
            "noise": torch.from_numpy(rng.standard_normal((n, 3, size, size), np.float32)),
            "noisy": torch.tensor(noisy),
        }

    def sample(self, size: int, rng: np.random.Generator) -> Sample:
        """A labelled photo or a rendered scene around one object, under a shape of random precision."""
        if self.train_on and rng.random() >= self.recipe["rendered_share"]:
            group = self.groups[rng.integers(len(self.groups))]  # kinds with many photos do not drown the others
            k = group[rng.integers(len(group))]
            image, instance = view(self.cuts[k], size, rng)
            name = str(rng.choice(self.names[k]))
        else:
            image, instance, name = rendered_object(size, rng)
        if rng.random() < self.recipe["whole_share"]:  # plain generation: the shape is the whole picture
            return Sample(image, instance, np.ones_like(instance), 1.0, name)
        precision = float(rng.choice([0.0, rng.random(), 1.0], p=[0.25, 0.5, 0.25]))
        if rng.random() < self.recipe["no_name"]:
            name = ""
        return Sample(image, instance, imprecise(instance, precision), precision, name)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        x, shape, instance, sigma, noise = (batch[k] for k in ("x", "shape", "instance", "sigma", "noise"))
        recipe, n, k = self.recipe, len(x), int(batch["noisy"])
        smooth = push_pull((x + 1) / 2, shape) * 2 - 1
        noisy = x + shape * noise * sigma[:, None, None, None]
        x, smooth, noisy = (t.to(memory_format=torch.channels_last) for t in (x, smooth, noisy))
        told = self.net.denoise(noisy, sigma, smooth, shape, self.net.condition(batch["ids"], batch["precision"]))
        clean, error = told.clean.float(), told.error.clamp(1e-3, 4)
        miss = (clean - x).abs().mean(1, keepdim=True)
        weight = shape * (0.3 + 0.7 * instance)  # the object matters more than the background that it is pasted over
        area = weight.sum((1, 2, 3)).clamp(min=1)
        l1 = ((miss * weight).sum((1, 2, 3)) / area)[k:].mean()
        nll = ((torch.log(error) + miss.detach() / error) * weight)[k:].sum() / area[k:].sum()
        found = torch.sigmoid(told.instance.float()) * shape
        outline = dice(found, instance * shape)
        cross = F.binary_cross_entropy_with_logits(told.instance.float(), instance, weight=shape)
        losses = {"l1": l1, "nll": nll, "dice": outline, "cross": cross}
        loss = recipe["l1_weight"] * l1 + 0.05 * nll + recipe["outline_weight"] * (outline + cross)
        losses |= self.judged(x[k:], clean[k:], found[k:], (instance * shape)[k:], shape[k:], batch["ids"][k:])
        loss = loss + losses["critic"] + recipe["critic_weight"] * losses["confusion"]
        loss = loss + recipe["feature_weight"] * losses["features"]
        if k:
            s = sigma[:k, None, None, None]
            squared = (clean - x)[:k].square().mean(1, keepdim=True) * weight[:k]
            squared = squared * (s**2 + SIGMA_DATA**2) / (s * SIGMA_DATA) ** 2
            losses["diffusion"] = (squared.sum((1, 2, 3)) / area[:k]).mean()
            loss = loss + recipe["diffusion_weight"] * k / n * losses["diffusion"]
        return losses | {"loss": loss}

    def judged(
        self, x: Tensor, clean: Tensor, found: Tensor, instance: Tensor, shape: Tensor, ids: Tensor
    ) -> dict[str, Tensor]:
        """The critic's hinge loss, what the network is told by it, and the distance to the truth in features."""
        with torch.no_grad():
            real = self.critic.features(self.lite0, x / 2 + 0.5)
        fake = self.critic.features(self.lite0, torch.where(shape > 0.5, clean, x) / 2 + 0.5)
        own = self.critic.named(real, instance, shape, ids)
        made = self.critic.named([f.detach() for f in fake], found.detach(), shape, ids)
        wrong = over(hinge(own, 1), shape) + over(hinge(made, -1), shape)
        self.critic.requires_grad_(False)  # what it tells the network is not to move itself
        confusion = -over(self.critic.named(fake, found, shape, ids), shape)
        self.critic.requires_grad_(True)
        apart = distance(fake[:-1], real[:-1], shape)  # not of pixels
        return {"critic": wrong, "confusion": confusion, "features": apart}

    @torch.no_grad()
    def evaluate(self, net: nn.Module) -> dict[str, float]:
        """Of held-out objects, in their boxes (s = 1): IoU of the outline, L1 and feature distance of the object."""
        rng, size = np.random.default_rng(0), self.recipe["sizes"][1]
        net, device = cast(ShapeNet, net), next(net.parameters()).device
        overlaps, l1, features = [], [], []
        for i in range(EVALUATED):
            if self.test_on:
                cut = self.test_on[i % len(self.test_on)]
                image, instance = view(self.cuts[cut], size, rng)
                name = self.names[cut][-1]
            else:
                image, instance, name = rendered_object(size, rng)
            batch = collate([Sample(image, instance, imprecise(instance, 1.0), 1.0, name)])
            x, shape, truth = (batch[k].to(device) for k in ("x", "shape", "instance"))
            condition = net.condition(batch["ids"].to(device), batch["precision"].to(device))
            noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(device)
            told = net.paint((x + 1) / 2, shape, condition, noise)
            found = (told.instance > 0) & (shape > 0.5)
            wanted = (truth > 0.5) & (shape > 0.5)
            overlaps.append(((found & wanted).sum() / (found | wanted).sum().clamp(min=1)).item())
            l1.append(((told.clean - x).abs().mean(1, keepdim=True)[wanted]).mean().item())
            pasted = torch.where(wanted, told.clean, x)
            both = (pasted / 2 + 0.5, x / 2 + 0.5, wanted.float())
            features.append(feature_distance(self.lite0, *both, SEMANTIC_TAPS).item())
        return {"iou": float(np.mean(overlaps)), "l1": float(np.mean(l1)), "features": float(np.mean(features))}


def collate(samples: list[Sample]) -> dict[str, Tensor]:
    images, instances, shapes = (np.stack([getattr(s, k) for s in samples]) for k in ("image", "instance", "shape"))
    return {
        "x": torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1,
        "instance": torch.from_numpy(instances)[:, None].float(),
        "shape": torch.from_numpy(shapes)[:, None].float(),
        "precision": torch.tensor([s.precision for s in samples], dtype=torch.float32),
        "ids": token_ids([s.name for s in samples]),
    }


def imprecise(instance: Mask, precision: float) -> Mask:
    """The shape of precision s in [0, 1] around an outline (H, W): itself at 0, then wider and rounder (blurred, and
    everything kept that the blur touches), its box at 1 (SmartBrush §3.2)."""
    if precision == 0 or not instance.any():
        return instance
    x, y, w, h = cv2.boundingRect(instance)
    if precision == 1:
        box = np.zeros_like(instance)
        box[y : y + h, x : x + w] = 1
        return box
    soft = cv2.GaussianBlur(instance.astype(np.float32), (0, 0), 0.5 + 0.15 * precision * max(w, h))
    return ((soft > 0.15) | (instance > 0)).astype(np.uint8)


def dice(found: Tensor, wanted: Tensor) -> Tensor:
    """1 − the Sørensen–Dice coefficient of soft masks (N, 1, H, W), a scalar."""
    both, either = (found * wanted).sum((1, 2, 3)), (found + wanted).sum((1, 2, 3))
    return (1 - (2 * both + 1) / (either + 1)).mean()


def view(cut: Cutout, size: int, rng: np.random.Generator) -> tuple[RGB, Mask]:
    """A square of a labelled photo around one of its instances, which fills 35–95 % of its side where the photo has
    that much around it; mirrored at random."""
    numbers = [n for n in range(1, int(cut.mask.max()) + 1) if (cut.mask == n).sum() > 80] or [1]
    mask = (cut.mask == numbers[rng.integers(len(numbers))]).astype(np.uint8)
    x, y, w, h = cv2.boundingRect(mask)
    side = min(int(max(w, h, 24) / rng.uniform(0.35, 0.95)), *mask.shape)
    left, top = (
        int(np.clip(rng.uniform(*sorted((start + length - side, start))), 0, most - side))
        for start, length, most in ((x, w, mask.shape[1]), (y, h, mask.shape[0]))
    )
    way = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    step = -1 if rng.random() < 0.5 else 1
    square = slice(top, top + side), slice(left, left + side)
    image = cv2.resize(cut.image[square][:, ::step], (size, size), interpolation=way)
    instance = cv2.resize(mask[square][:, ::step], (size, size), interpolation=cv2.INTER_NEAREST)
    return image.astype(np.uint8), instance.astype(np.uint8)


def rendered_object(size: int, rng: np.random.Generator) -> tuple[RGB, Mask, str]:
    """A scene of solids, one of them and its name."""
    scene = random_scene(rng)
    k = int(rng.integers(len(scene.solids)))
    solid = scene.solids[k]
    words = [w for w, told in ((solid.size, 0.5), (solid.colour, 0.8)) if rng.random() < told]
    image = (render(scene, size) * 255 + 0.5).astype(np.uint8)
    return image, cover(scene, k, size).astype(np.uint8), " ".join([*words, solid.shape])


def take_draft(net: ShapeNet, weights: dict[str, Tensor]) -> None:
    """Start from the draft network's weights: the same layers, no word and no outline yet."""
    own = net.draft.state_dict()
    cells = len(weights["final.weight"]) // 4
    for key, value in weights.items():
        # The last layer's channels are ordered by output, then by cell: the fifth output stays as it is.
        own[key][: 4 * cells if key.startswith("final") else None] = value.float()
    net.draft.load_state_dict(own)
    last = net.name[-1]
    for p in (*last.parameters(), *net.precision.parameters()):
        nn.init.zeros_(p)
