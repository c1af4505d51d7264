"""Large photographs: time and memory against photo and hole, and the detail of what is filled.

  python -m benchmarks.large --data ../shared/data/eval --out runs/benchmark-large [--parts times,detail]

DATA holds restore/*.png (photos that large ones are made from) and fill/X.jpg + X.mask.png. OUT gets times.csv,
areas.csv and areas.png (needs matplotlib), memory.csv, detail.csv, drafts.csv, detail.png and drafts.png (100 % crops)
and table.md. Large photos are made: a photo enlarged, plus texture as sharp as pixels allow (spot noise: Galerne et
al., TIP 2011) and grain. Detail is measured on photos of about 500 pixels that the engine works on at `DETAIL_SIDE`, as
it works at 512 on windows three times as large: their truth is known at full size. Drafts are measured as they are
enlarged to their windows' own size.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks import rivals
from benchmarks.fill import Photo, load, read, tensor
from restore import Engine
from restore.edit.area import SIDE, areas_of
from restore.edit.fillers import BuiltinFiller, DraftFiller, Order
from restore.features.lite0 import Lite0, trained_lite0
from restore.pipelines.fill.builtin import BuiltinPipeline
from restore.quality.metrics.full_reference import feature_distance
from restore.settings import Settings

MEGAPIXELS = (12, 24, 48)
HOLE = 0.02  # share of the photo
SHARES = (0.0025, 0.005, 0.01, 0.02, 0.04, 0.08)
FIXED = 240_000  # pixels of the hole while the photo grows
DETAIL_SIDE = 170
NEAR = 0.15  # of 1: how near sharpness and noise should be to their surroundings'
PARTS = ("times", "areas", "memory", "detail", "drafts")
Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Row = dict[str, Any]


def spot_noise(texture: Image, shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """A texture of `shape` with the spectrum of a grey one and no repetition, mean 0, deviation about 1."""
    h, w = texture.shape
    spot = (texture - texture.mean()) * np.outer(np.hanning(h), np.hanning(w))
    spectrum = np.fft.rfft2(spot / np.linalg.norm(spot), shape)
    return np.asarray(np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape, np.float32)) * spectrum, shape), np.float32)


def large_photo(path: Path, megapixels: float, seed: int = 0) -> Image:
    """A 4:3 photo (H, W, 3): the one at `path` enlarged, with texture where it has contrast, and grain."""
    rng = np.random.default_rng(seed)
    base = read(path)
    base = base[: base.shape[1] * 3 // 4].astype(np.float32)
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5 / 4) * 4
    size = width, width * 3 // 4
    rough = np.abs(base - cv2.GaussianBlur(base, (0, 0), 3)).mean(-1)
    weight = 1 + 0.7 * cv2.resize(cv2.GaussianBlur(rough, (0, 0), 6), size)
    source = np.asarray(cv2.cvtColor(base[-256:, :256].astype(np.uint8), cv2.COLOR_RGB2GRAY), np.uint8)
    detail = weight * spot_noise(source, size[::-1], rng)
    out = np.empty((*size[::-1], 3), np.uint8)
    for channel in range(3):  # one at a time: a float copy of 48 megapixels is 600 MB
        plane = cv2.resize(base[..., channel], size, interpolation=cv2.INTER_CUBIC) + detail
        plane += 1.5 * rng.standard_normal(plane.shape, np.float32)
        out[..., channel] = np.rint(plane.clip(0, 255))
    return out


def egg(shape: tuple[int, ...], pixels: float, at: tuple[float, float] = (0.55, 0.45)) -> Mask:
    """An upright ellipse of about `pixels` pixels, its centre at a share `at` (y, x) of the picture."""
    mask = np.zeros(shape[:2], np.uint8)
    radius = (pixels / np.pi) ** 0.5
    centre = round(shape[1] * at[1]), round(shape[0] * at[0])
    cv2.ellipse(mask, centre, (round(radius / 1.1), round(radius * 1.1)), 0, 0, 360, 1, -1)
    return mask > 0


def timed(model: Engine, image: Image, mask: Mask, repeat: int, **options: Any) -> Row:
    """Median seconds of a warm engine over seeds, wall and CPU."""
    wall, cpu, passes = [], [], []
    for seed in range(repeat):
        began, spent = time.perf_counter(), time.process_time()
        result = model.inpaint(image, mask=mask, seed=seed, **options)
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - spent)
        passes.append(len(result.passes))
    return {"seconds": statistics.median(wall), "cpu": statistics.median(cpu), "passes": statistics.mean(passes)}


def times(model: Engine, photos: Sequence[Path], repeat: int) -> list[Row]:
    """The default, with the passes that its judge asked for, and the draft, on holes of `HOLE` of the photo."""
    rows = []
    kinds: tuple[tuple[str, dict[str, Any]], ...] = (("default", {}), ("draft", {"draft": True}))
    for megapixels in MEGAPIXELS:
        for path in photos:
            image = large_photo(path, megapixels)
            mask = egg(image.shape, HOLE * mask_size(image))
            for kind, options in kinds:
                row = {"photo": path.stem, "megapixels": megapixels, "kind": kind}
                rows.append(row | timed(model, image, mask, repeat, **options))
                print(rows[-1], flush=True)
    return rows


def mask_size(image: Image) -> int:
    return image.shape[0] * image.shape[1]


def areas(model: Engine, path: Path, repeat: int) -> list[Row]:
    """One pass, so that the judge's verdict does not show: cost against the hole's area and the photo's."""
    rows: list[Row] = []
    image = large_photo(path, 12)
    for share in SHARES:
        mask = egg(image.shape, share * mask_size(image), (0.5, 0.5))
        row: Row = {"against": "hole", "megapixels": 12, "hole": int(mask.sum())}
        rows.append(row | timed(model, image, mask, repeat, passes=1))
    for megapixels in (3, 6, 12, 24, 48):
        image = large_photo(path, megapixels)
        mask = egg(image.shape, FIXED, (0.5, 0.5))
        row = {"against": "photo", "megapixels": megapixels, "hole": int(mask.sum())}
        rows.append(row | timed(model, image, mask, repeat, passes=1))
    return rows


def plot_areas(rows: list[Row], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.5), sharey=True, layout="constrained")
    labels = f"hole, thousand pixels (photo {MEGAPIXELS[0]} MP)", f"photo, megapixels (hole {FIXED} pixels)"
    series = zip(axes, ("hole", "photo"), ("hole", "megapixels"), (1000, 1), labels, strict=True)
    for axis, kind, key, unit, label in series:
        chosen = [row for row in rows if row["against"] == kind]
        at = [row[key] for row in chosen]
        axis.plot(at, [row["cpu"] for row in chosen], "o-")
        axis.set_xscale("log")
        axis.minorticks_off()
        axis.set_xticks(at, [f"{value / unit:.0f}" for value in at])
        axis.set_ylim(0)
        axis.set_xlabel(label)
    axes[0].set_ylabel("CPU seconds, one pass")
    figure.savefig(path, dpi=120)


def memory(photo: Path, megapixels: int) -> Row:
    """Peak resident memory of a fresh process that decodes, fills and writes a photo, GB."""
    command = ["-m", "benchmarks.large", "--data", str(photo), "--out", ".", "--parts", f"one:{megapixels}"]
    peak = float(subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True).stdout)
    decoded = megapixels * 3e6 / 1e9
    return {"megapixels": megapixels, "decoded": decoded, "peak": peak, "allowed": 3 * decoded + 1.2}


def fill_one(path: Path, megapixels: float) -> None:
    """What `memory` measures: decode a photo, fill `HOLE` of it, write it; prints the peak in GB."""
    import restore

    result = restore.inpaint(path, box=box_of(megapixels))
    result.save(path.with_suffix(".out.jpg"), overwrite=True)
    status = Path("/proc/self/status").read_text()  # getrusage would count the parent's memory at the fork
    print(int(status.split("VmHWM:")[1].split()[0]) / 1e6)


def box_of(megapixels: float) -> tuple[int, int, int, int]:
    side = round((megapixels * 1e6 * HOLE) ** 0.5)
    return 2 * side, 2 * side, side, side


def sharpness(image: Image, where: Mask) -> float:
    """Mean absolute Laplacian of the luminance."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(np.abs(cv2.Laplacian(grey, cv2.CV_32F))[where].mean())


def noise(image: Image, where: Mask) -> float:
    """Immerkær's noise estimate (CVIU 1996), levels of 255: the median form, which edges move less."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    response = cv2.filter2D(grey, -1, np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32))
    return float(np.median(np.abs(response[where])) / 0.6745 / 6)


def detail(model: Engine, photos: Sequence[Photo], folder: Path) -> list[Row]:
    """Sharpness and noise in the hole beside its surroundings, and feature distance to the truth, at full size."""
    lite0 = trained_lite0()
    rows, crops = [], []
    BuiltinFiller.side = DraftFiller.side = DETAIL_SIDE
    try:
        for photo in tqdm(photos, desc="detail"):
            fills = _fills(model, photo)
            rows += _scored(lite0, photo, fills)
            crops.append(_row(photo, fills))
    finally:
        BuiltinFiller.side = DraftFiller.side = SIDE
    _write_sheet(crops, folder / "detail.png")
    return rows


def drafts(pipeline: BuiltinPipeline, photos: Sequence[Photo], folder: Path) -> list[Row]:
    """As `detail`, of the ways to enlarge the draft of a window."""
    filler = DraftFiller(pipeline)
    lite0, order = trained_lite0(), Order(Settings(passes=1, candidates=1), 1)
    rows, crops = [], []
    for photo in tqdm(photos, desc="drafts"):
        fills = {name: photo.image.copy() for name in ("truth", "draft, enlarged", "draft, own detail")}
        for area in areas_of(photo.image, photo.mask, max(photo.mask.shape)):
            inside, size = area.window.slices, area.hole.shape[::-1]
            small = pipeline.small_draft((area.image / 255).astype(np.float32), area.hole)[0]
            soft = cv2.resize(small, size, interpolation=cv2.INTER_CUBIC).clip(0, 1) * 255
            fills["draft, enlarged"][inside][area.hole] = np.rint(soft)[area.hole]
            fills["draft, own detail"][inside] = filler.fill(area, area.hole, order)[0].image
        rows += _scored(lite0, photo, fills)
        crops.append(_row(photo, fills))
    _write_sheet(crops, folder / "drafts.png")
    return rows


def _scored(lite0: Lite0, photo: Photo, fills: dict[str, Image]) -> list[Row]:
    rows = []
    inner = cv2.erode(photo.mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    ring = (cv2.dilate(photo.mask.astype(np.uint8), np.ones((41, 41), np.uint8)) > 0) & ~photo.mask
    hole = torch.from_numpy(photo.mask)[None, None].float()
    for name, image in fills.items():
        with torch.inference_mode():
            distance = feature_distance(lite0, tensor(image), tensor(photo.image), hole).item()
        row = {"photo": photo.name, "fill": name, "distance": distance}
        row |= {"sharpness": sharpness(image, inner) / max(1e-6, sharpness(photo.image, ring))}
        row |= {"noise": (noise(image, inner) + 0.1) / (noise(photo.image, ring) + 0.1)}
        rows.append(row)
    return rows


def _write_sheet(crops: list[Image], path: Path) -> None:
    width = max(row.shape[1] for row in crops)
    padded = [np.pad(row, ((0, 8), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in crops[:12]]
    cv2.imwrite(str(path), np.concatenate(padded)[..., ::-1])


def _fills(model: Engine, photo: Photo) -> dict[str, Image]:
    """By us, by our small fill merely enlarged, and by the classics; known pixels are the photo's own."""
    result = model.inpaint(photo.image, mask=photo.mask)
    small = photo.image.copy()
    for area in result.outcome.areas:
        size = area.window.w, area.window.h
        small[area.window.slices] = cv2.resize(area.image, size, interpolation=cv2.INTER_CUBIC)
    fills = {"truth": photo.image, "restore": np.asarray(result.image), "upsampled": small}
    drafted = model.inpaint(photo.image, mask=photo.mask, draft=True)
    fills |= {"draft": np.asarray(drafted.image)}
    fills |= {"telea": rivals.telea(photo.image, photo.mask), "patchmatch": rivals.patchmatch(photo.image, photo.mask)}
    return {name: np.where(photo.mask[..., None], fill, photo.image) for name, fill in fills.items()}


def _row(photo: Photo, fills: dict[str, Image], side: int = 200) -> Image:
    y, x = (int(v.mean()) for v in np.nonzero(photo.mask))
    top, left = (int(np.clip(c - side // 2, 0, n - side)) for c, n in zip((y, x), photo.mask.shape, strict=True))
    return np.concatenate([fill[top : top + side, left : left + side] for fill in fills.values()], 1)


def textures(folder: Path) -> list[Photo]:
    """Photos with a round hole of 4 %: scikit-image's brick, grass and gravel, and every photo of `folder`."""
    from skimage import data

    pictures = {name: cv2.cvtColor(getattr(data, name)(), cv2.COLOR_GRAY2RGB) for name in ("brick", "grass", "gravel")}
    pictures |= {path.stem: read(path) for path in sorted(folder.glob("*.png"))}
    return [Photo(n, np.asarray(p, np.uint8), egg(p.shape, 0.04 * mask_size(p))) for n, p in pictures.items()]


def detail_table(rows: list[Row], textured: set[str]) -> list[str]:
    """Of all photos and, in brackets, of those named `textured`: mean distance; medians, and the share within `NEAR`
    of 1."""
    lines = ["| fill | feature distance ↓ | sharpness ÷ surroundings | near 1 | noise ÷ surroundings | near 1 |"]
    lines += ["|---|---|---|---|---|---|"]
    for name in dict.fromkeys(row["fill"] for row in rows):
        every = [row for row in rows if row["fill"] == name]
        cells: list[list[str]] = [[] for _ in range(5)]
        for own in (every, [row for row in every if row["photo"] in textured]):
            cells[0].append(f"{statistics.mean(row['distance'] for row in own):.3f}")
            for i, key in ((1, "sharpness"), (3, "noise")):
                cells[i].append(f"{statistics.median(row[key] for row in own):.2f}")
                cells[i + 1].append(f"{statistics.mean(abs(row[key] - 1) <= NEAR for row in own):.2f}")
        lines.append(f"| {name} | " + " | ".join(f"{a} ({b})" for a, b in cells) + " |")
    return lines


def table(rows: list[Row]) -> list[str]:
    head = list(rows[0])
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    cells = ([f"{v:.2f}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows)
    return lines + [f"| {' | '.join(line)} |" for line in cells]


def write(path: Path, rows: list[Row]) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--limit", type=int, default=3, help="photos that large ones are made from")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    if args.parts.startswith("one:"):
        fill_one(args.data, float(args.parts.removeprefix("one:")))
        return
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    photos = sorted((args.data / "restore").glob("*.png"))
    sources, model = photos[:: -(-len(photos) // args.limit)], Engine(device="cpu")
    model.inpaint(photos[0], box=(200, 200, 60, 60), passes=1)
    text: list[str] = []
    textured: list[Photo] = []
    for part in args.parts.split(","):
        if part == "times":
            rows = times(model, sources, args.repeat)
        elif part == "areas":
            rows = areas(model, sources[0], args.repeat)
            plot_areas(rows, args.out / "areas.png")
        elif part == "memory":
            rows = []
            for megapixels in MEGAPIXELS:
                photo = args.out / f"{megapixels}.png"
                cv2.imwrite(str(photo), large_photo(sources[0], megapixels)[..., ::-1])
                rows.append(memory(photo, megapixels))
        elif part in ("detail", "drafts"):
            textured = textures(args.data / "restore")
            measured = textured + load(args.data / "fill", None)[::6]
            if part == "detail":
                rows = detail(model, measured, args.out)
            else:
                rows = drafts(BuiltinPipeline.shipped(), measured, args.out)
        else:
            sys.exit(f"expected parts among {', '.join(PARTS)}, got {part}")
        write(args.out / f"{part}.csv", rows)
        lines = detail_table(rows, {photo.name for photo in textured}) if "fill" in rows[0] else table(rows)
        text += ["", f"## {part}", *lines]
    (args.out / "table.md").write_text("\n".join(text) + "\n")
    print("\n".join(text))


if __name__ == "__main__":
    main()
