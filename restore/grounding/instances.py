"""One thing or several, and of which kind: second looks at what was found.

Touching things of one kind are parted by their centres: each cell of the look says how far away it sees the centre of
its thing, and the votes gather in peaks (Cheng et al., Panoptic-DeepLab, CVPR 2020). A linear layer on the classifier's
logits, averaged over the thing (masked average pooling), tells the commonest kinds apart better than the classifier's
own outputs do: a sheep is no dog.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from restore.grounding.segmenter import Encoding
from restore.grounding.vocabulary import Vocabulary

REACH = 4.0  # cells that an offset of 1 stands for
INSIDE = 0.4  # share of a cell that must be of the thing to vote
FEW = 6  # cells that are no two things
DEEP = 2  # splits one after the other
SPLIT, SPLIT_AGAIN = 0.9, 0.95  # probabilities from which a group is split, and a part of one
PARTED = ("bird", "cat", "cow", "dog", "horse", "sheep")  # and people: of other kinds a group stays one thing
KINDS = ("bottle", "car", "cat", "chair", "cow", "dog", "horse", "person", "potted plant", "sheep", "couch", "tv", "")
DOUBT = 0.25  # an instance counts in full where its kind is this likely, compared with the likeliest
UNKNOWN = 0.1  # weight of "none of the kinds": few of those were seen

Map = NDArray[np.float32]


class Centres(nn.Module):
    """Centres of things in a look: (N, 3, h, w) at stride 16: a logit where centres are, offset x, y to the centre of
    each cell's thing in units of `REACH` cells."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.fine, self.local = nn.Conv2d(320, 64, 1), nn.Conv2d(112, 32, 1), nn.Conv2d(40, 16, 1)
        self.far = nn.Conv2d(115, 64, 3, padding=6, dilation=6)
        self.near = nn.Conv2d(115, 64, 3, padding=2, dilation=2)
        self.mix, self.out = nn.Conv2d(64 + 16, 64, 3, padding=1), nn.Conv2d(64, 3, 1)

    def forward(self, f: Encoding, mask: Tensor) -> Tensor:
        """mask: (N, 1, h, w), share of each cell at stride 16 that is of the things."""
        wide = F.interpolate(self.wide(f.stride32), size=mask.shape[-2:], mode="bilinear", align_corners=False)
        local = self.local(F.avg_pool2d(f.stride8, 2))
        x = torch.cat([wide, self.fine(f.stride16), local, mask, place(mask)], 1).relu()
        h = (self.far(x) + self.near(x)).relu()
        h = h + self.mix(torch.cat([h, x[:, 96:112]], 1)).relu()
        return torch.as_tensor(self.out(h))


def place(mask: Tensor) -> Tensor:
    """x, y of each cell from the middle of the mask (N, 1, h, w), in units of its radius, plus 3: (N, 2, h, w) ≥ 0."""
    h, w = mask.shape[-2:]
    y = torch.arange(h, device=mask.device)[:, None].expand(h, w).float()
    x = torch.arange(w, device=mask.device)[None].expand(h, w).float()
    total = mask.sum((2, 3), keepdim=True).clamp(min=1e-3)
    dx, dy = (v - (mask * v).sum((2, 3), keepdim=True) / total for v in (x, y))
    radius = (((dx**2 + dy**2) * mask).sum((2, 3), keepdim=True) / total).sqrt().clamp(min=1)
    return torch.cat([dx, dy], 1).div(radius).clamp(-3, 3) + 3


class Details:
    """The networks for second looks.

    weights: `centres.*`; the rules `first` (7 signs) and `again` (8); `kinds.weight` (13, 1000) and `kinds.bias` (13).
    """

    def __init__(self, weights: dict[str, Tensor], device: torch.device) -> None:
        self.centres = Centres()
        self.centres.load_state_dict({k[8:]: v for k, v in weights.items() if k.startswith("centres.")})
        self.centres.eval().to(device)
        self.first, self.again = (
            Rule(weights[f"{name}.weight"].numpy(), float(weights[f"{name}.bias"]), least)
            for name, least in (("first", SPLIT), ("again", SPLIT_AGAIN))
        )
        self.weight, self.bias = weights["kinds.weight"].to(device), weights["kinds.bias"].to(device)
        table = Vocabulary.load()
        self.known = {name: set(table.lookup(name).classes) for name in KINDS if name}
        self.parted = {c for name in PARTED for c in table.lookup(name).classes}

    @torch.inference_mode()
    def parts(self, f: Encoding, mask: Map, classes: tuple[int, ...]) -> list[Map]:
        """For each of the things in `mask` (h, w), share of the cells at stride 16: how far the votes of all cells are
        from its centre, (h, w); the nearest owns a pixel. Empty where it is one thing, or where the `classes` (none:
        people) are not all of `PARTED`: a toilet was seen as two."""
        if not self.parted.issuperset(classes):
            return []
        cover = torch.from_numpy(mask)[None, None].to(f.stride16.device)
        out = self.centres(f, cover)[0].float().cpu().numpy()
        things = parted(gathered(out, mask), self.first, self.again)
        if len(things) < 2:
            return []
        y, x = np.mgrid[: mask.shape[0], : mask.shape[1]].astype(np.float32)
        votes = np.stack([x, y], 2) + REACH * out[1:].transpose(1, 2, 0)
        return [np.linalg.norm(votes - t.mean(t.weight >= 0), axis=2).astype(np.float32) for t in things]

    @torch.inference_mode()
    def belief(self, f: Encoding, mask: Map, classes: tuple[int, ...]) -> float:
        """In (0, 1]: how likely the thing in `mask` (h, w), at stride 32, is of the kind that `classes` are, compared
        with the likeliest kind. 1 where the classes are of none of the kinds."""
        asked = [i for i, name in enumerate(KINDS) if name and self.known[name] and self.known[name] >= set(classes)]
        if not classes or len(asked) != 1 or f.logits is None:
            return 1.0
        weight = torch.from_numpy(mask).to(f.logits.device)
        mean = (f.logits[0].float() * weight).sum((1, 2)) / weight.sum().clamp(min=1e-6)
        likely = (self.weight @ mean + self.bias).softmax(0)
        likely[-1] *= UNKNOWN
        return float(likely[asked[0]] / likely.max())


@dataclass(frozen=True)
class Votes:
    """Where the cells of a thing see its centre: votes (N, 2) x, y in cells, from cells (N, 2) x, y of `weight` (N,);
    heat: likelihood of a centre (h, w) in [0, 1]."""

    votes: NDArray[np.floating]
    cells: NDArray[np.integer]
    weight: Map
    heat: Map

    def of(self, some: NDArray[np.bool_]) -> Votes:
        return Votes(self.votes[some], self.cells[some], self.weight[some], self.heat)

    def mean(self, some: NDArray[np.bool_]) -> NDArray[np.floating]:
        return np.asarray(np.average(self.votes[some], axis=0, weights=self.weight[some]))

    def halves(self) -> NDArray[np.bool_]:
        """Which votes are of the second of two clusters (2-means, started along the principal axis)."""
        away = self.votes - np.average(self.votes, axis=0, weights=self.weight)
        along = away @ np.linalg.eigh((away * self.weight[:, None]).T @ away)[1][:, 1]
        second: NDArray[np.bool_] = along > np.average(along, weights=self.weight)
        for _ in range(12):
            if second.all() or not second.any():
                break
            near = [((self.votes - self.mean(some)) ** 2).sum(1) for some in (~second, second)]
            if (second == (near[1] < near[0])).all():
                break
            second = near[1] < near[0]
        return second

    def split(self) -> tuple[NDArray[np.floating], NDArray[np.bool_]] | None:
        """What speaks for two things, (7,), and which votes are the second's; None where there are no two clusters.

        Distance of the clusters and their width (in radii of the thing), width against that of one cluster, share of
        the smaller, likelihood of a centre in the less likely one, in the other, and midway.
        """
        second = self.halves() if len(self.votes) > 1 else np.zeros(len(self.votes), np.bool_)
        if second.all() or not second.any():
            return None
        total, means = float(self.weight.sum()), [self.mean(some) for some in (~second, second)]
        whole = float((self.weight[:, None] * (self.votes - self.mean(second | True)) ** 2).sum() / total)
        within = sum(
            float((self.weight[some][:, None] * (self.votes[some] - mean) ** 2).sum() / total)
            for some, mean in zip((~second, second), means, strict=True)
        )
        away = self.cells - np.average(self.cells, axis=0, weights=self.weight)
        radius = max(1.0, float(np.sqrt((self.weight[:, None] * away**2).sum() / total)))
        likely = sorted(self._heat(mean) for mean in means)
        smaller = min(float(self.weight[second].sum()), float(self.weight[~second].sum())) / total
        apart = float(np.hypot(*(means[1] - means[0]))) / radius
        spread = float(np.log(within / max(whole, 1e-6) + 1e-3))
        middle = self._heat((means[0] + means[1]) / 2)
        return np.array([apart, spread, smaller, within**0.5 / radius, *likely, middle]), second

    def _heat(self, at: NDArray[np.floating]) -> float:
        x, y = (int(np.clip(round(v), 0, n - 1)) for v, n in zip(at, self.heat.shape[::-1], strict=True))
        return float(self.heat[y, x])


def gathered(out: Map, mask: Map) -> Votes:
    """The votes of the cells of `mask` (h, w); out: (3, h, w) of `Centres`."""
    y, x = np.nonzero(mask > INSIDE)
    votes = np.stack([x, y], 1) + REACH * out[1:, y, x].T
    return Votes(votes, np.stack([x, y], 1), mask[y, x], 1 / (1 + np.exp(-out[0])))


def parted(votes: Votes, first: Rule, again: Rule) -> list[Votes]:
    """The votes of each thing: split in two while `first` (of the whole) and `again` (of its parts) say so."""

    def parts(part: Votes, depth: int) -> list[Votes]:
        found = part.split() if len(part.votes) >= FEW and depth <= DEEP else None
        if found is None:
            return [part]
        signs, second = found
        share = float(np.log(part.weight.sum() / votes.weight.sum()))
        if not (first(signs) if depth == 0 else again(np.append(signs, share))):
            return [part]
        return [p for some in (second, ~second) for p in parts(part.of(some), depth + 1)]

    return parts(votes, 0)


@dataclass(frozen=True)
class Rule:
    """A logistic rule: weight (F,), bias, and the probability from which it holds."""

    weight: NDArray[np.floating]
    bias: float
    least: float

    def __call__(self, signs: NDArray[np.floating]) -> bool:
        return bool(1 / (1 + np.exp(-(self.weight @ signs + self.bias))) >= self.least)
