"""Options whose defaults are a dataclass's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from restore.settings import Settings


def setting(name: str, help: str, **more: Any) -> Callable[..., Any]:
    """The option --NAME of a field of `Settings`: its default is shown, but left to a YAML file and to the model."""
    default = getattr(Settings, name.replace("-", "_"))
    return click.option(f"--{name}", default=default, show_default=True, callback=_given, help=help, **more)


def _given(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """The value, or None where the user gave none."""
    assert parameter.name is not None
    return None if context.get_parameter_source(parameter.name) is ParameterSource.DEFAULT else value
