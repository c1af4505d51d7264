"""`restore inpaint` and `restore refine`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from restore.cli.options import model_options, setting
from restore.cli.pipes import Goal, goal_of, read_any, sign_options, signer_of, stream_options
from restore.errors import UnsureError
from restore.settings import DEVICES

if TYPE_CHECKING:
    from restore.api import Engine
    from restore.edit.choose import Models
    from restore.edit.request import Request
    from restore.images.huge import AnyPhoto
    from restore.images.photo import Seal
    from restore.results import InpaintResult


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that `inpaint` and `refine` share."""
    for option in reversed(
        [
            click.argument("image", type=click.Path()),
            click.option(
                "-o",
                "--output",
                type=click.Path(),
                help="Where to write, '-' for stdout; default IMAGE with .restored before its suffix.",
            ),
            click.option("--overwrite", is_flag=True, help="Replace existing files."),
            click.option("--report", type=click.Path(), help="Write an HTML quality report."),
            click.option(
                "--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else there."
            ),
            setting("seed", "Same seed, same pixels.", type=int),
            setting("passes", "Most passes over the hole.", type=int),
            setting("max-seconds", "Begin no pass that would end later than this.", type=float),
            setting("par", "Stop when the share of bad pixels in the hole is at most this.", type=float),
            setting("candidates", "Fills per pass for the judge to choose from.", type=int),
            setting("steps", "Denoising steps of sampled drafts.", type=int),
            model_options(),
            setting("grounder", "What finds objects, e.g. grounding-dino+sam."),
            setting("judge", "What finds artifacts: a TorchScript FILE.pt."),
            setting("device", "Where to compute.", type=click.Choice(DEVICES)),
            click.option("--config", type=click.Path(), help="YAML file of settings; options given here win."),
            click.option("--save-mask", type=click.Path(), help="Write the mask that was repainted."),
            click.option("--save-passes", type=click.Path(), help="Folder for the picture after every pass."),
            click.option("--offline", is_flag=True, help="Never touch the network (only 'models pull' ever does)."),
        ]
    ):
        command = option(command)
    return stream_options(sign_options(command))


@click.command()
@click.option("--prompt", multiple=True, help='What to do, e.g. "remove the cat on the left".')
@click.option("--find", multiple=True, help="Remove text, watermark, date, scratches, dust, wires, or all of them.")
@click.option("--mask", multiple=True, type=click.Path(), help="Image of the photo's size; white is repainted.")
@click.option("--box", multiple=True, help="X,Y,W,H in pixels: repaint this box.")
@click.option("--point", multiple=True, help="X,Y in pixels: remove the object there.")
@click.option(
    "--shape-precision", type=float, help="Of an added object: 0 follows the mask exactly, 1 stands within its box."
)
@click.option("--yes", is_flag=True, help="Go on where it is not sure that what was found is what the words name.")
@click.option("--draft", is_flag=True, help="An instant preview: one quick, soft guess.")
@run_options
def inpaint(
    image: str,
    prompt: tuple[str, ...],
    find: tuple[str, ...],
    mask: tuple[str, ...],
    box: tuple[str, ...],
    point: tuple[str, ...],
    yes: bool,
    draft: bool,
    **options: Any,
) -> None:
    """Remove an object from IMAGE by words, mask, box or point; replace or add one by words.

    --prompt, --find, --mask, --box and --point may be repeated: their regions are united. With a command
    ("remove the cat") masks, boxes and points say where to look; words without a verb ("a red ball") tell what shall
    appear there.

    \b
    restore inpaint photo.jpg --prompt "remove the cat"
    restore inpaint photo.jpg --prompt "erase the second person from the left" -o out.jpg
    restore inpaint photo.jpg --find text --find scratches
    restore inpaint photo.png --mask mask.png --report report.html --json
    restore inpaint photo.tif --box 120,80,200,150 --passes 5 --par 0.02
    restore inpaint photo.jpg --prompt "add a dog" --box 40,200,160,120 --shape-precision 0.3
    restore inpaint photo.jpg --prompt "replace the cat with a fox" --model sd15-inpaint
    restore inpaint scene.png --prompt "remove the cup left of the plate" --model instruct
    curl … | restore inpaint - --box 20,30,80,60 --format png > out.png
    """
    if not (prompt or find or mask or box or point):
        raise click.UsageError("expected --prompt, --find, --mask, --box or --point to say what to remove, got none")
    from restore.edit.request import to_inpaint
    from restore.images.mask import parse_box, parse_point

    boxes, points = [parse_box(text) for text in box], [parse_point(text) for text in point]

    def asked(model: str, photo: AnyPhoto) -> Request:
        return to_inpaint(model, photo, prompt, mask, boxes, points, find, like=photo, sure=not yes)

    _run(image, asked, lambda engine: partial(engine.inpainted, draft=draft), options)


@click.command()
@click.option("--mask", type=click.Path(), help="Look for artifacts only here (white); default: anywhere.")
@run_options
def refine(image: str, mask: str | None, **options: Any) -> None:
    """Find the artifacts in IMAGE, made by any tool, and repair only those.

    \b
    restore refine filled.png -o better.png
    restore refine filled.png --mask mask.png --report report.html
    """
    from restore.edit.request import to_refine

    _run(image, lambda _, photo: to_refine(photo, mask, like=photo), lambda engine: engine.refined, options)


def _models(options: dict[str, Any]) -> Models:
    from restore.edit.choose import models_for, settings_for

    names = ["seed", "passes", "max_seconds", "par", "candidates", "steps", "model", "transformer", "quantize"]
    names += ["grounder", "judge", "device", "shape_precision"]
    changes = {name: options.get(name) for name in names} | {"offline": options["offline"] or None}
    changes["lora"] = options["lora"] or None
    changes["mark"] = False if options["no_mark"] else None
    return models_for(settings_for(options["config"], **changes))


def _run(
    image: str,
    ask: Callable[[str, AnyPhoto], Request],
    method: Callable[[Engine], Callable[..., InpaintResult]],
    options: dict[str, Any],
) -> None:
    """Check everything that can be checked without models, run, then write."""
    from restore.images.files import check_place
    from restore.images.photo import check_output

    models = _models(options)
    overwrite = options["overwrite"]
    photo = read_any(image, options["frame"])
    goal = goal_of(image, photo, options)
    signer = signer_of(options)
    if signer is not None:
        signer.check(goal.kind, photo)
    if options["save_mask"] is not None:
        check_output(options["save_mask"], overwrite=overwrite)
    if options["report"] is not None:
        check_place(Path(options["report"]), overwrite=overwrite)
    request = ask(models.settings.model, photo)
    from tqdm import tqdm

    from restore.api import Engine

    engine = Engine(models=models)
    with tqdm(total=None, desc="fills", unit="fill", file=sys.stderr, disable=None, leave=False) as bar:

        def on_step(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        try:
            result = method(engine)(request, on_step=on_step)
        except UnsureError as error:
            if options["as_json"]:
                click.echo(json.dumps({"output": None, "candidates": error.candidates}))
            raise
    _write(result, goal, None if signer is None else signer.seal(result, image), options)


def _write(result: InpaintResult, goal: Goal, seal: Seal | None, options: dict[str, Any]) -> None:
    from restore.images.mask import save_mask

    overwrite = options["overwrite"]
    goal.write(result.photo, overwrite=overwrite, seal=seal)
    if options["save_mask"] is not None:
        save_mask(result.mask, options["save_mask"], overwrite=overwrite)
    if options["save_passes"] is not None:
        result.save_passes(options["save_passes"], overwrite=overwrite)
    if options["report"] is not None:
        result.report(options["report"], overwrite=overwrite)
    if options["as_json"]:
        click.echo(json.dumps(result.summary(goal.path) | {"signed": seal is not None}))
        return
    last = result.kept[-1]
    goal.say(
        f"{goal.path}: {len(result.passes)} pass{'es' * (len(result.passes) != 1)}, PAR {last.par_hole:.3f}, "
        f"quality {last.quality:.0f}, stopped by {result.stop}, {result.seconds:.1f} s"
    )
    if result.presence is not None and not result.presence.right:
        click.echo(f"restore: {result.presence.sentence}; try another --seed, or a mask", err=True)
