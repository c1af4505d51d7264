"""Words or a click → masks: evidence finds the object, the segmenter its extent, a zoom its outline."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from restore.features.lite0 import Lite0
from restore.grounding.instances import DOUBT, Details
from restore.grounding.segmenter import Encoding, Segmenter, click_map
from restore.images.geometry import fitted

SIDE = 512  # long side of the first look
EVIDENCE_SIDES = (384, 768)  # evidence is looked for at these sizes too: large things show at the small one
LEAST_SIDE = 64  # parts of a photo are not looked at smaller than that
ZOOM_SIDE = 384  # long side of the second look at one object
ZOOM_CONTEXT = 0.35  # context around an object in the second look, share of its box
OUTLINE_SIDE = 1024  # long side at which the outline is fitted to the photo's edges
CORE = 0.4  # an object has pixels of at least this probability,
REACH = 0.15  # and hangs together at this one: arms and tails are less certain than trunks
EXTENT = 0.4  # probability of its outline
SURE = 0.5  # evidence from which an object's probability counts in full
FOUND = 0.35  # least score of an object that counts as found
LEAST_AREA = 0.0004  # smaller specks are not objects (share of the photo)

Mask = NDArray[np.bool_]
Image = NDArray[np.uint8]
Map = NDArray[np.floating]


@dataclass(frozen=True)
class Instance:
    """One object: mask (H, W) bool at the photo's size and score in [0, 1]."""

    mask: Mask
    score: float


@dataclass(frozen=True)
class Looks:
    """A photo encoded at several sizes: any number of words are looked for in it."""

    image: Image
    small: Image  # the photo at the first size
    features: tuple[Encoding, ...]  # `small` first


@dataclass(frozen=True)
class Closer:
    """A second look at a part of a photo: its box x, y, w, h, the size (h, w) it was looked at, and what was seen."""

    box: tuple[int, int, int, int]
    size: tuple[int, int]
    features: Encoding

    def cells(self, mask: Mask, stride: int) -> NDArray[np.float32]:
        """Share of each cell at `stride` that is of the photo's mask (H, W)."""
        x, y, w, h = self.box
        small = cv2.resize(mask[y : y + h, x : x + w].astype(np.float32), self.size[::-1], interpolation=cv2.INTER_AREA)
        rows, columns = (n * 16 // stride for n in self.features.stride16.shape[-2:])
        padded = np.zeros((rows * stride, columns * stride), np.float32)
        padded[: small.shape[0], : small.shape[1]] = small
        return padded.reshape(rows, stride, columns, stride).mean((1, 3)).astype(np.float32)

    def spread(self, cells: NDArray[np.float32]) -> NDArray[np.float32]:
        """A map at stride 16 at the size of the box (h, w)."""
        rows, columns = cells.shape
        large = cv2.resize(cells, (columns * 16, rows * 16), interpolation=cv2.INTER_LINEAR)
        large = large[: self.size[0], : self.size[1]]
        return np.asarray(cv2.resize(large, self.box[2:], interpolation=cv2.INTER_LINEAR), np.float32)


class Grounder:
    """The embedded grounder. Images are (H, W, 3) uint8 RGB.

    details: the networks that part touching things and know the commonest kinds; without them a group is one thing.
    """

    def __init__(
        self,
        weights: dict[str, Tensor],
        lite0: Lite0,
        device: torch.device,
        details: dict[str, Tensor] | None = None,
    ) -> None:
        self.details = Details(details, device) if details is not None else None
        net = Segmenter(lite0)
        net.load_state_dict(weights | {f"lite0.{k}": v for k, v in lite0.state_dict().items()})
        self.net = net.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device = device

    def find(self, image: Image, classes: tuple[int, ...], person: bool) -> list[Instance]:
        """Instances of ImageNet `classes` (any of them), or of people, best first; none = empty list."""
        return self.find_in(self.look(image, people_only=person), classes, person)

    def look(self, image: Image, *, people_only: bool = False, roughly: bool = False, share: float = 1.0) -> Looks:
        """Encode a photo for `find_in`, or a part of one that has this share of its long side. `roughly` takes a fifth
        of the time: of 119 photos of people and animals 4 are missed, else 1."""
        sides = (SIDE,) if people_only else (SIDE, *EVIDENCE_SIDES)
        if roughly:
            sides = EVIDENCE_SIDES[:1]
        fitted = [_fit(image, max(LEAST_SIDE, round(side * share)))[0] for side in sides]
        return Looks(image, fitted[0], tuple(self._encode(x, classify=not people_only) for x in fitted))

    def find_in(
        self,
        looks: Looks,
        classes: tuple[int, ...],
        person: bool,
        within: Mask | None = None,
        *,
        closely: bool = True,
    ) -> list[Instance]:
        """`find` in a photo that is encoded already; only what stands mainly in the mask `within`, (H, W). Without
        looking `closely` it takes a third of the time, and outlines are rough."""
        prompt, presence = self._prompt(looks, classes, person)
        if presence < FOUND:
            return []
        image, coarse = looks.image, presence * self._probability(looks, prompt, person)
        found: list[Instance] = []
        for part in _components(coarse > REACH, LEAST_AREA):
            core = part & (coarse > CORE)
            if not core.any() or (within is not None and (part & within).sum() < 0.5 * part.sum()):
                continue
            probability, closer = coarse * part, None
            if closely:
                probability, closer = self._zoom(image, part, classes, person, coarse)
            score = _typical(probability[core])
            mask = _outline(image, probability)
            if score < FOUND or not mask.any():
                continue
            found += [Instance(mask, score)] if closer is None else self._details(mask, score, closer, classes)
        instances: list[Instance] = []
        for instance in sorted(found, key=lambda i: -i.score):
            if instance.score >= FOUND and not any(_same(instance.mask, other.mask) for other in instances):
                instances.append(instance)
        return instances

    def _details(self, mask: Mask, score: float, closer: Closer, classes: tuple[int, ...]) -> list[Instance]:
        """The things in a mask, as likely as their kind is: that is told of the whole, a part shows too little."""
        if self.details is None:
            return [Instance(mask, score)]
        score *= min(1.0, self.details.belief(closer.features, closer.cells(mask, 32), classes) / DOUBT)
        if score < FOUND:
            return []
        distances = self.details.parts(closer.features, closer.cells(mask, 16), classes)
        masks = [mask]
        if distances:
            x, y, w, h = closer.box
            owner = np.full(mask.shape, -1)
            owner[y : y + h, x : x + w] = np.stack([closer.spread(d) for d in distances]).argmin(0)
            masks = [mask & (owner == k) for k in range(len(distances))]
        return [Instance(m, score) for m in masks if m.any()]

    def at(self, image: Image, point: tuple[int, int]) -> Instance:
        """The object under a click at pixel x, y."""
        small, scale = _fit(image, SIDE)
        f = self._encode(small, classify=False)
        h, w = f.stride16.shape[-2:]
        cell = torch.tensor([[point[0], point[1]]], device=self.device).float() * scale / 16
        logit, _ = self._decode(f, click_map(cell, h, w), True)
        probability: Map = _unfit(logit, small, image.shape)
        zoom = self._crop_box(probability > CORE, image.shape, point)
        x, y, zw, zh = zoom
        crop = np.ascontiguousarray(image[y : y + zh, x : x + zw])
        small, scale = _fit(crop, ZOOM_SIDE)
        f = self._encode(small, classify=False)
        h, w = f.stride16.shape[-2:]
        cell = torch.tensor([[point[0] - x, point[1] - y]], device=self.device).float() * scale / 16
        logit, _ = self._decode(f, click_map(cell, h, w), True)
        fine = np.zeros(image.shape[:2], np.float32)
        fine[y : y + zh, x : x + zw] = _unfit(logit, small, crop.shape)
        probability = (probability + fine) / 2
        mask = _outline(image, probability)
        _, labels = cv2.connectedComponents(mask.astype(np.uint8))
        mask = mask & (labels == labels[point[1], point[0]]) if mask[point[1], point[0]] else mask
        return Instance(mask, float(probability[point[1], point[0]]))

    def _prompt(self, looks: Looks, classes: tuple[int, ...], person: bool) -> tuple[Tensor, float]:
        """Evidence of the classes at the first size's cells, the greatest of all sizes, (1, 1, H/16, W/16); and how
        sure it makes that one is there, in [0, 1]. People need none: zeros and 1."""
        cells = looks.features[0].stride16.shape[-2:]
        if person:
            return torch.zeros(1, 1, *cells, device=self.device), 1.0
        maps = [f.evidence(list(classes)) for f in looks.features]
        maps = [F.interpolate(m, size=cells, mode="bilinear", align_corners=False) for m in maps]
        prompt = torch.stack(maps).amax(0).clamp(0, 1)
        return prompt, min(1.0, float(prompt.max()) / SURE)

    def _probability(self, looks: Looks, prompt: Tensor, person: bool) -> Map:
        """Probability (H, W) of the prompted object, or of people."""
        logits = self._decode(looks.features[0], prompt, False)
        return _unfit(logits[person], looks.small, looks.image.shape)

    def _zoom(
        self, image: Image, part: Mask, classes: tuple[int, ...], person: bool, coarse: Map
    ) -> tuple[Map, Closer]:
        """Coarse probability averaged with a second look at the part's surroundings, and that look."""
        closer = self.closer(image, part, classify=not person)
        x, y, w, h = closer.box
        out = np.zeros_like(coarse)
        crop = np.ascontiguousarray(image[y : y + h, x : x + w])
        looks = Looks(crop, _fit(crop, ZOOM_SIDE)[0], (closer.features,))
        prompt, presence = self._prompt(looks, classes, person)
        fine = presence * self._probability(looks, prompt, person)
        near = cv2.dilate(part.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=max(2, max(w, h) // 16))
        out[y : y + h, x : x + w] = (coarse[y : y + h, x : x + w] + fine) / 2
        return out * near, closer

    def closer(self, image: Image, part: Mask, *, classify: bool = False) -> Closer:
        """A second look at a part (H, W) of a photo and at its surroundings."""
        x, y, w, h = box = self._crop_box(part, image.shape)
        small, _ = _fit(np.ascontiguousarray(image[y : y + h, x : x + w]), ZOOM_SIDE)
        return Closer(box, (small.shape[0], small.shape[1]), self._encode(small, classify=classify))

    @staticmethod
    def _crop_box(
        part: Mask, shape: tuple[int, ...], point: tuple[int, int] | None = None
    ) -> tuple[int, int, int, int]:
        if point is not None and not part.any():
            part = part.copy()
            part[point[1], point[0]] = True
        x, y, w, h = cv2.boundingRect(part.astype(np.uint8))
        margin = int(ZOOM_CONTEXT * max(w, h)) + 16
        x0, y0 = max(0, x - margin), max(0, y - margin)
        return x0, y0, min(shape[1], x + w + margin) - x0, min(shape[0], y + h + margin) - y0

    @torch.inference_mode()
    def _encode(self, small: Image, classify: bool = True) -> Encoding:
        h, w = small.shape[:2]
        padded = cv2.copyMakeBorder(small, 0, -h % 32, 0, -w % 32, cv2.BORDER_REPLICATE)
        x = torch.from_numpy(padded).to(self.device).permute(2, 0, 1)[None].float() / 255
        return self.net.encode(x.contiguous(memory_format=torch.channels_last), classify)

    @torch.inference_mode()
    def _decode(self, f: Encoding, prompt: Tensor, click: bool) -> tuple[Tensor, Tensor]:
        return self.net.decode(f, prompt, torch.full((1,), float(click), device=self.device))


def _fit(image: Image, side: int) -> tuple[Image, float]:
    """Resized so that the long side is `side` (small pictures grow), and the scale."""
    scale = side / max(image.shape[:2])
    size = fitted((image.shape[1], image.shape[0]), side, grow=True)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, size, interpolation=how).astype(np.uint8), scale


def _unfit(logit: Tensor, small: Image, shape: tuple[int, ...]) -> Map:
    """Probability at the photo's size from logits at stride 4 of the padded small picture."""
    p = logit[0, 0].float().sigmoid().cpu().numpy()
    p = cv2.resize(p, (p.shape[1] * 4, p.shape[0] * 4), interpolation=cv2.INTER_LINEAR)
    p = p[: small.shape[0], : small.shape[1]]
    return np.asarray(cv2.resize(p, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR), np.float32)


def _components(mask: Mask, least: float) -> list[Mask]:
    """Connected parts of at least `least` of the picture, largest first."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    order = sorted(range(1, count), key=lambda i: -int(stats[i, cv2.CC_STAT_AREA]))
    return [labels == i for i in order if stats[i, cv2.CC_STAT_AREA] >= max(4, least * mask.size)]


def _typical(probabilities: Map) -> float:
    """Mean of the upper half."""
    return float(np.sort(probabilities)[-max(1, probabilities.size // 2) :].mean())


def _same(a: Mask, b: Mask) -> bool:
    return bool((a & b).sum() > 0.6 * min(a.sum(), b.sum()))


def _outline(image: Image, probability: Map) -> Mask:
    """Mask whose outline follows the photo's edges: a guided filter (He et al., ECCV 2010) at ≤ 1024 px."""
    size = fitted((image.shape[1], image.shape[0]), OUTLINE_SIDE)
    grey = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY) / np.float32(255)
    p = cv2.resize(probability, size, interpolation=cv2.INTER_LINEAR)
    box = (2 * max(2, max(size) // 100) + 1,) * 2
    mean_i, mean_p = cv2.blur(grey, box), cv2.blur(p, box)
    a = (cv2.blur(grey * p, box) - mean_i * mean_p) / (cv2.blur(grey * grey, box) - mean_i**2 + 1e-3)
    q = cv2.blur(a, box) * grey + cv2.blur(mean_p - a * mean_i, box)
    mask = cv2.resize(q, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR) > EXTENT
    return mask.astype(bool)
