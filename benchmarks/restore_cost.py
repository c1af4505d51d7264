"""Time and memory of a restoration by the photo's size.

  python -m benchmarks.restore_cost PHOTO [--tasks super-resolution,deblur] [--sides 256,512,1000,1732] [--steps 2]

PHOTO, mirrored to the size wanted, is restored in a process of its own per size: CPU seconds of the sampling (no
loading, no judging), and the peak memory of the process above what it held when the prior was loaded.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np
import torch
from PIL import Image

from restore.pipelines.hub.prior import load_prior
from restore.pipelines.restoration import plans
from restore.pipelines.restoration.degradations import Blur
from restore.pipelines.restoration.kernels import gaussian_kernel
from restore.pipelines.restoration.sampling import Sampling


def peak() -> float:
    """MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(path: str, task: str, side: int, steps: int | None) -> dict[str, float]:
    photo = np.array(Image.open(path).convert("RGB"))
    side -= side % 4
    photo = np.pad(photo, [(0, max(0, side - n)) for n in photo.shape[:2]] + [(0, 0)], mode="symmetric")[:side, :side]
    x = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    prior = load_prior("builtin", torch.device("cpu"))
    sigma = torch.tensor([0.1])
    with torch.inference_mode():
        prior.denoise(x[..., :64, :64], sigma)
    if task == "super-resolution":
        y = torch.nn.functional.avg_pool2d(x, 4)
        plan = plans.super_resolution(y, 4, "area")
    elif task == "deblur":
        y = torch.cat([Blur(gaussian_kernel(2.0)).forward(x[:, i : i + 1]) for i in range(3)], 1)
        plan = plans.deblur(y, 2.0, 0.01)
    else:
        plan = plans.inpaint(x, (torch.rand(1, 1, side, side) < 0.5).float())
    del x
    before, begun = peak(), time.process_time()
    plans.run(prior, plan, Sampling(steps=steps), torch.Generator().manual_seed(0))
    return {"seconds": time.process_time() - begun, "memory": peak() - before, "megapixels": side * side / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo")
    parser.add_argument("--tasks", default="super-resolution,deblur")
    parser.add_argument("--sides", default="256,512,1000,1732")
    parser.add_argument("--steps", type=int, help="denoising steps; default: the task's own")
    parser.add_argument("--one", action="store_true", help="measure in this process and print JSON")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.photo, args.tasks, int(args.sides), args.steps)))
        return
    print("| task | megapixels | CPU seconds | seconds per megapixel | memory, MB |\n|---|---|---|---|---|")
    for task in args.tasks.split(","):
        for side in args.sides.split(","):
            command = [sys.executable, "-m", "benchmarks.restore_cost", args.photo, "--one"]
            command += [] if args.steps is None else ["--steps", str(args.steps)]
            text = subprocess.run(
                [*command, "--tasks", task, "--sides", side], check=True, capture_output=True, text=True
            ).stdout
            r = json.loads(text)
            mp, seconds = r["megapixels"], r["seconds"]
            print(f"| {task} | {mp:.2f} | {seconds:.1f} | {seconds / mp:.1f} | {r['memory']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
