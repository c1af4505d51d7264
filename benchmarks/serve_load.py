"""Many clients at one server: lost answers, times, throughput beside the engine alone, memory; dawdlers, leavers.

  python -m benchmarks.serve_load --clients 5 --requests 40 --large 10

Every request fills a hole, by the quick preview (`draft`) or one pass, with a seed of its own, which the answer must
name; pixels outside the hole must be the photo's. CPU seconds are those of the server and its worker by /proc, so that
other work on the machine does not show in them.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import socket
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.conftest import make_scene
from tests.serving import Running, multipart, ready, start

SIZES = {"1 MP": (1200, 833), "12 MP": (4000, 3000)}
Work = dict[str, str]
DRAFT: Work = {"draft": "1"}
PASS: Work = {"passes": "1", "candidates": "1"}
LORIS, LEAVERS = 30, 30
TICK = os.sysconf("SC_CLK_TCK")


def jpeg(size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(make_scene(600, 800)).resize(size).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def box_of(size: tuple[int, int]) -> str:
    width, height = size
    return f"{width // 2},{height // 2},{width // 10},{height // 10}"


def processes(server: Running) -> list[int]:
    """The server and its worker."""
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(int(c) for c in children if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes())]


def cpu(server: Running) -> float:
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in processes(server)]
    return sum(int(f[11]) + int(f[12]) for f in fields) / TICK


def memory(server: Running) -> list[int]:
    """Resident megabytes of each."""
    return [
        int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") >> 20
        for pid in processes(server)
    ]


def alone(size: tuple[int, int], count: int, work: Work) -> dict[str, float]:
    """The same work in this process: files to files, as the worker does it."""
    from restore import Engine
    from restore.serve.asks import read
    from restore.serve.case import Case
    from restore.serve.fields import Fields
    from restore.serve.work import done

    engine = Engine().load()
    options = read("edit", Fields({"box": [box_of(size)]} | {name: [text] for name, text in work.items()})) | {
        "images": 1
    }
    with tempfile.TemporaryDirectory() as folder:
        case = Case(Path(folder), "edit", options)
        (case.folder / "image-0").write_bytes(jpeg(size))
        done(engine, case, lambda *_: True)
        wall, used = time.perf_counter(), time.process_time()
        for _ in range(count):
            done(engine, case, lambda *_: True)
        return {"wall": (time.perf_counter() - wall) / count, "cpu": (time.process_time() - used) / count}


def load(server: Running, size: tuple[int, int], clients: int, count: int, work: Work) -> dict[str, Any]:
    """`clients` at once, each `count` requests one after the other."""
    content, box = jpeg(size), box_of(size)
    with Image.open(io.BytesIO(content)) as image:
        photo = np.asarray(image)
    outside = np.ones(photo.shape[:2], bool)
    x, y, w, h = map(int, box.split(","))
    outside[y : y + h, x : x + w] = False
    seconds: list[float] = []
    wrong: list[str] = []
    grown = [memory(server)]

    def client(number: int) -> None:
        for k in range(count):
            seed = number * 100_000 + k
            begun = time.perf_counter()
            status, told = server.send("/v1/images/edits", {"image": content}, box=box, seed=seed, **work)
            seconds.append(time.perf_counter() - begun)
            if status != 200 or told["restore"]["results"][0]["seed"] != seed:
                wrong.append(f"{seed}: {status}")
            elif k % 10 == 0 and (decoded(told) != photo)[outside].any():
                wrong.append(f"{seed}: other pixels changed")
            if number == 0 and k % max(1, count // 4) == 0:
                grown.append(memory(server))

    used, begun = cpu(server), time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    wall, used, total = time.perf_counter() - begun, cpu(server) - used, clients * count
    grown.append(memory(server))
    p50, p95 = np.percentile(seconds, (50, 95))
    return {"requests": total, "answered": len(seconds), "wrong": wrong, "p50 s": round(p50, 2), "p95 s": round(p95, 2),
            "wall s": wall / total, "cpu s": used / total, "MB of server and worker": grown}  # fmt: skip


def decoded(told: dict[str, Any]) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(base64.b64decode(told["data"][0]["b64_json"]))) as image:
        return np.asarray(image)


def dawdlers(server: Running) -> dict[str, Any]:
    """Connections that never finish their headers or bodies, clients that leave at once: does another get through?"""
    port = int(server.url.rpartition(":")[2])
    body, kind = multipart({"image": jpeg(SIZES["1 MP"])}, {"box": box_of(SIZES["1 MP"]), "passes": "5"})
    head = (
        f"POST /v1/images/edits HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    )
    lines = []
    for k in range(LORIS):
        line = socket.create_connection(("127.0.0.1", port))
        line.sendall(head.encode() + (b"\r\n" + body[:1000] if k % 2 else b""))
        lines.append(line)
    begun = time.perf_counter()
    status = load(server, SIZES["1 MP"], 1, 1, DRAFT)
    through = time.perf_counter() - begun
    for _ in range(LEAVERS):
        with socket.create_connection(("127.0.0.1", port)) as line:
            line.sendall(head.encode() + b"\r\n" + body)
    begun = time.perf_counter()
    while "restore_worker_busy 0.0" not in server.ask("/metrics")[1].decode() and time.perf_counter() - begun < 60:
        time.sleep(0.1)
    free = time.perf_counter() - begun
    begun = time.perf_counter()
    for line in lines:
        line.settimeout(90)
        while True:
            try:
                if not line.recv(4096):
                    break
            except OSError:
                break
        line.close()
    return {
        "dawdling": LORIS,
        "one more answered in s": round(through, 2),
        "wrong": status["wrong"],
        "leavers": LEAVERS,
        "free again in s": round(free, 2),
        "dawdlers closed after s": round(time.perf_counter() - begun, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clients", type=int, default=5)
    parser.add_argument("--requests", type=int, default=40, help="of 1 MP, per client")
    parser.add_argument("--large", type=int, default=10, help="of 12 MP, per client of two")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = ready(start(Path(folder) / "state"))
        for name, clients, count, work in (
            ("1 MP", options.clients, options.requests, DRAFT),
            ("12 MP", 2, options.large, DRAFT),
            ("1 MP", 2, max(1, options.requests // 8), PASS),
        ):
            found = load(server, SIZES[name], clients, count, work)
            base = alone(SIZES[name], max(3, min(20, clients * count // 4)), work)
            found["engine alone"] = base
            found["throughput by CPU"] = round(base["cpu"] / found["cpu s"], 3)
            found["throughput by wall"] = round(base["wall"] / found["wall s"], 3)
            print(name, work, json.dumps(found), flush=True)
        print("dawdlers", json.dumps(dawdlers(server)))
        server.end()
        print("tracebacks", server.log.read_text().count("Traceback"))


if __name__ == "__main__":
    main()
