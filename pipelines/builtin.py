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
    """One way to fill: which guide, and how much it weighs against the seams (λ of the shift map)."""

    guide: str  # "draft", "sample" or "smooth"
    lam: float


# In the order in which they are tried. Low λ is realistic, high λ faithful to the guide.
STRATEGIES = (
    Strategy("draft", 0.7),
    Strategy("draft", 0.15),
    Strategy("draft", 2.0),
    Strategy("smooth", 0.05),
    Strategy("sample", 0.7),
    Strategy("sample", 0.15),
)


@dataclass(frozen=True)
class BuiltinOutput:
    """images (K, 3, H, W) in [0, 1]; confidence (1, 1, h, w) in [0, 1] at working size;
    seams: mean seam energy of each candidate per hole pixel, ≥ 0; draft (1, 3, h, w)."""

    images: Tensor
    confidence: Tensor
    seams: list[float]
    draft: Tensor


class BuiltinPipeline:
    """Fills one hole window. See the module's docstring."""

    def __init__(self, net: DraftNet, options: ShiftMapOptions | None = None) -> None:
        self.net = net.eval()
        self.options = options or ShiftMapOptions()

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> BuiltinPipeline:
        """The pipeline that `save_pretrained` wrote."""
        return cls.from_weights(load_file(Path(folder) / "draft.safetensors"))

    @classmethod
    def from_weights(cls, weights: dict[str, Tensor]) -> BuiltinPipeline:
        net = DraftNet(SHIPPED)
        net.load_state_dict({k: v.float() for k, v in weights.items()})
        return cls(net.to(memory_format=torch.channels_last))

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
        small, small_hole = shrink(full, hole, self.options.side)
        size = small_hole.shape[1], small_hole.shape[0]
        small_barred = None
        if barred is not None:  # a cell with any barred pixel is barred, and one more around for rounding
            share = cv2.resize(barred.astype(np.float32), size, interpolation=cv2.INTER_AREA)
            small_barred = cv2.dilate((share > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        small_penalty = None if penalty is None else cv2.resize(penalty, size, interpolation=cv2.INTER_AREA)
        x, m = _nchw(small), torch.from_numpy(small_hole)[None, None].float()
        draft, error = self._draft(x, m)
        labels = self._labels(small, small_hole, small_barred)
        images, seams = [], []
        for i, strategy in enumerate(strategies):
            guide = self._guide(strategy, x, m, draft, num_inference_steps, generator)
            options = ShiftMapOptions(side=self.options.side, lam=strategy.lam)
            found = solve(small, small_hole, guide, labels, options, small_penalty)
            images.append(_nchw(close_seams(compose(full, hole, found))))
            seams.append(float(found.seam_cost[small_hole].mean()))
            if callback_on_step_end is not None:
                callback_on_step_end(i)
        # The network's expected absolute error as a confidence (Zeng et al., ECCV 2020): 0.1 of the range → ½.
        confidence = 1 / (1 + error / 0.1)
        return BuiltinOutput(torch.cat(images), confidence, seams, draft)

    def _labels(self, small: NDArray[np.float32], hole: NDArray[np.bool_], barred: NDArray[np.bool_] | None) -> Labels:
        if barred is not None and (hole | barred).all():
            barred = None  # better a forbidden source than none
        return offsets(small, hole, self.options, barred)

    def _draft(self, x: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
        device = next(self.net.parameters()).device
        h, w = x.shape[-2:]
        pad = (0, -w % MULTIPLE, 0, -h % MULTIPLE)
        draft, error = self.net.draft(F.pad(x, pad, mode="replicate").to(device), F.pad(m, pad).to(device))
        return draft[..., :h, :w].cpu(), error[..., :h, :w].cpu()

    def _guide(
        self, strategy: Strategy, x: Tensor, m: Tensor, draft: Tensor, steps: int, generator: torch.Generator
    ) -> NDArray[np.float32]:
        if strategy.guide == "smooth":
            guide = push_pull(x, m)
        elif strategy.guide == "sample":
            device = next(self.net.parameters()).device
            h, w = x.shape[-2:]
            pad = (0, -w % MULTIPLE, 0, -h % MULTIPLE)
            x, m, draft = (F.pad(t, pad, mode="replicate").to(device) for t in (x, m, draft))
            guide = sample(self.net, x, m, draft, steps, generator)[..., :h, :w].cpu()
        else:
            guide = draft
        return np.ascontiguousarray(guide[0].permute(1, 2, 0).numpy())


def _nchw(image: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
