"""Signed Content Credentials, against a root of the test's own."""

from __future__ import annotations

import base64
import datetime
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import restore
from restore.batching.perform import Performer
from restore.cli import main
from restore.images.photo import load_photo
from restore.provenance.credentials import credentials_of, digest_of
from restore.provenance.told import told

pytest.importorskip("c2pa")

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SUFFIXES = (".jpg", ".png", ".webp", ".tif")
Key = Any


def _name(common: str) -> x509.Name:
    parts = ((NameOID.ORGANIZATION_NAME, "Test"), (NameOID.COMMON_NAME, common))
    return x509.Name([x509.NameAttribute(*part) for part in parts])


def _certificate(subject: str, key: Key, issuer_key: Key, *, root: bool) -> bytes:
    now = datetime.datetime.now(datetime.timezone.utc)
    usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
                           "encipher_only", "decipher_only"), False)  # fmt: skip
    builder = (
        x509.CertificateBuilder(_name("Test root"), _name(subject), key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(root, None), critical=True)
        .add_extension(x509.KeyUsage(not root, key_cert_sign=root, crl_sign=root, **usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not root:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """root.pem, and NAME.pem and NAME.key of signers with keys of several kinds."""
    folder, root = tmp_path_factory.mktemp("pems"), ec.generate_private_key(ec.SECP256R1())
    (folder / "root.pem").write_bytes(_certificate("Test root", root, root, root=True))
    keys: dict[str, Key] = {
        "ec256": ec.generate_private_key(ec.SECP256R1()),
        "ec384": ec.generate_private_key(ec.SECP384R1()),
        "rsa": rsa.generate_private_key(65537, 2048),
        "ed25519": ed25519.Ed25519PrivateKey.generate(),
    }
    for name, key in keys.items():
        own = _certificate(f"Signer {name}", key, root, root=False)
        (folder / f"{name}.pem").write_bytes(own + (folder / "root.pem").read_bytes())
        form = serialization.PrivateFormat.PKCS8
        secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        (folder / f"{name}.key").write_bytes(secret)
    old = serialization.PrivateFormat.TraditionalOpenSSL
    secret = keys["ec256"].private_bytes(serialization.Encoding.PEM, old, serialization.NoEncryption())
    (folder / "sec1.key").write_bytes(secret)
    return folder


def signing(pems: Path, name: str = "ec256") -> list[str]:
    return ["--sign-cert", str(pems / f"{name}.pem"), "--sign-key", str(pems / f"{name}.key")]


def inpaint(*args: object) -> Result:
    box = ["--box", "80,70,45,40", "--draft", "--device", "cpu"]
    return CliRunner().invoke(main, ["inpaint", *(str(a) for a in args), *box])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_chain_of_two_edits_is_trusted_until_a_byte_changes(suffix: str, pems: Path, scene, tmp_path: Path) -> None:
    source, first, second = (tmp_path / f"{name}{suffix}" for name in "abc")
    Image.fromarray(scene).save(source)
    done = inpaint(source, "-o", first, *signing(pems), "--json")
    assert done.exit_code == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["signed"] is True
    with pytest.warns(UserWarning, match="content credentials"):
        assert inpaint(first, "-o", second, *signing(pems, "rsa"), "--seed", "1").exit_code == 0
    found = told(second, pems / "root.pem")["credentials"]
    assert found["state"] == "Trusted"
    assert [entry["signed_by"] for entry in found["chain"]] == ["Signer rsa", "Signer ec256"]
    opened, edited = found["chain"][1]["actions"]
    assert (opened["action"], edited["action"]) == ("c2pa.opened", "c2pa.edited")
    assert edited["digitalSourceType"].endswith("/compositeWithTrainedAlgorithmicMedia")
    assert edited["parameters"]["restore"] == {
        "done": printed["mark"]["done"],
        "report": f"sha256:{digest_of(printed)}",
    }
    assert told(second)["credentials"]["state"] == "Valid"
    assert second.stat().st_size - first.stat().st_size < 10_000
    plain = tmp_path / f"plain{suffix}"
    assert inpaint(source, "-o", plain).exit_code == 0
    with pytest.warns(UserWarning, match="content credentials"):
        assert np.array_equal(load_photo(first).native, load_photo(plain).native)
    assert told(first)["xmp"] == told(plain)["xmp"]
    assert told(plain)["credentials"] is None
    content = second.read_bytes()
    changed = credentials_of(content.replace(b"pixels)", b"pixelz)"), load_photo(plain).meta.format or "")
    assert changed is not None
    assert changed["state"] == "Invalid"


@pytest.mark.parametrize("name", ["ec384", "ed25519"])
def test_other_keys_sign(name: str, pems: Path, engine, scene, hole, tmp_path: Path) -> None:
    signer = restore.Signer(pems / f"{name}.pem", pems / f"{name}.key")
    engine.inpaint(scene, mask=hole, draft=True).save(tmp_path / "a.png", sign=signer)
    found = credentials_of((tmp_path / "a.png").read_bytes(), "PNG", (pems / "root.pem").read_bytes())
    assert found is not None
    assert found["state"] == "Trusted"
    said = CliRunner().invoke(main, ["provenance", str(tmp_path / "a.png"), "--trust", str(pems / "root.pem")]).stdout
    assert "Content Credentials: Trusted" in said
    assert f"signed by Signer {name}" in said
    assert "c2pa.edited, compositeWithTrainedAlgorithmicMedia, inpaint; model builtin" in said


def test_enhance_signs_and_pipes_do(pems: Path, scene, tmp_path: Path) -> None:
    Image.fromarray(scene[:32, :32]).save(tmp_path / "a.png")
    args = ["enhance", "-", "--task", "denoise", "--noise", "5", "--passes", "1", *signing(pems)]
    result = CliRunner().invoke(main, args, input=(tmp_path / "a.png").read_bytes())
    assert result.exit_code == 0, result.stderr
    found = credentials_of(result.stdout_bytes, "PNG", (pems / "root.pem").read_bytes())
    assert found is not None
    assert found["state"] == "Trusted"
    assert found["chain"][0]["actions"][1]["digitalSourceType"].endswith("/algorithmicallyEnhanced")


def test_twelve_megapixels_cost_little(pems: Path, engine, tmp_path: Path) -> None:
    photo = np.random.default_rng(0).integers(0, 255, (3000, 4000, 3), dtype=np.uint8)
    result = engine.inpaint(photo[:64, :64], box=(10, 10, 20, 20), draft=True)
    signer = restore.Signer(pems / "ec256.pem", pems / "ec256.key")
    Image.fromarray(photo).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    began = time.perf_counter()
    signed = signer.seal(result, tmp_path / "a.jpg")(content, "JPEG")
    assert time.perf_counter() - began < 2  # .03 s on a quiet core
    assert 0 < len(signed) - len(content) < 10_000


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["-o", "out.bmp"], "expected JPEG, PNG, WebP or TIFF to sign, got BMP"),
        (["--no-mark"], "expected --sign-cert or --no-mark, got both"),
        (["--offline", "--tsa", "http://localhost:9"], "expected --tsa or --offline, got both"),
        (["--sign-key", "gone.key"], "gone.key: expected a file that can be read"),
        (["--sign-key", "root.pem"], "root.pem: expected a PEM file with a private key"),
        (["--sign-key", "rsa.key"], "expected to sign with"),
        (["--sign-key", "sec1.key"], "in PKCS #8, not encrypted"),
        (["--sign-cert", "ec256.key"], "ec256.key: expected a PEM file of certificates"),
    ],
)
def test_what_cannot_be_signed_is_refused_and_nothing_written(
    args: list[str], reason: str, pems: Path, scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pems)
    Image.fromarray(scene).save(tmp_path / "a.png")
    before = set(pems.iterdir())
    result = inpaint(tmp_path / "a.png", *signing(pems), *args)
    assert result.exit_code == 2
    assert reason in result.stderr.splitlines()[-1]
    assert {p.name for p in tmp_path.iterdir()} == {"a.png"}
    assert set(pems.iterdir()) == before


def test_a_hollow_signature_is_invalid_and_no_traceback(pems: Path, engine, scene, hole, tmp_path: Path) -> None:
    signer = restore.Signer(pems / "ec256.pem", pems / "ec256.key")
    engine.inpaint(scene, mask=hole, draft=True).save(tmp_path / "a.jpg", sign=signer)
    content = (tmp_path / "a.jpg").read_bytes()
    at = content.index(b"jumb")
    for damage in (content[: at + 40] + bytes(60) + content[at + 100 :], content.replace(b"c2cs", b"c2cx")):
        found = credentials_of(damage, "JPEG")
        assert found is None or found["state"] == "Invalid"


def test_a_batch_signs_each_result_and_goes_on_with_it(pems: Path, scene, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.jpg", "c.bmp"):
        Image.fromarray(scene).save(tmp_path / "in" / name)
    out = tmp_path / "out"
    command = ["batch", "inpaint", str(tmp_path / "in"), "-o", str(out), "--box", "80,70,45,40", "--draft"]
    run = [*command, "--workers", "1", "--json", *signing(pems)]
    done = CliRunner().invoke(main, run)
    assert done.exit_code == 1, done.output
    assert done.stdout, done.output
    assert [json.loads(done.stdout)[name] for name in ("done", "failed")] == [2, 1]
    assert "c.bmp: expected JPEG, PNG, WebP or TIFF to sign, got BMP" in done.stderr
    for name in ("a.png", "b.jpg"):
        found = told(out / name, pems / "root.pem")["credentials"]
        assert (found["state"], found["chain"][0]["signed_by"]) == ("Trusted", "Signer ec256")
        assert told(out / name)["xmp"]["history"]
    before = {path: path.read_bytes() for path in (out / "a.png", out / "b.jpg")}
    again = json.loads(CliRunner().invoke(main, [*run, "--dry-run"]).stdout)
    assert (again["done"], again["todo"]) == (2, 0)
    assert {path: path.read_bytes() for path in before} == before
    other = CliRunner().invoke(main, [*command, *signing(pems, "rsa")])
    assert other.exit_code == 2
    assert "signed with" in other.stderr
    assert not any(b"PRIVATE" in path.read_bytes() for path in out.rglob("*") if path.is_file())


def test_a_batch_may_say_nothing_of_its_edits(scene, pems: Path, tmp_path: Path) -> None:
    Image.fromarray(scene).save(tmp_path / "a.png")
    command = ["batch", "enhance", str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), "--task", "low-light"]
    done = CliRunner().invoke(main, [*command, "--no-mark", "--dry-run"])
    assert done.exit_code == 0, done.output
    both = CliRunner().invoke(main, [*command, "--no-mark", *signing(pems)])
    assert (both.exit_code, both.stderr.count("--no-mark")) == (2, 1)
    half = CliRunner().invoke(main, [*command, "--sign-cert", str(pems / "rsa.pem")])
    assert half.exit_code == 2
    photo, perform = load_photo(tmp_path / "a.png"), Performer("enhance")
    made = {mark: perform("a.png", photo, {"task": "low-light", "mark": mark}).record for mark in (True, False)}
    assert made[True] is not None
    assert made[True].photo.meta.xmp
    assert made[False] is not None
    assert not made[False].photo.meta.xmp
    with pytest.raises(restore.InputError, match="writes pictures to sign"):
        next(restore.batch("assess", tmp_path, tmp_path / "n", sign=restore.Signer(pems / "rsa.pem", pems / "rsa.key")))


def test_a_server_signs_what_it_sends_back(scene, pems: Path, tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="needs the extra 'serve'")
    from tests.serving import png, ready, start

    server = ready(start(tmp_path / "state", *signing(pems)))
    try:
        where = {"box": "80,70,45,40", "draft": "true"}
        for path, fields in (("/v1/images/edits", where), ("/v1/enhance", {"task": "low-light"})):
            status, answer = server.send(path, {"image": png(scene)}, **fields)
            assert status == 200, answer
            (tmp_path / "got.png").write_bytes(base64.b64decode(answer["data"][0]["b64_json"]))
            found = told(tmp_path / "got.png", pems / "root.pem")["credentials"]
            assert (found["state"], found["chain"][0]["signed_by"]) == ("Trusted", "Signer ec256")
    finally:
        server.end()
    half = CliRunner().invoke(main, ["serve", "--sign-key", str(pems / "rsa.key")])
    assert (half.exit_code, half.stderr.count("--sign-cert")) == (2, 1)
