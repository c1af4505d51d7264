"""Wall time and peak memory of whole commands, cold, and of a warm engine.

Example:
  python -m benchmarks.speed --photo ../shared/data/eval/remove/person-14.jpg --prompt "remove the person" --repeat 3
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image


def whole_command(args: list[str]) -> tuple[float, float]:
    """(seconds, peak resident GB) of one run of the command line."""
    begun = time.perf_counter()
    pid = os.posix_spawn(sys.executable, [sys.executable, "-m", "restore", *args], os.environ)
    _, status, usage = os.wait4(pid, 0)
    if status != 0:
        raise SystemExit(f"restore {' '.join(args)} failed with {status}")
    return time.perf_counter() - begun, usage.ru_maxrss / 1e6


def resized(path: Path, pixels: float, square: bool, folder: Path) -> Path:
    """The photo at about `pixels` pixels as JPEG; square crops the middle first."""
    image = Image.open(path).convert("RGB")
    if square:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    scale = (pixels / (image.width * image.height)) ** 0.5
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    out = folder / f"{image.width}x{image.height}.jpg"
    image.save(out, quality=92)
    return out


def warm(path: Path, repeat: int) -> float:
    """Median seconds a pass of a loaded engine on a central hole of 5 % of the photo."""
    from restore import Engine

    image = np.asarray(Image.open(path).convert("RGB"))
    h, w = image.shape[:2]
    mask = np.zeros((h, w), bool)
    mask[int(h * 0.4) : int(h * 0.62), int(w * 0.4) : int(w * 0.62)] = True
    engine = Engine(device="cpu")
    engine.inpaint(image, mask=mask, passes=1)
    times = []
    for seed in range(repeat):
        result = engine.inpaint(image, mask=mask, par=0.0, seed=seed)
        times += [record.seconds for record in result.passes]
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = resized(args.photo, 512 * 512, True, folder)
        for photo in (small, resized(args.photo, 12e6, False, folder)):
            command = ["inpaint", str(photo), "--prompt", args.prompt, "-o", str(folder / "out.jpg"), "--overwrite"]
            runs = [whole_command(command) for _ in range(args.repeat)]
            seconds, memory = zip(*runs, strict=True)
            middle, least, peak = statistics.median(seconds), min(seconds), max(memory)
            print(f"{photo.stem}: median {middle:.2f} s (min {least:.2f}), peak {peak:.2f} GB")
        print(f"help: min {min(whole_command(['--help'])[0] for _ in range(args.repeat)):.2f} s")
        print(f"warm engine, {small.stem}: median {warm(small, args.repeat):.2f} s a pass")


if __name__ == "__main__":
    main()
