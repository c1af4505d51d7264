"""The draft network: one small residual UNet that is draft, sampler and prior.

It denoises the *residual* r = x − s between the photo x and a smooth fill s of the hole, in EDM's
preconditioning (Karras et al., NeurIPS 2022, eq. 7): D(r_σ) = c_skip·r_σ + c_out·F(c_in·r_σ; σ).
At σ = ∞ the noisy input carries nothing (it is fed as zero) and D is the conditional mean of the
hole: the draft. At finite σ the same weights are a diffusion model, and with the whole image
masked an unconditional prior.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.pipelines.diffusion.edm import level_waves, precondition
from restore.pipelines.push_pull import push_pull

UNSHUFFLE = 4  # the network works on 4×4 pixel cells
SIGMA_DATA = 0.25  # standard deviation of the residual, pixels in [-1, 1]
EMB = 128  # width of the condition
MULTIPLE = 2 * UNSHUFFLE  # image sides must be divisible by this


@dataclass(frozen=True)
class DraftConfig:
    """Widths at 1/4 and 1/8 of the image size and residual blocks on the way down, in the middle, up; outputs: the
    image, its log error and what else is asked for."""

    outer: int = 64
    inner: int = 256
    blocks: tuple[int, int, int] = (3, 6, 3)
    attention: int = 3  # how many of the middle blocks are followed by self-attention
    outputs: int = 4


class ResBlock(nn.Module):
    """Two 3×3 convolutions, the second starting at zero; noise level enters as scale and shift."""

    def __init__(self, channels: int, emb: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.modulate = nn.Linear(emb, 2 * channels)
        for p in (*self.conv2.parameters(), *self.modulate.parameters()):
            nn.init.zeros_(p)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        scale, shift = self.modulate(emb)[:, :, None, None].chunk(2, 1)
        h = F.silu(self.conv1(F.silu(x)) * (1 + scale) + shift)
        return x + self.conv2(h)


class Attention(nn.Module):
    """Self-attention over cells, on unit-norm channels (the network has no other normalisation)."""

    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        for p in self.out.parameters():
            nn.init.zeros_(p)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        y = x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-4)
        q, k, v = self.qkv(y).reshape(n, 3, self.heads, c // self.heads, h * w).transpose(-1, -2).unbind(1)
        y = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(y.transpose(-1, -2).reshape(n, c, h, w))


class DraftNet(nn.Module):
    """See the module's docstring. Use `draft` and `denoise`; `forward` is the raw network F."""

    def __init__(self, config: DraftConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or DraftConfig()
        emb, cells = EMB, UNSHUFFLE**2
        down, mid, up = config.blocks
        self.emb = nn.Sequential(nn.Linear(32, emb), nn.SiLU(), nn.Linear(emb, emb), nn.SiLU())
        self.stem = nn.Conv2d(7 * cells, config.outer, 3, padding=1)
        self.down = nn.ModuleList(ResBlock(config.outer, emb) for _ in range(down))
        self.narrow = nn.Conv2d(config.outer, config.inner, 4, 2, 1)
        self.mid = nn.ModuleList(ResBlock(config.inner, emb) for _ in range(mid))
        self.attend = nn.ModuleList(Attention(config.inner) for _ in range(config.attention))
        self.widen = nn.Conv2d(config.inner, 4 * config.outer, 1)
        self.up = nn.ModuleList(ResBlock(config.outer, emb) for _ in range(up))
        self.final = nn.Conv2d(config.outer, config.outputs * cells, 3, padding=1)
        for p in self.final.parameters():
            nn.init.zeros_(p)
        nn.init.normal_(self.final.weight, std=1e-3)

    @classmethod
    def from_weights(cls, weights: dict[str, Tensor]) -> DraftNet:
        """The network that a state dict belongs to: widths and depths are read off its tensors."""
        down, mid, up, attention = (
            len({key.split(".")[1] for key in weights if re.match(rf"{part}\.\d", key)})
            for part in ("down", "mid", "up", "attend")
        )
        outer, inner = len(weights["stem.weight"]), len(weights["narrow.weight"])
        outputs = len(weights["final.weight"]) // UNSHUFFLE**2
        net = cls(DraftConfig(outer, inner, (down, mid, up), attention, outputs))
        net.load_state_dict({key: value.float() for key, value in weights.items()})
        return net.eval()

    def forward(self, residual: Tensor, smooth: Tensor, mask: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """F of EDM. residual: scaled noisy residual; smooth in [-1, 1]; level (N,) in [0, 1], 1 = pure noise.

        Returns the prediction (N, 3, H, W) and the log of its expected absolute error (N, 1, H, W).
        """
        out = self.decode(residual, smooth, mask, self.emb(level_waves(level).to(residual.dtype)))
        return out[:, :3], out[:, 3:]

    def decode(self, residual: Tensor, smooth: Tensor, mask: Tensor, emb: Tensor) -> Tensor:
        """All outputs (N, `config.outputs`, H, W) under the condition `emb` (N, EMB)."""
        x = F.pixel_unshuffle(torch.cat([residual, smooth, mask], 1), UNSHUFFLE)
        x = self.stem(x)
        for block in self.down:
            x = block(x, emb)
        skip, x = x, self.narrow(x)
        for i, block in enumerate(self.mid):
            x = block(x, emb)
            if i < len(self.attend):
                x = self.attend[i](x)
        x = skip + F.pixel_shuffle(self.widen(x), 2)
        for block in self.up:
            x = block(x, emb)
        return F.pixel_shuffle(self.final(F.silu(x)), UNSHUFFLE)

    def denoise(self, noisy: Tensor, sigma: Tensor, smooth: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """E[x | noisy]: images (N, 3, H, W) in [-1, 1]; sigma (N,), inf allowed; smooth from `push_pull`.

        Returns the clean estimate, not pasted, and the expected absolute error (N, 1, H, W).
        """
        known = precondition((noisy - smooth) * mask, sigma, SIGMA_DATA)
        out, log_error = self(known.scaled, smooth, mask, known.level)
        return smooth + known.clean(out), torch.exp(log_error.float()).to(noisy.dtype)

    def draft(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """One step from pure noise. image (N, 3, H, W) in [0, 1], mask 1 = unknown, sides % 8 == 0.

        Returns the image with its hole drafted, in [0, 1], and the expected absolute error there.
        """
        smooth = push_pull(image, mask) * 2 - 1
        sigma = torch.full((len(image),), math.inf, device=image.device)
        clean, error = self.denoise(smooth, sigma, smooth, mask)
        filled = torch.where(mask > 0.5, (clean + 1) / 2, image)
        return filled.clamp(0, 1), error / 2
