"""Pooled EfficientNet-Lite0 features of photos or crops around holes: what `restore.quality.metrics.sets` compares.

Block 10 (112 channels, stride 16), not the 1280 of the classifier's head: a covariance wants more
samples than dimensions, and small evaluation sets have a hundred holes, not ten thousand. Several crops
around each hole raise the count further; they overlap, so they are worth less than as many photos.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from restore.errors import InputError, ModelUnavailableError
from restore.features.lite0 import Lite0

BLOCK = 10
SIDE = 224  # Lite0's training size
Window = tuple[int, int, int]  # top, left, side in pixels


def hole_windows(mask: np.ndarray, count: int, rng: np.random.Generator) -> list[Window]:
    """`count` square windows around the hole of `mask` (H, W) bool, all inside the image.

    The first is centred with a side of 1.5× the hole box's longer side; the others vary the side
    (1.25–1.75×) and the centre (± an eighth of the side). Sides end at the image's shorter side.
    Raises InputError for an empty mask.
    """
    ys, xs = np.nonzero(mask)
    if len(ys) == 0:
        raise InputError("expected a mask with a hole, got an empty one; there is nothing to compare")
    centre = np.array([ys.min() + ys.max() + 1, xs.min() + xs.max() + 1]) / 2
    longer = max(np.ptp(ys), np.ptp(xs)) + 1
    windows = []
    for i in range(count):
        grow, shift = (1.5, np.zeros(2)) if i == 0 else (rng.uniform(1.25, 1.75), rng.uniform(-1, 1, 2) / 8)
        side = int(min(*mask.shape, max(16, round(grow * longer))))
        corner = np.round(centre + shift * side - side / 2).clip(0, np.array(mask.shape) - side)
        windows.append((int(corner[0]), int(corner[1]), side))
    return windows


def crop_features(lite0: Lite0, image: Tensor, windows: list[Window], block: int = BLOCK) -> np.ndarray:
    """Mean over cells of a block for each window of `image` (3, H, W) RGB in [0, 1]: (len(windows), 112).

    Give the real and the filled photo the same windows: rows are then pairs.
    """
    crops = torch.cat([_resized(image[:, y : y + side, x : x + side]) for y, x, side in windows])
    return _pooled(lite0, crops, block)


def photo_features(lite0: Lite0, image: Tensor) -> np.ndarray:
    """Mean over cells of block 10 of a whole `image` (3, H, W) RGB in [0, 1], squeezed to 224×224: (112,)."""
    return np.asarray(_pooled(lite0, _resized(image))[0])


class OnnxNet:
    """Any network from an ONNX file, as features for sets or as a face recogniser. Needs onnxruntime.

    Its one input is NCHW float32, fed RGB scaled to [`low`, `high`] and resized to the size the file declares.
    Raises InputError where the file is missing or of another kind, ModelUnavailableError without onnxruntime.
    """

    def __init__(self, path: Path, low: float = -1.0, high: float = 1.0) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise ModelUnavailableError(
                "expected onnxruntime to run an ONNX file, found none; pip install 'restore[onnx]'"
            ) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        try:
            data = Path(path).read_bytes()
            self.session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            (entry,) = self.session.get_inputs()
            height, width = entry.shape[2:]
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{path}: expected an ONNX network with one NCHW input, got: {reason}") from error
        except Exception as error:  # onnxruntime's own errors derive from Exception only
            raise InputError(f"{path}: expected a readable ONNX network, got: {str(error).splitlines()[0]}") from error
        self.input, self.low, self.high = entry.name, low, high
        self.size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
        self.digest = hashlib.sha256(data + f"{low} {high}".encode()).hexdigest()

    def __call__(self, images: Tensor) -> np.ndarray:
        """(N, 3, H, W) RGB in [0, 1] → (N, D), the first output, spatial axes averaged."""
        if self.size is not None and images.shape[-2:] != self.size:
            images = F.interpolate(images, size=self.size, mode="bilinear", antialias=True, align_corners=False)
        scaled = (self.low + (self.high - self.low) * images).float().cpu().numpy()
        (out, *_) = self.session.run(None, {self.input: scaled})
        return np.asarray(out.reshape(*out.shape[:2], -1).mean(2), np.float32)


@torch.inference_mode()
def _pooled(lite0: Lite0, images: Tensor, block: int = BLOCK) -> np.ndarray:
    (features,) = lite0.features(images, (block,))
    return np.asarray(features.float().mean((2, 3)).cpu().numpy())


def _resized(crop: Tensor) -> Tensor:
    return F.interpolate(crop[None], size=(SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
