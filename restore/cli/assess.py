"""`restore assess`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from restore.cli.measuring import (
    check_outputs,
    finish,
    measure_options,
    measuring_options,
    print_json,
    progress,
    tell_failed,
    write_csv,
)
from restore.measure.options import MeasureOptions

if TYPE_CHECKING:
    from restore.measure.pictures import Item

SCHEMA = "restore.assess/1"


@click.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(), metavar="IMAGE...")
@click.option(
    "--mask", type=click.Path(), help="Where the picture was edited (white), or a folder of X.png or X.mask.png."
)
@click.option("--reference", type=click.Path(), help="The truth, or a folder: pairs by name, and a set to be like.")
@measuring_options
@click.pass_context
def assess(
    ctx: click.Context, images: tuple[str, ...], mask: str | None, reference: str | None, **options: Any
) -> None:
    """Judge pictures: artifacts (PAR), quality, sharpness, noise, exposure; with --reference, distances to it.

    IMAGE is a file or a folder. What was measured is remembered, so an interrupted run goes on where it stopped.

    \b
    restore assess edited.png --mask mask.png
    restore assess outputs/ --reference originals/ --html report.html --csv scores.csv --json
    """
    from restore.measure.files import find_images, partner
    from restore.measure.pictures import Item

    chosen = MeasureOptions(**measure_options(options))
    check_outputs(options)
    found = find_images([Path(image) for image in images])
    alone = len(found) == 1
    masks, references = (None if p is None else Path(p) for p in (mask, reference))
    items = [
        Item(path, partner(path, masks, "mask", alone), partner(path, references, "reference", alone)) for path in found
    ]
    likeness = _set_in(references)
    _check_pairs(items, masks, references, is_set=bool(likeness))
    from restore.measure.bench import Bench, split
    from restore.measure.summary import add_giqa, row_of, summary_of

    with progress() as on_step:
        bench = Bench(chosen, len(items) + len(likeness), on_step)
        measured = bench.measure([*items, *likeness], features=bool(likeness))
    records, failed = split(measured[: len(items)])
    tell_failed(failed)
    rows = [row_of(record) for record in records]
    if likeness:
        real, missing = split(measured[len(items) :])
        tell_failed(missing)
        add_giqa(rows, records, real)
    summary = summary_of(rows)
    report = {"schema": SCHEMA, "images": rows, "failed": failed, "summary": summary}
    if alone:
        report = {key: value for key, value in rows[0].items() if key != "image"} | report
    write_csv(options["csv_file"], rows, options["overwrite"])
    if options["html_file"] is not None:
        from restore.reports.measured import write_assessment

        write_assessment(report, bench.judging(items), Path(options["html_file"]), overwrite=options["overwrite"])
    if options["as_json"]:
        print_json(report)
    else:
        _print(rows, summary)
    finish(ctx, failed)


def _check_pairs(items: list[Item], masks: Path | None, references: Path | None, *, is_set: bool) -> None:
    """Nothing that was given may go unused without a word."""
    from restore.errors import InputError

    for folder, kind, found in (
        (masks, "mask", [i.mask for i in items]),
        (references, "reference", [i.reference for i in items]),
    ):
        missing = sum(path is None for path in found)
        if folder is None or missing == 0:
            continue
        if missing == len(items) and not (kind == "reference" and is_set):
            raise InputError(
                f"{folder}: expected a {kind} named like {items[0].image.name}, found none for any picture"
            )
        click.echo(f"restore: {missing} of {len(items)} pictures have no {kind} of their name in {folder}", err=True)


def _set_in(references: Path | None) -> list[Item]:
    """The pictures of a folder of references that are enough to be a set, not only truths; else none."""
    from restore.measure.bench import LEAST_REFERENCES
    from restore.measure.files import find_images
    from restore.measure.pictures import Item

    if references is None or not references.is_dir():
        return []
    found = find_images([references])
    return [Item(path) for path in found] if len(found) >= LEAST_REFERENCES else []


def _print(rows: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    if len(rows) == 1:
        row = rows[0]
        hole = "" if row["par_hole"] is None else f"PAR_hole {row['par_hole']:.3f}  "
        click.echo(f"{hole}PAR_image {row['par_image']:.3f}  quality {row['quality']:.1f}")
    else:
        click.echo("image\tquality\tpar_image")
        for row in rows:
            click.echo(f"{row['image']}\t{row['quality']:.1f}\t{row['par_image']:.3f}")
    for key, found in summary.items():
        if key not in ("quality", "par_image", "par_hole") or len(rows) > 1:
            low, high = found["interval"]
            span = f" ({low:.4g} to {high:.4g})" if found["n"] > 1 else ""
            click.echo(f"{key} {found['mean']:.4g}{span}", err=len(rows) > 1)
