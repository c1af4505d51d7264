"""Seconds beside quality: this package and others on the same photos, in one process and as whole processes.

  python -m benchmarks.peers --data ../shared/data/eval/fill --out runs/benchmark-peers [--limit 8] [--scale 1]

A peer is a method of benchmarks/rivals.py, OpenCV-contrib's shift map where `cv2.xphoto` is there, or a network of
LaMa's architecture (benchmarks/lama.py; random weights: speed only). OUT gets peers.csv (a row per photo and peer)
and table.md: medians, and the ratio of our time to the peer's on the same photo (median, least and most of all pairs).
`--scale` enlarges the photos first. A whole process loads, fills and writes one photo; ours is the command line.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import rivals
from benchmarks.fill import load, read, tensor
from benchmarks.lama import MULTIPLE, lama
from restore.features.lite0 import trained_lite0
from restore.quality.metrics.full_reference import feature_distance

OURS = ("restore", "restore draft")
Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Row = dict[str, Any]


@cache
def _engine() -> Any:
    import restore

    return restore.Engine(device="cpu")


@cache
def _lama() -> torch.nn.Module:
    torch.manual_seed(0)
    return lama()


def draft(image: Image, mask: Mask) -> Image:
    """This package's instant preview."""
    return np.asarray(_engine().inpaint(image, mask=mask, draft=True).image)


def ours(image: Image, mask: Mask) -> Image:
    """This package's embedded default."""
    return np.asarray(_engine().inpaint(image, mask=mask).image)


@torch.inference_mode()
def random_lama(image: Image, mask: Mask) -> Image:
    """LaMa's network on the whole photo; what it paints means nothing."""
    x, hole = tensor(image), torch.from_numpy(mask)[None, None].float()
    h, w = mask.shape
    given = torch.cat([x * (1 - hole), hole], 1)
    given = torch.nn.functional.pad(given, (0, -w % MULTIPLE, 0, -h % MULTIPLE), mode="reflect")
    out = _lama()(given)[0, :, :h, :w]
    return np.rint(out.permute(1, 2, 0).numpy() * 255).astype(np.uint8)


def xphoto(image: Image, mask: Mask) -> Image:
    """OpenCV-contrib's shift map (He & Sun)."""
    lab, out = cv2.cvtColor(image, cv2.COLOR_RGB2LAB), np.zeros_like(image)
    known = np.where(mask, np.uint8(0), np.uint8(255))
    getattr(cv2, "xphoto").inpaint(lab, known, out, getattr(cv2, "xphoto").INPAINT_SHIFTMAP)  # noqa: B009
    return np.asarray(cv2.cvtColor(out, cv2.COLOR_LAB2RGB), np.uint8)


PEERS: dict[str, Callable[..., Any]] = {
    "restore": ours,
    "restore draft": draft,
    "OpenCV Telea": rivals.telea,
    "OpenCV NS": rivals.navier_stokes,
    "scikit-image biharmonic": rivals.biharmonic,
    "patchmatch-cython": rivals.patchmatch,
    "LaMa architecture": random_lama,
} | ({"OpenCV xphoto": xphoto} if hasattr(cv2, "xphoto") else {})


def whole_process(name: str, photo: Path, mask: Path, out: Path) -> tuple[float, float]:
    """(wall, CPU) seconds of a fresh process that fills one photo."""
    args = ["-m", "benchmarks.peers", "--one", name, str(photo), str(mask), str(out)]
    if name in OURS:
        args = ["-m", "restore", "inpaint", str(photo), "--mask", str(mask), "-o", str(out), "--overwrite"]
        args += ["--draft"] if name == "restore draft" else []
    begun = time.perf_counter()
    pid = os.posix_spawn(sys.executable, [sys.executable, *args], os.environ)
    _, status, usage = os.wait4(pid, 0)
    if status != 0:
        raise SystemExit(f"{name} failed on {photo.name} with {status}")
    return time.perf_counter() - begun, usage.ru_utime + usage.ru_stime


def fill_one(name: str, photo: str, mask: str, out: str) -> None:
    hole = np.asarray(cv2.imread(mask, cv2.IMREAD_GRAYSCALE)) > 127
    cv2.imwrite(out, PEERS[name](read(Path(photo)), hole)[..., ::-1])


def measure(data: Path, limit: int, scale: float, names: list[str], processes: int) -> list[Row]:
    lite0 = trained_lite0()
    photos = load(data, None)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as temporary:
        for i, photo in enumerate(photos[:: max(1, len(photos) // limit)][:limit]):
            size = round(photo.image.shape[1] * scale), round(photo.image.shape[0] * scale)
            image = np.asarray(cv2.resize(photo.image, size, interpolation=cv2.INTER_CUBIC), np.uint8)
            mask = cv2.resize(photo.mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
            files = [Path(temporary) / name for name in ("photo.png", "mask.png", "out.png")]
            cv2.imwrite(str(files[0]), image[..., ::-1])
            cv2.imwrite(str(files[1]), mask.astype(np.uint8) * 255)
            for name in names:
                if i == 0:
                    PEERS[name](image, mask)  # warm
                begun, spent = time.perf_counter(), time.process_time()
                filled = np.where(mask[..., None], PEERS[name](image.copy(), mask.copy()), image)
                row = {"photo": photo.name, "peer": name, "pixels": mask.size, "hole": int(mask.sum())}
                row |= {"wall": time.perf_counter() - begun, "cpu": time.process_time() - spent}
                hole = torch.from_numpy(mask)[None, None].float()
                with torch.inference_mode():
                    distance = feature_distance(lite0, tensor(filled), tensor(image), hole).item()
                row["distance"] = float("nan") if name == "LaMa architecture" else distance
                row["process_wall"], row["process_cpu"] = (
                    whole_process(name, files[0], files[1], files[2]) if i < processes else (float("nan"),) * 2
                )
                rows.append(row)
    return rows


def table(rows: list[Row]) -> str:
    """Markdown; ratios are ours to theirs, over the photos."""
    keys = ("cpu", "wall", "process_cpu", "process_wall")
    head = "| peer | " + " | ".join(key.replace("_", ", ") + " s" for key in keys)
    lines = [head + " | restore ÷ peer, CPU (least–most) | feature distance ↓ |", "|" + "---|" * (len(keys) + 3)]
    times = {(row["photo"], row["peer"]): row["cpu"] for row in rows}
    for name in dict.fromkeys(row["peer"] for row in rows):
        own = [row for row in rows if row["peer"] == name]
        cells = []
        for key in keys:
            values = [row[key] for row in own if not np.isnan(row[key])]
            cells.append(f"{statistics.median(values):.2f}" if values else "–")
        ratios = [
            times[row["photo"], "restore"] / max(1e-4, row["cpu"]) for row in own if (row["photo"], "restore") in times
        ]
        cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})" if ratios else "–")
        distance = statistics.mean(row["distance"] for row in own)
        cells.append("n/a" if np.isnan(distance) else f"{distance:.3f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--limit", type=int, default=8, help="photos, evenly taken")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--processes", type=int, default=2, help="photos that whole processes are started for")
    parser.add_argument("--peers", default=",".join(PEERS), help="comma-separated")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--one", nargs=4, metavar=("PEER", "PHOTO", "MASK", "OUT"), help="one whole process")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    if args.one:
        fill_one(*args.one)
        return
    if args.data is None or args.out is None:
        parser.error("expected --data and --out")
    args.out.mkdir(parents=True, exist_ok=True)
    rows = measure(args.data, args.limit, args.scale, args.peers.split(","), args.processes)
    with open(args.out / "peers.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    text = table(rows)
    (args.out / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
