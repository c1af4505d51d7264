"""`restore serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from restore.cli.options import model_options, setting
from restore.cli.pipes import sign_options, signer_of
from restore.errors import ModelUnavailableError
from restore.serve.options import ServeOptions
from restore.settings import DEVICES


@click.command()
@click.option("--host", default=ServeOptions.host, show_default=True, help="Address to listen on.")
@click.option("--port", type=int, default=ServeOptions.port, show_default=True, help="0: any free one.")
@click.option("--api-key", envvar="RESTORE_API_KEY", help="What callers must send; needed unless HOST is this machine.")
@click.option("--allow-host", "allow_hosts", multiple=True, help="A further name the server may be called by.")
@click.option("--queue", type=int, default=ServeOptions.queue, show_default=True, help="Requests that may wait.")
@click.option("--deadline", type=float, default=ServeOptions.deadline, show_default=True,
              help="Seconds until a request is given up.")  # fmt: skip
@click.option("--max-bytes", type=int, default=ServeOptions.max_bytes, show_default=True, help="Of a request's body.")
@click.option("--max-pixels", type=int, default=ServeOptions.max_pixels, show_default=True, help="Of a photo.")
@click.option("--state", type=click.Path(path_type=Path), help="Folder of jobs. [default: in ~/.local/state/restore]")
@model_options()
@setting("grounder", "What finds objects, e.g. grounding-dino+sam.")
@setting("judge", "What finds artifacts: a TorchScript FILE.pt.")
@setting("passes", "Most passes over the hole, unless a request says.", type=int)
@setting("max-seconds", "Begin no pass that would end later than this, unless a request says.", type=float)
@setting("device", "Where to compute.", type=click.Choice(DEVICES))
@sign_options
@click.option("--config", type=click.Path(), help="YAML file of settings; options given here win.")
def serve(
    config: str | None,
    model: str | None,
    lora: tuple[str, ...],
    transformer: str | None,
    quantize: str | None,
    grounder: str | None,
    judge: str | None,
    passes: int | None,
    max_seconds: float | None,
    device: str | None,
    no_mark: bool,
    sign_cert: str | None,
    sign_key: str | None,
    tsa: str | None,
    **options: Any,
) -> None:
    """Serve image edits over HTTP, as OpenAI's API has them, and a page to brush on.

    \b
    restore serve                                     # then open http://127.0.0.1:8000
    restore serve --port 9000 --model sd15-inpaint
    RESTORE_API_KEY=… restore serve --host 0.0.0.0 --allow-host studio.local
    """
    asked = {"sign_cert": sign_cert, "sign_key": sign_key, "tsa": tsa, "no_mark": no_mark, "offline": False}
    signer = signer_of(asked)
    checked = ServeOptions(**options, sign=None if signer is None else signer.named())
    from restore.edit.choose import models_for, settings_for

    given: dict[str, Any] = {"model": model, "grounder": grounder, "judge": judge, "passes": passes, "device": device}
    given |= {"max_seconds": max_seconds, "lora": lora or None, "transformer": transformer, "quantize": quantize}
    models = models_for(settings_for(config, **given, mark=False if no_mark else None))
    try:
        from restore.serve.listen import serve as listen
    except ModuleNotFoundError as error:
        raise ModelUnavailableError(
            f"expected the packages that serving needs, {error.name} is missing; pip install 'restore[serve]'"
        ) from None
    listen(models, checked)
