"""What `/openapi.json` says of routes whose bodies are read by hand, with examples."""

from __future__ import annotations

from typing import Any

from restore.edit.request import KINDS
from restore.enhancement.damage import Damage
from restore.enhancement.tasks import NAMES as RESTORATIONS
from restore.serve.asks import FORMATS, REAL, SCALES, WHOLE
from restore.serve.case import TASKS

Schema = dict[str, Any]
FILE: Schema = {"type": "string", "format": "binary"}
FLAG: Schema = {"type": "boolean", "default": False}
ERROR: Schema = {"error": {"message": "mask: expected …, got …", "type": "invalid_request_error", "param": "mask",
                           "code": "invalid_value"}}  # fmt: skip


def _number(name: str, **more: Any) -> Schema:
    """A field within what `asks` takes."""
    low, high = WHOLE[name] if name in WHOLE else REAL[name]
    return {"type": "integer" if name in WHOLE else "number", "minimum": low, "maximum": high, **more}


def _told(kind: Schema, description: str) -> Schema:
    return kind | {"description": description}


TEXTS: Schema = {"type": "array", "items": {"type": "string"}}
IMAGE = {"image": _told(FILE, "JPEG, PNG, WebP, TIFF or BMP, whatever it is called; also as image[]")}
MASK = {"mask": _told(FILE, "of the photo's size: transparent is edited; of an opaque one what is white")}
SAID = {
    "prompt": _told(TEXTS, "what to do, e.g. remove the cat on the left"),
    "find": _told(TEXTS | {"items": {"type": "string", "enum": list(KINDS)}}, "what is laid over the photo"),
    "point": _told({"type": "string"}, "X,Y in pixels: the object there; repeatable"),
}
LOOP = {
    "seed": _number("seed"),
    "passes": _told(_number("passes"), "most passes over the hole"),
    "max_seconds": _told(_number("max_seconds"), "begin no pass that would end later than this"),
    "par": _told(_number("par"), "stop when this share of the hole, or less, looks wrong"),
    "candidates": _told(_number("candidates"), "fills per pass for the judge to choose from"),
    "steps": _number("steps"),
}
OUTPUT = {
    "model": _told({"type": "string"}, "any name: the answer says which model there is"),
    "output_format": {"type": "string", "enum": list(FORMATS), "default": "png"},
    "output_compression": _told(_number("output_compression"), "quality of a JPEG or WebP"),
    "response_format": {"type": "string", "enum": ["b64_json", "url"], "default": "b64_json"},
}
EDIT_FIELDS = {
    **IMAGE,
    **MASK,
    **SAID,
    "box": _told({"type": "string"}, "X,Y,WIDTH,HEIGHT in pixels; repeatable"),
    "n": _told(_number("n", default=1), "variants, of seeds one after the other"),
    "size": _told({"type": "string", "default": "auto"}, "auto or the photo's own"),
    **LOOP,
    "shape_precision": _number("shape_precision"),
    "draft": _told(FLAG, "an instant, soft preview"),
    "sure": _told(FLAG, "refuse (422, code unsure) what may be something else than the words name"),
    "stream": FLAG,
    "partial_images": _told(_number("partial_images", default=0), "passes that were kept, to be streamed"),
    **OUTPUT,
}
ENHANCE_FIELDS = {
    **IMAGE,
    "task": {"type": "string", "enum": list(RESTORATIONS)},
    "scale": {"type": "integer", "enum": list(SCALES), "default": Damage.scale},
    "blur": _number("blur"),
    "disk": _number("disk"),
    "motion": _told({"type": "string"}, "LENGTH,ANGLE"),
    "noise": _number("noise"),
    "jpeg_quality": _number("jpeg_quality"),
    "target": _told(_number("target"), "brightness wanted"),
    "best": _told(FLAG, "the mean of eight looks, eight times the time"),
    "degradation": _told({"type": "string"}, "of compose, e.g. blur:2,downsample:2,jpeg:30"),
    **MASK,
    **OUTPUT,
}
EDIT_EXAMPLE = {"prompt": "remove the rocket", "image": "@rocket.jpg"}
ANSWER_EXAMPLE = {
    "created": 1790000000,
    "data": [{"b64_json": "iVBORw0KGgo…"}],
    "output_format": "png",
    "size": "640x427",
    "restore": {"model": "builtin", "results": [{"par_hole": 0.02, "quality": 91.5, "stop": "threshold"}]},
}


def _route(fields: Schema, required: list[str], body: Schema, answer: Schema, status: str = "200") -> Schema:
    content = {"schema": {"type": "object", "properties": fields, "required": required}, "example": body}
    refusal = {"description": "Refused.", "content": {"application/json": {"example": ERROR}}}
    return {
        "openapi_extra": {"requestBody": {"required": True, "content": {"multipart/form-data": content}}},
        "responses": {
            int(status): {"description": "Done.", "content": {"application/json": {"example": answer}}},
            "default": refusal,
        },
    }


EDIT = _route(EDIT_FIELDS, ["image"], EDIT_EXAMPLE, ANSWER_EXAMPLE)
REFINE = _route({**IMAGE, **MASK, **LOOP, **OUTPUT}, ["image"], {"image": "@filled.png"}, ANSWER_EXAMPLE)
ENHANCE = _route(ENHANCE_FIELDS, ["image", "task"], {"image": "@dark.jpg", "task": "low-light"}, ANSWER_EXAMPLE)
SEGMENT = _route(
    {**IMAGE, **SAID},
    ["image"],
    {"image": "@photo.jpg", "prompt": "every person"},
    {"score": 0.97, "pixels": 5120, "box": [40, 30, 64, 80], "size": [640, 480], "mask_b64": "iVBORw0KGgo…"},
)
ASSESS = _route(
    {**IMAGE, **MASK, "reference": _told(FILE, "the truth, of the same size")},
    ["image"],
    {"image": "@filled.png"},
    {"quality": 88.0, "par_hole": None, "par_image": 0.01, "sharpness": 0.4, "artifacts_b64": "iVBORw0KGgo…"},
)
JOB = _route(
    {"type": {"type": "string", "enum": list(TASKS), "default": "edit"}, **ENHANCE_FIELDS, **EDIT_FIELDS},
    ["image"],
    EDIT_EXAMPLE | {"type": "edit"},
    {"object": "job", "id": "0f3c…", "status": "queued"},
    "202",
)
MODELS: Schema = {"responses": {200: {"content": {"application/json": {"example": {
    "object": "list", "data": [{"id": "builtin", "object": "model", "created": 1790000000, "owned_by": "restore"}]
}}}}}}  # fmt: skip
MODEL: Schema = {"responses": {"default": {"description": "Refused.", "content": {"application/json": {
    "example": ERROR}}}}}  # fmt: skip
