"""Push–pull: close a hole smoothly from its known surroundings (Gortler et al., SIGGRAPH 1996)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def push_pull(image: Tensor, mask: Tensor) -> Tensor:
    """Fill `mask` with the smooth interpolation of the known pixels.

    image: (N, C, H, W) float; mask: (N, 1, H, W) in [0, 1], 1 = unknown. Known pixels come back
    unchanged. An image with no known pixel at all becomes mid grey (0.5).
    """
    known = 1 - mask
    colour, weight = [image * known], [known]
    while min(colour[-1].shape[-2:]) > 1:
        c, w = colour[-1], weight[-1]
        pad = (0, c.shape[-1] % 2, 0, c.shape[-2] % 2)
        c, w = F.pad(c, pad), F.pad(w, pad)
        c, w = F.avg_pool2d(c, 2), F.avg_pool2d(w, 2)
        # A cell counts as known once a quarter of it is: weights saturate, colours stay averages.
        gain = (4 * w).clamp(max=1) / w.clamp(min=1e-6)
        colour.append(c * gain)
        weight.append(w * gain)
    c, w = colour[-1].mean((2, 3), keepdim=True), weight[-1].mean((2, 3), keepdim=True)
    filled = torch.where(w > 1e-6, c / w.clamp(min=1e-6), torch.full_like(c, 0.5))
    for c, w in zip(reversed(colour), reversed(weight), strict=True):
        up = F.interpolate(filled, size=c.shape[-2:], mode="bilinear", align_corners=False)
        filled = c + (1 - w) * up
    return filled
