"""`restore compare`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from restore.cli.measuring import (
    check_outputs,
    finish,
    measure_options,
    measuring_options,
    print_json,
    progress,
    tell_failed,
    write_csv,
)
from restore.errors import InputError
from restore.measure.options import CompareOptions

if TYPE_CHECKING:
    from restore.results import CompareResult


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(), metavar="DIR_A [DIR_B]...")
@click.option("--reference", required=True, type=click.Path(), metavar="DIR", help="The real pictures.")
@click.option(
    "--features",
    "nets",
    multiple=True,
    metavar="NAME=PATH",
    help="Set distances in another network too: an ONNX file, or a folder (CLIP, DINOv2).",
)
@click.option(
    "--draws",
    type=click.IntRange(20),
    default=CompareOptions.draws,
    show_default=True,
    help="Resamples behind intervals.",
)
@measuring_options
@click.pass_context
def compare(
    ctx: click.Context, folders: tuple[str, ...], reference: str, nets: tuple[str, ...], draws: int, **options: Any
) -> None:
    """Score sets of pictures against a reference set, and against each other: does one differ, and by how much?

    Pictures of the same name (any format) in DIR and the reference are pairs: P-IDS, PSNR, SSIM and feature
    distances need them. All set distances use features of EfficientNet-Lite0, and say so: fid_lite0.

    \b
    restore compare ours/ theirs/ --reference originals/ --html report.html
    restore compare outputs/ --reference photos/ --features inception=inception.onnx --json
    """
    chosen = CompareOptions(features=dict(map(_net, nets)), draws=draws, **measure_options(options))
    check_outputs(options)
    from restore.api import compare as compared

    with progress() as on_step:
        result = compared(*folders, reference=reference, options=chosen, on_step=on_step)
    tell_failed(result.failed)
    write_csv(options["csv_file"], result.rows, options["overwrite"])
    if options["html_file"] is not None:
        result.report(options["html_file"], overwrite=options["overwrite"])
    if options["as_json"]:
        print_json(result.summary())
    else:
        _print(result)
    finish(ctx, result.failed)


def _net(text: str) -> tuple[str, str]:
    name, _, path = text.partition("=")
    if not name or not path:
        raise InputError(f"--features: expected NAME=FILE.onnx or NAME=FOLDER, got {text!r}")
    return name, path


def _print(result: CompareResult) -> None:
    from restore.reports.measured import tables

    for heading, columns, cells in tables(result.findings):
        click.echo(heading)
        for line in (columns, *cells):
            click.echo("\t".join(line))
    click.echo(result.verdict)
    for warning in result.findings["warnings"]:
        click.echo(f"restore: {warning}", err=True)
