"""Writes docs/api.md from the docstrings of what is public: python -m scripts.api_page."""

from __future__ import annotations

import inspect
import textwrap
from pathlib import Path
from typing import Any

import restore

HEAD = """# Python API

Made by `python -m scripts.api_page` from the docstrings; a test compares. How to use it: [embedding.md](embedding.md).
"""


def page() -> str:
    """The page as Markdown."""
    parts = [HEAD]
    for name in restore.__all__:
        parts.append(_entry(name, getattr(restore, name)))
    return "\n".join(parts)


def _entry(name: str, what: Any) -> str:
    lines = [f"## {name}", "", _signature(name, what), _text(what)]
    if inspect.isclass(what) and not issubclass(what, BaseException):
        for member, value in _members(what):
            lines += [f"### {name}.{member}", "", _signature(member, value, method=True), _text(value)]
    return "\n".join(lines)


def _members(kind: type) -> list[tuple[str, Any]]:
    """Public methods and properties, in the order of the sources, the class's own first."""
    found: dict[str, Any] = {}
    for base in kind.__mro__:
        if base.__module__.startswith("restore"):
            for name, value in vars(base).items():
                wanted = inspect.isfunction(value) or isinstance(value, property)
                if wanted and not name.startswith("_"):
                    found.setdefault(name, value)
    return [(name, value) for name, value in found.items() if _doc(value)]


def _signature(name: str, what: Any, *, method: bool = False) -> str:
    """How it is called, as a block of code; nothing of a property or an error."""
    if isinstance(what, property) or (inspect.isclass(what) and issubclass(what, BaseException)):
        return ""
    parameters = list(inspect.signature(what).parameters.values())
    parameters = [p.replace(annotation=inspect.Parameter.empty) for p in parameters[1 if method else 0 :]]
    shown = textwrap.fill(f"{name}{inspect.Signature(parameters)}", 100, subsequent_indent="    ")
    return f"```python\n{shown}\n```\n"


def _doc(what: Any) -> str:
    return inspect.getdoc(what.fget if isinstance(what, property) else what) or ""


def _text(what: Any) -> str:
    doc = _doc(what)
    return textwrap.dedent(doc) + "\n" if doc else ""


if __name__ == "__main__":
    Path(__file__).parents[1].joinpath("docs/api.md").write_text(page(), encoding="utf-8")
