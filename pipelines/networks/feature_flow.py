"""Samples of a hole's features: a flow from noise to what the hole may hold, one of many plausible answers.

Flow matching (Lipman et al., ICLR 2023) over a linear code of all taps and of coarse colours, one token for each cell
at stride 16. The network predicts the clean code and starts from the expected one, so that pure noise gives the
mean (Liu et al., 2022; Li & He, 2025).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.features.expectation_net import DIM, Said
from restore.features.trunk import Trunk

STACKED = (24 * 16, 40 * 4, 112, 48)  # numbers of a cell: strides 4, 8, 16, colours at 4 px
LATENT = 160  # principal components kept of them: 87 % of the variance
BLOCKS = 6
SHIFT = 2.0  # steps lie this much denser near the noise


class FeatureFlow(nn.Module):
    """See the module's docstring. `sample` is what it is for; `forward` predicts the clean code."""

    mean: Tensor
    basis: Tensor
    inverse: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(sum(STACKED)))
        self.register_buffer("basis", torch.zeros(sum(STACKED), LATENT))
        self.register_buffer("inverse", torch.zeros(LATENT, sum(STACKED)))
        self.time = nn.Sequential(nn.Linear(32, DIM), nn.SiLU(), nn.Linear(DIM, DIM), nn.SiLU())
        self.embed = nn.Conv2d(2 * LATENT + DIM + 2, DIM, 1)
        self.trunk = Trunk(DIM, BLOCKS, emb=DIM)
        self.out = nn.Conv2d(DIM, LATENT, 1)
        for p in self.out.parameters():
            nn.init.zeros_(p)

    @classmethod
    def from_weights(cls, weights: dict[str, Tensor]) -> FeatureFlow:
        net = cls()
        net.load_state_dict({key: value.float() for key, value in weights.items()})
        return net.eval()

    def code(self, x: Tensor) -> Tensor:
        """Of stacked cells (N, 704, h, w): (N, LATENT, h, w)."""
        return torch.einsum("nchw,cd->ndhw", x - self.mean[:, None, None], self.basis)

    def decode(self, z: Tensor) -> Tensor:
        return torch.einsum("ndhw,dc->nchw", z, self.inverse) + self.mean[:, None, None]

    def forward(self, noisy: Tensor, t: Tensor, expected: Tensor, trunk: Tensor, cells: Tensor) -> Tensor:
        """The clean code (N, LATENT, h, w).

        noisy = (1 − t)·noise + t·code in the hole's cells, the code elsewhere; t (N,) in [0, 1]; expected: the expected
        code, the true one where cells are known; trunk (N, DIM, h, w): the expectation's; cells (N, 1, h, w): 1 = hole.
        """
        angle = t.float()[:, None] * torch.exp(torch.linspace(0, math.log(64), 16, device=t.device))
        emb = self.time(torch.cat([angle.cos(), angle.sin()], 1))
        state = trunk * torch.rsqrt(trunk.square().mean(1, keepdim=True) + 1e-4)
        x = torch.cat([noisy, expected, state, cells, cells * t[:, None, None, None]], 1)
        return expected + self.out(F.silu(self.trunk(self.embed(x), emb))) * cells

    @torch.no_grad()
    def sample(
        self, said: Said, drafted: Tensor, mask: Tensor, generator: torch.Generator, steps: int = 8
    ) -> tuple[list[Tensor], Tensor]:
        """One sample of what holes may hold: unit features per tap, finest first, and coarse colours (N, 3, H/4, W/4).

        said: what the expectation says of drafted (N, 3, H, W) and mask (N, 1, H, W). Cells without hole keep what
        they have. `steps` Euler steps.
        """
        cells = F.max_pool2d(mask, 16)
        expected = self.code(stacked(said.features_where(cells), drafted))
        noise = torch.randn(expected.shape, generator=generator).to(expected.device)
        z = torch.where(cells > 0, noise, expected)
        u = torch.linspace(0, 1, steps + 1)
        times = (u / (u + SHIFT * (1 - u))).tolist()
        for t, after in zip(times[:-1], times[1:], strict=True):
            clean = self(z, torch.full((len(z),), t, device=z.device), expected, said.trunk, cells)
            z = torch.where(cells > 0, z + (clean - z) * ((after - t) / (1 - t)), expected)
        return unstacked(self.decode(z))


def stacked(features: list[Tensor], image: Tensor) -> Tensor:
    """All taps and the colours at 4 px of each stride-16 cell (N, 704, h, w).

    A tap's squared distance counts as its mean over the cell; a colour difference of 1 in all channels as 0.75.
    """
    f4, f8, f16 = features
    colour = F.pixel_unshuffle(F.avg_pool2d(image, 4) - 0.5, 4) / 2
    return torch.cat([F.pixel_unshuffle(f4, 4) / 4, F.pixel_unshuffle(f8, 2) / 2, f16, colour], 1)


def unstacked(x: Tensor) -> tuple[list[Tensor], Tensor]:
    """The inverse: features per tap, finest first, and colours (N, 3, 4h, 4w)."""
    f4, f8, f16, colour = x.split(STACKED, 1)
    return [F.pixel_shuffle(f4 * 4, 4), F.pixel_shuffle(f8 * 2, 2), f16], F.pixel_shuffle(colour * 2, 4) + 0.5
