"""What `assess`, `rank` and `compare` share: options, the run over files with its progress bar, and the outputs."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from restore.measure.assessor import Assessor
    from restore.measure.memory import Memory
    from restore.measure.pictures import Item, Record
    from restore.quality.metrics.giqa import MbcScore
    from restore.reports.suite import Page


def measuring_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of every command that measures pictures."""
    for option in reversed(
        [
            click.option(
                "--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else there."
            ),
            click.option("--csv", "csv_file", type=click.Path(), help="Write a table, one row per picture."),
            click.option("--html", "html_file", type=click.Path(), help="Write a self-contained HTML report."),
            click.option("--overwrite", is_flag=True, help="Replace existing files."),
            click.option(
                "--mbc", type=click.Path(), metavar="FILE", help="Weights of `restore train mbc`: adds giqa_mbc."
            ),
            click.option(
                "--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True
            ),
            click.option("--jobs", type=click.IntRange(1), help="Pictures measured at once. [default: one per CPU]"),
            click.option(
                "--cache", type=click.Path(), help="File that remembers measurements. [default: in ~/.cache/restore]"
            ),
            click.option("--no-cache", is_flag=True, help="Remember nothing and use nothing remembered."),
        ]
    ):
        command = option(command)
    return command


def check_outputs(options: dict[str, Any]) -> None:
    """Before any work: can the files that were asked for be written?"""
    from restore.images.files import check_place

    for name in ("csv_file", "html_file"):
        if options[name] is not None:
            check_place(Path(options[name]), overwrite=options["overwrite"])


def open_memory(options: dict[str, Any]) -> Memory:
    from restore.measure.memory import Memory, default_memory

    if options["no_cache"]:
        return Memory(None)
    return Memory(Path(options["cache"]) if options["cache"] is not None else default_memory())


def open_assessor(options: dict[str, Any], nets: Sequence[str] = ()) -> Assessor:
    """nets: NAME=FILE.onnx or NAME=FOLDER each. Raises InputError for other forms."""
    from restore.errors import InputError
    from restore.measure.assessor import Assessor
    from restore.quality.features.folder import FolderNet
    from restore.quality.features.pooled import OnnxNet
    from restore.settings import device_named

    loaded: dict[str, OnnxNet | FolderNet] = {}
    for text in nets:
        name, _, path = text.partition("=")
        if not name.isidentifier() or not path or name == "lite0":
            raise InputError(f"--features: expected NAME=FILE.onnx or NAME=FOLDER with a new name, got {text!r}")
        loaded[name] = FolderNet(Path(path)) if Path(path).is_dir() else OnnxNet(Path(path))
    mbc = None if options["mbc"] is None else _mbc(Path(options["mbc"]))
    return Assessor(device_named(options["device"]), loaded, mbc)


def _mbc(path: Path) -> MbcScore:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from restore.errors import InputError
    from restore.quality.metrics.giqa import MbcScore

    try:
        tensors = {name: value.float() for name, value in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: expected safetensors of 'restore train mbc', got: {error}") from None
    return MbcScore.of(tensors)


def run_over(
    items: Sequence[Item], assessor: Assessor, memory: Memory, options: dict[str, Any], *, features: bool
) -> list[Record]:
    """Measure all items behind one progress bar on stderr."""
    from tqdm import tqdm

    from restore.measure.pictures import assess_files

    records = assess_files(items, assessor, memory, options["jobs"], features=features)
    bar = tqdm(records, total=len(items), desc="pictures", unit="picture", file=sys.stderr, disable=None, leave=False)
    return list(bar)


def split(records: Sequence[Record]) -> tuple[list[Record], list[dict[str, str]]]:
    """(measured, failed as {image, error}); failures are told on stderr. Raises InputError if there is nothing else."""
    from restore.errors import InputError

    failed = [{"image": str(r.image), "error": r.error} for r in records if r.error is not None]
    if len(failed) == len(records):
        more = f" ({len(failed) - 1} more failed)" if len(failed) > 1 else ""
        raise InputError(f"{failed[0]['error']}{more}")
    for entry in failed:
        click.echo(f"restore: left out: {entry['error']}", err=True)
    return [r for r in records if r.error is None], failed


def write_csv(path: str | None, rows: Sequence[dict[str, Any]], overwrite: bool) -> None:
    from restore.images.files import write_text

    if path is None:
        return
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(text.getvalue(), Path(path), overwrite=overwrite)


def print_json(value: dict[str, Any]) -> None:
    click.echo(json.dumps(value, allow_nan=False))


def finish(ctx: click.Context, failed: Sequence[dict[str, str]]) -> None:
    """Exit code 2 when pictures had to be left out, after everything else is written."""
    if failed:
        ctx.exit(2)


def write_html(page: Page, options: dict[str, Any], assessor: Assessor, items: Sequence[Item]) -> None:
    from restore.images.files import write_text
    from restore.reports.suite import suite_page

    text = suite_page(page, _overlay(assessor, items))
    write_text(text, Path(options["html_file"]), overwrite=options["overwrite"])


def _overlay(assessor: Assessor, items: Sequence[Item]) -> Callable[[Path], Any]:
    """Judges the file of an item again, for the picture of its artifacts; None where it cannot be."""
    from restore.errors import InputError
    from restore.images.mask import load_mask
    from restore.images.photo import load_photo

    masks = {item.image: item.mask for item in items}

    def judged(path: Path) -> Any:
        try:
            photo, mask = load_photo(path), masks.get(path)
            return assessor.judge(photo.pixels, None if mask is None else load_mask(mask, photo.size))
        except InputError:
            return None

    return judged


def reference_records(folder: Path, assessor: Assessor, memory: Memory, options: dict[str, Any]) -> list[Record]:
    """All pictures of `folder`, measured with their features."""
    from restore.measure.files import find_images
    from restore.measure.pictures import Item

    items = [Item(path) for path in find_images([folder])]
    return split(run_over(items, assessor, memory, options, features=True))[0]
