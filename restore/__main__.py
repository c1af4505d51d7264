"""The program: `restore`, and `python -m restore`."""

from __future__ import annotations

import io
import os
import sys


def run() -> None:
    """The command line as a process; ends with its exit code."""
    try:
        from restore.cli import main

        for stream in (sys.stdout, sys.stderr):  # file names may hold bytes that are no text
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="surrogateescape" if stream is sys.stdout else "backslashreplace")
        main()
    except KeyboardInterrupt:  # before the command line could say so itself
        print("restore: interrupted; nothing was written", file=sys.stderr)
        _leave(130)
    except SystemExit as end:
        if end.code == 130:
            _leave(130)
        raise


def _leave(code: int) -> None:
    """Exit with `code` whatever Python thinks: an interrupt inside a C extension's start, such as torch's, makes it
    end the process by the signal although the exception was handled."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    run()
