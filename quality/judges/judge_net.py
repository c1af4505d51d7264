"""The judge network: how far is each pixel of a fill from what a camera would have seen?

One small network is artifact segmenter and quality scorer. Its target is made from pictures whose
truth is known: the *severity* d(p), the squared distance of channel-normalised EfficientNet-Lite0
features of fill and truth (0 = same, 2 = unrelated). Two outputs per 4×4 cell: the logit of
"d > SEVERE" (an artifact, Zhang et al., ECCV 2022) and the expected d. The mask of repaired pixels
is an input, so that the fill is judged against its own surroundings (segmentation confusion,
Zuo et al., AAAI 2023); an all-ones mask judges a whole picture.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.features.lite0 import Lite0

TAPS = (2, 4, 10)  # strides 4, 8, 16
SEVERE = 0.9  # feature distance beyond which a cell counts as an artifact
STRIDE = 4


def severity(lite0: Lite0, fill: Tensor, truth: Tensor) -> Tensor:
    """d(p) per 4×4 cell, (N, 1, H/4, W/4) in [0, 2]; images NCHW RGB in [0, 1], sides % 16 == 0."""
    total: Tensor | None = None
    with torch.no_grad():
        for a, b in zip(lite0.features(fill, TAPS), lite0.features(truth, TAPS), strict=True):
            a, b = (f.float() * torch.rsqrt(f.float().square().sum(1, keepdim=True) + 1e-4) for f in (a, b))
            d = (a - b).square().sum(1, keepdim=True)
            size = (fill.shape[-2] // STRIDE, fill.shape[-1] // STRIDE)
            d = F.interpolate(d, size=size, mode="bilinear", align_corners=False)
            total = d if total is None else total + d
    assert total is not None  # TAPS is not empty
    return total / len(TAPS)


def conv(cin: int, cout: int, kernel: int = 3, dilation: int = 1) -> nn.Sequential:
    pad = dilation * (kernel // 2)
    return nn.Sequential(nn.Conv2d(cin, cout, kernel, padding=pad, dilation=dilation), nn.ReLU(inplace=True))


class JudgeNet(nn.Module):
    """(image, mask) → (artifact logit, expected severity), each (N, 1, H/4, W/4).

    image NCHW RGB in [0, 1], mask (N, 1, H, W) 1 = repaired; sides divisible by 16.
    """

    def __init__(self, lite0: Lite0) -> None:
        super().__init__()
        self.lite0 = lite0.requires_grad_(False)
        self.pixels = nn.Sequential(conv(4 * STRIDE**2, 48), conv(48, 48))
        self.mix16 = nn.Sequential(conv(112 + 1 + 112, 96), conv(96, 96, dilation=2), conv(96, 96, dilation=4))
        self.mix8 = nn.Sequential(conv(96 + 40 + 1, 80), conv(80, 64))
        self.mix4 = nn.Sequential(conv(64 + 24 + 48, 64), conv(64, 48))
        self.out = nn.Conv2d(48, 2, 1)

    def forward(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            features = self.lite0.features(image, TAPS)
        return self.decode(image, mask, features)

    def decode(self, image: Tensor, mask: Tensor, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The same from the image's features at TAPS, which others may need too."""
        stride4, stride8, stride16 = features
        mask8, mask16 = F.avg_pool2d(mask, 8), F.avg_pool2d(mask, 16)
        known = 1 - mask16
        surroundings = (stride16 * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp(min=1)
        x = self.mix16(torch.cat([stride16, mask16, surroundings.expand_as(stride16)], 1))
        x = F.interpolate(x, size=stride8.shape[-2:], mode="bilinear", align_corners=False)
        x = self.mix8(torch.cat([x, stride8, mask8], 1))
        x = F.interpolate(x, size=stride4.shape[-2:], mode="bilinear", align_corners=False)
        low = self.pixels(F.pixel_unshuffle(torch.cat([image * 2 - 1, mask], 1), STRIDE))
        logit, d = self.out(self.mix4(torch.cat([x, stride4, low], 1))).chunk(2, 1)
        return logit, F.softplus(d)
