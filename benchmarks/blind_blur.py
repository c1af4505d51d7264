"""Blurs found without being told: kind, size, and what the restoration gains, on the middle of photos.

  python -m benchmarks.blind_blur --data ../shared/data/eval/restore [--crop 256]

Every photo is blurred (noise 1, rounded to 8 bits), its blur found (pipelines/restoration/blind.py) and undone, unless
told there is none; beside it the restoration that is told the kernel. Prints a table, a row per blur.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from benchmarks.restore_tasks import engine, picture, tensor
from restore import InputError
from restore.pipelines.restoration import plans
from restore.pipelines.restoration.blind import FoundBlur, find_blur
from restore.pipelines.restoration.degradations import Blur
from restore.pipelines.restoration.noise import noise_level
from restore.pipelines.restoration.sampling import Sampling

NOISE = 1.0  # levels of 255
BLURS = (
    FoundBlur("none"), FoundBlur("gaussian", (1.0,)), FoundBlur("gaussian", (2.0,)), FoundBlur("disk", (3.0,)),
    FoundBlur("disk", (5.0,)), FoundBlur("motion", (9.0, 30.0)), FoundBlur("motion", (16.0, 100.0)),
)  # fmt: skip


def known(y: np.ndarray, blur: FoundBlur) -> np.ndarray:
    """The restoration that is told the kernel."""
    net, generator = engine()._restorer, torch.Generator().manual_seed(0)
    plan = plans.deblur(tensor(y), blur.numbers[0] if blur.kind == "gaussian" else blur.kernel)
    if plan.cause is not None:
        return picture(plans.look(net.restorer, plan, 1))
    return picture(plans.run(net.prior("builtin"), plan, Sampling("half-quadratic"), generator))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--limit", type=int)
    args = parser.parse_args()
    print("| blur | kind right | size, rel. error | refused | unchanged | PSNR before | found | told |\n|" + "---|" * 8)
    for blur in BLURS:
        right, errors, refused, unchanged, scores = 0, [], 0, 0, []
        for seed, path in enumerate(sorted(args.data.glob("*.png"))[: args.limit]):
            photo = np.array(Image.open(path).convert("RGB"))
            top, left = (photo.shape[0] - args.crop) // 2, (photo.shape[1] - args.crop) // 2
            photo = photo[top : top + args.crop, left : left + args.crop]
            y = picture(Blur(blur.kernel).forward(tensor(photo)))
            noise = np.random.default_rng(seed).normal(0, NOISE, y.shape)
            y = (y + noise + 0.5).clip(0, 255).astype(np.uint8)
            found = find_blur(tensor(y), noise_level(tensor(y)) ** 2 / 3)
            assert found is not None
            right += found.kind == blur.kind or (blur.kind == "none" and found.numbers[0] <= plans.SLIGHT)
            if found.kind == blur.kind != "none":
                errors.append(abs(found.numbers[0] / blur.numbers[0] - 1))
            try:
                result = engine().enhance(y, task="deblur", passes=1)
                unchanged += bool(result.nothing)
                image = np.asarray(result.image, np.uint8)
            except InputError:
                refused, image = refused + 1, y
            told = y if blur.kind == "none" else known(y, blur)
            scores.append([peak_signal_noise_ratio(photo, i) for i in (y, image, told)])
        mean, name = np.mean(scores, 0), " ".join([blur.kind, *(f"{n:g}" for n in blur.numbers)])
        size = f"{np.mean(errors):.1%}" if errors else ""
        print(
            f"| {name} | {right} of {len(scores)} | {size} | {refused} | {unchanged} "
            f"| {mean[0]:.2f} | {mean[1]:.2f} | {mean[2]:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
