"""`restore rank`."""

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

SCHEMA = "restore.rank/1"
OVERALL = (
    "Overall is the mean over quality, score, natural and giqa_gmm, as far as there, of the share of the other "
    "pictures that a picture beats: 0 last in all, 100 first in all."
)
BY = ("overall", "quality", "score", "natural", "par_image", "sharpness", "noise", "giqa_gmm", "giqa_knn", "giqa_mbc")


@click.command()
@click.argument("folder", type=click.Path(), metavar="DIR")
@click.option("--keep", type=click.FloatRange(0, 1, min_open=True), help="Share to keep, e.g. 0.8.")
@click.option("--top", type=click.IntRange(1), help="Number to keep.")
@click.option("--move-rejected", type=click.Path(), metavar="DIR", help="Move the others into this folder.")
@click.option("--by", type=click.Choice(BY), default="overall", show_default=True, help="What counts.")
@click.option("--reference", type=click.Path(), metavar="DIR", help="Pictures to be like: adds the GIQA scores.")
@measuring_options
@click.pass_context
def rank(
    ctx: click.Context,
    folder: str,
    keep: float | None,
    top: int | None,
    move_rejected: str | None,
    by: str,
    reference: str | None,
    **options: Any,
) -> None:
    """Put the pictures in DIR in order, best first, and pick: keep a share or a number, move the rest away.

    "overall" is the mean of the ranks by quality, score, natural and giqa_gmm, as far as they are there, from
    0 (last in all) to 100 (first in all).

    \b
    restore rank outputs/ --keep 0.8 --move-rejected rejected/
    restore rank outputs/ --top 10 --reference photos/ --html ranking.html
    """
    from restore.measure.files import find_images
    from restore.measure.pictures import Item
    from restore.measure.ranking import add_overall, goodness, move
    from restore.measure.summary import add_giqa, row_of, summary_of

    root = Path(folder)
    _check_usage(root, keep, top, move_rejected, by, reference, options["mbc"])
    check_outputs(options)
    items = [Item(path) for path in find_images([root])]
    assessor, memory = open_assessor(options), open_memory(options)
    records, failed = split(run_over(items, assessor, memory, options, features=reference is not None))
    rows = [row_of(record) for record in records]
    if reference is not None:
        add_giqa(rows, records, reference_records(Path(reference), assessor, memory, options))
    _check_grade(rows, by)
    add_overall(rows)
    rows.sort(key=lambda row: goodness(row, by), reverse=True)
    count = top if top is not None else max(1, round(keep * len(rows))) if keep is not None else len(rows)
    for place, row in enumerate(rows):
        row |= {"rank": place + 1, "kept": place < count}
    rejected = [Path(row["image"]) for row in rows if not row["kept"]]
    summary = summary_of(rows)
    report = {"schema": SCHEMA, "by": by, "images": rows, "failed": failed, "summary": summary}
    write_csv(options["csv_file"], rows, options["overwrite"])
    if options["html_file"] is not None:
        _write_page(options, report, len(rejected), assessor, items)
    if move_rejected is not None:
        move(rejected, root, Path(move_rejected))
    if options["as_json"]:
        print_json(report)
    else:
        for row in rows:
            mark = "" if count == len(rows) else "keep\t" if row["kept"] else "reject\t"
            click.echo(f"{row['rank']}\t{mark}{goodness(row, by):.4g}\t{row['image']}")
    finish(ctx, failed)


def _check_usage(
    root: Path, keep: float | None, top: int | None, move_rejected: str | None, by: str, reference: str | None, mbc: Any
) -> None:
    if keep is not None and top is not None:
        raise click.UsageError("expected at most one of --keep and --top, got both; keep one")
    if move_rejected is not None and keep is None and top is None:
        raise click.UsageError("expected --keep or --top to say what --move-rejected moves, got neither")
    if by in ("giqa_gmm", "giqa_knn") and reference is None:
        raise click.UsageError(f"expected --reference DIR for --by {by}, got none")
    if by == "giqa_mbc" and mbc is None:
        raise click.UsageError("expected --mbc FILE for --by giqa_mbc, got none")
    if not root.is_dir():
        raise click.UsageError(f"{root}: expected a folder of pictures, found none")


def _write_page(
    options: dict[str, Any], report: dict[str, Any], rejected: int, assessor: Assessor, items: list[Item]
) -> None:
    from restore.reports.suite import Page

    rows, failed = report["images"], report["failed"]
    kept = len(rows) - rejected
    page = Page(
        title=f"Ranking of {len(rows)} picture{'s' * (len(rows) != 1)}",
        verdict=f"Ranked by {report['by']}: {kept} kept, {rejected} rejected.",
        rows=rows,
        summary=report["summary"],
        order=report["by"],
        facts={"Pictures": str(len(rows)), "Kept": str(kept), "Left out": str(len(failed))},
        notes=[OVERALL, *(f"Left out: {entry['error']}" for entry in failed)],
        marks={row["image"]: "rejected" for row in rows if not row["kept"]},
        data={"json": report},
    )
    write_html(page, options, assessor, items)


def _check_grade(rows: list[dict[str, Any]], by: str) -> None:
    from restore.errors import ModelUnavailableError

    if by != "overall" and any(row.get(by) is None for row in rows):
        raise ModelUnavailableError(f"expected the network behind --by {by}, but it is not installed; use another")
