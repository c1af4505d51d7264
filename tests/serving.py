"""A server as a user starts it: a process of its own, on a free port."""

from __future__ import annotations

import atexit
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

START = 120  # seconds


@dataclass
class Running:
    """A server process and where it listens."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path
    key: str = ""

    def ask(self, path: str, data: bytes | None = None, method: str | None = None, **headers: str) -> tuple[int, Any]:
        """(status, JSON or bytes)."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        names |= {"Authorization": f"Bearer {self.key}"} if self.key else {}
        request = urllib.request.Request(self.url + path, data, names, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, _read(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _read(error)

    def send(self, path: str, files: dict[str, bytes], **fields: Any) -> tuple[int, Any]:
        """A multipart POST."""
        body, kind = multipart(files, fields)
        return self.ask(path, body, content_type=kind)

    def until(self, path: str, enough: Callable[[Any], bool], seconds: float = 90) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            status, told = self.ask(path)
            if status == 200 and enough(told):
                return told
            time.sleep(0.05)
        raise AssertionError(f"{path} still says {told}")

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


def _read(answer: Any) -> Any:
    content = answer.read()
    return json.loads(content) if answer.headers.get("content-type", "").startswith("application/json") else content


def multipart(files: dict[str, bytes], fields: dict[str, Any]) -> tuple[bytes, str]:
    """Body and type, with the names and types that SDKs send: none that mean anything."""
    parts = []
    for name, values in fields.items():
        for value in values if isinstance(values, list) else [values]:
            parts.append(f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
    for name, content in files.items():
        head = f'--B\r\nContent-Disposition: form-data; name="{name}"; filename="upload"\r\n'
        parts.append(head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + content + b"\r\n")
    return b"".join(parts) + b"--B--\r\n", "multipart/form-data; boundary=B"


def start(state: Path, *options: str, **environment: str) -> Running:
    log = state.parent / f"{state.name}.log"
    command = [sys.executable, "-m", "restore", "serve", "--port", "0", "--state", str(state), *options]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stderr=file, stdout=file, env={**os.environ, **environment})
    atexit.register(process.kill)  # where a test or benchmark fails before it ends it
    end = time.monotonic() + START
    while time.monotonic() < end and process.poll() is None:
        if found := re.search(r"http://\S+", log.read_text()):
            return Running(process, found[0], log, environment.get("RESTORE_API_KEY", ""))
        time.sleep(0.02)
    raise AssertionError(f"the server did not start: {log.read_text()}")


def ready(server: Running) -> Running:
    server.until("/ready", lambda told: told["status"] == "ready", START)
    return server


def png(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def pixels(content: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)
