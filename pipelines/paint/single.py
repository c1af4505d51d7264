"""A pipeline of one network, by the diffusers conventions: the component goes in, folders are saved and loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

if TYPE_CHECKING:
    from typing_extensions import Self


class Rebuilt(Protocol):
    """A network class that reads its sizes off a state dict."""

    def from_weights(self, weights: dict[str, Tensor]) -> Any: ...


Net = TypeVar("Net", bound=nn.Module)


class SingleNetPipeline(Generic[Net]):
    """Sub-classes say which network it is, how its file is called, and what `__call__` does with it."""

    network: ClassVar[Rebuilt]
    file: ClassVar[str]

    def __init__(self, net: Net) -> None:
        self.net = net.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def from_weights(cls, weights: dict[str, Tensor]) -> Self:
        return cls(cls.network.from_weights(weights))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """The pipeline that `save_pretrained` wrote."""
        return cls.from_weights(load_file(Path(folder) / cls.file))

    def save_pretrained(self, folder: str | Path) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        save_file({k: v.contiguous() for k, v in self.net.state_dict().items()}, Path(folder) / self.file)

    def to(self, device: torch.device | str) -> Self:
        self.net.to(device)
        return self
