"""How many workers this machine bears."""

from __future__ import annotations

import os
import shutil

import psutil

from restore.batching.job import Job
from restore.settings import EMBEDDED

NEED = 1.5e9  # bytes of memory a worker takes with the embedded models and photos of some ten megapixels
SHARE = 0.8  # of the free memory that may be taken


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus_here(device: str) -> int:
    """CUDA devices, where these are asked for or left to choose; torch is asked only where there may be one."""
    if device not in ("auto", "cuda") or shutil.which("nvidia-smi") is None:
        return 0
    import torch

    return torch.cuda.device_count()


def workers_for(job: Job, gpus: int) -> int:
    """One per GPU; else one per core (or `threads` of them) as far as memory goes, one with other people's models."""
    if gpus:
        return gpus
    if job.settings.get("model", EMBEDDED[0]) not in EMBEDDED or job.settings.get("device") == "mps":
        return 1
    return max(1, min(cores() // job.threads, int(SHARE * psutil.virtual_memory().available / NEED)))
