"""The executor of a cluster: Ray Data over the lines of a plan. Pixels never enter the object store.

Every block is one unit of a few items, so that Ray's retry of a block repeats little: what its dead actor had finished
lies there with a receipt. Our ledger, not Ray's checkpoints, says what is done. The output folder has to be one that
every node sees under the same path.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from restore.batching.job import Job
from restore.batching.lease import watch
from restore.batching.plan import Item
from restore.batching.record import Record
from restore.batching.resources import NEED, cores
from restore.errors import InputError, ModelUnavailableError

CHUNK = 50_000  # items that the driver hands to Ray at once: bounds its memory
UNITS = 16  # units that a worker should have at least, so that the last ones end together
LARGEST = 64  # items of a unit


class RayData:
    """Yields records of items as units end. workers: actors, None: as many as the cluster's CPUs or GPUs bear."""

    def __init__(self, job: Job, token: str, workers: int | None, address: str | None) -> None:
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # read when Ray is imported; its log files have it all
        try:
            import ray.data
        except ImportError:
            raise InputError("--engine ray: expected the package ray; pip install 'restore[ray]'") from None
        self.ray, self.job, self.token, self.address = ray, job, token, address
        self.workers = workers

    def __call__(self, items: Iterable[Item]) -> Iterator[Record]:
        """Raises ModelUnavailableError, InputError for a cluster that is not there."""
        stream, ray = iter(items), self.ray
        begun = self._connect()
        try:
            while chunk := [json.dumps(item) for item in islice(stream, CHUNK)]:
                yield from self._records(chunk)
        except ray.exceptions.RayError as error:
            raise ModelUnavailableError(f"expected Ray to work, got: {str(error).strip().splitlines()[-1]}") from None
        finally:
            if begun:
                ray.shutdown()

    def _records(self, chunk: list[str]) -> Iterator[Record]:
        ray, total = self.ray, self.ray.cluster_resources()
        gpus = int(total.get("GPU", 0)) if self.job.settings.get("device", "auto") in ("auto", "cuda") else 0
        workers = self.workers or gpus or max(1, int(total.get("CPU", 1)) // self.job.threads)
        size = max(1, min(LARGEST, len(chunk) // (workers * UNITS)))
        made = {"job": self.job.as_json(), "token": self.token, "folder": os.getcwd()}
        data = ray.data.from_items([{"item": line} for line in chunk], override_num_blocks=-(-len(chunk) // size))
        done = data.map_batches(
            Unit,
            batch_size=size,
            batch_format="numpy",
            fn_constructor_kwargs=made,
            compute=ray.data.ActorPoolStrategy(size=min(workers, -(-len(chunk) // size))),
            num_cpus=self.job.threads,
            num_gpus=1 if gpus else None,
            memory=NEED if self.address is not None else None,
        )
        for rows in done.iter_batches(batch_size=None, prefetch_batches=0):
            for line in rows["record"]:
                yield json.loads(str(line))

    def _connect(self) -> bool:
        """Whether a Ray was begun, or entered, that has to be left."""
        ray = self.ray
        if ray.is_initialized():
            return False
        root = str(Path(__file__).parents[2])
        environment = {"PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
        own = (
            {}
            if self.address is not None
            else {"num_cpus": max(cores(), self.workers or 1), "include_dashboard": False}
        )
        try:
            for name in ("ray", "ray.data"):
                logging.getLogger(name).setLevel(logging.ERROR)
            ray.init(
                address=self.address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={"env_vars": environment},
                **own,
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise InputError(f"--address {self.address}: expected a Ray cluster, got: {error}") from None
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        return True


class Unit:
    """The worker as an actor."""

    def __init__(self, job: dict[str, Any], token: str, folder: str) -> None:
        os.chdir(folder)
        from restore.batching.worker import Worker

        made = Job(**job)
        watch(made.home / "lease", token, lambda: os._exit(1))
        self.worker = Worker(made, token)
        self.worker.warm()

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        if self.worker.is_worn():
            os._exit(0)  # Ray starts another one, and gives it these rows
        return {"record": [json.dumps(self.worker(json.loads(str(line))), default=str) for line in rows["item"]]}
