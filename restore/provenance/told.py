"""What a file tells of how it was made."""

from __future__ import annotations

import io
import os
from typing import Any

from restore.errors import InputError
from restore.images.decode import packet_of
from restore.images.files import reason
from restore.images.xmp import history_of, source_type_of
from restore.provenance.credentials import content_of, credentials_of


def told(path: str | os.PathLike[str], anchors: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """What the picture at `path` tells in XMP and in signed credentials, as JSON has it.

    anchors: PEM file of certificates whose word is trusted. Raises InputError where that or the picture cannot be read.
    """
    content, trusted = content_of(path), b"" if anchors is None else content_of(anchors)
    if anchors is not None and b"-----BEGIN CERTIFICATE-----" not in trusted:
        raise InputError(f"{anchors}: expected a PEM file of certificates, got something else")
    packet, kind = packet_of(io.BytesIO(content), str(path))
    try:
        xmp = {"digital_source_type": source_type_of(packet), "history": history_of(packet)} if packet else None
    except ValueError as error:
        xmp = {"digital_source_type": None, "history": [], "unreadable": reason(error)}
    try:
        credentials = credentials_of(content, kind, trusted)
    except InputError as error:  # c2pa-python is not there
        if anchors is not None:
            raise
        return {"file": str(path), "xmp": xmp, "credentials": None, "not_looked_for": str(error)}
    return {"file": str(path), "xmp": xmp, "credentials": credentials}
