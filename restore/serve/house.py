"""What every route works with: the workshop, the jobs, the folders; and how a request becomes a case and an answer."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from starlette.requests import Request

from restore.errors import InputError
from restore.images.files import fcntl
from restore.serve import asks
from restore.serve.case import Case
from restore.serve.errors import CLIENT_CLOSED, ApiError
from restore.serve.fields import Fields, wrong
from restore.serve.jobs import Jobs
from restore.serve.metrics import Metrics
from restore.serve.options import ServeOptions
from restore.serve.upload import Sent, read_body, store
from restore.serve.workshop import Errand, Workshop

if TYPE_CHECKING:
    from restore.edit.choose import Models

T = TypeVar("T")


class House:
    """One server's things. Its folder belongs to one server at a time."""

    def __init__(self, models: Models, options: ServeOptions) -> None:
        """Raises InputError where another server uses the folder, or it cannot be written."""
        self.models, self.options = models, options
        self._lock = _locked(options.folder)
        self.spool = options.folder / "spool"
        shutil.rmtree(self.spool, ignore_errors=True)  # of a server that was killed
        self.spool.mkdir()
        self.metrics = Metrics()
        self.workshop = Workshop(models, options)
        self.jobs = Jobs(options.folder, self.workshop)
        self._drops: set[asyncio.Task[None]] = set()
        self.metrics.watch("queue_waiting", "Requests that wait for the worker.", lambda: self.workshop.waiting)
        self.metrics.watch("worker_busy", "Whether the worker works.", lambda: self.workshop.busy)
        self.metrics.watch("worker_restarts", "Workers that were replaced.", lambda: self.workshop.restarts)
        self.metrics.watch("jobs_waiting", "Jobs that wait.", lambda: self.jobs.waiting)

    def start(self) -> None:
        self.workshop.start()
        self.jobs.start()

    async def stop(self) -> None:
        self.workshop.draining = True
        await self.jobs.stop()
        await self.workshop.stop()
        self.jobs.close()
        self._lock.close()

    async def read(self, request: Request, task: str | None) -> tuple[Case, list[str]]:
        """The case that a request asks for, its files stored, and the fields that nothing reads; task None: a job, of
        the type that it names. Raises ApiError."""
        fields, sent = await read_body(request)
        try:
            job = task is None
            task = task or asks.job_type(fields)
            options = asks.read(task, fields)
            if job and "report" in options:
                options |= {"report": True, "partial": 0, "stream": False}
            _check(task, options, fields, sent)
            options["images"] = sum(name == "image" for name, _ in sent)
            root, name = (self.jobs.files, self.jobs.name()) if job else (self.spool, None)
            case = Case.new(root, task, options, name)
            try:
                await asyncio.to_thread(store, case.folder, sent)
            except OSError:
                case.drop()
                raise ApiError(507, "the server has no room for what was sent", "no_room") from None
            except BaseException:
                case.drop()
                raise
        finally:
            await request.close()
        return case, fields.passed_over()

    @contextmanager
    def errand(self, case: Case) -> Iterator[Errand]:
        """The case on its way; cancelled, and its files deleted, when the block is left."""
        try:
            errand = self.workshop.submit(case)
        except ApiError:
            case.drop()
            raise
        try:
            yield errand
        finally:
            self.workshop.cancel(errand)
            drop = asyncio.create_task(_dropped(case, errand))
            self._drops.add(drop)
            drop.add_done_callback(self._drops.discard)


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """What the work gives, given up when the client goes away. Raises ApiError then."""
    gone = asyncio.ensure_future(_gone(request))
    doing = asyncio.ensure_future(work)
    try:
        await asyncio.wait((doing, gone), return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise ApiError(CLIENT_CLOSED, "the client went away", "cancelled")
        return doing.result()
    finally:
        doing.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _dropped(case: Case, errand: Errand) -> None:
    await errand.left.wait()
    await asyncio.to_thread(case.drop)


def _check(task: str, options: dict[str, Any], fields: Fields, sent: Sent) -> None:
    """What concerns words and files together."""
    names = [name for name, _ in sent]
    if "image" not in names:
        raise wrong("image", "a photo", "none")
    if task in ("edit", "segment"):
        shown = "mask" in names or bool(options.get("box")) or bool(options["point"])
        asks.check_words(options, shown=shown)


def _locked(folder: Path) -> IO[bytes]:
    """Raises InputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (folder / "lock").open("wb")
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(
            f"{folder}: expected a folder of this server alone, got one in use; give another --state"
        ) from None
    except OSError as error:
        raise InputError(f"{folder}: expected a folder that can be written to, got: {error.strerror}") from None
    return file
