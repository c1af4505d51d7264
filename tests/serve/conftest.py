"""One server for all tests here, and what is sent to it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import make_scene
from tests.serving import Running, png, ready, start

pytest.importorskip("fastapi", reason="needs the extra 'serve'")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = ready(start(tmp_path_factory.mktemp("serve") / "state"))
    yield running
    running.end()
    assert "Traceback" not in running.log.read_text()


@pytest.fixture(scope="session")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One place in the queue, little of everything, and a key."""
    few = ["--queue", "1", "--max-bytes", "200000", "--max-pixels", "1000000"]
    running = ready(start(tmp_path_factory.mktemp("strict") / "state", *few, RESTORE_API_KEY="s3cret"))
    yield running
    running.end()
    assert "Traceback" not in running.log.read_text()


@pytest.fixture(scope="session")
def photo() -> bytes:
    return png(make_scene())


@pytest.fixture(scope="session")
def hole_mask() -> NDArray[np.bool_]:
    mask = np.zeros((160, 200), bool)
    mask[70:110, 80:125] = True
    return mask


@pytest.fixture(scope="session")
def mask(hole_mask: NDArray[np.bool_]) -> bytes:
    """White is edited."""
    return png(hole_mask.astype(np.uint8) * np.uint8(255))


@pytest.fixture(scope="session")
def alpha_mask(hole_mask: NDArray[np.bool_]) -> bytes:
    """OpenAI's: transparent is edited."""
    colours = np.full((*hole_mask.shape, 4), 255, np.uint8)
    colours[hole_mask, 3] = 0
    return png(colours)
