"""`restore assess`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from restore.cli.measuring import (
    check_outputs,
    finish,
    measuring_options,
    open_assessor,
    open_memory,
    print_json,
    reference_records,
    run_over,
    split,
    write_csv,
    write_html,
)

if TYPE_CHECKING:
    from restore.measure.assessor import Assessor
    from restore.measure.pictures import Item

SCHEMA = "restore.assess/1"
LEAST_REFERENCES = 8  # pictures that GIQA needs to know what the reference set looks like


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
    from restore.measure.summary import add_giqa, row_of, summary_of

    check_outputs(options)
    found = find_images([Path(image) for image in images])
    alone = len(found) == 1
    masks, references = (None if p is None else Path(p) for p in (mask, reference))
    items = [
        Item(path, partner(path, masks, "mask", alone), partner(path, references, "reference", alone)) for path in found
    ]
    _check_pairs(items, masks, references)
    assessor, memory = open_assessor(options), open_memory(options)
    records, failed = split(run_over(items, assessor, memory, options, features=_is_set(references)))
    rows = [row_of(record) for record in records]
    if references is not None and _is_set(references):
        add_giqa(rows, records, reference_records(references, assessor, memory, options))
    summary = summary_of(rows)
    write_csv(options["csv_file"], rows, options["overwrite"])
    report = {"schema": SCHEMA, "images": rows, "failed": failed, "summary": summary}
    if alone:
        report = {key: value for key, value in rows[0].items() if key != "image"} | report
    if options["html_file"] is not None:
        _write_page(options, rows, summary, failed, report, assessor, items)
    if options["as_json"]:
        print_json(report)
    else:
        _print(rows, summary)
    finish(ctx, failed)


def _check_pairs(items: list[Item], masks: Path | None, references: Path | None) -> None:
    """Nothing that was given may go unused without a word."""
    from restore.errors import InputError

    for folder, kind, found in (
        (masks, "mask", [i.mask for i in items]),
        (references, "reference", [i.reference for i in items]),
    ):
        missing = sum(path is None for path in found)
        if folder is None or missing == 0:
            continue
        if missing == len(items) and not (kind == "reference" and _is_set(folder)):
            raise InputError(
                f"{folder}: expected a {kind} named like {items[0].image.name}, found none for any picture"
            )
        click.echo(f"restore: {missing} of {len(items)} pictures have no {kind} of their name in {folder}", err=True)


def _is_set(references: Path | None) -> bool:
    """Are these enough pictures to be a set, not only truths?"""
    from restore.measure.files import find_images

    return references is not None and references.is_dir() and len(find_images([references])) >= LEAST_REFERENCES


def _write_page(
    options: dict[str, Any],
    rows: list[dict[str, Any]],
    summary: dict[str, Any],
    failed: list[dict[str, str]],
    report: dict[str, Any],
    assessor: Assessor,
    items: list[Item],
) -> None:
    from restore.reports.suite import Page, number

    worst = min(rows, key=lambda row: row["quality"])
    page = Page(
        title=f"Quality of {len(rows)} picture{'s' * (len(rows) != 1)}",
        verdict=f"Mean quality {number(summary['quality']['mean'])} of 100, worst {number(worst['quality'])} "
        f"({Path(worst['image']).name}); artifacts cover {100 * summary['par_image']['mean']:.2g} % of the pixels.",
        rows=rows,
        summary=summary,
        order="quality",
        facts={"Pictures": str(len(rows)), "Left out": str(len(failed))},
        notes=[f"Left out: {entry['error']}" for entry in failed],
        data={"json": report},
    )
    write_html(page, options, assessor, items)


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
