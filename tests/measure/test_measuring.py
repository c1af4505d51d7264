"""Measuring many files: what is measured, remembered, refused; and the three commands on top."""

from __future__ import annotations

import csv
import json
import re
import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from conftest import make_scene
from PIL import Image

import restore
from restore.cli import main
from restore.errors import InputError
from restore.measure import assessor as measures
from restore.measure.assessor import Assessor
from restore.measure.files import find_images, partner
from restore.measure.memory import Memory
from restore.measure.pictures import Item, assess_files
from restore.measure.ranking import add_overall
from restore.quality.catalogue import OF_SETS, PER_IMAGE


@pytest.fixture(scope="module")
def assessor() -> Assessor:
    return Assessor(torch.device("cpu"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """truth/ and fills/ with 9 pictures of equal names, worse and worse fills, and a mask for each."""
    root = tmp_path_factory.mktemp("pictures")
    for name in ("truth", "fills", "masks"):
        (root / name).mkdir()
    hole = np.zeros((64, 80), bool)
    hole[20:44, 20:60] = True
    for i in range(9):
        scene = make_scene(64, 80, seed=i)
        noise = np.random.default_rng(i).normal(0, 1 + 8 * i, scene.shape)
        fill = np.where(hole[..., None], (scene + noise).clip(0, 255), scene).astype(np.uint8)
        Image.fromarray(scene).save(root / "truth" / f"{i}.png")
        Image.fromarray(fill).save(root / "fills" / f"{i}.png")
        Image.fromarray(hole).save(root / "masks" / f"{i}.mask.png")
    return root


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def test_scores_against_the_truth_split_into_hole_and_outside(assessor: Assessor, folders: Path) -> None:
    item = Item(folders / "fills" / "5.png", folders / "masks" / "5.mask.png", folders / "truth" / "5.png")
    (record,) = assess_files([item], assessor, Memory(None), 1, features=True)
    scores = record.scores
    assert record.error is None
    assert record.size == (80, 64)
    assert set(scores) <= set(PER_IMAGE)
    assert scores["psnr_outside"] is None  # nothing differs there
    assert scores["ms_ssim"] is None  # sides under 176
    assert scores["psnr_hole"] is not None
    assert scores["psnr"] == pytest.approx(scores["psnr_hole"] - 10 * np.log10(24 * 40 / (64 * 80)), abs=1e-3)
    assert scores["ssim_hole"] < scores["ssim"] < scores["ssim_outside"] <= 1  # type: ignore[operator]
    assert record.features["lite0"].shape == (112,)


def test_jobs_neighbours_and_memory_never_change_a_number(assessor: Assessor, folders: Path, tmp_path: Path) -> None:
    items = [Item(path) for path in find_images([folders / "fills"])[:4]]
    memory = Memory(tmp_path / "memory.sqlite3")
    first = list(assess_files(items, assessor, memory, 3, features=True))
    alone = [next(assess_files([item], assessor, Memory(None), 1, features=True)) for item in reversed(items)][::-1]
    again = list(assess_files(items, assessor, Memory(tmp_path / "memory.sqlite3"), 1, features=True))
    for a, b, c in zip(first, alone, again, strict=True):
        assert a.scores == b.scores == c.scores
        np.testing.assert_array_equal(a.features["lite0"], b.features["lite0"])
        np.testing.assert_array_equal(a.features["lite0"], c.features["lite0"])


def test_an_interrupted_run_goes_on_where_it_stopped(
    assessor: Assessor, folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    alone = assessor.alone

    def counted(image: Any, hole: Any = None) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return alone(image, hole)

    monkeypatch.setattr(assessor, "alone", counted)
    items = [Item(path) for path in find_images([folders / "fills"])[:4]]
    with pytest.raises(KeyboardInterrupt):
        list(assess_files(items, assessor, Memory(tmp_path / "m.sqlite3"), 1))
    calls[:] = [1] * 10
    records = list(assess_files(items, assessor, Memory(tmp_path / "m.sqlite3"), 1))
    assert len(calls) in (11, 12)  # what was missing: the third, and the fourth unless it was under way already
    assert all(r.error is None for r in records)


def test_content_not_names_is_what_is_remembered(
    assessor: Assessor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, moved = tmp_path / "a.png", tmp_path / "b.png"
    Image.fromarray(make_scene(40, 40)).save(path)
    memory = Memory(None)
    (before,) = assess_files([Item(path)], assessor, memory, 1)
    path.rename(moved)
    monkeypatch.setattr(assessor, "alone", lambda *_: pytest.fail("measured twice"))
    (after,) = assess_files([Item(moved)], assessor, memory, 1)
    assert before.scores == after.scores
    monkeypatch.undo()
    Image.fromarray(make_scene(40, 40, seed=1)).save(moved)
    (other,) = assess_files([Item(moved)], assessor, memory, 1)
    assert other.scores != before.scores


def test_a_changed_version_measures_anew(assessor: Assessor, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(None)
    item = Item(folders / "fills" / "0.png")
    list(assess_files([item], assessor, memory, 1))
    count = "SELECT count(*) FROM measured"
    rows = memory.file.execute(count).fetchone()
    list(assess_files([item], assessor, memory, 1))
    assert memory.file.execute(count).fetchone() == rows
    monkeypatch.setattr(assessor, "version", "another")
    list(assess_files([item], assessor, memory, 1))
    assert memory.file.execute(count).fetchone()[0] == 2 * rows[0]


def test_bad_files_are_reported_not_raised(assessor: Assessor, folders: Path, tmp_path: Path) -> None:
    broken, small = tmp_path / "broken.png", tmp_path / "small.png"
    broken.write_bytes(b"no picture")
    Image.fromarray(make_scene(32, 40)).save(small)
    good = folders / "truth" / "0.png"
    items = [Item(broken), Item(good), Item(small, None, good)]
    records = list(assess_files(items, assessor, Memory(None), 2))
    assert "broken.png" in (records[0].error or "")
    assert records[1].error is None
    assert "80×64 pixels, got 40×32" in (records[2].error or "")


def test_memory_that_is_not_one_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite3"
    path.write_bytes(b"something else entirely" * 100)
    with pytest.raises(InputError, match="remember"):
        Memory(path)


def test_partners_are_found_by_name(folders: Path, tmp_path: Path) -> None:
    image = folders / "fills" / "3.png"
    assert partner(image, folders / "masks", "mask", False) == folders / "masks" / "3.mask.png"
    assert partner(image, folders / "truth", "reference", False) == folders / "truth" / "3.png"
    assert partner(image, tmp_path, "reference", False) is None
    assert partner(image, image, "reference", True) == image
    with pytest.raises(InputError, match="one file for several"):
        partner(image, image, "reference", False)
    assert len(find_images([folders])) == 18  # no masks
    with pytest.raises(InputError, match="found none"):
        find_images([tmp_path])


def test_assess_one_picture_keeps_its_keys_on_top(folders: Path) -> None:
    fill, truth, mask = (folders / a / b for a, b in (("fills", "8.png"), ("truth", "8.png"), ("masks", "8.mask.png")))
    report = json.loads(run("assess", fill, "--mask", mask, "--reference", truth, "--json").stdout)
    assert report["schema"] == "restore.assess/1"
    assert {"par_hole", "par_image", "quality", "psnr_hole"} <= set(report)
    assert report["images"][0]["psnr_hole"] == report["psnr_hole"]
    untouched = json.loads(run("assess", truth, "--mask", mask, "--json").stdout)
    assert untouched["quality"] > report["quality"]


def test_assess_a_folder_to_json_csv_and_html_together(folders: Path, tmp_path: Path) -> None:
    table, page = tmp_path / "t.csv", tmp_path / "p.html"
    outputs = ["--csv", table, "--html", page]
    given = ["assess", folders / "fills", "--reference", folders / "truth", "--mask", folders / "masks"]
    report = json.loads(run(*given, *outputs, "--json").stdout)
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [float(row["psnr"]) for row in rows] == [image["psnr"] for image in report["images"]]
    assert report["images"][0]["psnr"] > report["images"][8]["psnr"]
    assert {"giqa_gmm", "giqa_knn"} <= set(report["images"][0])
    assert report["summary"]["psnr"]["n"] == 9
    text = page.read_text()
    assert not re.search(r"(src|href)=[\"'](?!data:)", text)
    assert text.count('class="card"') == 9
    assert text.count("data:image/jpeg") == 18  # a thumbnail and an overlay each
    order = [float(v) for v in re.findall(r'class="card" data-quality="([\d.]+)"', text)]
    assert order == sorted(order)
    embedded = re.search(r'id="data">(.*?)</script>', text, re.S)
    assert embedded is not None
    assert json.loads(embedded[1]) == report
    assert "exists" in run(*given, *outputs, code=2).output.replace("existing", "exists")


def test_assess_goes_on_without_the_unreadable_and_says_so(folders: Path, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"broken")
    result = run("assess", folders / "fills" / "0.png", tmp_path / "x.png", "--json", code=2)
    report = json.loads(result.stdout)
    assert len(report["images"]) == 1
    assert "x.png" in report["failed"][0]["error"]
    assert "left out" in result.stderr
    assert run("assess", tmp_path / "x.png", "--json", code=2).stdout == ""


def test_rank_picks_and_moves_the_rest(folders: Path, tmp_path: Path) -> None:
    root = tmp_path / "in" / "deeper"
    root.mkdir(parents=True)
    for i in range(4):
        blurred = cv2.GaussianBlur(make_scene(64, 80, seed=7), (0, 0), 0.3 + 2 * i)
        Image.fromarray(blurred).save(root / f"{i}.png")
    given = ["rank", tmp_path / "in", "--by", "sharpness", "--json"]
    report = json.loads(run(*given, "--keep", 0.5, "--move-rejected", tmp_path / "out").stdout)
    assert report["schema"] == "restore.rank/1"
    assert [Path(row["image"]).stem for row in report["images"]] == ["0", "1", "2", "3"]
    assert [row["kept"] for row in report["images"]] == [True, True, False, False]
    assert sorted(p.name for p in root.iterdir()) == ["0.png", "1.png"]
    assert sorted(p.name for p in (tmp_path / "out" / "deeper").iterdir()) == ["2.png", "3.png"]
    (tmp_path / "out" / "deeper" / "1.png").write_bytes(b"taken")
    run(*given, "--top", 1, "--move-rejected", tmp_path / "out", code=2)
    assert (root / "1.png").exists()
    run("rank", root, "--keep", 0.5, "--top", 1, code=2)
    run("rank", root, "--by", "giqa_knn", code=2)


def test_overall_is_the_mean_of_ranks() -> None:
    rows: list[dict[str, Any]] = [
        {"quality": 10.0, "score": 3.0},
        {"quality": 30.0, "score": 1.0},
        {"quality": 20.0, "score": 1.0},
    ]
    add_overall(rows)
    assert [row["overall"] for row in rows] == [50, 62.5, 37.5]


def test_compare_reports_every_key_and_pairs_by_name(folders: Path, tmp_path: Path) -> None:
    page = tmp_path / "p.html"
    given = ["compare", folders / "fills", "--reference", folders / "truth"]
    report = json.loads(run(*given, "--json", "--html", page).stdout)
    assert report["schema"] == "restore.compare/1"
    for key in ("fid_lite0", "kid_lite0", "precision", "recall", "density", "coverage", "u_ids", "p_ids", "qs", "ds"):
        assert set(report[key]) == {"value", "interval", "note"}
        assert "at least" in report[key]["note"]  # nine pictures are too few for all of them
    assert report["pairs"] == 9
    assert report["sets"][0]["missing"] == []
    assert "fills against the reference" in page.read_text()
    both = run(*given, folders / "truth")
    assert "fills minus truth" in both.stdout
    run("compare", folders / "fills", folders / "fills", "--reference", folders / "truth", code=2)


def test_damaged_memory_and_missing_folders_are_plain_errors(folders: Path, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"junk" * 500)
    assert "remember" in run("assess", folders / "fills" / "0.png", "--cache", tmp_path / "m", code=2).output
    run("compare", tmp_path / "nowhere", "--reference", folders / "truth", code=2)
    assert (
        "features"
        in run("compare", folders / "fills", "--reference", folders / "truth", "--features", "x", code=2).output
    )


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """good/: unusual pictures; bad/: files that cannot be measured; truth/: references, one of another size."""
    root = tmp_path_factory.mktemp("odd")
    for name in ("good", "bad", "truth"):
        (root / name).mkdir()
    scene = make_scene(64, 80)
    Image.fromarray(scene).convert("CMYK").save(root / "good" / "cmyk.jpg")
    Image.fromarray(scene).convert("RGBA").save(root / "good" / "alpha.png")
    Image.fromarray(scene).quantize(16).save(root / "good" / "palette.png")
    cv2.imwrite(str(root / "good" / "deep.png"), scene.astype(np.uint16) * 257)
    Image.fromarray(scene[:1, :1]).save(root / "bad" / "pixel.png")
    for name in ("cut.png", "cut.jpg", "cut.tif", "cut.webp"):
        Image.fromarray(scene).save(root / "bad" / name)
        data = (root / "bad" / name).read_bytes()
        (root / "bad" / name).write_bytes(data[: len(data) // 2])
    (root / "bad" / "empty.png").touch()
    (root / "bad" / "text.bmp").write_text("no picture")
    Image.fromarray(scene).save(root / "bad" / "size.png")
    Image.fromarray(scene[:40]).save(root / "truth" / "size.png")
    Image.fromarray(scene).save(root / "truth" / "other.png")
    return root


def mentions(stderr: str, folder: Path, omit: str = "") -> None:
    """Every file of `folder` has its one line, and nothing else is there."""
    lines, names = stderr.splitlines(), sorted(p.name for p in folder.iterdir() if p.name != omit)
    assert [sum(name in line for line in lines) for name in names] == [1] * len(names), stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize("command", ["assess", "rank", "compare"])
def test_unusual_pictures_are_measured_and_broken_ones_left_out_by_name(command: str, odd: Path) -> None:
    given = ["--reference", odd / "truth"] if command == "compare" else []
    report = json.loads(run(command, odd / "good", *given, "--json").stdout)
    counted = report["n"] if command == "compare" else len(report["images"])
    assert counted == 4
    if command != "compare":  # of the readable ones only its size is wrong, and only where there is a reference
        result = run(command, odd / "bad", "--json", code=2)
        mentions(result.stderr, odd / "bad", omit="size.png")
        assert len(json.loads(result.stdout)["images"]) == 1


@pytest.mark.parametrize("command", ["assess", "compare"])
def test_nothing_measurable_is_one_line(command: str, odd: Path) -> None:
    result = run(command, odd / "bad", "--reference", odd / "truth", "--json", code=2)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert "pixels, got 80×64" in run("assess", odd / "bad" / "size.png", "--reference", odd / "truth", code=2).stderr
    assert len(result.stderr.splitlines()) <= len(list((odd / "bad").iterdir()))


@pytest.mark.parametrize("name", ["cut.png", "cut.jpg", "empty.png", "text.bmp", "pixel.png"])
def test_one_broken_picture_is_one_line(name: str, odd: Path) -> None:
    result = run("assess", odd / "bad" / name, "--json", code=2)
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert name in result.stderr


def test_version_follows_the_measures(assessor: Assessor, monkeypatch: pytest.MonkeyPatch) -> None:
    before = assessor.version
    monkeypatch.setattr(measures, "VERSION", measures.VERSION + 1)
    del assessor.version
    assert assessor.version != before
    monkeypatch.undo()
    del assessor.version


def test_the_documented_schema_names_every_key() -> None:
    text = (Path(__file__).parents[2] / "docs" / "quality-json.md").read_text(encoding="utf-8")
    keys = [*PER_IMAGE, *OF_SETS, "fid_lite0", "kid_lite0"]
    assert [key for key in keys if key not in ("fid", "kid") and f"`{key}`" not in text] == []
    for module in ("cli.assess", "measure.ranking", "measure.comparing"):
        assert f"`{import_module(f'restore.{module}').SCHEMA}`" in text


def test_python_gives_what_the_command_gives(folders: Path, engine: Any) -> None:
    fill, truth, mask = (folders / a / b for a, b in (("fills", "8.png"), ("truth", "8.png"), ("masks", "8.mask.png")))
    report = json.loads(run("assess", fill, "--mask", mask, "--reference", truth, "--json").stdout)
    found = engine.assess(fill, mask=mask, reference=truth)
    assert found.scores == {key: report[key] for key in found.scores}
    assert found.scores["par_hole"] == found.par_hole
    with pytest.raises(InputError, match="size"):
        engine.assess(fill, reference=make_scene(30, 30))


def test_python_ranks_and_compares_as_the_commands_do(folders: Path, tmp_path: Path) -> None:
    fills, truth = folders / "fills", folders / "truth"
    told: list[tuple[int, int]] = []
    options = restore.RankOptions(keep=0.5, reference=truth, remember=False, jobs=1)
    ranking = restore.rank(fills, options, on_step=lambda *step: told.append(step))
    count = len(ranking.rows) + len(find_images([truth]))
    assert told == [(i + 1, count) for i in range(count)]
    assert ranking.summary() == json.loads(run("rank", fills, "--keep", 0.5, "--reference", truth, "--json").stdout)
    assert len(ranking.kept) + len(ranking.rejected) == len(ranking.rows)
    ranking.report(tmp_path / "ranking.html")
    assert "Ranked by overall" in (tmp_path / "ranking.html").read_text(encoding="utf-8")

    found = restore.compare(fills, reference=truth, options=restore.CompareOptions(draws=20))
    assert found.summary() == json.loads(run("compare", fills, "--reference", truth, "--draws", 20, "--json").stdout)
    assert found.verdict
    with pytest.raises(restore.Cancelled):
        restore.compare(fills, reference=truth, on_step=lambda *_: False)


def test_options_that_mean_nothing_are_refused_before_any_work() -> None:
    for options in ({"keep": 0.5, "top": 3}, {"keep": 0.0}, {"top": 0}, {"by": "beauty"}, {"by": "giqa_gmm"},
                    {"by": "giqa_mbc"}, {"device": "abacus"}, {"jobs": 0}):  # fmt: skip
        with pytest.raises(InputError, match="expected"):
            restore.RankOptions(**options)
    for options in ({"draws": 3}, {"features": {"lite0": "net.onnx"}}, {"features": {"a b": "net.onnx"}}):
        with pytest.raises(InputError, match="expected"):
            restore.CompareOptions(**options)


def test_lpips_is_used_where_it_is_installed(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Net(torch.nn.Module):
        def __init__(self, net: str, verbose: bool) -> None:
            super().__init__()

        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return (a - b).abs().mean((1, 2, 3), keepdim=True)

    module = ModuleType("lpips")
    module.LPIPS, module.__spec__ = Net, ModuleSpec("lpips", None)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lpips", module)
    a, b = (np.full((20, 20, 3), v, np.uint8) for v in (0, 51))
    with_it = Assessor(torch.device("cpu"))
    assert with_it.against(a, b)["lpips"] == pytest.approx(0.4)
    monkeypatch.undo()
    without = Assessor(torch.device("cpu"))
    assert "lpips" not in without.against(a, b)
    assert with_it.version != without.version
