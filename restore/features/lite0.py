"""EfficientNet-Lite0 as a feature extractor (Tan & Le, ICML 2019; the Lite variant of 2020).

The shared eyes of the grounder, the artifact segmenter and the feature metrics. Batch
normalisation is folded into the convolutions, so the network is convolutions and ReLU6 only.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.weights.store import load_weights

# (expansion, kernel, stride, out channels) of the seven stages.
STAGES = (
    (1, 3, 1, 16),
    (6, 3, 2, 24),
    (6, 5, 2, 40),
    (6, 3, 2, 80),
    (6, 5, 1, 112),
    (6, 5, 2, 192),
    (6, 3, 1, 320),
)
DEPTHS = (1, 2, 2, 3, 3, 4, 1)  # blocks of each
HEAD_CHANNELS = 1280
CLASSES = 1000


class SamePadConv(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding (more on the right and bottom)."""

    def forward(self, x: Tensor) -> Tensor:
        k, s = self.kernel_size[0], self.stride[0]
        if s == 1:
            return F.conv2d(x, self.weight, self.bias, 1, k // 2, 1, self.groups)
        pads = []
        for size in (x.shape[-1], x.shape[-2]):
            total = max((-(-size // s) - 1) * s + k - size, 0)
            pads += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, pads), self.weight, self.bias, s, 0, 1, self.groups)


class InvertedResidual(nn.Module):
    def __init__(self, cin: int, cout: int, expand: int, kernel: int, stride: int) -> None:
        super().__init__()
        mid = cin * expand
        self.expand = SamePadConv(cin, mid, 1) if expand > 1 else None
        self.depthwise = SamePadConv(mid, mid, kernel, stride, groups=mid)
        self.project = SamePadConv(mid, cout, 1)
        self.residual = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self.expand(x)) if self.expand is not None else x
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.residual else y


class Lite0(nn.Module):
    """EfficientNet-Lite0: `features` returns chosen block outputs, `classify` per-cell logits.

    Input is NCHW RGB in [0, 1], any size; strides of blocks 0, 2, 4, 10, 15 are 2, 4, 8, 16, 32
    with 16, 24, 40, 112, 320 channels. `depths`: how often each stage is repeated; Lite1 is the same, but deeper.
    """

    def __init__(self, depths: tuple[int, ...] = DEPTHS) -> None:
        super().__init__()
        self.stem = SamePadConv(3, 32, 3, 2)
        blocks, cin = [], 32
        for (expand, kernel, stride, cout), depth in zip(STAGES, depths, strict=True):
            for i in range(depth):
                blocks.append(InvertedResidual(cin, cout, expand, kernel, stride if i == 0 else 1))
                cin = cout
        self.blocks = nn.ModuleList(blocks)
        self.head = SamePadConv(cin, HEAD_CHANNELS, 1)
        self.classifier = nn.Linear(HEAD_CHANNELS, CLASSES)

    def features(self, x: Tensor, taps: tuple[int, ...]) -> list[Tensor]:
        """Outputs of the blocks numbered in `taps` (ascending); later blocks are not run."""
        x = F.relu6(self.stem((x - 127 / 255) * (255 / 128)))
        out = []
        for i, block in enumerate(self.blocks[: max(taps) + 1]):
            x = block(x)
            if i in taps:
                out.append(x)
        return out

    def embed(self, block15: Tensor) -> Tensor:
        """The 1280-channel map before pooling, from the last block's output."""
        return F.relu6(self.head(block15))

    def classify(self, embedding: Tensor) -> Tensor:
        """ImageNet logits at every cell (N, 1000, H, W) of an `embed` map."""
        return F.conv2d(embedding, self.classifier.weight[:, :, None, None], self.classifier.bias)


def trained_lite0() -> Lite0:
    """The shipped network, frozen."""
    net = Lite0()
    net.load_state_dict(load_weights("lite0"))
    return net.eval().requires_grad_(False)


def unit(features: Tensor) -> Tensor:
    """Channel vectors of unit length in float32; the 1e-4 keeps a dead cell's gradient finite."""
    features = features.float()
    return features * torch.rsqrt(features.square().sum(1, keepdim=True) + 1e-4)
