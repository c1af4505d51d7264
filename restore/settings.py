"""Every setting of a run in one frozen place, with YAML on the way in."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore.errors import InputError, ModelUnavailableError

if TYPE_CHECKING:
    import torch

EMBEDDED = ("builtin", "instruct")  # models that come with the package
DEVICES = ("auto", "cpu", "cuda", "mps")
BITS = ("8bit", "4bit")  # what weights may be quantised to


@dataclass(frozen=True)
class Settings:
    """model: "builtin", a preset, hub id, folder or file; grounder, judge: likewise, what finds objects and judges.
    offline: never touch the network. passes: most passes over a hole (≥ 1). max_seconds: no pass is begun that
    would end later than this after the start, None: no limit. par: stop when PAR_hole is at or below this.
    candidates: fills per pass for the judge to choose from. steps: denoising steps of a sampled draft or of the
    model. seed: same seed, same bytes. shape_precision: how closely a painted object follows its mask, 0
    exactly … 1 within its box; None: by the mask's own form. lora: files of LoRAs for the model, "FILE" or
    "FILE:WEIGHT". transformer: a file (.gguf, .safetensors) of another transformer for the model; quantize: "8bit" or
    "4bit" weights, "": as stored. mark: tell of the edit in the result's XMP."""

    model: str = "builtin"
    grounder: str = "builtin"
    judge: str = "builtin"
    offline: bool = False
    device: str = "auto"
    seed: int = 0
    passes: int = 5
    max_seconds: float | None = None
    par: float = 0.05
    candidates: int = 3
    steps: int = 8
    shape_precision: float | None = None
    lora: tuple[str, ...] = ()
    transformer: str = ""
    quantize: str = ""
    mark: bool = True

    def __post_init__(self) -> None:
        for name in ("model", "grounder", "judge"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise InputError(f"expected {name} to be a name, got {getattr(self, name)!r}")
        for name in ("offline", "mark"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"expected {name} to be true or false, got {getattr(self, name)!r}")
        for name, least in (("passes", 1), ("candidates", 1), ("steps", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InputError(f"expected {name} to be a whole number of at least {least}, got {value!r}")
        if not isinstance(self.par, (int, float)) or not 0 <= self.par <= 1:
            raise InputError(f"expected par between 0 and 1 (share of bad pixels in the hole), got {self.par!r}")
        limit = self.max_seconds
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, (int, float)) or not limit > 0):
            raise InputError(f"expected max_seconds above 0, or none for no limit, got {self.max_seconds!r}")
        if self.shape_precision is not None and not (
            isinstance(self.shape_precision, (int, float)) and 0 <= self.shape_precision <= 1
        ):
            raise InputError(f"expected shape_precision between 0 and 1, got {self.shape_precision!r}")
        if not isinstance(self.lora, (list, tuple)) or not all(isinstance(file, str) for file in self.lora):
            raise InputError(f"expected lora to be a list of files, got {self.lora!r}")
        object.__setattr__(self, "lora", tuple(self.lora))
        if not isinstance(self.transformer, str):
            raise InputError(f"expected transformer to be a file, got {self.transformer!r}")
        if self.quantize not in ("", *BITS):
            raise InputError(f"expected quantize to be {' or '.join(BITS)}, got {self.quantize!r}")
        if self.model in EMBEDDED and self.changes:
            name = next(iter(self.changes))
            raise InputError(f"expected a --model for --{name} to change, got {self.model}; name its base")
        if self.device not in DEVICES:
            raise InputError(f"expected device to be one of {', '.join(DEVICES)}, got {self.device!r}")

    @property
    def changes(self) -> dict[str, Any]:
        """What is done to the model: its LoRAs, another transformer, fewer bits; empty where it is as it came."""
        found = {"lora": list(self.lora), "transformer": self.transformer, "quantize": self.quantize}
        return {name: value for name, value in found.items() if value}

    def updated(self, **changes: Any) -> Settings:
        """A copy with every change that is not None."""
        return replace(self, **{k: v for k, v in changes.items() if v is not None})


def load_settings(path: str | Path | None, **changes: Any) -> dict[str, Any]:
    """The settings that a YAML mapping (None: none) and the changes that are not None give, the latter winning.

    An unknown key is an error that names the nearest known one, a wrong value one that says what was expected.
    """
    values = load_mapping(path, [f.name for f in fields(Settings)]) if path is not None else {}
    values |= {k: v for k, v in changes.items() if v is not None}
    Settings(**values)
    return values


def load_mapping(path: str | Path, known: list[str]) -> dict[str, Any]:
    """A YAML mapping whose keys are all `known`. Raises InputError."""
    import yaml

    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise InputError(f"expected a readable YAML file, got {path} ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"expected YAML in {path}, got: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise InputError(f"expected 'key: value' lines in {path}, got {type(values).__name__}")
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"
            raise InputError(f"expected settings of restore in {path}, got unknown key '{key}'; {hint}")
    return values


def device_named(name: str) -> torch.device:
    """ "auto", "cpu", "cuda" or "mps" as a device of this machine. Raises ModelUnavailableError if it has none."""
    import torch

    have = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device("cuda" if have["cuda"] else "mps" if have["mps"] else "cpu")
    if not have[name]:
        raise ModelUnavailableError(f"expected device '{name}', but this machine has none; use --device auto")
    return torch.device(name)
