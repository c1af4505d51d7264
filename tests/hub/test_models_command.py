"""`restore models`, and how weights get into the package and its manifest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from restore.cli import main
from restore.errors import InputError
from restore.training.publish import describe, publish, set_scores
from restore.weights import store


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of two models: the shipped judge, and `tiny`."""
    folder = tmp_path / "weights"
    folder.mkdir()
    shutil.copy(store.FOLDER / "judge.safetensors", folder)
    models = {"judge": store.manifest()["judge"]}
    (folder / "MANIFEST.json").write_text(json.dumps({"models": models}))
    monkeypatch.setattr(store, "FOLDER", folder)
    _forget()
    publish(make_run(tmp_path / "run"))
    yield folder
    _forget()


def _forget() -> None:
    store.manifest.cache_clear()
    store.verified.cache_clear()


def make_run(folder: Path, **changes: Any) -> Path:
    folder.mkdir()
    save_file({"a": torch.arange(6).reshape(2, 3).half(), "b": torch.ones(4)}, folder / "weights.safetensors")
    record = {"model": "tiny", "architecture": "Tiny", "recipe": {"lr": 1.0}, "data": ["photos-00.tar"], "samples": 9}
    (folder / "run.json").write_text(json.dumps(record | changes))
    return folder


def command(*arguments: str) -> Any:
    return CliRunner().invoke(main, ["models", *arguments])


def test_the_shipped_weights_verify():
    result = command("verify", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["ok"]
    assert set(report["models"]) == {p.stem for p in store.FOLDER.glob("*.safetensors")}
    assert report["bytes"] == sum(p.stat().st_size for p in store.FOLDER.glob("*.safetensors")) <= report["limit"]


def test_one_line_per_model(weights):
    result = command("verify")
    assert result.exit_code == 0
    assert [line.split()[:2] for line in result.stdout.splitlines()][:2] == [["judge", "ok"], ["tiny", "ok"]]


def flip_a_bit(folder: Path) -> None:
    path = folder / "tiny.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def change(field: str, value: Any) -> Any:
    def apply(folder: Path) -> None:
        content = json.loads((folder / "MANIFEST.json").read_text())
        content["models"]["tiny"][field] = value
        (folder / "MANIFEST.json").write_text(json.dumps(content))

    return apply


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip_a_bit, "sha256: expected"),
        (change("parameters", 11), "parameters: expected 11, got 10"),
        (change("bytes", 1), "bytes: expected 1"),
        (change("licence", ""), "field 'licence'"),
        (change("scores", None), "field 'scores'"),
        (lambda folder: (folder / "tiny.safetensors").unlink(), "no file"),
        (lambda folder: (folder / "tiny.safetensors").write_bytes(b"short"), "parameters: expected 10, got -1"),
        (lambda folder: shutil.copy(folder / "tiny.safetensors", folder / "stray.safetensors"), "without an entry"),
    ],
)
def test_every_difference_is_named_and_exits_4(weights, damage, message):
    damage(weights)
    _forget()
    result = command("verify")
    assert result.exit_code == 4
    assert message in result.stdout
    assert "judge        ok" in result.stdout
    report = json.loads(command("verify", "--json").stdout)
    assert not report["ok"]
    assert any(message in fault for faults in report["models"].values() for fault in faults)


def test_too_many_bytes_exit_4(weights, monkeypatch):
    monkeypatch.setattr(store, "LIMIT", 1000)
    result = command("verify")
    assert result.exit_code == 4
    assert "at most 1000 bytes" in result.stderr


def test_without_a_manifest_there_is_one_line_and_4(weights):
    (weights / "MANIFEST.json").write_text("{")
    _forget()
    for name in ("list", "verify"):
        result = command(name)
        assert result.exit_code == 4
        assert result.stderr.count("\n") == 1


def test_scores_are_listed_once_measured_and_fall_with_new_weights(weights, tmp_path):
    assert "no scores yet" in command("list").stdout.splitlines()[1]
    set_scores("tiny", {"auroc": 0.91234, "psnr": 20.0})
    set_scores("tiny", {"auroc": 0.925})
    assert "auroc 0.925, psnr 20" in command("list").stdout
    assert json.loads(command("list", "--json").stdout)["models"]["tiny"]["scores"] == {"auroc": 0.925, "psnr": 20.0}
    assert command("verify").exit_code == 0
    with pytest.raises(InputError, match="finite"):
        set_scores("tiny", {"auroc": float("nan")})
    with pytest.raises(InputError, match="shipped model"):
        set_scores("other", {"auroc": 0.5})
    publish(make_run(tmp_path / "newer", samples=10))
    entry = store.manifest()["tiny"]
    assert (entry["scores"], entry["samples"]) == ({}, 10)


def test_the_manifest_takes_recipe_samples_and_licences_from_the_run(weights):
    entry = store.manifest()["tiny"]
    assert (entry["recipe"], entry["samples"], entry["parameters"]) == ({"lr": 1.0}, 9, 10)
    assert "CC0" in entry["data"]
    assert torch.equal(store.load_weights("tiny")["a"], torch.arange(6.0).reshape(2, 3))


def test_what_must_not_ship_is_refused(weights, tmp_path):
    before = (weights / "MANIFEST.json").read_bytes()
    with pytest.raises(InputError, match="known licence, got 'holiday'"):
        publish(make_run(tmp_path / "unknown", data=["holiday"]))
    bad = make_run(tmp_path / "nan")
    save_file({"a": torch.tensor([float("nan")])}, bad / "weights.safetensors")
    with pytest.raises(InputError, match="NaN"):
        publish(bad)
    with pytest.raises(InputError, match=r"run\.json"):
        publish(tmp_path)
    assert (weights / "MANIFEST.json").read_bytes() == before


def test_a_data_folder_stands_for_its_photos_and_labels_and_holes_count():
    text = describe(["data"], {"hole_shapes": "../shared/data/hole-shapes.npz"})
    assert text.startswith("photos: ")
    assert "; objects: " in text
    assert "; hole-shapes: VOC 2012" in text
