"""The ComfyUI nodes, against a stand-in for its API (comfy_stub.py); ComfyUI itself is not installed here."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.plugins import comfy_stub
from tests.plugins.comfy_stub import Interrupted, NodeOutput, ProgressBar

FOLDER = Path(__file__).parents[2] / "plugins/comfyui"
FAST = {"seed": 0, "passes": 1, "candidates": 1, "par": 0.05}


@pytest.fixture(scope="module")
def nodes(engine: Any) -> Iterator[Any]:
    """The package as ComfyUI loads it, from its folder; on the tests' engine."""
    before = set(sys.modules)
    comfy_stub.install()
    spec = importlib.util.spec_from_file_location("comfy_restore", FOLDER / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["comfy_restore"] = package
    spec.loader.exec_module(package)
    module = sys.modules["comfy_restore.nodes"]
    module.engine = lambda: engine  # type: ignore[attr-defined]
    yield module
    for name in set(sys.modules) - before:
        if name.startswith(("comfy", "comfy_api", "comfy_restore")):
            del sys.modules[name]


@pytest.fixture
def image(scene: np.ndarray) -> torch.Tensor:
    """Two pictures of floats that no byte stands for."""
    batch = torch.from_numpy(np.stack([scene, scene[::-1]])).float() / 255
    return (batch + 0.0007).clamp(0, 1)


def test_every_node_takes_what_its_schema_says(nodes: Any) -> None:
    extension = asyncio.run(sys.modules["comfy_restore"].comfy_entrypoint())
    found = asyncio.run(extension.get_node_list())
    assert [node.__name__ for node in found] == ["RestoreInpaint", "RestoreRefine", "RestoreAssess", "RestoreSegment"]
    for node in found:
        schema = node.define_schema()
        taken = inspect.signature(node.execute).parameters
        assert schema.node_id == node.__name__
        assert {socket.id for socket in schema.inputs} == set(taken)
        for socket in schema.inputs:
            assert bool(socket.said.get("optional")) == (taken[socket.id].default is not inspect.Parameter.empty)


def test_only_the_mask_changes_and_batches_change_nothing(nodes: Any, image: torch.Tensor, hole: np.ndarray) -> None:
    mask = torch.from_numpy(hole).float()[None]
    before = image.clone()
    out, repainted = nodes.RestoreInpaint.execute(image, "", mask=mask, **FAST).args
    assert torch.equal(image, before)
    assert out.shape == image.shape
    assert torch.equal(repainted, mask.expand(2, -1, -1))
    assert torch.equal(out[:, ~hole], image[:, ~hole])
    assert not torch.equal(out[:, hole], image[:, hole])
    alone = nodes.RestoreInpaint.execute(image[1:], "", mask=mask[0], **FAST).args[0]
    assert torch.equal(alone[0], out[1])
    assert ProgressBar.seen[-1] <= 1000


def test_artifacts_are_a_mask(nodes: Any, image: torch.Tensor, hole: np.ndarray) -> None:
    result = nodes.RestoreAssess.execute(image, mask=torch.from_numpy(hole).float())
    assert isinstance(result, NodeOutput)
    artifacts, quality, par = result.args
    assert artifacts.shape == image.shape[:3]
    assert 0 <= float(artifacts.min()) <= float(artifacts.max()) <= 1
    assert 0 <= par <= 1
    assert 0 <= quality <= 100


def test_refining_and_finding(nodes: Any, image: torch.Tensor, hole: np.ndarray, monkeypatch: Any) -> None:
    one, mask = image[:1], torch.from_numpy(hole).float()[None]
    out, _ = nodes.RestoreRefine.execute(one, mask=mask, **FAST).args
    assert torch.equal(out[:, ~hole], one[:, ~hole])
    instance = type("Found", (), {"mask": hole, "score": 0.5})()
    monkeypatch.setattr(nodes, "engine", lambda: type("E", (), {"segment": lambda *_, **__: instance})())
    masks, score = nodes.RestoreSegment.execute(image, "the hole").args
    assert torch.equal(masks, mask.expand(2, -1, -1))
    assert score == 0.5


def test_one_channel_and_alpha(nodes: Any, image: torch.Tensor, hole: np.ndarray) -> None:
    mask = torch.from_numpy(hole).float()
    for channels in (image[:1, ..., :1], torch.cat([image[:1], image[:1, ..., :1]], -1)):
        out = nodes.RestoreInpaint.execute(channels, "", mask=mask, **FAST).args[0]
        assert out.shape == channels.shape
        assert torch.equal(out[:, ~hole], channels[:, ~hole])
        assert torch.equal(out[..., 3:], channels[..., 3:])


def test_the_user_stops_it(nodes: Any, image: torch.Tensor, hole: np.ndarray, monkeypatch: Any) -> None:
    monkeypatch.setattr(ProgressBar, "stop_at", 1)
    with pytest.raises(Interrupted):
        nodes.RestoreInpaint.execute(image, "", mask=torch.from_numpy(hole).float(), **FAST)


@pytest.mark.parametrize("shape", [(1, 9, 9), (3, 160, 200)])
def test_masks_that_do_not_fit_are_told(nodes: Any, image: torch.Tensor, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected a mask of 200 × 160 pixels, one or 2, got"):
        nodes.RestoreInpaint.execute(image, "", mask=torch.zeros(shape), **FAST)
