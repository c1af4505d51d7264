"""Pipelines' folders as they are handed around: in half precision only, in shards, in pickles, with files missing."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_hub
import torch
from click.testing import CliRunner
from conftest import make_scene
from PIL import Image
from safetensors.torch import load_file

from restore.cli import main

UNET = "unet/diffusion_pytorch_model"


@pytest.fixture(scope="module")
def pipe(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from diffusers import StableDiffusionPipeline

    folder = tiny_hub.stable_diffusion(tmp_path_factory.mktemp("sd"), 4, "StableDiffusionPipeline")
    return StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)


def inpaint(folder: Path, model: Path) -> Any:
    Image.fromarray(make_scene(97, 131)).save(folder / "photo.png")
    command = ["inpaint", folder / "photo.png", "--box", "40,30,30,30", "--passes", 1, "--candidates", 1, "--steps", 2]
    command += ["--model", model, "-o", folder / "out.png", "--overwrite"]
    return CliRunner().invoke(main, [str(part) for part in command])


def fill(folder: Path, model: Path) -> Any:
    result = inpaint(folder, model)
    assert result.exit_code == 0, result.output
    return np.asarray(Image.open(folder / "out.png")).astype(int)


@pytest.fixture(scope="module")
def plain(pipe: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("plain")
    pipe.save_pretrained(folder / "model")
    return folder / "model", fill(folder, folder / "model")


def test_shards_and_files_in_half_precision_only_are_read(pipe, plain, tmp_path):
    pipe.save_pretrained(tmp_path / "shards", max_shard_size="100KB")
    assert len(list(tmp_path.glob("shards/unet/*.safetensors"))) > 2
    assert np.array_equal(fill(tmp_path, tmp_path / "shards"), plain[1])
    half = type(pipe)(**{**pipe.components, "unet": tiny_hub.unet(4).half(), "vae": tiny_hub.vae().half()})
    half.save_pretrained(tmp_path / "half", variant="fp16", max_shard_size="100KB")
    assert not list(tmp_path.glob("half/unet/*model.safetensors"))
    assert np.abs(fill(tmp_path, tmp_path / "half") - plain[1]).max() <= 2  # levels: float16 rounds weights


def lost(model: Path) -> None:
    next(model.glob("unet/*-00002-of-*.safetensors")).unlink()


def cut(model: Path) -> None:
    shard = next(model.glob("unet/*-00002-of-*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-8])


def unlisted(model: Path) -> None:
    next(model.glob("unet/*.index.json")).unlink()


@pytest.mark.parametrize(
    ("harm", "said"), [(lost, "none of unet/"), (cut, "cut short"), (unlisted, "without their index")]
)
def test_what_is_not_whole_is_named(pipe, tmp_path, harm, said):
    pipe.save_pretrained(tmp_path / "shards", max_shard_size="100KB")
    harm(tmp_path / "shards")
    result = inpaint(tmp_path, tmp_path / "shards")
    assert (result.exit_code, result.stderr.count("\n")) == (4, 1), result.output
    assert said in result.stderr
    assert "fetch it again" in result.stderr


def test_pickles_are_read_once_the_advice_is_followed(plain, tmp_path):
    model = shutil.copytree(plain[0], tmp_path / "pickled")
    for name in (UNET, "text_encoder/model"):
        weights = load_file(model / f"{name}.safetensors")
        torch.save(weights, model / f"{name.replace('/model', '/pytorch_model')}.bin")
        (model / f"{name}.safetensors").unlink()
    for _ in range(2):
        result = inpaint(tmp_path, model)
        assert (result.exit_code, result.stderr.count("\n")) == (4, 1), result.output
        advice = shlex.split(result.stderr.partition("first: restore ")[2])
        assert CliRunner().invoke(main, advice).exit_code == 0
    assert np.array_equal(fill(tmp_path, model), plain[1])
