"""Peak memory of whole commands on large files of every kind, against three times the decoded size and 1 GB.

  python -m benchmarks.memory --out runs/memory

Every command is a process of its own; its peak resident memory is what the system tells at its end. The files are made
by another process: one that is started inherits the peak of its parent.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from restore.images.gain import ISO, segment
from restore.images.photo import Photo, photo_from_array, save_photo

GIGABYTE = 1e9
BOX = ["--box", "900,700,300,300"]


def smooth(width: int, height: int, channels: int, depth: type = np.uint8) -> np.ndarray:
    """Waves and a little noise, (H, W, C)."""
    rng, top = np.random.default_rng(0), np.iinfo(depth).max
    y, x = np.mgrid[:height, :width].astype(np.float32)
    waves = [np.sin(x / (40 + 9 * c)) * np.cos(y / (50 + 7 * c)) for c in range(channels)]
    noise = rng.normal(0, 0.01, (height, width)).astype(np.float32)
    return np.stack([(top * (0.5 + 0.4 * w + noise)).clip(0, top).astype(depth) for w in waves], -1)


def files(folder: Path) -> Iterator[tuple[str, Path, int]]:
    """(what, path, decoded bytes)."""
    rgb = smooth(6000, 4000, 3)
    picture, path = Image.fromarray(rgb), folder / "a.jpg"
    picture.save(path, quality=92)
    yield "24 MP JPEG", path, rgb.nbytes
    buffer = io.BytesIO()
    told = segment(0xE2, ISO + b":-1\0" + bytes(4))
    picture.save(buffer, "JPEG", quality=92, extra=told)
    picture.resize((1500, 1000)).convert("L").save(buffer, "JPEG", extra=told)
    path = folder / "hdr.jpg"
    path.write_bytes(buffer.getvalue())
    yield "24 MP JPEG with gain map", path, rgb.nbytes
    pages = folder / "pages.tif"
    picture.save(pages, save_all=True, append_images=[picture] * 4)
    yield "5 pages of 24 MP, TIFF (decoded: one)", pages, rgb.nbytes
    deep, path = smooth(6000, 4000, 4, np.uint16), folder / "deep.png"
    deep[..., 3] = 65535
    save_photo(photo_from_array(deep), path)
    yield "24 MP PNG, 16 bits, alpha", path, deep.nbytes
    inks, path = smooth(6000, 4000, 4), folder / "inks.tif"
    save_photo(Photo(rgb, inks, "CMYK"), path)
    yield "24 MP TIFF, CMYK", path, inks.nbytes
    frames = [Image.fromarray(np.roll(rgb[:1500, :2000], 40 * n, 1)) for n in range(10)]
    for suffix in (".webp", ".png"):
        path = folder / f"frames{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:], quality=80, method=0, duration=40)
        yield f"10 frames of 3 MP, {suffix[1:].upper()} (decoded: all)", path, 10 * 2000 * 1500 * 3


def peak(command: list[str]) -> tuple[float, float]:
    """(peak memory in bytes, seconds) of a process."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    told = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(told.decode())
    return 1024.0 * usage.ru_maxrss, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.make is not None:
        listed = [(what, str(path), decoded) for what, path, decoded in files(args.make)]
        (args.make / "files.json").write_text(json.dumps(listed))
        return
    args.out.mkdir(parents=True, exist_ok=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        make = [sys.executable, "-m", "benchmarks.memory", "--out", str(args.out), "--make", folder]
        subprocess.run(make, check=True)
        for what, path, decoded in json.loads((Path(folder) / "files.json").read_text()):
            run = [sys.executable, "-m", "restore", "inpaint", str(path), *BOX, "--passes", "1", "--candidates", "1"]
            bytes_, seconds = peak(run)
            allowed = 3 * decoded + GIGABYTE
            row = {"file": what, "decoded": decoded, "peak": bytes_, "allowed": allowed, "seconds": round(seconds, 1)}
            rows.append(row)
            met = "met" if bytes_ <= allowed else "MISSED"
            print(f"{what}: {bytes_ / GIGABYTE:.2f} of {allowed / GIGABYTE:.2f} GB, {seconds:.0f} s: {met}", flush=True)
    (args.out / "memory.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
