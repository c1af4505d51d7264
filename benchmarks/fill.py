"""Fills of holes with known truth, side by side.

  python -m benchmarks.fill --data ../shared/data/eval/fill --out runs/benchmark-fill \\
      --methods telea,ns,biharmonic,patchmatch,shiftmap,builtin --xphoto-python venv-xphoto/bin/python

DATA holds X.jpg and X.mask.png (255 = hole). A method is a name above, `draft:WEIGHTS` (the draft
network alone) or `folder:PATH` (X.png written by any tool). OUT gets methods/NAME/X.png, scores.csv (a
row per photo and method), table.md and sheet.png. Fills already in OUT are scored again, not made again.
See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import csv
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks import rivals
from restore.errors import InputError, RestoreError
from restore.features.lite0 import Lite0
from restore.quality.features.pooled import Window, crop_features, hole_windows
from restore.quality.metrics.full_reference import feature_distance, psnr
from restore.quality.metrics.sets import bootstrap_interval, frechet_distance, p_ids, u_ids
from restore.training.publish import set_scores

CROPS = 8  # per hole, for the distances of sets
WEIGHTS = Path(__file__).parents[1] / "restore" / "weights" / "lite0.safetensors"


@dataclass(frozen=True)
class Photo:
    """image: (H, W, 3) RGB uint8; mask: (H, W) bool, True = hole."""

    name: str
    image: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class Scores:
    """One method's numbers, one per photo, and features (photos × CROPS, 112) of its fills."""

    label: str
    psnr: np.ndarray
    distance: np.ndarray
    seconds: np.ndarray
    features: np.ndarray


def load(data: Path, limit: int | None) -> list[Photo]:
    """The photos of a folder in the order of their names."""
    photos = []
    for path in sorted(data.glob("*.mask.png"))[:limit]:
        name = path.name.removesuffix(".mask.png")
        image, mask = read(path.with_name(f"{name}.jpg")), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        photos.append(Photo(name, image, np.asarray(mask) > 127))
    if not photos:
        raise InputError(f"expected X.jpg and X.mask.png in {data}, found none; check --data")
    return photos


def read(path: Path) -> np.ndarray:
    """An RGB uint8 picture."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"expected a readable picture at {path}, got none; remove it or make it again")
    return np.ascontiguousarray(image[..., ::-1])


def fill_all(spec: str, photos: list[Photo], args: argparse.Namespace) -> Path:
    """Make the fills that are missing; returns the folder of X.png (and X.seconds, the CPU time)."""
    kind, _, path = spec.partition(":")
    if kind == "folder":
        return Path(path)
    if kind not in (*rivals.METHODS, "shiftmap", "draft"):
        names = ", ".join((*rivals.METHODS, "shiftmap", "draft:WEIGHTS", "folder:PATH"))
        raise InputError(f"expected a method among {names}, got {kind}")
    folder: Path = args.out / "methods" / kind
    missing = [photo for photo in photos if not (folder / f"{photo.name}.png").exists()]
    if not missing:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "shiftmap":
        if args.xphoto_python is None:
            raise InputError("shiftmap needs --xphoto-python PATH, got none; see benchmarks/README.md")
        rivals.shiftmap(args.xphoto_python, args.data, folder, args.limit)
        return folder
    method = rivals.draft(Path(path)) if kind == "draft" else rivals.METHODS[kind]
    for photo in missing:
        begun = time.process_time()
        filled = method(photo.image.copy(), photo.mask.copy())
        seconds = time.process_time() - begun
        filled = np.where(photo.mask[..., None], filled, photo.image)
        cv2.imwrite(str(folder / f"{photo.name}.png"), filled[..., ::-1])
        (folder / f"{photo.name}.seconds").write_text(f"{seconds:.3f}")
    return folder


@torch.inference_mode()
def score(label: str, folder: Path, photos: list[Photo], lite0: Lite0) -> Scores:
    """Numbers of the fills X.png in `folder`; known pixels are the photo's own whatever the file holds."""
    rows, features = [], []
    for photo in photos:
        filled = read(folder / f"{photo.name}.png")
        if filled.shape != photo.image.shape:
            raise InputError(f"expected {photo.image.shape} for {label}/{photo.name}.png, got {filled.shape}")
        truth, fill = tensor(photo.image), tensor(np.where(photo.mask[..., None], filled, photo.image))
        mask = torch.from_numpy(photo.mask)[None, None].float()
        timed = folder / f"{photo.name}.seconds"
        seconds = float(timed.read_text()) if timed.exists() else float("nan")
        distance = feature_distance(lite0, fill, truth, mask).item()
        rows.append((psnr(fill, truth, mask).item(), distance, seconds))
        features.append(crop_features(lite0, fill[0], windows(photo)))
    columns = np.array(rows).T
    return Scores(label, columns[0], columns[1], columns[2], np.concatenate(features))


def windows(photo: Photo) -> list[Window]:
    """The crops a photo is judged on: they follow from its name, so every method and run has the same."""
    return hole_windows(photo.mask, CROPS, np.random.default_rng(zlib.crc32(photo.name.encode())))


def tensor(image: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 → (1, 3, H, W) float in [0, 1]."""
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


def write_csv(path: Path, photos: list[Photo], scores: list[Scores]) -> None:
    """A row per photo and method."""
    head = ["photo", "width", "height", "hole", "method", "psnr", "feature_distance", "cpu_seconds"]
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        for i, photo in enumerate(photos):
            height, width = photo.mask.shape
            for s in scores:
                numbers = [f"{v[i]:.4f}" for v in (s.psnr, s.distance, s.seconds)]
                writer.writerow([photo.name, width, height, f"{photo.mask.mean():.4f}", s.label, *numbers])


def table(photos: list[Photo], scores: list[Scores], real: np.ndarray) -> str:
    """Markdown: means with 95 % bootstrap intervals over photos; `real` are the truths' features."""
    holes = np.array([photo.mask.mean() for photo in photos])
    lines = [
        f"{len(photos)} photos, holes of {holes.min():.0%}–{holes.max():.0%} (mean {holes.mean():.1%}), "
        f"{CROPS} crops a hole for the last three scores. CPU seconds: median per photo.",
        "",
        "| method | PSNR in hole, dB ↑ | feature distance ↓ | Fréchet ↓ | U-IDS ↑ | P-IDS ↑ | CPU s ↓ |",
        "|---|---|---|---|---|---|---|",
    ]
    # LIBLINEAR's C = 1 presumes features of unit scale, which block 10 does not have.
    scale = real.std(0) + 1e-6
    real = real / scale
    for s in scores:
        fake = s.features / scale
        cells = [s.label, interval(s.psnr, 2), interval(s.distance, 3), f"{frechet_distance(real, fake):.2f}"]
        cells += [f"{u_ids(real, fake):.3f}", f"{p_ids(real, fake):.3f}", f"{np.median(s.seconds):.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def record(scores: list[Scores], real: np.ndarray) -> None:
    """Enter what the builtin reaches in the manifest, with the two networks that steer its shift map."""
    for s in scores:
        if s.label == "builtin":
            scale = real.std(0) + 1e-6
            card = {"fill_photos": len(s.psnr), "fill_psnr": s.psnr.mean(), "fill_feature_distance": s.distance.mean()}
            card |= {"fill_frechet": frechet_distance(real / scale, s.features / scale)}
            card |= {"fill_u_ids": u_ids(real / scale, s.features / scale)}
            for name in ("draft", "expectation"):
                set_scores(name, {key: round(float(value), 4) for key, value in card.items()})


def interval(values: np.ndarray, digits: int) -> str:
    low, high = bootstrap_interval(values)
    return f"{values.mean():.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def sheet(photos: list[Photo], folders: dict[str, Path], count: int = 24, side: int = 224) -> np.ndarray:
    """Contact sheet (RGB) of `count` photos evenly taken, a row each: photo, hole, every method."""
    picked = [photos[i] for i in np.unique(np.linspace(0, len(photos) - 1, count).astype(int))]
    header = np.concatenate([caption(text, side) for text in ("photo", "hole", *folders)], 1)
    rows = [header]
    for photo in picked:
        masked = np.where(photo.mask[..., None], np.uint8(128), photo.image)
        fills = [read(folder / f"{photo.name}.png") for folder in folders.values()]
        cells = (photo.image, masked, *fills)
        small = [cv2.resize(cell, (side, side), interpolation=cv2.INTER_AREA) for cell in cells]
        rows.append(np.concatenate(small, 1))
    return np.concatenate(rows)


def caption(text: str, width: int) -> np.ndarray:
    strip = np.full((24, width, 3), 255, np.uint8)
    font = cv2.FONT_HERSHEY_SIMPLEX
    return np.asarray(cv2.putText(strip, text, (4, 17), font, 0.5, (0, 0, 0), 1, cv2.LINE_AA))


def main() -> None:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--methods", default="telea,ns,biharmonic,patchmatch,builtin", help="comma-separated")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="the first N photos only")
    parser.add_argument("--xphoto-python", type=Path, help="interpreter that has opencv-contrib-python")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="enter the builtin's figures in the manifest")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    photos = load(args.data, args.limit)
    lite0 = Lite0().eval()
    lite0.load_state_dict(load_file(WEIGHTS))
    folders: dict[str, Path] = {}
    for spec in args.methods.split(","):
        try:
            folder = fill_all(spec, photos, args)
        except RestoreError as error:
            print(f"{spec} left out: {error}")
            continue
        folders[folder.name] = folder
    scores = [score(label, folder, photos, lite0) for label, folder in folders.items()]
    real = np.concatenate([crop_features(lite0, tensor(p.image)[0], windows(p)) for p in photos])
    write_csv(args.out / "scores.csv", photos, scores)
    text = table(photos, scores, real)
    if args.record:
        record(scores, real)
    (args.out / "table.md").write_text(text)
    print(text)
    cv2.imwrite(str(args.out / "sheet.png"), sheet(photos, folders)[..., ::-1])


if __name__ == "__main__":
    main()
