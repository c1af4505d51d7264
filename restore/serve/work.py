"""What an engine does with a case: one function a task. Runs in the worker process."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from restore.errors import InputError, tell
from restore.images.geometry import mask_box
from restore.serve import pictures
from restore.serve.case import Case

if TYPE_CHECKING:
    from restore.api import Engine
    from restore.images.photo import Photo
    from restore.results import EnhanceResult, InpaintResult

LOOP = ("seed", "passes", "max_seconds", "par", "candidates", "steps")
Say = Callable[[str, dict[str, Any]], Any]  # ("step" | "pass" | "kept", what); answers False to stop
Result = dict[str, Any]  # JSON: "files" by kind, and what is known of each result


def done(engine: Engine, case: Case, say: Say) -> Result:
    """Carry out a case; its files lie in its folder then. Raises RestoreError."""
    work = {"edit": edit, "refine": refine, "enhance": enhance, "segment": segment, "assess": assess}[case.task]
    if case.task != "enhance" and len(case.images()) != 1:
        raise InputError(f"image: expected one photo, got {len(case.images())}; only enhance's hdr takes several")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        result = work(engine, case, say)
    notes = [str(w.message) for w in told if w.category is UserWarning]
    return result | ({"notes": notes} if notes else {})


def edit(engine: Engine, case: Case, say: Say) -> Result:
    options, count = case.options, case.options["n"]
    photo = _opened(case)
    pictures.check_size(photo, options["size"])
    pictures.check_room(photo, count, "n")
    mask = pictures.mask_of(case.sent("mask"), photo)
    seed = options["seed"] if options["seed"] is not None else engine.settings.seed
    results = []
    for k in range(count):
        result = engine.inpaint(
            photo,
            mask=mask,
            draft=options["draft"],
            sure=options["sure"],
            **{name: options[name] or None for name in ("prompt", "find", "box", "point")},
            **{name: options[name] for name in (*LOOP, "shape_precision")} | {"seed": seed + k},
            **_heard(case, say, k, count),
        )
        results.append(_edited(result, case, k))
    return _listed(results, engine)


def refine(engine: Engine, case: Case, say: Say) -> Result:
    options = case.options
    photo = _opened(case)
    pictures.check_size(photo, options["size"])
    mask = pictures.mask_of(case.sent("mask"), photo)
    result = engine.refine(photo, mask=mask, **{name: options[name] for name in LOOP}, **_heard(case, say, 0, 1))
    return _listed([_edited(result, case, 0)], engine)


def enhance(engine: Engine, case: Case, say: Say) -> Result:
    options, images = case.options, case.images()
    if (options["task"] != "hdr" and len(images) != 1) or len(images) > 5:
        raise InputError(f"image: expected one photo, or 2 to 5 for hdr, got {len(images)} for {options['task']}")
    photos = [_opened(case), *(pictures.opened(path) for path in images[1:])]
    damage = options["damage"]
    if options["task"] == "super-resolution":
        pictures.check_room(photos[0], damage["scale"] ** 2, "scale")
    for factor in re.findall(r"downsample:\s*(\d{1,9})", damage["degradation"] or ""):
        pictures.check_room(photos[0], int(factor) ** 2, "degradation")
    result = engine.enhance(
        photos if options["task"] == "hdr" else photos[0],
        task=options["task"],
        mask=pictures.mask_of(case.sent("mask"), photos[0]),
        passes=options["passes"],
        seed=options["seed"],
        mark=engine.settings.mark,
        on_pass=lambda record: say("pass", asdict(record)),
        on_step=lambda step, total: say("step", {"done": step, "total": total}),
        **damage,
        **options["sampling"],
    )
    files = {"image": _written(result, case, 0)}
    if options["report"]:
        result.report(case.folder / "report-0.html", overwrite=True)
        files["report"] = "report-0.html"
    summary = _summary(result.summary())
    last = result.passes[-1]
    return _listed([summary | {"files": files, "par_image": last.par_image, "quality": last.quality}], engine)


def segment(engine: Engine, case: Case, say: Say) -> Result:
    options = case.options
    photo = pictures.opened(case.images()[0])
    if len(options["point"]) > 1:
        raise InputError(f"point: expected one point, got {len(options['point'])}")
    point = options["point"][0] if options["point"] else None
    found = engine.segment(photo, prompt=options["prompt"], find=options["find"], point=point)
    tell(say, "step", {"done": 1, "total": 1})
    return {
        "files": {"mask": pictures.write_mask(found.mask, case.folder, "mask-0")},
        "score": round(found.score, 4),
        "pixels": int(found.mask.sum()),
        "box": list(mask_box(found.mask)),
        "size": list(photo.size),
        "instances": [{"score": round(i.score, 4), "box": list(mask_box(i.mask))} for i in found.instances],
    }


def assess(engine: Engine, case: Case, say: Say) -> Result:
    photo, truth = pictures.opened(case.images()[0]), case.sent("reference")
    reference = None if truth is None else pictures.opened(truth)
    found = engine.assess(photo, mask=pictures.mask_of(case.sent("mask"), photo), reference=reference)
    tell(say, "step", {"done": 1, "total": 1})
    files = {"artifacts": pictures.overlay(found.artifacts, case.folder, "artifacts-0")}
    return {"files": files, "size": list(photo.size), **found.scores}


def _opened(case: Case) -> Photo:
    """The first photo that was sent, whose result can be signed if it is to be. Raises InputError."""
    photo = pictures.opened(case.images()[0])
    if case.signer is not None:
        case.signer.check(pictures.kind_of(photo, case.options), photo)
    return photo


def _written(result: InpaintResult | EnhanceResult, case: Case, k: int) -> str:
    """The name of the file of result k."""
    seal = None if case.signer is None else case.signer.seal(result, case.images()[0])
    return pictures.write(result.photo, case.folder, f"result-{k}", case.options, seal)


def _heard(case: Case, say: Say, k: int, count: int) -> dict[str, Any]:
    """The callbacks of result k of `count`."""
    options, seen = case.options, 0

    def kept(record: Any, photo: Any) -> Any:
        nonlocal seen
        if seen == options["partial"]:
            return None
        seen += 1
        name = pictures.write(photo, case.folder, f"kept-{k}-{seen}", options)
        return say("kept", {"result": k, "index": seen - 1, "file": name, "size": list(photo.size)})

    heard: dict[str, Any] = {
        "on_pass": lambda record: say("pass", {"result": k} | asdict(record)),
        "on_step": lambda step, total: say("step", {"done": k * total + step, "total": count * total}),
    }
    return heard | ({"on_kept": kept} if options.get("partial") else {})


def _edited(result: InpaintResult, case: Case, k: int) -> Result:
    """What is told of one edit, whose files are written."""
    folder, options = case.folder, case.options
    files = {"image": _written(result, case, k)}
    if options["report"]:
        result.report(folder / f"report-{k}.html", overwrite=True)
        files |= {
            "report": f"report-{k}.html",
            "mask": pictures.write_mask(result.mask, folder, f"mask-{k}"),
            "artifacts": pictures.write_overlay(result.outcome.areas, result.photo.size, folder, f"artifacts-{k}"),
        }
    last = result.kept[-1]
    told: Result = {"par_hole": last.par_hole, "par_image": last.par_image, "quality": last.quality}
    if result.presence is not None:
        told["sentence"] = result.presence.sentence
    return _summary(result.summary()) | told | {"size": list(result.photo.size), "files": files}


def _summary(summary: dict[str, Any]) -> dict[str, Any]:
    """Without what is the machine's own business."""
    return {key: value for key, value in summary.items() if key not in ("output", "device")}


def _listed(results: list[Result], engine: Engine) -> Result:
    listed = {"model": engine.settings.model, "results": results}
    json.dumps(listed, allow_nan=False)  # what cannot be sent fails here, where it is logged
    return listed
