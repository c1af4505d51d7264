"""Presets, what lies in the hub's cache, and the commands that show, fetch, check and delete it. No network."""

from __future__ import annotations

import hashlib
import json
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file, save

from restore.cli import main
from restore.edit.choose import models_for
from restore.errors import InputError, ModelUnavailableError
from restore.hub import cache
from restore.hub.presets import load_preset, presets
from restore.settings import Settings

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "stable-diffusion-v1-5/stable-diffusion-inpainting"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "")


def put(cache: Path, repo: str = REPO, files: dict[str, bytes] | None = None, ref: str = "main") -> Path:
    """A snapshot as the hub's client leaves it: blobs by sha256, links, a ref."""
    root = cache / ("models--" + repo.replace("/", "--"))
    files = files or {"model_index.json": b"{}", "unet/model.safetensors": save({"a": torch.zeros(3)})}
    (root / "refs").mkdir(parents=True, exist_ok=True)
    (root / "refs" / ref).write_text(COMMIT)
    for name, data in files.items():
        blob = root / "blobs" / hashlib.sha256(data).hexdigest()
        blob.parent.mkdir(exist_ok=True)
        blob.write_bytes(data)
        link = root / "snapshots" / COMMIT / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    return root / "snapshots" / COMMIT


def command(*arguments: str) -> Any:
    return CliRunner().invoke(main, list(arguments))


def test_every_preset_says_what_a_user_has_to_know():
    assert {"sd15-inpaint", "sdxl-inpaint", "flux-fill", "kandinsky-inpaint", "lama", "clipseg", "sam"} <= set(
        presets()
    )
    for preset in presets().values():
        assert cache.HUB_ID.match(preset.repo), preset.name
        assert preset.licence != "unknown"
        assert preset.download > 0
        assert preset.memory > 0
        assert preset.pipeline or preset.file
        assert preset.size > 0


def test_every_preset_is_in_the_table_of_what_was_tested():
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    table = text[text.index("| model |") :]
    assert [name for name in presets() if name not in table] == []


def test_converting_reads_tensors_and_nothing_else(tmp_path):
    class Evil:
        def __reduce__(self) -> Any:
            return print, ("ran",)

    torch.save({"a": torch.arange(3)}, tmp_path / "good.bin")
    torch.save({"a": Evil()}, tmp_path / "evil.bin")
    goal = tmp_path / "good.safetensors"
    assert command("models", "convert", str(tmp_path / "good.bin"), str(goal)).exit_code == 0
    assert cache.faults(goal) == []
    assert torch.equal(load_file(goal)["a"], torch.arange(3))
    assert command("models", "convert", str(tmp_path / "good.bin"), str(goal)).exit_code == 2
    result = command("models", "convert", str(tmp_path / "evil.bin"), str(tmp_path / "evil.safetensors"))
    assert result.exit_code == 4
    assert "ran" not in result.stdout
    assert sorted(p.name for p in tmp_path.iterdir() if "evil" in p.name) == ["evil.bin"]


def test_the_classes_of_presets_exist():
    import diffusers
    import transformers

    for preset in presets().values():
        if preset.role == "ground":
            assert hasattr(transformers, preset.pipeline)
        elif preset.pipeline:
            assert hasattr(diffusers, preset.pipeline)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stepps: 3", "did you mean 'steps'"),
        ("steps: many", "'steps'"),
        ("steps: 0", "steps ≥ 1"),
        ("strength: 2", "strength"),
        ("gated: 1", "'gated'"),
        ("role: judge", "role fill or ground"),
        ("dtype: int8", "dtype"),
    ],
)
def test_wrong_presets_are_refused_in_one_line(tmp_path, text, said):
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        load_preset(tmp_path / "p.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("sd15-inpaint", ["restore models pull sd15-inpaint", "2.8 GB"]),
        ("sd15-inpaint@v1", ["restore models pull sd15-inpaint@v1"]),
        ("someone/something", ["restore models pull someone/something"]),
        ("flux-fill", ["gated", "accept its licence", "HF_TOKEN", "restore models pull flux-fill"]),
        ("sd15-inpant", ["did you mean 'sd15-inpaint'"]),
        ("/no/such/folder", ["where nothing is"]),
        ("clipseg", ["which finds objects: --grounder clipseg"]),
    ],
)
def test_a_missing_model_says_the_one_command_and_exits_4(tmp_path, model, said):
    Image.new("RGB", (64, 48)).save(tmp_path / "photo.png")
    for offline in ([], ["--offline"]):
        result = command("inpaint", str(tmp_path / "photo.png"), "--box", "9,9,20,20", "--model", model, *offline)
        assert result.exit_code == 4, result.output
        assert result.stderr.count("\n") == 1
        assert all(words in result.stderr for words in said), result.stderr


def test_missing_grounders_and_judges_exit_4_too(tmp_path):
    Image.new("RGB", (64, 48)).save(tmp_path / "photo.png")
    for option, value, said in (
        ("--grounder", "grounding-dino+sam", "restore models pull grounding-dino"),
        ("--grounder", "sd15-inpaint", "which repaints: --model"),
        ("--judge", "none.pt", "TorchScript"),
    ):
        result = command("inpaint", str(tmp_path / "photo.png"), "--box", "9,9,20,20", option, value)
        assert result.exit_code == 4
        assert said in result.stderr
        assert result.stderr.count("\n") == 1


def test_what_was_pulled_is_found_by_name_id_and_revision(tmp_path):
    folder = put(tmp_path / "cache")
    for name in ("sd15-inpaint", REPO, f"{REPO}@{COMMIT}", f"sd15-inpaint@{COMMIT}"):
        assert cache.locate(name).path == folder
        assert command("models", "where", name).stdout.strip() == str(folder)
    assert cache.described(REPO).steps == presets()["sd15-inpaint"].steps  # an id of a preset is the preset
    with pytest.raises(ModelUnavailableError):
        cache.locate("sd15-inpaint@v2")
    painter = models_for(Settings(model="sd15-inpaint")).painter
    assert painter is not None
    assert painter.path == folder


def test_a_model_of_two_repositories_needs_both(tmp_path):
    preset = presets()["kandinsky-inpaint"]
    first = put(tmp_path / "cache", preset.repo)
    assert command("models", "where", "kandinsky-inpaint").exit_code == 4
    second = put(tmp_path / "cache", preset.also[0])
    assert command("models", "where", "kandinsky-inpaint").stdout.split() == [str(first), str(second)]


def test_list_shows_presets_and_the_cache(tmp_path):
    put(tmp_path / "cache")
    result = command("models", "list")
    assert result.exit_code == 0
    (row,) = [line for line in result.stdout.splitlines() if line.startswith("flux-fill")]
    assert "Non-Commercial, gated" in row
    assert "restore models pull flux-fill" in row
    assert f"in {tmp_path}" in result.stdout
    report = json.loads(command("models", "list", "--json").stdout)
    assert [entry["repo"] for entry in report["cache"]] == [REPO]
    assert report["cache"][0]["commits"] == [COMMIT]
    here = {row["name"]: row["here"] for row in report["presets"]}
    assert here["sd15-inpaint"]
    assert here["sdxl-inpaint"] is None


def test_verify_finds_damaged_files(tmp_path):
    folder = put(tmp_path / "cache")
    assert command("models", "verify", "sd15-inpaint").stdout == "sd15-inpaint: ok\n"
    file = folder / "unet" / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.resolve().write_bytes(data)
    result = command("models", "verify", "sd15-inpaint", "--json")
    assert result.exit_code == 4
    assert "another sha256" in json.loads(result.stdout)["models"]["sd15-inpaint"][0]
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "a.safetensors").write_bytes(save({"a": torch.zeros(3)}))
    assert cache.faults(plain) == []
    (plain / "a.safetensors").write_bytes(save({"a": torch.zeros(3)})[:-2])
    assert "cut short" in cache.faults(plain)[0]


def test_remove_frees_the_disk_and_never_a_users_own_folder(tmp_path):
    put(tmp_path / "cache")
    assert command("models", "remove", str(tmp_path)).exit_code == 2
    result = command("models", "remove", "sd15-inpaint")
    assert result.exit_code == 0
    assert "freed" in result.stdout
    assert command("models", "where", "sd15-inpaint").exit_code == 4
    assert command("models", "remove", "sd15-inpaint").exit_code == 4


FILES = [
    "model_index.json", "README.md", "LICENSE", "v1.ckpt", "model.safetensors", "pipeline.py",
    "unet/config.json", "unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.safetensors",
    "unet/diffusion_pytorch_model.fp16.safetensors", "unet/diffusion_pytorch_model.fp16.bin",
    "vae/config.json", "vae/diffusion_pytorch_model.safetensors", "tokenizer/vocab.json", "tokenizer/merges.txt",
    "t5/model-00001-of-00002.safetensors", "t5/model.safetensors.index.json",
]  # fmt: skip


def test_only_safetensors_of_one_variant_are_fetched():
    half, full = cache.wanted(FILES, "fp16"), cache.wanted(FILES)
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in half
    assert "unet/diffusion_pytorch_model.safetensors" not in half
    assert "unet/diffusion_pytorch_model.safetensors" in full
    assert "unet/diffusion_pytorch_model.fp16.safetensors" not in full
    for files in (half, full):
        assert {"vae/diffusion_pytorch_model.safetensors", "tokenizer/merges.txt", "LICENSE"} <= set(files)
        assert {"t5/model-00001-of-00002.safetensors", "t5/model.safetensors.index.json"} <= set(files)
        assert not any(f.endswith((".bin", ".ckpt", ".py")) or f == "model.safetensors" for f in files)
    assert cache.wanted(["config.json", "model.safetensors"]) == ["config.json", "model.safetensors"]
    with pytest.raises(ModelUnavailableError, match="no safetensors"):
        cache.wanted(["config.json", "pytorch_model.bin"])


def test_pull_fetches_the_commit_asked_for(tmp_path, monkeypatch):
    asked: list[Any] = []

    def fetch(repo: str, revision: str, allow_patterns: list[str]) -> str:
        asked.append((repo, revision, allow_patterns))
        return str(put(tmp_path / "cache", repo, ref=revision))

    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", lambda self, repo, revision: FILES)
    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    result = command("models", "pull", "sd15-inpaint@v1")
    assert result.exit_code == 0, result.output
    assert asked == [(REPO, "v1", cache.wanted(FILES, "fp16"))]
    assert f"{REPO} at {COMMIT}" in result.stdout
    assert "CreativeML Open RAIL-M" in result.stderr
    assert command("models", "where", "sd15-inpaint@v1").exit_code == 0
    asked.clear()
    names = [name.replace("unet/", "transformer/") for name in FILES]
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", lambda self, repo, revision: names)
    assert command("models", "pull", "flux-fill", "--no-transformer").exit_code == 0
    assert {"transformer/config.json", "t5/model-00001-of-00002.safetensors"} <= set(asked[0][2])
    assert not any(name.startswith("transformer/") and name.endswith(".safetensors") for name in asked[0][2])
    asked.clear()
    assert command("models", "pull", "lama").exit_code == 0
    assert asked[0][2] == ["lama_fp32.onnx"]
    asked.clear()
    assert command("models", "pull", "kandinsky-inpaint").exit_code == 0
    assert [repo for repo, _, _ in asked] == [presets()["kandinsky-inpaint"].repo, *presets()["kandinsky-inpaint"].also]


def test_pull_explains_refusals(monkeypatch):
    from huggingface_hub.errors import GatedRepoError

    def failing(error: Exception) -> None:
        def fail(self: Any, repo: str, revision: str) -> list[str]:
            raise error

        monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", fail)

    failing(GatedRepoError.__new__(GatedRepoError))
    result = command("models", "pull", "flux-fill")
    assert result.exit_code == 4
    assert all(
        w in result.stderr for w in ("accept its licence", "HF_TOKEN", "https://huggingface.co/black-forest-labs")
    )
    failing(ConnectionError("no route to host\nmore"))
    result = command("models", "pull", "sd15-inpaint")
    assert result.exit_code == 4
    assert "no route to host" in result.stderr
    assert "more" not in result.stderr
    failing(AssertionError("asked"))
    assert "offline was asked for" in command("models", "pull", "sd15-inpaint", "--offline").stderr
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "offline was asked for" in command("models", "pull", "sd15-inpaint").stderr
    assert command("models", "pull", "sd15-inpant").exit_code == 4
