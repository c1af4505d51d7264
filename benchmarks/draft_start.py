"""Is sampling from the draft at a middle noise level as good as from pure noise, and what does it save?

  python -m benchmarks.draft_start --data ../shared/data/eval/fill --limit 26

Both samplers step through the same noise levels where they overlap (Karras et al., NeurIPS 2022, eq. 5): the one from
the draft starts at `SIGMA_START`, the other at each of `FULL`. Photos at 128 pixels, the draft network's own size;
PAR and feature distance of the sampled hole, one sample a photo.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.fill import load
from restore import Engine
from restore.features.lite0 import Lite0
from restore.pipelines.diffusion.denoiser import levels
from restore.pipelines.diffusion.loop import descend, euler, noise_like
from restore.pipelines.diffusion.sampler import SIGMA_START, sample
from restore.pipelines.diffusion.schedules import RHO, SIGMA_END, karras
from restore.pipelines.fill.seams import shrink
from restore.pipelines.networks.draft import DraftNet
from restore.pipelines.push_pull import push_pull
from restore.quality.metrics.full_reference import feature_distance
from restore.weights.store import load_weights

SIDE, STEPS = 128, 8
FULL = (5.0, 80.0)  # pixels in [−1, 1]: about the largest level seen in training, and EDM's


def steps_from(start: float) -> int:
    """Steps from `start` down that are as dense as `STEPS` from the middle level."""
    spacing = (SIGMA_START ** (1 / RHO) - SIGMA_END ** (1 / RHO)) / (STEPS - 1)
    return round((start ** (1 / RHO) - SIGMA_END ** (1 / RHO)) / spacing) + 1


def from_noise(net: DraftNet, x: Tensor, mask: Tensor, sigmas: list[float], generator: torch.Generator) -> Tensor:
    """`sample` without a draft: pure noise in the hole at the first level."""
    smooth, known = push_pull(x, mask) * 2 - 1, x * 2 - 1
    noisy = torch.where(mask > 0.5, smooth + sigmas[0] * noise_like(x, generator), known)

    def estimate(x: Tensor, sigma: float) -> Tensor:
        return net.denoise(x, levels(sigma, x), smooth, mask)[0]

    def step(x: Tensor, clean: Tensor, sigma: float, after: float) -> Tensor:
        return torch.where(mask > 0.5, euler(x, clean, sigma, after), known)

    return ((descend(noisy, sigmas, estimate, step) + 1) / 2).clamp(0, 1)


@torch.inference_mode()
def main() -> None:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=26, help="photos, evenly taken")
    args = parser.parse_args()
    net, engine, lite0 = DraftNet.from_weights(load_weights("draft")), Engine(device="cpu"), Lite0().eval()
    lite0.load_state_dict(load_weights("lite0"))
    photos = load(args.data, None)
    kinds = ["draft alone", f"draft, then {STEPS} steps"]
    kinds += [f"noise of {s:g}, {n} steps" for s in FULL for n in (STEPS + 1, steps_from(s))]
    found: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in kinds}
    for photo in photos[:: max(1, len(photos) // args.limit)]:
        image = photo.image.astype(np.float32) / 255
        truth, small_mask = shrink(image, np.zeros_like(photo.mask), SIDE)[0], shrink(image, photo.mask, SIDE)[1]
        size = [side // 8 * 8 for side in small_mask.shape]
        x = torch.from_numpy(truth[: size[0], : size[1]]).permute(2, 0, 1)[None].contiguous()
        mask = torch.from_numpy(small_mask[: size[0], : size[1]])[None, None].float()
        for kind in kinds:
            generator, begun = torch.Generator().manual_seed(0), time.process_time()
            if kind.startswith("draft"):
                out, _ = net.draft(x, mask)
                out = sample(net, x, mask, out, STEPS, generator) if kind.endswith("steps") else out
            else:
                start, steps = float(kind.split()[2].rstrip(",")), int(kind.split()[3])
                out = from_noise(net, x, mask, karras(steps, start), generator)
            seconds = time.process_time() - begun
            out = torch.where(mask > 0.5, out, x)
            picture = np.rint(out[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
            par = engine.assess(picture, mask=mask[0, 0].numpy() > 0.5).par_hole
            found[kind].append((seconds, float(par or 0), feature_distance(lite0, out, x, mask).item()))
    print("| start | CPU s | PAR in hole ↓ | feature distance ↓ |\n|---|---|---|---|")
    for kind, rows in found.items():
        seconds, par, distance = np.mean(rows, 0)
        print(f"| {kind} | {seconds:.3f} | {par:.3f} | {distance:.3f} |")


if __name__ == "__main__":
    main()
