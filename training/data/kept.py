"""Samples that cost more to make than to read: kept on disk, used several times (Choi et al., "Faster neural network
training with data echoing", 2019)."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from restore.errors import InputError
from restore.images.files import reason

Sample = dict[str, Tensor]


class KeptSamples:
    """The samples 0, 1, 2, … of a `make` that depends on their number only, in a file of bounded size.

    Sample i lies in slot i mod `slots` until another one takes the slot; one that is absent is made. So what is given
    never depends on what the file holds.
    """

    def __init__(self, folder: Path, key: str, gigabytes: float, make: Callable[[int], Sample]) -> None:
        """folder: of one run, whose processes take the same step at a time. key: whatever `make` depends on beside the
        number; each has a file of its own. Raises InputError when it has no room or takes no whole sample.
        """
        self.make = make
        example = {name: _stored(value) for name, value in make(0).items()}
        layout = [("number", np.dtype("<i8"), ()), *((name, a.dtype, a.shape) for name, a in example.items())]
        row = np.dtype(layout)
        path = folder / f"kept-{hashlib.sha256(f'{key} {layout}'.encode()).hexdigest()[:12]}.bin"
        try:
            taken = getattr(path.stat(), "st_blocks", 0) * 512 if path.exists() else 0
            room = taken + shutil.disk_usage(folder).free  # a write to a map of a full disk kills the process
            if not row.itemsize <= gigabytes * 1e9 <= room:
                raise InputError(
                    f"expected kept_gb between {row.itemsize / 1e9:.2g}, one sample, and the free {room / 1e9:.0f} of "
                    f"{folder}, got {gigabytes}"
                )
            self.slots, self.names = int(gigabytes * 1e9 / row.itemsize), list(example)
            with path.open("r+b" if path.exists() else "x+b") as file:
                file.truncate(self.slots * row.itemsize)
            self.rows = np.memmap(path, row, "r+", shape=(self.slots,))
        except OSError as error:
            raise InputError(f"{path}: expected a file that can be written to, got: {reason(error)}") from None

    def __getitem__(self, numbers: Sequence[int]) -> Sample:
        """Samples of `numbers`, no two in one slot, stacked; floats as they were rounded to half precision."""
        slots = [number % self.slots for number in numbers]
        for number, slot in zip(numbers, slots, strict=True):
            if self.rows["number"][slot] != number + 1:  # an empty slot has 0
                self._put(number, slot)
        return {name: _loaded(self.rows[name][slots]) for name in self.names}

    def _put(self, number: int, slot: int) -> None:
        sample = self.make(number)
        self.rows["number"][slot] = 0  # whoever is cut off here leaves an empty slot
        for name, value in sample.items():
            self.rows[name][slot] = _stored(value)
        self.rows["number"][slot] = number + 1


def _stored(value: Tensor) -> np.ndarray:
    value = value.cpu()
    return (value.half() if value.is_floating_point() else value).numpy()


def _loaded(values: np.ndarray) -> Tensor:
    tensor = torch.from_numpy(np.asarray(values))
    return tensor.float() if tensor.is_floating_point() else tensor
