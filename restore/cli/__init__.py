"""The command line, one file per command. Heavy imports wait until the arguments are known to be good."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import click

from restore.cli.assess import assess
from restore.cli.batch import batch
from restore.cli.compare import compare
from restore.cli.dataset import dataset
from restore.cli.enhance import enhance
from restore.cli.inpaint import inpaint, refine
from restore.cli.models import models
from restore.cli.provenance import provenance
from restore.cli.rank import rank
from restore.cli.segment import segment
from restore.cli.serve import serve
from restore.cli.train import train
from restore.errors import Cancelled, InputError, RestoreError

EPILOG = """\b
Exit codes: 0 done; 1 some pictures of a batch failed; 2 bad usage or
unreadable input; 3 object not found; 4 model not available; 130 interrupted."""


class Group(click.Group):
    """Turns this package's errors and warnings into one line on stderr, errors into their exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        warnings.formatwarning = lambda message, *_, **__: f"restore: {message}\n"
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("restore: %(message)s"))
        logging.getLogger("PIL").addHandler(logging.NullHandler())  # what matters of it becomes an error
        log = logging.getLogger("restore")
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        try:
            return super().invoke(ctx)
        except RestoreError as error:
            click.echo(f"restore: {error}", err=True)
            ctx.exit(error.exit_code)
        except MemoryError:
            click.echo("restore: expected enough memory, got too little; give a smaller photo or region", err=True)
            ctx.exit(InputError.exit_code)
        except (KeyboardInterrupt, click.Abort):
            click.echo("restore: interrupted; nothing was written", err=True)
            ctx.exit(Cancelled.exit_code)
        finally:
            log.removeHandler(handler)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EPILOG)
@click.version_option(package_name="restore")
def main() -> None:
    """Repair and edit photographs, and judge the result.

    \b
    restore inpaint photo.jpg --prompt "remove the cat"
    restore refine edited.png -o better.png
    restore segment photo.jpg --prompt "remove every person" -o mask.png
    restore assess photo.jpg
    restore rank outputs/ --keep 0.8
    restore compare ours/ theirs/ --reference originals/
    restore enhance photo.jpg --task dejpeg
    restore serve
    restore batch inpaint photos/ -o clean/ --prompt "remove the cat"
    """


for command in (
    inpaint, refine, enhance, segment, batch, assess, rank, compare, provenance, serve, train, dataset, models
):  # fmt: skip
    main.add_command(command)
