"""What OpenAI has no route for: segment, assess, enhance, refine; jobs; and how the server is."""

from __future__ import annotations

import asyncio
import mimetypes
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from restore.serve import schema
from restore.serve.case import Case
from restore.serve.errors import ApiError
from restore.serve.house import House, unless_gone
from restore.serve.openai import image_field, told

REPORT_CSP = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; sandbox allow-scripts"
)


def router(house: House) -> APIRouter:
    routes = APIRouter(tags=["restore"])

    async def done(request: Request, task: str) -> Response:
        house.workshop.check()
        case, passed_over = await house.read(request, task)
        with house.errand(case) as errand:
            result = await unless_gone(request, errand.result())
            return JSONResponse(await asyncio.to_thread(_answer, case, result, passed_over))

    @routes.post("/v1/segment", **schema.SEGMENT)
    async def segment(request: Request) -> Response:
        """The mask of what words name, of what is laid over a photo, or of the object at a point."""
        return await done(request, "segment")

    @routes.post("/v1/assess", **schema.ASSESS)
    async def assess(request: Request) -> Response:
        """Artifacts and quality of a picture; distances to a reference."""
        return await done(request, "assess")

    @routes.post("/v1/enhance", **schema.ENHANCE)
    async def enhance(request: Request) -> Response:
        """Undo smallness, blur, noise, darkness, JPEG blocks or lost pixels of a whole photo."""
        return await done(request, "enhance")

    @routes.post("/v1/refine", **schema.REFINE)
    async def refine(request: Request) -> Response:
        """Repair the artifacts of a picture that any tool made."""
        return await done(request, "refine")

    @routes.post("/v1/jobs", status_code=202, **schema.JOB)
    async def add(request: Request) -> dict[str, Any]:
        """Do any of these later: the answer is a job, which survives the server's end."""
        if house.workshop.draining:
            raise ApiError(503, "the server is going down", "draining")
        house.jobs.check()
        case, passed_over = await house.read(request, None)
        return house.jobs.add(case) | {"ignored": passed_over}

    @routes.get("/v1/jobs")
    async def jobs() -> dict[str, Any]:
        """The latest hundred jobs, newest first."""
        return {"object": "list", "data": house.jobs.all()}

    @routes.get("/v1/jobs/{name}")
    async def job(name: str) -> dict[str, Any]:
        """How a job stands: its status, steps and passes, at the end its result or error."""
        return house.jobs.get(name)

    @routes.delete("/v1/jobs/{name}")
    async def delete(name: str) -> dict[str, Any]:
        """Stop a job within a step, and delete it with its files."""
        house.jobs.delete(name)
        return {"object": "job", "id": name, "deleted": True}

    @routes.get("/v1/jobs/{name}/files/{file}")
    async def file(name: str, file: str) -> Response:
        """One of a finished job's files: a picture, or its report."""
        path = house.jobs.file(name, file)
        kind = mimetypes.guess_type(path.name)[0]
        headers = {"content-security-policy": REPORT_CSP} if path.suffix == ".html" else None
        return FileResponse(path, media_type=kind, headers=headers)

    @routes.get("/health")
    async def health() -> dict[str, str]:
        """The server answers."""
        return {"status": "ok"}

    @routes.get("/ready")
    async def ready() -> dict[str, str]:
        """The worker answers, and takes work. 503 with a reason where not."""
        house.workshop.check(room=False)
        if not house.workshop.ready:
            raise ApiError(503, "the worker is being replaced", "loading")
        return {"status": "ready"}

    @routes.get("/metrics")
    async def metrics() -> Response:
        """In Prometheus' text format."""
        return Response(house.metrics.text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return routes


def _answer(case: Case, result: dict[str, Any], passed_over: list[str]) -> dict[str, Any]:
    """As for OpenAI's edits where the result is a picture, else the findings with their picture in base64."""
    if "results" in result:
        data = [image_field(case, one["files"]["image"]) for one in result["results"]]
        return {"data": data, "restore": told(case, result, passed_over)}
    files = {
        f"{kind}_b64": image_field(Case(case.folder, case.task, {"respond": "b64_json"}), name)["b64_json"]
        for kind, name in result["files"].items()
    }
    return {k: v for k, v in result.items() if k != "files"} | files | {"ignored": passed_over}
