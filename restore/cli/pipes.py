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
    from restore.images.photo import Photo, Seal
    from restore.provenance.credentials import Signer

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


def sign_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of commands that tell of an edit in what they write."""
    for option in (
        click.option("--tsa", help="URL of a time stamping authority, asked when signing."),
        click.option("--sign-key", type=click.Path(), help="PEM file of the private key to sign with."),
        click.option("--sign-cert", type=click.Path(), help="Sign Content Credentials (C2PA): PEM file, yours first."),
        click.option("--no-mark", is_flag=True, help="Do not tell of the edit in the result's XMP."),
    ):
        command = option(command)
    return command


def signer_of(options: dict[str, Any]) -> Signer | None:
    """Who signs, by the options sign_cert, sign_key, tsa, no_mark and offline; None where nobody does."""
    cert, key, tsa = options["sign_cert"], options["sign_key"], options["tsa"]
    if cert is None and key is None and tsa is None:
        return None
    if cert is None or key is None:
        raise click.UsageError("expected both --sign-cert and --sign-key to sign, got one of them")
    for name, wrong in (("--no-mark", options["no_mark"]), ("--offline", options["offline"] and tsa is not None)):
        if wrong:
            raise click.UsageError(f"expected {'--sign-cert' if name == '--no-mark' else '--tsa'} or {name}, got both")
    from restore.provenance.credentials import Signer

    return Signer(cert, key, tsa)


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

    def write(self, photo: AnyPhoto, *, overwrite: bool, seal: Seal | None = None) -> None:
        from restore.images.huge import HugePhoto, save_any
        from restore.images.photo import encoded

        if self.path != STREAM:
            save_any(photo, self.path, kind=self.kind, overwrite=overwrite, seal=seal)
            return
        assert not isinstance(photo, HugePhoto)  # what came as a file goes to one
        content = encoded(photo, self.kind, "standard output")
        sys.stdout.buffer.write(content if seal is None else seal(content, self.kind))
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
