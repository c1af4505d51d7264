"""The embedded fill: small networks say what goes where, the photo itself supplies every pixel.

Draft (or a sampled variant) at working size → features expected in the hole → shift map guided by both → full-size
pixels copied → seams closed. Follows the diffusers conventions (components in, `__call__` with a generator and
`callback_on_step_end`, output object) without importing diffusers, which costs seconds at start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from restore.features.expectation import Expectation
from restore.features.expectation_net import ExpectationNet, Expected
from restore.features.lite0 import Lite0
from restore.pipelines.diffusion.sampler import sample
from restore.pipelines.fill.seams import close_seams, compose, shrink
from restore.pipelines.fill.shift_map import Features, Labels, ShiftMapOptions, offsets, solve
from restore.pipelines.networks.draft import MULTIPLE, DraftNet
from restore.weights.store import load_weights

COMPONENTS = ("draft", "expectation", "lite0")


@dataclass(frozen=True)
class Strategy:
    """One way to fill: which guide, how much it weighs against the seams, at which size.

    guide: "draft" or "sample" (a variant of the draft); lam: weight of the guide's colours (λ of the shift
    map); mu: weight of the expected features; side: long side of the working crop, pixels; closed: whether seams are
    closed, else every colour is copied as it is.
    """

    guide: str
    lam: float
    mu: float = 3.5
    side: int = 128
    closed: bool = True


# In the order in which they are tried. Different working sizes find different offsets: their fills differ the most.
STRATEGIES = (
    Strategy("draft", 2.0),
    Strategy("draft", 0.7, side=96),
    Strategy("draft", 1.0, side=160),
    Strategy("draft", 1.0, side=112),
    Strategy("draft", 2.0, side=144),
    Strategy("draft", 0.35, side=80),
    Strategy("draft", 0.15),
    Strategy("sample", 0.7),  # four times the time of the others
    Strategy("sample", 2.0, side=96),
    Strategy("draft", 0.35, side=160),
    Strategy("sample", 0.35, side=160),
)

# For drawings and screenshots: nothing but where lines and areas go on counts, at a size that keeps thin lines.
FLAT = (Strategy("draft", 0.05, 0.0, 256, False), Strategy("draft", 0.05, 0.0, 192, False))
FLAT_COLOURS = 16  # so many colours make up
FLAT_SHARE = 0.85  # this share of a drawing, and of its neighbouring pixels as many are exactly alike


@dataclass(frozen=True)
class BuiltinOutput:
    """images (K, 3, H, W) in [0, 1]; confidence: mean over the hole, in [0, 1]; seams: mean seam energy of each
    candidate per hole pixel, ≥ 0; sources: of each candidate (H, W, 3), see `Composite.source`."""

    images: Tensor
    confidence: float
    seams: list[float]
    sources: list[NDArray[np.int32]]


@dataclass(frozen=True)
class WorkingCrop:
    """A window at working size, shared by the strategies of that size.

    image and draft (1, 3, h, w); mask (1, 1, h, w); penalty (h, w).
    """

    image: Tensor
    mask: Tensor
    draft: Tensor
    penalty: NDArray[np.float32] | None
    labels: Labels


class BuiltinPipeline:
    """Fills one hole window. See the module's docstring."""

    def __init__(self, net: DraftNet, expectation: ExpectationNet) -> None:
        # Channels last: a convolution on the CPU takes 0.6 of the time.
        self.net = net.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        expectation.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.expectation = Expectation(expectation, self.drafted)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> BuiltinPipeline:
        """The pipeline that `save_pretrained` wrote."""
        return cls.from_weights(*(load_file(Path(folder) / f"{name}.safetensors") for name in COMPONENTS))

    @classmethod
    def from_weights(
        cls, draft: dict[str, Tensor], expectation: dict[str, Tensor], lite0: dict[str, Tensor]
    ) -> BuiltinPipeline:
        backbone = Lite0()
        backbone.load_state_dict(lite0)
        return cls(DraftNet.from_weights(draft), ExpectationNet.from_weights(expectation, backbone))

    @classmethod
    def shipped(cls) -> BuiltinPipeline:
        """With the weights of the package."""
        return cls.from_weights(*(load_weights(name) for name in COMPONENTS))

    def save_pretrained(self, folder: str | Path) -> None:
        net = self.expectation.net
        states = (self.net.state_dict(), net.own_weights(), net.lite0.state_dict())
        Path(folder).mkdir(parents=True, exist_ok=True)
        for name, state in zip(COMPONENTS, states, strict=True):
            save_file({k: v.contiguous() for k, v in state.items()}, Path(folder) / f"{name}.safetensors")

    def to(self, device: torch.device | str) -> BuiltinPipeline:
        self.net.to(device)
        self.expectation.net.to(device)
        return self

    @torch.inference_mode()
    def __call__(
        self,
        image: Tensor,
        mask: Tensor,
        *,
        generator: torch.Generator,
        strategies: Sequence[Strategy] = STRATEGIES[:1],
        num_inference_steps: int = 8,
        barred: NDArray[np.bool_] | None = None,
        penalty: NDArray[np.float32] | None = None,
        callback_on_step_end: Callable[[int], None] | None = None,
    ) -> BuiltinOutput:
        """One candidate per strategy for the hole of one window.

        image (1, 3, H, W) in [0, 1]; mask (1, 1, H, W) 1 = hole; barred (H, W): known pixels never
        copied from; penalty (H, W) ≥ 0: extra cost of copying a pixel. Raises InputError when
        nothing is left to copy from. In pictures of few colours `FLAT` strategies are taken instead, as many at
        most.
        """
        full, hole = image[0].permute(1, 2, 0).numpy(), mask[0, 0].numpy() > 0.5
        if few_colours(full, hole):
            strategies = FLAT[: len(strategies)]
        crops: dict[int, WorkingCrop] = {}
        small_draft, _, confidence = self.small_draft(full, hole, strategies[0].side)
        draft = _nchw(small_draft)  # soft as it is, one serves every size
        images, seams, sources = [], [], []
        for i, strategy in enumerate(strategies):
            if strategy.side not in crops:
                crops[strategy.side] = self._crop(full, hole, strategy.side, barred, penalty, draft)
            crop = crops[strategy.side]
            guide = self._guide(strategy.guide, crop, num_inference_steps, generator)
            small, small_hole = _hwc(crop.image), crop.mask[0, 0].numpy() > 0.5
            options = ShiftMapOptions(side=strategy.side, lam=strategy.lam, mu=strategy.mu)
            found = solve(small, small_hole, guide, crop.labels, options, crop.penalty)
            composite = compose(full, hole, found)
            images.append(_nchw(close_seams(composite) if strategy.closed else composite.image))
            sources.append(composite.source)
            seams.append(float(found.seam_cost[small_hole].mean()))
            if callback_on_step_end is not None:
                callback_on_step_end(i)
        return BuiltinOutput(torch.cat(images), confidence, seams, sources)

    def _crop(
        self,
        full: NDArray[np.float32],
        hole: NDArray[np.bool_],
        side: int,
        barred: NDArray[np.bool_] | None,
        penalty: NDArray[np.float32] | None,
        draft: Tensor,
    ) -> WorkingCrop:
        """draft: of the same window at any size."""
        small, small_hole = shrink(full, hole, side)
        size = small_hole.shape[1], small_hole.shape[0]
        small_barred, small_penalty = None, None
        if barred is not None:  # a cell with any barred pixel is barred, and one more around for rounding
            share = cv2.resize(barred.astype(np.float32), size, interpolation=cv2.INTER_AREA)
            small_barred = cv2.dilate((share > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
            if (small_hole | small_barred).all():
                small_barred = None  # better a forbidden source than none
        if penalty is not None:
            small_penalty = np.asarray(cv2.resize(penalty, size, interpolation=cv2.INTER_AREA), np.float32)
        x, m = _nchw(small), torch.from_numpy(small_hole)[None, None].float()
        draft = F.interpolate(draft, small_hole.shape, mode="bilinear")
        expected = features_at(self.expectation.expect(full, hole), small_hole.shape)
        labels = offsets(small, small_hole, ShiftMapOptions(side=side), small_barred, expected)
        return WorkingCrop(x, m, draft, small_penalty, labels)

    @torch.inference_mode()
    def drafted(
        self, image: NDArray[np.float32], hole: NDArray[np.bool_], side: int = 128
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The image (H, W, 3) in [0, 1] with its hole (H, W) drafted at working size and enlarged: soft, a guess; and
        the guess's expected absolute error (H, W)."""
        small, error, _ = self.small_draft(image, hole, side)
        size = hole.shape[::-1]
        large = cv2.resize(small, size, interpolation=cv2.INTER_CUBIC).clip(0, 1)
        filled = np.where(hole[..., None], large, image).astype(np.float32)
        return filled, np.asarray(cv2.resize(error, size, interpolation=cv2.INTER_LINEAR), np.float32)

    @torch.inference_mode()
    def small_draft(
        self, image: NDArray[np.float32], hole: NDArray[np.bool_], side: int = 128
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
        """The image (h, w, 3) at working size with its hole drafted, the expected absolute error (h, w), and the
        confidence: mean over the hole."""
        small, small_hole = shrink(image, hole, side)
        drafted, error = self._draft(_nchw(small), torch.from_numpy(small_hole)[None, None].float())
        confidence = float(_confidence(error)[0, 0][torch.from_numpy(small_hole)].mean())
        return _hwc(drafted), error[0, 0].numpy(), confidence

    def _draft(self, x: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
        device, (h, w) = self._device, x.shape[-2:]
        draft, error = self.net.draft(_padded(x).to(device), _padded(m).to(device))
        return draft[..., :h, :w].cpu(), error[..., :h, :w].cpu()

    def _guide(self, kind: str, crop: WorkingCrop, steps: int, generator: torch.Generator) -> NDArray[np.float32]:
        if kind == "sample":
            h, w = crop.image.shape[-2:]
            x, m, draft = (_padded(t).to(self._device) for t in (crop.image, crop.mask, crop.draft))
            return _hwc(sample(self.net, x, m, draft, steps, generator)[..., :h, :w].cpu())
        return _hwc(crop.draft)

    @property
    def _device(self) -> torch.device:
        return next(self.net.parameters()).device


def few_colours(image: NDArray[np.float32], hole: NDArray[np.bool_]) -> bool:
    """Whether what is known of an image (H, W, 3) in [0, 1] outside its hole (H, W) is a drawing or a screenshot."""
    colours = np.rint(image * 255).astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    beside = ~hole[:, 1:] & ~hole[:, :-1]
    if not beside.any() or float((colours[:, 1:] == colours[:, :-1])[beside].mean()) < FLAT_SHARE:
        return False  # nearly every photo: its colours need not be counted
    counts = np.sort(np.unique(colours[~hole], return_counts=True)[1])[::-1]
    return bool(counts[:FLAT_COLOURS].sum() >= FLAT_SHARE * counts.sum())


def features_at(expected: Expected, size: tuple[int, int]) -> Features:
    """What is expected, at the size (h, w) of a working crop; squared distances are means over taps."""
    scale = len(expected.features) ** -0.5
    offered, wanted = (
        [F.interpolate(f.cpu() * scale, size=size, mode="bilinear", align_corners=False) for f in features]
        for features in (expected.drafted, expected.features)
    )
    return Features(*(_hwc(torch.cat(maps, 1)) for maps in (offered, wanted)))


def _confidence(error: Tensor) -> Tensor:
    """The network's expected absolute error as a confidence (Zeng et al., ECCV 2020): 0.1 of the range is ½."""
    return 1 / (1 + error / 0.1)


def _padded(x: Tensor) -> Tensor:
    """Sides grown to what the network takes, by repeating the edge."""
    return F.pad(x, (0, -x.shape[-1] % MULTIPLE, 0, -x.shape[-2] % MULTIPLE), mode="replicate")


def _hwc(image: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(image[0].permute(1, 2, 0).numpy())


def _nchw(image: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
