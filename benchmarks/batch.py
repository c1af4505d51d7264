"""`restore batch` measured: killed at random moments, planned over a million rows, scaled over workers, kept in memory.

python -m benchmarks.batch crash --count 2000 --out runs/batch        # --engine ray
python -m benchmarks.batch plan --rows 1000000 --out runs/batch
python -m benchmarks.batch speed --count 200 --out runs/batch         # on a quiet machine
python -m benchmarks.batch memory --count 10000 --out runs/batch
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil
from PIL import Image

CHEAP = ("--task", "dejpeg", "--passes", "1", "--steps", "1", "--quality", "40")


@click.group()
def main() -> None:
    """Figures of batches."""


def make_photos(folder: Path, count: int, size: tuple[int, int] = (64, 48)) -> None:
    """Photos of noise and slopes, each of its own, in folders of a hundred."""
    for index in range(count):
        rng, (width, height) = np.random.default_rng(index), size
        y, x = np.mgrid[:height, :width]
        wave = 128 + 60 * np.sin((x * rng.random() + y * rng.random()) / 4 + rng.random() * 6)
        pixels = wave[..., None] * rng.random(3) + rng.normal(40, 6, (height, width, 3))
        path = folder / f"{index // 100:03d}" / f"{index:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=40)


def command(source: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "restore", "batch", "enhance", str(source), "-o", str(out), *CHEAP, "--json", *more]


def faults(source: Path, out: Path) -> list[str]:
    """What a finished batch over `source` lacks, or has too much of."""
    found = []
    wanted = {path.relative_to(source).as_posix() for path in source.rglob("*.jpg")}
    records = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    twice = [name for name, times in Counter(record["id"] for record in records).items() if times > 1]
    done = {record["output"]: record["sha256"] for record in records if record["status"] == "done"}
    lying = {p.relative_to(out).as_posix() for p in out.rglob("*.jpg") if ".batch" not in p.parts}
    hidden = [p for p in out.rglob(".*") if p.is_file()]
    found += [f"{name}: in the ledger twice" for name in twice]
    found += [f"{name}: not done" for name in sorted(wanted - set(done))]
    found += [f"{name}: without a line" for name in sorted(lying - set(done))]
    found += [f"{path}: left behind" for path in hidden]
    for name, digest in done.items():
        path = out / str(name)
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            found.append(f"{name}: not what the ledger says")
    return found


@main.command()
@click.option("--count", default=2000, show_default=True, help="Pictures.")
@click.option("--kills", default=10, show_default=True, help="Of workers, and of the driver.")
@click.option("--workers", default=2, show_default=True)
@click.option("--engine", default="local", show_default=True)
@click.option("--wait", default=12.0, show_default=True, help="Most seconds between two kills.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default="runs/batch")
def crash(count: int, kills: int, workers: int, engine: str, wait: float, seed: int, out: Path) -> None:
    """kill -9 of workers and of the driver at random moments; then all must be there, whole and once."""
    out = out.resolve()
    source, goal, choice = out / "photos", out / f"crash-{engine}", random.Random(seed)
    environment = os.environ | {
        "RAY_worker_niceness": "0",
        "PYTHONPATH": os.pathsep.join((os.getcwd(), os.environ.get("PYTHONPATH", ""))),
    }
    shutil.rmtree(out, ignore_errors=True)
    make_photos(source, count)
    begun, runs, killed = time.perf_counter(), 0, Counter[str]()
    left = ["worker", "driver"] * kills
    choice.shuffle(left)
    while True:
        runs += 1
        arguments = command(source, goal, "--workers", str(workers), "--engine", engine)
        driver = subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=out, env=environment
        )
        while driver.poll() is None and left:
            before = _outputs(goal) if choice.random() < 0.75 else -1  # some kills while it still starts
            while driver.poll() is None and _outputs(goal) <= before:
                time.sleep(0.1)
            with suppress(subprocess.TimeoutExpired):
                driver.wait(choice.uniform(0, wait))
            if driver.poll() is None and _kill(driver, left[-1], out, choice):
                killed[left.pop()] += 1
        driver.communicate()
        if driver.returncode == 0:
            break
    seconds = time.perf_counter() - begun
    problems = faults(source, goal)
    click.echo(f"{count} pictures, {runs} runs, {dict(killed)} killed, {seconds:.0f} s; faults: {len(problems)}")
    for problem in problems[:20]:
        click.echo(problem)
    begun = time.perf_counter()
    again = subprocess.run(command(source, goal, "--engine", engine), capture_output=True, text=True, check=True)
    click.echo(f"once more: {time.perf_counter() - begun:.1f} s, {again.stdout.strip()}")
    sys.exit(bool(problems) or json.loads(again.stdout)["done"] != 0)


def _outputs(folder: Path) -> int:
    return sum(1 for _ in folder.rglob("*.jpg"))


def _kill(driver: subprocess.Popen[str], victim: str, folder: Path, choice: random.Random) -> bool:
    """Whether there was one to kill. Workers are known by their names and the driver's folder, which is theirs."""
    if victim == "driver":
        driver.kill()
        return True
    workers = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            line = " ".join(process.cmdline())
            if ("restore.batching.local" in line or "ray::Map" in line) and Path(process.cwd()) == folder:
                workers.append(process)
    if not workers:
        return False
    with suppress(psutil.Error):
        choice.choice(workers).kill()
    return True


@main.command()
@click.option("--rows", default=1_000_000, show_default=True)
@click.option("--files", default=1000, show_default=True, help="Pictures that the rows name in turn.")
@click.option("--out", type=click.Path(path_type=Path), default="runs/batch-plan")
def plan(rows: int, files: int, out: Path) -> None:
    """Plan a table of a million rows, and take it up where all but a thousand are done; no pixels."""
    shutil.rmtree(out, ignore_errors=True)
    make_photos(out / "photos", files)
    names = sorted(str(path.relative_to(out)) for path in (out / "photos").rglob("*.jpg"))
    table = out / "table.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "prompt", "seed", "output", "customer"])
        for row in range(rows):
            prompt = f"remove the cat number {row}"
            writer.writerow([names[row % files], prompt, row % 7, f"{row // 1000:04d}/{row:07d}.jpg", f"c{row % 100}"])
    for label, step in (("planned", "fresh"), ("resumed", "resume")):
        once = [sys.executable, "-m", "benchmarks.batch", "plan-once", str(table), str(out / "out"), step]
        told = subprocess.run(once, capture_output=True, text=True, check=True)
        click.echo(f"{label}: {told.stdout.strip()}")


@main.command(hidden=True)
@click.argument("table", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.argument("step")
def plan_once(table: Path, out: Path, step: str) -> None:
    """One planning in a process of its own, whose memory is told."""
    from restore.batching.job import Job
    from restore.batching.run import Batch

    class Planned(Batch):
        """Ends where the work would begin."""

        def _executor(self, token: str):  # type: ignore[no-untyped-def]
            return lambda items: (item for item in list[Any]())

        def _conclude(self, *, changed: bool) -> None:
            pass

    batch = Planned(Job("inpaint", str(out)), table)
    begun = time.perf_counter()
    for _ in batch.run():
        pass
    busy = time.process_time()
    seconds, memory = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    click.echo(f"{batch.counts}, {seconds:.1f} s ({busy:.1f} s of a core), {memory:.2f} GB")
    if step == "fresh":
        _pretend(batch, table, out)


def _pretend(batch, table: Path, out: Path) -> None:  # type: ignore[no-untyped-def]
    """A ledger that says that all but the last thousand are done."""
    from restore.batching.plan import Planner
    from restore.batching.record import DONE, line_of, record_of
    from restore.batching.source import read_rows

    planner, told = (
        Planner(batch.job),
        {"passes": [{"par_hole": 0.01, "quality": 80.0}] * 3, "seconds": 9.0, "sha256": "0" * 64},
    )
    with (out / "results.jsonl").open("w") as file:
        for number, item in enumerate(planner.items(read_rows(table, out))):
            if number < planner.counts.rows + 1 and number % 1000 != 999:
                file.write(line_of(record_of(batch.job, item, DONE, told)) + "\n")


@main.command()
@click.option("--count", default=2000, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default="runs/batch-commit")
def commit(count: int, out: Path) -> None:
    """What a batch adds to a picture: writing it safely with its receipt, and the line of the ledger."""
    from restore.batching.job import Job
    from restore.batching.lease import Lease
    from restore.batching.ledger import Ledger, Receipts
    from restore.batching.perform import Outcome
    from restore.batching.record import DONE, record_of
    from restore.batching.worker import Worker
    from restore.images.photo import photo_from_array

    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    job = Job("enhance", str(out / "out"), {"task": "dejpeg"})
    job.begin()
    lease = Lease(job.home / "lease")
    worker, photo = Worker(job, lease.token), photo_from_array(np.zeros((16, 16, 3), np.uint8))
    items = [
        {"key": f"{n:032x}", "id": f"{n // 1000}/{n}.png", "image": "x", "settings": {}, "carried": {}}
        for n in range(count)
    ]
    told = {"passes": [{"par_image": 0.01, "quality": 80.0}] * 3, "seconds": 1.0}
    begun = time.perf_counter()
    records = [worker._put(record_of(job, item, DONE, told), Outcome(photo, told), None) for item in items]
    put, begun = time.perf_counter() - begun, time.perf_counter()
    ledger = Ledger(job.results, Receipts(job.home / "receipts"))
    for record in records:
        ledger.append(record)
    ledger.close()
    lines = time.perf_counter() - begun
    lease.close()
    size = job.results.stat().st_size / count
    click.echo(
        f"{1000 * put / count:.2f} ms a picture in its place, {1000 * lines / count:.2f} ms a line of {size:.0f} bytes"
    )


@main.command()
@click.option("--count", default=200, show_default=True)
@click.option("--side", default=256, show_default=True, help="Pixels of the photos' long side.")
@click.option("--most", default=2, show_default=True, help="Workers.")
@click.option("--engine", default="local", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default="runs/batch-speed")
def speed(count: int, side: int, most: int, engine: str, out: Path) -> None:
    """Pictures a second: the engine alone in one process, then 1 to `most` workers. Needs as many idle cores."""
    shutil.rmtree(out, ignore_errors=True)
    make_photos(out / "photos", count, (side, side * 3 // 4))
    alone = _engine_alone(sorted((out / "photos").rglob("*.jpg")))
    click.echo(f"engine alone: {alone:.2f} pictures a second")
    first = 0.0
    for workers in range(1, most + 1):
        rate = _rate(out, workers, engine)
        first = first or rate
        click.echo(f"{workers} workers: {rate:.2f} a second, {rate / first:.2f} × one worker, "
                   f"{rate / alone / workers:.0%} of the engine alone per worker")  # fmt: skip


def _engine_alone(photos: list[Path]) -> float:
    import torch

    import restore

    torch.set_num_threads(1)
    options = {"task": "dejpeg", "passes": 1, "steps": 1, "quality": 40}
    engine = restore.Engine()
    engine.enhance(photos[0], **options)  # type: ignore[arg-type]
    begun = time.perf_counter()
    for photo in photos:
        engine.enhance(photo, **options)  # type: ignore[arg-type]
    return len(photos) / (time.perf_counter() - begun)


def _rate(out: Path, workers: int, engine: str) -> float:
    """Pictures a second between the first result and the last: starting is paid once, not per picture."""
    import restore

    goal, times = out / f"out-{workers}", []
    options = {"task": "dejpeg", "passes": 1, "steps": 1, "quality": 40, "workers": workers, "engine": engine}
    for _ in restore.batch("enhance", out / "photos", goal, **options):
        times.append(time.perf_counter())
    skip = max(2 * workers, len(times) // 10)
    return (len(times) - 1 - skip) / (times[-1] - times[skip])


@main.command()
@click.option("--count", default=10_000, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default="runs/batch-memory")
def memory(count: int, out: Path) -> None:
    """Memory of driver and worker over many pictures."""
    import restore

    shutil.rmtree(out, ignore_errors=True)
    make_photos(out / "photos", count)
    options = {"task": "dejpeg", "passes": 1, "steps": 1, "quality": 40, "workers": 1}
    for number, _ in enumerate(restore.batch("enhance", out / "photos", out / "out", **options), 1):
        if number in (10, 100, 1000) or number % 2000 == 0:
            own = psutil.Process(os.getpid())
            sizes = [process.memory_info().rss / 1e6 for process in (own, *own.children(recursive=True))]
            click.echo(f"{number} pictures: {', '.join(f'{size:.0f} MB' for size in sizes)}")


if __name__ == "__main__":
    main()
