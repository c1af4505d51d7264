"""`restore assess`."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("image", type=click.Path())
@click.option("--mask", type=click.Path(), help="Where the picture was edited (white); default: judge all of it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else there.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True)
def assess(image: str, mask: str | None, as_json: bool, device: str) -> None:
    """Judge IMAGE: share of artifact pixels (PAR) and quality from 0 to 100.

    \b
    restore assess edited.png --mask mask.png
    """
    from restore.image import load_photo

    photo = load_photo(image)
    from restore.api import Engine

    found = Engine(device=device).assess(photo, mask=mask)
    if as_json:
        click.echo(json.dumps({"par_hole": found.par_hole, "par_image": found.par_image, "quality": found.quality}))
    else:
        hole = "" if found.par_hole is None else f"PAR_hole {found.par_hole:.3f}  "
        click.echo(f"{hole}PAR_image {found.par_image:.3f}  quality {found.quality:.1f}")
