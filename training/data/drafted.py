"""Crops whose holes the shipped draft network has drafted, kept on disk: what networks after it learn from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from restore.pipelines.fill.seams import shrink
from restore.pipelines.networks.draft import DraftNet
from restore.training.data.photos import Holes, PhotoCache, new_folder, random_crop
from restore.weights.store import load_weights, manifest

SHARD = 250  # crops a file
BATCH = 10  # drafted at a time
LEAST = 0.8  # of a photo's short side in a crop: enlarged ones would teach blur
NAMES = ("truth", "mask", "draft", "error")


@dataclass(frozen=True)
class Drafted:
    """truth (n, size, size, 3) uint8; mask (n, size, size) in {0, 1}; draft (n, small, small, 3) uint8, the photo where
    it is known; error (n, small, small) uint8, the expected absolute error, 255 = 1."""

    shards: list[dict[str, np.ndarray]]

    def __len__(self) -> int:
        return SHARD * len(self.shards)

    def __getitem__(self, i: int) -> tuple[np.ndarray, ...]:
        """Truth, mask, draft and error of one crop."""
        shard = self.shards[i // SHARD]
        return tuple(shard[name][i % SHARD] for name in NAMES)

    @classmethod
    def open(
        cls,
        folder: Path,
        count: int,
        photos: PhotoCache,
        chosen: range,
        holes: Holes,
        sizes: tuple[int, int],
        seed: int,
    ) -> Drafted:
        """At least `count` crops of the `chosen` photos, drafted where `folder` lacks them; runs may share `folder`.

        sizes: of a crop and of its draft. Crop i depends on the photos, the draft's weights, sizes, seed and i alone.
        """
        known = [manifest()["draft"]["sha256"], photos.index, [chosen.start, chosen.stop], sizes, LEAST, seed]
        goal = folder / f"drafted-{hashlib.sha256(json.dumps(known).encode()).hexdigest()[:12]}"
        wanted = [goal / f"{k:04d}" for k in range(-(-count // SHARD))]
        missing = [path for path in wanted if not path.exists()]
        if missing:
            device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
            net = DraftNet.from_weights(load_weights("draft")).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            for path in tqdm(missing, desc="drafts", unit="shard"):
                first = int(path.name) * SHARD
                rows = [_crop(photos, chosen, holes, sizes[0], [seed, first + k]) for k in range(SHARD)]
                _write(path, rows, net, sizes[1])
        return cls([{name: np.load(path / f"{name}.npy", mmap_mode="r") for name in NAMES} for path in wanted])


def _crop(photos: PhotoCache, chosen: range, holes: Holes, size: int, seed: list[int]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = random_crop(photos[chosen[int(rng.integers(len(chosen)))]], size, rng, LEAST)
    return truth, holes.sample(size, rng)


def _write(goal: Path, rows: list[tuple[np.ndarray, np.ndarray]], net: DraftNet, small: int) -> None:
    """A shard, complete or not at all."""
    drafts, errors = [], []
    for k in range(0, len(rows), BATCH):
        some = [shrink((truth / 255).astype(np.float32), mask > 0, small) for truth, mask in rows[k : k + BATCH]]
        x = torch.from_numpy(np.stack([image for image, _ in some])).permute(0, 3, 1, 2)
        hole = torch.from_numpy(np.stack([hole for _, hole in some]))[:, None].float()
        draft, error = drafted(net, x, hole)
        drafts.append(draft.permute(0, 2, 3, 1))
        errors.append(error[:, 0])
    with new_folder(goal) as part:
        np.save(part / "truth.npy", np.stack([truth for truth, _ in rows]))
        np.save(part / "mask.npy", np.stack([mask for _, mask in rows]))
        np.save(part / "draft.npy", np.rint(torch.cat(drafts).numpy() * 255).astype(np.uint8))
        np.save(part / "error.npy", np.rint(torch.cat(errors).clamp(0, 1).numpy() * 255).astype(np.uint8))


@torch.inference_mode()
def drafted(net: DraftNet, x: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
    device = next(net.parameters()).device
    with torch.autocast(device.type, torch.bfloat16):
        draft, error = net.draft(x.to(device), hole.to(device))
    return draft.float().cpu(), error.float().cpu()
