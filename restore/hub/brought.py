"""What people bring as a model that is none, and what to do with it instead, in one line each."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from restore.errors import ModelUnavailableError
from restore.hub.headers import header, read_json
from restore.hub.presets import presets
from restore.hub.single_file import Single, recognised

URL = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)")
PICKLES = (".ckpt", ".bin", ".pth", ".pkl", ".pickle")


def told(model: str, role: str) -> ModelUnavailableError | None:
    """The error for something recognised that cannot be a model of this role; None where nothing is recognised."""
    reason = _of_url(model) or _of_role(model, role) or _of_path(model)
    return ModelUnavailableError(f"expected {_wanted(role)}, got {reason}") if reason else None


def of_folder(folder: Path) -> str:
    """What a folder without a pipeline's model_index.json is, and what to do."""
    if (folder / "modular_model_index.json").is_file():
        return "a modular pipeline, which names parts of other repositories; take the repository it was made from"
    config = read_json(folder / "config.json")
    parent = folder.resolve().parent
    above = f"; give the folder above it, {parent}" if (parent / "model_index.json").is_file() else ""
    if "_class_name" in config:
        return f"one component ({config['_class_name']}) of a pipeline{above or '; give the whole pipeline'}"
    if config.get("architectures"):
        kind = config["architectures"][0]
        return f"a model of transformers ({kind}), which repaints nothing{above or '; if it finds objects: --grounder'}"
    if any(folder.glob("*.safetensors")):
        return "a folder of safetensors without model_index.json; give one of the files, or the whole pipeline"
    if any(file.suffix in PICKLES for file in folder.iterdir()):
        return "a folder of pickles; turn each into safetensors: restore models convert FILE OUT.safetensors"
    return "a folder without model_index.json; is the download complete?"


def of_safetensors(file: Path) -> str:
    """What a safetensors file holds that is no whole model; "" for one that is."""
    keys = list(header(file))
    if not keys:
        return "a file that is cut short or no safetensors"
    if any("lora_" in key or ".lora" in key for key in keys):
        return f"a LoRA, which changes a model: --model BASE --lora {file}"
    single = recognised(file)
    if single is not None:
        return "" if isinstance(single, Single) else single
    if any(key.startswith(("control_model.", "controlnet_", "input_hint_block")) for key in keys):
        return "a ControlNet, which needs a base model; give a folder of a ControlNet inpainting pipeline"
    if any(key.startswith("synthesis.first_stage.") for key in keys):
        return "the weights of MAT without its network; make them one TorchScript file: docs/models.md, 'MAT'"
    if len(keys) <= 4 and any(key in ("emb_params", "clip_l", "clip_g") or key.startswith("<") for key in keys):
        return "a textual inversion, which is one word for a model; it is not used"
    if any(key.startswith(("double_blocks.", "model.double_blocks", "joint_blocks.")) for key in keys):
        return f"the transformer of FLUX or Stable Diffusion 3 alone: --model PIPELINE --transformer {file}"
    return "one component of a pipeline; give the folder with its model_index.json"


def _of_url(model: str) -> str:
    found = URL.match(model)
    if found:
        return f"a web address; the model's id is {found[1]}: restore models pull {found[1]}"
    if re.match(r"[a-z]+://", model):
        return "a web address; fetch the file yourself and give its path"
    return ""


def _of_role(model: str, role: str) -> str:
    """A preset that does something else."""
    preset = presets().get(model.partition("@")[0])
    if preset is None or role in ("", preset.role):
        return ""
    return f"'{model}', which {'finds objects: --grounder' if preset.role == 'ground' else 'repaints: --model'} {model}"


def _of_path(model: str) -> str:
    path = Path(model).expanduser()
    suffix = path.suffix.lower()
    if not path.exists():
        if model.startswith(("/", "./", "../", "~")) or suffix in (".safetensors", ".gguf", *PICKLES):
            return f"'{model}', where nothing is; check the path"
        return ""
    if path.is_file() and suffix in PICKLES:
        safe = path.with_suffix(".safetensors")
        return f"a pickle, which could run anything; first: restore models convert {model} {safe}"
    if suffix == ".gguf":
        return f"a GGUF file, which holds a transformer alone: --model PIPELINE --transformer {model}"
    if suffix == ".safetensors":
        return of_safetensors(path)
    return f"'{path.name}', a file of another kind" if path.is_file() else ""


def near_id(model: str) -> str:
    """The id of a preset that a hub id may have meant, "" for none."""
    ids = [preset.repo for preset in presets().values() if preset.repo]
    return next((found for found in difflib.get_close_matches(model, ids, 1, 0.85) if found != model), "")


def _wanted(role: str) -> str:
    return "a model that finds objects" if role == "ground" else "a model that repaints"
