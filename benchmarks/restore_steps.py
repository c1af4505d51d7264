"""What sampling steps cost and bring: GDP-x0 with DDPM's respaced schedules, beside the half-quadratic default.

  python -m benchmarks.restore_steps --data ../shared/data/eval/restore --out runs/benchmark-steps [--crop 256]

Starts: "warm", the task's own level, and "full", the highest level that the prior was trained on. Evaluations are
calls of the network: a warm start enters the schedule where it fits, so most of its steps fall away. Written:
steps.md, a row per task, method and number of steps, means over the photos.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.restore_tasks import SCALE, WIDTH, Task, score
from restore import EnhanceResult, enhance
from restore.features.lite0 import trained_lite0
from restore.pipelines.networks.prior import SIGMA_MAX

STEPS = (25, 50, 100, 250)
HEAD = "| task | method | start | steps | evaluations | PSNR dB | feature distance | consistency | CPU seconds |"


def restored(task: Task, name: str, options: dict[str, object]) -> tuple[EnhanceResult, int, float]:
    """(result, calls of the network, CPU seconds)."""
    calls = 0

    def count(done: int, total: int) -> None:
        nonlocal calls
        calls = done

    mask = task.lost if name == "inpaint" else None
    blur = WIDTH if name == "deblur" else None
    begun = time.process_time()
    result = enhance(task.y, task=name, scale=SCALE, blur=blur, mask=mask, passes=1, on_step=count, **options)  # type: ignore[arg-type]
    return result, calls, time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--crop", type=int, default=256, help="side of the middle crop, pixels")
    parser.add_argument("--limit", type=int, default=2, help="photos")
    parser.add_argument("--tasks", default="super-resolution,deblur,inpaint")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    lite0 = trained_lite0()
    runs: list[tuple[str, str, dict[str, object]]] = [("half-quadratic", "warm", {})]
    for start, level in (("warm", None), ("full", SIGMA_MAX)):
        runs += [("gdp", start, {"method": "gdp", "respaced": True, "steps": n, "start": level}) for n in STEPS]
    lines = [HEAD, "|" + "---|" * 9]
    for name in args.tasks.split(","):
        for method, start, options in runs:
            rows = []
            for seed, path in enumerate(sorted(args.data.glob("*.png"))[: args.limit]):
                photo = np.array(Image.open(path).convert("RGB"))
                top, left = (photo.shape[0] - args.crop) // 2, (photo.shape[1] - args.crop) // 2
                photo = photo[top : top + args.crop, left : left + args.crop]
                task = Task(name, photo, seed)
                result, calls, seconds = restored(task, name, options)
                s = score(lite0, np.asarray(result.image), photo, task)
                rows.append((calls, s["psnr"], s["distance"], s["consistency"], seconds))
            calls, psnr, distance, consistency, seconds = np.mean(rows, 0)
            lines.append(
                f"| {name} | {method} | {start} | {options.get('steps', result.steps)} | {calls:.0f} | {psnr:.2f} "
                f"| {distance:.3f} | {consistency:.2f} | {seconds:.2f} |"
            )
            print(lines[-1], flush=True)
    (args.out / "steps.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
