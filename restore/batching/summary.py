"""Pages about a batch: its results in numbers and the worst pictures, and a sheet of pictures before and after."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from restore.batching.job import MEASURES, Job
from restore.batching.ledger import read_records
from restore.batching.record import FAILED, Record
from restore.images.files import write_text
from restore.measure.summary import summary_of
from restore.quality.catalogue import PER_IMAGE, better_of
from restore.reports.page import rendered
from restore.reports.suite import MOST_THUMBS, Page, pixels_of, shrunk_uri, suite_page

SAMPLE = 20_000  # rows that figures are taken of; of more a random choice
MOST_TOLD = 200  # failures that are listed
MOST_PAIRS = 200  # of the sheet


@dataclass
class Seen:
    """What of a ledger of any length goes into the pages."""

    order: str
    rows: list[Record] = field(default_factory=list)
    worst: list[tuple[float, int, Record]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


def write_pages(job: Job, *, review: bool) -> None:
    """OUT/summary.html, and OUT/review.html if asked for. Raises InputError where they cannot be written."""
    seen = _read(job)
    out = job.root
    if seen.rows:
        text = suite_page(_page(job, seen), lambda _: None)
    else:
        told = f"{seen.counts['failed']} pictures failed, none was done."
        text = rendered("batch.html", title=f"Batch: {job.command}", verdict=told, failed=seen.failed, pairs=[])
    write_text(text, out / "summary.html", overwrite=True)
    if review and job.writes:
        pairs = [_pair(out, record) for _, _, record in sorted(seen.worst, reverse=True)[:MOST_PAIRS]]
        title = f"Before and after: {job.command}"
        told = f"The {len(pairs)} worst of {seen.counts['done']} pictures, the worst first."
        page = rendered("batch.html", title=title, verdict=told, failed=[], pairs=pairs)
        write_text(page, out / "review.html", overwrite=True)


def _read(job: Job) -> Seen:
    """The ledger once through: a choice of rows for the figures, and the worst for the pictures."""
    measures = [name for name in MEASURES[job.command] if name in PER_IMAGE]
    seen, choice = Seen("quality"), random.Random(0)
    sign = -1 if better_of(seen.order) == "lower" else 1
    for number, record in enumerate(read_records(job.results)):
        seen.counts["failed" if record["status"] == FAILED else "done"] += 1
        if record["status"] == FAILED:
            if len(seen.failed) < MOST_TOLD:
                seen.failed.append(record["error"])
            continue
        seen.counts["rejected"] += not record["kept"]
        seen.seconds += record.get("seconds") or 0.0
        row = {name: record.get(name) for name in measures}
        picture = record["image"] if record["output"] is None else str(Path(job.out, record["output"]))
        row |= {"image": picture, "width": record.get("width"), "height": record.get("height"), "kept": record["kept"]}
        place = len(seen.rows) if len(seen.rows) < SAMPLE else choice.randrange(seen.counts["done"])
        if place < SAMPLE:
            seen.rows[place : place + 1] = [row]
        if (value := record.get(seen.order)) is not None:
            entry = (-sign * value, number, row | {"before": record["image"]})
            (heapq.heappush if len(seen.worst) < MOST_THUMBS else heapq.heappushpop)(seen.worst, entry)
    return seen


def _page(job: Job, seen: Seen) -> Page:
    counts = seen.counts
    rows = [record for _, _, record in sorted(seen.worst, reverse=True)] or seen.rows[:MOST_THUMBS]
    left = f" ({counts['rejected']} put aside by {job.keep_if})" if job.keep_if else ""
    sampled = [f"Figures are of {SAMPLE} of the pictures, chosen at random."] if counts["done"] > SAMPLE else []
    more = (
        [f"{counts['failed'] - len(seen.failed)} more failed: see results.jsonl"]
        if counts["failed"] > MOST_TOLD
        else []
    )
    failures = [("Failures", ["what was wrong"], [[error] for error in [*seen.failed, *more]])] if seen.failed else []
    return Page(
        title=f"Batch: {job.command}, {counts['done']} pictures",
        verdict=f"{counts['done']} done{left}, {counts['failed']} failed.",
        rows=rows,
        summary=summary_of(seen.rows),
        order=seen.order,
        facts={
            "Done": str(counts["done"]),
            "Failed": str(counts["failed"]),
            "Put aside": str(counts["rejected"]),
            "Worker seconds per picture": f"{seen.seconds / max(1, counts['done']):.2f}",
        },
        tables=failures,
        notes=[*sampled, f"Settings: {', '.join(f'{k} {v}' for k, v in job.settings.items()) or 'defaults'}"],
        marks={row["image"]: "rejected" for row in rows if not row["kept"]},
        data=job.identity() | {"counts": dict(counts)},
    )


def _pair(out: Path, record: Record) -> dict[str, Any]:
    shown = map(pixels_of, (record["before"], record["image"]))
    pictures = [None if pixels is None else shrunk_uri(pixels) for pixels in shown]
    name = Path(record["image"]).relative_to(out).as_posix()
    return {"name": name, "before": pictures[0], "after": pictures[1], "quality": record.get("quality")}
