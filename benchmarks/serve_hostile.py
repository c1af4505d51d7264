"""Hostile requests to a server: wrong types, broken forms and HTTP, bombs, path names, foreign names, cut off bodies.

  python -m benchmarks.serve_hostile --count 3000 --seed 0

Every request is drawn from --seed and sent over a socket of its own to a server that this starts; its answer is looked
at.
Faults: an answer of 500 or more, an error that is not `{"error": {message, type, param, code}}`, a path of the server
in an answer, no answer within 60 s, a traceback in the log, files left behind, a server or worker that is not there in
the end.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import random
import re
import socket
import struct
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tests.serving import multipart, ready, start

LIMIT = 60.0  # seconds
PAUSE = 3.0  # seconds for an answer to
UNFINISHED = (
    "no http",
    "bytes in the head",
    "chunks",
    "smuggling",
    "length",
    "two lengths",
)  # what may want more bytes
ROUTES = ("/v1/images/edits", "/v1/segment", "/v1/assess", "/v1/enhance", "/v1/refine", "/v1/jobs")
NUMBERS = (
    "-1",
    "0",
    "1e999",
    "nan",
    "9" * 400,
    "1.5",
    "0x10",
    "٣",
    "1e3",
    "-0",
    "inf",
    "2147483648",
    "18446744073709551616",
)
TEXTS = (
    "", " ", "\0", "remove the \0 cat", "🐈" * 50, "a" * 5000, "../../etc/passwd", "%00", "remove " * 200, "<script>",
    "'; drop table jobs; --", "\u202e\ufeff", "{}", "[]", "null", "remove the cat\r\nX-Evil: 1", "ÿþ\0Ø",
)  # fmt: skip
FIELDS = (
    "prompt", "find", "box", "point", "n", "size", "seed", "passes", "par", "candidates", "steps", "shape_precision",
    "draft", "sure", "stream", "partial_images", "model", "output_format", "output_compression", "response_format",
    "task", "scale", "blur", "motion", "noise", "degradation", "type", "target", "jpeg_quality", "method",
    "kernel_kind", "unknown", "image", "mask", "image[]", "__proto__", "report",
)  # fmt: skip
HOSTS = (
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1@evil.example",
    "",
    "a" * 300,
    "127.0.0.1:x",
    "[::1",
    "0.0.0.0",
)


SHARES = {"image": 0.9, "mask": 0.4, "reference": 0.1}  # of forms that have it


@dataclass(frozen=True)
class Attack:
    """kind: what it tries; content: all that is sent; cut: whether the client leaves in the middle."""

    kind: str
    content: bytes
    cut: bool = False


def picture(rng: random.Random) -> bytes:
    """A file that is a small photo, or pretends to be."""
    buffer = io.BytesIO()
    kind = rng.choice(("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"))
    mode = rng.choice(("RGB", "L", "RGBA", "1", "P")) if kind in ("PNG", "TIFF") else "RGB"
    size = rng.choice(((40, 32), (40, 32), (1, 1), (8, 8), (3, 500)))
    Image.effect_noise(size, 60).convert(mode).save(buffer, kind)
    content = bytearray(buffer.getvalue())
    harm = rng.randrange(14)
    if harm == 0:
        content = content[: rng.randrange(len(content))]
    elif harm in (1, 2):
        for _ in range(rng.randrange(1, 20)):
            content[rng.randrange(len(content))] = rng.randrange(256)
    elif harm == 3:
        content = bytearray(rng.randbytes(rng.randrange(200)))
    elif harm == 4:
        content = bytearray(bomb(rng))
    elif harm == 5:
        content = bytearray(b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>")
    return bytes(content)


def bomb(rng: random.Random) -> bytes:
    """Gigapixels in a few bytes."""
    width, height = rng.choice(((60_000, 60_000), (2**31 - 1, 2), (12_000, 12_000), (0, 5)))
    if rng.random() < 0.3:  # TIFF: one strip that claims to be large
        tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8),
                (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, 2**31 - 1)]  # fmt: skip
        return b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(struct.pack("<HHII", *t) for t in tags) + bytes(4)
    data = zlib.compress(bytes(100_000))

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def value(rng: random.Random) -> str:
    return rng.choice((*NUMBERS, *TEXTS, "true", "remove the cat", "1,2,3,4", "5,5", "auto", "text", "denoise", "edit"))


def request(path: str, body: bytes, kind: str, *more: str, method: str = "POST", host: str = "localhost") -> bytes:
    head = [f"{method} {path} HTTP/1.1", f"Host: {host}", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "Connection: close", *more, "", ""]).encode("utf-8", "surrogateescape") + body


def form(rng: random.Random) -> tuple[bytes, str]:
    """A form with a photo, mostly, and fields that may be anything."""
    files = {name: picture(rng) for name, share in SHARES.items() if rng.random() < share}
    fields = {rng.choice(FIELDS): value(rng) for _ in range(rng.randrange(6))}
    if rng.random() < 0.5:
        fields |= {"box": "4,4,12,9", "task": "denoise"}
    fields |= {"passes": "1", "candidates": "1", "draft": "1"} if rng.random() < 0.9 else {"passes": "1"}
    return multipart(files, fields)


def fields(rng: random.Random) -> Attack:
    body, kind = form(rng)
    return Attack("fields", request(rng.choice(ROUTES), body, kind))


def broken_form(rng: random.Random) -> Attack:
    body, kind = form(rng)
    harm = rng.randrange(8)
    if harm == 0:
        body = body[: rng.randrange(len(body))]
    elif harm == 1:
        kind = rng.choice(("multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=X",
                           "multipart/form-data; boundary=" + "B" * 500, "multipart/mixed; boundary=B"))  # fmt: skip
    elif harm == 2:
        names = ("../../../etc/passwd", "C:\\x", "a\0b", "/dev/null", "." * 300, 'x"; name="image')
        body = body.replace(b'filename="upload"', f'filename="{rng.choice(names)}"'.encode())
    elif harm == 3:
        body = body.replace(
            b"Content-Disposition", rng.choice((b"X", b"Content-Disposition: x\r\nContent-Disposition", b""))
        )
    elif harm == 4:
        body, kind = multipart({}, {f"f{i}": "x" for i in range(rng.choice((90, 150, 2000)))})
    elif harm == 5:
        body = (
            b"".join(
                b'--B\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\nx\r\n' for _ in range(40)
            )
            + b"--B--\r\n"
        )
    elif harm == 6:
        body = body.replace(b"\r\n", b"\n", rng.randrange(1, 5))
    else:
        spot = rng.randrange(len(body))
        body = body[:spot] + rng.randbytes(rng.randrange(1, 40)) + body[spot:]
    return Attack("broken form", request(rng.choice(ROUTES), body, kind))


def some_json(rng: random.Random) -> Attack:
    uri = "data:image/png;base64," + base64.b64encode(picture(rng)).decode()
    odd: tuple[object, ...] = (
        uri, "http://127.0.0.1:1/x", "file:///etc/passwd", "data:,", "data:image/png;base64,####", 5, None, [], {},
        True, [uri, uri], {"image_url": uri}, [{"image_url": {"url": uri}}], "data:text/html;base64,PHNjcmlwdD4=",
    )  # fmt: skip
    told: dict[str, object] = {"image": rng.choice(odd), "passes": 1, "draft": True}
    for _ in range(rng.randrange(4)):
        told[rng.choice((*FIELDS, "images"))] = rng.choice(
            (value(rng), rng.choice(odd), -5, 1e308, [[1, 2, 3, 4]], [1, 2])
        )
    body = json.dumps(told).encode()
    harm = rng.randrange(6)
    if harm == 0:
        body = b"[" * rng.choice((10, 100_000)) + body
    elif harm == 1:
        body = body[: rng.randrange(len(body))]
    elif harm == 2:
        body = rng.choice((b"", b"null", b"[]", b'"x"', b"\xff\xfe", b"NaN", b'{"image": 1e400}', b"9" * 5000))
    return Attack("json", request(rng.choice(ROUTES), body, "application/json"))


def strangers(rng: random.Random) -> Attack:
    body, kind = form(rng)
    path = rng.choice((*ROUTES, "/", "/health", "/metrics"))
    if rng.random() < 0.5:
        return Attack("foreign host", request(path, body, kind, host=rng.choice(HOSTS)))
    more = rng.choice(
        ("Origin: https://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site", "Origin: http://localhost:1")
    )
    return Attack("foreign origin", request(path, body, kind, more))


def broken_http(rng: random.Random) -> Attack:
    body, kind = form(rng)
    good = request(rng.choice(ROUTES), body, kind)
    choice = rng.randrange(10)
    if choice == 0:
        return Attack(
            "huge headers", request("/health", b"", kind, *[f"X-{i}: {'a' * 2000}" for i in range(60)], method="GET")
        )
    if choice == 1:
        length = rng.choice(("-1", "99999999999999999999", "abc", "5, 6", "+5", "1e3"))
        return Attack("length", re.sub(rb"Content-Length: \d+", f"Content-Length: {length}".encode(), good))
    if choice == 2:
        head = b"POST /v1/assess HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=B\r\n"
        sizes = rng.choice((b"zz", b"-5", b"ffffffffffffffffff", b'5;x="', b"0"))
        return Attack("chunks", head + b"Transfer-Encoding: chunked\r\n\r\n" + sizes + b"\r\nhello\r\n0\r\n\r\n")
    if choice == 3:
        return Attack("smuggling", good.replace(b"Content-Length", b"Transfer-Encoding: chunked\r\nContent-Length"))
    if choice == 4:
        spot = rng.randrange(200)
        return Attack("bytes in the head", good[:spot] + rng.randbytes(rng.randrange(1, 9)) + good[spot:])
    if choice == 5:
        methods = ("TRACE", "CONNECT", "PUT", "PATCH", "get", "OPTIONS", "A" * 100, "PROPFIND", "HEAD")
        return Attack("method", request(rng.choice(ROUTES), b"", kind, method=rng.choice(methods)))
    if choice == 6:
        return Attack("cut off", good[: rng.randrange(1, len(good))], cut=True)
    if choice == 7:
        return Attack("two lengths", good.replace(b"Content-Length: ", b"Content-Length: 7\r\nContent-Length: "))
    if choice == 8:
        return Attack(
            "upgrade", request("/v1/jobs", b"", kind, "Upgrade: websocket", "Sec-WebSocket-Key: x", method="GET")
        )
    return Attack("no http", rng.randbytes(rng.randrange(1, 300)) + b"\r\n\r\n")


def path_names(rng: random.Random) -> Attack:
    steps = (
        "..",
        "%2e%2e",
        "%2e%2e%2f",
        "..\\",
        "%00",
        "jobs.sqlite",
        "etc/passwd",
        "image-0",
        "%",
        "%zz",
        "x" * 3000,
        "%c0%ae",
        ";",
        "?",
        "#",
    )
    base = rng.choice(("/v1/jobs/", "/page/", "/v1/models/", "/", "/v1/jobs/x/files/", "//", "http://localhost/"))
    path = base + "/".join(rng.choice(steps) for _ in range(rng.randrange(1, 6)))
    return Attack("path names", request(path, b"", "text/plain", method=rng.choice(("GET", "DELETE", "POST"))))


MAKERS: tuple[Callable[[random.Random], Attack], ...] = (
    fields, fields, fields, broken_form, broken_form, some_json, some_json, strangers, broken_http, broken_http,
    path_names,
)  # fmt: skip


def attack(seed: int, index: int) -> Attack:
    rng = random.Random(f"{seed}/{index}")
    return rng.choice(MAKERS)(rng)


def strike(port: int, one: Attack, secret: str) -> tuple[str, str | None]:
    """(status or how it ended, what is wrong with that)."""
    answer, whole = b"", one.kind not in UNFINISHED
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as line:
            line.sendall(one.content)
            if one.cut:
                return "left", None
            line.settimeout(LIMIT if whole else PAUSE)
            while part := line.recv(1 << 16):
                answer += part
    except TimeoutError:
        if whole:
            return "silence", "no answer in time"
    except (ConnectionResetError, BrokenPipeError):
        pass  # closed while it was still being sent to: an answer may have come
    if not answer:
        return "none", "no answer" if whole else None
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split()[1].decode()
    return status, fault(int(status), head, body, secret)


def fault(status: int, head: bytes, body: bytes, secret: str) -> str | None:
    """What is wrong with an answer."""
    if status >= 500:
        return f"status {status}: {body[:200]!r}"
    if secret.encode() in head + body or b"Traceback" in body or b"site-packages" in body:
        return f"tells of the machine: {body[:200]!r}"
    if status >= 400 and body:
        try:
            error = json.loads(body)["error"]
        except (ValueError, KeyError, TypeError):
            return f"status {status} in another form: {body[:200]!r}"
        if not {"message", "type", "param", "code"} <= set(error) or not error["message"]:
            return f"status {status} in another form: {body[:200]!r}"
    return None


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        server = ready(start(state, "--max-bytes", "2000000", "--max-pixels", "2000000", "--queue", "64"))
        port, began = int(server.url.rpartition(":")[2]), time.monotonic()

        def one(index: int) -> tuple[str, str, str | None]:
            drawn = attack(options.seed, index)
            status, wrong = strike(port, drawn, folder)
            if wrong:
                print(f"{index} {drawn.kind}: {wrong}", file=sys.stderr)
            return drawn.kind, status, wrong

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(one, range(options.count)))
        seconds = time.monotonic() - began
        for job in server.ask("/v1/jobs")[1]["data"]:
            server.ask(f"/v1/jobs/{job['id']}", method="DELETE")
        alive = server.ask("/ready")[0] == 200 and server.process.poll() is None
        told = server.ask("/metrics")[1].decode()
        time.sleep(1)
        left = len(list((state / "spool").iterdir()))
        server.end()
        log = server.log.read_text()
    summary = {
        "requests": len(found),
        "seconds": round(seconds, 1),
        "kinds": Counter(kind for kind, *_ in found),
        "answers": dict(sorted(Counter(status for _, status, _ in found).items())),
        "faults": sum(wrong is not None for *_, wrong in found),
        "tracebacks": log.count("Traceback"),
        "files left": left,
        "worker restarts": float(re.findall(r"^restore_worker_restarts (.*)$", told, re.M)[0]),
        "alive": alive,
    }
    print(json.dumps(summary, indent=1))
    if "Traceback" in log:
        print(log[-5000:], file=sys.stderr)
    return int(any(w for *_, w in found) or "Traceback" in log or left or not alive)


if __name__ == "__main__":
    sys.exit(main())
