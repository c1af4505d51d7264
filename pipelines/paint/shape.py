"""Paint a named object into a shape of stated precision (SmartBrush, Xie et al., CVPR 2023).

The network works on a small square around the shape, in one step from noise in it: another seed is another variant.
Its own outline of the object, not the shape, decides which pixels are pasted: the background inside a coarse shape
stays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.errors import InputError
from restore.pipelines.networks.instruct import token_ids
from restore.pipelines.networks.shape import SIDE, ShapeNet
from restore.pipelines.paint.single import SingleNetPipeline

FILLED = 0.7  # share of the working square that the shape's longer side takes
EDGE = 0.25  # width of the pasted outline's soft edge, in probability


@dataclass(frozen=True)
class ShapeOutput:
    """image (1, 3, H, W) in [0, 1], equal to the input outside `instance`; instance (1, 1, H, W): weight of the object
    in [0, 1], 0 outside the shape; confidence: mean over the shape, in [0, 1]."""

    image: Tensor
    instance: Tensor
    confidence: float


class ShapePipeline(SingleNetPipeline[ShapeNet]):
    """Called with a generator, it returns an output object. See the module's docstring."""

    network, file = ShapeNet, "shape.safetensors"

    @torch.inference_mode()
    def __call__(
        self,
        image: Tensor,
        mask: Tensor,
        prompt: str,
        *,
        precision: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> ShapeOutput:
        """image (1, 3, H, W) in [0, 1], any size; mask (1, 1, H, W), 1 = the shape; prompt: the object's name.

        precision: s of the paper, 0 = the mask is the object's outline, 1 = its box. generator: of the variant's noise,
        seed 0 without one. Raises InputError on an empty mask.
        """
        if not 0 <= precision <= 1:
            raise InputError(f"expected a shape precision between 0 (outline) and 1 (box), got {precision}")
        window = _square(mask[0, 0] > 0.5)
        shape = _crop(mask, window)
        x, m = (_resized(t, SIDE) for t in (_crop(image, window), shape))
        device = next(self.net.parameters()).device
        # A pixel that any of the old content was averaged into is not known.
        x, m = x.to(device), (m > 1e-4).float().to(device)
        condition = self.net.condition(
            token_ids([prompt]).to(device), torch.tensor([precision], dtype=torch.float32, device=device)
        )
        noise = torch.randn(x.shape, generator=generator or torch.Generator().manual_seed(0)).to(device)
        told = self.net.paint(x, m, condition, noise)
        painted = torch.where(m > 0.5, told.clean / 2 + 0.5, x).clamp(0, 1)
        confidence = float((1 / (1 + told.error / 2 / 0.1))[m > 0.5].mean())
        return _pasted(image, shape, window, painted.cpu(), torch.sigmoid(told.instance.float()).cpu(), confidence)


def _square(shape: Tensor) -> tuple[int, int, int]:
    """(top, left, side) of the working square around a shape (H, W); it may reach over the photo's edge."""
    ys, xs = torch.nonzero(shape, as_tuple=True)
    if not len(ys):
        raise InputError("expected a shape to paint into, got an empty mask; mark at least one pixel")
    top, bottom, left, right = (int(v) for v in (ys.min(), ys.max() + 1, xs.min(), xs.max() + 1))
    longest = max(bottom - top, right - left)
    # Not over the edge where that can be helped: there is nothing to see.
    side = max(longest, min(math.ceil(longest / FILLED), *shape.shape))
    start = [round((a + b - side) / 2) for a, b in ((top, bottom), (left, right))]
    y, x = (min(max(s, 0), n - side) if side <= n else s for s, n in zip(start, shape.shape, strict=True))
    return y, x, side


def _crop(x: Tensor, window: tuple[int, int, int]) -> Tensor:
    """The window of (1, C, H, W); beyond the photo its edge is repeated."""
    top, left, side = window
    rows = torch.arange(top, top + side).clamp(0, x.shape[-2] - 1)
    columns = torch.arange(left, left + side).clamp(0, x.shape[-1] - 1)
    return x[..., rows[:, None], columns[None]]


def _resized(x: Tensor, side: int) -> Tensor:
    return F.interpolate(x, (side, side), mode="bilinear", align_corners=False, antialias=True)


def _calm(x: Tensor) -> Tensor:
    """Without the network's faint coloured pattern of single pixels, which enlarging would show: colours are averaged
    by 1-2-1 both ways, the lightness stays."""
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    rows = (padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]) / 4
    smooth = (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 4
    light = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    return smooth + ((x - smooth) * light).sum(1, keepdim=True)


def _pasted(
    image: Tensor, shape: Tensor, window: tuple[int, int, int], painted: Tensor, instance: Tensor, confidence: float
) -> ShapeOutput:
    """Bring the working square back to the photo's size and paste the object."""
    top, left, side = window
    large = F.interpolate(_calm(painted), (side, side), mode="bicubic", align_corners=False).clamp(0, 1)
    weight = F.interpolate(instance, (side, side), mode="bilinear", align_corners=False)
    weight = ((weight - 0.5) / EDGE).clamp(0, 1) * (shape > 0.5)  # soft inwards: outside it nothing changes
    height, width = image.shape[-2:]
    rows = slice(max(top, 0), min(top + side, height))
    columns = slice(max(left, 0), min(left + side, width))
    inner = (..., slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
    out, where = image.clone(), torch.zeros_like(image[:, :1])
    where[..., rows, columns] = weight[inner]
    out[..., rows, columns] = torch.lerp(image[..., rows, columns], large[inner], weight[inner])
    return ShapeOutput(out, where, confidence)
