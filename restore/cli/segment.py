"""`restore segment`."""

from __future__ import annotations

import json

import click

from restore.cli.options import setting
from restore.cli.pipes import read
from restore.settings import DEVICES


@click.command()
@click.argument("image", type=click.Path())
@click.option("--prompt", multiple=True, help='What to find, e.g. "the largest dog"; repeatable.')
@click.option("--find", multiple=True, help="Text, watermark, date, scratches, dust, wires, or all; repeatable.")
@click.option("-o", "--output", type=click.Path(), help="Where to write the mask (white = found).")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else there.")
@setting("grounder", "What finds objects, e.g. grounding-dino+sam.")
@setting("device", "Where to compute.", type=click.Choice(DEVICES))
def segment(
    image: str,
    prompt: tuple[str, ...],
    find: tuple[str, ...],
    output: str | None,
    overwrite: bool,
    as_json: bool,
    grounder: str | None,
    device: str | None,
) -> None:
    """Show which pixels of IMAGE an instruction means, without changing anything.

    \b
    restore segment photo.jpg --prompt "remove every person" -o mask.png
    restore segment photo.jpg --find text -o letters.png
    """
    from restore.edit.request import words_of
    from restore.images.geometry import mask_box
    from restore.images.mask import save_mask
    from restore.images.photo import check_output

    if not words_of(prompt, find):
        raise click.UsageError("expected --prompt or --find to say what to look for, got neither")
    if output is not None:
        check_output(output, overwrite=overwrite)
    photo = read(image)
    from restore.edit.choose import models_for, settings_for

    models = models_for(settings_for(None, grounder=grounder, device=device))
    from restore.api import Engine

    found = Engine(models=models).segment(photo, prompt=prompt, find=find)
    if output is not None:
        save_mask(found.mask, output, overwrite=overwrite)
    summary = {
        "output": output,
        "score": round(found.score, 4),
        "pixels": int(found.mask.sum()),
        "box": list(mask_box(found.mask)),
        "instances": [{"score": round(i.score, 4), "box": list(mask_box(i.mask))} for i in found.instances],
    }
    if as_json:
        click.echo(json.dumps(summary))
    else:
        count = len(found.instances)
        what = f"{count} object{'s' * (count != 1)}, score {found.score:.2f}, {summary['pixels']} pixels"
        click.echo(f"{what} -> {output or 'not saved'}")
