"""What a batch is made of: rows of any source, names, keys, and what is wrong before any work."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from restore import InputError
from restore.batching.condition import read_condition
from restore.batching.fields import check, read_value
from restore.batching.job import Job
from restore.batching.naming import filled, inside, mirrored
from restore.batching.plan import Planner
from restore.batching.record import DONE, failure, line_of, record_of
from restore.batching.source import read_rows
from restore.cli import main


def picture(path: Path, size: tuple[int, int] = (24, 16), value: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 80, 70)).save(path)
    return path


def rows(source: object, tmp_path: Path):
    return list(read_rows(source, tmp_path / "spool", tmp_path / "out"))


def plan(job: Job, source: object, tmp_path: Path, *, deep: bool = False):
    return list(Planner(job, deep=deep).items(read_rows(source, tmp_path / "spool", tmp_path / "out")))


def test_a_folder_gives_its_pictures_once_in_order_without_what_is_hidden_or_its_own_output(tmp_path):
    photos = tmp_path / "photos"
    for name in ("b/2.png", "b/1.jpg", "a.png", "c.mask.png", ".hidden/x.png", "._a.png", "out/a.png"):
        picture(photos / name)
    (photos / "notes.txt").write_text("none")
    (photos / "b" / "again").symlink_to(photos, target_is_directory=True)
    (photos / "elsewhere").symlink_to(picture(tmp_path / "other" / "z.png").parent, target_is_directory=True)
    with pytest.warns(UserWarning, match="passed over 1 × .txt"):
        found = list(read_rows(photos, tmp_path, photos / "out"))
    assert [row.name for row in found] == ["a.png", "b/1.jpg", "b/2.png", "elsewhere/z.png"]
    assert all(Path(row.image).is_file() and row.status[0] == Path(row.image).stat().st_size for row in found)


def test_globs_lists_and_single_pictures(tmp_path, monkeypatch):
    for name in ("p/a.png", "p/q/b.png", "p/q/c.jpg"):
        picture(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert [r.name for r in rows("p/**/*.png", tmp_path)] == ["a.png", "q/b.png"]
    assert [r.name for r in rows("p/a.png", tmp_path)] == ["a.png"]
    Path("p/list.txt").write_text(f"q/b.png\n\n{tmp_path}/p/q/c.jpg\n/elsewhere/d.png\n")
    found = rows("p/list.txt", tmp_path)
    assert [r.name for r in found] == ["q/b.png", "q/c.jpg", "d.png"]
    assert Path(found[0].image).is_file()
    for wrong in ("nothing*.png", "nothing", "p/list.doc"):
        Path("p/list.doc").touch()
        with pytest.raises(InputError, match="expected"):
            rows(wrong, tmp_path)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_tables_say_the_same_in_every_format(tmp_path, suffix):
    picture(tmp_path / "a.png")
    picture(tmp_path / "m.png")
    table = tmp_path / f"table.{suffix}"
    record = {"image": "a.png", "box": "2,3,4,5", "seed": "7", "yes": "true", "output": "x/one.png", "customer": "c 1"}
    if suffix == "jsonl":
        table.write_text(json.dumps(record | {"box": [2, 3, 4, 5], "seed": 7, "yes": True, "find": None}) + "\n")
    elif suffix == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        import pyarrow

        parquet.write_table(pyarrow.Table.from_pylist([record | {"seed": 7.0, "box": [2, 3, 4, 5]}]), table)
    else:
        between = "," if suffix == "csv" else "\t"
        cells = [f'"{value}"' for value in record.values()]
        table.write_text(between.join(record) + "\n" + between.join(cells) + "\n")
    (item,) = plan(Job("inpaint", str(tmp_path / "out")), table, tmp_path)
    assert item["settings"] == {"box": [[2, 3, 4, 5]], "seed": 7, "yes": True}
    assert (item["id"], item["carried"]) == ("x/one.png", {"customer": "c 1"})
    assert os.path.samefile(item["image"], tmp_path / "a.png")


def test_wrong_rows_are_told_one_by_one_and_the_rest_stands(tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / "small.png", (8, 8))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    table = tmp_path / "t.jsonl"
    lines = [
        {"image": "a.png", "prompt": "remove the cat"},
        {"image": "gone.png", "prompt": "remove the cat"},
        {"image": "a.png", "prompt": "fly the cat", "output": "b.png"},
        {"image": "a.png", "passes": "many", "box": "1,1,4,4", "output": "c.png"},
        {"image": "a.png", "output": "d.png"},
        {"image": "a.png", "prompt": "remove the cat"},
        {"image": "a.png", "box": "1,1,4,4", "output": "../e.png"},
        {"image": "a.png", "mask": "small.png", "output": "f.png"},
        {"image": "broken.png", "box": "1,1,4,4"},
        {"image": "a.png", "passes": 0, "box": "1,1,4,4", "output": "g.png"},
        {"prompt": "remove the dog"},
    ]
    table.write_text("\n".join([*map(json.dumps, lines), "not json", "[1]"]))
    found = plan(Job("inpaint", str(tmp_path / "out")), table, tmp_path, deep=True)
    errors = [item.get("error", "") for item in found]
    wanted = ["", "gone.png", "fly", "passes", "prompt, find", "an output of its own", "inside the folder",
              "mask of 24×16", "broken.png", "passes", "row 11: expected an image", "row 12", "row 13"]  # fmt: skip
    assert len(errors) == len(wanted)
    for error, part in zip(errors, wanted, strict=True):
        assert part in error
        assert "\n" not in error
        assert bool(error) == bool(part)
    assert len({item["id"] for item in found}) == len(found)
    assert len({item["key"] for item in found}) == len(found)


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("a.csv", "prompt\nremove the cat\n", "column 'image'"),
        ("b.csv", "image,image\na,b\n", "every column once"),
        ("c.csv", "", "column 'image'"),
        ("d.csv", b"image\n\xff\xfe\n", "UTF-8"),
        ("e.parquet", b"PAR1 not at all", "Parquet"),
        ("f.csv", "image\n" + "x" * 200_000 + "\n", "field larger"),
    ],
)
def test_tables_that_are_none_are_refused_as_a_whole(tmp_path, name, content, part):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=re.escape(part)) as told:
        rows(path, tmp_path)
    assert "\n" not in str(told.value)


def test_masks_by_rule_belong_to_their_picture_and_are_no_pictures(tmp_path):
    for name in (
        "p/one.jpg",
        "p/one_mask.png",
        "p/sub/two.png",
        "p/sub/two_mask.png",
        "p/alone_mask.png",
        "p/three.png",
    ):
        picture(tmp_path / name)
    job = Job("inpaint", str(tmp_path / "out"), {"mask": "{stem}_mask.png"})
    found = {item["id"]: item for item in plan(job, tmp_path / "p", tmp_path)}
    assert set(found) == {"alone_mask.png (row 1)", "one.jpg", "sub/two.png", "three.png (row 3)"}
    assert os.path.samefile(found["one.jpg"]["settings"]["mask"][0], tmp_path / "p/one_mask.png")
    assert os.path.samefile(found["sub/two.png"]["settings"]["mask"][0], tmp_path / "p/sub/two_mask.png")
    assert "three_mask.png" in found["three.png (row 3)"]["error"]
    elsewhere = Job("refine", str(tmp_path / "out"), {"mask": str(tmp_path / "m/{folder}/{stem}.png")})
    picture(tmp_path / "m/sub/two.png")
    (item,) = plan(elsewhere, tmp_path / "p/sub/*two.png", tmp_path)
    assert "error" in item  # {folder} is that inside the source
    item = {i["image"]: i for i in plan(elsewhere, tmp_path / "p", tmp_path)}[str(tmp_path / "p/sub/two.png")]
    assert os.path.samefile(item["settings"]["mask"], tmp_path / "m/sub/two.png")


def test_the_key_changes_with_picture_mask_settings_and_nothing_else(tmp_path):
    photo, mask = picture(tmp_path / "p/a.png"), picture(tmp_path / "a.mask.png")

    def key(out: str = "out", **settings: object) -> str:
        (item,) = plan(Job("refine", str(tmp_path / out), {"mask": str(mask), **settings}), tmp_path / "p", tmp_path)
        return str(item["key"])

    before = key()
    assert before == key() == key("elsewhere") == key(passes=None)
    assert len({before, key(passes=2), key(passes=3), key(seed=1)}) == 4
    os.utime(mask, ns=(1, 1))
    assert key() != before
    os.utime(photo, ns=(1, 1))
    assert len({before, key()}) == 2
    by_content = [Job("refine", "out", {"passes": 1}, content=True)] * 2
    keys = []
    for job in by_content:
        keys += [plan(job, tmp_path / "p", tmp_path)[0]["key"]]
        os.utime(photo, ns=(9, 9))
    picture(photo, value=91)
    keys += [plan(by_content[0], tmp_path / "p", tmp_path)[0]["key"]]
    assert keys[0] == keys[1] != keys[2]


def test_loras_and_what_else_a_model_is_opened_with_may_stand_in_a_table():
    assert read_value("inpaint", "lora", ("hat.safetensors:0.5", "b")) == ["hat.safetensors:0.5", "b"]
    assert read_value("inpaint", "lora", "hat.safetensors:0.5") == ["hat.safetensors:0.5"]
    assert read_value("refine", "transformer", "flux.gguf") == "flux.gguf"
    with pytest.raises(InputError, match="8bit or 4bit"):
        check("inpaint", {"quantize": "2bit", "model": "sd15-inpaint"})


def test_data_sets_of_arrays_paths_and_mappings(tmp_path):
    array = np.full((20, 30, 3), 120, np.uint8)
    path = picture(tmp_path / "a.png")

    class Samples:
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> object:
            return [array, path, {"image": Image.fromarray(array), "box": (1, 2, 3, 4), "note": index}, {"box": 1}][
                index
            ]

    job = Job("inpaint", str(tmp_path / "out"), {"box": [1, 1, 5, 5]})
    first = plan(job, Samples(), tmp_path)
    assert [i["id"] for i in first[:3]] == ["000000000.png", "a.png", "000000002.png"]
    assert first[2]["settings"] == {"box": [[1, 2, 3, 4]]}
    assert first[2]["carried"] == {"note": 2}
    assert "expected an image" in first[3]["error"]
    assert np.array_equal(np.asarray(Image.open(first[0]["image"])), array)
    assert [i["key"] for i in plan(job, Samples(), tmp_path)] == [i["key"] for i in first]
    array[0] = 0
    again = [i["key"] for i in plan(job, Samples(), tmp_path)]
    assert [a == b["key"] for a, b in zip(again, first, strict=True)] == [False, True, False, True]


def test_names_mirror_the_input_and_stay_inside():
    assert mirrored("a/b.jpg") == "a/b.jpg"
    assert mirrored("a/b.jpg", "{stem}-clean{suffix}") == "a/b-clean.jpg"
    assert mirrored("a/b.jpeg", kind="JPEG") == "a/b.jpeg"
    assert mirrored("a/b.tar", kind="PNG") == "a/b.tar.png"
    assert mirrored("b.webp", kind="PNG") == "b.png"
    for wrong in ("../x.png", "/x.png", "a/../../x.png", "", ".batch/job.json", "a/"):
        with pytest.raises(InputError, match="inside the folder"):
            inside(wrong)
    with pytest.raises(InputError, match="expected names out of"):
        filled("{stem.__class__}{nothing}", stem="a")


@given(st.floats(0, 1), st.floats(0, 100), st.sampled_from(["<", "<=", ">", ">="]))
def test_conditions_compare_as_they_read(par, quality, sign):
    record = {"par_image": par, "quality": quality}
    condition = read_condition(f"par_image {sign} 0.25 and quality>50", ("par_image", "quality"))
    wanted = {"<": par < 0.25, "<=": par <= 0.25, ">": par > 0.25, ">=": par >= 0.25}[sign]
    assert condition.holds(record) == (wanted and quality > 50)
    assert not condition.holds({"par_image": None, "quality": quality})


@pytest.mark.parametrize("text", ["", "par_image", "par_image < ", "unknown < 1", "par_image == 1", "quality < 1 or 2"])
def test_conditions_that_say_nothing_are_refused(text):
    with pytest.raises(InputError, match="expected a condition"):
        read_condition(text, ("par_image", "quality"))


def test_a_dry_run_tells_what_is_wrong_and_writes_nothing(tmp_path):
    picture(tmp_path / "p/a.png")
    (tmp_path / "p/b.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    arguments = ["batch", "inpaint", str(tmp_path / "p"), "-o", str(out), "--box", "1,1,8,8", "--dry-run"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1, result.output
    assert "a.png -> a.png" in result.stdout
    assert "2 pictures: 1 to do, 0 done, 0 failed before, 1 wrong" in result.stdout
    assert len(result.stderr.strip().splitlines()) == 1
    assert "b.png: expected" in result.stderr
    assert not out.exists()
    told = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert (told["todo"], told["wrong"], len(told["errors"])) == (1, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["inpaint", "p"], 2, "expected a prompt, find, mask, box or point"),
        (["inpaint", "p", "--prompt", "fly it"], 2, "fly"),
        (["inpaint", "p", "--box", "1,2"], 2, "X,Y,W,H"),
        (["inpaint", "p", "--box", "1,1,5,5", "--passes", "0"], 2, "passes"),
        (["inpaint", "p", "--box", "1,1,5,5", "--keep-if", "beauty > 1"], 2, "beauty"),
        (["inpaint", "p", "--box", "1,1,5,5", "--name", "{folder}"], 2, "expected names"),
        (["inpaint", "p", "--box", "1,1,5,5", "--model", "no-such-model"], 4, "no-such-model"),
        (["enhance", "p"], 2, "expected a task"),
        (["enhance", "p", "--task", "denoise", "--model", "no-such-prior"], 4, "no-such-prior"),
        (["enhance", "p", "--task", "hdr"], 2, "expected a task"),
        (["enhance", "p", "--task", "denoise", "--noise", "900"], 2, "noise"),
        (["refine", "nowhere"], 2, "nothing there"),
        (["refine", "p/empty"], 2, "found none"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path, monkeypatch, arguments, code, part):
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "p/a.png")
    (tmp_path / "p/empty").mkdir()
    result = CliRunner().invoke(main, ["batch", *arguments, "-o", "out", "--dry-run"])
    assert result.exit_code == code, result.output
    assert part in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("model", ["no-such-prior", "realesrgan"])
def test_a_row_whose_model_is_not_here_is_wrong_before_anything_is_done(tmp_path, monkeypatch, model):
    monkeypatch.setattr("restore.pipelines.restoration.realesrgan.PACKAGE", "no_such_package")
    picture(tmp_path / "a.png")
    table = tmp_path / "t.jsonl"
    rows = [{"image": "a.png", "task": "super-resolution", "model": name} for name in (model, "builtin")]
    table.write_text("\n".join(map(json.dumps, rows)))
    wrong, fine = plan(Job("enhance", str(tmp_path / "out")), table, tmp_path)
    assert "found none" in wrong["error"] or "no-such-prior" in wrong["error"]
    assert "error" not in fine


def test_columns_of_a_table_never_mix_with_those_of_results(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text('image,box,quality,customer,seconds\ngone.png,"1,1,4,4",high,anna,9\n')
    job = Job("inpaint", str(tmp_path / "out"))
    (item,) = plan(job, table, tmp_path)
    for record in (failure(job, item, "gone"), record_of(job, item, DONE, {"quality": 50.0, "par_hole": float("nan")})):
        assert record["customer"] == "anna"
        assert (record["source_quality"], record["source_seconds"]) == ("high", "9")
        assert record.get("quality") in (None, 50.0)
        assert json.loads(line_of(record)) == record
