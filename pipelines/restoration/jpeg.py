"""JPEG as a degradation: its codes are known, so the photo lies in a box of DCT coefficients.

ITU-T T.81: YCbCr, chroma at half size where subsampled, 8×8 DCT-II, division by a table, rounding. The data step
brings every coefficient of an estimate back into the interval that rounds to the file's code; for gradients,
rounding is passed straight through.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from restore.errors import InputError
from restore.pipelines.restoration.degradations import Compose, Identity, Operator
from restore.pipelines.restoration.tiles import Box, reduced

# Annex K, tables K.1 and K.2, row by row.
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99), (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99), *((99,) * 8,) * 4,
)  # fmt: skip
TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))  # JFIF 1.02
SPREAD = 28.0  # standard deviation, levels of 255, of AC coefficients that a coarse table rounds to 0
QUALITIES = range(5, 96)
FIT = 0.13  # mean distance from whole codes below which a quality explains a picture; 0.25 is chance
SEEN = 384  # pixels, side of the corner that is looked at
# By quality, the misfit of chroma below which it was not halved, which is rarer: of 40 photos kept from training 5 % of
# halved ones fall below. Coarse tables leave so little of it that both look alike.
FULL = (10, 20, 30, 70), (0.02, 0.055, 0.1, 0.19)
CLEARLY = 0.93  # share of the first place's coefficients that another place must undercut
LEAST = 50  # codes that are not 0, for an estimate


class Jpeg:
    """Compression with two quantisation tables (8, 8), chroma at full size or halved in both directions.

    Images (N, 3, H, W) in [-1, 1]; borders are repeated. Blocks start at the upper left pixel, as in files, or origin
    (y, x) pixels before it, as in a picture that was cropped after decoding.
    """

    norm = 1.0

    def __init__(
        self,
        luminance: NDArray[np.float64],
        chrominance: NDArray[np.float64],
        halved: bool,
        origin: tuple[int, int] = (0, 0),
    ) -> None:
        if luminance.shape != (8, 8) or chrominance.shape != (8, 8) or min(luminance.min(), chrominance.min()) < 1:
            raise InputError("expected quantisation tables of 8×8 values of at least 1")
        self.tables = tuple(torch.from_numpy(t).float() for t in (luminance, chrominance, chrominance))
        self.halved = halved
        self.unit = 16 if halved else 8
        self.origin = (origin[0] % self.unit, origin[1] % self.unit)

    @classmethod
    def of_quality(cls, quality: int, halved: bool = True, origin: tuple[int, int] = (0, 0)) -> Jpeg:
        """The IJG encoder's tables of `quality`, 1 to 100."""
        if not 1 <= quality <= 100:
            raise InputError(f"expected a JPEG quality from 1 to 100, got {quality}")
        return cls(scaled(LUMINANCE, quality), scaled(CHROMINANCE, quality), halved, origin)

    @classmethod
    def of_file(cls, tables: Sequence[Sequence[int]], subsampling: int) -> Jpeg:
        """From a file's tables (64 values each, row by row) and Pillow's subsampling code (0: none)."""
        luminance, chrominance = (np.array(tables[min(i, len(tables) - 1)], float).reshape(8, 8) for i in (0, 1))
        return cls(luminance, chrominance, subsampling != 0)

    @property
    def deviation(self) -> float:
        """Expected error per pixel, [-1, 1]: rounding noise q²/12, but never above a coefficient's own spread."""
        spread = SPREAD**2 / (1 + torch.arange(8.0)[:, None] + torch.arange(8.0))
        return float((self.tables[0] ** 2 / 12).minimum(spread).mean().sqrt()) / 127.5

    def forward(self, x: Tensor) -> Tensor:
        """The decoded picture; ∂/∂x passes through the rounding as if it were not there."""
        return self._decode([c + (c.round() - c).detach() for c in self._codes(x)], x)

    def start(self, y: Tensor) -> Tensor:
        return y

    def cut(self, box: Box) -> Jpeg:
        return self

    def measured(self, box: Box) -> Box:
        return box

    def reduced(self, y: Tensor, scale: float) -> tuple[Identity, Tensor]:
        """Blocks are nearly gone at a small size."""
        return Identity(), reduced(y, scale)

    def data_step(self, z: Tensor, y: Tensor, prior_var: float, noise_var: Tensor | float) -> Tensor:
        """z with every coefficient moved into the interval of y's code; intervals are hard, variances not used."""
        moves = []
        for code, there in zip(self._codes(z), self._codes(y), strict=True):
            moves.append(code.clamp(there.round() - 0.5, there.round() + 0.5) - code)
        return z + self._decode(moves, z, linear=True)

    def _codes(self, x: Tensor) -> list[Tensor]:
        """Coefficients over their table entries, three of (N, 1, rows, columns, 8, 8)."""
        (height, width), (top, left) = x.shape[-2:], self.origin
        bottom, right = -(top + height) % self.unit, -(left + width) % self.unit
        x = F.pad(x, (left, right, top, bottom), mode="replicate") * 127.5
        planes = torch.einsum("ij,njhw->nihw", x.new_tensor(TO_YCC), x).split(1, 1)
        if self.halved:
            planes = (planes[0], *(F.avg_pool2d(p, 2) for p in planes[1:]))
        basis = _dct().to(x)
        codes = []
        for plane, table in zip(planes, self.tables, strict=True):
            blocks = plane.unflatten(-1, (-1, 8)).unflatten(-3, (-1, 8)).transpose(-2, -3)
            codes.append(basis @ blocks @ basis.T / table.to(x))
        return codes

    def _decode(self, codes: list[Tensor], like: Tensor, linear: bool = False) -> Tensor:
        """Codes to an image of the size of `like`; `linear`: differences, so chroma is not smoothed."""
        basis, planes = _dct().to(like), []
        for code, table in zip(codes, self.tables, strict=True):
            blocks = basis.T @ (code * table.to(like)) @ basis
            planes.append(blocks.transpose(-2, -3).flatten(-4, -3).flatten(-2, -1))
        if self.halved:
            kind = "nearest" if linear else "bilinear"
            align = None if linear else False
            size = planes[0].shape[-2:]
            planes[1:] = [F.interpolate(p, size=size, mode=kind, align_corners=align) for p in planes[1:]]
        back = torch.linalg.inv(like.new_tensor(TO_YCC))
        (height, width), (top, left) = like.shape[-2:], self.origin
        whole = torch.einsum("ij,njhw->nihw", back, torch.cat(planes, 1)) / 127.5
        return whole[..., top : top + height, left : left + width]


class Compressed:
    """Linear degradations, then JPEG: y = J(A x).

    The data step first asks which of the pictures that J turns into y is nearest to A z, then solves for that one: an
    alternating projection. Where A z has y's codes already, nothing moves.
    """

    def __init__(self, before: Compose, jpeg: Jpeg) -> None:
        self.before, self.jpeg = before, jpeg
        self.norm, self.unit = before.norm, before.unit * jpeg.unit

    def forward(self, x: Tensor) -> Tensor:
        return self.jpeg.forward(self.before.forward(x))

    def start(self, y: Tensor) -> Tensor:
        return self.before.start(y)

    def cut(self, box: Box) -> Compressed:
        return Compressed(self.before.cut(box), self.jpeg)

    def measured(self, box: Box) -> Box:
        return self.before.measured(box)

    def reduced(self, y: Tensor, scale: float) -> tuple[Operator, Tensor]:
        return self.before.reduced(y, scale)

    def data_step(self, z: Tensor, y: Tensor, prior_var: float, noise_var: Tensor | float) -> Tensor:
        near = self.jpeg.data_step(self.before.forward(z), y, prior_var, noise_var)
        return self.before.data_step(z, near, prior_var, noise_var)


def scaled(table: Sequence[Sequence[int]], quality: int) -> NDArray[np.float64]:
    """IJG's rule: percentages 5000/quality below 50, else 200 − 2·quality."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((np.array(table, np.float64) * percent + 50) // 100, 1, 255)


def found_compression(pixels: NDArray[np.uint8]) -> tuple[Jpeg, int] | None:
    """What a picture (H, W, 3) went through, and its IJG quality, if it was a JPEG once and perhaps cropped; else None.

    Luma coefficients lie near whole codes only at the quality, and the origin of the blocks, that made them. Of several
    qualities that fit it is the coarsest: finer tables that divide it fit as well.
    """
    x = torch.from_numpy(pixels[:SEEN, :SEEN].astype(np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
    origin = _origin(x, False, product(range(8), range(8)))
    luma, *chroma = _plain(x, False, origin)
    misfit = {quality: _misfit(luma, scaled(LUMINANCE, quality)) for quality in QUALITIES}
    coarse = next((quality for quality in QUALITIES if misfit[quality] < FIT), None)
    if coarse is None:
        return None
    quality = min(range(coarse, min(coarse + 4, QUALITIES[-1] + 1)), key=misfit.__getitem__)
    misfit_of_full = max(_misfit(plane, scaled(CHROMINANCE, quality)) for plane in chroma)
    halved = not misfit_of_full < np.interp(quality, *FULL)
    if halved:
        origin = _origin(x, True, product((origin[0], origin[0] + 8), (origin[1], origin[1] + 8)))
    return Jpeg.of_quality(quality, halved, origin), quality


def _origin(x: Tensor, halved: bool, places: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Of some places of the blocks, pixels before the first one, where most of luma's, or halved chroma's, coefficients
    are next to nothing."""

    def busy(place: tuple[int, int]) -> float:
        codes = _plain(x, halved, place)
        return sum(float(c.abs().clamp(max=2).mean()) for c in (codes[1:] if halved else codes[:1]))

    first, *others = [(busy(place), place) for place in places]
    best = min(others)
    return best[1] if best[0] < CLEARLY * first[0] else first[1]


def _plain(x: Tensor, halved: bool, origin: tuple[int, int]) -> list[Tensor]:
    """Coefficients as they are."""
    return Jpeg(np.ones((8, 8)), np.ones((8, 8)), halved, origin)._codes(x)


def _misfit(plain: Tensor, values: NDArray[np.float64]) -> float:
    """Mean distance of coefficients from whole multiples of a table; inf where too few can tell."""
    table = torch.from_numpy(values).float()
    code = plain / table
    counted = (code.abs() > 0.5) & (table >= 6)  # rounding of pixels alone moves a coefficient by about one
    if int(counted.sum()) < LEAST:
        return float("inf")
    return float((code - code.round()).abs()[counted].mean())


def _dct() -> Tensor:
    """Orthonormal DCT-II matrix (8, 8)."""
    n = torch.arange(8.0)
    matrix = torch.cos(torch.pi / 8 * (n[None] + 0.5) * n[:, None]) / 2
    matrix[0] /= 2**0.5
    return matrix
