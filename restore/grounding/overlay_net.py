"""What is laid over a photo, pixel by pixel: text, watermarks, scratches, dust and wires.

A small U-net (Ronneberger et al., MICCAI 2015). It reads the photo's own pixels (2 × 2 of them as 12 channels, so
nothing is lost) beside the frozen features of the shared EfficientNet-Lite0, and answers at full resolution with one
logit per class: the classes do not exclude each other.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

CLASSES = ("text", "watermark", "scratch", "dust", "wire")
TAPS = (0, 2, 4, 10)  # blocks of Lite0 with strides 2, 4, 8, 16
TAP_CHANNELS = (16, 24, 40, 112)
WIDTHS = (32, 64, 88, 104)  # of our own maps at strides 2, 4, 8, 16
STRIDE = 16  # height and width are padded to multiples of this


class Conv(nn.Module):
    """Convolution, batch normalisation while training (`norm`), ReLU where asked."""

    def __init__(
        self, cin: int, cout: int, kernel: int, norm: bool, stride: int = 1, dilation: int = 1, relu: bool = True
    ) -> None:
        super().__init__()
        pad = dilation * (kernel // 2)
        self.conv = nn.Conv2d(cin, cout, kernel, stride, pad, dilation, bias=not norm)
        self.norm = nn.BatchNorm2d(cout) if norm else None
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        y = self.norm(y) if self.norm is not None else y
        return F.relu(y) if self.relu else y


class Block(nn.Module):
    """x plus two 3 × 3 convolutions of it."""

    def __init__(self, channels: int, norm: bool, dilation: int = 1) -> None:
        super().__init__()
        self.one = Conv(channels, channels, 3, norm, dilation=dilation)
        self.two = Conv(channels, channels, 3, norm, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.two(self.one(x)))


class OverlayNet(nn.Module):
    """Logits (N, 5, H, W), one map for each of CLASSES, of RGB photos (N, 3, H, W) in [0, 1].

    `features` are Lite0's maps at TAPS of the same photos; height and width are multiples of STRIDE
    (`padded` makes them so). `thresholds` (5,): probability from which a pixel is one of a class, chosen when it was
    trained. With `norm` it trains from nothing; without, it is convolutions only (`folded`), as shipped.
    """

    thresholds: Tensor

    def __init__(self, norm: bool = False) -> None:
        super().__init__()
        a, b, c, d = WIDTHS
        ta, tb, tc, td = TAP_CHANNELS
        self.enter = Conv(12 + ta, a, 3, norm)
        self.down = nn.ModuleList(Conv(x, y, 3, norm, stride=2) for x, y in ((a, b), (b, c), (c, d)))
        self.join = nn.ModuleList(Conv(w + t, w, 1, norm) for w, t in ((b, tb), (c, tc), (d, td)))
        self.into = nn.ModuleList(
            (
                Block(a, norm),
                Block(b, norm),
                nn.Sequential(Block(c, norm), Block(c, norm)),
                nn.Sequential(Block(d, norm), Block(d, norm, 2), Block(d, norm, 4)),
            )
        )
        self.up = nn.ModuleList(Conv(x, y, 1, norm, relu=False) for x, y in ((b, a), (c, b), (d, c)))
        self.out_of = nn.ModuleList((Block(a, norm), Block(b, norm), Block(c, norm)))
        self.last = Conv(a + 12, 2 * a, 3, norm)
        self.logits = nn.Conv2d(2 * a, 4 * len(CLASSES), 1)
        assert self.logits.bias is not None
        nn.init.constant_(self.logits.bias, -4.0)
        self.register_buffer("thresholds", torch.full((len(CLASSES),), 0.5))

    @classmethod
    def from_weights(cls, tensors: dict[str, Tensor]) -> OverlayNet:
        """The shipped network, frozen."""
        net = cls()
        net.load_state_dict(tensors)
        return net.eval().requires_grad_(False)

    def forward(self, image: Tensor, features: list[Tensor]) -> Tensor:
        pixels = F.pixel_unshuffle((image - 0.5) * 4, 2)
        x = self.into[0](self.enter(torch.cat((pixels, features[0]), 1)))
        skips = [x]
        for i in range(3):
            x = self.join[i](torch.cat((self.down[i](x), features[i + 1]), 1))
            x = self.into[i + 1](x)
            skips.append(x)
        for i in (2, 1, 0):
            wide = F.interpolate(self.up[i](x), scale_factor=2, mode="bilinear", align_corners=False)
            x = self.out_of[i](F.relu(skips[i] + wide))
        return F.pixel_shuffle(self.logits(self.last(torch.cat((x, pixels), 1))), 2)


def padded(image: Tensor) -> Tensor:
    """The photo with its right and bottom edge repeated up to multiples of STRIDE."""
    h, w = image.shape[-2:]
    return F.pad(image, (0, -w % STRIDE, 0, -h % STRIDE), mode="replicate")


def folded(net: OverlayNet) -> OverlayNet:
    """The same function without batch normalisation: what is stored and shipped."""
    plain = OverlayNet(norm=False).eval()
    source = dict(net.named_modules())
    for name, module in plain.named_modules():
        if isinstance(module, Conv):
            whole = source[name]
            conv = fuse_conv_bn_eval(whole.conv.eval(), whole.norm.eval())
            module.conv.load_state_dict(conv.state_dict())
    plain.logits.load_state_dict(net.logits.state_dict())
    plain.thresholds.copy_(net.thresholds)
    return plain
