"""The report: one page that needs nothing else and says what the result says, written whole or not at all."""

from __future__ import annotations

import base64
import io
import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restore.api import InpaintResult
from restore.edit.area import Area, Outcome, PassRecord
from restore.edit.request import Part
from restore.errors import InputError
from restore.images.files import check_place
from restore.images.photo import photo_from_array
from restore.images.windows import Window, windows
from restore.quality.judges.judge import Judgement
from restore.reports.edit import report_page, write_report
from restore.reports.pictures import CROP_SIDE, HOLE_LINE, artifact_map, close_up, outline_uri
from restore.settings import Settings

VOID = {"meta", "img", "input", "br", "link"}


class Page(HTMLParser):
    """Collects elements and texts; fails on tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))  # SVG shapes

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)

    def having(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        return [a for t, a in self.elements if t == tag and attributes.items() <= a.items()]


def result_of(pixels: np.ndarray, mask: np.ndarray, passes: int = 3) -> InpaintResult:
    """A result by hand: every pass but the last is kept, each halves the probability of artifacts."""
    original = photo_from_array(pixels)
    fill = np.full_like(pixels, 128)
    photo = original.with_pixels(fill, mask)
    records, history = [], []
    for index in range(1, passes + 1):
        kept = index < passes or passes == 1
        level = np.float32(1.2 * 0.5 ** (index if kept else index - 1))
        areas = []
        for window in windows(mask):
            hole = mask[window.slices]
            judgement = Judgement(hole * level, hole, 0.5)
            areas.append(Area(window, hole, photo.pixels[window.slices], judgement, 0.7))
        par = 0.5**index if kept else 0.75 * 0.5 ** (index - 1)
        records.append(PassRecord(index, par, par / 10, 40.0 + index, 0.7, kept, 0.25))
        history.append(areas)
    parts = (Part("prompt", "the cat", 1, (0, 0, 1, 1)),)
    return InpaintResult(
        photo, original, mask, parts, records, "budget", Settings(passes=passes), "cpu", 1.5, "photo.png",
        Outcome(records, "budget", history, history),
    )  # fmt: skip


@pytest.fixture
def result() -> InpaintResult:
    row, column = np.mgrid[:120, :160]
    mask = np.zeros((120, 160), bool)
    mask[40:70, 60:100] = True
    return result_of(np.stack([2 * row, 255 - column, row + column // 2], axis=2).astype(np.uint8), mask)


def picture(uri: str | None) -> Image.Image:
    assert uri is not None
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1], validate=True)))


def test_page_is_valid_and_refers_to_nothing_outside(result: InpaintResult) -> None:
    text = report_page(result)
    page = Page(text)
    assert page.open == []
    assert re.search(r"https?:|//cdn|@import|url\(", text) is None
    assert not page.having("link")
    for _, attributes in page.elements:
        assert not {"href", "srcset", "action", "data"} & attributes.keys()
        assert (attributes.get("src") or "data:image/").startswith("data:image/")
        assert attributes.get("src") != ""
    assert all("alt" in attributes for attributes in page.having("img"))
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))


def test_embedded_json_is_the_summary(result: InpaintResult) -> None:
    page = Page(report_page(result))
    (script,) = page.having("script", type="application/json")
    assert script["id"] == "result"
    assert json.loads(page.texts["script"][0]) == result.summary()


def test_everything_from_the_user_is_escaped(result: InpaintResult) -> None:
    nasty = '</script><script>alert("1")</script>&amp;$title.jpg'
    hostile = replace(
        result, like=f"/tmp/{nasty}", parts=(Part(nasty, nasty, 1, (0, 0, 1, 1)),) * 2, device=nasty,
        settings=replace(result.settings, model=nasty),
    )  # fmt: skip
    page = Page(report_page(hostile))
    assert len(page.having("script")) == 2
    assert json.loads(page.texts["script"][0]) == hostile.summary()
    assert page.texts["title"][0] == "Restoration report: " + nasty.rsplit("/", 1)[1]
    assert nasty in page.texts["td"]


def test_slider_shows_both_pictures_and_works_from_the_keyboard(result: InpaintResult) -> None:
    page = Page(report_page(result))
    (slider,) = page.having("input", type="range")
    assert slider["aria-label"]
    assert (slider["min"], slider["max"]) == ("0", "100")
    before, after, outline = page.having("img")[:3]
    for image, photo in ((before, result.original), (after, result.photo)):
        shown = np.asarray(picture(image["src"])).astype(float)
        assert shown.shape == photo.pixels.shape
        assert np.abs(shown - photo.pixels).mean() < 3
    opacity = np.asarray(picture(outline["src"]).convert("RGBA"))[..., 3]
    assert ((opacity > 0) == result.mask).all()


def test_curve_and_table_tell_kept_from_rolled_back(result: InpaintResult) -> None:
    page = Page(report_page(result))
    kept, undone = page.having("circle", **{"class": "kept"}), page.having("circle", **{"class": "undone"})
    assert (len(kept), len(undone)) == (2, 1)
    (limit,) = page.having("line", **{"class": "limit"})
    heights = [float(c["cy"] or 0) for c in kept]
    base, unit = 184.0, (heights[1] - heights[0]) / (0.5 - 0.25)  # two points fix the scale
    assert float(limit["y1"] or 0) == pytest.approx(base - unit * result.settings.par, abs=0.2)
    assert float(undone[0]["cy"] or 0) == pytest.approx(base - unit * result.passes[2].par_hole, abs=0.2)
    assert page.texts["td"].count("kept") == 2
    assert page.texts["td"].count("rolled back") == 1
    assert len(page.having("img", alt="Artifact map after pass 1")) == 1
    assert not page.having("img", alt="Artifact map after pass 3")


@pytest.mark.parametrize(
    ("stop", "words"),
    [
        ("threshold", "within the limit of"),
        ("budget", "as many as were allowed"),
        ("no-gain", "the last 1 brought no gain"),
    ],
)
def test_says_why_it_stopped(result: InpaintResult, stop: str, words: str) -> None:
    assert words in " ".join(Page(report_page(replace(result, stop=stop))).texts["p"])


def test_a_picture_without_artifacts_has_a_page_too(result: InpaintResult) -> None:
    record = PassRecord(0, 0.0, 0.0, 0.0, 0.0, True, 0.0)
    clean = replace(
        result, photo=result.original, mask=np.zeros_like(result.mask), passes=[record], stop="threshold",
        outcome=Outcome([record], "threshold", [[]], [[]]),
    )  # fmt: skip
    page = Page(report_page(clean))
    assert "No artifacts were found, so nothing was repainted." in page.texts["p"]
    assert not any("Close-up" in heading for heading in page.texts["h2"])


def test_page_of_the_least_compressible_photo_is_under_3_mb() -> None:
    rng = np.random.default_rng(0)
    mask = np.zeros((1610, 1610), bool)
    for x, y in ((100, 100), (1300, 100), (100, 1300), (1300, 1300)):
        mask[y : y + 100, x : x + 100] = True
    result = result_of(rng.integers(0, 256, (1610, 1610, 3), dtype=np.uint8), mask, passes=12)
    text = report_page(result)
    assert len(text.encode()) < 3_000_000
    sides = [max(picture(image["src"]).size) for image in Page(text).having("img")]
    assert max(sides) == 1600
    assert "1 smaller hole is not shown" in text
    assert text.count('Artifact map after pass 1"') == 3


def test_close_up_holds_small_holes_and_the_worst_of_large_ones() -> None:
    window, hole = Window(100, 200, 1000, 900), np.zeros((900, 1000), bool)
    hole[400:430, 500:540] = True
    rows, columns = close_up(Area(window, hole, np.zeros((900, 1000, 3), np.uint8)), (2000, 2000))
    assert rows.start <= 600 < 630 <= rows.stop
    assert columns.start <= 600 < 640 <= columns.stop
    hole[50:850, 50:950] = True
    probability = np.zeros(hole.shape, np.float32)
    probability[780:800, 880:900] = 1
    area = Area(window, hole, np.zeros((900, 1000, 3), np.uint8), Judgement(probability, hole, 0.5))
    rows, columns = close_up(area, (2000, 2000))
    assert rows.start <= 980 < 1000 <= rows.stop
    assert columns.start <= 980 < 1000 <= columns.stop
    assert rows.stop - rows.start == columns.stop - columns.start == CROP_SIDE
    rows, columns = close_up(area, (1010, 1010))  # never beyond the photo
    assert (rows.stop, columns.stop) == (1010, 1010)


def test_artifact_map_colours_only_the_hole() -> None:
    hole = np.zeros((320, 320), bool)
    hole[100:200, 100:200] = True
    probability = np.where(hole, 0.9, 0).astype(np.float32)
    probability[:, :150] = 0
    image = np.full((320, 320, 3), 100, np.uint8)
    area = Area(Window(0, 0, 320, 320), hole, image, Judgement(probability, hole, 0.5))
    shown = artifact_map(area).astype(int)
    spread = shown.max(axis=2) - shown.min(axis=2)
    assert (spread[~hole] == 0).all()
    assert (shown[100, 100:200] == HOLE_LINE).all()
    assert (spread[105:195, 105:145] == 0).all()
    assert (shown[110:190, 160:190, 0] > shown[110:190, 160:190, 1] + 80).all()


def test_outline_survives_downsizing() -> None:
    mask = np.zeros((4000, 3000), bool)
    mask[2000, 1000:2000] = True  # one pixel high
    opacity = np.asarray(picture(outline_uri(mask, (300, 400))).convert("RGBA"))[..., 3]
    assert (opacity[200, 100:200] > 0).all()
    assert np.count_nonzero(opacity) == 100


def test_writes_whole_files_and_overwrites_only_when_told(result: InpaintResult, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(result, path)
    assert Page(path.read_text(encoding="utf-8")).open == []
    path.write_text("mine")
    with pytest.raises(InputError, match="existing file"):
        write_report(result, path)
    assert path.read_text() == "mine"
    write_report(result, path, overwrite=True)
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_refuses_places_it_cannot_write_to(result: InpaintResult, tmp_path: Path) -> None:
    for path in (tmp_path / "missing" / "r.html", tmp_path, tmp_path / ("n" * 300)):
        with pytest.raises(InputError) as caught:
            write_report(result, path, overwrite=True)
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_refuses_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="read-only"):
        check_place(tmp_path / "r.html")
