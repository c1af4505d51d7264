"""Every answer that is a refusal has one form, OpenAI's: `{"error": {message, type, param, code}}`."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import Any

from restore.errors import Cancelled, InputError, ModelUnavailableError, ObjectNotFoundError, RestoreError, UnsureError

PARAMS = ("image", "mask", "size", "box", "point", "find", "reference", "prompt", "n", "scale", "degradation")
RETRY_AFTER: dict[int, str] = {HTTPStatus.TOO_MANY_REQUESTS: "2", HTTPStatus.SERVICE_UNAVAILABLE: "2"}  # seconds
CLIENT_CLOSED = 499  # nobody reads it: the client went away


class ApiError(Exception):
    """An answer with a status other than 200; `more` joins the error object."""

    def __init__(
        self, status: int, message: str, code: str | None = None, param: str | None = None, **more: Any
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param, self.more = status, message, code, param, more

    @property
    def body(self) -> dict[str, Any]:
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        if self.status == HTTPStatus.TOO_MANY_REQUESTS:
            kind = "rate_limit_error"
        elif self.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            kind = "authentication_error" if self.status == HTTPStatus.UNAUTHORIZED else "permission_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": error | self.more}

    @property
    def content(self) -> bytes:
        return json.dumps(self.body).encode()

    @property
    def headers(self) -> dict[str, str]:
        found = {"Retry-After": RETRY_AFTER[self.status]} if self.status in RETRY_AFTER else {}
        return found | ({"WWW-Authenticate": "Bearer"} if self.status == HTTPStatus.UNAUTHORIZED else {})


def refused(error: RestoreError) -> dict[str, Any]:
    """An error of this package as the arguments of an `ApiError`, for the way from one process to the other."""
    message = str(error)
    found = re.match(rf"({'|'.join(PARAMS)}):", message)
    told: dict[str, Any] = {"message": message, "param": found[1] if found else None}
    if isinstance(error, UnsureError):
        return told | {"status": 422, "code": "unsure", "param": "prompt", "candidates": error.candidates}
    if isinstance(error, ObjectNotFoundError):
        return told | {"status": 422, "code": "object_not_found", "param": told["param"] or "prompt"}
    if isinstance(error, InputError):
        return told | {"status": 400, "code": "invalid_value"}
    if isinstance(error, ModelUnavailableError):
        return told | {"status": 503, "code": "model_unavailable"}
    if isinstance(error, Cancelled):
        return told | {"status": CLIENT_CLOSED, "code": "cancelled"}
    return told | {"status": 500, "code": "failed"}


def unexpected() -> ApiError:
    """What is told of a fault of ours: nothing of the machine."""
    return ApiError(500, "the server met an error of its own; its log says more", "server_error")
