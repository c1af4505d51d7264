"""Restoration of a whole photo: one prior undoes every degradation (GDP)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore.enhancement.loop import Critic, Loop, enlarged, to_bytes
from restore.enhancement.photo import rebuilt, tensor_of
from restore.enhancement.record import Degradation, EnhancePass, EnhanceRecord
from restore.errors import InputError, ModelUnavailableError, tell
from restore.images.inputs import AnyImage, photo_of
from restore.images.mask import AnyMask, load_mask
from restore.images.photo import Photo, load_photo
from restore.measure.assessor import Assessor
from restore.pipelines.diffusion.denoiser import Denoiser
from restore.pipelines.hub.prior import load_prior
from restore.pipelines.restoration import plans
from restore.pipelines.restoration.jpeg import Jpeg, estimate_quality
from restore.pipelines.restoration.kernels import disk_kernel, motion_kernel
from restore.pipelines.restoration.lighting import Lighting
from restore.pipelines.restoration.plans import Plan, Sampling
from restore.pipelines.restoration.terms import TERMS, QualityTerms
from restore.settings import device_named

LEAST_SIDE = 8  # pixels
OnStep = Callable[[int, int], Any]
OnPass = Callable[[EnhancePass], Any]


def undo(
    image: AnyImage | Sequence[AnyImage],
    task: str,
    damage: Degradation,
    sampling: Sampling,
    *,
    mask: AnyMask = None,
    terms: dict[str, float] | None = None,
    passes: int = 2,
    seed: int = 0,
    model: str = "builtin",
    device: str = "auto",
    on_pass: OnPass | None = None,
    on_step: OnStep | None = None,
) -> EnhanceRecord:
    """See `restore.enhance`. Raises InputError, ModelUnavailableError, Cancelled."""
    begun = time.perf_counter()
    if task not in plans.TASKS:
        raise InputError(f"expected a task out of {', '.join(plans.TASKS)}, got '{task}'")
    for name, value, least in (("seed", seed, 0), ("passes", passes, 1)):
        if value < least:
            raise InputError(f"expected {name} to be at least {least}, got {value}")
    photos = _photos(image, task)
    where = device_named(device)
    plan = _moved(_with_terms(_plan(task, photos, damage, mask), terms, damage.target), where)
    total = sampling.steps or plan.steps
    denoiser, critic = _prior(model, str(where)), _critic(str(where))
    restored = plans.run(
        denoiser,
        plan,
        sampling,
        torch.Generator().manual_seed(seed),
        lambda i: tell(on_step, i + 1, total),
    )
    size = (restored.shape[-1], restored.shape[-2])
    records = [critic.record(enlarged(photos[0].pixels, size), 0, None, 0, time.perf_counter())]
    error = plan.measurement.error(restored) * 127.5
    records.append(critic.record(to_bytes(restored), 1, error, 0, begun))
    for record in records:
        tell(on_pass, record)
    loop = Loop(denoiser, plan, sampling, critic, seed)
    restored, more = loop.improve(restored, passes - 1, lambda record: tell(on_pass, record))
    records += more
    parameters, light = _found(plan)
    return EnhanceRecord(
        rebuilt(photos[0], restored.cpu(), task, mask),
        photos[0],
        task,
        damage,
        sampling,
        total,
        seed,
        model,
        str(where),
        parameters,
        records[-1].consistency or 0.0,
        records,
        time.perf_counter() - begun,
        light,
        image[0] if task == "hdr" else image,
    )


def _with_terms(plan: Plan, terms: dict[str, float] | None, target: float) -> Plan:
    if not terms:
        return plan
    for name, weight in terms.items():
        if name not in TERMS or not 0 <= weight < float("inf"):
            raise InputError(f"expected a weight of at least 0 of {', '.join(TERMS)}, got {name} = {weight:g}")
    quality = replace(plan.quality or QualityTerms(target=target), reference=plan.start, **terms)
    return replace(plan, quality=quality if any(getattr(quality, name) for name in TERMS) else None)


def _photos(image: Any, task: str) -> list[Photo]:
    images = list(image) if isinstance(image, (list, tuple)) else [image]
    if task != "hdr" and len(images) != 1:
        raise InputError(f"expected one photo for {task}, got {len(images)}; only hdr takes several")
    photos = [photo_of(i) for i in images]
    for photo in photos:
        if min(photo.size) < LEAST_SIDE:
            width, height = photo.size
            raise InputError(f"expected a photo of at least {LEAST_SIDE}×{LEAST_SIDE} pixels, got {width}×{height}")
    return photos


def _plan(task: str, photos: list[Photo], damage: Degradation, mask: AnyMask) -> Plan:
    if (task == "inpaint") != (mask is not None):
        raise InputError(f"expected a mask for inpaint and only there, got task {task} and {mask is not None=}")
    if (task == "compose") != (damage.chain is not None):
        raise InputError(f"expected a degradation for compose and only there, got task {task} and '{damage.chain}'")
    y = tensor_of(photos[0])
    noise = None if damage.noise is None else damage.noise / 127.5
    if task == "super-resolution":
        return plans.super_resolution(y, damage.scale, damage.kernel_kind)
    if task == "deblur":
        return plans.deblur(y, _kernel(damage), noise)
    if task == "denoise":
        return plans.denoise(y, noise, damage.peak)
    if task == "colorize":
        weights = y.new_tensor((0.299, 0.587, 0.114))[None, :, None, None]
        return plans.colorize((y * weights).sum(1, keepdim=True))
    if task == "inpaint":
        return plans.inpaint(y, torch.from_numpy(load_mask(mask, photos[0].size))[None, None].float())
    if task == "low-light":
        return plans.low_light(y, damage.target, noise)
    if task == "compose":
        return plans.compose(y, damage.chain or "")
    if task == "hdr":
        return plans.hdr([tensor_of(p) for p in photos], damage.target)
    return plans.dejpeg(y, _jpeg(photos[0], damage.quality))


def _kernel(damage: Degradation) -> Tensor | float | None:
    if damage.kernel is not None:
        grey = load_photo(damage.kernel).pixels.astype(np.float32).mean(2)
        odd = grey[: grey.shape[0] - 1 + grey.shape[0] % 2, : grey.shape[1] - 1 + grey.shape[1] % 2]
        return torch.from_numpy(np.ascontiguousarray(odd))
    if damage.motion is not None:
        return motion_kernel(*damage.motion)
    return disk_kernel(damage.disk) if damage.disk is not None else damage.blur


def _jpeg(photo: Photo, quality: int | None) -> Jpeg:
    """From the option, the file's own tables, or the picture."""
    if quality is None and photo.meta.quantisation:
        return Jpeg.of_file(photo.meta.quantisation, photo.meta.subsampling)
    quality = estimate_quality(photo.pixels) if quality is None else quality
    if quality is None:
        raise InputError("expected a picture with traces of JPEG blocks, found none; give its quality")
    return Jpeg.of_quality(quality)


def _found(plan: Plan) -> tuple[dict[str, Any], NDArray[np.float32] | None]:
    """(what was estimated, the light map)."""
    operator = plan.measurement.operator
    found: dict[str, Any] = {name: round(value, 3) for name, value in plan.estimated.items()}
    if not isinstance(operator, Lighting):
        return found, None
    found["gains"] = [round(float(g), 4) for g in operator.gains]
    return found, operator.light[0].permute(1, 2, 0).cpu().numpy()


def _moved(plan: Plan, device: torch.device) -> Plan:
    if device.type == "cpu":
        return plan
    m = plan.measurement
    return replace(plan, measurement=replace(m, y=m.y.to(device)), start=plan.start.to(device))


@cache
def _prior(model: str, device: str) -> Denoiser:
    return load_prior(model, torch.device(device))


@cache
def _critic(device: str) -> Critic:
    assessor = Assessor(torch.device(device))
    if assessor.scorer is None:
        raise ModelUnavailableError("expected the shipped weights 'scorer', got none; reinstall the package")
    return Critic(assessor.judge, assessor.scorer)
