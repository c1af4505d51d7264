"""`restore inpaint` and `restore refine`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from restore.cli.pipes import Goal, goal_of, read_any, stream_options

if TYPE_CHECKING:
    from restore.api import Engine
    from restore.results import InpaintResult
    from restore.settings import Settings


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
            click.option("--seed", type=int, help="Same seed, same pixels. [default: 0]"),
            click.option("--passes", type=int, help="Most passes over the hole. [default: 5]"),
            click.option(
                "--par",
                type=float,
                help="Stop when the share of bad pixels in the hole is at most this. [default: 0.05]",
            ),
            click.option("--candidates", type=int, help="Fills per pass for the judge to choose from. [default: 3]"),
            click.option("--steps", type=int, help="Denoising steps of sampled drafts. [default: 8]"),
            click.option("--model", help="What fills: a preset, hub id, folder or file. [default: builtin]"),
            click.option("--grounder", help="What finds objects, e.g. grounding-dino+sam. [default: builtin]"),
            click.option("--judge", help="What finds artifacts: a TorchScript FILE.pt. [default: builtin]"),
            click.option(
                "--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), help="Where to compute. [default: auto]"
            ),
            click.option("--config", type=click.Path(), help="YAML file of settings; options given here win."),
            click.option("--save-mask", type=click.Path(), help="Write the mask that was repainted."),
            click.option("--save-passes", type=click.Path(), help="Folder for the picture after every pass."),
            click.option("--offline", is_flag=True, help="Never touch the network (only 'models pull' ever does)."),
        ]
    ):
        command = option(command)
    return stream_options(command)


@click.command()
@click.option("--prompt", help='What to do, e.g. "remove the cat on the left".')
@click.option("--mask", type=click.Path(), help="Image of the photo's size; white is repainted.")
@click.option("--box", help="X,Y,W,H in pixels: repaint this box.")
@click.option("--point", help="X,Y in pixels: remove the object there.")
@click.option(
    "--shape-precision", type=float, help="Of an added object: 0 follows the mask exactly, 1 stands within its box."
)
@click.option("--draft", is_flag=True, help="An instant preview: one quick, soft guess.")
@run_options
def inpaint(
    image: str,
    prompt: str | None,
    mask: str | None,
    box: str | None,
    point: str | None,
    shape_precision: float | None,
    draft: bool,
    **options: Any,
) -> None:
    """Remove an object from IMAGE by words, mask, box or point; replace or add one by words.

    \b
    restore inpaint photo.jpg --prompt "remove the cat"
    restore inpaint photo.jpg --prompt "erase the second person from the left" -o out.jpg
    restore inpaint photo.png --mask mask.png --report report.html --json
    restore inpaint photo.tif --box 120,80,200,150 --passes 5 --par 0.02
    restore inpaint photo.jpg --prompt "add a dog" --box 40,200,160,120 --shape-precision 0.3
    restore inpaint photo.jpg --prompt "replace the cat with a fox" --model sd15-inpaint
    restore inpaint scene.png --prompt "remove the cup left of the plate" --model instruct
    curl … | restore inpaint - --box 20,30,80,60 --format png > out.png
    """
    from restore.images.mask import parse_box, parse_point

    if sum(x is not None for x in (mask, box, point)) > 1:
        raise click.UsageError("expected at most one of --mask, --box and --point, got several; keep one")
    if prompt is None and mask is None and box is None and point is None:
        raise click.UsageError("expected --prompt, --mask, --box or --point to say what to remove, got none")
    region = {
        "prompt": prompt,
        "mask": mask,
        "box": parse_box(box) if box is not None else None,
        "point": parse_point(point) if point is not None else None,
        "shape_precision": shape_precision,
        "draft": draft,
    }
    _run(image, lambda engine: engine.inpaint, region, options)


@click.command()
@click.option("--mask", type=click.Path(), help="Look for artifacts only here (white); default: anywhere.")
@run_options
def refine(image: str, mask: str | None, **options: Any) -> None:
    """Find the artifacts in IMAGE, made by any tool, and repair only those.

    \b
    restore refine filled.png -o better.png
    restore refine filled.png --mask mask.png --report report.html
    """
    _run(image, lambda engine: engine.refine, {"mask": mask}, options)


def _settings(options: dict[str, Any]) -> Settings:
    from restore.edit.choose import check_models, settings_for

    names = ("seed", "passes", "par", "candidates", "steps", "model", "grounder", "judge", "device")
    changes = {name: options[name] for name in names} | {"offline": options["offline"] or None}
    settings = settings_for(options["config"], **changes)
    check_models(settings)
    return settings


def _run(
    image: str,
    method: Callable[[Engine], Callable[..., InpaintResult]],
    region: dict[str, Any],
    options: dict[str, Any],
) -> None:
    """Check everything that can be checked without models, run, then write."""
    from restore.edit.choose import check_instruction
    from restore.grounding.instruction import parse
    from restore.images.files import check_place
    from restore.images.mask import load_mask
    from restore.images.photo import check_output

    settings = _settings(options)
    if region.get("prompt") is not None:
        check_instruction(settings.model, parse(region["prompt"]))
    overwrite = options["overwrite"]
    photo = read_any(image, options["frame"])
    goal = goal_of(image, photo, options)
    if options["save_mask"] is not None:
        check_output(options["save_mask"], overwrite=overwrite)
    if options["report"] is not None:
        check_place(Path(options["report"]), overwrite=overwrite)
    if region["mask"] is not None:
        region["mask"] = load_mask(region["mask"], photo.size)
    from tqdm import tqdm

    from restore.api import Engine

    engine = Engine(settings=settings)
    with tqdm(total=None, desc="fills", unit="fill", file=sys.stderr, disable=None, leave=False) as bar:

        def on_step(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        result = method(engine)(photo, on_step=on_step, **region)
    _write(result, goal, options)


def _write(result: InpaintResult, goal: Goal, options: dict[str, Any]) -> None:
    from restore.images.mask import save_mask

    overwrite = options["overwrite"]
    goal.write(result.photo, overwrite=overwrite)
    if options["save_mask"] is not None:
        save_mask(result.mask, options["save_mask"], overwrite=overwrite)
    if options["save_passes"] is not None:
        result.save_passes(options["save_passes"], overwrite=overwrite)
    if options["report"] is not None:
        result.report(options["report"], overwrite=overwrite)
    if options["as_json"]:
        click.echo(json.dumps(result.summary(goal.path)))
        return
    last = [p for p in result.passes if p.accepted][-1]
    goal.say(
        f"{goal.path}: {len(result.passes)} pass{'es' * (len(result.passes) != 1)}, PAR {last.par_hole:.3f}, "
        f"quality {last.quality:.0f}, stopped by {result.stop}, {result.seconds:.1f} s"
    )
    if result.presence is not None and not result.presence.right:
        click.echo(f"restore: {result.presence.sentence}; try another --seed, or a mask", err=True)
