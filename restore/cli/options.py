"""Options whose defaults are a dataclass's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from restore.settings import BITS, Settings


def setting(name: str, help: str, **more: Any) -> Callable[..., Any]:
    """The option --NAME of a field of `Settings`: its default is shown, but left to a YAML file and to the model."""
    default = getattr(Settings, name.replace("-", "_"))
    return click.option(f"--{name}", default=default, show_default=True, callback=_given, help=help, **more)


def change_options() -> Callable[..., Any]:
    """What the model is loaded with in place of what its folder has."""
    bits = click.option("--quantize", type=click.Choice(BITS), help="Weights of the model in 8 or 4 bits: less memory.")
    file = click.option(
        "--transformer", type=click.Path(), help="FILE.gguf or .safetensors instead of the model's own."
    )
    return lambda command: file(bits(command))


def model_options() -> Callable[..., Any]:
    """What fills, and what changes it."""
    model = setting("model", "What fills: a preset, hub id, folder or file.")
    lora = click.option("--lora", multiple=True, help="FILE[:WEIGHT]: a LoRA for the model; may be repeated.")
    return lambda command: model(lora(change_options()(command)))


def _given(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """The value, or None where the user gave none."""
    assert parameter.name is not None
    return None if context.get_parameter_source(parameter.name) is ParameterSource.DEFAULT else value
