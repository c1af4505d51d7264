"""Who may ask, and how much."""

from __future__ import annotations

import http.client
import io
import json
import socket
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from restore.errors import InputError
from restore.images.encode import write_chunk
from restore.serve.options import ServeOptions
from tests.serving import Running, multipart, png, start


def test_other_addresses_need_a_key():
    for host in ("0.0.0.0", "192.168.1.5", "::", "studio.local"):
        with pytest.raises(InputError, match="--api-key"):
            ServeOptions(host=host)
        assert ServeOptions(host=host, api_key="k").host == host
    for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
        assert ServeOptions(host=host).api_key is None


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "8.8.8.8", ""])
def test_a_name_that_is_not_ours_is_refused(server, host):
    status, told = server.ask("/health", Host=host)
    assert (status, told["error"]["code"]) == (403, "host_not_allowed")


def test_our_names_are_known(server):
    port = server.url.rpartition(":")[2]
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", "LOCALHOST", "[::1]:9"):
        assert server.ask("/health", Host=host)[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_pages_of_other_sites_may_not_post_or_delete(server, photo, headers):
    body, kind = multipart({"image": photo}, {})
    for method, path in (("POST", "/v1/jobs"), ("POST", "/v1/images/edits"), ("DELETE", "/v1/jobs/x")):
        status, told = server.ask(path, body, method, content_type=kind, **headers)
        assert (status, told["error"]["code"]) == (403, "origin_not_allowed")
    assert server.ask("/v1/assess", body, content_type=kind, Origin=server.url)[0] == 200


def test_no_answer_may_be_read_or_framed_by_other_sites(server):
    for path in ("/", "/health", "/v1/models", "/nothing"):
        request = http.client.HTTPConnection(server.url.removeprefix("http://"))
        request.request("GET", path, headers={"Origin": "https://evil.example"})
        headers = request.getresponse().headers
        assert headers["access-control-allow-origin"] is None
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        request.close()


def test_errors_have_one_form(server, photo):
    asked = [
        (404, "GET", "/nothing", None, {}),
        (404, "GET", "/v1/jobs/none", None, {}),
        (405, "GET", "/v1/images/edits", None, {}),
        (400, "POST", "/v1/assess", b"{", {"content_type": "application/json"}),
        (415, "POST", "/v1/assess", b"x", {"content_type": "text/plain"}),
        (400, "POST", "/v1/assess", b"--B\r\nbroken", {"content_type": "multipart/form-data; boundary=B"}),
        (400, "POST", "/v1/assess", b"", {"content_type": "multipart/form-data"}),
    ]
    for expected, method, path, body, headers in asked:
        status, told = server.ask(path, body, method, **headers)
        assert status == expected, (path, told)
        assert set(told["error"]) == {"message", "type", "param", "code"}


def test_nothing_is_fetched(server):
    """Pictures are files or data URLs; every other address, of this machine or another, is refused unread."""
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.2)
        for url in (f"http://127.0.0.1:{trap.getsockname()[1]}/x.png", "file:///etc/passwd", "//evil.example/x"):
            for body in ({"image": url}, {"images": [{"image_url": url}]}):
                status, told = server.ask("/v1/assess", json.dumps(body).encode(), content_type="application/json")
                assert (status, told["error"]["param"]) == (400, "image")
            assert server.send("/v1/assess", {}, image=url)[0] == 400
        with pytest.raises(TimeoutError):
            trap.accept()


def test_bodies_and_pictures_are_bounded(strict):
    assert strict.send("/v1/assess", {"image": bytes(300_000)})[0] == 413
    assert _chunked(strict, 300_000) == 413
    bomb = io.BytesIO()  # 10,000 × 10,000 pixels in a hundred kilobytes
    bomb.write(b"\x89PNG\r\n\x1a\n")
    write_chunk(bomb, b"IHDR", b"\0\0\x27\x10\0\0\x27\x10\x08\0\0\0\0")
    write_chunk(bomb, b"IDAT", zlib.compress(bytes(10_001 * 10_000), 9))
    write_chunk(bomb, b"IEND", b"")
    started = time.monotonic()
    status, told = strict.send("/v1/assess", {"image": bomb.getvalue()})
    assert status == 400
    assert "megapixels" in told["error"]["message"]
    assert time.monotonic() - started < 5
    large = png(np.zeros((600, 800), np.uint8))
    for path, fields, param in (
        ("/v1/images/edits", {"n": 3, "box": "9,9,9,9"}, "n"),
        ("/v1/enhance", {"task": "super-resolution", "scale": 8}, "scale"),
        ("/v1/enhance", {"task": "compose", "degradation": "blur:1,downsample:8"}, "degradation"),
    ):
        status, told = strict.send(path, {"image": large}, **fields)
        assert (status, told["error"]["param"]) == (400, param)
    assert strict.ask("/ready")[0] == 200


def _chunked(server: Running, size: int) -> int:
    """The status of a body that does not tell its length."""
    part = b'--B\r\nContent-Disposition: form-data; name="image"; filename="upload"\r\n\r\n\x89PNG'
    line = http.client.HTTPConnection(server.url.removeprefix("http://"))
    headers = {"Content-Type": "multipart/form-data; boundary=B", "Authorization": "Bearer s3cret"}
    line.request("POST", "/v1/assess", iter([part, *[bytes(10_000)] * (size // 10_000)]), headers, encode_chunked=True)
    status = line.getresponse().status
    line.close()
    return status


def test_uploads_are_deleted(server, photo):
    spool = server.log.parent / "state" / "spool"
    assert server.send("/v1/assess", {"image": photo})[0] == 200
    assert server.send("/v1/assess", {"image": b"\x89PNG\r\n\x1a\nbroken"})[0] == 400
    end = time.monotonic() + 5
    while list(spool.iterdir()) and time.monotonic() < end:
        time.sleep(0.02)
    assert not list(spool.iterdir())


def test_a_port_in_use_is_told_in_one_line(server, tmp_path):
    with pytest.raises(AssertionError, match=r"restore: expected to listen on .*another --port"):
        start(tmp_path / "state", "--port", server.url.rpartition(":")[2])
    with pytest.raises(AssertionError, match="in use; give another --state"):
        start(server.log.parent / "state")


def test_a_grey_alpha_and_a_palette_photo_come_back(server, mask):
    rgba = np.dstack([np.full((160, 200, 3), 120, np.uint8), np.full((160, 200), 255, np.uint8)])
    for image in (Image.fromarray(rgba).convert("LA"), Image.fromarray(rgba[..., :3]).convert("P")):
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        assert server.send("/v1/images/edits", {"image": buffer.getvalue(), "mask": mask}, draft=1)[0] == 200
    assert server.send("/v1/images/edits", {"image": png(rgba), "mask": mask}, draft=1, output_format="jpeg")[0] == 200
