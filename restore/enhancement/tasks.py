"""What can be undone: a name, and how its plan comes of what was given. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from restore.errors import InputError

if TYPE_CHECKING:
    from restore.enhancement.photo import Given
    from restore.pipelines.restoration.plans import Plan

OLD_PHOTO = "old-photo"  # no plan of one damage but several steps: `old_photo`
STEPS = ("scratches", "grain", "tone")  # of it
PASSES = 2  # the first restoration, and one over its worst windows
# The module `plans` is an argument: it imports torch, and the command line wants the names alone.
TASKS: dict[str, Callable[[Any, Given], Plan]] = {
    "super-resolution": lambda plans, given: plans.super_resolution(
        given.y, given.damage.scale, given.damage.kernel_kind
    ),
    "deblur": lambda plans, given: plans.deblur(given.y, given.kernel, given.noise),
    "denoise": lambda plans, given: plans.denoise(given.y, given.noise, given.damage.peak),
    "colorize": lambda plans, given: plans.colorize(given.grey),
    "inpaint": lambda plans, given: plans.inpaint(given.y, given.lost),
    "low-light": lambda plans, given: plans.low_light(given.y, given.damage.target, given.noise),
    "hdr": lambda plans, given: plans.hdr(given.shots, given.damage.target),
    "dejpeg": lambda plans, given: plans.dejpeg(given.y, given.jpeg),
    "compose": lambda plans, given: plans.compose(given.y, given.damage.degradation),
}
LIGHTING = ("low-light", "hdr")  # tasks that need to know how dark a photo is

NAMES = (*TASKS, OLD_PHOTO)


def read_term(text: str) -> tuple[str, float]:
    """A quality term and its weight from "NAME=WEIGHT". Raises InputError."""
    name, _, weight = text.partition("=")
    try:
        return name, float(weight)
    except ValueError:
        raise InputError(f"expected --term NAME=WEIGHT, e.g. exposure=0.1, got '{text}'") from None


def read_motion(text: str) -> tuple[float, float]:
    """Length in pixels and angle in degrees from "LENGTH,ANGLE". Raises InputError."""
    try:
        length, angle = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"expected --motion LENGTH,ANGLE, e.g. 12,30, got '{text}'") from None
    return length, angle
