"""What `assess`, `rank` and `compare` share: options, the progress bar, and the outputs."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from restore.errors import InputError
from restore.measure.options import MeasureOptions
from restore.settings import DEVICES


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
            click.option("--device", type=click.Choice(DEVICES), default=MeasureOptions.device, show_default=True),
            click.option("--jobs", type=click.IntRange(1), help="Pictures measured at once. [default: one per CPU]"),
            click.option(
                "--cache", type=click.Path(), help="File that remembers measurements. [default: in ~/.cache/restore]"
            ),
            click.option("--no-cache", is_flag=True, help="Remember nothing and use nothing remembered."),
        ]
    ):
        command = option(command)
    return command


def measure_options(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of `MeasureOptions` among the options of a command."""
    return {name: options[name] for name in ("device", "jobs", "cache", "mbc")} | {"remember": not options["no_cache"]}


@contextmanager
def usage() -> Iterator[None]:
    """What is wrong with the arguments, told with how to call the command."""
    try:
        yield
    except InputError as error:
        raise click.UsageError(str(error)) from None


def check_outputs(options: dict[str, Any]) -> None:
    """Before any work: can the files that were asked for be written?"""
    from restore.images.files import check_place

    for name in ("csv_file", "html_file"):
        if options[name] is not None:
            check_place(Path(options[name]), overwrite=options["overwrite"])


@contextmanager
def progress() -> Iterator[Callable[[int, int], None]]:
    """An `on_step` that moves a bar on stderr."""
    from tqdm import tqdm

    with tqdm(total=None, desc="pictures", unit="picture", file=sys.stderr, disable=None, leave=False) as bar:

        def on_step(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield on_step


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


def tell_failed(failed: Sequence[dict[str, str]]) -> None:
    for entry in failed:
        click.echo(f"restore: left out: {entry['error']}", err=True)


def finish(ctx: click.Context, failed: Sequence[dict[str, str]]) -> None:
    """Exit code 2 when pictures had to be left out, after everything else is written."""
    if failed:
        ctx.exit(2)
