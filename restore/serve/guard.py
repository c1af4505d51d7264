"""Who may ask, and how much: checked of every request before anything reads it.

A browser that was lured elsewhere must not reach a server on this machine: the Host it names must be ours (against DNS
rebinding), and a page that posts must be our own (Origin, Sec-Fetch-Site). Bodies are counted as they come, chunked
ones too, and must come in time.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from restore.serve.errors import ApiError
from restore.serve.metrics import Metrics
from restore.serve.options import LOOPBACK_NAMES, ServeOptions, is_loopback

BODY_PAUSE, BODY_TIME = 20.0, 300.0  # seconds without a byte of a body, and for all of it
MOST_ACTIVE = 64  # requests under way, those that wait among them
OPEN = re.compile(r"/|/page/[^/]*|/health|/ready|/favicon\.ico")  # paths that need no key
SAFE = ("GET", "HEAD", "OPTIONS")
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class Guard:
    """The application, guarded."""

    def __init__(self, app: App, options: ServeOptions, metrics: Metrics) -> None:
        self.app, self.options, self.metrics, self.active = app, options, metrics, 0
        self.names = {*LOOPBACK_NAMES, *(name.lower() for name in options.allow_hosts)}
        if not is_loopback(options.host):
            self.names |= {options.host.lower(), socket.gethostname().lower()}

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 500
        seconds = asyncio.get_running_loop().time()

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                have = {name.lower() for name, _ in message["headers"]}
                more = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in have]
                message["headers"] = [*message["headers"], *more]
            await send(message)

        self.active += 1
        try:
            self._check(scope)
            await self.app(scope, Body(receive, self.options.max_bytes), sent)
        except ApiError as error:  # of the checks; those of the application are answered there
            await _answer(error, sent)
        finally:
            self.active -= 1
            self.metrics.count(scope, status, asyncio.get_running_loop().time() - seconds)

    def _check(self, scope: MutableMapping[str, Any]) -> None:
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name in (b"host", b"origin", b"authorization", b"content-length") and name in headers:
                raise ApiError(400, f"expected one {name.decode()} header, got several", "bad_headers")
            headers[name] = value
        host = headers.get(b"host", b"").decode("latin-1")
        if not self._ours(host):
            raise ApiError(403, "this server is not called by that name; see --allow-host", "host_not_allowed")
        if scope["method"] not in SAFE:
            self._check_origin(headers, host)
        self._check_key(headers, scope["path"])
        if self.active > MOST_ACTIVE:
            raise ApiError(503, "too many requests at once; try again later", "overloaded")
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self.options.max_bytes:
            raise _too_long(self.options.max_bytes)

    def _ours(self, host: str) -> bool:
        """Whether a Host header names this server; an address cannot be rebound, a name can."""
        name = re.sub(r":\d*$", "", host).strip("[]").lower()
        if name in self.names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not is_loopback(self.options.host)

    def _check_origin(self, headers: dict[bytes, bytes], host: str) -> None:
        origin = headers.get(b"origin")
        site = headers.get(b"sec-fetch-site", b"none")
        own = origin is None or origin.decode("latin-1").lower() in (
            f"http://{host}".lower(),
            f"https://{host}".lower(),
        )
        if not own or site not in (b"none", b"same-origin"):
            raise ApiError(403, "a page of another site may not ask this server", "origin_not_allowed")

    def _check_key(self, headers: dict[bytes, bytes], path: str) -> None:
        key = self.options.api_key
        if key is None or OPEN.fullmatch(path):
            return
        scheme, _, sent = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(sent.strip(), key.encode()):
            raise ApiError(401, "expected the server's API key as 'Authorization: Bearer KEY'", "invalid_api_key")


class Body:
    """`receive` of a request, bounded in bytes and time until the body is complete. Raises ApiError."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self.receive, self.limit, self.bytes, self.complete = receive, limit, 0, False
        self.end = asyncio.get_running_loop().time() + BODY_TIME

    async def __call__(self) -> Message:
        if self.complete:
            return await self.receive()
        pause = min(BODY_PAUSE, self.end - asyncio.get_running_loop().time())
        try:
            message = await asyncio.wait_for(self.receive(), max(0.0, pause))
        except asyncio.TimeoutError:
            raise ApiError(408, "the body did not come in time", "timeout") from None
        self.bytes += len(message.get("body", b""))
        if self.bytes > self.limit:
            raise _too_long(self.limit)
        self.complete = not message.get("more_body", False)
        return message


def _too_long(limit: int) -> ApiError:
    return ApiError(413, f"expected at most {limit:,} bytes, got more", "too_large")


async def _answer(error: ApiError, send: Send) -> None:
    headers = {"content-type": "application/json", "connection": "close", **error.headers}
    content = error.content
    headers["content-length"] = str(len(content))
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": raw})
    await send({"type": "http.response.body", "body": content})
