"""What a batch works through: the pictures of a folder, glob, list, table or data set, one row each, as a stream."""

from __future__ import annotations

import csv
import glob
import io
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from restore.batching.store import is_url, pictures_at
from restore.errors import InputError
from restore.images.decode import SUFFIXES
from restore.images.encode import encode
from restore.images.files import AnyPath, reason, replacing
from restore.measure.files import tell_passed, walk_pictures

if TYPE_CHECKING:
    from restore.images.photo import Photo

LISTS, COMMAS, LINES, PARQUET = (".txt", ".lst"), {".csv": ",", ".tsv": "\t"}, (".jsonl", ".ndjson"), (".parquet",)
TABLES = (*COMMAS, *LINES, *PARQUET)
IMAGE = "image"


class Row(NamedTuple):
    """image: the picture's path; name: what its output mirrors, with "/"; folder: what other relative paths in its
    `cells` (the columns besides the image) are relative to, None: the picture's own. status: size in bytes and time of
    change in ns, where listing told it. error: why it cannot be worked on."""

    image: str
    name: str
    cells: Mapping[str, Any] = MappingProxyType({})
    folder: str | None = None
    status: tuple[int, int] | str | None = None
    error: str | None = None


def read_rows(source: Any, spool: Path, without: Path | None = None) -> Iterator[Row]:
    """The rows of a path or glob, or of anything that yields pictures (`torch.utils.data`'s data sets do).

    spool: a folder to write pictures to that come as pixels; without: a folder that is no part of the source.
    Raises InputError for a source that cannot be read as a whole; what is wrong with one row is the row's `error`.
    """
    if not isinstance(source, (str, os.PathLike)):
        return _from_samples(source, spool)
    text, path = os.fspath(source), Path(source)
    if is_url(text):
        return (Row(url, name, status=state) for url, name, state in pictures_at(text))
    if path.is_dir():
        return _from_folder(path, without)
    if not path.exists():
        if glob.has_magic(text):
            return _from_glob(text, without)
        raise InputError(f"{path}: expected a folder, glob, list or table of pictures, found nothing there")
    suffix = path.suffix.lower()
    if suffix in TABLES:
        return _from_table(path, suffix)
    if suffix in LISTS:
        return _from_list(path)
    if suffix in SUFFIXES:
        return iter([Row(text, path.name)])
    raise InputError(f"{path}: expected a folder, a picture, a list ({', '.join(LISTS)}) or a table, got '{suffix}'")


def _from_folder(root: Path, without: Path | None) -> Iterator[Row]:
    passed: Counter[str] = Counter()
    start, skip = len(os.path.join(root, "")), None if without is None else os.path.join(without.resolve(), "")
    inside = skip is not None and skip.startswith(os.path.join(root.resolve(), ""))
    for entry in walk_pictures(root, passed):
        path = entry.path
        if inside and os.path.realpath(path).startswith(str(skip)):
            continue
        try:
            status = entry.stat()
        except OSError:  # a broken link, or gone meanwhile: told when it is looked at again
            yield Row(path, _posix(path[start:]))
            continue
        yield Row(path, _posix(path[start:]), status=(status.st_size, status.st_mtime_ns))
    tell_passed(passed, root)


def _from_glob(pattern: str, without: Path | None) -> Iterator[Row]:
    fixed = list(Path(pattern).parts)
    first = next(i for i, part in enumerate(fixed) if glob.has_magic(part))
    root = os.path.join(*fixed[:first]) if first else ""
    skip = None if without is None else os.path.join(without.resolve(), "")
    found = sorted(glob.iglob(pattern, recursive=True))
    found = [path for path in found if os.path.isfile(path)]
    if skip is not None:
        found = [path for path in found if not os.path.realpath(path).startswith(skip)]
    if not found:
        raise InputError(f"{pattern}: expected files that match, found none")
    for path in found:
        yield Row(path, _posix(os.path.relpath(path, root or ".")))


def _from_list(path: Path) -> Iterator[Row]:
    folder = os.fspath(path.parent)
    for line in _text_lines(path):
        name = line.rstrip("\r\n")
        if name.strip():
            yield Row(os.path.join(folder, name), _name_in(folder, name), folder=folder)


def _from_table(path: Path, suffix: str) -> Iterator[Row]:
    folder = os.fspath(path.parent)
    records = (
        _commas(path, COMMAS[suffix]) if suffix in COMMAS else _parquet(path) if suffix in PARQUET else _json(path)
    )
    for number, record in enumerate(records, 1):
        yield _row(record, folder, f"{path}: row {number}", f"row-{number}")


def _row(record: Any, folder: str, where: str, spare: str) -> Row:
    """The row of a table's record, or one that says what is wrong with it."""
    if isinstance(record, InputError):
        return Row("", spare, error=f"{where}: {record}")
    image = record.pop(IMAGE, None) if isinstance(record, dict) else None
    if not isinstance(image, (str, os.PathLike)) or not str(image).strip() or "\0" in str(image):
        return Row("", spare, record if isinstance(record, dict) else {}, error=f"{where}: expected an image, got none")
    image = os.fspath(image)
    if is_url(image):
        return Row(image, image.split("://", 1)[1].partition("/")[2], record, folder)
    return Row(os.path.join(folder, image), _name_in(folder, image), record, folder)


def _commas(path: Path, delimiter: str) -> Iterator[dict[str, Any] | InputError]:
    reader = csv.reader(_text_lines(path), delimiter=delimiter)
    try:
        columns = [name.strip() for name in next(reader, [])]
        _check_columns(columns, path)
        width = len(columns)
        for cells in reader:
            if len(cells) == width:
                yield dict(zip(columns, cells, strict=True))
            elif cells:
                yield InputError(f"expected {width} columns, got {len(cells)}")
    except csv.Error as error:
        raise InputError(f"{path}: expected a table, got: {error} in line {reader.line_num}") from None


def _json(path: Path) -> Iterator[dict[str, Any] | InputError]:
    for line in _text_lines(path):
        if line.strip():
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield InputError(f"expected a JSON object, got: {error}")
                continue
            yield record if isinstance(record, dict) else InputError("expected a JSON object, got something else")


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise InputError(f"{path}: expected the package pyarrow for Parquet; pip install 'restore[batch]'") from None
    try:
        with parquet.ParquetFile(path) as file:
            _check_columns(file.schema_arrow.names, path)
            for part in file.iter_batches(batch_size=10_000):
                yield from part.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path}: expected a Parquet table, got: {' '.join(str(error).split())}") from None


def _check_columns(columns: list[str], path: Path) -> None:
    if IMAGE not in columns:
        raise InputError(f"{path}: expected a column '{IMAGE}', got {', '.join(columns) or 'none'}")
    if twice := [name for name, count in Counter(columns).items() if count > 1]:
        raise InputError(f"{path}: expected every column once, got '{twice[0]}' several times")


def _text_lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from file
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected text in UTF-8, got: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: expected a readable file, got: {reason(error)}") from None


def _from_samples(samples: Any, spool: Path) -> Iterator[Row]:
    """Of a data set whose samples are paths, pictures, or mappings with an "image" of either kind."""
    from restore.images.photo import photo_from_array

    numbered = hasattr(samples, "__getitem__") and hasattr(samples, "__len__")
    for index, sample in enumerate(map(samples.__getitem__, range(len(samples))) if numbered else samples):
        record = dict(sample) if isinstance(sample, Mapping) else {IMAGE: sample}
        image = record.get(IMAGE)
        if image is not None and not isinstance(image, (str, os.PathLike)):
            path = spool / f"{index:09d}.png"
            try:
                _keep(photo_from_array(image), path)
            except InputError as error:
                yield Row("", f"row-{index}", error=f"sample {index}: {error}")
                continue
            record.pop(IMAGE)
            yield Row(os.fspath(path), path.name, record, os.curdir)
        else:
            yield _row(record, os.curdir, f"sample {index}", f"row-{index}")


def _keep(photo: Photo, path: Path) -> None:
    """Write `photo` as a PNG, unless that is what the file already holds: it then keeps its time, and its result."""
    buffer = io.BytesIO()
    encode(photo.native, photo.mode, photo.meta, "PNG", buffer, path.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_bytes() != buffer.getvalue():
        with replacing(path, overwrite=True) as file:
            file.write(buffer.getvalue())


def _name_in(folder: AnyPath, image: str) -> str:
    """`image` relative to `folder`; where it lies elsewhere its file name."""
    absolute = os.path.isabs(image)
    inside = os.path.relpath(image, os.path.abspath(folder)) if absolute else os.path.normpath(image)
    return _posix(os.path.basename(image) if inside.split(os.sep)[0] == os.pardir else inside)


def _posix(path: str) -> str:
    return path.replace(os.sep, "/") if os.sep != "/" else path
