"""Text-to-image pipelines as fillers: the known part of the photo is re-imposed after every step.

RePaint (Lugmayr et al., CVPR 2022) in latents: after each denoising step the latents outside the hole become those of
the photo at that level of noise (its eq. 8), and now and then the whole goes back some steps and comes down again, so
that what was drawn agrees with what is there (its section 4.2). It is done where every pipeline passes: in `step` of a
scheduler that takes its scheduler's place for the call.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from restore.errors import ModelUnavailableError
from restore.pipelines.hub.library import diffusers
from restore.pipelines.push_pull import push_pull

ROUNDS = 2  # times that each stretch is gone through
STRETCH = 10  # part of all steps that a stretch is: one tenth
APART = 0x5EED  # the noise of the known part is another than that of the hole
TOLERANCE = 0.02  # of known latents, in standard deviations: what half precision rounds
PACKED = ["latents", "batch_size", "num_channels_latents", "height", "width"]  # parameters of FLUX-like `_pack_latents`
ONE_STEP = {  # schedulers that need to know of no step but the one they make
    *("DDIMScheduler", "DDPMScheduler", "LCMScheduler", "TCDScheduler", "EulerDiscreteScheduler"),
    *("EulerAncestralDiscreteScheduler", "EDMEulerScheduler", "FlowMatchEulerDiscreteScheduler"),
    *("CogVideoXDDIMScheduler", "FlowMatchLCMScheduler"),
}


def journey(steps: int, strength: float) -> list[int]:
    """Which step is made when: each stretch ROUNDS times, those of more noise than `strength` not at all; -1 first
    where some are left out: the pipeline's own noise gives way to the noised photo."""
    first = steps - max(1, min(steps, int(steps * strength)))
    length = max(1, steps // STRETCH)
    out = [-1] if first else []
    for start in range(first, steps, length):
        out += list(range(start, min(start + length, steps))) * ROUNDS
    return out


def one_step(scheduler: Any) -> Any:
    """The scheduler, or one for the same model that needs no memory of earlier steps. Raises ModelUnavailableError."""
    config, name = scheduler.config, type(scheduler).__name__
    if name in ONE_STEP:
        return copy.deepcopy(scheduler)
    if name.startswith("FlowMatch") or config.get("prediction_type") == "flow_prediction":
        shift = config.get("flow_shift") or config.get("shift") or 1.0
        return diffusers().FlowMatchEulerDiscreteScheduler(shift=shift)
    if "beta_schedule" in config:
        return diffusers().DDIMScheduler.from_config(config)
    raise ModelUnavailableError(f"expected a scheduler whose noise can be blended, got {name}")


@dataclass
class Known:
    """What is known, as the scheduler sees it: latents of the photo, hole (1 = unknown) and noise, one a candidate."""

    latents: torch.Tensor
    hole: torch.Tensor
    noise: torch.Tensor
    strength: float
    generators: Sequence[torch.Generator]
    plan: list[int] = field(default_factory=list)
    made: int = 0  # steps


class Blending:
    """Goes before a scheduler's class; `known` is set on the instance."""

    known: Known
    every: torch.Tensor  # the class's own timesteps
    noises: torch.Tensor | None  # and its sigmas

    def begun(self: Any) -> None:
        """After timesteps were set."""
        self.every, self.noises = self.timesteps, getattr(self, "sigmas", None)
        self.known.plan = journey(len(self.every), self.known.strength)
        self.known.made = 0
        order = [max(0, k) for k in self.known.plan]
        self.timesteps = self.every[order]
        if self.noises is not None:
            self.sigmas = self.noises[[*order, len(self.every)]]

    def level(self: Any, index: int) -> tuple[float, float]:
        """Shares of picture and noise before step `index`."""
        if index >= len(self.every):
            return 1.0, 0.0
        if self.noises is not None:
            sigma = float(self.noises[index])
            return (1 - sigma, sigma) if type(self).__name__.startswith("FlowMatch") else (1.0, sigma)
        kept = float(self.alphas_cumprod[int(self.every[index])])
        return kept**0.5, (1 - kept) ** 0.5

    def stepped(self: Any, step: Any, output: torch.Tensor, timestep: Any, sample: torch.Tensor, **options: Any) -> Any:
        known, index = self.known, self.known.plan[self.known.made]
        known.made += 1
        if sample.shape[1:] != known.latents.shape[1:]:
            raise ModelUnavailableError(
                f"expected latents of shape {tuple(known.latents.shape[1:])} to blend, got {tuple(sample.shape[1:])}; "
                "use an inpainting or editing model: restore models list"
            )
        after = known.plan[known.made] if known.made < len(known.plan) else len(self.every)
        if index < 0:
            return self._at(after).to(sample)
        timesteps, sigmas = self.timesteps, getattr(self, "sigmas", None)
        self.timesteps = self.every
        if self.noises is not None:
            self.sigmas = self.noises
        if hasattr(self, "_step_index"):
            self._step_index = index
        out = step(output, timestep, sample, **options | {"return_dict": False})[0]
        self.timesteps = timesteps
        if sigmas is not None:
            self.sigmas = sigmas
        out = known.hole * out.float() + (1 - known.hole) * self._at(index + 1)
        if after <= index:  # back: noise is added to all (RePaint, eq. 1)
            (kept, less), (wanted, more) = self.level(index + 1), self.level(after)
            share = wanted / max(kept, 1e-6)
            out = share * out + max(0.0, more**2 - (share * less) ** 2) ** 0.5 * self._drawn(out)
        return out.to(sample.dtype)

    def _at(self: Any, index: int) -> torch.Tensor:
        kept, noise = self.level(index)
        return kept * self.known.latents + noise * self.known.noise

    def _drawn(self: Any, like: torch.Tensor) -> torch.Tensor:
        return torch.cat([_noise(like[:1], generator) for generator in self.known.generators])


def _noise(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(like.shape, generator=generator, dtype=torch.float32).to(like.device)


def _blending(scheduler: Any, known: Known) -> Any:
    """The scheduler with the same signatures, for pipelines read these, and the known part re-imposed."""
    kind = type(scheduler)

    @functools.wraps(kind.set_timesteps)
    def set_timesteps(self: Any, *args: Any, **options: Any) -> None:
        kind.set_timesteps(self, *args, **options)
        self.begun()

    @functools.wraps(kind.step)
    def step(self: Any, model_output: Any, timestep: Any, sample: Any, *args: Any, **options: Any) -> Any:
        named = dict(zip(list(inspect.signature(kind.step).parameters)[4:], args, strict=False)) | options
        tuples = named.pop("return_dict", True) is False
        out = self.stepped(functools.partial(kind.step, self), model_output, timestep, sample, **named)
        return (out,) if tuples else _Output(prev_sample=out)

    scheduler.__class__ = type(kind.__name__, (Blending, kind), {"set_timesteps": set_timesteps, "step": step})
    scheduler.known = known
    return scheduler


@dataclass
class _Output:
    prev_sample: torch.Tensor

    def __getitem__(self, index: int) -> torch.Tensor:
        return (self.prev_sample,)[index]


@contextlib.contextmanager
def blended(
    pipe: Any,
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    strength: float,
    name: str,
    generators: Sequence[torch.Generator],
) -> Iterator[None]:
    """Calls of `pipe` within paint the hole (h, w) of `image` (h, w, 3), one candidate a generator.

    strength: 1 = from noise, less = from what is in the hole. Raises ModelUnavailableError where the pipeline's latents
    are not what its autoencoder makes of the photo: the known part is looked at when it is decoded.
    """
    own = [torch.Generator().manual_seed(generator.initial_seed() ^ APART) for generator in generators]
    plain = encoded(pipe.vae, image, mask, pipe._execution_device, filled=strength < 1)
    hole = torch.nn.functional.adaptive_max_pool2d(torch.from_numpy(mask)[None, None].float(), plain.shape[-2:])
    hole = hole.to(plain.device).expand(plain.shape[:2] + hole.shape[-2:])
    scaled = _scaled(pipe.vae, plain)
    latents, unknown = _packed(pipe, scaled), _packed(pipe, hole)
    noise = torch.cat([_noise(latents, generator) for generator in own])
    known = Known(latents, unknown, noise, strength, own)
    scheduler, decode, seen = pipe.scheduler, pipe.vae.decode, list[torch.Tensor]()
    instead = _blending(one_step(scheduler), known)

    def looked(latents: torch.Tensor, *args: Any, **options: Any) -> Any:
        seen.append(latents)
        return decode(latents, *args, **options)

    try:
        pipe.scheduler, pipe.vae.decode = instead, looked
        yield
    finally:
        pipe.scheduler = scheduler
        del pipe.vae.decode
    if not seen or not _kept(seen[0], plain, hole):
        raise ModelUnavailableError(
            f"expected {type(pipe).__name__} of {name} to keep the known latents of the photo, got others: its latents "
            "are not its autoencoder's; use an inpainting or editing model: restore models list"
        )


def _kept(decoded: torch.Tensor, plain: torch.Tensor, hole: torch.Tensor) -> bool:
    """Whether what was decoded is the photo's latents outside the hole."""
    if decoded.numel() % plain.numel():
        return False
    decoded = decoded.reshape(-1, *plain.shape[1:]).float()
    return bool(((decoded - plain) * (1 - hole)).abs().max() <= TOLERANCE * max(1.0, float(plain.std())))


@torch.no_grad()
def encoded(
    vae: Any, image: NDArray[np.uint8], mask: NDArray[np.bool_], device: torch.device, *, filled: bool
) -> torch.Tensor:
    """(1, c, h', w') float32: the photo's latents as its autoencoder makes them. What is in the hole, unless it is
    `filled`, is closed smoothly first, so that nothing of it is seen beside it."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    if not filled:
        hole = torch.from_numpy(mask)[None, None].float()
        pixels = torch.where(hole > 0, push_pull(pixels, hole), pixels)
    given = (2 * pixels - 1).to(device, next(vae.parameters()).dtype)
    out = vae.encode(given[:, :, None] if _video(vae) else given)
    latents = out.latent_dist.mode() if hasattr(out, "latent_dist") else out.latent
    return (latents[:, :, 0] if _video(vae) else latents).float()


def _video(vae: Any) -> bool:
    return "temperal_downsample" in vae.config


def _scaled(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """As a network sees them."""
    mean, std = (vae.config.get(key) for key in ("latents_mean", "latents_std"))
    shift = vae.config.get("shift_factor") or 0.0
    if mean is not None and std is not None:
        mean, std = (torch.tensor(x, device=latents.device).view(1, -1, 1, 1) for x in (mean, std))
        latents = (latents - mean) / std
    return (latents - shift) * (vae.config.get("scaling_factor") or 1.0)


def packs(kind: Any) -> bool:
    """Whether a class packs its latents 2×2 as FLUX does."""
    pack = getattr(kind, "_pack_latents", None)
    return pack is not None and [p for p in inspect.signature(pack).parameters if p != "self"] == PACKED


def _packed(pipe: Any, latents: torch.Tensor) -> torch.Tensor:
    if packs(type(pipe)):
        packed: torch.Tensor = pipe._pack_latents(latents, *latents.shape)
        return packed
    return latents[:, :, None] if _video(pipe.vae) else latents
