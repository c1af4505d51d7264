"""The application: routes, the form of errors, the page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import metadata, resources
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from restore.serve import openai, ours
from restore.serve.errors import CLIENT_CLOSED, ApiError, unexpected
from restore.serve.guard import Guard
from restore.serve.house import House
from restore.serve.options import ServeOptions

if TYPE_CHECKING:
    from restore.edit.choose import Models

TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
CODES = {404: "not_found", 405: "method_not_allowed"}


def make_app(models: Models, options: ServeOptions) -> tuple[Guard, House]:
    """The guarded application and what it works with. Raises InputError where its folder cannot be used."""
    house = House(models, options)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        house.start()
        yield
        await house.stop()

    app = FastAPI(
        title="restore",
        version=metadata.version("restore"),
        description="Repair and edit photographs. Image edits are OpenAI's; further fields are told of in each route.",
        lifespan=lifespan,
        docs_url=None,  # its page loads from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_exception_handler(ApiError, _refusal)
    app.add_exception_handler(HTTPException, _refusal)
    app.add_exception_handler(ClientDisconnect, _refusal)
    app.add_exception_handler(Exception, _refusal)
    app.include_router(openai.router(house))
    app.include_router(ours.router(house))
    _add_page(app)
    return Guard(app, options, house.metrics), house


async def _refusal(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        error = ApiError(error.status_code, str(error.detail), CODES.get(error.status_code))
    elif isinstance(error, ClientDisconnect):
        error = ApiError(CLIENT_CLOSED, "the client went away", "cancelled")
    told = error if isinstance(error, ApiError) else unexpected()
    return Response(told.content, told.status, told.headers, "application/json")


def _add_page(app: FastAPI) -> None:
    """The page's files, read once: they are few and small."""
    folder = resources.files("restore.serve.page")
    files = {f.name: f.read_bytes() for f in folder.iterdir() if f.name.rpartition(".")[2] in TYPES}

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return _file("index.html")

    @app.get("/page/{name}", include_in_schema=False)
    async def part(name: str) -> Response:
        return _file(name)

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        return _file("icon.svg")

    def _file(name: str) -> Response:
        if name not in files:
            raise ApiError(404, "there is no such part of the page", "not_found")
        return Response(files[name], media_type=TYPES[name.rpartition(".")[2]])
