"""The models that `restore train` knows, and their recipes. Imports nothing heavy."""

from __future__ import annotations

import difflib
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from restore.errors import InputError

if TYPE_CHECKING:
    from restore.training.loop import Task

# Name → module and class. The recipe of a model is training/recipes/NAME.yaml.
TASKS = {
    "draft": ("restore.training.recipes.draft", "DraftTask"),
    "expectation": ("restore.training.recipes.expectation", "ExpectationTask"),
    "prior": ("restore.training.recipes.prior", "PriorTask"),
    "restorer": ("restore.training.recipes.restorer", "RestorerTask"),
    "grounder": ("restore.training.recipes.grounder", "GrounderTask"),
    "judge": ("restore.training.recipes.judge", "JudgeTask"),
    "scorer": ("restore.training.recipes.scorer", "ScorerTask"),
    "natural": ("restore.training.recipes.natural", "StatisticsTask"),
    "instruct": ("restore.training.recipes.instruct", "InstructTask"),
    "shape": ("restore.training.recipes.shape", "ShapeTask"),
    "mbc": ("restore.training.recipes.mbc", "MbcTask"),
    "overlay": ("restore.training.recipes.overlay", "OverlayTask"),
}
RECIPES = Path(__file__).parent / "recipes"
# What the loop reads of every recipe, with its default; the other keys are the task's own.
LOOP: dict[str, Any] = {
    "batch": 8,
    "steps": 100_000,
    "lr": 3e-4,
    "decay": 0.35,  # share of the run over which the learning rate falls to zero
    "ema": 0.999,
    "weight_decay": 0.01,
    "seed": 0,
    "report": 100,  # steps between rows of losses.csv
    "precision": "auto",  # bf16, no, or auto: bf16 where the device has it
}


def task_class(name: str) -> type[Task]:
    """The class that trains the model `name`. Raises InputError for an unknown name."""
    module, attribute = TASKS[nearest(name, TASKS, "model")]
    found: type[Task] = getattr(import_module(module), attribute)
    return found


def load_recipe(name: str, path: Path | None = None) -> dict[str, Any]:
    """The packaged recipe of `name` with the keys that the YAML file `path` changes.

    The packaged recipe says which keys there are and of which kind: InputError for an unknown key (names the
    nearest), for a value of another kind and for a file that cannot be read.
    """
    recipe = LOOP | _read(RECIPES / f"{nearest(name, TASKS, 'model')}.yaml")
    if path is not None:
        recipe = _merged(recipe, _read(path), str(path))
    for key in ("batch", "steps", "report"):
        if not isinstance(recipe[key], int) or recipe[key] < 1:
            raise InputError(f"expected {key} to be a whole number from 1 on, got {recipe[key]}; correct {path}")
    return recipe


def nearest(name: str, known: dict[str, Any], what: str) -> str:
    """`name` if it is known; else InputError with the nearest known one."""
    if name in known:
        return name
    close = difflib.get_close_matches(name, known, 1, 0)
    hint = f"did you mean '{close[0]}'? " if close else ""
    raise InputError(f"expected a known {what}, got '{name}'; {hint}(known: {', '.join(known)})")


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"expected a readable recipe, got {path} ({error}); give a YAML file") from None
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        line = f" at line {place.line + 1}" if place else ""
        raise InputError(f"expected YAML in {path}, got a syntax error{line}; correct the file") from None
    if not isinstance(content, dict):
        raise InputError(f"expected 'key: value' lines in {path}, got {type(content).__name__}; see training/recipes")
    return content


def _merged(recipe: dict[str, Any], changes: dict[str, Any], where: str) -> dict[str, Any]:
    merged = dict(recipe)
    for key, value in changes.items():
        usual = merged[nearest(str(key), recipe, f"recipe key in {where}")]
        if isinstance(usual, dict) and isinstance(value, dict):
            merged[key] = _merged(usual, value, where)
            continue
        if isinstance(value, str) and isinstance(usual, float | int):
            value = _number(value)  # YAML 1.1 reads 3e-4 as text
        kind = (int, float) if isinstance(usual, int | float) and not isinstance(usual, bool) else type(usual)
        if usual is not None and (not isinstance(value, kind) or isinstance(value, bool) != isinstance(usual, bool)):
            wanted = "number" if isinstance(kind, tuple) else kind.__name__
            raise InputError(f"expected {key} to be a {wanted} like {usual!r}, got {value!r}; correct {where}")
        merged[key] = int(value) if isinstance(usual, int) and isinstance(value, float) and value % 1 == 0 else value
    return merged


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
