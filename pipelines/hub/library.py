"""diffusers, imported so that nothing is fetched or said by what it imports."""

from __future__ import annotations

import contextlib
import logging
import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any


@cache
def diffusers() -> Any:
    """The library. It imports bitsandbytes where that is installed, which on some CPUs fetches code from the hub if it
    finds the package `kernels`, complains if not, and remarks on every layer of 8 bits."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    if "bitsandbytes" not in sys.modules and find_spec("bitsandbytes") is not None:
        with _without("kernels"), contextlib.suppress(Exception):  # a broken one is told of where it is needed
            import_module("bitsandbytes")
    return import_module("diffusers")


@contextlib.contextmanager
def _without(name: str) -> Any:
    """As if a package were not installed."""
    before = {name: sys.modules[name]} if name in sys.modules else {}
    sys.modules[name] = None  # type: ignore[assignment]  # what the import system takes for "not there"
    try:
        yield
    finally:
        del sys.modules[name]
        sys.modules.update(before)
