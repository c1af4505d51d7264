"""`restore dataset build`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from restore.errors import Cancelled
from restore.settings import DEVICES, Settings
from restore.training.dataset.options import BuildOptions, RemovalOptions


@click.group()
def dataset() -> None:
    """Make training sets out of annotated photos."""


@dataset.command()
@click.argument("annotations", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the data set; made if absent.")
@click.option("--images", type=click.Path(path_type=Path), help="Photos of a JSON file. [default: beside it]")
@click.option("--limit", type=click.IntRange(1), help="Stop at this many triplets. [default: all there are]")
@click.option("--seed", type=click.IntRange(0), default=RemovalOptions.seed, show_default=True,
              help="Same seed, same data set.")  # fmt: skip
@click.option("--passes", type=click.IntRange(1), default=RemovalOptions.passes, show_default=True,
              help="Most passes over a hole.")  # fmt: skip
@click.option("--candidates", type=click.IntRange(1), default=RemovalOptions.candidates, show_default=True,
              help="Fills per pass.")  # fmt: skip
@click.option("--par", type=click.FloatRange(0, 1), default=RemovalOptions.par, show_default=True,
              help="Keep removals of which at most this share of the hole looks wrong.")  # fmt: skip
@click.option("--per-photo", type=click.IntRange(1), default=BuildOptions.per_photo, show_default=True,
              help="Most removals from one photo.")  # fmt: skip
@click.option("--irrelevant", type=click.FloatRange(0, 0.9), default=BuildOptions.irrelevant, show_default=True,
              help="Share of instructions about what is not in the photo; their target is the source.")  # fmt: skip
@click.option("--short-side", type=click.IntRange(64), default=BuildOptions.short_side, show_default=True,
              help="Larger photos are reduced, pixels.")  # fmt: skip
@click.option("--shard-size", type=click.IntRange(1), default=BuildOptions.shard_size, show_default=True,
              help="Triplets per tar.")  # fmt: skip
@click.option("--device", type=click.Choice(DEVICES), default=Settings.device, show_default=True)
@click.option("--overwrite", is_flag=True, help="Begin anew: delete the data set that is in the folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else there.")
def build(annotations: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Triplets (photo, instruction, photo after it) out of annotated photos.

    ANNOTATIONS: COCO-style JSON, GQA or Visual Genome scene graphs, Pascal VOC folders, or objects.tar (ID.webp,
    ID.png with n = instance n, objects.jsonl). Objects are removed by the engine; kept is what passes: few artifacts,
    object gone, all else unchanged. Stopped anywhere, the same command goes on. Written are WebDataset shards,
    index.jsonl, stats.json, README.md and samples.html.

    \b
    restore dataset build instances_val2017.json --images val2017 --out triplets --limit 500
    restore dataset build VOCdevkit/VOC2012 --out triplets
    restore dataset build train_sceneGraphs.json --images gqa/images --out triplets
    """
    from restore.training.dataset.annotations import read_annotations

    records = [record for source in annotations for record in read_annotations(source, options["images"])]
    from tqdm import tqdm

    from restore.api import Engine
    from restore.training.dataset.removals import Remover
    from restore.training.dataset.triplets import build as build_triplets

    removal = RemovalOptions(**{name: options[name] for name in ("par", "passes", "candidates", "seed")})
    sizes = ("short_side", "per_photo", "irrelevant", "shard_size")
    chosen = BuildOptions(removal, **{name: options[name] for name in sizes})
    limit: int | None = options["limit"]
    with tqdm(total=limit, desc="triplets", unit="triplet", file=sys.stderr, disable=None, leave=False) as bar:

        def on_entry(accepted: int, rejected: int) -> None:
            bar.update(accepted - bar.n)
            bar.set_postfix(rejected=rejected, refresh=False)

        try:
            stats = build_triplets(
                records,
                out,
                chosen,
                lambda: Remover(Engine(device=options["device"]), removal),
                limit=limit,
                overwrite=options["overwrite"],
                on_entry=on_entry,
            )
        except KeyboardInterrupt:
            raise Cancelled(f"interrupted; the same command goes on with {out}") from None
    if options["as_json"]:
        click.echo(json.dumps({"out": str(out), **stats}))
        return
    click.echo(
        f"{out}: {stats['accepted']} triplets in {stats['shards']} shard{'s' * (stats['shards'] != 1)}, "
        f"{stats['removals']} removals of {stats['objects_tried']} objects tried ({stats['yield']:.0%})"
    )
    for reason, count in stats["rejected"].items():
        click.echo(f"  {count:6d} rejected: {reason}")
