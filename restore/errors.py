"""Everything this package raises on purpose.

    RestoreError                exit code
    ├── InputError              2    bad usage, unreadable or mismatched input
    ├── ObjectNotFoundError     3    the named object is not in the photo
    │   └── UnsureError         3    what was found may be something else
    ├── ModelUnavailableError   4    a model is not on this machine
    └── Cancelled               130  the caller asked to stop

A message says in one line what was expected, what was found and what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class RestoreError(Exception):
    """Base of all errors of this package; `exit_code` is what the command line returns."""

    exit_code = 1


class InputError(RestoreError, ValueError):
    """The caller's input cannot be used as it is."""

    exit_code = 2


class ObjectNotFoundError(RestoreError):
    """The photo does not seem to hold the object that the instruction names."""

    exit_code = 3


class UnsureError(ObjectNotFoundError):
    """What was found may not be what the instruction names; `candidates`: each one's score, box (x, y, w, h) and
    whether it was chosen, best first."""

    def __init__(self, message: str, candidates: list[dict[str, Any]]) -> None:
        super().__init__(message)
        self.candidates = candidates


class ModelUnavailableError(RestoreError):
    """The model asked for is not here, and may not or cannot be fetched."""

    exit_code = 4


class Cancelled(RestoreError):
    """A callback or signal asked the engine to stop."""

    exit_code = 130


def tell(callback: Callable[..., Any] | None, *values: Any) -> None:
    """Call it, if there is one. Raises Cancelled where it answers False."""
    if callback is not None and callback(*values) is False:
        raise Cancelled("stopped by the caller before the result was complete; nothing was written")


def one_line(error: BaseException, most: int = 300) -> str:
    """What somebody else's exception says, in one line: its whole message, or its kind where it says nothing."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, (AttributeError, KeyError, NameError, AssertionError, NotImplementedError)):
        text = f"{type(error).__name__}: {text}"
    return text if len(text) <= most else text[: most - 1] + "…"
