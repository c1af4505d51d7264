"""Content Credentials (C2PA 2): a signed statement inside the file of what was done to it, and its reading.

c2pa-python does it (pip install "restore[c2pa]"). Thumbnails, which cost megabytes, are left out; nothing is asked of
the network but a time stamp, where its URL is given. Keys stay where they are.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from restore.edit.record import EditRecord
from restore.enhancement.record import EnhanceRecord
from restore.errors import InputError
from restore.images.decode import Metadata
from restore.images.files import reason
from restore.images.huge import AnyPhoto, HugePhoto
from restore.images.photo import Photo, Seal, encoded
from restore.images.xmp import SOURCE_TYPES, Mark
from restore.provenance.marks import agent

TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "TIFF": "image/tiff"}
# Object identifiers inside a key, and the algorithm they mean (RFC 5480, 8017, 8410).
_ALGORITHMS = {
    "2a8648ce3d030107": "ES256",
    "2b81040022": "ES384",
    "2b81040023": "ES512",
    "2a864886f70d01010a": "PS256",
    "2a864886f70d010101": "PS256",
    "2b6570": "ED25519",
}
_OFFLINE = {
    "verify": {"remote_manifest_fetch": False, "verify_after_sign": True, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
}


@dataclass(frozen=True)
class Signer:
    """Who signs. cert: PEM file of the certificates, the signer's first; key: PEM file of its private key; tsa: URL of
    a time stamping authority. Raises InputError for files that cannot be used."""

    cert: str | os.PathLike[str]
    key: str | os.PathLike[str]
    tsa: str | None = None
    algorithm: str = field(init=False)

    def __post_init__(self) -> None:
        _library()
        if b"-----BEGIN CERTIFICATE-----" not in content_of(self.cert):
            raise InputError(f"{self.cert}: expected a PEM file of certificates, got something else")
        object.__setattr__(self, "algorithm", _algorithm(content_of(self.key), str(self.key)))
        self._signer().close()

    def named(self) -> dict[str, str]:
        """What makes it again in another process: whole paths, not what is in them."""
        paths = {"cert": os.path.abspath(self.cert), "key": os.path.abspath(self.key)}
        return paths | ({} if self.tsa is None else {"tsa": self.tsa})

    def check(self, kind: str, photo: AnyPhoto) -> None:
        """Raise InputError for what cannot be signed, before it is made."""
        if kind not in TYPES:
            raise InputError(f"expected JPEG, PNG, WebP or TIFF to sign, got {kind}; choose another format")
        if isinstance(photo, HugePhoto):
            raise InputError("expected a photo of at most 100 megapixels to sign, got a larger one")

    def seal(self, record: EditRecord | EnhanceRecord, source: Any) -> Seal:
        """What signs the photo of `record`; source: what it was made of, a path if it has one: its credentials are
        kept then."""
        return partial(self._sealed, record=record, source=source)

    def _sealed(self, content: bytes, kind: str, *, record: EditRecord | EnhanceRecord, source: Any) -> bytes:
        self.check(kind, record.original)
        c2pa, signed = _library(), io.BytesIO()
        name, version = agent().split(" ", 1)
        told = {"claim_generator_info": [{"name": name, "version": version}], "title": "picture", "assertions": []}
        parent, type_, title = _parent(record.original, source)
        try:
            builder = c2pa.Builder(told, context=c2pa.Context(c2pa.Settings.from_dict(_OFFLINE)))
            builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
            builder.add_ingredient({"title": title, "relationship": "parentOf"}, type_, io.BytesIO(parent))
            if record.mark is not None:
                builder.add_action(_action(record.mark, record.summary()))
            with self._signer() as signer:
                builder.sign(signer, TYPES[kind], io.BytesIO(content), signed)
        except c2pa.C2paError as error:
            raise InputError(f"expected to sign with {self.cert}, got: {reason(error)}") from None
        return signed.getvalue()

    def _signer(self) -> Any:
        c2pa = _library()
        kind = c2pa.C2paSigningAlg[self.algorithm]
        try:
            tsa = None if self.tsa is None else self.tsa.encode()
            return c2pa.Signer.from_info(c2pa.C2paSignerInfo(kind, content_of(self.cert), content_of(self.key), tsa))
        except c2pa.C2paError as error:
            raise InputError(f"expected a key and certificates to sign with, got: {reason(error)}") from None


def credentials_of(content: bytes, kind: str, anchors: bytes = b"") -> dict[str, Any] | None:
    """The credentials in a file of the format `kind`, newest first; None where it has none.

    state: "Trusted" if whole and signed by somebody whom the certificates `anchors` (PEM) vouch for, "Valid" if only
    whole, "Invalid" if something was changed since, with the reasons in `faults`. Raises InputError.
    """
    if kind not in TYPES:
        return None
    c2pa = _library()
    settings: dict[str, Any] = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
    if anchors:
        settings["trust"] = {"user_anchors": anchors.decode("utf-8", "replace")}
    try:
        context = c2pa.Context(c2pa.Settings.from_dict(settings))
        with c2pa.Reader(TYPES[kind], io.BytesIO(content), context=context) as reader:
            store, state = json.loads(reader.json()), reader.get_validation_state()
    except c2pa.C2paError as error:
        if type(error).__name__.endswith("ManifestNotFound"):
            return None
        return {"state": "Invalid", "faults": [reason(error)], "chain": []}
    failed = store.get("validation_results", {}).get("activeManifest", {}).get("failure", [])
    faults = [item.get("explanation") or item.get("code") for item in failed]
    return {"state": state, "faults": faults, "chain": _chain(store)}


def _chain(store: dict[str, Any]) -> list[dict[str, Any]]:
    """The active manifest, its parent's, and so on."""
    label, chain = store.get("active_manifest"), list[dict[str, Any]]()
    while label is not None and label in store["manifests"] and len(chain) < 1000:
        manifest = store["manifests"].pop(label)
        signature = manifest.get("signature_info", {})
        generators = manifest.get("claim_generator_info") or [{}]
        actions = [
            {key: action[key] for key in ("action", "digitalSourceType", "parameters") if key in action}
            for assertion in manifest.get("assertions", ())
            if assertion.get("label", "").startswith("c2pa.actions")
            for action in assertion["data"].get("actions", ())
        ]
        for action in actions:
            action.get("parameters", {}).pop("ingredients", None)
        chain.append(
            {
                "signed_by": signature.get("common_name"),
                "issuer": signature.get("issuer"),
                "time": signature.get("time"),
                "made_with": " ".join(str(generators[0][k]) for k in ("name", "version") if k in generators[0]),
                "actions": actions,
            }
        )
        parents = [i for i in manifest.get("ingredients", ()) if i.get("relationship") == "parentOf"]
        label = parents[0].get("active_manifest") if parents else None
    return chain


def _action(mark: Mark, summary: dict[str, Any]) -> dict[str, Any]:
    digest = digest_of(summary)
    return {
        "action": "c2pa.edited",
        "digitalSourceType": SOURCE_TYPES + mark.source_type,
        "parameters": {"restore": {"done": mark.done, "report": f"sha256:{digest}"}},
    }


def digest_of(summary: dict[str, Any]) -> str:
    """sha256 of what `--json` prints, less where it was written to: keys in order, no spaces."""
    kept = {key: value for key, value in summary.items() if key not in ("output", "signed")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _parent(original: AnyPhoto, source: Any) -> tuple[bytes, str, str]:
    """(content, MIME type, name) of what was edited: its file, or, where it came as pixels, a file of these."""
    kind = original.meta.format
    if isinstance(source, (str, os.PathLike)) and kind in TYPES and Path(source).is_file():
        return content_of(source), TYPES[kind], "the picture before"
    assert isinstance(original, Photo)
    content = encoded(replace(original, meta=Metadata()), "TIFF", "the picture before")
    return content, TYPES["TIFF"], "the picture before, given as pixels"


def _algorithm(key: bytes, name: str) -> str:
    """The signing algorithm for a private key."""
    body = key.partition(b"-----BEGIN PRIVATE KEY-----")[2].partition(b"-----END")[0]
    try:
        found = base64.b64decode(b"".join(body.split()), validate=True).hex()
    except ValueError:
        found = ""
    for identifier, algorithm in _ALGORITHMS.items():
        if identifier in found:
            return algorithm
    hint = "openssl pkcs8 -topk8 -nocrypt makes one"
    raise InputError(f"{name}: expected a PEM file with a private key in PKCS #8, not encrypted, got another; {hint}")


def _library() -> ModuleType:
    try:
        import c2pa
    except ImportError as error:
        raise InputError("expected the package c2pa-python, found none; pip install 'restore[c2pa]'") from error
    return c2pa


def content_of(path: str | os.PathLike[str]) -> bytes:
    """A file's bytes. Raises InputError."""
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected a file that can be read, got: {reason(error)}") from None
