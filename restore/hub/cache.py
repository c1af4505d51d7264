"""Where a model named on the command line lies on this machine. Only `pull` touches the network."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from restore.errors import InputError, ModelUnavailableError
from restore.hub.brought import near_id, told
from restore.hub.headers import header
from restore.hub.presets import Preset, load_preset, preset_named, presets, unknown
from restore.images.files import sha256_of

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(?:@[\w./-]+)?$")
SHA256 = re.compile(r"[0-9a-f]{64}")
FILES = (".pt", ".pts", ".ts", ".jit", ".onnx")
KEPT = (".json", ".txt", ".model", ".jinja", ".md")  # beside the weights
GATED = (
    "this one is gated: open https://huggingface.co/{repo}, accept its licence, make a read token at "
    "https://huggingface.co/settings/tokens and put it into HF_TOKEN or 'hf auth login', then "
)


@dataclass(frozen=True)
class Located:
    """A model on this machine: what is known of it, its folder or file, and those of `preset.also`."""

    preset: Preset
    path: Path
    also: tuple[Path, ...] = ()

    @property
    def network(self) -> bool:
        """Whether it is one network in a file, not a pipeline."""
        return self.path.is_file() and self.path.suffix.lower() in FILES


def described(model: str, role: str = "") -> Preset:
    """The preset of a preset's name, a hub id, a YAML file, a folder or a file; nothing is looked for on the hub.

    Raises ModelUnavailableError if it is none of these.
    """
    found = preset_named(model, role)
    if found is not None:
        return found
    path = Path(model).expanduser()
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return load_preset(path)
    if path.is_dir() or (path.is_file() and path.suffix.lower() in FILES):
        return Preset(path.resolve().name, role or "fill", path=str(path))
    known = told(model, role)
    if known is not None:
        raise known
    if path.is_file():  # a whole model in safetensors: `told` named every other file
        return Preset(path.stem, role or "fill", path=str(path))
    if HUB_ID.match(model) and not path.exists():
        repo, _, revision = model.partition("@")
        same = [p for p in presets().values() if p.repo == repo and role in ("", p.role)]
        base = same[0] if same else Preset(model, role or "fill", repo=repo)
        return replace(base, revision=revision or base.revision)
    raise unknown(model, role)


def locate(model: str, role: str = "") -> Located:
    """The model's files on this machine. Raises ModelUnavailableError with the command that fetches it."""
    preset = described(model, role)
    if preset.path:
        path = Path(preset.path).expanduser()
        if not path.exists():
            raise ModelUnavailableError(f"expected the model of preset {preset.name} in {path}, found nothing there")
        return Located(preset, path, tuple(Path(other).expanduser() for other in preset.also))
    folder = cached(preset.repo, preset.revision, preset.file)
    also = [cached(repo) for repo in preset.also]
    if folder is None or None in also:
        raise missing(preset, model)
    return Located(preset, folder, tuple(path for path in also if path is not None))


def packages_missing(preset: Preset) -> str:
    """What to install before the model can be used, as a command; "" where nothing is missing."""
    absent = [name for name in preset.needs if find_spec(name) is None]
    return f"pip install {' '.join(absent)}" if absent else ""


def missing(preset: Preset, model: str) -> ModelUnavailableError:
    """The error for a model that is known but not here."""
    gated = GATED.format(repo=preset.repo) if preset.gated else ""
    size = f" ({preset.download:g} GB, {preset.licence})" if preset.download else ""
    near = "" if preset.download else near_id(preset.repo)
    hint = f"did you mean {near}? else " if near else ""
    return ModelUnavailableError(
        f"expected model '{model}'{size} on this machine, found none; {hint}{gated}run: restore models pull {model}"
    )


def cached(repo: str, revision: str = "main", file: str = "") -> Path | None:
    """The snapshot of a repository in the hub's cache (or `file` in it), None if it is not there."""
    from huggingface_hub import try_to_load_from_cache

    for name in (file,) if file else ("model_index.json", "config.json"):
        found = try_to_load_from_cache(repo, name, revision=revision)
        if isinstance(found, str):
            return Path(found) if file else Path(found).parent
    return None


def pull(model: str, *, offline: bool = False, transformer: bool = True) -> list[tuple[str, str, Path]]:
    """Fetch a model: (repository, commit, folder) of each repository. transformer: with the weights of its transformer,
    which who has these in a file does not need. Raises ModelUnavailableError.
    """
    preset = described(model)
    if preset.path:
        raise InputError(f"expected a preset or a hub id to pull, got {model}, which is on this machine already")
    if offline or os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        raise ModelUnavailableError(f"expected a network to fetch '{model}', but offline was asked for; leave it out")
    repos = {preset.repo: preset.revision} | dict.fromkeys(preset.also, "main")
    return [_fetch(preset, repo, revision, transformer) for repo, revision in repos.items()]


def _fetch(preset: Preset, repo: str, revision: str, transformer: bool) -> tuple[str, str, Path]:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError

    try:
        names = HfApi().list_repo_files(repo, revision=revision)
        files = [preset.file] if preset.file and repo == preset.repo else wanted(names, preset.variant)
        if not transformer:
            files = [name for name in files if not (name.startswith("transformer/") and ".safetensors" in name)]
        folder = Path(snapshot_download(repo, revision=revision, allow_patterns=files))
    except GatedRepoError:
        raise ModelUnavailableError(
            f"expected access to {repo} ({preset.licence}), got a refusal; {GATED.format(repo=repo)}run this again"
        ) from None
    except Exception as error:  # the hub's client passes on whatever its transport of the day raises
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelUnavailableError(f"expected to fetch {repo}@{revision}, got: {reason}; try again later") from None
    return repo, folder.name, folder


def wanted(names: list[str], variant: str = "") -> list[str]:
    """Of a repository's files those to fetch: configs, vocabularies, licences, and each folder's safetensors.

    Never code or pickles. Where a folder has safetensors of `variant`, only those; a pipeline's own folder has none
    worth having (single-file copies of the whole). Raises ModelUnavailableError where there are no safetensors.
    """
    plain = [n for n in names if Path(n).suffix in KEPT or Path(n).name.startswith("LICENSE")]
    weights = [n for n in names if n.endswith((".safetensors", ".safetensors.index.json"))]
    if "model_index.json" in names:
        weights = [n for n in weights if "/" in n]
    if not weights:
        raise ModelUnavailableError("no safetensors there; restore reads no other weights")
    chosen = []
    for folder in sorted({n.rpartition("/")[0] for n in weights}):
        here = [n for n in weights if n.rpartition("/")[0] == folder]
        tagged = {n: f".{tag}." in n or f".{tag}-" in n for n in here for tag in [variant or "fp16"]}
        chosen += [n for n in here if tagged[n] == bool(variant and any(tagged.values()))]
    return sorted({*chosen, *(n for n in plain if not n.endswith(".safetensors.index.json"))})


def cache_entries() -> Iterator[tuple[str, list[str], int, Path]]:
    """(repository, commits, bytes on disk, folder) of every model in the hub's cache."""
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = sorted(scan_cache_dir(constants.HF_HUB_CACHE).repos, key=lambda r: r.repo_id)
    except CacheNotFound:
        return
    for repo in repos:
        if repo.repo_type == "model":
            yield repo.repo_id, [r.commit_hash for r in repo.revisions], repo.size_on_disk, Path(repo.repo_path)


def remove(model: str) -> int:
    """Delete a model's repositories from the hub's cache; bytes freed. Raises ModelUnavailableError if it has none."""
    from huggingface_hub import constants, scan_cache_dir

    preset = described(model)
    if preset.path:
        raise InputError(f"expected a preset or a hub id to remove, got {model}, which is a folder or file of yours")
    repos = preset.repo, *preset.also
    commits = [commit for name, found, _, _ in cache_entries() if name in repos for commit in found]
    if not commits:
        raise missing(preset, model)
    strategy = scan_cache_dir(constants.HF_HUB_CACHE).delete_revisions(*commits)
    strategy.execute()
    return int(strategy.expected_freed_size)


def faults(path: Path) -> list[str]:
    """What is wrong with the safetensors in a folder or with a file of the hub's cache, one line each.

    A blob of the cache is named by its sha256 if it is large; every safetensors file says how long it is.
    """
    found = []
    files = [path] if path.is_file() else sorted(path.rglob("*.safetensors"))
    for file in files:
        blob = file.resolve().name
        if SHA256.fullmatch(blob) and sha256_of(file) != blob:
            found.append(f"{file.name}: another sha256 than the hub's")
        elif file.suffix == ".safetensors" and not header(file):
            found.append(f"{file.relative_to(path) if file != path else file}: cut short or no safetensors file")
    return found if files else [f"no safetensors in {path}"]


@contextlib.contextmanager
def quiet(*libraries: str) -> Iterator[None]:
    """Neither progress bars nor remarks of "diffusers" and "transformers" while they load and run."""
    logs: list[Any] = [import_module(f"{library}.utils.logging") for library in libraries]
    levels = [log.get_verbosity() for log in logs]
    for log in logs:
        log.set_verbosity_error()
        log.disable_progress_bar()
    try:
        yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.set_verbosity(level)
