"""The ledger as a Parquet table, for pandas, DuckDB and the like."""

from __future__ import annotations

import json
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from restore.batching.ledger import read_records
from restore.batching.record import Record
from restore.images.files import replacing

ROWS = 20_000  # a group, which is what is held in memory


def write_parquet(ledger: Path) -> Path | None:
    """Write LEDGER.parquet beside it: a column per name, numbers and texts as they are, what is nested as JSON; "par",
    of every pass the share of bad pixels, is added. None without the package pyarrow."""
    if find_spec("pyarrow") is None:
        return None
    import pyarrow
    from pyarrow import parquet

    kinds: dict[str, set[type]] = {}
    for row in map(_flat, read_records(ledger)):
        for name, value in row.items():
            kinds.setdefault(name, set()).add(type(value))
    if not kinds:
        return None
    schema = pyarrow.schema([(name, _type(found - {type(None)}, pyarrow)) for name, found in kinds.items()])
    texts = {field.name for field in schema if field.type == pyarrow.string()}
    path, rows = ledger.with_suffix(".parquet"), map(_flat, read_records(ledger))
    with replacing(path, what="table", overwrite=True) as file, parquet.ParquetWriter(file, schema) as writer:
        while group := [_told(row, texts) for row in islice(rows, ROWS)]:
            writer.write_table(pyarrow.Table.from_pylist(group, schema))
    return path


def _flat(record: Record) -> dict[str, Any]:
    passes = record.get("passes") or []
    par = [one.get("par_hole", one.get("par_image")) for one in passes]
    return record | ({"par": par} if par else {})


def _type(kinds: set[type], pyarrow: Any) -> Any:
    if kinds and kinds <= {bool}:
        return pyarrow.bool_()
    if kinds and kinds <= {int}:
        return pyarrow.int64()
    if kinds and kinds <= {int, float}:
        return pyarrow.float64()
    return pyarrow.string()


def _told(row: dict[str, Any], texts: set[str]) -> dict[str, Any]:
    """The row with everything in a column of texts as one."""
    return {
        name: json.dumps(value) if name in texts and value is not None and not isinstance(value, str) else value
        for name, value in row.items()
    }
