"""The promptable segmenter: where a class or a clicked object is, and how far it reaches.

Class evidence comes for free from the ImageNet classifier applied at every cell of Lite0's last
map. A decoder turns it, or a click, into a mask: the prompt map and the cosine similarity of every
cell to the prompt's prototype (masked average pooling; Wang et al., PANet, ICCV 2019) join the
features of a fine-tuned copy of Lite0's upper blocks. People, whom ImageNet does not name, have an
output of their own. Clicks are painted as a Gaussian (Xu et al., CVPR 2016).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.features.lite0 import Lite0

TAPS = (2, 4, 10)  # strides 4, 8, 16: shared with the classifier and frozen; later blocks are tuned


@dataclass
class Encoding:
    """One encoding of a batch, shared by any number of prompts."""

    stride4: Tensor  # (N, 24, H/4, W/4)
    stride8: Tensor  # (N, 40, H/8, W/8)
    stride16: Tensor  # (N, 112, H/16, W/16)
    stride32: Tensor  # (N, 320, H/32, W/32), tuned
    logits: Tensor | None  # (N, 1000, H/32, W/32), the classifier's at every cell; None = not asked for

    def probabilities(self) -> Tensor:
        """P(class) at every cell, (N, 1000, H/32, W/32). Raises ValueError where it was not asked for."""
        if self.logits is None:
            raise ValueError("expected features with logits, got none: encode(image, classify=True)")
        return self.logits.float().softmax(1)

    def evidence(self, classes: list[int]) -> Tensor:
        """P(any of `classes`) at every cell, (N, 1, H/32, W/32). Raises as `probabilities` does."""
        return self.probabilities()[:, classes].sum(1, keepdim=True)


def click_map(points: Tensor, height: int, width: int, sigma: float = 1.0) -> Tensor:
    """Gaussians (N, 1, height, width) at cell coordinates `points` (N, 2) = x, y."""
    ys = torch.arange(height, device=points.device)[:, None] - points[:, 1, None, None]
    xs = torch.arange(width, device=points.device)[None, :] - points[:, 0, None, None]
    return torch.exp(-(xs**2 + ys**2) / (2 * sigma**2))[:, None]


def conv(cin: int, cout: int, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(cin, cout, kernel, padding=kernel // 2), nn.ReLU(inplace=True))


class Segmenter(nn.Module):
    """`encode` once, then `decode` for each prompt. Images NCHW RGB in [0, 1], sides % 32 == 0."""

    def __init__(self, lite0: Lite0) -> None:
        super().__init__()
        self.lite0 = lite0.requires_grad_(False)
        self.tuned = copy.deepcopy(lite0.blocks[TAPS[-1] + 1 :]).requires_grad_(True)
        self.reduce32, self.reduce16 = conv(320, 128, 1), conv(112, 64, 1)
        self.context = nn.Linear(320, 128)
        self.mix16 = nn.Sequential(conv(128 + 64 + 4, 128), conv(128, 128), conv(128, 128))
        self.mix8 = nn.Sequential(conv(128 + 40, 96), conv(96, 64))
        self.mix4 = conv(64 + 24, 48)
        self.object = nn.Conv2d(48, 1, 3, padding=1)
        self.person = nn.Conv2d(48, 1, 3, padding=1)

    def encode(self, image: Tensor, classify: bool = True) -> Encoding:
        """`classify`: with the evidence of classes; people and clicks do without."""
        with torch.no_grad():
            stride4, stride8, stride16 = self.lite0.features(image, TAPS)
            logits = self._classify(stride16) if classify else None
        x = stride16
        for block in self.tuned:
            x = block(x)
        return Encoding(stride4, stride8, stride16, x, logits)

    def _classify(self, stride16: Tensor) -> Tensor:
        for block in self.lite0.blocks[TAPS[-1] + 1 :]:
            stride16 = block(stride16)
        return self.lite0.classify(self.lite0.embed(stride16))

    def decode(self, f: Encoding, prompt: Tensor, is_click: Tensor) -> tuple[Tensor, Tensor]:
        """Logits at stride 4 of the prompted object and of people, (N, 1, H/4, W/4) each.

        prompt: (N, 1, H/16, W/16) in [0, 1], class evidence or a click map; is_click: (N,) 0 or 1.
        """
        size16 = f.stride16.shape[-2:]
        wide = F.interpolate(f.stride32, size=size16, mode="bilinear", align_corners=False)
        similar = [self._similarity(wide, prompt), self._similarity(f.stride16, prompt)]
        kind = is_click[:, None, None, None].to(prompt.dtype).expand_as(prompt)
        x = self.reduce32(wide) + self.context(f.stride32.mean((2, 3)))[:, :, None, None]
        x = self.mix16(torch.cat([x, self.reduce16(f.stride16), prompt, kind, *similar], 1))
        x = F.interpolate(x, size=f.stride8.shape[-2:], mode="bilinear", align_corners=False)
        x = self.mix8(torch.cat([x, f.stride8], 1))
        x = F.interpolate(x, size=f.stride4.shape[-2:], mode="bilinear", align_corners=False)
        x = self.mix4(torch.cat([x, f.stride4], 1))
        return self.object(x), self.person(x)

    @staticmethod
    def _similarity(features: Tensor, prompt: Tensor) -> Tensor:
        """Cosine similarity (N, 1, h, w) of every cell to the prompt-weighted mean feature."""
        weight = prompt / prompt.sum((2, 3), keepdim=True).clamp(min=1e-3)
        prototype = (features * weight).sum((2, 3), keepdim=True)
        return F.cosine_similarity(features, prototype, dim=1)[:, None].to(prompt.dtype)
