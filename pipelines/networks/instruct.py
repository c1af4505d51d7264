"""The instruction network: removes what words name, without a mask (Inst-Inpaint, Yildirim et al., 2023).

A UNet that sees source ⊕ noisy target, with the instruction in cross attention. It denoises the *change*
r = target − source, which is zero nearly everywhere, in EDM's preconditioning (Karras et al., NeurIPS 2022, eq. 7);
at σ = ∞ its estimate is the conditional mean, which is the answer itself where the instruction leaves no doubt.
Beside the change it tells where it makes one: the mask that keeps every other pixel of the photo exactly as it was.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.pipelines.diffusion.edm import level_waves, precondition
from restore.pipelines.networks.draft import ResBlock

SIDE = 128  # pixels; photos are brought to this square
UNSHUFFLE = 4  # the levels work on cells of 4×4, 8×8 and 16×16 pixels
GRID = SIDE // (4 * UNSHUFFLE)
SIGMA_DATA = 0.15  # standard deviation of the change, pixels in [-1, 1]
BUCKETS = 2048  # words are hashed into this many embeddings (Weinberger et al., ICML 2009)
HEAD = 64  # channels of an attention head
LENGTH = 24  # words of an instruction that are read


@dataclass(frozen=True)
class InstructConfig:
    """Widths at 1/4 and 1/8 of the image size; width, a multiple of `HEAD`, and blocks of the transformer at 1/16;
    layers of the text encoder; kinds: auxiliary classes of cells that training may supervise."""

    outer: int = 64
    middle: int = 128
    inner: int = 256
    blocks: int = 6
    text: int = 2
    kinds: int = 65


def token_ids(texts: Sequence[str]) -> Tensor:
    """(N, L) int64, L words of the longest text: hashed words, 0 where a text has ended. An empty text is the
    unconditional one."""
    read = [re.findall(r"[a-z]+", text.lower())[:LENGTH] for text in texts]
    ids = torch.zeros(len(texts), max(map(len, read)), dtype=torch.int64)
    for row, words in zip(ids, read, strict=True):
        for k, word in enumerate(words):
            row[k] = 1 + zlib.crc32(word.encode()) % (BUCKETS - 1)
    return ids


def place_waves(width: int) -> Tensor:
    """(GRID², width): sines and cosines of every cell's height and breadth, a quarter to two periods each."""
    place = (torch.arange(GRID) + 0.5) / GRID
    angle = 2 * torch.pi * place[:, None] * torch.logspace(-2, 1, width // 4, base=2)
    waves = torch.cat([angle.sin(), angle.cos()], 1)
    rows, columns = waves[:, None].expand(-1, GRID, -1), waves[None].expand(GRID, -1, -1)
    return torch.cat([rows, columns], -1).reshape(GRID * GRID, width)


class Attend(nn.Module):
    """Attention of x (N, T, C) to `context` (N, S, C), by heads of `HEAD` channels; `absent` (N, S) marks what must
    not be seen."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor, absent: Tensor | None = None) -> Tensor:
        n, t, c = x.shape
        split = (n, -1, c // HEAD, HEAD)
        q = self.q(x).reshape(split).transpose(1, 2)
        k, v = (p.reshape(split).transpose(1, 2) for p in self.kv(context).chunk(2, -1))
        seen = None if absent is None else ~absent[:, None, None]
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return self.out(y.transpose(1, 2).reshape(n, t, c))


class Block(nn.Module):
    """Self-attention, cross-attention to the words (in image blocks), a two-layer perceptron; norms come first."""

    def __init__(self, width: int, crossed: bool) -> None:
        super().__init__()
        self.norm1, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.self_attend = Attend(width)
        self.norm2 = nn.LayerNorm(width) if crossed else None
        self.cross_attend = Attend(width) if crossed else None
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, absent: Tensor | None, words: Tensor | None = None) -> Tensor:
        y = self.norm1(x)
        x = x + self.self_attend(y, y, absent if words is None else None)
        if self.cross_attend is not None and self.norm2 is not None and words is not None:
            x = x + self.cross_attend(self.norm2(x), words, absent)
        return x + self.mlp(self.norm3(x))


@dataclass(frozen=True)
class Prediction:
    """target (N, 3, S, S) in [-1, 1]; change (N, 1, S, S): logits of "differs from the source"; cells
    (N, 3, GRID, GRID): logits of the named object, of its landmark and of the part of the picture that a place or
    relation leaves; kinds (N, K, GRID, GRID): auxiliary."""

    target: Tensor
    change: Tensor
    cells: Tensor
    kinds: Tensor


class InstructNet(nn.Module):
    """See the module's docstring."""

    def __init__(self, config: InstructConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or InstructConfig()
        emb, cells = 128, UNSHUFFLE**2
        self.emb = nn.Sequential(nn.Linear(32, emb), nn.SiLU(), nn.Linear(emb, emb), nn.SiLU())
        self.words = nn.Embedding(BUCKETS, c.inner)
        self.order = nn.Parameter(torch.randn(LENGTH, c.inner) * 0.02)
        self.text = nn.ModuleList(Block(c.inner, crossed=False) for _ in range(c.text))
        self.stem = nn.Conv2d(6 * cells, c.outer, 3, padding=1)
        self.down = nn.ModuleList([ResBlock(c.outer, emb), ResBlock(c.middle, emb)])
        self.narrow = nn.ModuleList([nn.Conv2d(c.outer, c.middle, 4, 2, 1), nn.Conv2d(c.middle, c.inner, 4, 2, 1)])
        self.enter = nn.LayerNorm(c.inner)  # places must not drown in what the convolutions say
        self.place = nn.Parameter(place_waves(c.inner))
        self.level = nn.Linear(emb, c.inner)
        self.mid = nn.ModuleList(Block(c.inner, crossed=True) for _ in range(c.blocks))
        self.norm = nn.LayerNorm(c.inner)
        self.cells = nn.Conv2d(c.inner, 3, 1)
        self.kinds = nn.Conv2d(c.inner, c.kinds, 1)
        self.widen = nn.ModuleList([nn.Conv2d(c.inner, 4 * c.middle, 1), nn.Conv2d(c.middle, 4 * c.outer, 1)])
        self.up = nn.ModuleList([ResBlock(c.middle, emb), ResBlock(c.outer, emb)])
        self.final = nn.Conv2d(c.outer, 4 * cells, 3, padding=1)
        nn.init.normal_(self.words.weight, std=0.5)
        nn.init.normal_(self.final.weight, std=1e-3)

    @classmethod
    def from_weights(cls, weights: dict[str, Tensor]) -> InstructNet:
        """The network that a state dict belongs to: widths and depths are read off its tensors."""
        depth = {part: len({k.split(".")[1] for k in weights if k.startswith(f"{part}.")}) for part in ("mid", "text")}
        config = InstructConfig(
            outer=len(weights["stem.weight"]),
            middle=len(weights["narrow.0.weight"]),
            inner=len(weights["narrow.1.weight"]),
            blocks=depth["mid"],
            text=depth["text"],
            kinds=len(weights["kinds.weight"]),
        )
        net = cls(config)
        net.load_state_dict({key: value.float() for key, value in weights.items()})
        return net.eval()

    def read(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Words (N, L) → their embeddings (N, L + 1, C) and which of those are absent. One more stands for the end of
        the text, so that an empty one has something to attend to."""
        ids = F.pad(ids, (0, 1))
        absent = ids == 0
        absent[:, -1] = False
        x = self.words(ids) + F.pad(self.order[: ids.shape[1] - 1], (0, 0, 0, 1))
        for block in self.text:
            x = block(x, absent)
        return x, absent

    def encode(self, source: Tensor, change: Tensor, level: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """(skips at 1/4 and 1/8, map (N, C, GRID, GRID), condition). source in [-1, 1]; change: scaled noisy change;
        level (N,) in [0, 1], 1 = pure noise."""
        emb = self.emb(level_waves(level).to(source.dtype))
        x = self.stem(F.pixel_unshuffle(torch.cat([source, change], 1), UNSHUFFLE))
        skips = []
        for block, narrow in zip(self.down, self.narrow, strict=True):
            skips.append(block(x, emb))
            x = narrow(skips[-1])
        return skips, x, emb

    def ground(self, x: Tensor, emb: Tensor, words: Tensor, absent: Tensor) -> Tensor:
        """The map of `encode` once words and cells have been compared, alike."""
        grid = x.shape[2:]
        x = self.enter(x.flatten(2).transpose(1, 2)) + self.place + self.level(emb)[:, None]
        for block in self.mid:
            x = block(x, absent, words)
        return self.norm(x).transpose(1, 2).unflatten(2, grid)

    def locate(self, source: Tensor, words: Tensor, absent: Tensor) -> tuple[Tensor, Tensor]:
        """`Prediction.cells` and `.kinds` alone: what words mean is learnt so at a third of the cost. The gradient
        stops before the convolutions, which are to serve the pixels."""
        with torch.no_grad():
            _, x, emb = self.encode(source, torch.zeros_like(source), source.new_ones(len(source)))
        x = self.ground(x, emb, words, absent)
        return self.cells(x), self.kinds(x)

    def forward(self, source: Tensor, change: Tensor, level: Tensor, words: Tensor, absent: Tensor) -> list[Tensor]:
        """F of EDM: (N, 4, S, S) of change and its mask, then `Prediction.cells` and `.kinds`; see `encode`."""
        skips, x, emb = self.encode(source, change, level)
        x = self.ground(x, emb, words, absent)
        cells, kinds = self.cells(x), self.kinds(x)
        for block, widen in zip(self.up, self.widen, strict=True):
            x = block(skips.pop() + F.pixel_shuffle(widen(x), 2), emb)
        out = F.pixel_shuffle(self.final(F.silu(x)), UNSHUFFLE)
        return [out, cells, kinds]

    def denoise(
        self, source: Tensor, noisy: Tensor, sigma: Tensor, words: Tensor, absent: Tensor, shown: Tensor | None = None
    ) -> Prediction:
        """E[target | noisy, source, words]. source, noisy (N, 3, S, S) in [-1, 1]; sigma (N,), inf allowed: then
        `noisy` is not looked at; words, absent: of `read`; shown: what is seen of the source, by default all (zeros:
        nothing, for guidance)."""
        known = precondition(noisy - source, sigma, SIGMA_DATA)
        seen = source if shown is None else shown
        out, cells, kinds = self(seen, known.scaled, known.level, words, absent)
        return Prediction(source + known.clean(out[:, :3]), out[:, 3:], cells, kinds)
