"""`restore rank`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from restore.cli.measuring import (
    check_outputs,
    finish,
    measure_options,
    measuring_options,
    print_json,
    progress,
    tell_failed,
    usage,
    write_csv,
)
from restore.measure.options import BY, RankOptions


@click.command()
@click.argument("folder", type=click.Path(), metavar="DIR")
@click.option("--keep", type=click.FloatRange(0, 1, min_open=True), help="Share to keep, e.g. 0.8.")
@click.option("--top", type=click.IntRange(1), help="Number to keep.")
@click.option("--move-rejected", type=click.Path(), metavar="DIR", help="Move the others into this folder.")
@click.option("--by", type=click.Choice(BY), default=RankOptions.by, show_default=True, help="What counts.")
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
    from restore.measure.files import check_folder

    with usage():
        chosen = RankOptions(keep=keep, top=top, by=by, reference=reference, **measure_options(options))
        check_folder(Path(folder))
    if move_rejected is not None and keep is None and top is None:
        raise click.UsageError("expected --keep or --top to say what --move-rejected moves, got neither")
    check_outputs(options)
    from restore.api import rank as ranked
    from restore.measure.ranking import goodness

    with progress() as on_step:
        result = ranked(folder, chosen, on_step=on_step)
    tell_failed([*result.failed, *result.reference_failed])
    write_csv(options["csv_file"], result.rows, options["overwrite"])
    if options["html_file"] is not None:
        result.report(options["html_file"], overwrite=options["overwrite"])
    if move_rejected is not None:
        result.move_rejected(move_rejected)
    if options["as_json"]:
        print_json(result.summary())
    else:
        for row in result.rows:
            mark = "" if not result.rejected else "keep\t" if row["kept"] else "reject\t"
            click.echo(f"{row['rank']}\t{mark}{goodness(row, by):.4g}\t{row['image']}")
    finish(ctx, result.failed)
