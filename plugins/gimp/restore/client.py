"""What the GIMP plug-in knows of `restore serve`, and of pixels. Standard library only, GIMP is not needed here."""

from __future__ import annotations

import base64
import http.client
import json
import queue
import secrets
import struct
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

URL = "http://127.0.0.1:8000"
LEAST_MARGIN = 128  # pixels around a selection that travel with it, at least: what a fill is made of
PATIENCE = 3600.0  # seconds until an answer is given up
TICK = 0.1  # seconds between signs of life
TASKS = ("denoise", "deblur", "dejpeg", "low-light", "colorize")

Box = tuple[int, int, int, int]  # x, y, width, height in pixels


class Problem(Exception):
    """What went wrong, in words for the user."""


def needed(box: Box, size: tuple[int, int]) -> Box:
    """The part of a picture of `size` (W, H) that has to travel to repaint `box`: as much around it as it is large."""
    x, y, w, h = box
    margin = max(LEAST_MARGIN, w, h)
    left, top = max(0, x - margin), max(0, y - margin)
    right, bottom = min(size[0], x + w + margin), min(size[1], y + h + margin)
    return left, top, right - left, bottom - top


def png(data: bytes, width: int, height: int, channels: int, bits: int) -> bytes:
    """A PNG of interleaved samples, rows from the top: 1, 3 or 4 `channels` of 8, or of 16 `bits` in this machine's
    byte order."""
    if bits == 16:
        samples = memoryview(data).cast("H")
        data = struct.pack(f">{len(samples)}H", *samples)
    row = width * channels * bits // 8
    if len(data) != row * height:
        raise Problem(f"Expected {row * height} bytes of pixels, got {len(data)}.")
    lines = b"".join(b"\0" + data[at : at + row] for at in range(0, len(data), row))
    kind = {1: 0, 3: 2, 4: 6}[channels]
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines, 1)),
        (b"IEND", b""),
    )
    packed = (struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def selected(selection: bytes) -> bytes:
    """What is sent as a mask of a selection, a byte a pixel: all that is selected at all, however softly."""
    return selection.translate(b"\0" + b"\xff" * 255)


def changed(before: bytes, after: bytes, pixel: int) -> bytes:
    """255 where a pixel of so many bytes is another, else 0, a byte a pixel."""
    if len(before) != len(after) or len(before) % pixel:
        raise Problem("Expected a picture of the same size back, got another.")
    other = int.from_bytes(before, "big") ^ int.from_bytes(after, "big")
    bytes_ = other.to_bytes(len(before), "big")
    count = len(before) // pixel
    any_ = 0
    for k in range(pixel):
        any_ |= int.from_bytes(bytes_[k::pixel], "big")
    return selected(any_.to_bytes(count, "big"))


class Server:
    """A running `restore serve`. `alive()` is called every `TICK` seconds while it works; where it answers False the
    connection is closed, which stops the work. Every method raises Problem."""

    def __init__(self, url: str = URL, key: str = "", alive: Callable[[], Any] = lambda: None) -> None:
        url = url if "//" in url else f"http://{url}"
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Problem(f"Expected the server's address as {URL}, got {url}.")
        self.url, self.parts, self.key, self.alive = url, parts, key, alive

    def edit(self, image: bytes, mask: bytes | None = None, prompt: str = "") -> bytes:
        """The picture, a PNG, with what is white in `mask` or named in `prompt` removed."""
        return _picture(self._ask("/v1/images/edits", {"prompt": prompt}, {"image": image, "mask": mask}))

    def enhance(self, image: bytes, task: str) -> bytes:
        """The picture, a PNG, without the damage that `task` (one of `TASKS`) undoes."""
        return _picture(self._ask("/v1/enhance", {"task": task}, {"image": image}))

    def assess(self, image: bytes, mask: bytes | None = None) -> tuple[float, bytes]:
        """(quality of 100, a transparent PNG of the artifacts, perhaps smaller than the picture)."""
        found = self._ask("/v1/assess", {}, {"image": image, "mask": mask})
        return float(found["quality"]), base64.b64decode(found["artifacts_b64"])

    def _ask(self, path: str, fields: dict[str, str], files: dict[str, bytes | None]) -> Any:
        kind, body = multipart(fields, files)
        status, content = self._waited(path, kind, body)
        try:
            answer = json.loads(content)
        except ValueError:
            raise Problem(f"{self.url} is not a restore server: it answered {status} and no JSON.") from None
        if status != 200:
            error = answer.get("error") if isinstance(answer, dict) else None
            said = error.get("message") if isinstance(error, dict) else None
            raise Problem(_sentence(str(said or f"The server answered {status}")))
        return answer

    def _waited(self, path: str, kind: str, body: bytes) -> tuple[int, bytes]:
        """(status, content) of an answer, fetched beside this thread so that it can show that it lives."""
        parts = self.parts
        secure = parts.scheme == "https"
        make = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = make(str(parts.hostname), parts.port, timeout=PATIENCE)
        headers = {"Content-Type": kind, "Accept": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        answers: queue.Queue[tuple[int, bytes] | Exception] = queue.Queue()

        def fetch() -> None:
            try:
                connection.request("POST", parts.path.rstrip("/") + path, body, headers)
                response = connection.getresponse()
                answers.put((response.status, response.read()))
            except Exception as error:  # told by the thread that waits
                answers.put(error)

        threading.Thread(target=fetch, daemon=True).start()
        try:
            while True:
                try:
                    answer = answers.get(timeout=TICK)
                    break
                except queue.Empty:
                    if self.alive() is False:
                        raise Problem("Stopped.") from None
        finally:
            _close(connection)
        if isinstance(answer, ConnectionRefusedError):
            raise Problem(f"No restore server answers at {self.url}. Start one in a terminal: restore serve")
        if isinstance(answer, Exception):
            raise Problem(_sentence(f"The restore server at {self.url} went away: {answer}"))
        return answer


def multipart(fields: dict[str, str], files: dict[str, bytes | None]) -> tuple[str, bytes]:
    """(content type, body) of a form; empty fields and files that are None are left out."""
    boundary = secrets.token_hex(16)
    parts = [(f'name="{name}"', value.encode()) for name, value in fields.items() if value]
    for name, content in files.items():
        if content is not None:
            parts.append((f'name="{name}"; filename="{name}.png"\r\nContent-Type: image/png', content))
    body = b"".join(
        b"--%s\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (boundary.encode(), head.encode(), content)
        for head, content in parts
    )
    return f"multipart/form-data; boundary={boundary}", body + b"--%s--\r\n" % boundary.encode()


def _picture(answer: Any) -> bytes:
    try:
        return base64.b64decode(answer["data"][0]["b64_json"], validate=True)
    except (LookupError, TypeError, ValueError):
        raise Problem("The server's answer holds no picture.") from None


def _close(connection: http.client.HTTPConnection) -> None:
    """Closed for the thread that reads it, too."""
    if connection.sock is not None:
        with suppress(OSError):
            connection.sock.shutdown(2)
    connection.close()


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."
