"""What the pages of `assess`, `rank` and `compare` say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from restore.images.files import write_text
from restore.measure.comparing import Comparison
from restore.measure.ranking import Ranking
from restore.measure.summary import Row, summary_of
from restore.quality.catalogue import measure_of
from restore.quality.judges.judge import Judgement
from restore.reports.page import number
from restore.reports.suite import Page, Table, suite_page

OVERALL = (
    "Overall is the mean over quality, score, natural and giqa_gmm, as far as there, of the share of the other "
    "pictures that a picture beats: 0 last in all, 100 first in all."
)
INTERVALS = (
    "Intervals of sets come from random halves of the pictures (delete-half jackknife); those of means from the "
    "bootstrap; shares also get Wilson's. “Pictures in numbers” pools all sets. A difference counts when its "
    "interval excludes 0; with many measures, one in twenty does by chance."
)


def write_assessment(
    report: dict[str, Any], judged: Callable[[Path], Judgement | None], path: Path, *, overwrite: bool = False
) -> None:
    """Write the page about the object of `restore assess --json`. Raises InputError as `check_place` does."""
    rows, summary, failed = report["images"], report["summary"], report["failed"]
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
        data=report,
    )
    write_text(suite_page(page, judged), path, overwrite=overwrite)


def write_ranking(ranking: Ranking, path: Path, *, overwrite: bool = False) -> None:
    """Write the page about a ranking. Raises InputError as `check_place` does."""
    report, kept = ranking.summary(), len(ranking.kept)
    page = Page(
        title=f"Ranking of {len(ranking.rows)} picture{'s' * (len(ranking.rows) != 1)}",
        verdict=f"Ranked by {ranking.by}: {kept} kept, {len(ranking.rejected)} rejected.",
        rows=ranking.rows,
        summary=report["summary"],
        order=ranking.by,
        facts={"Pictures": str(len(ranking.rows)), "Kept": str(kept), "Left out": str(len(ranking.failed))},
        notes=[OVERALL, *(f"Left out: {entry['error']}" for entry in ranking.failed)],
        marks={row["image"]: "rejected" for row in ranking.rows if not row["kept"]},
        data=report,
    )
    write_text(suite_page(page, ranking.judged), path, overwrite=overwrite)


def write_comparison(found: Comparison, path: Path, *, overwrite: bool = False) -> None:
    """Write the page about a comparison. Raises InputError as `check_place` does."""
    sets, rows = found.findings["sets"], found.rows
    facts = {"Reference": f"{found.findings['reference']['n']} pictures"}
    facts |= {s["set"]: f"{s['n']} pictures, {s['pairs']} pairs" for s in sets}
    paired = any(row.get("feature_distance") is not None for row in rows)
    left_out = [f"Left out: {entry['error']}" for entry in found.failed]
    page = Page(
        title=f"{' and '.join(s['set'] for s in sets)} against the reference",
        verdict=found.verdict,
        rows=rows,
        summary=summary_of(rows),
        order="feature_distance" if paired else "quality",
        facts=facts,
        tables=[*tables(found.findings), _means(rows, [s["set"] for s in sets])],
        notes=[*found.findings["warnings"], *left_out, INTERVALS],
        marks={row["image"]: row["set"] for row in rows} if len(sets) > 1 else {},
        terms=_scores(sets[0]),
        data=found.summary(),
    )
    write_text(suite_page(page, found.judged), path, overwrite=overwrite)


def tables(findings: dict[str, Any]) -> list[Table]:
    """The sets' scores, then the differences, as text."""
    sets = findings["sets"]
    scores = [[_named(key), *(_cell(s[key]) for s in sets)] for key in _scores(sets[0])]
    found: list[Table] = [("Sets against the reference (95 % intervals)", ["score", *(s["set"] for s in sets)], scores)]
    for pair in findings["differences"]:
        rows = []
        for key, told in pair["scores"].items():
            better = {"first": pair["first"], "second": pair["second"], None: "not shown"}[told["better"]]
            better = "–" if measure_of(key).better == "neither" else better
            rows.append([_named(key), _cell(told), better, number(told.get("p"))])
        heading = f"{pair['first']} minus {pair['second']}"
        found.append((heading, ["score", "difference (95 % interval)", "better", "Wilcoxon p"], rows))
    return found


def _means(rows: list[Row], labels: list[str]) -> Table:
    """Mean of every per-picture score, a column per set."""
    summaries = [summary_of([row for row in rows if row["set"] == label]) for label in labels]
    keys = dict.fromkeys(key for summary in summaries for key in summary)
    means = [
        [None if (f := s.get(key)) is None else {"value": f["mean"], "interval": f["interval"]} for s in summaries]
        for key in keys
    ]
    lines = [[_named(key), *map(_cell, told)] for key, told in zip(keys, means, strict=True)]
    return "Means over pictures (95 % intervals)", ["score", *labels], lines


def _scores(of_set: dict[str, Any]) -> list[str]:
    return [key for key, value in of_set.items() if isinstance(value, dict)]


def _named(key: str) -> str:
    return f"{key} {measure_of(key).arrow}"


def _cell(found: dict[str, Any] | None) -> str:
    if found is None or found["value"] is None:
        return "–"
    low, high = found["interval"]
    return f"{number(found['value'])} ({number(low)} to {number(high)})"
