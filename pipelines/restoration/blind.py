"""Which blur a photo has, from its power spectrum: none, a Gaussian, a disk or a straight motion; and how sure that is.

Photos have power f^−a at frequency f, a about 2 (Field, JOSA A 1987); a blur multiplies it by |H(f)|², and noise adds
the same everywhere. So every candidate predicts a spectrum up to one factor, and the one that misses the logarithm of
the measured one least is the answer. Spectra are means over tiles under a window (Welch, 1967), whose smearing of a
blur's zeros is put into the prediction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.pipelines.restoration.kernels import disk_kernel, gaussian_kernel, motion_kernel

TILE, GRID = 64, 128  # pixels of a tile; of the finer grid that predictions are made on
STEP, MOST_TILES = 32, 2000  # pixels between tiles, at least; of a large photo so many tiles are looked at
BAND = (0.04, 0.5)  # cycles a pixel that count
FALLOFFS = (1.8, 2.2, 2.6)
SOFT = 0.5  # pixels: photos are as soft as such a Gaussian without any blur of their own
FLOORS = (0.7, 0.8, 0.9, 1.0, 1.1)  # times the noise: estimates of it, and its rounding, are not exact
ROUNDS = 8  # of fitting the factor
# A disk or motion must miss by less than this share of what the nearest Gaussian misses by: taken for each other, a
# disk restored as a Gaussian stays soft, but a Gaussian restored as a disk gets rings.
PREFERENCE, UNLESS = 0.86, 0.95  # the latter where no blur at all misses by the least but for them
WIDTHS = (0.5, 0.7, 0.9, 1.1, 1.4, 1.7, 2.0, 2.5, 3.0, 3.5, 4.0)
RADII = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0)
LENGTHS, TURNS = (3.0, 4.0, 5.0, 6.0, 7.0, 9.0, 11.0, 13.0, 15.0, 18.0, 21.0, 25.0), range(0, 180, 15)


@dataclass(frozen=True)
class FoundBlur:
    """kind: "none", "gaussian" (width), "disk" (radius) or "motion" (length, degrees); pixels.

    confidence in [0, 1]: how much less its prediction misses than that of no blur.
    """

    kind: str
    numbers: tuple[float, ...] = ()
    confidence: float = 0.0

    @property
    def kernel(self) -> Tensor:
        """(h, w)."""
        made: dict[str, Callable[..., Tensor]] = {
            "gaussian": gaussian_kernel, "disk": disk_kernel, "motion": motion_kernel,
        }  # fmt: skip
        return torch.ones(1, 1) if self.kind == "none" else made[self.kind](*self.numbers)


def find_blur(y: Tensor, noise_var: float) -> FoundBlur | None:
    """Of a photo (1, C, H, W) whose channels' mean has noise of this variance; None if it is smaller than two tiles."""
    if min(y.shape[-2:]) < 2 * TILE:
        return None
    measured = _spectrum(y.mean(1, keepdim=True).cpu())
    coarse = _coarse()
    miss = _misses(measured, coarse, noise_var)
    plain = int(miss[: len(WIDTHS) + 1].argmin())
    share = UNLESS if plain == 0 else PREFERENCE
    best = int(miss.argmin())
    near = _near(coarse[best if miss[best] < share * miss[plain] else plain])
    closer = _misses(measured, near, noise_var)
    found, least = near[int(closer.argmin())], float(closer.min())
    return FoundBlur(found.kind, found.numbers, max(0.0, 1 - least / float(miss[0])))


@cache
def _coarse() -> tuple[FoundBlur, ...]:
    """The first one is "none", then come the Gaussians."""
    motions = (FoundBlur("motion", (length, float(turn))) for length, turn in product(LENGTHS, TURNS))
    gaussians, disks = (FoundBlur("gaussian", (w,)) for w in WIDTHS), (FoundBlur("disk", (r,)) for r in RADII)
    return (FoundBlur("none"), *gaussians, *disks, *motions)


def _near(found: FoundBlur) -> tuple[FoundBlur, ...]:
    """It and its neighbours, on a finer grid."""
    if found.kind == "none":
        return (found,)
    size = found.numbers[0]
    if found.kind == "motion":
        lengths = (size + more for more in (-2, -1, 0, 1, 2) if size + more >= 2)
        turns = [(found.numbers[1] + more) % 180 for more in (-10, -5, 0, 5, 10)]
        return tuple(FoundBlur("motion", numbers) for numbers in product(lengths, turns))
    return tuple(FoundBlur(found.kind, (round(size * k, 2),)) for k in (0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15))


def _spectrum(grey: Tensor) -> Tensor:
    """Power (TILE, TILE/2 + 1) of white noise's variance, mean over the livelier half of the tiles."""
    step = max(STEP, int((grey.shape[-2] * grey.shape[-1] / MOST_TILES) ** 0.5))
    tiles = F.unfold(grey, TILE, stride=step)[0].mT.reshape(-1, TILE, TILE)
    row = torch.hann_window(TILE)
    window = row[:, None] * row
    flat = tiles - tiles.mean((1, 2), keepdim=True)
    power = torch.fft.rfft2(flat * window).abs().square() / window.square().sum()
    energy = power.sum((1, 2))
    return power[energy >= energy.median()].mean(0)


def _misses(measured: Tensor, candidates: tuple[FoundBlur, ...], noise_var: float) -> Tensor:
    """(candidates,): mean |log measured − log predicted| over the band, at the best factor and falloff."""
    band = _band()
    power = measured[band].log()
    found = []
    for falloff in FALLOFFS:
        shape = torch.stack([_predicted(c.kind, c.numbers, falloff) for c in candidates])[:, band]
        start = (power - shape.log()).median(1, keepdim=True).values.exp()
        found += [_miss(power, shape, start, noise_var * floor) for floor in FLOORS]
    return torch.stack(found).min(0).values


def _miss(power: Tensor, shape: Tensor, factor: Tensor, noise: float) -> Tensor:
    """(candidates,) of predicted shapes (candidates, f) at their best factor, looked for from `factor` on."""
    for _ in range(ROUNDS):  # what stands above the noise decides
        predicted = factor * shape + noise
        weight = factor * shape / predicted
        apart = ((power - predicted.log()) * weight).sum(1, keepdim=True)
        factor = factor * (apart / weight.sum(1, keepdim=True).clamp(min=1e-6)).exp()
    return (power - (factor * shape + noise).log()).abs().mean(1)


@cache
def _band() -> Tensor:
    f = (torch.fft.fftfreq(TILE)[:, None] ** 2 + torch.fft.rfftfreq(TILE) ** 2).sqrt()
    return (f > BAND[0]) & (f <= BAND[1])


@cache
def _predicted(kind: str, numbers: tuple[float, ...], falloff: float) -> Tensor:
    """(TILE, TILE/2 + 1): f^−falloff |H(f)|² of a soft photo, smeared as the tiles' window does it."""
    kernel = FoundBlur(kind, numbers).kernel
    whole = torch.zeros(GRID, GRID)
    whole[: kernel.shape[0], : kernel.shape[1]] = kernel / kernel.sum()
    f = (torch.fft.fftfreq(GRID)[:, None] ** 2 + torch.fft.rfftfreq(GRID) ** 2).sqrt().clamp(min=0.5 / GRID)
    power = torch.fft.rfft2(whole).abs().square() * f**-falloff * torch.exp(-((2 * torch.pi * SOFT * f) ** 2))
    row = torch.fft.irfft(
        torch.fft.rfft(torch.hann_window(TILE), GRID).abs().square(), GRID
    )  # the window's correlation
    row = row / row[0]
    smeared = torch.fft.rfft2(torch.fft.irfft2(power, s=(GRID, GRID)) * row[:, None] * row).real
    return smeared.clamp(min=1e-12)[:: GRID // TILE, :: GRID // TILE]
