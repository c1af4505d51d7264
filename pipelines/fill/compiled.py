"""Loops that neither NumPy nor torch has words for, as machine code."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """The function compiled by numba at its first call: kept on disk for the next process where that may be written,
    and run without the interpreter's lock."""
    try:
        return cast(Function, njit(cache=True, nogil=True)(function))
    except RuntimeError:  # neither the package's folder nor the user's cache can be written to
        return cast(Function, njit(nogil=True)(function))
