"""What photos are read from and written to: files, or `-` for standard input and output."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from restore.images.huge import AnyPhoto
    from restore.images.photo import Photo

STREAM = "-"
FORMATS = ("jpeg", "png", "webp", "tiff", "bmp")


def stream_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of commands that write a photo."""
    for option in (
        click.option(
            "--format",
            "kind",
            type=click.Choice(FORMATS, case_sensitive=False),
            help="What to write. [default: by the output's suffix; to '-' as the input]",
        ),
        click.option("--frame", type=click.IntRange(1), help="Of an animation or several pages this one, from 1."),
    ):
        command = option(command)
    return command


def read_any(image: str, frame: int | None = None) -> AnyPhoto:
    """As `read`, left on disk where it is too large for memory."""
    from restore.images.huge import open_photo

    return read(image, frame) if image == STREAM else open_photo(image, frame)


def read(image: str, frame: int | None = None) -> Photo:
    """The photo in a file, or on standard input. Raises InputError."""
    from restore.errors import InputError
    from restore.images.photo import load_photo, read_photo

    if image != STREAM:
        return load_photo(image, frame)
    data = b"" if sys.stdin.isatty() else sys.stdin.buffer.read()
    if not data:
        raise InputError("standard input: expected an image, got nothing; pipe one in, or name a file")
    return read_photo(io.BytesIO(data), "standard input", frame)


@dataclass(frozen=True)
class Goal:
    """Where a photo goes and in which format (a value of `decode.SUFFIXES`)."""

    path: str
    kind: str

    def write(self, photo: AnyPhoto, *, overwrite: bool) -> None:
        from restore.images.encode import encode
        from restore.images.huge import HugePhoto, save_any

        if self.path != STREAM:
            save_any(photo, self.path, kind=self.kind, overwrite=overwrite)
            return
        assert not isinstance(photo, HugePhoto)  # what came as a file goes to one
        buffer = io.BytesIO()
        encode(photo.native, photo.mode, photo.meta, self.kind, buffer, "standard output")
        sys.stdout.buffer.write(buffer.getvalue())
        sys.stdout.buffer.flush()

    def say(self, text: str) -> None:
        """On stdout, or beside it where that is the photo."""
        click.echo(text, err=self.path == STREAM)


def goal_of(image: str, photo: AnyPhoto, options: dict[str, Any], *, scale: int = 1) -> Goal:
    """Where the result for `image` goes: output, kind, as_json and overwrite in `options`; all that can be checked is.

    Raises InputError as `huge.check_goal` does, and UsageError for JSON and a photo on one stream.
    """
    from restore.errors import InputError
    from restore.images.huge import HugePhoto, check_goal, check_kind
    from restore.images.photo import default_output

    kind = None if options["kind"] is None else options["kind"].upper()
    path = options["output"]
    if path is None:
        path = STREAM if image == STREAM else os.fspath(default_output(image, kind or photo.meta.format))
    if path != STREAM:
        return Goal(path, check_goal(photo, path, kind=kind, scale=scale, overwrite=options["overwrite"]))
    if options["as_json"]:
        raise click.UsageError("expected --output FILE with --json, got a photo and JSON on one standard output")
    if isinstance(photo, HugePhoto):
        raise InputError("expected --output FILE for so large a photo, got standard output")
    kind = kind or photo.meta.format or "PNG"
    check_kind(photo, kind, "standard output", scale=scale)
    return Goal(STREAM, kind)
