"""`restore compare`."""

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
    run_over,
    split,
    write_csv,
    write_html,
)

if TYPE_CHECKING:
    from restore.measure.assessor import Assessor
    from restore.measure.pictures import Record
    from restore.measure.sets import PictureSet, SetScore

SCHEMA = "restore.compare/1"


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(), metavar="DIR_A [DIR_B]...")
@click.option("--reference", required=True, type=click.Path(), metavar="DIR", help="The real pictures.")
@click.option(
    "--features",
    "nets",
    multiple=True,
    metavar="NAME=PATH",
    help="Set distances in another network too: an ONNX file, or a folder (CLIP, DINOv2).",
)
@click.option("--draws", type=click.IntRange(20), default=100, show_default=True, help="Resamples behind intervals.")
@measuring_options
@click.pass_context
def compare(
    ctx: click.Context, folders: tuple[str, ...], reference: str, nets: tuple[str, ...], draws: int, **options: Any
) -> None:
    """Score sets of pictures against a reference set, and against each other: does one differ, and by how much?

    Pictures of the same name (any format) in DIR and the reference are pairs: P-IDS, PSNR, SSIM and feature
    distances need them. All set distances use features of EfficientNet-Lite0, and say so: fid_lite0.

    \b
    restore compare ours/ theirs/ --reference originals/ --html report.html
    restore compare outputs/ --reference photos/ --features inception=inception.onnx --json
    """
    from restore.measure.folders import by_set, labels_of, plans_of
    from restore.measure.sets import comparison
    from restore.measure.summary import row_of

    check_outputs(options)
    roots = [Path(folder) for folder in (reference, *folders)]
    labels = labels_of(roots[1:])
    plans = plans_of(roots)
    assessor, memory = open_assessor(options, nets), open_memory(options)
    records = run_over([item for plan in plans for item in plan], assessor, memory, options, features=True)
    parts, (_, failed) = by_set(records, plans), split(records)
    sets, scored = _scored(labels, parts, assessor, draws)
    report = {"schema": SCHEMA} | comparison(sets[0], sets[1:], scored) | {"failed": failed}
    if len(labels) == 1:
        report = report["sets"][0] | report
    rows = [{"set": label} | row_of(r) for label, part in zip(labels, parts[1:], strict=True) for r in part.values()]
    write_csv(options["csv_file"], rows, options["overwrite"])
    if options["html_file"] is not None:
        write_html(_page(report, rows), options, assessor, [item for plan in plans[1:] for item in plan])
    if options["as_json"]:
        print_json(report)
    else:
        _print(report)
    finish(ctx, failed)


def _scored(
    labels: list[str], parts: list[dict[str, Record]], assessor: Assessor, draws: int
) -> tuple[list[PictureSet], list[dict[str, SetScore]]]:
    """(the sets, the reference first; the scores of each of the others in all feature networks)."""
    from tqdm import tqdm

    from restore.measure.folders import picture_set
    from restore.measure.sets import set_scores

    scored: list[dict[str, SetScore]] = [{} for _ in labels]
    sets: list[PictureSet] = []
    for net in ("lite0", *assessor.nets):
        sets = [picture_set(label, part, net) for label, part in zip(("reference", *labels), parts, strict=True)]
        todo = tqdm(sets[1:], desc=f"sets, {net}", unit="set", disable=None, leave=False)
        for i, fake in enumerate(todo):
            found = set_scores(sets[0], fake, net, draws)
            keep = found if net == "lite0" else {k: v for k, v in found.items() if k.startswith(("fid", "kid"))}
            scored[i] |= keep
    return sets, scored


def _print(report: dict[str, Any]) -> None:
    for heading, columns, cells in _tables(report):
        click.echo(heading)
        for line in (columns, *cells):
            click.echo("\t".join(line))
    click.echo(report["verdict"])
    for line in report["warnings"]:
        click.echo(f"restore: {line}", err=True)


def _tables(report: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """The sets' scores, then the differences, as text."""
    from restore.quality.catalogue import measure_of
    from restore.reports.suite import number

    def cell(found: dict[str, Any] | None) -> str:
        if found is None or found["value"] is None:
            return "–"
        low, high = found["interval"]
        return f"{number(found['value'])} ({number(low)} to {number(high)})"

    sets = report["sets"]
    keys = [key for key, value in sets[0].items() if isinstance(value, dict)]
    titles = {key: f"{key} {measure_of(key).arrow}" for key in keys}
    scores = [[titles[key], *(cell(s[key]) for s in sets)] for key in keys]
    tables = [("Sets against the reference (95 % intervals)", ["score", *(s["set"] for s in sets)], scores)]
    for pair in report["differences"]:
        rows = []
        for key, found in pair["scores"].items():
            better = {"first": pair["first"], "second": pair["second"], None: "not shown"}[found["better"]]
            better = "–" if measure_of(key).better == "neither" else better
            rows.append([f"{key} {measure_of(key).arrow}", cell(found), better, number(found.get("p"))])
        heading = f"{pair['first']} minus {pair['second']}"
        tables.append((heading, ["score", "difference (95 % interval)", "better", "Wilcoxon p"], rows))
    return tables


def _means(rows: list[dict[str, Any]], labels: list[str]) -> tuple[str, list[str], list[list[str]]]:
    """Mean of every per-picture score, a column per set."""
    from restore.measure.summary import summary_of
    from restore.quality.catalogue import measure_of
    from restore.reports.suite import number

    summaries = [summary_of([row for row in rows if row["set"] == label]) for label in labels]
    keys = list(dict.fromkeys(key for summary in summaries for key in summary))
    lines = []
    for key in keys:
        found = [summary.get(key) for summary in summaries]
        cells = ["–" if f is None else " to ".join(map(number, f["interval"])) for f in found]
        means = ["–" if f is None else number(f["mean"]) for f in found]
        told = [f"{m} ({c})" if m != "–" else m for m, c in zip(means, cells, strict=True)]
        lines.append([f"{key} {measure_of(key).arrow}", *told])
    return "Means over pictures (95 % intervals)", ["score", *labels], lines


def _page(report: dict[str, Any], rows: list[dict[str, Any]]) -> Any:
    from restore.measure.summary import summary_of
    from restore.reports.suite import Page

    sets = report["sets"]
    facts = {"Reference": f"{report['reference']['n']} pictures"}
    facts |= {s["set"]: f"{s['n']} pictures, {s['pairs']} pairs" for s in sets}
    paired = any(row.get("feature_distance") is not None for row in rows)
    return Page(
        title=f"{' and '.join(s['set'] for s in sets)} against the reference",
        verdict=report["verdict"],
        rows=rows,
        summary=summary_of(rows),
        order="feature_distance" if paired else "quality",
        facts=facts,
        tables=[*_tables(report), _means(rows, [s["set"] for s in sets])],
        notes=[*report["warnings"], *(f"Left out: {entry['error']}" for entry in report["failed"]), INTERVALS],
        marks={row["image"]: row["set"] for row in rows} if len(sets) > 1 else {},
        data={"json": report, "terms": [key for key, value in sets[0].items() if isinstance(value, dict)]},
    )


INTERVALS = (
    "Intervals of sets come from random halves of the pictures (delete-half jackknife); those of means from the "
    "bootstrap; shares also get Wilson's. “Pictures in numbers” pools all sets. A difference counts when its "
    "interval excludes 0; with many measures, one in twenty does by chance."
)
