"""The shape network: paints a named object into a shape of stated precision (SmartBrush, Xie et al., CVPR 2023).

The draft network (same layers, so that it starts from the draft's weights) under two more conditions, the words of
the object and how closely the shape follows it, with one more output: where in the shape the object is. Only the
shape is noised; its other pixels are known at every level.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from restore.pipelines.diffusion.edm import level_waves, precondition
from restore.pipelines.networks.draft import EMB, SIGMA_DATA, DraftConfig, DraftNet
from restore.pipelines.networks.instruct import BUCKETS
from restore.pipelines.push_pull import push_pull

SIDE = 96  # pixels of the square that it works on
SIGMA_PURE = 80.0  # the noise level at which nothing is left of a photo; there one step paints


@dataclass(frozen=True)
class Painted:
    """clean (N, 3, H, W) in [-1, 1], not pasted; error (N, 1, H, W): expected absolute error; instance
    (N, 1, H, W): logits of "the object is here", to be read inside the shape."""

    clean: Tensor
    error: Tensor
    instance: Tensor


class ShapeNet(nn.Module):
    """See the module's docstring."""

    def __init__(self, config: DraftConfig | None = None) -> None:
        super().__init__()
        self.draft = DraftNet(replace(config or DraftConfig(), outputs=5))
        self.words = nn.Embedding(BUCKETS, EMB, padding_idx=0)
        self.name = nn.Sequential(nn.Linear(EMB, EMB), nn.SiLU(), nn.Linear(EMB, EMB))
        self.precision = nn.Linear(1, EMB)
        nn.init.normal_(self.words.weight[1:], std=0.5)

    @classmethod
    def from_weights(cls, weights: dict[str, Tensor]) -> ShapeNet:
        """The network that a state dict belongs to."""
        own = {k: v.float() for k, v in weights.items()}
        net = cls(DraftNet.from_weights({k[6:]: v for k, v in own.items() if k.startswith("draft.")}).config)
        net.load_state_dict(own)
        return net.eval()

    def condition(self, ids: Tensor, precision: Tensor) -> Tensor:
        """(N, EMB) of the objects' names, as `token_ids` has them ("" = anything), and of s (N,): 0 the shape is the
        object's own outline, 1 its box."""
        count = (ids > 0).sum(1, keepdim=True).clamp(min=1)
        return self.name(self.words(ids).sum(1) / count) + self.precision(precision[:, None])

    def denoise(self, noisy: Tensor, sigma: Tensor, smooth: Tensor, shape: Tensor, condition: Tensor) -> Painted:
        """noisy (N, 3, H, W) in [-1, 1], exact outside the shape; sigma (N,), inf allowed; smooth from `push_pull`;
        shape (N, 1, H, W), 1 = paint here; condition of `condition`."""
        known = precondition((noisy - smooth) * shape, sigma, SIGMA_DATA)
        emb = self.draft.emb(level_waves(known.level).to(noisy.dtype)) + condition
        out = self.draft.decode(known.scaled, smooth, shape, emb)
        return Painted(smooth + known.clean(out[:, :3]), torch.exp(out[:, 3:4].float()), out[:, 4:])

    def paint(self, image: Tensor, shape: Tensor, condition: Tensor, noise: Tensor) -> Painted:
        """One step from pure noise (N, 3, H, W) of deviation 1 in the shape; image (N, 3, H, W) in [0, 1], not looked
        at there. The others as for `denoise`."""
        smooth = push_pull(image, shape) * 2 - 1
        sigma = torch.full((len(image),), SIGMA_PURE, device=image.device)
        return self.denoise(smooth + shape * noise * SIGMA_PURE, sigma, smooth, shape, condition)
