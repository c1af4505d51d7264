"""The driver of a batch: plans, holds the lease, keeps the ledger, and has the work done by an executor."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, fields
from itertools import chain
from pathlib import Path
from typing import Any

from restore.batching.job import Job
from restore.batching.lease import Lease
from restore.batching.ledger import Ledger, Receipts, drop_superseded, finished_keys
from restore.batching.plan import Counts, Item, Planner
from restore.batching.record import FAILED, Record, failure
from restore.batching.resources import gpus_here, workers_for
from restore.batching.source import TABLES, Row, read_rows
from restore.errors import InputError

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class How:
    """How a batch is run, which changes no result. engine: one of ENGINES; address: of a Ray cluster, None: a new one
    here; workers: None: as many as cores, memory and GPUs allow. retry_failed: try again what failed in earlier runs.
    max_errors: stop at so many failures. review: write a page of pictures before and after."""

    engine: str = "local"
    address: str | None = None
    workers: int | None = None
    retry_failed: bool = False
    max_errors: int | None = None
    review: bool = False

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise InputError(f"expected an engine out of {', '.join(ENGINES)}, got {self.engine!r}")
        for name in ("workers", "max_errors"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"expected {name} of at least 1, got {value}")


@dataclass
class Batch:
    """One run over `source`. counts: what the plan found; done, failed, rejected: what this run made of it."""

    job: Job
    source: Any
    how: How = field(default_factory=How)
    counts: Counts = field(default_factory=Counts)
    done: int = 0
    failed: int = 0
    rejected: int = 0
    stopped: str | None = None

    def check(self) -> None:
        """All that can be found wrong without a row. Raises InputError, ModelUnavailableError."""
        path = isinstance(self.source, (str, os.PathLike))
        self.job.check_all(rows_say_more=not path or Path(self.source).suffix.lower() in TABLES)

    def dry_run(self) -> Iterator[Item]:
        """What would be done, and what is wrong with it; writes nothing. Items of earlier runs are left out."""
        self.check()
        planner = Planner(self.job, deep=True)
        self.counts = planner.counts
        done, failed = finished_keys(self.job.results)
        yield from planner.items(self._rows(), done, () if self.how.retry_failed else failed)

    def run(self, on_plan: Callable[[int], Any] | None = None) -> Generator[Record, None, None]:
        """Records as they come. `on_plan(rows)` hears of the planning.

        Raises InputError, ModelUnavailableError, RestoreError.
        """
        self.check()
        rows = self._rows()
        self.job.begin()
        with closing(Lease(self.job.home / "lease")) as lease:
            ledger = Ledger(self.job.results, Receipts(self.job.home / "receipts"))
            before = len(ledger.done) + len(ledger.failed)
            try:
                for left in (self.job.home / "trying").iterdir():
                    left.unlink()
                with closing(self._worked(rows, ledger, lease, on_plan)) as records:
                    for record in records:
                        yield record
                        if self.how.max_errors is not None and self.failed >= self.how.max_errors:
                            self.stopped = f"{self.failed} pictures failed"
                            break
            finally:
                ledger.close()
            self._conclude(changed=self.done + self.failed > 0 or before == 0)

    def _worked(
        self, rows: Iterable[Row], ledger: Ledger, lease: Lease, on_plan: Callable[[int], Any] | None
    ) -> Generator[Record, None, None]:
        plan = self.job.home / "plan.jsonl"
        planner = Planner(self.job, on_rows=on_plan)
        self.counts = planner.counts
        items = planner.items(rows, ledger.done, () if self.how.retry_failed else ledger.failed)
        with plan.open("w", encoding="utf-8") as file:
            for item in items:
                if "error" in item:
                    yield self._entered(failure(self.job, item, item["error"]), ledger)
                else:
                    file.write(json.dumps(item, default=str) + "\n")
        if self.counts.todo:
            records = self._executor(lease.token)(_lines(plan))
            with closing(records):  # type: ignore[type-var]
                for record in records:
                    if lease.lost():
                        raise InputError(
                            f"{self.job.out}: expected to hold the lease, but another process took it over"
                        )
                    yield self._entered(record, ledger)
        plan.unlink()

    def _entered(self, record: Record, ledger: Ledger) -> Record:
        ledger.append(record)
        failed = record["status"] == FAILED
        self.failed += failed
        self.done += not failed
        self.rejected += record.get("kept") is False
        return record

    def _executor(self, token: str) -> Callable[[Iterable[Item]], Iterator[Record]]:
        if self.how.engine == "ray":
            from restore.batching.ray_engine import RayData

            return RayData(self.job, token, self.how.workers, self.how.address)
        from restore.batching.local import Local

        gpus = gpus_here(self.job.settings.get("device", "auto"))
        return Local(self.job, token, self.how.workers or workers_for(self.job, gpus), gpus)

    def _rows(self) -> Iterator[Row]:
        """Raises InputError where there is not even one."""
        rows = read_rows(self.source, self.job.home / "inputs", Path(self.job.out))
        if (first := next(rows, None)) is None:
            raise InputError(f"{self.source}: expected pictures, found none")
        return chain([first], rows)

    def _conclude(self, *, changed: bool) -> None:
        """The ledger as a table and as pages."""
        if changed or not (self.job.root / "summary.html").exists():
            from restore.batching.summary import write_pages
            from restore.batching.table import write_parquet

            drop_superseded(self.job.results)
            write_parquet(self.job.results)
            write_pages(self.job, review=self.how.review)


def batch(command: str, source: Any, output: str | os.PathLike[str], **options: Any) -> Iterator[Record]:
    """Do `command` ("inpaint", "enhance", "refine" or "assess") to every picture of `source`; yields records.

    source: a folder, glob, list or table of pictures (see docs/batch.md), or a data set as of `torch.utils.data` whose
    samples are paths, Pillow images, arrays, or mappings with an "image" and settings. output: a folder; what is
    done there already is not done again. options: fields of `Job` (name, kind, keep_if, threads, timeout, …), of `How`
    (engine, workers, retry_failed, max_errors, review), and settings of the command (prompt, passes, task, …).
    A record says what the line of `results.jsonl` says; a picture that failed has "status" "failed" and an "error".
    Raises InputError, ModelUnavailableError before the first record.
    """
    own = {f.name for f in fields(Job)} - {"command", "out", "settings"}
    run = {f.name for f in fields(How)}
    settings = {name: value for name, value in options.items() if name not in own | run}
    job = Job(command, os.fspath(output), settings, **{n: v for n, v in options.items() if n in own})
    made = Batch(job, source, How(**{n: v for n, v in options.items() if n in run}))
    made.check()
    return made.run()


def _lines(path: Path) -> Iterator[Item]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
