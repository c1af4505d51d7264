"""Builds the data set of triplets: which photos and objects are tried, in which order, and what is told about it."""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from restore.errors import InputError
from restore.grounding.instruction import parse
from restore.images.files import write_text
from restore.training.data.shards import Entry, Log, ShardWriter, Triplet, sample_files, shard_name
from restore.training.dataset.annotations import load
from restore.training.dataset.options import BuildOptions
from restore.training.dataset.records import VOC_CLASSES, Annotated, PhotoRecord, Rejected
from restore.training.dataset.removals import Remover
from restore.training.dataset.triplet_sheet import write_sheet

SETTINGS, LOG, INDEX, STATS, CARD, SHEET = (
    "build.json", "log.jsonl", "index.jsonl", "stats.json", "README.md", "samples.html",
)  # fmt: skip
ABSENT, LOADING = -1, -2  # attempts that are no thing's number: to name an absent class; to load the photo

OnEntry = Callable[[int, int], Any]


def build(
    records: Sequence[PhotoRecord],
    out: Path,
    options: BuildOptions,
    make_remover: Callable[[], Remover],
    *,
    limit: int | None = None,
    overwrite: bool = False,
    on_entry: OnEntry | None = None,
) -> dict[str, Any]:
    """Make triplets of `records` in `out` until there are `limit`, or go on where an earlier call was stopped.

    What comes out depends on records and options only, however often it was stopped, and a larger `limit` only adds.
    `on_entry(accepted, rejected)` hears of every attempt. Returns the statistics, also in stats.json. Raises
    InputError for a folder that holds something else or a build with other options.
    """
    _prepare(out, records, options, overwrite)
    log = Log(out / LOG)
    ends = [entry["end"] for entry in log.entries if "sample" in entry]
    writer = ShardWriter(out, options.shard_size, len(ends), ends[-1] if ends else 0)
    try:
        if limit is None or len(ends) < limit:
            run = _Run(records, options, make_remover(), log, writer)
            run.go(math.inf if limit is None else limit, on_entry or (lambda accepted, rejected: None))
        writer.close()
    finally:
        writer.release()
        log.close()
    stats = statistics(log.entries, len(records))
    rows = (json.dumps(entry["sample"]) + "\n" for entry in log.entries if "sample" in entry)
    write_text("".join(rows), out / INDEX, overwrite=True)
    write_text(json.dumps(stats, indent=1) + "\n", out / STATS, overwrite=True)
    write_text(_card(stats), out / CARD, overwrite=True)
    write_sheet(out, stats, out / SHEET)
    return stats


def _prepare(out: Path, records: Sequence[PhotoRecord], options: BuildOptions, overwrite: bool) -> None:
    """Make the folder, or check that what is there is this build."""
    digest = hashlib.sha256(json.dumps([(r.id, r.names) for r in records]).encode()).hexdigest()[:16]
    wanted = {"restore": metadata.version("restore"), "photos": len(records), "annotations": digest, **asdict(options)}
    settings = out / SETTINGS
    try:
        out.mkdir(parents=True, exist_ok=True)
        if overwrite and settings.exists():
            for pattern in ("triplets-*.tar*", SETTINGS, LOG, INDEX, STATS, CARD, SHEET):
                for path in out.glob(pattern):
                    path.unlink()
        there = json.loads(settings.read_text()) if settings.exists() else None
        taken = there is None and any(out.iterdir())
    except (OSError, ValueError) as error:
        raise InputError(f"{out}: expected a folder to build in, got: {' '.join(str(error).split())}") from None
    if taken:
        raise InputError(f"{out}: expected a new or empty folder or a build to go on with, got other files")
    if there is None:
        write_text(json.dumps(wanted, indent=1) + "\n", settings, overwrite=False)
    elif there != wanted:
        other = ", ".join(key for key in wanted if not isinstance(there, dict) or there.get(key) != wanted[key])
        raise InputError(f"{out}: expected the options it was begun with, got another {other}; use a new --out")


class _Run:
    """The attempts of one build: photos in an order by the seed; in each an absent class, if due, then its things."""

    def __init__(
        self, records: Sequence[PhotoRecord], options: BuildOptions, remover: Remover, log: Log, writer: ShardWriter
    ) -> None:
        self.records = records
        self.options = options
        self.remover = remover
        self.log = log
        self.writer = writer
        self.names = Counter(name for record in records for name in record.names) or Counter(VOC_CLASSES)
        self.order = np.random.default_rng(options.removal.seed).permutation(len(records))
        self.rejected = sum("reason" in entry for entry in log.entries)

    def go(self, limit: float, on_entry: OnEntry) -> None:
        """Attempt until `limit` samples are there; what is logged is taken from the log."""
        first = self.log.entries[-1]["photo"] if self.log.entries else 0
        logged = {entry["attempt"]: entry for entry in self.log.entries if entry["photo"] == first}
        made = Counter(e["sample"]["relevant"] for e in self.log.entries if e["photo"] < first and "sample" in e)
        on_entry(self.writer.count, self.rejected)
        for place in range(first, len(self.records)):
            due = made[False] + 1 <= self.options.irrelevant * (made.total() + 1)
            for entry in self._photo(place, due, logged if place == first else {}):
                made.update([entry["sample"]["relevant"]] if "sample" in entry else ())
                on_entry(self.writer.count, self.rejected)
                if self.writer.count >= limit:
                    return

    def _photo(self, place: int, due: bool, logged: dict[int, Entry]) -> Iterator[Entry]:
        """The entries of one photo, those that are not logged yet made and logged."""
        record, kept = self.records[self.order[place]], 0
        try:
            photo = load(record, self.options.short_side)
        except Rejected as error:
            yield logged.get(LOADING) or self._log({"photo": place, "attempt": LOADING, "reason": error.reason})
            return
        rng = np.random.default_rng([self.options.removal.seed, zlib.crc32(record.id.encode())])
        for attempt in ([ABSENT] if due else []) + rng.permutation(len(photo.things)).tolist():
            entry = logged.get(attempt) or self._attempt(place, attempt, photo)
            kept += "sample" in entry and attempt != ABSENT
            yield entry
            if kept == self.options.per_photo:
                return

    def _attempt(self, place: int, attempt: int, photo: Annotated) -> Entry:
        record = self.records[self.order[place]]
        try:
            if attempt == ABSENT:
                triplet = self.remover.leave(photo, self.names, record.id)
            else:
                triplet = self.remover.remove(photo, attempt, record.id)
        except Rejected as error:
            return self._log({"photo": place, "attempt": attempt, "reason": error.reason})
        number = self.writer.count
        facts = {"key": f"{number:08d}", "shard": shard_name(number // self.options.shard_size), "photo": record.id}
        facts |= _facts(triplet)
        end = self.writer.append(facts["key"], sample_files(triplet, facts))
        entry = self._log({"photo": place, "attempt": attempt, "sample": facts, "end": end})
        self.writer.turn()
        return entry

    def _log(self, entry: Entry) -> Entry:
        self.log.append(entry)
        self.rejected += "reason" in entry
        return entry


def _facts(triplet: Triplet) -> dict[str, Any]:
    """What is told of a sample; the same types in all, as tables want them."""
    told = parse(triplet.instruction)
    kind = "relation" if told.relation else "class"
    if told.selector is not None:
        kind = "order" if told.selector.order else "place"
    height, width = triplet.mask.shape
    return {
        "instruction": triplet.instruction,
        "object": triplet.name,
        "kind": kind if triplet.relevant else "absent",
        "relevant": triplet.relevant,
        "width": width,
        "height": height,
        "box": list(triplet.box),
        "hole": round(float(triplet.mask.mean()), 5),
        "par_hole": round(triplet.par_hole, 5),
        "quality": round(triplet.quality, 2),
    }


def statistics(entries: Sequence[Entry], photos: int) -> dict[str, Any]:
    """Counts over the log: accepted by kind, rejected by reason (of objects, of absent classes, of whole photos)."""
    samples = [entry["sample"] for entry in entries if "sample" in entry]
    removals = [sample for sample in samples if sample["relevant"]]
    tried = sum(entry["attempt"] >= 0 for entry in entries)
    reasons = Counter(entry["reason"] for entry in entries if "reason" in entry)
    pars = [sample["par_hole"] for sample in removals]
    return {
        "accepted": len(samples),
        "removals": len(removals),
        "irrelevant": len(samples) - len(removals),
        "photos": {"given": photos, "visited": 1 + max((entry["photo"] for entry in entries), default=-1)},
        "objects_tried": tried,
        "yield": round(len(removals) / max(1, tried), 4),
        "rejected": dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        "instructions": dict(sorted(Counter(sample["kind"] for sample in samples).items())),
        "classes": len({sample["object"] for sample in removals}),
        "mean_par_hole": round(sum(pars) / max(1, len(pars)), 5),
        "mean_hole": round(sum(sample["hole"] for sample in removals) / max(1, len(removals)), 5),
        "shards": len({sample["shard"] for sample in samples}),
    }


def _card(stats: dict[str, Any]) -> str:
    """A README that Hugging Face's hub shows and its `datasets` reads for where the data are."""
    return f"""---
configs:
- config_name: default
  data_files:
  - split: train
    path: triplets-*.tar
task_categories:
- image-to-image
tags:
- inpainting
- object-removal
- instruction
---

# Removals by instruction

{stats["accepted"]} triplets of a photo, an instruction and the photo after it: {stats["removals"]} removals, and
{stats["irrelevant"]} instructions about something that is not in the photo, after which nothing changes. Made by
`restore dataset build` as GQA-Inpaint was (Yildirim et al., "Inst-Inpaint", 2023): annotated objects were removed by
inpainting, and kept where a judge saw few artifacts (mean PAR {stats["mean_par_hole"]}) and a grounder no longer
found the object.

WebDataset shards: `KEY.source.png`, `KEY.target.png`, `KEY.mask.png` (white = may differ), `KEY.json`; outside the mask
source and target are equal. `index.jsonl` holds every `KEY.json`, `stats.json` what was rejected and why,
`samples.html` some of the triplets to look at.

```python
from datasets import load_dataset

triplets = load_dataset("webdataset", data_files="triplets-*.tar", split="train")
triplets[0]["json"]["instruction"], triplets[0]["source.png"], triplets[0]["target.png"]
```

The photos keep the licences of their sources.
"""
