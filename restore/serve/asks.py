"""What each task can be asked, as options of a case: OpenAI's fields, and ours beside them."""

from __future__ import annotations

import re
from typing import Any

from restore.edit.request import KINDS, words_of
from restore.enhancement.damage import Damage
from restore.enhancement.tasks import NAMES as RESTORATIONS
from restore.enhancement.tasks import PASSES
from restore.errors import RestoreError
from restore.pipelines.restoration.sampling import METHODS, Sampling
from restore.serve.case import TASKS
from restore.serve.errors import ApiError, refused
from restore.serve.fields import Fields, wrong

FORMATS = ("png", "jpeg", "webp", "original")  # original: as the photo came, with its metadata
# Numbers by field, the least and the most: whole ones, and others.
WHOLE = {"seed": (0, 2**32 - 1), "passes": (1, 50), "candidates": (1, 16), "steps": (1, 200), "n": (1, 10),
         "partial_images": (0, 3), "output_compression": (0, 100), "jpeg_quality": (1, 100)}  # fmt: skip
REAL = {"par": (0, 1), "shape_precision": (0, 1), "max_seconds": (0.001, 86400), "blur": (0.1, 50), "disk": (0.1, 50),
        "noise": (0, 255), "peak": (0, 1e9), "target": (0, 1)}  # fmt: skip
MOST_PASSES, MOST_STEPS = 20, 250  # of enhance
SCALES = (2, 3, 4, 8)
ACCEPTED = ("background", "quality", "user", "input_fidelity", "moderation", "style")  # understood, without effect
# Words that mean what is shown, not the name of a thing.
POINTING = re.compile(
    r"(please )?(remove|erase|delete|fill|inpaint|clean)( up| out| in)?"
    r"( (this|it|that|these|them|here|the (object|area|region|selection|mask|hole|(selected|masked|marked) \w+)))?"
    r"[.! ]*",
    re.IGNORECASE,
)


def read(task: str, fields: Fields) -> dict[str, Any]:
    """The options of a task. Raises ApiError."""
    reader = {"edit": _edit, "refine": _refine, "enhance": _enhance, "segment": _segment, "assess": _assess}[task]
    return reader(fields)


def job_type(fields: Fields) -> str:
    """What a job shall do."""
    return fields.choice("type", TASKS) or "edit"


def check_words(options: dict[str, Any], *, shown: bool) -> None:
    """Refuse before any work what no model could read; drop a prompt that only points at what is `shown`."""
    prompts = options["prompt"]
    if shown and all(POINTING.fullmatch(text.strip()) for text in prompts):
        options["prompt"] = []
    try:
        said = words_of(options["prompt"], options["find"], shown=shown)
    except RestoreError as error:
        raise ApiError(**(refused(error) | {"param": "prompt"})) from None
    if not (said or shown):
        raise wrong("prompt", "words, a mask, box, point or find that say what to do", "none")


def _whole(fields: Fields, name: str) -> int | None:
    return fields.integer(name, *WHOLE[name])


def _real(fields: Fields, name: str) -> float | None:
    return fields.number(name, *REAL[name])


def _said(fields: Fields) -> dict[str, Any]:
    found = fields.texts("find")
    if unknown := [kind for kind in found if kind not in KINDS]:
        raise wrong("find", f"one of {', '.join(KINDS)}", unknown[0])
    return {"prompt": fields.texts("prompt"), "find": found, "point": fields.rows("point", 2, "X,Y")}


def _loop(fields: Fields) -> dict[str, Any]:
    """Settings of the repair loop; None: the server's."""
    return {
        "seed": _whole(fields, "seed"),
        "passes": _whole(fields, "passes"),
        "max_seconds": _real(fields, "max_seconds"),
        "par": _real(fields, "par"),
        "candidates": _whole(fields, "candidates"),
        "steps": _whole(fields, "steps"),
    }


def _output(fields: Fields) -> dict[str, Any]:
    for name in ACCEPTED:
        fields.text(name)
    return {
        "model": fields.text("model"),
        "format": fields.choice("output_format", FORMATS) or "png",
        "compression": _whole(fields, "output_compression"),
        "respond": fields.choice("response_format", ("b64_json", "url")) or "b64_json",
        "report": fields.flag("report"),
    }


def _size(fields: Fields) -> dict[str, Any]:
    """None, or (W, H) that the photo must have."""
    text = fields.text("size")
    if text is None or text == "auto":
        return {"size": None}
    found = re.fullmatch(r"(\d{1,6})[x×](\d{1,6})", text)
    if found is None:
        raise wrong("size", "auto or the photo's own size, e.g. 640x480", text)
    return {"size": [int(found[1]), int(found[2])]}


def _edit(fields: Fields) -> dict[str, Any]:
    partial = _whole(fields, "partial_images")
    return {
        **_said(fields),
        "box": fields.rows("box", 4, "X,Y,W,H"),
        **_loop(fields),
        "shape_precision": _real(fields, "shape_precision"),
        "draft": fields.flag("draft"),
        "sure": fields.flag("sure"),
        "n": _whole(fields, "n") or 1,
        "stream": fields.flag("stream"),
        "partial": partial or 0,
        **_size(fields),
        **_output(fields),
    }


def _refine(fields: Fields) -> dict[str, Any]:
    return {**_loop(fields), "n": 1, **_size(fields), **_output(fields)}


def _enhance(fields: Fields) -> dict[str, Any]:
    task = fields.choice("task", list(RESTORATIONS))
    if task is None:
        raise wrong("task", f"one of {', '.join(RESTORATIONS)}", "none")
    motion = fields.rows("motion", 2, "LENGTH,ANGLE")
    scale = fields.choice("scale", [str(scale) for scale in SCALES]) or Damage.scale
    return {
        "task": task,
        "damage": {
            "scale": int(scale),
            "kernel_kind": fields.choice("kernel_kind", ("bicubic", "area")) or Damage.kernel_kind,
            "blur": _real(fields, "blur"),
            "motion": motion[0] if motion else None,
            "disk": _real(fields, "disk"),
            "noise": _real(fields, "noise"),
            "peak": _real(fields, "peak"),
            "quality": _whole(fields, "jpeg_quality"),
            "target": _real(fields, "target") or Damage.target,
            "degradation": fields.text("degradation"),
        },
        "sampling": {
            "method": fields.choice("method", METHODS) or Sampling.method,
            "steps": fields.integer("steps", 1, MOST_STEPS),
            "best": fields.flag("best"),
        },
        "passes": fields.integer("passes", 1, MOST_PASSES) or PASSES,
        "seed": _whole(fields, "seed") or 0,
        "n": 1,
        **_output(fields),
    }


def _segment(fields: Fields) -> dict[str, Any]:
    fields.text("model")
    return _said(fields)


def _assess(fields: Fields) -> dict[str, Any]:
    fields.text("model")
    return {}
