"""The executor of one machine: fresh processes, fed through pipes with lines of JSON, replaced when they end.

`python -m restore.batching.local` is the process. It ends when its standard input does: when the driver is gone.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from restore.batching.job import Job
from restore.batching.plan import Item
from restore.batching.record import Record
from restore.errors import ModelUnavailableError, RestoreError
from restore.images.files import sweep

AHEAD = 2  # items that a worker has: the one it works on, and the one it reads meanwhile
DEATHS = 5  # workers that die one after the other without a single result
READY = "ready"


class Local:
    """Yields records of items as they come, in no order. workers: processes; gpus: their number, shared out in turn."""

    def __init__(self, job: Job, token: str, workers: int, gpus: int = 0) -> None:
        self.job, self.token, self.workers, self.gpus = job, token, workers, gpus
        self._heard: queue.Queue[tuple[_Process, dict[str, Any] | None]] = queue.Queue()
        self._again: deque[Item] = deque()

    def __call__(self, items: Iterable[Item]) -> Iterator[Record]:
        """Raises RestoreError where workers cannot even start."""
        stream, processes, deaths, started = iter(items), set[_Process](), 0, 0
        try:
            while True:
                while len(processes) < self.workers and (item := self._next(stream)) is not None:
                    processes.add(_Process(self.job, self.token, self._gpu(started), self._heard))
                    started += 1
                    self._again.appendleft(item)
                    self._feed(processes, stream)
                if not processes:
                    return
                process, told = self._heard.get()
                if told is None:
                    processes.discard(process)
                    self._again.extendleft(reversed(process.items))
                    self._clean(process)
                    deaths += process.finished == 0 and bool(process.items)
                    if deaths >= DEATHS:
                        log = self.job.home / "workers.log"
                        raise RestoreError(f"expected workers that start, got {deaths} that died at once; see {log}")
                    continue
                if "fatal" in told:
                    raise ModelUnavailableError(told["fatal"])
                if READY not in told:
                    process.finished += 1
                    process.items.popleft()
                    deaths = 0
                    yield told
                self._feed(processes, stream)
        finally:
            for process in processes:
                process.kill()

    def _feed(self, processes: set[_Process], stream: Iterator[Item]) -> None:
        """Give every worker what it may have: of what a dead worker left, one at a time, so that it is known which item
        it dies of. A worker that has nothing, and gets nothing, ends."""
        for process in processes:
            while len(process.items) < (1 if self._again else AHEAD) and (item := self._next(stream)) is not None:
                process.send(item)
            if not process.items:
                process.end()

    def _next(self, stream: Iterator[Item]) -> Item | None:
        return self._again.popleft() if self._again else next(stream, None)

    def _gpu(self, started: int) -> str | None:
        return str(started % self.gpus) if self.gpus > 1 else None

    def _clean(self, process: _Process) -> None:
        """Drafts that a dead worker left where it was at work."""
        for item in process.items:
            sweep(self.job.store.draft(item["id"], item["key"]).parent)


class _Process:
    """A worker's process, seen from the driver. items: those it was sent and has not answered."""

    def __init__(self, job: Job, token: str, gpu: str | None, heard: queue.Queue[Any]) -> None:
        self.items: deque[Item] = deque()
        self.finished = 0
        environment = os.environ | {"OMP_NUM_THREADS": str(job.threads)}
        if gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = gpu
        root = str(Path(__file__).parents[2])  # the driver's own package, wherever it was started
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH"))))
        with (job.home / "workers.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "restore.batching.local"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,  # an interrupt is the driver's to hear
            )
        self._say({"job": job.as_json(), "token": token})
        self._listener = threading.Thread(target=self._listen, args=(heard,), daemon=True)
        self._listener.start()

    def send(self, item: Item) -> None:
        self.items.append(item)
        self._say(item)

    def end(self) -> None:
        with suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()

    def kill(self) -> None:
        self._process.kill()
        self._listener.join()

    def _say(self, message: Any) -> None:
        with suppress(OSError, ValueError):  # it is dead, which `_listen` tells
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def _listen(self, heard: queue.Queue[Any]) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as answers:
            for line in answers:
                with suppress(ValueError):  # a line that was cut off
                    heard.put((self, json.loads(line)))
        self._process.wait()
        self.end()
        heard.put((self, None))


def main() -> None:
    """The worker's process."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever libraries print is no answer
    first = json.loads(sys.stdin.readline())
    job = Job(**first["job"])
    from restore.batching.worker import Worker

    worker, ready = Worker(job, first["token"]), queue.Queue[Any]()
    room = threading.Semaphore(AHEAD)
    waiting: queue.Queue[Item] = queue.Queue()
    threading.Thread(target=_read, args=(sys.stdin, waiting), daemon=True).start()
    try:
        worker.warm()
    except RestoreError as error:
        _answer(answers, {"fatal": str(error)})
        os._exit(0)
    threading.Thread(target=_read_ahead, args=(worker, waiting, ready, room), daemon=True).start()
    _answer(answers, {READY: True})
    while not worker.is_worn():
        item, loading = ready.get()
        _answer(answers, worker(item, loading.result))
        del loading
        room.release()
    os._exit(0)


def _read(lines: IO[str], waiting: queue.Queue[Item]) -> None:
    for line in lines:
        waiting.put(json.loads(line))
    os._exit(0)


def _read_ahead(worker: Any, waiting: queue.Queue[Item], ready: queue.Queue[Any], room: threading.Semaphore) -> None:
    while True:
        item, loading = waiting.get(), Future[Any]()
        room.acquire()
        ready.put((item, loading))
        loading.set_result(worker.load(item))
        del loading


def _answer(answers: IO[str], message: Any) -> None:
    answers.write(json.dumps(message, default=str) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
