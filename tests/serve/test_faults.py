"""What goes wrong on the way: clients that leave, workers and servers that die."""

from __future__ import annotations

import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.serving import Running, multipart, ready, start

LONG = {"passes": 50, "candidates": 16, "par": 0, "n": 10}  # minutes
pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="finds worker processes in /proc")


def worker_of(server: Running) -> int:
    """The child that is no resource tracker."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return next(int(c) for c in children if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes())


def number(server: Running, name: str) -> float:
    lines = server.ask("/metrics")[1].decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"restore_{name} "))


def until(what, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def begin(server: Running, photo: bytes, mask: bytes, **fields: object) -> socket.socket:
    """A request whose answer nobody reads."""
    body, kind = multipart({"image": photo, "mask": mask}, LONG | fields)
    line = socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])))
    head = (
        f"POST /v1/images/edits HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    )
    line.sendall(head.encode() + b"\r\n" + body)
    return line


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_stops_its_work(server, photo, mask, stream):
    with begin(server, photo, mask, stream=stream):
        until(lambda: number(server, "worker_busy") == 1)
        worker = worker_of(server)
        if stream:
            time.sleep(1.5)  # the stream has begun
    left = time.monotonic()
    until(lambda: number(server, "worker_busy") == 0)
    assert time.monotonic() - left < 15  # one step; minutes were to come
    assert worker_of(server) == worker


def test_a_client_that_leaves_while_it_waits_is_forgotten(server, photo, mask):
    with begin(server, photo, mask):
        until(lambda: number(server, "worker_busy") == 1)
        with begin(server, photo, mask):
            until(lambda: number(server, "queue_waiting") == 1)
        until(lambda: number(server, "queue_waiting") == 0)


def test_a_job_is_cancelled_within_a_step(server, photo, mask):
    job = server.send("/v1/jobs", {"image": photo, "mask": mask}, **LONG)[1]
    server.until(f"/v1/jobs/{job['id']}", lambda told: told["progress"])
    assert server.ask(f"/v1/jobs/{job['id']}", method="DELETE")[0] == 200
    until(lambda: number(server, "worker_busy") == 0)
    until(lambda: not (server.log.parent / "state" / "jobs" / job["id"]).exists())


def test_a_worker_that_dies_is_replaced_and_its_request_done_again(server, photo, mask):
    before = number(server, "worker_restarts")
    with ThreadPoolExecutor(1) as pool:
        edit = {"passes": 1, "candidates": 3, "n": 2}
        answer = pool.submit(server.send, "/v1/images/edits", {"image": photo, "mask": mask}, **edit)
        until(lambda: number(server, "worker_busy") == 1)
        os.kill(worker_of(server), signal.SIGKILL)
        status, told = answer.result()
    assert status == 200
    assert len(told["data"]) == 2
    assert number(server, "worker_restarts") == before + 1


def test_loading_a_deadline_and_ctrl_c(tmp_path, photo, mask):
    server = start(tmp_path / "state", "--deadline", "2")
    status, told = server.send("/v1/images/edits", {"image": photo, "mask": mask})
    assert (status, told["error"]["code"]) == (503, "loading")
    assert server.ask("/health")[0] == 200
    status, told = ready(server).send("/v1/images/edits", {"image": photo, "mask": mask}, **LONG)
    assert (status, told["error"]["code"]) == (504, "deadline")
    until(lambda: number(server, "worker_busy") == 0)
    worker = worker_of(server)
    server.end(signal.SIGINT)
    assert "Traceback" not in server.log.read_text()
    assert not Path(f"/proc/{worker}").exists()


def test_servers_that_end_lose_no_job_and_no_answer(tmp_path, photo, mask):
    state = tmp_path / "state"
    server = ready(start(state))
    jobs = [server.send("/v1/jobs", {"image": photo, "mask": mask}, **LONG)[1]]
    jobs += [server.send("/v1/jobs", {"image": photo, "mask": mask}, draft=1)[1] for _ in range(3)]
    server.until(f"/v1/jobs/{jobs[0]['id']}", lambda told: told["progress"])
    worker = worker_of(server)
    server.end(signal.SIGKILL)
    until(lambda: not Path(f"/proc/{worker}").exists())  # it leaves within a step

    server = start(state)
    listed = {one["id"] for one in server.ask("/v1/jobs")[1]["data"]}
    assert listed == {job["id"] for job in jobs}
    server.until(f"/v1/jobs/{jobs[0]['id']}", lambda told: told["progress"])  # begun anew
    server.ask(f"/v1/jobs/{jobs[0]['id']}", method="DELETE")
    for job in jobs[1:]:
        assert server.until(f"/v1/jobs/{job['id']}", lambda told: told["result"])["status"] == "succeeded"

    job = server.send("/v1/jobs", {"image": photo, "mask": mask}, **LONG)[1]
    server.until(f"/v1/jobs/{job['id']}", lambda told: told["progress"])
    with ThreadPoolExecutor(1) as pool:  # SIGTERM: what was taken is answered, the job waits for the next start
        answer = pool.submit(server.send, "/v1/images/edits", {"image": photo, "mask": mask}, draft=1)
        until(lambda: number(server, "queue_waiting") == 1)
        server.process.send_signal(signal.SIGTERM)
        assert answer.result()[0] == 200
    server.process.wait(30)
    assert "Traceback" not in server.log.read_text()
    server = start(state)
    assert server.ask(f"/v1/jobs/{job['id']}")[1]["status"] in ("queued", "running")
    server.end()
