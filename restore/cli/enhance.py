"""`restore enhance`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from restore.cli.pipes import Goal, goal_of, read, sign_options, signer_of, stream_options
from restore.enhancement.damage import Damage
from restore.enhancement.tasks import NAMES, OLD_PHOTO, PASSES, STEPS, read_motion, read_term
from restore.errors import InputError
from restore.pipelines.restoration.sampling import METHODS, Sampling
from restore.settings import DEVICES, Settings, load_mapping

if TYPE_CHECKING:
    from restore.images.photo import Photo, Seal
    from restore.results import EnhanceResult


def configured(context: click.Context, _: click.Parameter, path: str | None) -> None:
    """Make the values of a YAML file the defaults of the command's options."""
    if path is None:
        return
    options = {name.lstrip("-").replace("-", "_"): p.name for p in context.command.params for name in p.opts}
    known = [name for name, p in options.items() if len(name) > 1 and p not in ("images", "config", "help")]
    values = load_mapping(path, known)
    context.default_map = {str(options[name]): _text(value) for name, value in values.items()}


def _text(value: Any) -> Any:
    """As it would stand on the command line, so that it is checked alike."""
    return [_text(v) for v in value] if isinstance(value, list) else str(value)


@click.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(), metavar="IMAGE…")
@click.option("--task", required=True, type=click.Choice(NAMES), help="What to undo.")
@click.option("--scale", type=click.Choice(["2", "3", "4", "8"]), default=str(Damage.scale), show_default=True,
              help="super-resolution.")  # fmt: skip
@click.option("--kernel-kind", type=click.Choice(["bicubic", "area"]), default=Damage.kernel_kind, show_default=True,
              help="super-resolution: how the picture was made small.")  # fmt: skip
@click.option("--blur", type=float, help="deblur: width of a Gaussian, pixels; unknown: estimated.")
@click.option("--motion", help="deblur: LENGTH,ANGLE of a straight motion, pixels and degrees.")
@click.option("--disk", type=float, help="deblur: radius of a defocus disk, pixels.")
@click.option("--kernel", type=click.Path(), help="deblur: picture of the kernel.")
@click.option("--noise", type=float, help="denoise, deblur, low-light: deviation in levels of 255; unknown: estimated.")
@click.option("--peak", type=float, help="denoise: Poisson noise of this many counts at white.")
@click.option("--quality", type=int, help="dejpeg: the encoder's quality, 1 to 100; default: from the file.")
@click.option("--target", type=float, default=Damage.target, show_default=True,
              help="low-light, hdr: brightness wanted, 0 to 1.")  # fmt: skip
@click.option("--degradation", help='compose: what happened in which order, e.g. "blur:2,downsample:2,jpeg:30".')
@click.option("--mask", type=click.Path(), help="inpaint: image of the photo's size; white is lost.")
@click.option("--keep", multiple=True, type=click.Choice(STEPS), help="old-photo: leave this alone. Repeatable.")
@click.option("--neutral", is_flag=True, help="old-photo: the tint of a photo of one tint, such as sepia, goes too.")
@click.option("--same-film", is_flag=True, help="old-photo: the IMAGEs are of one film and get the same curves; "
              "-o is a folder then.")  # fmt: skip
@click.option("--mask-out", type=click.Path(), help="old-photo: write which pixels were painted over.")
@click.option("--method", type=click.Choice(METHODS), default=Sampling.method, show_default=True,
              help="direct: one look of a network that is told the damage, for super-resolution, Gaussian deblur, "
                   "denoise, dejpeg, low-light and hdr; others, and where steps or the like are given: "
                   "half-quadratic.")  # fmt: skip
@click.option(
    "--best", is_flag=True, help="Direct: the mean of eight looks, turned and mirrored; eight times the time."
)
@click.option("--steps", type=int, help="Denoising steps. [default: 1 to 10, by task]")
@click.option("--respaced", is_flag=True, help="Space the steps as DDPM does (25, 50, 100, 250 steps).")
@click.option("--start", type=float, help="Noise level to start from, in [-1, 1] pixels. [default: the picture's own]")
@click.option("--strength", type=float, default=Sampling.strength, show_default=True,
              help="Weight of the picture against the prior.")  # fmt: skip
@click.option("--guidance-steps", type=int, default=Sampling.guidance_steps, show_default=True,
              help="gdp: gradient steps per denoising step.")  # fmt: skip
@click.option("--temperature", type=float, help="0: one best answer; 1: a sample. [default: by method]")
@click.option("--term", "terms", multiple=True, metavar="NAME=WEIGHT",
              help="Quality term: exposure, colour, spatial or variation; 0 switches it off. Repeatable.")  # fmt: skip
@click.option("--passes", type=int, default=PASSES, show_default=True,
              help="Most passes; those after the first mend the worst parts.")  # fmt: skip
@click.option("--config", type=click.Path(), is_eager=True, expose_value=False, callback=configured,
              help="YAML file of these options, e.g. 'task: denoise'; options given here win.")  # fmt: skip
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    help="Where to write, '-' for stdout; default IMAGE with .restored before its suffix.",
)
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@click.option("--report", type=click.Path(), help="Write an HTML report.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else there.")
@click.option("--seed", type=int, default=Settings.seed, show_default=True, help="Same seed, same pixels.")
@click.option("--model", default=Settings.model, show_default=True,
              help="builtin, a diffusers folder, a .safetensors file, or realesrgan: sharp super-resolution that "
                   "invents detail (pip install 'restore[realesrgan]').")  # fmt: skip
@click.option("--device", type=click.Choice(DEVICES), default=Settings.device, show_default=True,
              help="Where to compute.")  # fmt: skip
@click.option("--offline", is_flag=True, help="Never touch the network (this command never does).")
@sign_options
@stream_options
def enhance(images: tuple[str, ...], output: str | None, overwrite: bool, report: str | None, as_json: bool,
            kind: str | None, frame: int | None, same_film: bool, mask_out: str | None,
            **options: Any) -> None:  # fmt: skip
    """Undo what happened to IMAGE: smallness, blur, noise, lost colour or pixels, darkness, JPEG blocks.

    \b
    restore enhance small.jpg --task super-resolution --scale 4 -o large.png
    restore enhance small.jpg --task super-resolution --scale 4 --model realesrgan
    restore enhance soft.png --task deblur --blur 2 --best
    restore enhance grainy.jpg --task denoise
    restore enhance dark.jpg --task low-light --target 0.4 --report report.html
    restore enhance old.jpg --task compose --degradation "blur:1.5,downsample:2,jpeg:30"
    restore enhance scan.jpg --task old-photo --keep tone
    restore enhance under.jpg middle.jpg over.jpg --task hdr -o merged.jpg
    """
    from restore.images.files import check_place
    from restore.images.mask import load_mask, save_mask
    from restore.images.photo import check_output

    task = options["task"]
    if task != "hdr" and len(images) != 1 and not same_film:
        hint = "; scans of one film: add --same-film" if task == OLD_PHOTO else "; only hdr takes several"
        raise InputError(f"expected one photo for {task}, got {len(images)}{hint}")
    if task != OLD_PHOTO and (same_film or mask_out is not None):
        raise InputError(f"expected --same-film and --mask-out with --task {OLD_PHOTO} only, got {task}")
    if same_film and (report is not None or mask_out is not None):
        raise InputError("expected --report and --mask-out of one photo, got them with --same-film; leave them out")
    motion = None if options["motion"] is None else read_motion(options["motion"])
    options |= {"scale": int(options["scale"]), "motion": motion}
    options["terms"] = dict(map(read_term, options["terms"]))
    photos = [read(path, frame) for path in images]
    asked = {"output": output, "kind": kind, "as_json": as_json, "overwrite": overwrite}
    scale = options["scale"] if task == "super-resolution" else 1
    if same_film:
        goals = _goals_in(output, images, photos, asked)
    else:
        goals = [goal_of(images[0], photos[0], asked, scale=scale)]
    signer = signer_of(options)
    if signer is not None:
        for goal, photo in zip(goals, photos, strict=False):
            signer.check(goal.kind, photo)
    mark = not options.pop("no_mark")
    for name in ("offline", "sign_cert", "sign_key", "tsa"):
        del options[name]
    if report is not None:
        check_place(Path(report), overwrite=overwrite)
    if mask_out is not None:
        check_output(mask_out, overwrite=overwrite)
    if options["mask"] is not None:
        options["mask"] = load_mask(options["mask"], photos[0].size)
    from tqdm import tqdm

    from restore.api import Engine

    engine = Engine(device=options.pop("device"))
    if same_film:
        options["film"] = engine.film(photos, neutral=options["neutral"])
    given_each = photos if same_film else [photos if task == "hdr" else photos[0]]
    for path, goal, given in zip(images, goals, given_each, strict=False):
        with tqdm(total=None, desc="steps", unit="step", file=sys.stderr, disable=None, leave=False) as bar:

            def on_step(done: int, total: int, bar: Any = bar) -> None:
                bar.total = total
                bar.update(done - bar.n)

            result = engine.enhance(given, on_step=on_step, mark=mark, **options)
        seal = None if signer is None else signer.seal(result, path)
        _write(result, goal, seal, overwrite, report, as_json)
        if mask_out is not None and result.mask is not None:
            save_mask(result.mask, mask_out, overwrite=overwrite)


def _goals_in(folder: str | None, images: tuple[str, ...], photos: list[Photo], asked: dict[str, Any]) -> list[Goal]:
    """Where each scan of a film goes: into the folder under its own name, or beside the scan."""
    if folder is not None and not Path(folder).is_dir():
        raise InputError(f"expected -o FOLDER with --same-film, got no folder {folder}; make it first")
    names = [Path(image).name for image in images]
    if folder is not None and len(set(names)) < len(names):
        raise InputError("expected scans of different names with -o FOLDER, got two of one name")
    outputs = [None if folder is None else str(Path(folder) / name) for name in names]
    return [goal_of(i, p, asked | {"output": o}) for i, p, o in zip(images, photos, outputs, strict=True)]


def _write(
    result: EnhanceResult, goal: Goal, seal: Seal | None, overwrite: bool, report: str | None, as_json: bool
) -> None:
    goal.write(result.photo, overwrite=overwrite, seal=seal)
    if report is not None:
        result.report(report, overwrite=overwrite)
    if as_json:
        click.echo(json.dumps(result.summary(goal.path) | {"signed": seal is not None}))
        return
    if result.nothing:
        goal.say(f"{goal.path}: nothing to restore, {result.nothing}; the photo is unchanged")
        return
    found = "".join(f", {name} {value}" for name, value in result.parameters.items())
    if result.invented:
        found += ", its detail is invented"
    first, last = result.passes[0], result.passes[-1]
    goal.say(
        f"{goal.path}: {result.task} in {result.steps} steps{found}, PAR {first.par_image:.3f} → {last.par_image:.3f}, "
        f"score {first.score:.0f} → {last.score:.0f}, {result.seconds:.1f} s"
    )
