"""Batches that are run: the pixels of the single command, each once, whatever is broken, killed or asked again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from click.testing import CliRunner
from PIL import Image

import restore
from restore import InputError
from restore.batching.job import Job
from restore.batching.lease import Lease, watch
from restore.batching.ledger import Ledger, Receipts
from restore.batching.plan import Planner
from restore.batching.record import FAILED
from restore.batching.source import read_rows
from restore.batching.worker import TIME_UP, TRIES, Worker
from restore.cli import main
from tests.conftest import make_scene

CHEAP = {"task": "dejpeg", "passes": 1, "steps": 1, "quality": 40}
OPTIONS = ["--task", "dejpeg", "--passes", "1", "--steps", "1", "--quality", "40"]


def photos(folder: Path, count: int) -> Path:
    for index in range(count):
        path = folder / ("sub" if index % 2 else "") / f"p{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(make_scene(40, 48, index)).save(path, quality=40)
    return folder


def ledger_of(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def check_whole(source: Path, out: Path) -> None:
    """Every picture once, whole, and as the ledger says; nothing else."""
    records = ledger_of(out)
    assert Counter(r["id"] for r in records) == Counter(p.relative_to(source).as_posix() for p in source.rglob("*.jpg"))
    for record in records:
        assert record["status"] == "done", record["error"]
        assert hashlib.sha256((out / record["output"]).read_bytes()).hexdigest() == record["sha256"]
    lying = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file() and ".batch" not in p.parts}
    own = {"results.jsonl", "results.parquet", "summary.html"}
    assert lying - own == {record["output"] for record in records}
    assert not list((out / ".batch" / "receipts").iterdir())
    assert not list((out / ".batch" / "trying").iterdir())


def start(source: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "restore", "batch", "enhance", str(source), "-o", str(out), *OPTIONS, "--json"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*arguments, *more], **pipes, preexec_fn=_hears_interrupts)


def _hears_interrupts() -> None:
    """Also where the tests run in the background of a shell, which has its children ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def workers_of(driver: subprocess.Popen[str]) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(driver.pid).children()
    return []


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A batch over good and bad pictures by two workers: (source, out, result)."""
    folder = tmp_path_factory.mktemp("finished")
    source = photos(folder / "in", 4)
    Image.fromarray(make_scene(40, 48).astype(np.uint16)[..., 0] * 257).save(source / "deep.png")
    (source / "broken.png").write_bytes((source / "deep.png").read_bytes()[:200])
    (source / "huge.png").write_bytes(
        (source / "deep.png").read_bytes()[:16] + (60_000).to_bytes(4, "big") * 2 + b"\x10\0\0\0\0" + bytes(20)
    )
    out = folder / "out"
    driver = start(source, out, "--workers", "2", "--review", "--keep-if", "quality > 0")
    stdout, stderr = driver.communicate(timeout=120)
    return source, out, driver.returncode, stdout, stderr


def test_good_pictures_are_done_bad_ones_told_each_in_one_line(finished):
    _, out, code, stdout, stderr = finished
    assert code == 1, stderr
    told = json.loads(stdout)
    assert (told["done"], told["failed"], told["rows"]) == (5, 2, 7)
    lines = stderr.strip().splitlines()
    assert sorted("broken" in line for line in lines) == [False, True]
    assert all(line.startswith("restore: ") and "expected" in line for line in lines)
    records = {record["id"]: record for record in ledger_of(out)}
    assert {name for name, record in records.items() if record["status"] == FAILED} == {"broken.png", "huge.png"}
    assert records["p0.jpg"]["settings"] == CHEAP
    assert records["p0.jpg"]["kept"] is True
    assert len(records["p0.jpg"]["passes"]) == 2
    assert not [p for p in out.rglob(".*") if p.is_file()]


def test_pixels_and_files_are_those_of_the_single_command(finished, tmp_path):
    source, out, *_ = finished
    for name in ("p0.jpg", "sub/p1.jpg", "deep.png"):
        alone = tmp_path / Path(name).name
        result = CliRunner().invoke(main, ["enhance", str(source / name), "-o", str(alone), *OPTIONS])
        assert result.exit_code == 0, result.output
        assert alone.read_bytes() == (out / name).read_bytes()


def test_a_second_run_computes_nothing_and_other_settings_are_refused(finished):
    source, out, *_ = finished
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file() and ".batch" not in p.parts}
    begun = time.monotonic()
    arguments = ["batch", "enhance", str(source), "-o", str(out), *OPTIONS, "--keep-if", "quality > 0", "--json"]
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 1
    told = json.loads(again.stdout)
    assert (told["done"], told["failed"], told["before"], told["failed_before"]) == (0, 0, 5, 2)
    assert time.monotonic() - begun < 5
    assert {p: p.stat().st_mtime_ns for p in before} == before
    other = CliRunner().invoke(main, [*arguments[:5], *OPTIONS[:-1], "41", "--keep-if", "quality > 1"])
    assert other.exit_code == 2
    (line,) = other.stderr.strip().splitlines()
    assert "keep_if 'quality > 1' instead of 'quality > 0'" in line
    assert "quality 41 instead of 40" in line


def test_tables_and_pages_say_what_the_ledger_says(finished):
    parquet = pytest.importorskip("pyarrow.parquet")
    _, out, *_ = finished
    rows = {row["id"]: row for row in parquet.read_table(out / "results.parquet").to_pylist()}
    for record in ledger_of(out):
        row = rows.pop(record["id"])
        assert (row["quality"], row["sha256"], row["error"]) == (
            record.get("quality"), record.get("sha256"), record["error"],
        )  # fmt: skip
        assert json.loads(row["settings"]) == record["settings"]
        if record["status"] == "done":
            assert json.loads(row["par"]) == [p["par_image"] for p in record["passes"]]
    assert not rows
    summary, review = (out / "summary.html").read_text(), (out / "review.html").read_text()
    assert "5 done (0 put aside by quality &gt; 0), 2 failed." in summary
    assert summary.count("broken.png: expected") == 1
    assert review.count("data:image/jpeg") == 10


def test_killed_workers_and_drivers_lose_and_double_nothing(tmp_path):
    source, out = photos(tmp_path / "in", 40), tmp_path / "out"
    driver = start(source, out, "--workers", "1")
    _wait(lambda: (out / "p0.jpg").exists(), driver)
    first = workers_of(driver)
    first[0].kill()
    count = len(list(out.rglob("*.jpg")))
    _wait(lambda: len(list(out.rglob("*.jpg"))) > count + 3, driver)
    refused = CliRunner().invoke(main, ["batch", "enhance", str(source), "-o", str(out), *OPTIONS])
    assert refused.exit_code == 2
    assert f"held by process {driver.pid}" in refused.stderr
    orphans = workers_of(driver)
    driver.kill()
    driver.communicate()
    psutil.wait_procs(orphans, timeout=10)
    assert orphans != first
    assert not any(orphan.is_running() for orphan in orphans)
    done = len(list(out.rglob("*.jpg")))
    assert 0 < done < 40
    last = start(source, out, "--workers", "1")
    stdout, stderr = last.communicate(timeout=120)
    assert last.returncode == 0, stderr
    assert json.loads(stdout)["before"] + json.loads(stdout)["done"] == 40
    check_whole(source, out)


def test_an_interrupt_ends_it_with_one_line(tmp_path):
    source, out = photos(tmp_path / "in", 40), tmp_path / "out"
    driver = start(source, out, "--workers", "1")
    _wait(lambda: workers_of(driver), driver)  # 40 pictures last longer than the signal takes
    driver.send_signal(signal.SIGINT)
    stdout, stderr = driver.communicate(timeout=30)
    assert (driver.returncode, stdout) == (130, "")
    assert re.search(r"\d+ pictures? (was|were) done, the same command goes on", stderr)
    assert len(stderr.strip().splitlines()) == 1


@pytest.fixture
def held(tmp_path):
    """A job in a folder of its own whose lease is held: `(worker, items)` of a source and settings."""
    leases = []

    def make(source: Path, command: str = "enhance", settings: dict | None = None, **more: object):
        job = Job(command, str(tmp_path / "out"), CHEAP if settings is None else settings, **more)
        job.begin()
        leases.append(Lease(job.home / "lease"))
        items = list(Planner(job).items(read_rows(source, tmp_path / "spool", tmp_path / "out")))
        return Worker(job, leases[-1].token), items

    yield make
    for lease in leases:
        lease.close()


def test_what_a_killed_worker_had_put_in_place_is_not_computed_again(tmp_path, held):
    worker, items = held(photos(tmp_path / "in", 2))
    first = worker(items[0])
    assert worker(items[0]) == first  # by its receipt: seconds too are the same
    other = worker(items[1])
    goal = Path(worker.job.out, other["output"])
    goal.unlink()  # killed between receipt and picture
    again = worker(items[1])
    assert again["sha256"] == other["sha256"] == hashlib.sha256(goal.read_bytes()).hexdigest()
    assert again["passes"] != other["passes"]  # computed anew: other seconds


def test_what_lies_at_the_goal_is_never_overwritten(tmp_path, held):
    worker, items = held(photos(tmp_path / "in", 1))
    goal = Path(worker.job.out, "p0.jpg")
    goal.write_bytes(b"mine")
    record = worker(items[0])
    assert record["status"] == FAILED
    assert "existing file" in record["error"]
    assert goal.read_bytes() == b"mine"


def test_a_full_disk_is_told_and_nothing_is_left(tmp_path, held):
    resource = pytest.importorskip("resource")
    worker, items = held(photos(tmp_path / "in", 1), kind="png")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        record = worker(items[0])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert record["status"] == FAILED
    assert "p0.png: expected to write a PNG file" in record["error"]
    assert not [p for p in Path(worker.job.out).iterdir() if p.is_file()]


def test_a_picture_that_kills_its_workers_is_given_up(tmp_path, held):
    worker, items = held(photos(tmp_path / "in", 1))
    for _ in range(TRIES):
        worker.load(items[0])  # and dies
    record = worker(items[0])
    assert record["status"] == FAILED
    assert f"{TRIES} workers that died" in record["error"]


def test_results_that_fail_the_condition_are_put_aside(tmp_path, held):
    worker, items = held(photos(tmp_path / "in", 1), keep_if="quality > 100")
    record = worker(items[0])
    assert (record["kept"], record["output"]) == (False, "rejected/p0.jpg")
    assert Path(worker.job.out, record["output"]).is_file()
    assert not Path(worker.job.out, "p0.jpg").exists()


def test_no_result_takes_its_place_once_the_lease_is_lost(tmp_path, held):
    worker, items = held(photos(tmp_path / "in", 1))
    worker.token = "another"
    record = worker(items[0])
    assert record["status"] == FAILED
    assert "lease" in record["error"]
    assert not list(Path(worker.job.out).glob("*.jpg"))


def test_every_command_gives_what_the_single_one_gives(tmp_path, held, engine):
    scene = make_scene(48, 64)
    Image.fromarray(scene).save(tmp_path / "a.png")
    mask = np.zeros(scene.shape[:2], np.uint8)
    mask[20:30, 20:34] = 255
    Image.fromarray(mask).save(tmp_path / "a_mask.png")
    for command, settings in (
        ("inpaint", {"mask": "{stem}_mask.png", "passes": 1, "candidates": 1}),
        ("inpaint", {"box": "20,20,14,10", "draft": True}),
        ("refine", {"mask": str(tmp_path / "a_mask.png"), "passes": 1, "candidates": 1}),
    ):
        out = tmp_path / f"{command}{len(settings)}{'draft' in settings}"
        job = Job(command, str(out), settings)
        job.begin()
        lease = Lease(job.home / "lease")
        rows = read_rows(tmp_path / "a.png", out)
        record = Worker(job, lease.token)(next(Planner(job).items(rows)))
        lease.close()
        assert record["error"] is None
        own = {k: v for k, v in settings.items() if k not in ("mask", "box")}
        where = {"box": (20, 20, 14, 10)} if "box" in settings else {"mask": tmp_path / "a_mask.png"}
        alone = getattr(engine, command)(tmp_path / "a.png", **where, **own)
        assert np.array_equal(np.asarray(Image.open(out / "a.png")), np.asarray(alone.image))
        assert record["par_hole"] == [p for p in alone.passes if p.accepted][-1].par_hole
    worker, items = held(tmp_path / "a.png", "assess", {})
    record = worker(items[0])
    assert record["quality"] == engine.assess(tmp_path / "a.png").scores["quality"]
    assert (record["output"], record["kept"]) == (None, True)


def test_a_picture_that_takes_too_long_ends_its_worker_and_is_told(tmp_path, held):
    worker, items = held(photos(tmp_path / "in", 1))
    hanging = (
        "import json, sys, time; from restore.batching.job import Job; from restore.batching.worker import Worker\n"
        "job, token, item = map(json.loads, sys.argv[1:])\n"
        "Worker(Job(**job | {'timeout': 0.3}), token)(item, lambda: time.sleep(60))"
    )
    told = [json.dumps(value) for value in (worker.job.as_json(), worker.token, items[0])]
    assert subprocess.run([sys.executable, "-c", hanging, *told]).returncode == TIME_UP
    record = worker(items[0])
    assert record["status"] == FAILED
    assert "within 0.3 s" in record["error"]


def test_time_is_up_even_where_the_interpreter_is_held():
    code = (
        "import os, re, restore.batching.guard as guard; guard.GRACE = 0.3\n"
        "with guard.time_limit(0.1, lambda: os._exit(0)): re.match('(a+)+$', 'a' * 50 + 'b')"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 1


def test_max_errors_stops_and_retry_failed_tries_again_leaving_one_line_each(tmp_path):
    table, out = tmp_path / "t.csv", tmp_path / "out"
    table.write_text("image,quality,customer\na.jpg,,anna\nb.jpg,,bert\nc.jpg,,carl\n")
    assert [r["status"] for r in restore.batch("enhance", table, out, **CHEAP, max_errors=2)] == ["failed"] * 2
    assert len(list(restore.batch("enhance", table, out, **CHEAP))) == 1  # the third
    assert not list(restore.batch("enhance", table, out, **CHEAP))
    assert len(list(restore.batch("enhance", table, out, **CHEAP, retry_failed=True))) == 3
    assert len({r["id"] for r in ledger_of(out)}) == len(ledger_of(out)) == 3
    assert (out / "summary.html").read_text().count("a.jpg: expected a readable file") == 1
    assert [(r["customer"], "quality" in r) for r in ledger_of(out)] == [(n, False) for n in ("anna", "bert", "carl")]


def test_a_ledger_that_was_cut_off_goes_on_behind_its_last_line(tmp_path):
    path, receipts = tmp_path / "results.jsonl", Receipts(tmp_path / "receipts")
    (tmp_path / "receipts").mkdir()
    ledger = Ledger(path, receipts)
    keys = [hashlib.md5(bytes([i])).hexdigest() for i in range(3)]
    for key, status in zip(keys, ("done", "failed", "done"), strict=True):
        receipts.write({"key": key, "status": status, "id": key})
        ledger.append({"id": key, "status": status, "key": key})
    assert len(list(receipts.keys())) == 3  # until the lines are on the disk for good
    ledger.close()
    assert not list(receipts.keys())
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    again = Ledger(path, receipts)
    assert again.done == {bytes.fromhex(keys[0])}
    assert again.failed == {bytes.fromhex(keys[1])}
    again.append({"id": keys[2], "status": "done", "key": keys[2]})
    again.close()
    assert path.read_bytes() == whole
    path.write_text("something else\n")
    with pytest.raises(InputError, match="lines of a batch"):
        Ledger(path, receipts)


def test_a_lease_is_one_drivers_and_a_worker_notices_its_loss(tmp_path):
    path = tmp_path / "x" / "lease"
    path.parent.mkdir()
    first = Lease(path, beat=0.05)
    with pytest.raises(InputError, match=f"held by process {os.getpid()}"):
        Lease(path)
    left = []
    watch(path, first.token, lambda: left.append("told"), beat=0.02, stale=0.5)
    time.sleep(0.7)
    assert not left  # the beat is heard
    first.close()
    _wait(lambda: bool(left))
    path.write_text(json.dumps({"token": "t", "host": "another-machine", "pid": 1}))
    taken = Lease(path, stale=0.3)  # whose beat stands still
    assert not taken.lost()
    taken.close()


def _wait(condition, driver: subprocess.Popen[str] | None = None, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        assert driver is None or driver.poll() is None, driver.communicate()
        time.sleep(0.02)
