"""Batches on a Ray cluster of two nodes: `pytest -m cluster`."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import psutil
import pytest

from tests.batching.test_batch_runs import _wait, check_whole, photos, start

pytestmark = pytest.mark.cluster
ray = pytest.importorskip("ray")


@pytest.fixture
def address(monkeypatch):
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_worker_niceness", "0")  # else starved where something else computes

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()


def actors(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cmdline()[:1] and "ray::MapWorker" in process.cmdline()[0] and Path(process.cwd()) == folder:
                found.append(process)
    return found


def test_two_nodes_a_killed_worker_and_a_killed_driver(tmp_path, address, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    source, out = photos(tmp_path / "in", 60), tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    options = ("--engine", "ray", "--address", address, "--workers", "2")
    driver = start(source, out, *options)
    _wait(lambda: len(list(out.rglob("*.jpg"))) > 2, driver, 180)
    assert len(actors(tmp_path)) == 2
    actors(tmp_path)[0].kill()
    count = len(list(out.rglob("*.jpg")))
    _wait(lambda: len(list(out.rglob("*.jpg"))) > count + 4, driver, 180)
    driver.kill()
    driver.communicate()
    _wait(lambda: not actors(tmp_path), seconds=60)
    done = len(list(out.rglob("*.jpg")))
    assert done < 60
    last = start(source, out, *options)
    stdout, stderr = last.communicate(timeout=300)
    assert last.returncode == 0, stderr
    assert json.loads(stdout)["before"] + json.loads(stdout)["done"] == 60
    check_whole(source, out)
    local = start(source, tmp_path / "local", "--workers", "1")
    local.communicate(timeout=300)
    for path in source.rglob("*.jpg"):
        name = path.relative_to(source)
        assert (out / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
