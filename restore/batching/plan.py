"""From rows to items: what is worked on, with which settings, where it goes, and the key that it is known again by."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from restore.batching.fields import PATHS, WHERE, check, check_words, fields_of, is_given, read_value
from restore.batching.job import Job, find_models
from restore.batching.naming import files_of, inside, is_mask_of_another, mirrored, paths_of, rules_of
from restore.batching.source import Row
from restore.batching.store import is_url, state_of
from restore.errors import InputError, RestoreError
from restore.images.decode import SUFFIXES
from restore.images.files import reason, sha256_of

TELL = 10_000  # rows
OUTPUT = "output"  # the column of a table that names the output
# key: 32 hex digits. id: the output inside the folder; for `assess` the picture's name. image: path. settings: over the
# job's. carried: a table's other columns. error: why it cannot be worked on, else absent.
Item = dict[str, Any]


@dataclass
class Counts:
    """Rows of a plan: done or failed in an earlier run, wrong (cannot be worked on), and to do."""

    rows: int = 0
    todo: int = 0
    done: int = 0
    failed: int = 0
    wrong: int = 0


class Planner:
    """Makes items of rows one by one; holds nothing but a number per output and the keys that are finished."""

    def __init__(self, job: Job, *, deep: bool = False, on_rows: Callable[[int], Any] | None = None) -> None:
        """deep: also look into files and words, as far as it can be without decoding and models. `on_rows(count)` hears
        of every ten thousandth row."""
        self.job, self.deep, self.digest, self.counts = job, deep, job.digest(), Counts()
        self.on_rows = on_rows
        self._known, self._rules = fields_of(job.command), rules_of(job.settings)
        self._checked: dict[str, str | None] = {}
        self._outputs: set[int] = set()
        common = [path for name in PATHS if name not in self._rules for path in paths_of(job.settings.get(name))]
        self._common = [self._identity(path) for path in common]

    def items(
        self, rows: Iterable[Row], done: Collection[bytes] = (), failed: Collection[bytes] = ()
    ) -> Iterator[Item]:
        """The items left to do, wrong ones with their `error`; done and failed: keys of those that are finished."""
        counts = self.counts
        for row in rows:
            if is_mask_of_another(row, self._rules):
                continue
            counts.rows += 1
            if self.on_rows is not None and counts.rows % TELL == 0:
                self.on_rows(counts.rows)
            item = self.item(row)
            key = bytes.fromhex(item["key"])
            if key in done:
                counts.done += 1
            elif key in failed:
                counts.failed += 1
            else:
                if self.deep and "error" not in item:
                    item = self._looked(row, item)
                counts.wrong += "error" in item
                counts.todo += "error" not in item
                yield item

    def item(self, row: Row) -> Item:
        """One row as an item."""
        settings: dict[str, Any] = {}
        carried: dict[str, Any] = {}
        goal = row.name
        try:
            if row.error is not None:
                raise InputError(row.error)
            for name, value in row.cells.items():
                if name not in self._known:
                    carried[name] = value
                elif is_given(value):
                    settings[name] = read_value(self.job.command, name, value)
            carried.pop(OUTPUT, None)
            settings |= files_of(row, settings, self._rules)
            self._check(settings)
            goal = self._goal(row)
            marks = [self._identity(row.image, row.status)]
            for name in PATHS:
                if name in settings:
                    marks += map(self._identity, paths_of(settings[name]))
            if hash(goal) in self._outputs:
                raise InputError(
                    f"expected an output of its own, got {goal} again; name another in a column '{OUTPUT}'"
                )
        except RestoreError as error:
            return self._wrong(row, goal, settings, error)
        self._outputs.add(hash(goal))
        own = repr(sorted(settings.items())) if settings else ""
        key = self._key(goal, own, *marks, *self._common)
        return {"key": key, "id": goal, "image": row.image, "settings": settings, "carried": carried}

    def _wrong(self, row: Row, goal: str, settings: Mapping[str, Any], error: RestoreError) -> Item:
        text = str(error) if row.error is not None or row.image in str(error) else f"{row.image}: {error}"
        name = f"{goal} (row {self.counts.rows})"
        carried = {name: row.cells[name] for name in row.cells if name not in (*self._known, OUTPUT)}
        known = {"key": self._key("wrong", name, text), "id": name, "image": row.image, "error": text}
        return known | {"settings": settings, "carried": carried}

    def _looked(self, row: Row, item: Item) -> Item:
        """The item, or what is wrong with its files."""
        try:
            self._look(row, item["settings"], item["id"])
        except RestoreError as error:
            return self._wrong(row, item["id"], item["settings"], error)
        return item

    def _goal(self, row: Row) -> str:
        """The output inside the folder, with "/"."""
        given = row.cells.get(OUTPUT)
        if not is_given(given):
            if not self.job.writes:
                return row.name
            return mirrored(row.name, self.job.name, None if self.job.kind is None else self.job.kind.upper())
        goal = inside(str(given).replace(os.sep, "/"))
        if self.job.writes and os.path.splitext(goal)[1].lower() not in SUFFIXES:
            raise InputError(f"{goal}: expected an output ending in one of {', '.join(SUFFIXES)}")
        return goal

    def _identity(self, path: str, status: tuple[int, int] | str | None = None) -> str:
        """What a file is known again by. Raises InputError."""
        if is_url(path):
            return status if isinstance(status, str) else state_of(path)
        try:
            if self.job.content:
                return sha256_of(path)
            if status is None:
                found = os.stat(path)
                status = found.st_size, found.st_mtime_ns
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: expected a readable file, got: {reason(error)}") from None
        return f"{status[0]} {status[1]}"

    def _check(self, settings: Mapping[str, Any]) -> None:
        """The settings together; equal ones are looked at once. Raises InputError."""
        plain = {name: bool(value) if name in WHERE or name in PATHS else value for name, value in settings.items()}
        mark = repr(plain)
        if mark not in self._checked:
            if len(self._checked) > 10_000:
                self._checked.clear()
            merged = {**self.job.settings, **settings}
            try:
                check(self.job.command, merged)
                find_models(self.job.command, merged)
                self._checked[mark] = None
            except RestoreError as error:
                self._checked[mark] = str(error)
        if (fault := self._checked[mark]) is not None:
            raise InputError(fault)

    def _look(self, row: Row, settings: Mapping[str, Any], goal: str) -> None:
        """What else can be found wrong without decoding. Raises InputError."""
        from restore.batching.look import check_head, check_same_size

        merged = {**self.job.settings, **settings}
        if self.job.command == "inpaint":
            check_words(merged)
        if is_url(row.image):  # it would have to be fetched
            return
        size = check_head(row.image)
        for path in paths_of(merged.get("mask")):
            check_same_size(path, size)
        if self.job.writes and (taken := self.job.store.taken(goal)) is not None:
            raise InputError(f"{taken}: expected a new file name, got an existing file")

    def _key(self, *parts: str) -> str:
        text = "\0".join((self.digest, *parts)).encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, digest_size=16).hexdigest()
