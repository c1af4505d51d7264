"""Writing commands ended at random moments (kill -9), on a full disk, in read-only folders, with inputs that vanish.

  python -m benchmarks.kill --count 200 --out kill

A killed command leaves the old file or the new one, whole, and no draft once the next command has written there. Every
command runs in a fork of this process with the stand-ins of `benchmarks.fuzz` for models; half of the moments are drawn
from all of its time, half from the time in which it writes. Linux and macOS.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image

from benchmarks.fuzz import stand_ins
from restore.errors import InputError
from restore.images import files
from restore.images.photo import load_photo

OLD = np.full((600, 800, 3), 30, np.uint8)
SAID = "stderr.txt"  # beside the folder
WRITERS = ("restore.images.photo", "restore.images.huge", "restore.images.mask", "restore.images.files")
Setup = Callable[[], None]


def commands(folder: Path) -> dict[str, tuple[list[str], list[str]]]:
    """Of every command that writes: its arguments, and the names of what it writes."""
    photo, box = str(folder / "in.png"), ["--box", "40,40,60,50", "--passes", "1", "--overwrite"]
    enlarge = ["--task", "super-resolution", "--scale", "2", "--steps", "1", "--passes", "1", "--overwrite"]
    out = {kind: str(folder / f"out.{kind}") for kind in ("png", "jpg", "tif", "html")}
    return {
        "inpaint": (["inpaint", photo, *box, "-o", out["png"], "--report", out["html"]], ["out.png", "out.html"]),
        "in place": (["inpaint", photo, *box, "-o", photo], ["in.png"]),
        "jpeg": (["inpaint", photo, *box, "-o", out["jpg"], "--save-mask", out["tif"]], ["out.jpg", "out.tif"]),
        "enhance": (["enhance", str(folder / "small.png"), *enlarge, "-o", out["tif"]], ["out.tif"]),
    }


def prepare(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    texture = np.random.default_rng(0).integers(0, 256, OLD.shape, dtype=np.uint8)
    Image.fromarray(texture).save(folder / "in.png")
    Image.fromarray(texture[:64, :80]).save(folder / "small.png")
    for name in ("out.png", "out.jpg", "out.tif"):
        Image.fromarray(OLD).save(folder / name)
    (folder / "out.html").write_text("<html>old</html>")


def start(folder: Path, args: list[str], setup: Setup = lambda: None) -> tuple[int, int]:
    """(process, pipe that tells when it begins to write) of a command in a fork."""
    from restore.__main__ import run

    told, tell = os.pipe()
    process = os.fork()
    if process:
        os.close(tell)
        return process, told
    code = 70
    try:
        said = os.open(folder.parent / SAID, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        setup()
        real = files.replacing

        def telling(*given: object, **options: object) -> object:
            os.write(tell, b"w")
            return real(*given, **options)  # type: ignore[arg-type]

        for module in WRITERS:
            mock.patch(f"{module}.replacing", telling).start()
        sys.argv = ["restore", *args]
        run()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}".encode())
    finally:
        sys.stderr.flush()
        os._exit(code)


def finished(process: int, told: int) -> int:
    """The exit code; negative the signal."""
    os.close(told)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def faults(folder: Path, names: list[str]) -> list[str]:
    """Which files are neither the old nor a new one, whole."""
    found = []
    for name in names:
        path = folder / name
        if name.endswith(".html"):
            if not path.read_text().rstrip().endswith("</html>"):
                found.append(f"{name} half written")
            continue
        try:
            load_photo(path)
        except InputError as error:
            found.append(f"half written: {error}")
    return found


def drafts(folder: Path) -> list[str]:
    return [f"{path.name} left behind" for path in folder.glob(".restore-*")]


def killed(folder: Path, args: list[str], names: list[str], rng: random.Random, took: float) -> list[str]:
    """Faults after the command was killed and another process has written into the folder."""
    prepare(folder)
    process, told = start(folder, args)
    if rng.random() < 0.5:
        os.read(told, 1)  # nothing comes where it ends before
        time.sleep(rng.random() ** 2 * took / 2)
    else:
        time.sleep(rng.random() * took)
    os.kill(process, signal.SIGKILL)
    finished(process, told)
    found, left = faults(folder, names), len(drafts(folder))
    sweeper, told = start(folder, ["inpaint"], lambda: files.write_text("x", folder / "next.txt"))
    finished(sweeper, told)
    return found + drafts(folder) + ["" for _ in range(left)]


def full() -> None:
    """No file may grow beyond 10 kB, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))


def refused(folder: Path, args: list[str], names: list[str], setup: Setup) -> list[str]:
    """Faults of a command that cannot do its work: it says so in a line and leaves everything as it was."""
    before = {name: (folder / name).read_bytes() for name in names}
    code = finished(*start(folder, args, setup))
    lines = (folder.parent / SAID).read_text().splitlines()
    found = [] if code == 2 else [f"exit code {code}"]
    if len(lines) != 1 or not lines[0].startswith("restore: "):
        found.append(f"said {lines[-3:]}")
    return (
        found
        + [f"{n} changed" for n, content in before.items() if (folder / n).read_bytes() != content]
        + drafts(folder)
    )


def read_only(folder: Path, args: list[str], names: list[str]) -> list[str]:
    """Faults in a folder that may not be written to, for a user who may not write everywhere."""
    folder.chmod(0o555)
    try:
        return refused(folder, args, names, lambda: os.setuid(65534) if os.getuid() == 0 else None)
    finally:
        folder.chmod(0o755)


def vanished(folder: Path, args: list[str], names: list[str], rng: random.Random, took: float) -> list[str]:
    """Faults where the input is gone, or cut short, in the middle: refused in a line, or done as it was read."""
    process, told = start(folder, args)
    time.sleep(rng.random() * took / 2)
    for name in {"in.png", "small.png"} - {*names}:
        if rng.random() < 0.5:
            (folder / name).unlink()
        else:
            os.truncate(folder / name, 1000)
    code = finished(process, told)
    said = (folder.parent / SAID).read_text()
    found = faults(folder, names) if code in (0, 2) else [f"exit code {code}: {said[-300:]}"]
    return found + drafts(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="kills of every command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    rng, counts, told = random.Random(args.seed), Counter[str](), list[str]()

    def count(what: str, command: str, found: list[str]) -> None:
        counts[what] += 1
        counts["killed while writing"] += found.count("")
        told.extend(f"{what}, {command}: {fault}" for fault in found if fault)

    with stand_ins(), tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "work"
        Path(temporary).chmod(0o755)
        for command, (arguments, names) in commands(folder).items():
            for _ in range(2):  # the first also imports
                prepare(folder)
                began = time.perf_counter()
                code = finished(*start(folder, arguments))
                assert code == 0, (Path(temporary) / SAID).read_text()
                took = time.perf_counter() - began
            for _ in range(args.count):
                count("killed", command, killed(folder, arguments, names, rng, took))
            prepare(folder)
            count("disk full", command, refused(folder, arguments, names, full))
            prepare(folder)
            count("read-only", command, read_only(folder, arguments, names))
            for _ in range(max(1, args.count // 10)):
                prepare(folder)
                count("vanished", command, vanished(folder, arguments, names, rng, took))
            print(command, f"{took:.1f} s", dict(counts), told[-3:], flush=True)
    (args.out / "kill.json").write_text(json.dumps({"counts": counts, "faults": told}, indent=1) + "\n")
    print(json.dumps(counts), *told, sep="\n")
    sys.exit(bool(told))


if __name__ == "__main__":
    main()
