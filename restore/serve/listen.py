"""The server as a process: sockets, signals, connections that dawdle."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from types import FrameType
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from restore.errors import InputError, ModelUnavailableError
from restore.serve.app import make_app
from restore.serve.house import House
from restore.serve.options import ServeOptions

if TYPE_CHECKING:
    from restore.edit.choose import Models

HEAD_TIME = 20.0  # seconds from a connection's start, or its last answer, to the next request's last header
HEAD_BYTES = 32_768  # of all headers together
log = logging.getLogger("restore")


class Protocol(H11Protocol):
    """uvicorn's, without its patience for headers that never end."""

    head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.head_timer is not None:
            self.head_timer.cancel()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        if self.head_timer is not None:
            self.head_timer.cancel()
        self.head_timer = self.loop.call_later(HEAD_TIME, self._close_if_waiting)

    def _close_if_waiting(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """In the form of all other errors."""
        error = {"message": msg, "type": "invalid_request_error", "param": None, "code": "bad_request"}
        content = json.dumps({"error": error}).encode()
        headers = [("content-type", "application/json"), ("connection", "close"), ("content-length", str(len(content)))]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=content),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


class Server(uvicorn.Server):
    """Drains on SIGTERM and Ctrl-C: what was taken is answered, jobs wait for the next start."""

    def __init__(self, config: uvicorn.Config, house: House) -> None:
        super().__init__(config)
        self.house = house

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.house.workshop.draining = True
        asyncio.get_running_loop().call_soon_threadsafe(asyncio.ensure_future, self.house.jobs.stop())
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Whether to end: also where the model cannot be loaded."""
        return await super().on_tick(counter) or self.house.workshop.broken is not None


def serve(models: Models, options: ServeOptions) -> None:
    """Listen until a signal comes. Raises InputError where the address or the folder cannot be used, and
    ModelUnavailableError where the model cannot."""
    listener = _listener(options)
    host, port = listener.getsockname()[:2]
    app, house = make_app(models, options)
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=HEAD_BYTES,
        timeout_graceful_shutdown=round(options.deadline),
    )
    log.info("http://%s:%d", f"[{host}]" if ":" in host else host, port)
    Server(config, house).run(sockets=[listener])
    if house.workshop.broken is not None:
        raise ModelUnavailableError(house.workshop.broken.message)


def _listener(options: ServeOptions) -> socket.socket:
    family: Any = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        return socket.create_server((options.host.strip("[]"), options.port), family=family, backlog=128)
    except OSError as error:
        raise InputError(
            f"expected to listen on {options.host}:{options.port}, got: {error.strerror or error}; give another --port"
        ) from None
