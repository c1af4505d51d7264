"""The worker process seen from the server: what waits for it, what is told of it, and its replacement."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from restore.serve.case import Case
from restore.serve.errors import CLIENT_CLOSED, ApiError
from restore.serve.options import ServeOptions
from restore.serve.worker import main

if TYPE_CHECKING:
    from restore.edit.choose import Models

TRIES = 2  # of a case whose worker dies
LOAD_PAUSE = 2.0  # seconds before another worker is tried after one that died while it loaded
log = logging.getLogger("restore")
Event = tuple[str, dict[str, Any]]  # ("step" | "pass" | "kept" | "done" | "failed", what)
LOST = {"status": 500, "message": "the worker process ended on this request, twice", "code": "worker_died"}
Died = None  # what a worker says last


class WorkerDied(Exception):
    """The process ended before it answered."""


@dataclass(eq=False)
class Errand:
    """A case on its way. Its events end with "done" or "failed"; `left` is set once nobody works on it any more."""

    case: Case
    number: int
    events: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    tries: int = 0
    over: bool = False
    timer: asyncio.TimerHandle | None = None

    def tell(self, kind: str, what: dict[str, Any]) -> None:
        if self.over:
            return
        self.over = kind in ("done", "failed")
        if self.over and self.timer is not None:
            self.timer.cancel()
        self.events.put_nowait((kind, what))

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            kind, what = await self.events.get()
            yield kind, what
            if kind in ("done", "failed"):
                return

    async def result(self) -> dict[str, Any]:
        """Raises ApiError where it failed."""
        async for kind, what in self:
            if kind == "done":
                return what
            if kind == "failed":
                raise ApiError(**what)
        raise AssertionError("events end with one of these")


class Worker:
    """One process and its line. A thread listens to it, so that any platform's pipes will do."""

    def __init__(self, models: Models, options: ServeOptions) -> None:
        context = multiprocessing.get_context("spawn")
        self.line, theirs = context.Pipe()
        self.stopped = context.Value("Q", 0, lock=False)
        self.process = context.Process(target=main, args=(theirs, self.stopped, models, options), daemon=True)
        self.process.start()
        theirs.close()
        self.inbox: asyncio.Queue[tuple[str, int, dict[str, Any]] | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        threading.Thread(target=_listen, args=(self.line, loop, self.inbox), daemon=True).start()

    async def heard(self) -> tuple[str, int, dict[str, Any]]:
        """The next that it says. Raises WorkerDied."""
        message = await self.inbox.get()
        if message is Died:
            self.inbox.put_nowait(Died)
            raise WorkerDied
        return message

    def end(self) -> None:
        with suppress(OSError):
            self.line.close()
        self.process.kill()
        self.process.join()


class Workshop:
    """Cases in, events out, one at a time. ready: a worker waits or works; draining: nothing new is taken."""

    def __init__(self, models: Models, options: ServeOptions) -> None:
        self.models, self.options = models, options
        self.ready = self.draining = False
        self.broken: ApiError | None = None
        self.restarts = 0
        self._waiting: deque[Errand] = deque()
        self._news = asyncio.Event()
        self._numbers = 0
        self._current: Errand | None = None
        self._worker: Worker | None = None
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._loop = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End the worker; what it did or what waits fails as cancelled."""
        self.draining = True
        for errand in [*self._waiting, *([self._current] if self._current else [])]:
            self.cancel(errand)
        if self._loop is not None:
            self._loop.cancel()
            with suppress(asyncio.CancelledError):
                await self._loop
        if self._worker is not None:
            await asyncio.to_thread(self._worker.end)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def busy(self) -> bool:
        return self._current is not None

    def check(self, *, room: bool = True) -> None:
        """Raises ApiError where a case would not be taken now; `room`: nor while the queue is full."""
        if self.broken is not None:
            raise self.broken
        if self.draining:
            raise ApiError(503, "the server is going down", "draining")
        if not self.ready and not self.restarts:
            raise ApiError(503, "the model is still loading; try again in a few seconds", "loading")
        if room and len(self._waiting) >= self.options.queue:
            raise ApiError(429, f"{len(self._waiting)} requests wait already; try again later", "queue_full")

    def submit(self, case: Case, *, job: bool = False) -> Errand:
        """Raises ApiError as `check` does; a job waits elsewhere for its turn, and has as long as it takes."""
        self.check(room=not job)
        self._numbers += 1
        errand = Errand(case, self._numbers)
        if not job:
            late = {"status": 504, "message": f"not done within {self.options.deadline:g} s", "code": "deadline"}
            errand.timer = asyncio.get_running_loop().call_later(self.options.deadline, self.cancel, errand, late)
        self._waiting.append(errand)
        self._news.set()
        return errand

    def cancel(self, errand: Errand, why: dict[str, Any] | None = None) -> None:
        """Nobody wants it any more: it leaves the queue, or the worker's hands within a step."""
        errand.tell("failed", why or {"status": CLIENT_CLOSED, "message": "cancelled", "code": "cancelled"})
        if errand in self._waiting:
            self._waiting.remove(errand)
            errand.left.set()
        elif errand is self._current and self._worker is not None:
            self._worker.stopped.value = errand.number
            asyncio.get_running_loop().call_later(self.options.grace, self._insist, errand)

    def _insist(self, errand: Errand) -> None:
        if errand is self._current and self._worker is not None:
            log.warning("work did not stop within %g s: its process is ended", self.options.grace)
            self._worker.process.kill()

    async def _run(self) -> None:
        while True:
            worker = self._worker = Worker(self.models, self.options)
            try:
                kind, _, what = await worker.heard()
                if kind == "broken":
                    self.broken = ApiError(**what)
                    return
                self.ready = True
                while True:
                    await self._serve(worker)
            except WorkerDied:
                self.restarts += 1
                log.warning("the worker process ended; another is started")
                await asyncio.to_thread(worker.end)
                if not self.ready:
                    await asyncio.sleep(LOAD_PAUSE)
                self.ready = False

    async def _serve(self, worker: Worker) -> None:
        """Do what waits first; hear meanwhile whether the worker lives. Raises WorkerDied."""
        while not self._waiting:
            self._news.clear()
            news, death = asyncio.ensure_future(self._news.wait()), asyncio.ensure_future(worker.heard())
            try:
                await asyncio.wait((news, death), return_when=asyncio.FIRST_COMPLETED)
                if death.done():
                    death.result()
            finally:
                news.cancel()
                death.cancel()
                await asyncio.gather(news, death, return_exceptions=True)
        errand = self._current = self._waiting.popleft()
        errand.tries += 1
        try:
            await self._one(worker, errand)
        except WorkerDied:
            if not errand.over and errand.tries < TRIES:
                self._waiting.appendleft(errand)
            else:
                errand.tell("failed", LOST)
            raise
        finally:
            self._current = None
            if errand not in self._waiting:
                errand.left.set()

    async def _one(self, worker: Worker, errand: Errand) -> None:
        case = errand.case
        try:
            worker.line.send((errand.number, os.fspath(case.folder), case.task, case.options))
        except OSError:
            raise WorkerDied from None
        while True:
            kind, number, what = await worker.heard()
            if number == errand.number:
                errand.tell(kind, what)
                if kind in ("done", "failed"):
                    return


def _listen(line: Connection, loop: asyncio.AbstractEventLoop, inbox: asyncio.Queue[Any]) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody listens any more
        try:
            while True:
                loop.call_soon_threadsafe(inbox.put_nowait, line.recv())
        except (EOFError, OSError):
            loop.call_soon_threadsafe(inbox.put_nowait, Died)
