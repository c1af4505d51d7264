"""Where many pictures are measured: the networks and the memory that options ask for, and progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from restore.errors import InputError, tell
from restore.images.mask import load_mask
from restore.images.photo import load_photo
from restore.measure.assessor import Assessor
from restore.measure.memory import Memory, default_memory
from restore.measure.options import MeasureOptions, StrPath
from restore.measure.pictures import Item, Record, assess_files
from restore.quality.features.folder import FolderNet
from restore.quality.features.pooled import OnnxNet
from restore.quality.judges.judge import Judgement
from restore.quality.metrics.giqa import MbcScore
from restore.settings import device_named

OnStep = Callable[[int, int], Any]
Failed = dict[str, str]  # "image", "error"
LEAST_REFERENCES = 8  # pictures that GIQA needs to know what the reference set looks like


class Bench:
    """nets: further feature networks by name, each an ONNX file or a folder. `on_step(done, total)` hears of every
    picture, and may return False to stop; `total` steps are made in all.

    Raises InputError, ModelUnavailableError for what cannot be opened.
    """

    def __init__(
        self,
        options: MeasureOptions,
        total: int,
        on_step: OnStep | None = None,
        nets: Mapping[str, StrPath] | None = None,
    ) -> None:
        self.options, self.total, self.done, self.on_step = options, total, 0, on_step
        loaded = {name: _net(Path(path)) for name, path in (nets or {}).items()}
        mbc = None if options.mbc is None else _mbc(Path(options.mbc))
        self.assessor = Assessor(device_named(options.device), loaded, mbc)
        kept = default_memory() if options.cache is None else Path(options.cache)
        self.memory = Memory(kept if options.remember else None)

    def measure(self, items: Sequence[Item], *, features: bool) -> list[Record]:
        """Records of `items` in their order. Raises Cancelled."""
        records = []
        for record in assess_files(items, self.assessor, self.memory, self.options.jobs, features=features):
            records.append(record)
            self.step()
        return records

    def step(self) -> None:
        """One more is done. Raises Cancelled."""
        self.done += 1
        tell(self.on_step, self.done, self.total)

    def judging(self, items: Sequence[Item]) -> Callable[[Path], Judgement | None]:
        """Judges the picture of an item again, for the map of its artifacts; None where it can no longer be read."""
        masks = {item.image: item.mask for item in items}

        def judged(path: Path) -> Judgement | None:
            try:
                photo, mask = load_photo(path), masks.get(path)
                return self.assessor.judge(photo.pixels, None if mask is None else load_mask(mask, photo.size))
            except InputError:
                return None

        return judged


def split(records: Sequence[Record]) -> tuple[list[Record], list[Failed]]:
    """(measured, failed). Raises InputError if there is nothing but failures."""
    failed = [{"image": str(r.image), "error": r.error} for r in records if r.error is not None]
    if len(failed) == len(records):
        more = f" ({len(failed) - 1} more failed)" if len(failed) > 1 else ""
        raise InputError(f"{failed[0]['error']}{more}")
    return [r for r in records if r.error is None], failed


def _net(path: Path) -> OnnxNet | FolderNet:
    return FolderNet(path) if path.is_dir() else OnnxNet(path)


def _mbc(path: Path) -> MbcScore:
    try:
        tensors = {name: value.float() for name, value in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: expected safetensors of 'restore train mbc', got: {error}") from None
    return MbcScore.of(tensors)
