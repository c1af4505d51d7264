"""The worker process: it owns the engine, which is not thread-safe, and does one case after the other."""

from __future__ import annotations

import logging
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore.errors import RestoreError
from restore.serve.case import Case
from restore.serve.errors import refused

if TYPE_CHECKING:
    from restore.edit.choose import Models
    from restore.serve.options import ServeOptions

log = logging.getLogger("restore")
TOO_LARGE = {
    "status": 400,
    "message": "image: expected one that fits into memory with its edit, got a larger one; send a smaller one",
    "code": "too_large",
    "param": "image",
}


def main(line: Connection, stopped: Any, models: Models, options: ServeOptions) -> None:
    """Take (number, folder, task, options) from the line until it closes, and send back (kind, number, what).

    kind: "ready" or "broken" once; "step", "pass" and "kept" on the way; "done" or "failed". stopped: shared memory
    that holds the number of the case nobody wants any more.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent says when to end
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(format="restore: %(message)s")
    from restore.images import limits

    limits.MAX_PIXELS = options.max_pixels
    try:
        from restore.api import Engine, Signer

        engine = Engine(models=models).load()
        signer = None if options.sign is None else Signer(**options.sign)
    except RestoreError as error:
        line.send(("broken", 0, refused(error)))
        return
    line.send(("ready", 0, {}))
    parent = os.getppid()
    while True:
        try:
            number, folder, task, asked = line.recv()
        except EOFError:
            return

        def say(kind: str, what: dict[str, Any], number: int = number) -> bool:
            if os.getppid() != parent:
                os._exit(0)  # nobody is left to work for
            line.send((kind, number, what))
            return bool(stopped.value != number)

        try:
            line.send(_answer(engine, Case(Path(folder), task, asked, signer), number, say))
        except BrokenPipeError:
            return


def _answer(engine: Any, case: Case, number: int, say: Any) -> tuple[str, int, dict[str, Any]]:
    from restore.serve.work import done

    try:
        return "done", number, done(engine, case, say)
    except RestoreError as error:
        told = refused(error)
        return "failed", number, told | {"message": told["message"].replace(f"{case.folder}{os.sep}", "")}
    except MemoryError:
        return "failed", number, TOO_LARGE
    except BrokenPipeError:
        raise
    except Exception:
        log.exception("%s failed", case.task)
        return "failed", number, {"status": 500, "message": "the edit failed; the server's log says more"}
