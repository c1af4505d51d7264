"""As much of ComfyUI's V3 API as the nodes use: a stand-in, not ComfyUI."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Socket:
    """One input or output: its kind, and what was said of it."""

    kind: str
    id: str = ""
    said: dict[str, Any] = field(default_factory=dict)


def _kind(name: str) -> Any:
    known = {"default", "min", "max", "step", "tooltip", "optional", "control_after_generate"}

    def take(id: str, **said: Any) -> Socket:
        assert said.keys() <= known, said.keys() - known
        return Socket(name, id, said)

    return types.SimpleNamespace(Input=take, Output=lambda **said: Socket(name, said.get("display_name", ""), said))


@dataclass
class Schema:
    node_id: str
    display_name: str
    category: str
    description: str
    inputs: list[Socket]
    outputs: list[Socket]


class NodeOutput:
    def __init__(self, *args: Any) -> None:
        self.args = args


class ComfyNode:
    pass


class ComfyExtension:
    pass


class Interrupted(Exception):
    """What ComfyUI's bar raises when the user stops a run."""


class ProgressBar:
    seen: list[int] = []  # noqa: RUF012
    stop_at: int | None = None

    def __init__(self, total: int) -> None:
        self.total = total

    def update_absolute(self, value: int) -> None:
        assert 0 <= value <= self.total
        ProgressBar.seen.append(value)
        if ProgressBar.stop_at is not None and value >= ProgressBar.stop_at:
            raise Interrupted


def install() -> None:
    """Make `comfy.utils` and `comfy_api.latest` importable."""
    kinds = {name: _kind(name.upper()) for name in ("Image", "Mask", "String", "Int", "Float")}
    io = types.SimpleNamespace(Schema=Schema, NodeOutput=NodeOutput, ComfyNode=ComfyNode, **kinds)
    for name, content in {
        "comfy": {},
        "comfy.utils": {"ProgressBar": ProgressBar},
        "comfy_api": {},
        "comfy_api.latest": {"io": io, "ComfyExtension": ComfyExtension},
    }.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        sys.modules[name] = module
