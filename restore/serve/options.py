"""How the server runs: plain settings, checked. Imports nothing heavy."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from restore.errors import InputError

LOOPBACK_NAMES = ("localhost",)


@dataclass(frozen=True)
class ServeOptions:
    """host, port: where to listen, port 0: any free one. api_key: what callers must send; needed for every address but
    this machine's own. allow_hosts: further names under which the server may be called. state: folder of jobs and
    uploads, made if absent.

    queue: requests that may wait (≥ 1); deadline: seconds until a request is given up; max_bytes: of one request's
    body; max_pixels: of one photo. grace: seconds that work has to stop in, when it is no longer wanted, before its
    process is ended. sign: who signs what is sent back, as `Signer.named` has it.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str | None = None
    allow_hosts: tuple[str, ...] = ()
    state: Path | None = None
    queue: int = 8
    deadline: float = 600.0
    max_bytes: int = 100_000_000
    max_pixels: int = 100_000_000
    grace: float = 30.0
    sign: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        for name, least in (("queue", 1), ("deadline", 1), ("max_bytes", 1), ("max_pixels", 64)):
            if getattr(self, name) < least:
                raise InputError(f"expected {name} to be at least {least}, got {getattr(self, name)}")
        if not 0 <= self.port <= 65535:
            raise InputError(f"expected a port from 0 to 65535, got {self.port}")
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.isprintable() and self.api_key):
            raise InputError("expected an API key of printable ASCII characters, got something else")
        if self.api_key is None and not is_loopback(self.host):
            raise InputError(
                f"expected --api-key (or RESTORE_API_KEY) to listen on {self.host}, got none; "
                "without one only this machine may be served (--host 127.0.0.1)"
            )

    @property
    def folder(self) -> Path:
        """Of jobs and uploads; every port has its own unless told."""
        if self.state is not None:
            return self.state
        root = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        return Path(root) / "restore" / f"serve-{self.port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() in LOOPBACK_NAMES
