"""OpenAI's image edits and models, as its clients send and read them (openai-python 3.57, npm openai 6.49)."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from restore.serve import schema
from restore.serve.case import Case
from restore.serve.errors import ApiError
from restore.serve.house import House, unless_gone
from restore.serve.workshop import Errand, Event

PATIENCE = 5.0  # seconds in which a refusal still becomes a status; then the stream begins
ALIVE = 10.0  # seconds between comments that keep a silent stream open
TYPES = {".png": "png", ".jpg": "jpeg", ".webp": "webp", ".tif": "tiff", ".bmp": "bmp"}
USAGE = {
    "input_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "output_tokens": 0,
    "total_tokens": 0,
}  # nothing is billed here, but clients read it


def router(house: House) -> APIRouter:
    routes = APIRouter(tags=["OpenAI"])
    name = house.models.settings.model
    model = {"id": name, "object": "model", "created": int(time.time()), "owned_by": "restore"}

    @routes.get("/v1/models", **schema.MODELS)
    async def models() -> dict[str, Any]:
        """The one model that is served. Other names in requests are aliases of it."""
        return {"object": "list", "data": [model]}

    @routes.get("/v1/models/{name:path}", **schema.MODEL)
    async def one(name: str) -> dict[str, Any]:
        """404 for a name that is only an alias."""
        if name != model["id"]:
            raise ApiError(404, f"the model served here is {model['id']}", "model_not_found", "model")
        return model

    @routes.post("/v1/images/edits", **schema.EDIT)
    async def edits(request: Request) -> Response:
        """Remove, replace or add something in a photo. Pixels outside the mask stay as they are."""
        house.workshop.check()
        case, passed_over = await house.read(request, "edit")
        if case.options["stream"]:
            return await _stream(house, request, case, passed_over)
        with house.errand(case) as errand:
            result = await unless_gone(request, errand.result())
            return await asyncio.to_thread(_response, case, result, passed_over)

    return routes


def told(case: Case, result: dict[str, Any], passed_over: list[str]) -> dict[str, Any]:
    """The `restore` object of an answer: what is known of each result beside its pixels."""
    results = [{k: v for k, v in one.items() if k != "files"} for one in result["results"]]
    found = {"model": result["model"], "asked": case.options.get("model"), "results": results}
    return found | {"ignored": passed_over, "notes": result.get("notes", [])}


def image_field(case: Case, name: str) -> dict[str, str]:
    """The bytes of one of the case's files, as the request wants them."""
    data = base64.b64encode((case.folder / name).read_bytes()).decode()
    if case.options["respond"] == "url":
        return {"url": f"data:image/{TYPES[Path(name).suffix]};base64,{data}"}
    return {"b64_json": data}


def _about(case: Case, result: dict[str, Any], size: list[int]) -> dict[str, Any]:
    format = TYPES[Path(result["files"]["image"]).suffix] if "files" in result else case.options["format"]
    about = {"created_at": int(time.time()), "size": f"{size[0]}x{size[1]}", "quality": "high"}
    return about | {"background": "opaque", "output_format": format}


def _response(case: Case, result: dict[str, Any], passed_over: list[str]) -> Response:
    results = result["results"]
    about = _about(case, results[0], results[0]["size"])
    about["created"] = about.pop("created_at")
    data = [image_field(case, one["files"]["image"]) for one in results]
    return JSONResponse(about | {"data": data, "usage": USAGE, "restore": told(case, result, passed_over)})


class _Stream(StreamingResponse):
    """Server-sent events; what they come from is left however the response ends, begun or not."""

    def __init__(self, lines: AsyncIterator[bytes], left: ExitStack) -> None:
        super().__init__(lines, media_type="text/event-stream", headers={"x-accel-buffering": "no"})
        self.left = left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self.left:
            await super().__call__(scope, receive, send)


async def _stream(house: House, request: Request, case: Case, passed_over: list[str]) -> Response:
    with ExitStack() as stack:
        errand = stack.enter_context(house.errand(case))
        first: Event | None = None
        with suppress(asyncio.TimeoutError):
            first = await unless_gone(request, asyncio.wait_for(errand.events.get(), PATIENCE))
        if first is not None and first[0] == "failed":
            raise ApiError(**first[1])

        async def lines() -> AsyncIterator[bytes]:
            yield b": restore\n\n"
            async for kind, what in _events(errand, first):
                for event in await asyncio.to_thread(list, _wire(case, kind, what, passed_over)):
                    yield event

        return _Stream(lines(), stack.pop_all())


async def _events(errand: Errand, first: Event | None) -> AsyncIterator[tuple[str, Any]]:
    """The errand's events, with "alive" where nothing else was to be told for a while."""
    kind, what = first or ("alive", {})
    while True:
        yield kind, what
        if kind in ("done", "failed"):
            return
        try:
            kind, what = await asyncio.wait_for(errand.events.get(), ALIVE)
        except asyncio.TimeoutError:
            kind, what = "alive", {}


def _wire(case: Case, kind: str, what: dict[str, Any], passed_over: list[str]) -> Iterator[bytes]:
    """An event as server-sent ones."""
    if kind == "alive":
        yield b": keep-alive\n\n"
    elif kind == "kept" and what["result"] == 0:
        field = image_field(case, what["file"])
        about = {"type": "image_edit.partial_image", "partial_image_index": what["index"]}
        yield _event(about | field | _about(case, {}, what["size"]))
    elif kind == "failed":
        yield _event(ApiError(**what).body, "error")
    elif kind == "done":
        for one in what["results"]:
            field = image_field(case, one["files"]["image"])
            about = {"type": "image_edit.completed", "usage": USAGE} | _about(case, one, one["size"])
            yield _event(about | field | {"restore": told(case, what | {"results": [one]}, passed_over)})


def _event(data: dict[str, Any], name: str | None = None) -> bytes:
    return f"event: {name or data['type']}\ndata: {json.dumps(data)}\n\n".encode()
