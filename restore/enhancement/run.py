"""Restoration of a whole photo: one prior undoes every degradation (GDP)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore.enhancement.damage import Damage
from restore.enhancement.loop import Critic, Loop, enlarged, to_bytes
from restore.enhancement.photo import Given, rebuilt, unstretched
from restore.enhancement.record import EnhancePass, EnhanceRecord
from restore.enhancement.tasks import LIGHTING, NAMES, TASKS
from restore.errors import InputError, ModelUnavailableError, tell
from restore.images.inputs import AnyImage, photo_of
from restore.images.mask import AnyMask
from restore.measure.assessor import Assessor
from restore.pipelines.diffusion.denoiser import Denoiser
from restore.pipelines.hub.prior import load_prior
from restore.pipelines.networks.restorer import RestorerNet, load_restorer
from restore.pipelines.networks.rrdb import FACTOR, RRDBNet
from restore.pipelines.restoration import plans
from restore.pipelines.restoration.lighting import Lighting
from restore.pipelines.restoration.plans import Plan
from restore.pipelines.restoration.realesrgan import NAME as INVENTING
from restore.pipelines.restoration.realesrgan import enlarged as enlarged_by
from restore.pipelines.restoration.realesrgan import load_realesrgan
from restore.pipelines.restoration.sampling import Sampling
from restore.pipelines.restoration.terms import TERMS, QualityTerms

LEAST_SIDE = 8  # pixels
OnStep = Callable[[int, int], Any]
OnPass = Callable[[EnhancePass], Any]


class Restorer:
    """Restores photos on one device; priors and judges are opened when first needed, and kept."""

    def __init__(self, device: torch.device, assessor: Callable[[], Assessor]) -> None:
        self.device, self._assessor = device, assessor
        self._priors: dict[str, Denoiser] = {}

    def prior(self, model: str) -> Denoiser:
        """Raises ModelUnavailableError."""
        if model not in self._priors:
            self._priors[model] = load_prior(model, self.device)
        return self._priors[model]

    @cached_property
    def restorer(self) -> RestorerNet:
        """Raises ModelUnavailableError."""
        return load_restorer().to(self.device)

    @cached_property
    def inventor(self) -> RRDBNet:
        """Raises ModelUnavailableError."""
        return load_realesrgan(self.device)

    @cached_property
    def critic(self) -> Critic:
        """Raises ModelUnavailableError."""
        assessor = self._assessor()
        if assessor.scorer is None:
            raise ModelUnavailableError("expected the shipped weights 'scorer', got none; reinstall the package")
        return Critic(assessor.judge, assessor.scorer)

    def __call__(
        self,
        image: AnyImage | Sequence[AnyImage],
        task: str,
        damage: Damage,
        sampling: Sampling,
        *,
        mask: AnyMask,
        terms: dict[str, float] | None,
        passes: int,
        seed: int,
        model: str,
        on_pass: OnPass | None,
        on_step: OnStep | None,
    ) -> EnhanceRecord:
        """See `Engine.enhance`."""
        begun = time.perf_counter()
        given = _given(image, task, damage, mask)
        for name, value, least in (("seed", seed, 0), ("passes", passes, 1)):
            if value < least:
                raise InputError(f"expected {name} to be at least {least}, got {value}")
        plan = _moved(_with_terms(TASKS[task](plans, given), terms, damage.target), self.device)
        critic = self.critic
        restored, method, total = self._first(plan, task, sampling, model, bool(terms), seed, on_step)
        photo, size = given.photos[0], (restored.shape[-1], restored.shape[-2])
        records = [critic.record(enlarged(photo.pixels, size), 0, None, 0, time.perf_counter())]
        error = plan.measurement.error(restored) * 127.5
        records.append(critic.record(to_bytes(restored), 1, error, 0, begun))
        for record in records:
            tell(on_pass, record)
        if passes > 1 and model != INVENTING and not plan.nothing:
            loop = Loop(self.prior(model), plan, sampling, critic, seed)
            restored, more = loop.improve(restored, passes - 1, lambda record: tell(on_pass, record))
            records += more
        parameters, light = _found(plan)
        return EnhanceRecord(
            photo=photo if plan.nothing else rebuilt(photo, restored.cpu(), task, mask),
            original=photo,
            task=task,
            damage=damage,
            sampling=replace(sampling, method=method),
            steps=total,
            seed=seed,
            model=model,
            device=str(self.device),
            parameters=parameters,
            consistency=records[-1].consistency or 0.0,
            passes=records,
            seconds=time.perf_counter() - begun,
            light_map=light,
            nothing=plan.nothing,
            invented=model == INVENTING,
            like=image[0] if task == "hdr" else image,
        )

    def _first(
        self, plan: Plan, task: str, sampling: Sampling, model: str, terms: bool, seed: int, on_step: OnStep | None
    ) -> tuple[Tensor, str, int]:
        """The first restoration, by which method, in how many steps."""
        looks = sampling.looks if model == "builtin" and plan.cause is not None and not terms else 0
        if sampling.best and not looks:
            raise InputError(f"expected best where one look restores, got {task} that has to be sampled; leave it out")
        if model == INVENTING:
            scale = plan.start.shape[-1] // plan.measurement.y.shape[-1]
            if task != "super-resolution" or not 2 <= scale <= FACTOR or sampling.looks != 1:
                raise InputError(f"expected super-resolution by 2 to {FACTOR} and no setting of sampling for {model}")
            restored = enlarged_by(self.inventor, plan.measurement.y, scale)
            tell(on_step, 1, 1)
            return restored, sampling.method, 1
        if plan.nothing:
            return plan.start, sampling.method, 0
        total = looks or sampling.steps or plan.steps

        def on_one(i: int) -> None:
            tell(on_step, i + 1, total)

        if looks:
            return plans.look(self.restorer, plan, looks, on_one), sampling.method, total
        generator = torch.Generator().manual_seed(seed)
        restored = plans.run(self.prior(model), plan, sampling, generator, on_one)
        return restored, "half-quadratic" if sampling.method == "direct" else sampling.method, total


def _given(image: Any, task: str, damage: Damage, mask: AnyMask) -> Given:
    """What was given, checked to be what the task takes."""
    if task not in TASKS:
        raise InputError(f"expected a task out of {', '.join(NAMES)}, got '{task}'")
    images = list(image) if isinstance(image, (list, tuple)) else [image]
    if task != "hdr" and len(images) != 1:
        raise InputError(f"expected one photo for {task}, got {len(images)}; only hdr takes several")
    photos = [photo_of(i) for i in images]
    if task in LIGHTING:
        photos = [unstretched(photo) for photo in photos]
    for photo in photos:
        if min(photo.size) < LEAST_SIDE:
            width, height = photo.size
            raise InputError(f"expected a photo of at least {LEAST_SIDE}×{LEAST_SIDE} pixels, got {width}×{height}")
    if (task == "inpaint") != (mask is not None):
        raise InputError(f"expected a mask for inpaint and only there, got task {task} and {mask is not None=}")
    if (task == "compose") != (damage.degradation is not None):
        raise InputError(
            f"expected a degradation for compose and only there, got task {task} and '{damage.degradation}'"
        )
    return Given(photos, damage, mask)


def _with_terms(plan: Plan, terms: dict[str, float] | None, target: float) -> Plan:
    if not terms:
        return plan
    for name, weight in terms.items():
        if name not in TERMS or not 0 <= weight < float("inf"):
            raise InputError(f"expected a weight of at least 0 of {', '.join(TERMS)}, got {name} = {weight:g}")
    quality = replace(plan.quality or QualityTerms(target), reference=plan.start, **terms)
    return replace(plan, quality=quality if any(getattr(quality, name) for name in TERMS) else None)


def _found(plan: Plan) -> tuple[dict[str, Any], NDArray[np.float32] | None]:
    """(what was estimated, the light map)."""
    operator = plan.measurement.operator
    found: dict[str, Any] = {name: round(value, 3) for name, value in plan.estimated.items()}
    if not isinstance(operator, Lighting):
        return found, None
    found["gain"] = round(float(operator.gain.mean()), 4)
    return found, operator.light[0].permute(1, 2, 0).cpu().numpy()


def _moved(plan: Plan, device: torch.device) -> Plan:
    return replace(plan, measurement=plan.measurement.to(device), start=plan.start.to(device))
