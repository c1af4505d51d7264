"""Pictures the tests make themselves, and a network that nothing may ask for."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

from restore.cli import main


def make_scene(height: int = 160, width: int = 200, seed: int = 0) -> NDArray[np.uint8]:
    """Sky over textured ground, (H, W, 3) uint8: something to copy from everywhere."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    sky = np.stack([90 + 60 * y / height, 130 + 50 * y / height, np.full(y.shape, 210.0)], -1)
    stripes = 110 + 30 * np.sin(x / 5) + 20 * np.sin(y / 3)
    ground = np.stack([stripes, stripes * 0.8, stripes * 0.5], -1)
    scene = np.where((y > height * 0.45)[..., None], ground, sky) + rng.normal(0, 3, (height, width, 1))
    return scene.clip(0, 255).astype(np.uint8)


@pytest.fixture
def scene() -> NDArray[np.uint8]:
    return make_scene()


@pytest.fixture
def hole(scene: NDArray[np.uint8]) -> NDArray[np.bool_]:
    mask = np.zeros(scene.shape[:2], bool)
    mask[70:110, 80:125] = True
    return mask


@pytest.fixture(scope="session")
def engine() -> object:
    """The shipped engine, loaded once for all tests."""
    from restore import Engine

    return Engine(device="cpu")


@pytest.fixture
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here may ask for it, and `--offline` is not left behind."""

    def refuse(*_: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", "")


def inpaint(folder: Path, *options: Any) -> Any:
    """The command on a small scene in the folder, one pass of one candidate."""
    photo = folder / "photo.png"
    if not photo.exists():
        Image.fromarray(make_scene(97, 131)).save(photo)
    command = ["inpaint", photo, "--box", "40,30,30,30", "--passes", 1, "--candidates", 1, "--overwrite", *options]
    return CliRunner().invoke(main, [str(part) for part in command])
