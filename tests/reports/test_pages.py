"""All pages share a frame; nothing that users name gets out of the place where it is shown."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pytest
from test_report import Page as Parsed

from restore.reports.page import percent, rendered
from restore.reports.suite import Page, suite_page

NASTY = '"><script>alert(1)</script>&amp;{{ 7 * 7 }}'


def test_whatever_a_suite_is_told_is_escaped() -> None:
    row = {"image": f"/tmp/{NASTY}", "width": 3, "height": 4, "quality": 50.0, "par_image": 0.1}
    measured = {"mean": 50.0, "interval": [40.0, 60.0], "min": 50.0, "max": 50.0, "n": 1}
    page = Page(
        title=NASTY, verdict=NASTY, rows=[row], summary={"quality": measured}, order="quality", facts={NASTY: NASTY},
        tables=[(NASTY, [NASTY], [[NASTY, NASTY]])], notes=[NASTY], marks={row["image"]: NASTY}, terms=["fid_lite0"],
        data={NASTY: NASTY},
    )  # fmt: skip
    parsed = Parsed(suite_page(page, lambda _: None))
    assert parsed.open == []
    assert len(parsed.having("script")) == 2
    assert parsed.texts["title"][0] == NASTY
    assert NASTY in parsed.texts["li"]
    (card,) = parsed.having("details")
    assert card["data-quality"] == "50.0"


@pytest.mark.parametrize("name", ["edit", "enhance", "suite", "triplets"])
def test_every_template_has_the_frame_and_demands_its_values(name: str) -> None:
    source = Path(__file__).parents[2] / "restore" / "reports" / "templates" / f"{name}.html"
    text = source.read_text(encoding="utf-8")
    assert text.startswith('{% extends "base.html" %}')
    assert "| safe" not in text
    with pytest.raises(jinja2.UndefinedError):
        rendered(f"{name}.html", title="a page")


def test_percent_never_rounds_across_a_limit() -> None:
    assert [percent(x) for x in (0.05, 0.0504, 0.0)] == ["5\u00a0%", "5.04\u00a0%", "0\u00a0%"]
    assert percent(5e-6) == "under 0.001\u00a0%"
