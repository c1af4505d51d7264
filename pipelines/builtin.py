"""The embedded fill: a small network drafts the structure, the photo itself supplies every pixel.

Draft (or a sampled variant) at working size → shift map guided by it → full-size pixels copied →
seams closed. Follows the diffusers conventions (components in, `__call__` with a generator and
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

from restore.pipelines.draft_net import MULTIPLE, DraftConfig, DraftNet
from restore.pipelines.sampler import sample
from restore.pipelines.seams import close_seams, compose, shrink
from restore.pipelines.shift_map import Labels, ShiftMapOptions, offsets, solve
from restore.pipelines.smooth import push_pull

SHIPPED = DraftConfig(outer=64, inner=256, blocks=(2, 4, 2), attention=2)


@dataclass(frozen=True)
class Strategy:
    """One way to fill: which guide, how much it weighs against the seams (λ of the shift map), at which size.

    guide: "draft", "sample" (a variant of the draft) or "smooth"; side: long side of the working crop, pixels.
    """

    guide: str
    lam: float
    side: int = 128


# In the order in which they are tried. Low λ is realistic, high λ faithful to the guide; another working size
# finds other offsets.
STRATEGIES = (
    Strategy("draft", 0.7),
    Strategy("draft", 0.15),
    Strategy("draft", 2.0),
    Strategy("draft", 0.7, side=96),
    Strategy("sample", 0.7),
    Strategy("draft", 0.35, side=160),
    Strategy("sample", 2.0, side=96),
    Strategy("smooth", 0.05),
    Strategy("sample", 0.35, side=160),
)


@dataclass(frozen=True)
class BuiltinOutput:
    """images (K, 3, H, W) in [0, 1]; confidence: mean over the hole, in [0, 1]; seams: mean seam energy of each
    candidate per hole pixel, ≥ 0."""

    images: Tensor
    confidence: float
    seams: list[float]


@dataclass(frozen=True)
class WorkingCrop:
    """A window at working size, shared by the strategies of that size.

    image and draft (1, 3, h, w); mask (1, 1, h, w); confidence: mean over the hole; penalty (h, w).
    """

    image: Tensor
    mask: Tensor
    draft: Tensor
    confidence: float
    penalty: NDArray[np.float32] | None
    labels: Labels


class BuiltinPipeline:
    """Fills one hole window. See the module's docstring."""

    def __init__(self, net: DraftNet) -> None:
        self.net = net.eval()

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> BuiltinPipeline:
        """The pipeline that `save_pretrained` wrote."""
        return cls.from_weights(load_file(Path(folder) / "draft.safetensors"))

    @classmethod
    def from_weights(cls, weights: dict[str, Tensor]) -> BuiltinPipeline:
        net = DraftNet(SHIPPED)
        net.load_state_dict({k: v.float() for k, v in weights.items()})
        return cls(net.to(memory_format=torch.channels_last))  # type: ignore[call-overload]

    def save_pretrained(self, folder: str | Path) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        save_file({k: v.contiguous() for k, v in self.net.state_dict().items()}, Path(folder) / "draft.safetensors")

    def to(self, device: torch.device | str) -> BuiltinPipeline:
        self.net.to(device)
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
        nothing is left to copy from.
        """
        full, hole = image[0].permute(1, 2, 0).numpy(), mask[0, 0].numpy() > 0.5
        crops: dict[int, WorkingCrop] = {}
        images, seams = [], []
        for i, strategy in enumerate(strategies):
            if strategy.side not in crops:
                crops[strategy.side] = self._crop(full, hole, strategy.side, barred, penalty)
            crop = crops[strategy.side]
            guide = self._guide(strategy.guide, crop, num_inference_steps, generator)
            small, small_hole = _hwc(crop.image), crop.mask[0, 0].numpy() > 0.5
            options = ShiftMapOptions(side=strategy.side, lam=strategy.lam)
            found = solve(small, small_hole, guide, crop.labels, options, crop.penalty)
            images.append(_nchw(close_seams(compose(full, hole, found))))
            seams.append(float(found.seam_cost[small_hole].mean()))
            if callback_on_step_end is not None:
                callback_on_step_end(i)
        confidence = next(iter(crops.values())).confidence
        return BuiltinOutput(torch.cat(images), confidence, seams)

    def _crop(
        self,
        full: NDArray[np.float32],
        hole: NDArray[np.bool_],
        side: int,
        barred: NDArray[np.bool_] | None,
        penalty: NDArray[np.float32] | None,
    ) -> WorkingCrop:
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
        draft, error = self._draft(x, m)
        # The network's expected absolute error as a confidence (Zeng et al., ECCV 2020): 0.1 of the range is ½.
        confidence = float((1 / (1 + error / 0.1))[m > 0.5].mean())
        labels = offsets(small, small_hole, ShiftMapOptions(side=side), small_barred)
        return WorkingCrop(x, m, draft, confidence, small_penalty, labels)

    def _draft(self, x: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
        device, (h, w) = self._device, x.shape[-2:]
        draft, error = self.net.draft(_padded(x).to(device), _padded(m).to(device))
        return draft[..., :h, :w].cpu(), error[..., :h, :w].cpu()

    def _guide(self, kind: str, crop: WorkingCrop, steps: int, generator: torch.Generator) -> NDArray[np.float32]:
        if kind == "smooth":
            return _hwc(push_pull(crop.image, crop.mask))
        if kind == "sample":
            h, w = crop.image.shape[-2:]
            x, m, draft = (_padded(t).to(self._device) for t in (crop.image, crop.mask, crop.draft))
            return _hwc(sample(self.net, x, m, draft, steps, generator)[..., :h, :w].cpu())
        return _hwc(crop.draft)

    @property
    def _device(self) -> torch.device:
        return next(self.net.parameters()).device


def _padded(x: Tensor) -> Tensor:
    """Sides grown to what the network takes, by repeating the edge."""
    return F.pad(x, (0, -x.shape[-1] % MULTIPLE, 0, -x.shape[-2] % MULTIPLE), mode="replicate")


def _hwc(image: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(image[0].permute(1, 2, 0).numpy())


def _nchw(image: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
