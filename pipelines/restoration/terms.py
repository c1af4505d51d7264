"""What GDP asks of a picture besides agreement with the measurement (Fei et al., CVPR 2023; after Zero-DCE,
Guo et al., CVPR 2020): each term a sum over pixels of squared or absolute errors, in [0, 1] pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

TERMS = ("exposure", "colour", "spatial", "variation")
PATCH = 8  # pixels, side of the cells whose exposure is judged
REGION = 4  # pixels, side of the cells whose contrast to their neighbours is kept


@dataclass(frozen=True)
class QualityTerms:
    """target: mean brightness that exposure wants of a patch, [0, 1]. The others are weights; 0 switches a term off.

    reference (N, 3, H, W) in [-1, 1]: the picture whose local contrast `spatial` keeps; required if that is on.
    """

    target: float
    exposure: float = 0.0
    colour: float = 0.0
    spatial: float = 0.0
    variation: float = 0.0
    reference: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Weighted sum for images x (N, 3, H, W) in [-1, 1]: a scalar."""
        image = (x + 1) / 2
        total = image.new_zeros(())
        if self.exposure:
            total = total + self.exposure * exposure(image, self.target)
        if self.colour:
            total = total + self.colour * colour_constancy(image)
        if self.spatial and self.reference is not None:
            total = total + self.spatial * spatial_consistency(image, (self.reference + 1) / 2)
        if self.variation:
            total = total + self.variation * total_variation(image)
        return total


def exposure(image: Tensor, target: float) -> Tensor:
    """Σ (mean of an 8×8 patch − target)², times the patch's pixels so that it is a sum over pixels."""
    patches = F.avg_pool2d(image.mean(1, keepdim=True), PATCH, ceil_mode=True)
    return ((patches - target) ** 2).sum() * PATCH**2


def colour_constancy(image: Tensor) -> Tensor:
    """Grey world: Σ of squared differences between the channels' means, per image, times its pixels."""
    red, green, blue = image.mean((2, 3)).unbind(1)
    spread = (red - green) ** 2 + (green - blue) ** 2 + (blue - red) ** 2
    return spread.sum() * image.shape[-2] * image.shape[-1]


def spatial_consistency(image: Tensor, reference: Tensor) -> Tensor:
    """Σ (|difference to a neighbouring 4×4 cell| − the reference's)² over right and lower neighbours, per pixel."""
    now, then = (F.avg_pool2d(i.mean(1, keepdim=True), REGION, ceil_mode=True) for i in (image, reference))
    across = (now.diff(dim=-1).abs() - then.diff(dim=-1).abs()) ** 2
    down = (now.diff(dim=-2).abs() - then.diff(dim=-2).abs()) ** 2
    return (across.sum() + down.sum()) * REGION**2


def total_variation(image: Tensor) -> Tensor:
    """Σ |differences| to the right and lower neighbours, a little rounded at 0 so that its gradient is defined."""
    across, down = image.diff(dim=-1), image.diff(dim=-2)
    return (across**2 + 1e-6).sqrt().sum() + (down**2 + 1e-6).sqrt().sum()
