"""The body of a request: text fields, and files that go to a case's folder. What a file is, its bytes say."""

from __future__ import annotations

import base64
import binascii
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from restore.serve.case import SENT
from restore.serve.errors import ApiError
from restore.serve.fields import Fields, wrong

MOST_IMAGES = 16
MOST_FILES = MOST_IMAGES + len(SENT) - 1
MOST_FIELDS = 100
MOST_TEXT = 2**20  # bytes of a text field
MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM")
Content = UploadFile | bytes
Sent = list[tuple[str, Content]]  # name of `SENT`, content; in order


async def read_body(request: Request) -> tuple[Fields, Sent]:
    """Text fields, and what was sent as files or data URLs, of a form or a JSON body. Raises ApiError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        values, sent = _of_json(await request.body())
    elif kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        values, sent = await _of_form(request)
    else:
        raise ApiError(415, f"expected a multipart/form-data or JSON body, got {kind or 'no type'!r}", "bad_type")
    images = sum(name == "image" for name, _ in sent)
    if images > MOST_IMAGES:
        raise wrong("image", f"at most {MOST_IMAGES} images", images)
    for name in SENT[1:]:
        if (several := sum(other == name for other, _ in sent)) > 1:
            raise wrong(name, "one file", several)
    return Fields(values), sent


def store(folder: Path, sent: Sequence[tuple[str, Content]]) -> int:
    """Write what was sent into the folder; how many images there were. Raises ApiError for what is no picture."""
    images = 0
    for name, content in sent:
        path = folder / (f"{name}-{images}" if name == "image" else name)
        images += name == "image"
        with path.open("xb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content.file.seek(0)
                shutil.copyfileobj(content.file, file, 2**20)
        with path.open("rb") as file:
            _check_picture(file, name)
    return images


def _check_picture(file: IO[bytes], name: str) -> None:
    head = file.read(12)
    if not head:
        raise ApiError(400, f"{name}: expected a picture, got an empty file", "invalid_image", name)
    if not head.startswith(MAGIC):
        raise ApiError(
            400, f"{name}: expected a JPEG, PNG, WebP, TIFF or BMP file, got something else", "invalid_image", name
        )


async def _of_form(request: Request) -> tuple[dict[str, list[str]], Sent]:
    try:
        form = await request.form(max_files=MOST_FILES, max_fields=MOST_FIELDS, max_part_size=MOST_TEXT)
    except HTTPException as error:
        told = f"body: expected a form that can be read, got: {error.detail}"
        raise ApiError(error.status_code, told, "bad_form") from None
    values: dict[str, list[str]] = {}
    sent: Sent = []
    for key, value in form.multi_items():
        name = key.removesuffix("[]")
        if isinstance(value, UploadFile):
            if name not in SENT:
                raise wrong(key, f"a file as {', '.join(SENT)}", "one under another name")
            sent.append((name, value))
        elif name in SENT and value:
            sent.append((name, from_data_url(name, value)))
        else:
            values.setdefault(key, []).append(value)
    return values, sent


def _of_json(body: bytes) -> tuple[dict[str, list[str]], Sent]:
    """As a form; pictures are data URLs, bare or as {"image_url": …}, `images` a list of them."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        raise ApiError(400, "body: expected JSON, got something that cannot be read as such", "bad_json") from None
    if not isinstance(told, dict):
        raise ApiError(400, f"body: expected a JSON object, got {type(told).__name__}", "bad_json")
    values: dict[str, list[str]] = {}
    sent: Sent = []
    for key, value in told.items():
        name = "image" if key == "images" else key.removesuffix("[]")
        each = value if isinstance(value, list) else [value]
        if name in SENT:
            sent += [(name, from_data_url(name, _url(name, one))) for one in each if one is not None]
        elif name in ("box", "point", "motion") and each and all(isinstance(v, (int, float)) for v in each):
            values[name] = [",".join(str(v) for v in each)]
        else:
            values[key] = [_as_text(key, one) for one in each if one is not None]
    return values, sent


def _as_text(name: str, value: Any) -> str:
    """A number or a list of numbers as it would stand in a form."""
    if isinstance(value, list) and all(isinstance(v, (int, float)) for v in value):
        return ",".join(str(v) for v in value)
    if isinstance(value, (dict, list)):
        raise wrong(name, "text, a number or true or false", type(value).__name__)
    return value if isinstance(value, str) else json.dumps(value)


def _url(name: str, value: Any) -> str:
    found = value.get("image_url") if isinstance(value, dict) else value
    if not isinstance(found, str):
        raise wrong(name, "a data URL", type(found).__name__)
    return found


def from_data_url(name: str, text: str) -> bytes:
    """The bytes that a base64 data URL holds. Nothing is ever fetched."""
    head, comma, data = text.partition(",")
    if not (head.startswith("data:") and head.endswith(";base64") and comma):
        raise wrong(name, "a file or a base64 data URL (nothing is fetched)", text)
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise wrong(name, "base64 in the data URL", "something else") from None
