"""Thousands of pictures through `restore assess`: pictures a second, memory, and a run that is killed and resumed.

  python -m benchmarks.suite_speed --data FOLDER… --count 5000 --out runs/suite-speed

Takes the first COUNT pictures of the folders, starts `restore assess` on them, kills it (SIGKILL) when KILL of them
are remembered, starts it again, and measures CHECK random ones a third time with nothing remembered: every number
must be the same. Prints and writes table.md.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from restore.measure.files import find_images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--kill", type=float, default=0.4, help="share done when the first run is killed")
    parser.add_argument("--check", type=int, default=50, help="pictures measured again afterwards")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    folder, cache = args.out / "pictures", args.out / "cache.sqlite3"
    count = link(find_images(args.data)[: args.count], folder)
    cache.unlink(missing_ok=True)
    command = [sys.executable, "-m", "restore", "assess", str(folder), "--json", "--jobs", str(args.jobs)]

    begun = time.perf_counter()
    with open(args.out / "killed.json", "w") as output:
        first = subprocess.Popen([*command, "--cache", str(cache)], stdout=output)
        while first.poll() is None and remembered(cache) < 2 * args.kill * count:  # size and scores of each
            time.sleep(0.5)
        first.send_signal(signal.SIGKILL)
        _, _, before = os.wait4(first.pid, 0)
    kept = remembered(cache) // 2
    with open(args.out / "resumed.json", "w") as output:
        second = subprocess.Popen([*command, "--cache", str(cache)], stdout=output)
        _, status, after = os.wait4(second.pid, 0)
    wall = time.perf_counter() - begun
    if os.waitstatus_to_exitcode(status) not in (0, 2):
        sys.exit("suite_speed: the resumed run failed")
    report = json.loads((args.out / "resumed.json").read_text())
    differing = check(report, random.Random(0).sample(report["images"], min(args.check, len(report["images"]))), args)
    cpu = sum(usage.ru_utime + usage.ru_stime for usage in (before, after))
    peak = max(before.ru_maxrss, after.ru_maxrss) / 1024
    text = (
        "| pictures | killed after | left out | wall s | CPU s | pictures / CPU s | peak MB | checked | differing |\n"
        "|---|---|---|---|---|---|---|---|---|\n"
        f"| {len(report['images'])} | {kept} | {len(report['failed'])} | {wall:.0f} | {cpu:.0f} "
        f"| {count / cpu:.1f} | {peak:.0f} | {args.check} | {differing} |\n"
    )
    (args.out / "table.md").write_text(text)
    print(text)


def link(paths: list[Path], folder: Path) -> int:
    """A folder of links 00000-NAME, made new."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for i, path in enumerate(paths):
        (folder / f"{i:05d}-{path.name}").symlink_to(path.resolve())
    return len(paths)


def remembered(cache: Path) -> int:
    """Rows in the memory of a run that may be writing to it."""
    try:
        with sqlite3.connect(f"file:{cache}?mode=ro", uri=True, timeout=10) as file:
            return int(file.execute("SELECT count(*) FROM measured").fetchone()[0])
    except sqlite3.Error:  # not made yet
        return 0


def check(report: dict[str, Any], sample: list[dict[str, Any]], args: argparse.Namespace) -> int:
    """How many of `sample` get another number when measured anew, one at a time."""
    names = [row["image"] for row in sample]
    command = [sys.executable, "-m", "restore", "assess", *names, "--json", "--no-cache", "--jobs", "1"]
    again = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    expected = {row["image"]: row for row in report["images"]}
    return sum(row != expected[row["image"]] for row in again["images"])


if __name__ == "__main__":
    main()
