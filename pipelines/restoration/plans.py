"""From a task and its options to what a sampler needs: operator, measurement, where to start, which levels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.errors import InputError
from restore.pipelines.diffusion.denoiser import Denoiser
from restore.pipelines.diffusion.loop import noise_like
from restore.pipelines.diffusion.schedules import ddpm, geometric, warm
from restore.pipelines.networks import restorer
from restore.pipelines.networks.restorer import RestorerNet
from restore.pipelines.restoration.blind import find_blur
from restore.pipelines.restoration.degradations import Blur, Compose, Downsample, Grey, Identity, Linear, Mask
from restore.pipelines.restoration.direct import restored
from restore.pipelines.restoration.exposures import merged
from restore.pipelines.restoration.guidance import (
    QUANTISATION,
    Correction,
    GradientGuidance,
    Measurement,
    Overview,
    Persuasion,
    sample,
)
from restore.pipelines.restoration.half_quadratic import HalfQuadratic
from restore.pipelines.restoration.jpeg import Compressed, Jpeg
from restore.pipelines.restoration.kernels import disk_kernel, gaussian_kernel, motion_kernel
from restore.pipelines.restoration.lighting import Lighting
from restore.pipelines.restoration.noise import blotch_level, is_white, noise_level
from restore.pipelines.restoration.sampling import LEAST_NOISE, Sampling
from restore.pipelines.restoration.terms import QualityTerms
from restore.pipelines.restoration.tiles import SIDE, Box, Windowed

LEVELS = {2: 0.1, 3: 0.12, 4: 0.15, 8: 0.3}  # where super-resolution starts, by factor
PARTS = {"blur": 1, "disk": 1, "motion": 2, "downsample": 1, "noise": 1, "jpeg": 1}  # numbers of a composition's parts
LEAST_SIDE = 8  # pixels of a reduced photo
SILENT = 1 / 127.5  # finest noise below one level: something smoothed it away,
NOISELESS = 0.3 / 127.5  # or, this low at half size too, there is none
SLIGHT = 0.5  # pixels: of a Gaussian, a blur that is not worth undoing
SURE = 0.2  # least confidence in a blur that was found
NUMBERS = {"gaussian": ("blur",), "disk": ("disk",), "motion": ("motion", "angle")}  # what is estimated, by kind
SATURATED = 1 - 1 / 127.5  # [-1, 1]: brighter is clipped,
UNKNOWN = 1.0  # and has this variance
CLOSE = 0.01  # deviation, [-1, 1], that the restorer's answer is granted when it is brought back to the measurement
FAR = 0.5  # level from which sampling makes up more than windows agree on


@dataclass(frozen=True)
class Sketch:
    """A restoration of the whole photo at a small size, from `level` in `steps`: its long side, pixels."""

    side: int
    level: float
    steps: int


COLOURS = Sketch(16, 2.0, 20)  # the prior knows colours of things only where they are a few pixels


@dataclass(frozen=True)
class Plan:
    """One restoration. start (N, 3, H, W): where sampling begins, at level `level`, going down to `least`.

    steps: denoising steps unless told. guided False: y itself lies at `level`, plain reverse diffusion from
    it is already the posterior. overview: what is lost reaches farther than a window. sketch: what is lost reaches
    over the whole photo, and only shows at a small size. estimated: what was measured from the picture. cause: the
    damage as the restorer is told, where it knows such damage. nothing: why there is nothing to restore.
    """

    measurement: Measurement
    start: Tensor
    level: float
    least: float
    steps: int
    deviation: float = 0.1
    guided: bool = True
    quality: QualityTerms | None = None
    overview: bool = False
    sketch: Sketch | None = None
    estimated: dict[str, float] = field(default_factory=dict)
    cause: restorer.Cause | None = None
    nothing: str = ""

    def cut(self, box: Box) -> Plan:
        """The same restoration of a window of the photo."""
        quality = self.quality
        if quality is not None and quality.reference is not None:
            quality = replace(quality, reference=quality.reference[box])
        return replace(self, measurement=self.measurement.cut(box), start=self.start[box], quality=quality)

    def reduced(self, scale: float) -> Plan:
        """The same of the photo at `scale` < 1 of its size."""
        measurement = self.measurement.reduced(scale)
        start = measurement.operator.start(measurement.y)
        return replace(self, measurement=measurement, start=start, quality=None, sketch=None)


def run(
    denoiser: Denoiser,
    plan: Plan,
    sampling: Sampling,
    generator: torch.Generator,
    on_step: Callable[[int], None] | None = None,
    window: int = SIDE,
) -> Tensor:
    """Restore one image in windows of `window` pixels; (1, 3, H, W) in about [-1, 1]."""
    steps = sampling.steps or plan.steps
    level = sampling.start or plan.level
    gdp = sampling.method.startswith("gdp")
    temperature = float(gdp) if sampling.temperature is None else sampling.temperature
    if sampling.respaced:
        sigmas = warm(ddpm(steps), level)
    else:
        sigmas = geometric(steps, level, min(plan.least, level)) if steps > 1 else [level, 0.0]
    correct = _correction(plan, sampling, window)
    x, scale = plan.start, _scale(plan, window)
    if correct is not None and plan.sketch is not None:
        small = _sketched(denoiser, plan, plan.sketch, generator)
        apart = small - F.adaptive_avg_pool2d(x, (small.shape[-2], small.shape[-1]))
        x = x + F.interpolate(apart, size=x.shape[-2:], mode="bicubic", align_corners=False)
        correct = Overview(correct, small, plan.deviation)
    elif correct is not None and plan.guided and scale < 1 and (plan.overview or level > FAR):
        small = run(denoiser, plan.reduced(scale), sampling, generator, window=window)
        correct = Overview(correct, small, plan.deviation)
    noise = temperature * level if plan.guided else math.sqrt(max(0.0, level**2 - plan.level**2))
    if noise:
        x = x + noise * noise_like(x, generator)
    denoiser = Windowed(denoiser, window)
    return sample(denoiser, correct, x, sigmas, generator, temperature=temperature, on_step=on_step)


def look(
    net: RestorerNet,
    plan: Plan,
    looks: int,
    on_look: Callable[[int], None] | None = None,
    window: int = SIDE,
) -> Tensor:
    """Restore one image by what the restorer sees in it, brought back to what was measured; (1, 3, H, W)."""
    assert plan.cause is not None
    x = restored(net, plan.start, plan.cause, looks, on_look, window)
    return HalfQuadratic(plan.measurement, window=window)(x, x, CLOSE) if plan.guided else x


def _scale(plan: Plan, side: int) -> float:
    """What makes a photo's long side `side`, but its short one no less than the network needs."""
    height, width = plan.start.shape[-2:]
    return min(1.0, max(side / max(height, width), LEAST_SIDE / min(height, width)))


def _sketched(denoiser: Denoiser, plan: Plan, sketch: Sketch, generator: torch.Generator) -> Tensor:
    small = replace(plan.reduced(_scale(plan, sketch.side)), level=sketch.level, steps=sketch.steps, overview=False)
    return run(denoiser, small, Sampling(), generator)


def _correction(plan: Plan, sampling: Sampling, window: int) -> Correction | None:
    if not plan.guided:
        return None if plan.quality is None else Persuasion(plan.quality, plan.deviation)
    m, strength = plan.measurement, sampling.strength
    if not sampling.method.startswith("gdp"):
        return HalfQuadratic(m, strength, plan.deviation, plan.quality, window)
    at_noisy = sampling.method == "gdp-xt"
    return GradientGuidance(m, strength, sampling.guidance_steps, at_noisy, plan.deviation, plan.quality, window)


def super_resolution(y: Tensor, scale: int, kind: str = "bicubic") -> Plan:
    """y (1, 3, h, w) in [-1, 1] → (1, 3, h·scale, w·scale)."""
    if scale not in LEVELS:
        raise InputError(f"expected a scale of 2, 3, 4 or 8, got {scale}")
    operator = Downsample(scale, kind)
    cause = restorer.reduction(scale) if scale in restorer.SCALES and kind == "bicubic" else None
    return Plan(Measurement(operator, y), operator.start(y), LEVELS[scale], 0.02, 8, cause=cause)


def deblur(y: Tensor, kernel: Tensor | float | None, noise: float | None = None) -> Plan:
    """kernel: (h, w), the width of a Gaussian in pixels, or None: found from the photo.

    noise: standard deviation in [-1, 1]; None is estimated. Raises InputError where the blur cannot be told.
    """
    sigma = noise_level(y) if noise is None else noise
    variance = max(QUANTISATION, sigma**2)
    estimated, nothing = {"noise": sigma * 127.5}, ""
    if kernel is None:
        found = find_blur(y, variance / 3)  # of the mean of three channels
        slight = found is not None and (found.kind == "none" or found.numbers[0] <= SLIGHT)
        if found is None or (not slight and found.confidence < SURE):
            raise InputError(
                "expected a photo that tells its blur (128×128 pixels, one blur all over), got one that does not; "
                "give its width, disk, motion or kernel"
            )
        if slight:
            nothing, kernel = "no blur is found in it", 0.3
        else:
            estimated |= dict(zip(NUMBERS[found.kind], found.numbers, strict=True)) | {"confidence": found.confidence}
            kernel = found.numbers[0] if found.kind == "gaussian" else found.kernel.to(y)
    operator = Blur(kernel if isinstance(kernel, Tensor) else gaussian_kernel(kernel))
    low, high = restorer.WIDTHS
    known = not isinstance(kernel, Tensor) and low <= kernel <= high and sigma <= restorer.BLURRED_NOISE
    cause = restorer.blur(float(kernel), max(LEAST_NOISE, sigma)) if known else None
    measurement = Measurement(operator, y, _unless_saturated(y, operator.kernel, variance))
    return Plan(measurement, y, 0.3, max(0.02, sigma), 10, 0.3, estimated=estimated, cause=cause, nothing=nothing)


def _unless_saturated(y: Tensor, kernel: Tensor, variance: float) -> Tensor | float:
    """The variance, and one that tells nothing where clipped light was spread: what is measured there is no blur of
    anything, and undoing it would ring (Cho et al., ICCV 2011)."""
    clipped = (y.amax(1, keepdim=True) > SATURATED).float()
    if not clipped.any():
        return variance
    reach = tuple(side // 2 for side in kernel.shape)
    spread = F.max_pool2d(clipped, tuple(kernel.shape), 1, reach)
    return variance + UNKNOWN * spread.expand_as(y)


def denoise(y: Tensor, noise: float | None = None, peak: float | None = None) -> Plan:
    """Gaussian noise of `noise` ([-1, 1] units; None: estimated), or Poisson noise of `peak` counts at white."""
    if peak is not None:
        variance = 4 * ((y + 1) / 2).clamp(min=1 / 255) / peak
        level = math.sqrt(float(variance.mean()))
        return Plan(Measurement(Identity(), y, variance), y, level, LEAST_NOISE, 6, estimated={"peak": peak})
    cause, nothing = None if noise is None else restorer.noise(max(LEAST_NOISE, noise)), ""
    if noise is None:
        noise, blotches = noise_level(y), blotch_level(y)
        if max(noise, blotches) < NOISELESS:
            nothing = "no noise is found in it"
        cause = restorer.noise(noise) if is_white(y, noise, blotches) else restorer.camera()
        if noise < SILENT:
            noise = blotches
    sigma = max(LEAST_NOISE, noise)
    plan, found = Measurement(Identity(), y, sigma**2), {"noise": sigma * 127.5}
    return Plan(plan, y, sigma, LEAST_NOISE, 1, guided=False, estimated=found, cause=cause, nothing=nothing)


def colorize(y: Tensor) -> Plan:
    """y (1, 1, H, W): luma."""
    operator = Grey()
    return Plan(Measurement(operator, y), operator.start(y), 0.3, 0.03, 6, 0.3, sketch=COLOURS)


def inpaint(y: Tensor, mask: Tensor) -> Plan:
    """mask (1, 1, H, W), 1 = unknown."""
    operator = Mask(1 - mask)
    known = operator.forward(y)
    return Plan(Measurement(operator, known), operator.start(known), 0.2, 0.02, 8, overview=True)


def compose(y: Tensor, text: str) -> Plan:
    """What happened one after the other, e.g. "blur:2,downsample:2,noise:5,jpeg:30".

    blur:WIDTH, disk:RADIUS and motion:LENGTH:ANGLE in pixels and degrees, downsample:FACTOR (2, 3, 4, 8; bicubic),
    noise:DEVIATION in levels of 255, jpeg:QUALITY last.
    """
    linear: list[Linear] = []
    variance, level, deviation, jpeg = QUANTISATION, LEAST_NOISE, 0.1, None
    for word in text.split(","):
        name, *numbers = word.strip().split(":")
        try:
            values = [float(n) for n in numbers]
        except ValueError:
            values = []
        if len(values) != PARTS.get(name) or jpeg is not None:
            raise InputError(
                "expected parts like blur:2, disk:3, motion:9:30, downsample:2, noise:5 and, last, jpeg:30, "
                f"got '{word.strip()}'"
            )
        if name == "jpeg":
            jpeg = Jpeg.of_quality(int(values[0]))
            level = max(level, 1.4 * jpeg.deviation)
        elif name == "noise":
            variance += (values[0] / 127.5) ** 2
        elif name == "downsample":
            linear.append(Downsample(int(values[0])))
            level = max(level, LEVELS.get(int(values[0]), 0.3))
        else:
            kernels: dict[str, Callable[..., Tensor]] = {
                "blur": gaussian_kernel, "disk": disk_kernel, "motion": motion_kernel,
            }  # fmt: skip
            linear.append(Blur(kernels[name](*values)))
            level = deviation = 0.3
    level = max(level, math.sqrt(variance))
    before = Compose(linear or [Identity()])
    operator = before if jpeg is None else Compressed(before, jpeg)
    return Plan(Measurement(operator, y, variance), operator.start(y), level, 0.02, 10, deviation)


def low_light(y: Tensor, target: float, noise: float | None = None) -> Plan:
    """Give dark regions light, up to a mean of about `target`, in [0, 1]; the noise that this amplifies is taken out,
    as a camera's, which it looks like then."""
    operator = Lighting(y, target)
    sigma = noise_level(y) if noise is None else noise
    level = min(0.5, max(0.02, sigma / float(operator.gain.mean())))
    measurement = Measurement(operator, y, max(QUANTISATION, sigma**2))
    start, found = operator.start(y).clamp(-1, 1), {"noise": sigma * 127.5}
    return Plan(measurement, start, level, 0.02, 4, estimated=found, cause=restorer.camera())


def hdr(shots: list[Tensor], target: float) -> Plan:
    """2 to 5 aligned exposures (1, 3, H, W) merged into one picture, which then gets light where that is not enough."""
    if not 2 <= len(shots) <= 5:
        raise InputError(f"expected 2 to 5 exposures, got {len(shots)}")
    if len({tuple(s.shape) for s in shots}) > 1:
        sizes = ", ".join(f"{s.shape[-1]}×{s.shape[-2]}" for s in shots)
        raise InputError(f"expected exposures of one size, got {sizes}; align and crop them first")
    picture, ghosts = merged(shots)
    plan = low_light(picture, target)
    return replace(plan, estimated=plan.estimated | {"ghosts": float(ghosts.mean())})


def dejpeg(y: Tensor, operator: Jpeg) -> Plan:
    """One or two denoising steps at the level of the rounding noise, each brought back to the file's codes."""
    level = max(0.02, 1.4 * operator.deviation)
    cause = restorer.jpeg(operator.tables[0], operator.tables[1], operator.halved, operator.deviation, operator.origin)
    return Plan(Measurement(operator, y), y, level, level * 0.7, 2, cause=cause)
