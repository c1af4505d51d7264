"""`restore models`: what comes with the package, and other people's models by name."""

from __future__ import annotations

import json
from typing import Any

import click

from restore.cli.options import change_options
from restore.errors import ModelUnavailableError


@click.group()
def models() -> None:
    """The weights that come with the package, and those of others.

    \b
    restore models list
    restore models pull sd15-inpaint
    restore models show sd15-inpaint
    restore models where sd15-inpaint
    restore models verify sd15-inpaint
    restore models remove sd15-inpaint
    restore models convert IN.pt OUT
    """


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else there.")
def list_models(as_json: bool) -> None:
    """What comes with the package, the presets of other models, and what the hub's cache holds.

    \b
    restore models list
    restore models list --json
    """
    from dataclasses import asdict

    from restore.hub.cache import cache_entries, cached
    from restore.hub.presets import presets
    from restore.weights.store import manifest

    here = {p.name: cached(p.repo, p.revision, p.file) for p in presets().values()}
    cache: list[dict[str, Any]] = [
        {"repo": r, "commits": c, "bytes": n, "folder": str(f)} for r, c, n, f in cache_entries()
    ]
    if as_json:
        rows = [asdict(p) | {"here": str(here[p.name]) if here[p.name] else None} for p in presets().values()]
        click.echo(json.dumps({"models": manifest(), "presets": rows, "cache": cache}))
        return
    for name, entry in manifest().items():
        scores = ", ".join(f"{key} {_short(value)}" for key, value in list(entry["scores"].items())[:4])
        size, samples = f"{entry['bytes'] / 1e6:.1f} MB", f"{entry['samples']:,} samples"
        click.echo(f"{name:<12} {size:>8}  {entry['licence']:<12} {samples:>20}  {scores or 'no scores yet'}")
    click.echo("\npresets (GB to fetch, GB of memory):")
    for p in presets().values():
        state = f"in {here[p.name]}" if here[p.name] else f"restore models pull {p.name}"
        licence = p.licence + ", gated" * p.gated
        option = "--model" if p.role == "fill" else "--grounder"
        click.echo(f"{p.name:<25} {option:<10} {p.download:>5g} {p.memory:>5g}  {licence:<36} {state}")
    if cache:
        click.echo(f"\nin the hub's cache, {sum(e['bytes'] for e in cache) / 1e9:.2f} GB:")
    for entry in cache:
        click.echo(f"{entry['repo']:<48} {entry['bytes'] / 1e9:>6.2f} GB  {' '.join(entry['commits'])}")


@models.command()
@click.argument("name")
@click.option("--no-transformer", is_flag=True, help="Without the transformer's weights: you have them in a file.")
@click.option("--offline", is_flag=True, help="Refuse to touch the network.")
def pull(name: str, no_transformer: bool, offline: bool) -> None:
    """Fetch NAME: a preset, or a hub id; NAME@COMMIT for a certain commit, branch or tag.

    Configs and safetensors only, never code. The one command that touches the network.

    \b
    restore models pull sd15-inpaint
    restore models pull owner/model@0123abc
    restore models pull flux-fill --no-transformer         # for --transformer flux1-fill-dev-Q4_K_S.gguf
    """
    from restore.hub import cache

    preset = cache.described(name)
    size = f"{preset.download:g} GB, " if preset.download else ""
    click.echo(f"restore: {preset.name}: {size}licence: {preset.licence}", err=True)
    for repo, commit, folder in cache.pull(name, offline=offline, transformer=not no_transformer):
        click.echo(f"{repo} at {commit}: {folder}")
    if command := cache.packages_missing(preset):
        click.echo(f"restore: {preset.name} reads with further packages; run: {command}", err=True)


@models.command()
@click.argument("name")
@change_options()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else there.")
def show(name: str, transformer: str | None, quantize: str | None, as_json: bool) -> None:
    """What NAME, a model on this machine, takes and gives, and how it will be called. Nothing is loaded.

    \b
    restore models show sd15-inpaint
    restore models show my-models/sdxl --json
    restore models show flux-fill --transformer flux1-fill-dev-Q4_K_S.gguf --quantize 4bit
    """
    from restore.edit.choose import shown

    rows = shown(name, transformer or "", quantize or "")
    if as_json:
        click.echo(json.dumps(rows))
        return
    for key, value in rows.items():
        click.echo(f"{key:<12} {value}")


@models.command()
@click.argument("name")
def where(name: str) -> None:
    """The folder or file on this machine that NAME stands for; exits 4 if there is none.

    \b
    restore models where sd15-inpaint
    """
    from restore.hub.cache import locate

    located = locate(name)
    for path in (located.path, *located.also):
        click.echo(str(path))


@models.command()
@click.argument("name")
def remove(name: str) -> None:
    """Delete NAME, a preset or a hub id, from the hub's cache.

    \b
    restore models remove sd15-inpaint
    """
    from restore.hub import cache

    click.echo(f"{name}: {cache.remove(name) / 1e9:.2f} GB freed")


@models.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else there.")
def verify(name: str | None, as_json: bool) -> None:
    """Compare every shipped weight file with the manifest: sha256, size, parameters, required fields, total size.

    With NAME (a preset, hub id or folder): its files with the hub's sha256 and their own headers instead. Exits 4 when
    anything differs.

    \b
    restore models verify
    restore models verify sd15-inpaint
    """
    if name is not None:
        _verify_pulled(name, as_json)
        return
    from restore.weights.store import FOLDER, LIMIT, problems, shipped

    found = {name: problems(name) for name in shipped()}
    total = sum(path.stat().st_size for path in FOLDER.glob("*.safetensors"))
    bad = [name for name, faults in found.items() if faults]
    if as_json:
        click.echo(json.dumps({"ok": not bad and total <= LIMIT, "bytes": total, "limit": LIMIT, "models": found}))
    else:
        for name, faults in found.items():
            click.echo(f"{name:<12} {'; '.join(faults) or 'ok'}")
        click.echo(f"{'total':<12} {total / 1e6:.1f} of at most {LIMIT / 1e6:.0f} MB")
    if bad:
        raise ModelUnavailableError(f"expected weights as in the manifest, got others for {', '.join(bad)}; reinstall")
    if total > LIMIT:
        raise ModelUnavailableError(f"expected weights of at most {LIMIT} bytes together, got {total}; ship less")


@models.command()
@click.argument("checkpoint", type=click.Path(), metavar="IN.pt")
@click.argument("goal", type=click.Path(), metavar="OUT")
@click.option(
    "--head-channels", type=click.IntRange(1), default=64, show_default=True, help="Channels of an attention head."
)
@click.option("--schedule", type=click.Choice(["linear", "cosine"]), default="linear", show_default=True,
              help="Noise schedule it was trained with.")  # fmt: skip
def convert(checkpoint: str, goal: str, head_channels: int, schedule: str) -> None:
    """Turn a pickled checkpoint into safetensors: OUT.safetensors, or a folder for `restore enhance --model`.

    For a folder, IN has to be an unconditional RGB model of OpenAI's guided-diffusion. Nothing in the file is run:
    tensors are read, anything else is refused.

    \b
    restore models convert diffusion_pytorch_model.bin diffusion_pytorch_model.safetensors
    restore models convert 256x256_diffusion_uncond.pt prior
    restore enhance photo.png --task deblur --model prior --method gdp --start 2
    """
    from pathlib import Path

    from restore.pipelines.hub.guided_diffusion import convert as run
    from restore.pipelines.hub.guided_diffusion import repacked

    if not goal.endswith(".safetensors"):
        run(Path(checkpoint), Path(goal), head_channels, schedule)
        click.echo(f"{goal}: written; use it with --model {goal}")
        return
    repacked(Path(checkpoint), Path(goal))
    click.echo(f"{goal}: written")


def _verify_pulled(name: str, as_json: bool) -> None:
    from restore.hub.cache import faults, locate

    located = locate(name)
    found = [fault for path in (located.path, *located.also) for fault in faults(path)]
    if as_json:
        click.echo(json.dumps({"ok": not found, "models": {name: found}}))
    else:
        click.echo(f"{name}: {'; '.join(found) or 'ok'}")
    if found:
        raise ModelUnavailableError(
            f"expected whole files of {name}, got {len(found)} that are not; restore models remove {name}, then pull it"
        )


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
