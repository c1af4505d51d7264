"""Presets of other people's models: configs/NAME.yaml, and what is known of a model that has none."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from restore.errors import InputError, ModelUnavailableError
from restore.hub.prompts import check_templates
from restore.settings import load_mapping

FOLDER = Path(str(files("restore.configs")))
ROLES = ("fill", "ground")
DTYPES = ("float32", "float16", "bfloat16")
LIKE: dict[str, Any] = {  # of values that may be left to the model
    "steps": 30, "guidance": 7.5, "strength": 1.0, "refine_strength": 0.6, "prompts": {}, "negatives": {},
}  # fmt: skip


@dataclass(frozen=True)
class Preset:
    """What the engine has to know of a model before it loads it.

    role: "fill" repaints, "ground" finds objects. repo, revision: where it is on the hub and which commit, branch or
    tag; path: a local folder or file instead. also: further repositories it needs. file: the one file wanted of the
    repository. pipeline: class of diffusers or transformers, "" = what the folder's own index says. variant: file
    variant to prefer ("fp16"). size: native side, pixels, 0 = what the model's config says. steps, guidance, strength,
    image_guidance: of the sampler, None = the class's own. refine_strength: of passes that mend a fill. prompts,
    negatives: what it is told for each task (prompts.py), where that is not what its kind is told. dtype: on an
    accelerator, "" = what the files hold; half precision becomes float32 on a CPU. download, memory: GB. licence: its
    name. gated: whether the hub asks for an account that has accepted the licence. needs: packages beside ours that
    its parts want. distilled: whether steps and guidance are of this model alone, not of all of its class.
    """

    name: str
    role: str = "fill"
    repo: str = ""
    revision: str = "main"
    path: str = ""
    also: tuple[str, ...] = ()
    file: str = ""
    pipeline: str = ""
    variant: str = ""
    size: int = 0
    steps: int | None = None
    guidance: float | None = None
    strength: float | None = None
    refine_strength: float | None = None
    image_guidance: float = 1.5
    prompts: Mapping[str, str] = field(default_factory=dict)
    negatives: Mapping[str, str] = field(default_factory=dict)
    dtype: str = ""
    download: float = 0.0
    memory: float = 0.0
    licence: str = "unknown"
    gated: bool = False
    needs: tuple[str, ...] = ()
    distilled: bool = False

    def __post_init__(self) -> None:
        for each in fields(self):
            value, like = getattr(self, each.name), LIKE.get(each.name, each.default)
            kinds = (int, float) if isinstance(like, float) else type(like)
            given = each.name != "name" and not (value is None and each.default is None)
            if given and (not isinstance(value, kinds) or isinstance(value, bool) != (kinds is bool)):
                raise InputError(f"expected '{each.name}' of preset {self.name} to be like {like!r}, got {value!r}")
        check_templates(self.prompts, f"prompts of preset {self.name}")
        check_templates(self.negatives, f"negatives of preset {self.name}")
        if self.role not in ROLES or self.dtype not in ("", *DTYPES):
            raise InputError(
                f"expected role {' or '.join(ROLES)} and dtype {', '.join(DTYPES)} in preset {self.name}, "
                f"got '{self.role}' and '{self.dtype}'"
            )
        steps, *strengths = (1 if x is None else x for x in (self.steps, self.strength, self.refine_strength))
        if steps < 1 or self.size < 0 or not all(0 < strength <= 1 for strength in strengths):
            raise InputError(f"expected steps ≥ 1, size ≥ 0 and strength in (0, 1] in preset {self.name}, got others")


def load_preset(path: str | Path) -> Preset:
    """A preset from a YAML file. Raises InputError for unknown keys and values of another kind."""
    values: dict[str, Any] = load_mapping(path, [f.name for f in fields(Preset) if f.name != "name"])
    for key in ("also", "needs"):
        if isinstance(values.get(key), list):
            values[key] = tuple(map(str, values[key]))
    return Preset(Path(path).stem, **values)


@cache
def presets() -> dict[str, Preset]:
    """All that come with the package, by name."""
    return {path.stem: load_preset(path) for path in sorted(FOLDER.glob("*.yaml")) if path.stem != "builtin"}


def preset_of_class(pipeline: str) -> Preset | None:
    """The preset whose sampler suits other models of a pipeline class, None if there is none."""
    return next((p for p in presets().values() if p.pipeline == pipeline and pipeline and not p.distilled), None)


def preset_named(name: str, role: str = "") -> Preset | None:
    """The preset (of that role, if one is given) called NAME or NAME@REVISION, None if there is none."""
    base, _, revision = name.partition("@")
    found = presets().get(base)
    if found is None or (role and found.role != role):
        return None
    return replace(found, revision=revision) if revision else found


def unknown(name: str, role: str = "") -> ModelUnavailableError:
    """The error for a name that is neither a preset nor anything on this machine."""
    known = ["builtin", "instruct", *(p.name for p in presets().values() if role in ("", p.role))]
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return ModelUnavailableError(
        f"expected a preset ({', '.join(known)}), a hub id such as org/name, a local folder or a file, got '{name}'; "
        f"{hint}restore models list shows them"
    )
