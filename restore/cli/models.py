"""`restore models list`, `restore models verify` and `restore models convert`."""

from __future__ import annotations

import json
from typing import Any

import click

from restore.errors import ModelUnavailableError


@click.group()
def models() -> None:
    """The weights that come with the package, and those of others.

    \b
    restore models list
    restore models verify
    restore models convert IN.pt OUT_DIR
    """


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else there.")
def list_models(as_json: bool) -> None:
    """Name, size, licence, training samples and measured scores of every model.

    \b
    restore models list
    restore models list --json
    """
    from restore.checkpoints import manifest

    if as_json:
        click.echo(json.dumps({"models": manifest()}))
        return
    for name, entry in manifest().items():
        scores = ", ".join(f"{key} {_short(value)}" for key, value in list(entry["scores"].items())[:4])
        size, samples = f"{entry['bytes'] / 1e6:.1f} MB", f"{entry['samples']:,} samples"
        click.echo(f"{name:<12} {size:>8}  {entry['licence']:<12} {samples:>20}  {scores or 'no scores yet'}")


@models.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else there.")
def verify(as_json: bool) -> None:
    """Compare every weight file with the manifest: sha256, size, parameters, required fields, total size.

    Exits 4 when anything differs.

    \b
    restore models verify
    """
    from restore.checkpoints import FOLDER, LIMIT, problems, shipped

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
@click.argument("folder", type=click.Path(), metavar="OUT_DIR")
@click.option(
    "--head-channels", type=click.IntRange(1), default=64, help="Channels of an attention head. [default: 64]"
)
@click.option("--schedule", type=click.Choice(["linear", "cosine"]), default="linear",
              help="Noise schedule it was trained with. [default: linear]")  # fmt: skip
def convert(checkpoint: str, folder: str, head_channels: int, schedule: str) -> None:
    """Turn an OpenAI guided-diffusion checkpoint into a folder for `restore enhance --model`.

    Unconditional RGB models only. Nothing in the file is run: tensors are read, anything else is refused.

    \b
    restore models convert 256x256_diffusion_uncond.pt prior
    restore enhance photo.png --task deblur --model prior --method gdp --start 2
    """
    from pathlib import Path

    from restore.pipelines.guided_diffusion import convert as run

    run(Path(checkpoint), Path(folder), head_channels, schedule)
    click.echo(f"{folder}: written; use it with --model {folder}")


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
