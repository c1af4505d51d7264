"""Fillers in one file, TorchScript or ONNX, of the four forms that are about, told by how many tensors they take.

- 1, MI-GAN's network: four channels, ½ − hole and the RGB in [−1, 1] without it, 512 × 512 (Sargsyan et al., "MI-GAN: A
  simple baseline for image inpainting on mobile devices", ICCV 2023).
- 2, LaMa and its like: RGB in [0, 1] and hole (Suvorov et al., "Resolution-robust large mask inpainting with Fourier
  convolutions", WACV 2022). MI-GAN's pipeline instead takes or answers bytes, and in its mask 0 = hole.
- 3 or 4, MAT: RGB in [−1, 1], mask with 1 = known, a normal style vector, a label of no classes, 512 × 512 (Li et al.,
  "MAT: Mask-aware transformer for large hole image inpainting", CVPR 2022).

A TorchScript may take more that are no tensors: truncation, noise mode, switches.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore.errors import ModelUnavailableError, one_line
from restore.pipelines.hub.crop import native_shape
from restore.pipelines.hub.guard import fault
from restore.pipelines.hub.inpaint import Image, Mask, OnStep, Shape, seeded

MULTIPLE = 8  # LaMa halves three times
NATIVE = 512  # side of the networks that take nothing else: MI-GAN's and MAT
STYLE = 512  # length of MAT's style vector
BARE: dict[str, Any] = {"float": 1.0, "number": 1.0, "int": 1, "str": "const", "bool": False}  # what MAT's program says
ONNX_TYPES = {"tensor(double)": np.float64, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}

Net = Callable[[Tensor, Tensor, torch.Generator], Tensor]


class FilePainter:
    """A network of RGB and hole in one file as a `Painter`. Raises ModelUnavailableError for a file of another kind."""

    edits = instructed = speaks = negative = False

    def __init__(self, path: Path, device: torch.device, size: int = 0) -> None:
        self.path, self.square = path, False
        self.size = size
        self.net = self._onnx(path) if path.suffix.lower() == ".onnx" else self._torchscript(path, device)

    def strength_for(self, steps: int, *, mend: bool) -> None:
        """It has none."""

    def several(
        self,
        image: Image,
        mask: Mask,
        prompt: str,
        negative: str,
        *,
        generators: Sequence[torch.Generator],
        **options: Any,
    ) -> Iterator[NDArray[np.float32]]:
        first: NDArray[np.float32] | None = None
        for generator in generators:
            picture = self(image, mask, prompt, negative, generator=generator, **options)
            if first is not None and np.array_equal(picture, first):  # it draws nothing
                return
            first = picture if first is None else first
            yield picture

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
        strength: float | None = None,
        on_step: OnStep | None = None,
    ) -> NDArray[np.float32]:
        pixels = torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32) / 255)
        try:
            out = self.net(pixels, torch.from_numpy(mask[None, None].astype(np.float32)), generator)
        except Exception as error:  # TorchScript and ONNX Runtime have errors of their own, derived from Exception only
            raise self._refused(error) from None
        if out.shape != pixels.shape:
            raise self._refused(ValueError(f"a picture of shape {tuple(out.shape)} for one of {tuple(pixels.shape)}"))
        if on_step is not None:
            on_step()
        scale = 255 if out.max() > 2 else 1  # exports differ: [0, 1] or [0, 255]
        picture = np.asarray(out[0].permute(1, 2, 0) / scale, np.float32)
        if wrong := fault(picture, image, mask):
            raise self._refused(ValueError(wrong))
        return picture.clip(0, 1)

    def _torchscript(self, path: Path, device: torch.device) -> Net:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit is old, and so are these files
                net = torch.jit.load(str(path), map_location=device).eval().float()
                inputs = net.forward.schema.arguments[1:]  # the first is the network itself
            tensors = [str(given.type) == "Tensor" for given in inputs].count(True)
            rest = _rest(inputs[tensors:])
            self._take(tensors)
        except (RuntimeError, ValueError, AttributeError) as error:
            raise self._refused(error) from None
        in_bytes = False

        @torch.inference_mode()
        def run(image: Tensor, hole: Tensor, generator: torch.Generator) -> Tensor:
            nonlocal in_bytes
            with seeded(generator, device):
                if not in_bytes:
                    out = _first(net(*(x.to(device) for x in given_to(tensors, image, hole, generator)), *rest))
                    in_bytes = out.dtype == torch.uint8
                if in_bytes:
                    out = _first(net(*(x.to(device) for x in as_bytes(image, hole)), *rest))
            return shown(tensors, out.cpu())

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
            inputs = session.get_inputs()
            self._take(len(inputs))
            height, width = inputs[0].shape[2:]
        except Exception as error:  # ONNX Runtime's own errors derive from Exception only
            raise self._refused(error) from None
        if isinstance(height, int) and isinstance(width, int):  # a file of one size: square crops of it
            self.size, self.square = max(height, width), True
        in_bytes = inputs[0].type == "tensor(uint8)"

        def run(image: Tensor, hole: Tensor, generator: torch.Generator) -> Tensor:
            given = as_bytes(image, hole) if in_bytes else given_to(len(inputs), image, hole, generator)
            named = {
                where.name: x.numpy().astype(ONNX_TYPES.get(where.type, np.float32))
                for where, x in zip(inputs, given, strict=True)
            }
            return shown(len(inputs), torch.from_numpy(session.run(None, named)[0]))

        return run

    def _take(self, tensors: int) -> None:
        """Square crops of the native size for a form that takes nothing else. Raises ValueError where it is none."""
        if not 1 <= tensors <= 4:
            raise ValueError(f"one of {tensors} inputs")
        if tensors != 2:
            self.size, self.square = self.size or NATIVE, True

    def _refused(self, error: Exception) -> ModelUnavailableError:
        return ModelUnavailableError(
            f"expected {self.path} to be a TorchScript or ONNX network of an image and a mask, got: {one_line(error)}"
        )


def given_to(tensors: int, image: Tensor, hole: Tensor, generator: torch.Generator) -> list[Tensor]:
    """What a network of so many tensors is given for an image (1, 3, h, w) in [0, 1] and its hole (1, 1, h, w)."""
    if tensors == 1:
        return [torch.cat([0.5 - hole, (2 * image - 1) * (1 - hole)], 1)]
    if tensors == 2:
        return [image, hole]
    return [2 * image - 1, 1 - hole, torch.randn(1, STYLE, generator=generator), torch.zeros(1, 0)][:tensors]


def shown(tensors: int, out: Tensor) -> Tensor:
    """The picture in [0, 1], or [0, 255] as some exports of LaMa have it, that such a network made."""
    if out.dtype == torch.uint8:
        return out.float() / 255
    return out.float() if tensors == 2 else out.float() / 2 + 0.5


def as_bytes(image: Tensor, hole: Tensor) -> list[Tensor]:
    """Image and mask as pipelines of bytes take them: 0 = hole, 255 = known."""
    return [(255 * image + 0.5).to(torch.uint8), (255 * (1 - hole)).to(torch.uint8)]


def _first(out: Any) -> Tensor:
    """The picture of a network that also returns an earlier stage's."""
    picture: Tensor = out[0] if isinstance(out, (tuple, list)) else out
    return picture


def _rest(inputs: Sequence[Any]) -> list[Any]:
    """Values of inputs that are no tensors: their own defaults, else MAT's. Raises ValueError for other types."""
    strange = [f"{x.name} ({x.type})" for x in inputs if not x.has_default_value() and str(x.type) not in BARE]
    if strange:
        raise ValueError(f"one that also takes {', '.join(strange)}")
    return [x.default_value if x.has_default_value() else BARE[str(x.type)] for x in inputs]
