"""What the GIMP plug-in knows without GIMP: pixels, and talking to a server. GIMP itself: plugins/gimp/check.sh."""

from __future__ import annotations

import ast
import base64
import importlib.util
import io
import json
import sys
import threading
import time
from collections.abc import Iterator
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

FOLDER = Path(__file__).parents[2] / "plugins/gimp/restore"


def _client() -> Any:
    spec = importlib.util.spec_from_file_location("gimp_restore_client", FOLDER / "client.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


client = _client()
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("name", ["client.py", "restore.py"])
def test_nothing_but_the_standard_library_and_gimp(name: str) -> None:
    tree = ast.parse((FOLDER / name).read_text())
    found = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    found |= {str(n.module).split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert found <= sys.stdlib_module_names | {"gi", "client"}


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
@pytest.mark.parametrize("bits", [8, 16])
def test_pngs_hold_the_samples(channels: int, mode: str, bits: int) -> None:
    from restore.images.photo import read_photo

    array = RNG.integers(0, 2**bits, (7, 11, channels), dtype=np.uint8 if bits == 8 else np.uint16)
    photo = read_photo(io.BytesIO(client.png(array.tobytes(), 11, 7, channels, bits)), "sent")
    assert photo.mode == mode
    np.testing.assert_array_equal(photo.native.reshape(array.shape), array)


@given(st.tuples(*(st.integers(0, 3000),) * 2), st.tuples(*(st.integers(1, 900),) * 2), st.integers(0, 900))
def test_what_travels_holds_the_selection_and_stays_inside(at: Any, size: Any, more: int) -> None:
    whole = at[0] + size[0] + more, at[1] + size[1] + more
    x, y, w, h = client.needed((*at, *size), whole)
    assert 0 <= x <= at[0]
    assert 0 <= y <= at[1]
    assert at[0] + size[0] <= x + w <= whole[0]
    assert at[1] + size[1] <= y + h <= whole[1]
    margin = max(client.LEAST_MARGIN, *size)
    assert w <= size[0] + 2 * margin
    assert h <= size[1] + 2 * margin


@given(st.integers(1, 8), st.integers(1, 40), st.randoms(use_true_random=False))
def test_what_changed_is_found_to_the_pixel(pixel: int, count: int, random: Any) -> None:
    before = random.randbytes(pixel * count)
    after = bytearray(before)
    where = random.sample(range(count), random.randrange(count + 1))
    for n in where:
        after[n * pixel + random.randrange(pixel)] ^= 1 << random.randrange(8)
    found = client.changed(before, bytes(after), pixel)
    assert [n for n in range(count) if found[n]] == sorted(where)
    assert set(found) <= {0, 255}
    with pytest.raises(client.Problem, match="same size"):
        client.changed(before, before + b"\0", pixel)


def test_soft_selections_are_sent_whole() -> None:
    assert client.selected(bytes(range(256))) == b"\0" + b"\xff" * 255


class Fake(BaseHTTPRequestHandler):
    """A server that answers what the test says, and keeps what it was sent."""

    answer: tuple[int, bytes] = (200, b"{}")
    seen: dict[str, Any] = {}  # noqa: RUF012
    patience: threading.Event | None = None
    left = threading.Event()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        head = b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n"
        parts = BytesParser(policy=HTTP).parsebytes(head + body).iter_parts()
        named = {p.get_param("name", header="content-disposition"): p.get_payload(decode=True) for p in parts}
        Fake.seen = {"path": self.path, "key": self.headers.get("Authorization"), **named}
        if Fake.patience is not None:
            while not Fake.patience.wait(0.02):
                self.connection.setblocking(False)
                try:
                    if self.connection.recv(1) == b"":
                        Fake.left.set()
                        return
                except BlockingIOError:
                    pass
        status, content = Fake.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def url() -> Iterator[str]:
    Fake.answer, Fake.seen, Fake.patience = (200, b"{}"), {}, None
    with ThreadingHTTPServer(("127.0.0.1", 0), Fake) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def answer(data: Any, status: int = 200) -> None:
    Fake.answer = status, json.dumps(data).encode()


def test_edits_send_what_the_server_reads(url: str) -> None:
    answer({"data": [{"b64_json": base64.b64encode(b"picture").decode()}]})
    image, mask = b"\x89PNG\r\n--image\r\n\r\n", b"mask\0\r\n"
    assert client.Server(url, "s3cret").edit(image, mask, "remove the größte cat") == b"picture"
    prompt = Fake.seen.pop("prompt").decode()
    assert Fake.seen == {"path": "/v1/images/edits", "key": "Bearer s3cret", "image": image, "mask": mask}
    assert prompt == "remove the größte cat"
    client.Server(url).edit(image)
    assert Fake.seen == {"path": "/v1/images/edits", "key": None, "image": image}


def test_enhancing_and_assessing(url: str) -> None:
    answer({"data": [{"b64_json": base64.b64encode(b"picture").decode()}]})
    assert client.Server(url).enhance(b"image", "dejpeg") == b"picture"
    assert (Fake.seen["path"], Fake.seen["task"]) == ("/v1/enhance", b"dejpeg")
    answer({"quality": 87.5, "artifacts_b64": base64.b64encode(b"map").decode()})
    assert client.Server(url).assess(b"image") == (87.5, b"map")
    assert Fake.seen["path"] == "/v1/assess"


def test_every_task_is_one_of_restores() -> None:
    from restore.enhancement.tasks import TASKS

    assert set(client.TASKS) <= TASKS.keys()


@pytest.mark.parametrize(
    ("status", "content", "message"),
    [
        (
            400,
            b'{"error": {"message": "mask: expected the size of the photo"}}',
            "Mask: expected the size of the photo.",
        ),
        (401, b'{"error": {"message": "expected the server\'s API key"}}', "Expected the server's API key."),
        (500, b'{"error": null}', "The server answered 500."),
        (500, b"[1]", "The server answered 500."),
        (404, b"<html>", "is not a restore server: it answered 404 and no JSON."),
        (200, b'{"data": []}', "The server's answer holds no picture."),
        (200, b'{"data": [{"b64_json": "!"}]}', "The server's answer holds no picture."),
    ],
)
def test_refusals_are_told_in_words(url: str, status: int, content: bytes, message: str) -> None:
    Fake.answer = status, content
    with pytest.raises(client.Problem) as told:
        client.Server(url).edit(b"image")
    assert str(told.value).endswith(message)


def test_no_server_says_how_to_start_one(url: str) -> None:
    with pytest.raises(client.Problem, match=r"No restore server answers at http://127\.0\.0\.1:9\. .*: restore serve"):
        client.Server("127.0.0.1:9").edit(b"image")
    for wrong in ("ftp://x", "http://", ""):
        with pytest.raises(client.Problem, match="Expected the server's address"):
            client.Server(wrong)


def test_a_server_that_goes_away(url: str) -> None:
    Fake.answer = 200, b""
    with pytest.raises(client.Problem):
        client.Server(url).edit(b"image")


def test_waiting_shows_that_it_lives_and_can_be_stopped(url: str) -> None:
    answer({"data": [{"b64_json": "AAAA"}]})
    Fake.patience, ticks = threading.Event(), []

    def alive() -> None:
        ticks.append(time.monotonic())
        if len(ticks) == 3:
            assert Fake.patience is not None
            Fake.patience.set()

    assert client.Server(url, alive=alive).edit(b"image") == b"\0\0\0"
    assert len(ticks) >= 3
    Fake.patience, Fake.left = threading.Event(), threading.Event()
    with pytest.raises(client.Problem, match="Stopped"):
        client.Server(url, alive=lambda: False).edit(b"image")
    assert Fake.left.wait(5)  # the server hears of it


def test_pictures_go_there_and_back(url: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 3)).save(buffer, "PNG")
    answer({"data": [{"b64_json": base64.b64encode(buffer.getvalue()).decode()}]})
    with Image.open(io.BytesIO(client.Server(url).edit(client.png(bytes(27), 3, 3, 3, 8)))) as image:
        assert image.size == (3, 3)
