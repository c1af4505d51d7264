"""SDD-FIQA on real faces: does rejecting the faces it calls worst lower a recogniser's errors?

  pip install dlib-bin && pip download --no-deps face_recognition_models   # weights are in the archive
  python -m benchmarks.faces --data faces/ --models face_recognition_models/models --out runs/faces

DATA holds a folder per identity. The recogniser is dlib's ResNet (128 numbers a face, faces aligned by five landmarks;
its weights are in the public domain). Identities are split in halves, five times: on one half pseudo-labels are made
and regressors trained, on the other they choose what to reject. Printed and written: the false non-match rate at a
false match rate of 0.001 by share rejected, mean over splits, for regressors on the recogniser's embedding, on pooled
EfficientNet-Lite0 features and on both, for sharpness, for random choice, and for the labels themselves (which know the
other pictures of the person: what a perfect regressor would do). Embeddings are kept in OUT and used again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from benchmarks.fill import read, tensor
from restore.features.lite0 import trained_lite0
from restore.quality.features.pooled import photo_features
from restore.quality.judges.fiqa import error_versus_reject, fit_regressor, pseudo_labels
from restore.quality.metrics.no_reference import sharpness

REJECTED = (0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
SPLITS = 5
RANDOM = 10  # random orders per split


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    paths = sorted(path for path in args.data.glob("*/*") if path.is_file())
    kept = args.out / "faces.safetensors"
    if not kept.exists():
        save_file(measure(paths, dlib_recogniser(args.models)), kept)
    data = load_file(kept)
    text = table(curves(data, np.array([path.parent.name for path in paths])), len(paths))
    (args.out / "table.md").write_text(text)
    print(text)


def dlib_recogniser(models: Path) -> Callable[[np.ndarray], np.ndarray]:
    """(H, W, 3) uint8 RGB, a face in the middle as CelebA's aligned pictures have it → (128,)."""
    import dlib

    landmarks = dlib.shape_predictor(str(models / "shape_predictor_5_face_landmarks.dat"))
    net = dlib.face_recognition_model_v1(str(models / "dlib_face_recognition_resnet_model_v1.dat"))

    def embed(image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        box = dlib.rectangle(int(0.2 * width), int(0.32 * height), int(0.8 * width), int(0.82 * height))
        return np.array(net.compute_face_descriptor(dlib.get_face_chip(image, landmarks(image, box), 150)))

    return embed


def measure(paths: list[Path], embed: Callable[[np.ndarray], np.ndarray]) -> dict[str, np.ndarray]:
    """Rows per face: embedding, Lite0 features, sharpness."""
    lite0 = trained_lite0()
    images = [read(path) for path in paths]
    return {
        "embedding": np.stack([embed(image) for image in images]),
        "features": np.stack([photo_features(lite0, tensor(image)[0]) for image in images]),
        "sharpness": np.array([sharpness(image) for image in images]),
    }


def curves(data: dict[str, np.ndarray], identities: np.ndarray) -> dict[str, np.ndarray]:
    """Error-versus-reject curves by how the rejected were chosen: (SPLITS, len(REJECTED))."""
    embedding = data["embedding"]
    inputs = {
        "regressor on the embedding": embedding,
        "regressor on Lite0 features": data["features"],
        "regressor on both": np.concatenate([embedding, data["features"]], 1),
    }
    found: dict[str, list[np.ndarray]] = {}
    for split in range(SPLITS):
        rng = np.random.default_rng(split)
        people = rng.permutation(np.unique(identities))
        train = np.isin(identities, people[: len(people) // 2])
        test = ~train
        labels = pseudo_labels(embedding[train], identities[train], seed=split)
        own = pseudo_labels(embedding[test], identities[test], seed=split)
        chosen = {"random": [rng.random(test.sum()) for _ in range(RANDOM)], "sharpness": [data["sharpness"][test]]}
        for name, rows in inputs.items():
            chosen[name] = [fit_regressor(rows[train], labels, steps=600, seed=split).score(rows[test])]
        chosen["the labels themselves"] = [np.nan_to_num(own, nan=50)]
        for name, qualities in chosen.items():
            rates = [error_versus_reject(embedding[test], identities[test], q, REJECTED) for q in qualities]
            found.setdefault(name, []).append(np.mean(rates, axis=0))
    return {name: np.stack(rows) for name, rows in found.items()}


def table(found: dict[str, np.ndarray], count: int) -> str:
    """Markdown: percent, and in how many splits the mean over rejections lies under random's."""
    head = " | ".join(f"{100 * share:.0f} %" for share in REJECTED)
    lines = [
        f"{count} faces; false non-match rate in % at a false match rate of 0.1 %, by share rejected.\n",
        f"| chosen by | {head} | splits under random |",
        "|---" * (len(REJECTED) + 2) + "|",
    ]
    for name, rates in found.items():
        cells = " | ".join(f"{100 * rate:.2f}" for rate in rates.mean(0))
        better = int((rates[:, 1:].mean(1) < found["random"][:, 1:].mean(1)).sum())
        lines.append(f"| {name} | {cells} | {'–' if name == 'random' else f'{better} of {len(rates)}'} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
