"""What people bring as a model: every wrong thing is recognised and answered in one line with the next step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_hub
import torch
from click.testing import CliRunner
from conftest import inpaint
from PIL import Image
from safetensors.torch import save_file

from restore.cli import main


def tensors(path: Path, *names: str) -> Path:
    save_file({name: torch.ones(2) for name in names}, path)
    return path


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text)
    return path


def component(folder: Path) -> Path:
    return written(folder / "unet" / "config.json", '{"_class_name": "UNet2DConditionModel"}').parent


def inside(folder: Path) -> Path:
    written(folder / "model_index.json", '{"_class_name": "StableDiffusionPipeline"}')
    return component(folder)


BROUGHT = {
    "lora": (lambda f: tensors(f / "hat.safetensors", "unet.down.lora_A.weight"), "--lora"),
    "kohya": (lambda f: tensors(f / "hat.safetensors", "lora_unet_down_blocks_0.lora_down.weight"), "--lora"),
    "flux": (lambda f: tensors(f / "flux.safetensors", "double_blocks.0.img_attn.qkv.weight"), "transformer"),
    "controlnet": (lambda f: tensors(f / "c.safetensors", "control_model.zero_convs.0.0.weight"), "ControlNet"),
    "inversion": (lambda f: tensors(f / "word.safetensors", "emb_params"), "textual inversion"),
    "mat": (lambda f: tensors(f / "MAT.safetensors", "synthesis.first_stage.conv_first.weight"), "TorchScript"),
    "part": (lambda f: tensors(f / "unet.safetensors", "conv_in.weight"), "one component"),
    "cut": (lambda f: written(f / "cut.safetensors", "short"), "cut short"),
    "gguf": (lambda f: written(f / "flux-Q4.gguf", "GGUF"), "GGUF"),
    "pickle": (lambda f: written(f / "sd.ckpt", "x"), "restore models convert"),
    "bin": (lambda f: written(f / "pytorch_model.bin", "x"), "restore models convert"),
    "component": (component, "one component (UNet2DConditionModel)"),
    "inside": (inside, "give the folder above it"),
    "modular": (lambda f: written(f / "m" / "modular_model_index.json", "{}").parent, "modular"),
    "transformers": (lambda f: written(f / "b" / "config.json", '{"architectures": ["Bert"]}').parent, "Bert"),
    "empty": (lambda f: written(f / "e" / "README.md", "").parent, "model_index.json"),
    "pickles": (lambda f: written(f / "p" / "unet.bin", "").parent, "restore models convert"),
    "picture": (lambda f: written(f / "model.txt", ""), "another kind"),
    "nowhere": (lambda f: f / "gone", "nothing is"),
    "hub address": (lambda f: "https://huggingface.co/org/name/tree/main", "restore models pull org/name"),
    "address": (lambda f: "https://civitai.com/models/1", "fetch the file yourself"),
    "grounder": (lambda f: "sam", "--grounder sam"),
    "near": (lambda f: "stable-diffusion-v1-5/stable-difusion-inpainting", "did you mean stable-diffusion-v1-5/"),
}


@pytest.mark.parametrize("kind", BROUGHT)
def test_each_is_told_what_to_do_in_one_line_and_exits_4(kind, tmp_path):
    make, said = BROUGHT[kind]
    result = inpaint(tmp_path, "--model", make(tmp_path))
    assert result.exit_code == 4, result.output
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "photo.restored.png").exists()


def test_a_finder_is_not_given_what_repaints(tmp_path):
    result = inpaint(tmp_path, "--grounder", "sd15-inpaint")
    assert (result.exit_code, result.stderr.count("\n")) == (4, 1)
    assert "--model sd15-inpaint" in result.stderr


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_hub.stable_diffusion(tmp_path_factory.mktemp("sd"), 4, "StableDiffusionPipeline")


def lora(path: Path, scale: float = 4.0) -> Path:
    """Of every attention of the tiny UNet, as peft names them."""
    net = tiny_hub.unet(4)
    torch.manual_seed(5)
    weights = {}
    for name, module in net.named_modules():
        if name.endswith(("to_q", "to_v")):
            rows, columns = module.weight.shape
            weights[f"unet.{name}.lora_A.weight"] = torch.randn(2, columns)
            weights[f"unet.{name}.lora_B.weight"] = scale * torch.randn(rows, 2)
    save_file(weights, path)
    return path


def test_loras_change_the_fill_by_their_weight_and_may_be_several(base, tmp_path):
    pytest.importorskip("peft")
    hat, other = lora(tmp_path / "hat.safetensors"), lora(tmp_path / "other.safetensors", 2.0)
    preset = written(tmp_path / "sd.yaml", f"path: {base}\nsize: 64\nsteps: 2\n")

    def fill(*options: Any) -> bytes:
        result = inpaint(tmp_path, "--model", preset, *options)
        assert result.exit_code == 0, result.output
        return Image.open(tmp_path / "photo.restored.png").tobytes()  # the file also tells of the LoRA

    plain = fill()
    assert fill("--lora", f"{hat}:0") == plain
    assert len({plain, fill("--lora", hat), fill("--lora", f"{hat}:0.5"), fill("--lora", hat, "--lora", other)}) == 4


@pytest.mark.parametrize(
    ("name", "weights", "code", "said"),
    [
        ("gone.safetensors", None, 2, "check the path"),
        ("hat.safetensors:much", "lora_A", 2, "the weight is a number"),
        ("unet.safetensors", "conv_in.weight", 2, "other weights"),
        ("text.safetensors", "text_model.lora_other", 4, "LoRA for StableDiffusionInpaintPipeline"),
    ],
)
def test_what_is_no_lora_is_one_line(base, tmp_path, name, weights, code, said):
    pytest.importorskip("peft")
    file = tmp_path / name.partition(":")[0]
    if weights:
        tensors(file, weights)
    result = inpaint(tmp_path, "--model", base, "--lora", tmp_path / name)
    assert result.exit_code == code, result.output
    assert said in result.stderr
    assert len([line for line in result.stderr.splitlines() if line.startswith("restore: expected")]) == 1


def test_packages_that_a_model_reads_with_are_named(base, tmp_path):
    preset = written(tmp_path / "sd.yaml", f"path: {base}\nneeds: [no_such_package, click]\n")
    result = inpaint(tmp_path, "--model", preset)
    assert (result.exit_code, result.stderr.count("\n")) == (4, 1)
    assert "run: pip install no_such_package\n" in result.stderr


def test_a_lora_needs_a_model_to_change(tmp_path):
    result = inpaint(tmp_path, "--lora", lora(tmp_path / "hat.safetensors"))
    assert result.exit_code == 2
    assert "--model" in result.stderr


def test_models_show_tells_how_a_model_will_be_called(base, tmp_path):
    shown = json.loads(CliRunner().invoke(main, ["models", "show", str(base), "--json"]).stdout)
    assert shown["index"] == "StableDiffusionPipeline"
    assert shown["opened as"] == "StableDiffusionInpaintPipeline"
    assert shown["guidance"] == "guidance_scale 7.5, classifier-free"
    assert (shown["steps"], shown["strength"], shown["size"], shown["stored in"]) == (30, 1.0, 64, "float32")
    text = CliRunner().invoke(main, ["models", "show", str(base)])
    assert "fills the mask; hears words, a negative prompt" in text.stdout
    refused = CliRunner().invoke(main, ["models", "show", str(component(tmp_path))])
    assert refused.exit_code == 4
    assert refused.stderr.count("\n") == 1
