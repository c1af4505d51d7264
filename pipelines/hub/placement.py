"""Where a diffusers pipeline lies in memory, and what gives, one step at a time, when it does not fit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from restore.errors import ModelUnavailableError

HEADROOM = 2e9  # bytes of activations at a native size of 1024
MARGIN = 1.1  # of the weights: buffers, fragments

WHOLE, MODEL, LAYERS = "whole", "one component at a time", "one layer at a time"
TILES, SLICES = "the VAE in slices and tiles", "attention in slices"

T = TypeVar("T")
log = logging.getLogger("restore")


def dtype_for(wanted: str, stored: str, device: torch.device, *, transformer: bool) -> torch.dtype:
    """What to compute in: the preset's dtype (`wanted`, "" = none), else what the files hold (`stored`).

    float32 files are halved on an accelerator: to bfloat16 where the network is a transformer, of which many overflow
    in float16 (so float16 files of these are widened to bfloat16), to float16 where it is a UNet. On a CPU float16,
    which is slow and incomplete there, becomes float32.
    """
    half = "bfloat16" if transformer else "float16"
    if not wanted:
        wanted = stored if stored == "bfloat16" or (device.type == "cpu" and stored) else half
    if device.type == "cpu" and wanted == "float16":
        wanted = "float32"
    return {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}[wanted]


def placement(device: torch.device, free: float, weights: int, largest: int) -> str:
    """WHOLE, MODEL or LAYERS for a pipeline of `weights` bytes whose largest component has `largest`."""
    if device.type != "cuda" or free >= MARGIN * weights + HEADROOM:
        return WHOLE
    return MODEL if free >= MARGIN * largest + HEADROOM else LAYERS


class DeviceMemory:
    """Places a pipeline and runs calls of it; after "out of memory" takes the next step and runs the call again."""

    def __init__(self, pipe: Any, device: torch.device, name: str) -> None:
        self.pipe, self.device, self.name = pipe, device, name
        self._start()

    def _start(self) -> None:
        pipe, device, name = self.pipe, self.device, self.name
        sizes = [sum(p.numel() * p.element_size() for p in m.parameters()) for m in _modules(pipe)]
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else float("inf")
        start = placement(device, free, sum(sizes), max(sizes, default=0))
        if start == LAYERS and self._quantised:
            start = MODEL
        ladder = self._ladder()
        self._place(start)
        self.left = ladder[ladder.index(start) + 1 :] if start in ladder else ladder
        if start != WHOLE and TILES not in self.left:
            self._take(TILES)
        log.info("%s: %.2g GB of weights on %s, %s", name, sum(sizes) / 1e9, device, start)

    def run(self, call: Callable[[], T]) -> T:
        """What `call` returns. Raises ModelUnavailableError when it does not fit whatever is done."""
        while True:
            try:
                return call()
            except torch.OutOfMemoryError:
                pass  # out of the handler, so that the failed call's tensors are freed
            if not self.left:
                raise ModelUnavailableError(
                    f"expected enough memory on {self.device} for {self.name}, got too little even with "
                    f"{', '.join(self._ladder()) or 'everything as small as it goes'}; "
                    "use --device cpu, a smaller model or a preset of smaller size"
                )
            step = self.left.pop(0)
            log.warning("out of memory: %s now with %s", self.name, step)
            self._take(step)

    def widen(self) -> bool:
        """Compute in float32 from now on; False where it does so already, or its weights cannot be widened."""
        if self._quantised or all(p.dtype == torch.float32 for m in _modules(self.pipe) for p in m.parameters()):
            return False
        try:
            self.pipe.remove_all_hooks()
            self.pipe.to("cpu")
            self.pipe.to(dtype=torch.float32)
        except (RuntimeError, ValueError, NotImplementedError):
            return False
        self._start()
        return True

    @property
    def _quantised(self) -> bool:
        """Whether any part has weights of few bits, which are not widened, nor moved layer by layer."""
        return any(getattr(m, "is_quantized", False) for m in _modules(self.pipe))

    def _ladder(self) -> list[str]:
        """Steps from cheap to slow that this pipeline and device offer."""
        steps = []
        if any(hasattr(m, "enable_tiling") for m in _modules(self.pipe)):
            steps.append(TILES)
        if any(hasattr(m, "set_attention_slice") for m in _modules(self.pipe)):
            steps.append(SLICES)
        if self.device.type != "cuda":
            return steps
        return [*steps, MODEL] if self._quantised else [*steps, MODEL, LAYERS]

    def _place(self, where: str) -> None:
        if where == WHOLE:
            self.pipe.to(self.device)
        else:
            self._take(where)

    def _take(self, step: str) -> None:
        if step == TILES:
            for module in _modules(self.pipe):
                for enable in ("enable_slicing", "enable_tiling"):
                    if hasattr(module, enable):
                        getattr(module, enable)()
        elif step == SLICES:
            self.pipe.enable_attention_slicing()
        elif step == MODEL:
            self.pipe.enable_model_cpu_offload(device=self.device)
        elif step == LAYERS:
            self.pipe.enable_sequential_cpu_offload(device=self.device)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _modules(pipe: Any) -> list[torch.nn.Module]:
    return [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
