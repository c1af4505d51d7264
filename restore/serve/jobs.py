"""Long work that outlives its request, and the server: jobs in a SQLite file, their files in a folder each."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import sqlite3
import time
from pathlib import Path
from typing import Any

from restore.serve.case import Case
from restore.serve.errors import ApiError
from restore.serve.workshop import Errand, Workshop

TABLE = """
create table if not exists jobs (
    id text primary key, created real not null, changed real not null, task text not null, options text not null,
    status text not null, tries integer not null default 0, result text, error text
)"""
QUEUED, RUNNING, SUCCEEDED, FAILED = "queued", "running", "succeeded", "failed"
MOST_WAITING = 100
TRIES = 3  # starts of a job until it is given up: one may have been the server's end
KEPT = 24 * 3600.0  # seconds that a finished job is kept
SWEEP = 600.0  # seconds between looks for those that are older
log = logging.getLogger("restore")


class Jobs:
    """All jobs of one folder. Results lie in `files / ID`."""

    def __init__(self, folder: Path, workshop: Workshop) -> None:
        self.workshop, self.files = workshop, folder / "jobs"
        self.files.mkdir(parents=True, exist_ok=True)
        self.db = sqlite3.connect(folder / "jobs.sqlite", isolation_level=None, check_same_thread=False)
        self.db.row_factory = sqlite3.Row
        self.db.execute("pragma journal_mode=wal")
        self.db.execute(TABLE)
        self.db.execute("update jobs set status=? where status=?", (QUEUED, RUNNING))
        known = {row["id"] for row in self.db.execute("select id from jobs")}
        for left in self.files.iterdir():
            if left.name not in known:  # the server ended before the job was accepted
                Case(left, "", {}).drop()
        self.progress: dict[str, dict[str, Any]] = {}
        self._errand: tuple[str, Errand] | None = None
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._sweep())]

    async def stop(self) -> None:
        """The one under way goes back to the queue."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._errand is not None:
            self.workshop.cancel(self._errand[1])
            self.db.execute("update jobs set status=?, tries=tries-1 where id=?", (QUEUED, self._errand[0]))
            self._errand = None

    def close(self) -> None:
        self.db.close()

    @property
    def waiting(self) -> int:
        return int(self.db.execute("select count(*) from jobs where status=?", (QUEUED,)).fetchone()[0])

    @staticmethod
    def name() -> str:
        """Of a new job."""
        return secrets.token_hex(12)

    def check(self) -> None:
        """Raises ApiError while no more may wait."""
        if self.waiting >= MOST_WAITING:
            raise ApiError(429, f"{MOST_WAITING} jobs wait already; try again later", "queue_full")

    def add(self, case: Case) -> dict[str, Any]:
        """The job of a case whose folder is in `files`; it is kept from here on."""
        now, name = time.time(), case.folder.name
        values = (name, now, now, case.task, case.text, QUEUED)
        self.db.execute("insert into jobs (id, created, changed, task, options, status) values (?,?,?,?,?,?)", values)
        self._news.set()
        return self.told(self._row(name))

    def get(self, name: str) -> dict[str, Any]:
        return self.told(self._row(name))

    def all(self) -> list[dict[str, Any]]:
        return [self.told(row) for row in self.db.execute("select * from jobs order by created desc limit 100")]

    def delete(self, name: str) -> None:
        """Whatever it is doing, it is gone."""
        self._row(name)
        self.db.execute("delete from jobs where id=?", (name,))
        case = Case(self.files / name, "", {})
        if self._errand is not None and self._errand[0] == name:
            self.workshop.cancel(self._errand[1])  # `_do` drops the files once nobody writes there
        else:
            case.drop()

    def file(self, name: str, file: str) -> Path:
        """One of the job's results. Raises ApiError."""
        row = self._row(name)
        listed = _files(json.loads(row["result"])) if row["result"] else []
        if file not in listed:
            raise ApiError(404, f"expected one of the job's files ({', '.join(listed) or 'none yet'})", "not_found")
        return self.files / name / file

    def told(self, row: sqlite3.Row) -> dict[str, Any]:
        """A job as it is answered."""
        found = {"object": "job", "id": row["id"], "type": row["task"], "status": row["status"]}
        found |= {"created_at": int(row["created"]), **self.progress.get(row["id"], {"progress": None, "passes": []})}
        result = json.loads(row["result"]) if row["result"] else None
        found |= {"result": result, "files": _files(result) if result else []}
        return found | {"error": json.loads(row["error"]) if row["error"] else None}

    def _row(self, name: str) -> sqlite3.Row:
        row: sqlite3.Row | None = self.db.execute("select * from jobs where id=?", (name,)).fetchone()
        if row is None:
            raise ApiError(404, "there is no job of that id", "not_found")
        return row

    def _change(self, name: str, status: str, **more: Any) -> None:
        columns = "".join(f", {column}=?" for column in more)
        values = (status, time.time(), *more.values(), name)
        self.db.execute(f"update jobs set status=?, changed=?{columns} where id=?", values)

    async def _run(self) -> None:
        while True:
            row = self.db.execute("select * from jobs where status=? order by created limit 1", (QUEUED,)).fetchone()
            if row is None or not self.workshop.ready or self.workshop.draining:
                self._news.clear()
                pause = 0.2 if row is not None else None
                try:
                    await asyncio.wait_for(self._news.wait(), pause)
                except asyncio.TimeoutError:
                    continue
            elif row["tries"] >= TRIES:
                lost = ApiError(500, "the server or its worker ended on this job again and again", "worker_died")
                self._change(row["id"], FAILED, error=json.dumps(lost.body["error"]))
            else:
                await self._do(row)

    async def _do(self, row: sqlite3.Row) -> None:
        name, case = row["id"], Case(self.files / row["id"], row["task"], json.loads(row["options"]))
        self._change(name, RUNNING, tries=row["tries"] + 1)
        seen = self.progress[name] = {"progress": None, "passes": []}
        errand = self.workshop.submit(case, job=True)
        self._errand = name, errand
        async for kind, what in errand:
            if kind == "step":
                seen["progress"] = what
            elif kind == "pass":
                seen["passes"] = [*seen["passes"], what]
            elif kind == "done":
                self._change(name, SUCCEEDED, result=json.dumps(what))
            elif kind == "failed":
                self._change(name, FAILED, error=json.dumps(ApiError(**what).body["error"]))
        self._errand = None
        await errand.left.wait()
        self.progress.pop(name, None)
        if self.db.execute("select 1 from jobs where id=?", (name,)).fetchone() is None:
            case.drop()
        else:
            await asyncio.to_thread(case.drop_uploads)

    async def _sweep(self) -> None:
        while True:
            old = (QUEUED, RUNNING, time.time() - KEPT)
            for row in self.db.execute(
                "select id from jobs where status not in (?, ?) and changed < ?", old
            ).fetchall():
                self.delete(row["id"])
            await asyncio.sleep(SWEEP)


def _files(result: dict[str, Any]) -> list[str]:
    """Names of all files of a result."""
    each = [result, *result.get("results", [])]
    return [name for one in each for name in one.get("files", {}).values()]
