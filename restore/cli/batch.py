"""`restore batch`: the single commands over many pictures."""

from __future__ import annotations

import json
import sys
import time
from copy import copy
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from restore.cli.assess import assess
from restore.cli.enhance import enhance
from restore.cli.inpaint import inpaint, refine
from restore.cli.pipes import FORMATS, signer_of
from restore.errors import Cancelled

if TYPE_CHECKING:
    from restore.batching.run import Batch

EVERY = 60.0  # seconds between lines of progress where there is no terminal
TOLD = 20  # wrong rows that --dry-run lists; --json lists all
SIGNING = {"no_mark", "sign_cert", "sign_key", "tsa"}  # options of a single command that are no settings
# Options of a single command that a batch has of its own, or that mean one picture.
_SINGLE = {
    *("image", "images", "output", "overwrite", "report", "as_json", "kind", "save_mask", "save_passes", "offline"),
    *("csv_file", "html_file", "jobs", "cache", "no_cache", "mbc", "same_film", "mask_out"),
}


@click.group()
def batch() -> None:
    """Work through a folder, glob, list or table of pictures; stopped anywhere, the same command goes on.

    \b
    restore batch inpaint photos/ -o clean/ --prompt "remove the watermark"
    restore batch inpaint photos/ -o clean/ --mask "{stem}_mask.png" --keep-if "par_hole < 0.1" --review
    restore batch inpaint table.csv -o clean/ --dry-run       # columns image, prompt, mask, box, output, any setting
    restore batch enhance "scans/**/*.jpg" -o better/ --task dejpeg --workers 4
    restore batch assess photos/ -o judged/
    """


def _own_options(writes: bool) -> list[click.Parameter]:
    """Options of every batch."""

    def option(*names: str, **more: Any) -> click.Option:
        return click.Option(names, **more)

    own: list[click.Parameter] = [
        click.Argument(["source"], metavar="SOURCE"),
        option("-o", "--output", required=True, type=click.Path(), help="Folder of results; made if absent."),
    ]
    if writes:
        own += [
            option("--name", "template", default="{stem}{suffix}", show_default=True, help="What outputs are called."),
            option(
                "--format", "kind", type=click.Choice(FORMATS, case_sensitive=False), help="Write all in this format."
            ),
            option("--review", is_flag=True, help="Also write review.html: the worst pictures before and after."),
        ]
    return [
        *own,
        option("--keep-if", metavar="CONDITION",
               help="E.g. 'par_hole < 0.1 and quality > 50'; other results go to OUT/rejected."),
        option("--dry-run", is_flag=True, help="Tell what would be done and what is wrong; write nothing."),
        option("--retry-failed", is_flag=True, help="Try again what failed in earlier runs."),
        option("--max-errors", type=click.IntRange(1), metavar="N", help="Stop after N failures."),
        option("--timeout", type=click.FloatRange(0, min_open=True), metavar="S", help="Most seconds for one picture."),
        option("--workers", type=click.IntRange(1), metavar="N",
               help="Pictures at once. [default: by cores, memory and GPUs]"),
        option("--threads", type=click.IntRange(1), default=1, show_default=True,
               help="CPU threads of a worker; another number rounds differently."),
        option("--recycle", type=click.IntRange(1), metavar="N", help="Replace a worker after N pictures."),
        option("--memory", type=click.FloatRange(0, min_open=True), metavar="GB", help="Replace a worker above this."),
        option("--content", is_flag=True, help="Know pictures again by content, not by size and time."),
        option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
               help="Processes of this machine, or a Ray cluster."),
        option("--address", help="Of a running Ray cluster, or 'auto'. [default: Ray on this machine]"),
        option("--ledger", "folder", type=click.Path(), help="Folder of results.jsonl where OUT is a URL (s3://…)."),
        option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else there."),
    ]  # fmt: skip


def _of(single: click.Command) -> click.Command:
    """The command over many pictures: its own options, and those of the single one that may vary by picture."""
    command = str(single.name)
    params = [copy(p) for p in single.params if p.name not in _SINGLE]
    for param in params:
        param.required = False  # a table may say it
    names = [str(p.name) for p in params]
    about = (single.help or "").split("\n\n")[0]

    def run(**values: Any) -> None:
        context = click.get_current_context()
        settings = {name: values.pop(name, None) for name in names}
        _run(context, command, settings, values)

    return click.Command(
        command,
        callback=run,
        params=[*_own_options(command != "assess"), *params],
        help=f"`restore {command}` over SOURCE: a folder, glob, list or table.\n\n{about}",
        short_help=f"restore {command}, over many pictures.",
    )


def _run(context: click.Context, command: str, values: dict[str, Any], own: dict[str, Any]) -> None:
    from restore.batching.job import Job
    from restore.batching.run import Batch, How

    given = {name for name in values if context.get_parameter_source(name) is not ParameterSource.DEFAULT}
    settings = {n: value for n, value in values.items() if n in given - SIGNING and value is not None}
    if (config := settings.pop("config", None)) is not None:
        from restore.settings import load_settings

        settings = load_settings(config) | settings
    names = ("folder", "keep_if", "content", "threads", "timeout", "recycle", "memory")
    more: dict[str, Any] = {}
    if command != "assess":
        more = {"name": own["template"], "kind": own["kind"], "sign": signer_of(values | {"offline": False})}
    if values.get("no_mark"):
        settings["mark"] = False
    job = Job(command, own["output"], settings, **more, **{name: own[name] for name in names})
    ways = ("engine", "address", "workers", "retry_failed", "max_errors")
    made = Batch(job, own["source"], How(**{n: own[n] for n in ways}, review=own.get("review", False)))
    failed = (_dry_run if own["dry_run"] else _work)(made, own["as_json"])
    if failed:
        context.exit(1)


def _dry_run(made: Batch, as_json: bool) -> bool:
    wrong, shown = [], 0
    for item in made.dry_run():
        if "error" in item:
            wrong.append(item["error"])
            if not as_json and len(wrong) <= TOLD:
                click.echo(f"restore: {item['error']}", err=True)
        elif not as_json and shown < TOLD:
            shown += 1
            told = ", ".join(f"{name} {value}" for name, value in item["settings"].items())
            click.echo(f"{item['image']} -> {item['id']}{': ' if told else ''}{told}")
    counts = made.counts
    if as_json:
        click.echo(json.dumps(vars(counts) | {"errors": wrong}))
    else:
        click.echo(
            f"{counts.rows} pictures: {counts.todo} to do, {counts.done} done, {counts.failed} failed before, "
            f"{counts.wrong} wrong{' (the first are listed)' if counts.wrong > TOLD else ''}"
        )
    return bool(wrong)


def _work(made: Batch, as_json: bool) -> bool:
    from tqdm import tqdm

    with tqdm(total=None, desc="pictures", unit="picture", file=sys.stderr, disable=None, leave=False) as bar:
        records = made.run(on_plan=lambda rows: bar.set_description(f"{rows} rows planned"))
        line = _Line()
        try:
            for record in records:
                if record["error"] is not None:
                    bar.clear()
                    click.echo(f"restore: {record['error']}", err=True)
                bar.total = made.counts.todo + made.counts.wrong
                bar.set_description("pictures", refresh=False)
                bar.set_postfix(failed=made.failed, refresh=False)
                bar.update()
                if bar.disable:
                    line.tell(made)
        except KeyboardInterrupt:
            raise Cancelled(f"interrupted; {made.done} pictures were done, the same command goes on") from None
        finally:
            records.close()
    counts = made.counts
    if as_json:
        told = {"done": made.done, "failed": made.failed, "rejected": made.rejected, "before": counts.done}
        click.echo(json.dumps(told | {"failed_before": counts.failed, "rows": counts.rows, "stopped": made.stopped}))
    else:
        aside = f" ({made.rejected} of them put aside)" if made.job.keep_if else ""
        before = f", {counts.done} done before" if counts.done else ""
        before += f", {counts.failed} failed before (--retry-failed)" if counts.failed else ""
        stopped = f"; stopped: {made.stopped}" if made.stopped else ""
        click.echo(f"{made.job.out}: {made.done} done{aside}, {made.failed} failed{before}{stopped}; see summary.html")
    return made.failed > 0 or counts.failed > 0


class _Line:
    """Progress in a log: a line every minute."""

    def __init__(self) -> None:
        self.begun = self.told = time.monotonic()

    def tell(self, made: Batch) -> None:
        now, finished = time.monotonic(), made.done + made.failed
        if now - self.told < EVERY:
            return
        self.told, rate, total = now, finished / (now - self.begun), made.counts.todo + made.counts.wrong
        click.echo(
            f"restore: {finished} of {total} pictures, {made.failed} failed, {60 * rate:.1f} a minute, "
            f"{(total - finished) / rate / 60:.0f} minutes left",
            err=True,
        )


for _single in (inpaint, enhance, refine, assess):
    batch.add_command(_of(_single))
