"""Candidates of the builtin for photos whose truth is known: what its judge has to choose from.

Kept on disk, because several benchmarks ask different questions of the same fills.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from benchmarks.fill import Photo, read, tensor
from restore.edit.area import areas_of
from restore.pipelines.fill.builtin import STRATEGIES, BuiltinPipeline, Strategy
from restore.quality.metrics.full_reference import feature_distance


def make(
    photos: Sequence[Photo], pipeline: BuiltinPipeline, folder: Path, strategies: Sequence[Strategy] = STRATEGIES
) -> None:
    """Write NAME-K.png, the whole hole filled by strategy K, for every photo that lacks it."""
    folder.mkdir(parents=True, exist_ok=True)
    for photo in tqdm(photos, desc="candidates", leave=False):
        if (folder / f"{photo.name}-{len(strategies) - 1}.png").exists():
            continue
        images = [photo.image.copy() for _ in strategies]
        for area in areas_of(photo.image, photo.mask):
            x, hole = tensor(area.image), torch.from_numpy(area.hole)[None, None].float()
            output = pipeline(x, hole, generator=torch.Generator().manual_seed(0), strategies=strategies)
            for image, new in zip(images, output.images, strict=True):
                pixels = (new.permute(1, 2, 0).numpy() * 255 + 0.5).astype(np.uint8)
                image[area.window.slices][area.hole] = pixels[area.hole]
        for k, image in enumerate(images):
            cv2.imwrite(str(folder / f"{photo.name}-{k}.png"), image[..., ::-1])


def load(photo: Photo, folder: Path, count: int = len(STRATEGIES)) -> list[np.ndarray]:
    """The candidates of one photo, RGB."""
    return [read(folder / f"{photo.name}-{k}.png") for k in range(count)]


@torch.inference_mode()
def distances(photo: Photo, images: Sequence[np.ndarray], lite0: torch.nn.Module) -> np.ndarray:
    """Feature distance in the hole of each image to the truth."""
    truth, mask = tensor(photo.image), torch.from_numpy(photo.mask)[None, None].float()
    return np.array([float(feature_distance(lite0, tensor(image), truth, mask)) for image in images])  # type: ignore[arg-type]
