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
MOST_SEED = 2**32 - 1
MOST_PARTIAL = 3
MOST_RESULTS = 10
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


def _said(fields: Fields) -> dict[str, Any]:
    found = fields.texts("find")
    if unknown := [kind for kind in found if kind not in KINDS]:
        raise wrong("find", f"one of {', '.join(KINDS)}", unknown[0])
    return {"prompt": fields.texts("prompt"), "find": found, "point": fields.rows("point", 2, "X,Y")}


def _loop(fields: Fields) -> dict[str, Any]:
    """Settings of the repair loop; None: the server's."""
    return {
        "seed": fields.integer("seed", 0, MOST_SEED),
        "passes": fields.integer("passes", 1, 50),
        "par": fields.number("par", 0, 1),
        "candidates": fields.integer("candidates", 1, 16),
        "steps": fields.integer("steps", 1, 200),
    }


def _output(fields: Fields) -> dict[str, Any]:
    for name in ACCEPTED:
        fields.text(name)
    return {
        "model": fields.text("model"),
        "format": fields.choice("output_format", FORMATS) or "png",
        "compression": fields.integer("output_compression", 0, 100),
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
    partial = fields.integer("partial_images", 0, MOST_PARTIAL)
    return {
        **_said(fields),
        "box": fields.rows("box", 4, "X,Y,W,H"),
        **_loop(fields),
        "shape_precision": fields.number("shape_precision", 0, 1),
        "draft": fields.flag("draft"),
        "sure": fields.flag("sure"),
        "n": fields.integer("n", 1, MOST_RESULTS) or 1,
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
    scale = fields.text("scale") or str(Damage.scale)
    if scale not in ("2", "3", "4", "8"):
        raise wrong("scale", "2, 3, 4 or 8", scale)
    return {
        "task": task,
        "damage": {
            "scale": int(scale),
            "kernel_kind": fields.choice("kernel_kind", ("bicubic", "area")) or Damage.kernel_kind,
            "blur": fields.number("blur", 0.1, 50),
            "motion": motion[0] if motion else None,
            "disk": fields.number("disk", 0.1, 50),
            "noise": fields.number("noise", 0, 255),
            "peak": fields.number("peak", 0, 1e9),
            "quality": fields.integer("jpeg_quality", 1, 100),
            "target": fields.number("target", 0, 1) or Damage.target,
            "degradation": fields.text("degradation"),
        },
        "sampling": {
            "method": fields.choice("method", METHODS) or Sampling.method,
            "steps": fields.integer("steps", 1, 250),
            "best": fields.flag("best"),
        },
        "passes": fields.integer("passes", 1, 20) or PASSES,
        "seed": fields.integer("seed", 0, MOST_SEED) or 0,
        "n": 1,
        **_output(fields),
    }


def _segment(fields: Fields) -> dict[str, Any]:
    fields.text("model")
    return _said(fields)


def _assess(fields: Fields) -> dict[str, Any]:
    fields.text("model")
    return {}
