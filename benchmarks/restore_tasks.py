"""Restorations of photos with known truth, side by side.

  python -m benchmarks.restore_tasks --data ../shared/data/eval/restore --out runs/benchmark-restore [--crop 256]

Every photo is damaged in six ways (super-resolution ×4, Gaussian blur 2 px, noise 25, grey, half the pixels gone,
JPEG quality 10), rounded to 8 bits, and restored by `restore.enhance` and by what OpenCV and scikit-image offer.
OUT gets scores.csv (a row per photo, task and method), table.md and a contact sheet per task.
Feature distance: quality/metrics/full_reference.py. Consistency: rms of D(result) − y in levels of 255.
"""

from __future__ import annotations

import argparse
import csv
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import metrics, restoration

from restore import enhance
from restore.features.lite0 import Lite0, trained_lite0
from restore.pipelines.restoration.degradations import Blur, Downsample, Grey, Identity, Mask, Operator
from restore.pipelines.restoration.jpeg import Jpeg
from restore.pipelines.restoration.kernels import gaussian_kernel
from restore.quality.metrics.full_reference import feature_distance
from restore.training.publish import set_scores

RGB = NDArray[np.uint8]
Method = Callable[[RGB], RGB]
SCALE, WIDTH, NOISE, QUALITY = 4, 2.0, 25.0, 10
SHEET = 192  # pixels, side of a picture of the contact sheet


def tensor(image: RGB) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 127.5 - 1


def picture(x: torch.Tensor) -> RGB:
    """(1, 1 or 3, H, W) in [-1, 1] → (H, W, 3), rounded to 8 bits."""
    image = ((x[0].permute(1, 2, 0).numpy() + 1) * 127.5 + 0.5).clip(0, 255).astype(np.uint8)
    return np.repeat(image, 3, 2) if image.shape[2] == 1 else image


def compressed(image: RGB) -> RGB:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=QUALITY, subsampling=2)
    return np.asarray(Image.open(file))


class Task:
    """One damage: its operator, how to make it, and the methods that undo it."""

    def __init__(self, name: str, photo: RGB, seed: int, gdp: bool = False, passes: int = 1) -> None:
        rng = np.random.default_rng(seed)
        self.lost = rng.random(photo.shape[:2]) < 0.5
        known = torch.from_numpy(~self.lost)[None, None].float()
        operators: dict[str, Operator] = {
            "super-resolution": Downsample(SCALE), "deblur": Blur(gaussian_kernel(WIDTH)), "denoise": Identity(),
            "colorize": Grey(), "inpaint": Mask(known), "dejpeg": Jpeg.of_quality(QUALITY),
        }  # fmt: skip
        self.operator = operators[name]
        if name == "denoise":
            self.y = (photo + rng.normal(0, NOISE, photo.shape) + 0.5).clip(0, 255).astype(np.uint8)
        elif name == "dejpeg":
            self.y = compressed(photo)
        elif name == "inpaint":
            self.y = np.where(self.lost[..., None], 0, photo).astype(np.uint8)
        else:
            self.y = picture(self.operator.forward(tensor(photo)))
        self.methods: dict[str, Method] = {"restore": self._ours(name, "half-quadratic", None)}
        if gdp:
            self.methods["restore, gdp 25"] = self._ours(name, "gdp", 25)
        if passes > 1:
            self.methods[f"restore, {passes} passes"] = self._ours(name, "half-quadratic", None, passes)
        self.methods |= getattr(self, "_" + name.replace("-", "_"))()

    def _ours(self, name: str, method: str, steps: int | None, passes: int = 1) -> Method:
        mask = self.lost if name == "inpaint" else None
        blur = WIDTH if name == "deblur" else None

        def run(y: RGB) -> RGB:
            result = enhance(y, task=name, scale=SCALE, blur=blur, mask=mask, method=method, steps=steps, passes=passes)
            return np.asarray(result.image, np.uint8)

        return run

    def _super_resolution(self) -> dict[str, Method]:
        def resized(kind: int) -> Method:
            return lambda y: _byte(cv2.resize(y.astype(np.float32), None, fx=SCALE, fy=SCALE, interpolation=kind))

        return {"bicubic": resized(cv2.INTER_CUBIC), "Lanczos": resized(cv2.INTER_LANCZOS4)}

    def _deblur(self) -> dict[str, Method]:
        kernel = gaussian_kernel(WIDTH).numpy()

        def channels(f: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Method:
            return lambda y: _byte(np.stack([f(y[..., i] / 255.0) for i in range(3)], -1) * 255)

        return {
            "nothing": lambda y: y,
            "Wiener": channels(lambda c: restoration.wiener(c, kernel, 0.003)),
            "Richardson–Lucy 30": channels(lambda c: restoration.richardson_lucy(c, kernel, num_iter=30)),
            "unsharp mask": lambda y: _byte(2.5 * y.astype(float) - 1.5 * cv2.GaussianBlur(y, (0, 0), WIDTH)),
        }

    def _denoise(self) -> dict[str, Method]:
        return {
            "nothing": lambda y: y,
            "fastNlMeans": lambda y: cv2.fastNlMeansDenoisingColored(y, None, 12, 12, 7, 21),
            "TV (Chambolle)": lambda y: _byte(255 * restoration.denoise_tv_chambolle(y / 255, 0.1, channel_axis=2)),
            "wavelet": lambda y: _byte(
                255 * restoration.denoise_wavelet(y / 255, sigma=NOISE / 255, channel_axis=2, convert2ycbcr=True)
            ),
        }

    def _colorize(self) -> dict[str, Method]:
        return {"nothing": lambda y: y}

    def _inpaint(self) -> dict[str, Method]:
        mask = self.lost.astype(np.uint8)
        return {
            "Telea": lambda y: np.asarray(cv2.inpaint(y, mask, 3, cv2.INPAINT_TELEA), np.uint8),
            "Navier–Stokes": lambda y: np.asarray(cv2.inpaint(y, mask, 3, cv2.INPAINT_NS), np.uint8),
            "biharmonic": lambda y: _byte(255 * restoration.inpaint_biharmonic(y / 255, self.lost, channel_axis=2)),
        }

    def _dejpeg(self) -> dict[str, Method]:
        return {
            "nothing": lambda y: y,
            "fastNlMeans": lambda y: np.asarray(cv2.fastNlMeansDenoisingColored(y, None, 5, 10, 7, 21), np.uint8),
            "bilateral": lambda y: np.asarray(cv2.bilateralFilter(y, 7, 25, 3), np.uint8),
            "TV (Chambolle)": lambda y: _byte(255 * restoration.denoise_tv_chambolle(y / 255, 0.04, channel_axis=2)),
        }


NAMES = ("super-resolution", "deblur", "denoise", "colorize", "inpaint", "dejpeg")
COLUMNS = ("photo", "task", "method", "psnr", "ssim", "distance", "consistency", "seconds")


def _byte(image: NDArray[Any]) -> RGB:
    return (image + 0.5).clip(0, 255).astype(np.uint8)


@torch.inference_mode()
def score(lite0: Lite0, result: RGB, photo: RGB, task: Task) -> dict[str, float]:
    ours, truth = ((tensor(i) + 1) / 2 for i in (result, photo))
    again = picture(task.operator.forward(tensor(result))).astype(float)
    seen = picture(task.operator.forward(tensor(task.y))) if isinstance(task.operator, Mask) else task.y
    return {
        "psnr": float(metrics.peak_signal_noise_ratio(photo, result)),
        "ssim": float(metrics.structural_similarity(photo, result, channel_axis=2)),
        "distance": float(feature_distance(lite0, ours, truth, torch.ones_like(ours[:, :1]))),
        "consistency": float(np.sqrt(np.mean((again - seen) ** 2))),
    }


def table(rows: list[dict[str, object]]) -> str:
    """Means over photos, a row per task and method."""
    lines = [
        "| task | method | PSNR dB | SSIM | feature distance | consistency | CPU seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for task in NAMES:
        of_task = [r for r in rows if r["task"] == task]
        for method in dict.fromkeys(r["method"] for r in of_task):
            same = [r for r in of_task if r["method"] == method]
            mean = [float(np.mean([float(str(r[c])) for r in same])) for c in COLUMNS[3:]]
            lines.append(
                f"| {task} | {method} | {mean[0]:.2f} | {mean[1]:.3f} | {mean[2]:.3f} | {mean[3]:.2f} | {mean[4]:.2f} |"
            )
    return "\n".join(lines) + "\n"


def recorded(rows: list[dict[str, object]]) -> dict[str, float]:
    """PSNR and feature distance of our own results by task, for the manifest."""
    scores = {}
    for task in NAMES:
        ours = [r for r in rows if r["task"] == task and r["method"] == "restore"]
        for column in ("psnr", "distance") if ours else ():
            scores[f"{task}_{column}"] = round(float(np.mean([float(str(r[column])) for r in ours])), 3)
    return scores


def strip(pictures: list[RGB]) -> RGB:
    """Pictures side by side, the middle of each at its own size."""
    tiles = []
    for image in pictures:
        large = cv2.copyMakeBorder(
            image, 0, max(0, SHEET - len(image)), 0, max(0, SHEET - image.shape[1]), cv2.BORDER_CONSTANT
        )
        top, left = (large.shape[0] - SHEET) // 2, (large.shape[1] - SHEET) // 2
        tiles.append(large[top : top + SHEET, left : left + SHEET])
    return np.concatenate(tiles, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--crop", type=int, help="side of the middle crop, pixels; default: whole photos")
    parser.add_argument("--limit", type=int, help="photos")
    parser.add_argument("--tasks", default=",".join(NAMES))
    parser.add_argument("--gdp", action="store_true", help="also 25 steps of GDP-x0")
    parser.add_argument("--passes", type=int, default=1, help="also the loop with this many passes")
    parser.add_argument("--record", action="store_true", help="enter the prior's figures in the manifest")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    lite0 = trained_lite0()
    rows: list[dict[str, object]] = []
    for name in args.tasks.split(","):
        strips = []
        for seed, path in enumerate(sorted(args.data.glob("*.png"))[: args.limit]):
            photo = np.array(Image.open(path).convert("RGB"))
            if args.crop:
                top, left = (photo.shape[0] - args.crop) // 2, (photo.shape[1] - args.crop) // 2
                photo = photo[top : top + args.crop, left : left + args.crop]
            task = Task(name, photo, seed, args.gdp, args.passes)
            shown = [task.y]
            for label, method in task.methods.items():
                begun = time.process_time()
                result = method(task.y)
                seconds = time.process_time() - begun
                scores = score(lite0, result, photo, task)
                rows.append({"photo": path.stem, "task": name, "method": label, **scores, "seconds": seconds})
                shown.append(result)
            strips.append(strip([*shown, photo]))
        sheet = np.concatenate(strips)
        Image.fromarray(sheet).save(args.out / f"sheet-{name}.png")
        print(table(rows), flush=True)
    with (args.out / "scores.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    (args.out / "table.md").write_text(table(rows), encoding="utf-8")
    if args.record:
        set_scores("prior", recorded(rows))


if __name__ == "__main__":
    main()
