"""`restore train`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from restore.errors import InputError


@click.command()
@click.argument("name")
@click.option("--config", type=click.Path(path_type=Path), help="YAML recipe: what differs from the packaged one.")
@click.option(
    "--data",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of images, folder with photos-*.tar, tar shard or decoded cache; repeatable.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Run folder. [default: runs/NAME]")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Budget of the run, resumptions included.")
@click.option("--resume", is_flag=True, help="Go on exactly where the run folder's checkpoint stands.")
@click.option("--from", "warm", type=click.Path(path_type=Path), help="Start from weights (.safetensors).")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads. [default: all cores]")
@click.option("--workers", type=click.IntRange(min=0), help="Processes that make batches. [default: none on a CPU]")
@click.option("--tensorboard", is_flag=True, help="Also log to OUT/tensorboard.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else there.")
def train(
    name: str,
    config: Path | None,
    data: tuple[Path, ...],
    out: Path | None,
    minutes: float | None,
    resume: bool,
    warm: Path | None,
    threads: int | None,
    workers: int | None,
    tensorboard: bool,
    as_json: bool,
) -> None:
    """Train the model NAME: draft, prior, restorer, instruct, shape, grounder, judge, expectation, scorer, natural,
    mbc or overlay.

    The run folder gets checkpoint.pt (every few minutes, at the end, on Ctrl-C), weights.safetensors (averaged),
    losses.csv, curves.png and run.json. The learning rate falls to zero at the end of --minutes or of the recipe's
    steps, whichever comes first.

    \b
    restore train draft --data my-photos --minutes 60
    restore train draft --data my-photos --minutes 120 --resume
    restore train draft --data my-photos --config wide.yaml --from restore/weights/draft.safetensors
    accelerate launch --multi_gpu -m restore train draft --data my-photos
    """
    from restore.training.tasks import load_recipe, task_class

    recipe = load_recipe(name, config)
    if resume and warm is not None:
        raise InputError("expected --resume or --from, got both; a resumed run keeps its own weights")
    for path in (*data, *((warm,) if warm is not None else ())):
        if not path.exists():
            raise InputError(f"expected a file or folder, got no such path {path}; check the spelling")
    import cv2
    import torch

    from restore.training.loop import run

    if threads is not None:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
    record = run(
        task_class(name),
        name,
        recipe,
        list(data),
        out or Path("runs") / name,
        minutes=minutes or float("inf"),
        resume=resume,
        warm=warm,
        tensorboard=tensorboard,
        workers=workers,
    )
    if os.environ.get("RANK", "0") != "0":  # one of several processes speaks
        return
    if as_json:
        click.echo(json.dumps(record))
    else:
        scores = "".join(f", {key} {value:.4g}" for key, value in record["evaluation"].items())
        done = f"{record['step']} steps, {record['samples']} samples, {record['minutes']:.1f} minutes"
        click.echo(f"{done}{scores} -> {out or Path('runs') / name}")
