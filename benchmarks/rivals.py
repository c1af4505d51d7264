"""Ways to fill a hole that are not ours, each a function of (image, mask).

image: (H, W, 3) RGB uint8; mask: (H, W) bool, True = hole; returns (H, W, 3) RGB uint8. What a method
does to known pixels does not matter: the benchmark pastes the photo's own back. Libraries beyond
OpenCV are imported inside, so that one which is missing costs its own row only.
"""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from restore.errors import ModelUnavailableError

Fill = Callable[[np.ndarray, np.ndarray], np.ndarray]
BIHARMONIC_PIXELS = 20_000  # larger holes are solved at a reduced size: the sparse solve takes minutes


def telea(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fast marching (Telea, 2004)."""
    return cv2.inpaint(image, mask.astype(np.uint8), 3, cv2.INPAINT_TELEA)


def navier_stokes(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Isophotes carried like fluid (Bertalmio et al., CVPR 2001)."""
    return cv2.inpaint(image, mask.astype(np.uint8), 3, cv2.INPAINT_NS)


def biharmonic(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Biharmonic equation (Damelin & Hoang, 2018), scikit-image; at most `BIHARMONIC_PIXELS` unknowns.

    A larger hole is solved on a reduced photo and enlarged: the result is smooth by construction.
    """
    restoration = _optional("skimage.restoration", "scikit-image")
    scale = min(1.0, (BIHARMONIC_PIXELS / mask.sum()) ** 0.5)
    small, hole = image, mask.astype(np.uint8)
    if scale < 1:
        # Hole pixels must not leak into the known rim when averaged: close the hole first.
        size = round(image.shape[1] * scale), round(image.shape[0] * scale)
        small = np.asarray(cv2.resize(telea(image, mask), size, interpolation=cv2.INTER_AREA))
        hole = np.asarray(cv2.resize(hole, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    filled = restoration.inpaint_biharmonic(small, hole.astype(bool), channel_axis=-1)
    filled = np.round(filled.clip(0, 1) * 255).astype(np.uint8)
    return np.asarray(cv2.resize(filled, image.shape[1::-1], interpolation=cv2.INTER_CUBIC))


def patchmatch(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """PatchMatch (Barnes et al., 2009), match and vote down a pyramid (Wexler et al., 2007), defaults."""
    package = _optional("patchmatch_cython", "patchmatch-cython")
    return np.asarray(package.inpaint_pyramid(image, mask, seed=0))


def builtin(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """This package's embedded default, all passes, seed 0."""
    global _engine
    if _engine is None:
        import restore

        _engine = restore.Engine()
    return np.asarray(_engine.inpaint(image, mask=mask.astype(np.uint8) * 255).image)


def draft(weights: Path, side: int = 128) -> Fill:
    """The draft network alone: the photo at `side` px on its longer side, the hole enlarged from there."""
    import torch
    from safetensors.torch import load_file

    from restore.pipelines.networks.draft import MULTIPLE, DraftNet

    net = DraftNet.from_weights(load_file(weights))

    @torch.inference_mode()
    def fill(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        scale = side / max(mask.shape)
        width, height = (max(1, round(n * scale / MULTIPLE)) * MULTIPLE for n in mask.shape[::-1])
        # Area-averaging known pixels alone keeps what the hole covered out of its rim.
        kept = (~mask).astype(np.float32)
        known = cv2.resize(kept, (width, height), interpolation=cv2.INTER_AREA)
        small = cv2.resize(image * kept[..., None], (width, height), interpolation=cv2.INTER_AREA)
        small = small / 255 / np.maximum(known, 1e-6)[..., None]
        hole = torch.from_numpy((known < 0.5).astype(np.float32))[None, None]
        drafted, _ = net.draft(torch.from_numpy(small).permute(2, 0, 1)[None].float(), hole)
        pixels = drafted[0].permute(1, 2, 0).numpy()
        large = cv2.resize(pixels, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        return np.round(large.clip(0, 1) * 255).astype(np.uint8)

    return fill


_engine: Any = None
METHODS: dict[str, Fill] = {
    "telea": telea,
    "ns": navier_stokes,
    "biharmonic": biharmonic,
    "patchmatch": patchmatch,
    "builtin": builtin,
}


def shiftmap(python: Path, data: Path, out: Path, limit: int | None) -> None:
    """OpenCV-contrib's SHIFTMAP over a folder, by the interpreter `python` (see xphoto_shiftmap.py)."""
    script = Path(__file__).with_name("xphoto_shiftmap.py")
    command = [str(python), str(script), str(data), str(out)]
    subprocess.run(command + ([] if limit is None else ["--limit", str(limit)]), check=True)


def _optional(module: str, package: str) -> Any:
    """The module, or `ModelUnavailableError` naming the package that has it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ModelUnavailableError(f"expected module {module}, not found; pip install {package}") from error
