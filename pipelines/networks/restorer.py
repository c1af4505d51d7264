"""The restorer: the prior's network, told what happened to the picture, gives it back in one look.

Trained from the prior's weights on noise, a camera's noise, bicubic reduction, Gaussian blur and JPEG, each photo's
squared error by its logarithm (training/recipes/restorer.py). It knows the damages it was trained on; all others, and
mixtures, are what the prior and half-quadratic splitting are for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from restore.pipelines.networks.prior import PriorConfig, PriorNet, preconditioned, waves
from restore.weights.store import load_weights

CONFIG = PriorConfig(down=(3, 3, 3), up=(4, 3))
TOLD = 8  # numbers of a cause
WIDTHS = (0.5, 3.5)  # widths of Gaussians, pixels, seen in training,
BLURRED_NOISE = 8 / 127.5  # and the strongest noise on top of them, [-1, 1]
NOISES = (2 / 127.5, 75 / 127.5)  # deviations of white noise seen in training, [-1, 1]
SCALES = {2: 0.06, 3: 0.09, 4: 0.12}  # factors, and the rms error of their bicubic enlargement, [-1, 1]
CAMERA_ERROR = 0.08


@dataclass(frozen=True)
class Cause:
    """What happened: level, the rms error to expect in [-1, 1] (of noise its deviation), and by which damage.

    told: camera noise, JPEG, strengths of its luma and chroma tables, chroma halved, log2 factor / 2, blur width / 2,
    blurred; a blur tells its noise in the place of the luma table."""

    level: float
    told: tuple[float, ...]
    origin: tuple[int, int] = (0, 0)  # of JPEG's blocks, pixels before the picture's first one


def noise(deviation: float) -> Cause:
    """White noise of this deviation, [-1, 1]."""
    return Cause(deviation, (0.0,) * TOLD)


def camera() -> Cause:
    """Noise as cameras leave it, smoothed and compressed; its level is the network's to find."""
    return Cause(CAMERA_ERROR, (1.0, *(0.0,) * 7))


def reduction(factor: int) -> Cause:
    """Bicubic reduction by 2, 3 or 4, enlarged bicubically."""
    return Cause(SCALES[factor], (0.0, 0.0, 0.0, 0.0, 0.0, math.log2(factor) / 2, 0.0, 0.0))


def blur(width: float, deviation: float) -> Cause:
    """A Gaussian of `width` pixels, and white noise of this deviation, [-1, 1]."""
    told = (0.0, 0.0, math.log(deviation * 127.5 + 0.3) / 4, 0.0, 0.0, 0.0, width / 2, 1.0)
    return Cause(min(0.25, 0.04 + 0.05 * width), told)


def jpeg(
    luminance: Tensor, chrominance: Tensor, halved: bool, deviation: float, origin: tuple[int, int] = (0, 0)
) -> Cause:
    """Compression with these tables (8, 8); deviation: rms error to expect, [-1, 1]."""
    strengths = (float(t.log().mean()) / 4 for t in (luminance, chrominance))
    return Cause(max(0.02, 1.4 * deviation), (0.0, 1.0, *strengths, float(halved), 0.0, 0.0, 0.0), origin)


class RestorerNet(PriorNet):
    """See the module's docstring."""

    def __init__(self, config: PriorConfig = CONFIG) -> None:
        super().__init__(config)
        self.told = nn.Linear(TOLD, self.emb[0].out_features)  # type: ignore[arg-type]
        for p in self.told.parameters():
            nn.init.zeros_(p)

    def restore(self, y: Tensor, level: Tensor, told: Tensor) -> Tensor:
        """The photo (N, 3, H, W) in about [-1, 1] behind the damaged y of its size; level (N,), told (N, TOLD): causes.

        JPEG's blocks must begin at y's upper left pixel.
        """

        def raw(x: Tensor, noise: Tensor) -> Tensor:
            first, *rest = self.emb
            emb = first(waves(noise).to(x.dtype)) + self.told(told.to(x.dtype))
            return self.through(x, nn.Sequential(*rest)(emb))

        return preconditioned(raw, y, level, self.multiple)


def load_restorer() -> RestorerNet:
    """The shipped one. Raises ModelUnavailableError."""
    net = RestorerNet()
    net.load_state_dict(load_weights("restorer"))
    return net.eval()
