"""Fillers in one file, TorchScript or ONNX, of the three forms that are about.

LaMa and its like: RGB in [0, 1] and mask, 1 = hole (Suvorov et al., "Resolution-robust large mask inpainting with
Fourier convolutions", WACV 2022). MI-GAN as TorchScript: one input of four channels, ½ − mask and the RGB in [−1, 1]
without its hole, 512 × 512; as an ONNX pipeline: RGB and mask in uint8, 0 = hole (Sargsyan et al., ICCV 2023).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from restore.errors import ModelUnavailableError, one_line
from restore.pipelines.hub.crop import native_shape
from restore.pipelines.hub.guard import fault
from restore.pipelines.hub.inpaint import Image, Mask, OnStep, Shape

MULTIPLE = 8  # LaMa halves three times
ONE_INPUT = 512  # side of networks of one input, which take nothing else

Pixels = NDArray[np.float32]
Net = Callable[[Pixels, Pixels], Any]


class FilePainter:
    """A network of RGB (1, 3, h, w) in [0, 1] and mask (1, 1, h, w), 1 = hole, or of a form that these are brought
    to, as a `Painter`.

    Raises ModelUnavailableError where the file is of another kind.
    """

    edits = instructed = speaks = negative = False

    def __init__(self, path: Path, device: torch.device, size: int = 0) -> None:
        self.path, self.square = path, False
        self.size = size
        self.net = self._onnx(path) if path.suffix.lower() == ".onnx" else self._torchscript(path, device)

    def shape_for(self, crop: Shape) -> Shape:
        return native_shape(crop, self.size, MULTIPLE, square=self.square)

    def __call__(
        self,
        image: Image,
        mask: Mask,
        prompt: str,
        negative: str,
        *,
        generator: torch.Generator,
        num_inference_steps: int,
        on_step: OnStep | None = None,
    ) -> NDArray[np.float32]:
        pixels = image.transpose(2, 0, 1)[None].astype(np.float32) / 255
        try:
            out = self.net(np.ascontiguousarray(pixels), mask[None, None].astype(np.float32))
        except Exception as error:  # TorchScript and ONNX Runtime have errors of their own, derived from Exception only
            raise self._refused(error) from None
        if out.shape != pixels.shape:
            raise self._refused(ValueError(f"a picture of shape {out.shape} for one of {pixels.shape}"))
        if on_step is not None:
            on_step()
        scale = 255 if out.max() > 2 else 1  # exports differ: [0, 1] or [0, 255]
        picture = np.asarray(out[0].transpose(1, 2, 0) / scale, np.float32)
        if wrong := fault(picture, image, mask):
            raise self._refused(ValueError(wrong))
        return picture.clip(0, 1)

    def _torchscript(self, path: Path, device: torch.device) -> Net:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit is old, and so are these files
                net = torch.jit.load(str(path), map_location=device).eval()
                inputs = len(list(net.graph.inputs())) - 1  # the first is the network itself
        except (RuntimeError, ValueError) as error:
            raise self._refused(error) from None

        if inputs == 1:
            self.size, self.square = self.size or ONE_INPUT, True

        @torch.inference_mode()
        def run(image: Pixels, mask: Pixels) -> Any:
            x, hole = torch.from_numpy(image).to(device), torch.from_numpy(mask).to(device)
            if inputs == 1:
                out = net(torch.cat([0.5 - hole, (2 * x - 1) * (1 - hole)], 1))
                return (out.float() / 2 + 0.5).cpu().numpy()
            return net(x, hole).float().cpu().numpy()

        return run

    def _onnx(self, path: Path) -> Net:
        try:
            import onnxruntime
        except ImportError:
            raise ModelUnavailableError(
                "expected onnxruntime to run an ONNX file, found none; pip install 'restore[onnx]'"
            ) from None
        try:
            session = onnxruntime.InferenceSession(str(path), providers=onnxruntime.get_available_providers())
            image, mask = session.get_inputs()
        except Exception as error:  # ONNX Runtime's own errors derive from Exception only
            raise self._refused(error) from None
        height, width = image.shape[2:]
        if isinstance(height, int) and isinstance(width, int):  # a file of one size: square crops of it
            self.size, self.square = max(height, width), True
        if image.type == "tensor(uint8)":
            return lambda pixels, hole: session.run(None, {
                image.name: (pixels * 255 + 0.5).astype(np.uint8), mask.name: np.uint8(255) * (hole < 0.5)
            })[0].astype(np.float32) / 255  # fmt: skip
        return lambda pixels, hole: session.run(None, {image.name: pixels, mask.name: hole})[0]

    def _refused(self, error: Exception) -> ModelUnavailableError:
        return ModelUnavailableError(
            f"expected {self.path} to be a TorchScript or ONNX network of an image and a mask, got: {one_line(error)}"
        )
