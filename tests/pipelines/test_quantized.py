"""Weights of 8 and 4 bits: closed forms, which parts, memory, and folders that are stored so."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_hub
import torch
from click.testing import CliRunner
from conftest import inpaint
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_hub import flux_output

from restore.cli import main
from restore.errors import ModelUnavailableError
from restore.pipelines.hub.changes import Changes, planned
from restore.pipelines.hub.folder import configs_in, index_of
from restore.pipelines.hub.opening import load, plan_for
from restore.pipelines.hub.parts import on_any
from restore.pipelines.hub.placement import DeviceMemory

pytest.importorskip("bitsandbytes")
CPU = torch.device("cpu")
# The sixteen values of NormalFloat (Dettmers et al., QLoRA, NeurIPS 2023, appendix E).
NF4 = torch.tensor([
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
])  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_hub.flux_fill(tmp_path_factory.mktemp("flux"), width=64)


def opened(folder: Path, quantize: str = "", transformer: str = "", dtype: torch.dtype = torch.float32) -> Any:
    return load(plan_for(folder), dtype, (), Changes.of(transformer, quantize))


def four_bits(weight: torch.Tensor) -> torch.Tensor:
    """The nearest of the sixteen values, times the largest of each block of 64."""
    blocks = weight.reshape(-1, 64)
    most = blocks.abs().amax(1, keepdim=True)
    return (NF4[(blocks / most).unsqueeze(-1).sub(NF4).abs().argmin(-1)] * most).reshape(weight.shape)


def linears(net: torch.nn.Module) -> dict[str, torch.nn.Linear]:
    return {name: module for name, module in net.named_modules() if isinstance(module, torch.nn.Linear)}


def test_four_bits_compute_what_the_closed_form_says(folder):
    fewer, plain = opened(folder, "4bit").transformer, opened(folder).transformer
    before = flux_output(plain)
    for name, module in linears(plain).items():
        regular = module.in_features % 64 == 0  # bitsandbytes gets others wrong on CPUs: they are left alone
        assert hasattr(linears(fewer)[name].weight, "quant_state") == regular, name
        module.weight.data = four_bits(module.weight.data) if regular else module.weight.data
    torch.testing.assert_close(flux_output(fewer), flux_output(plain), atol=1e-5, rtol=1e-4)
    assert (flux_output(plain) - before).abs().max() > 1e-3  # or the comparison would say nothing


def test_eight_bits_are_rows_of_whole_numbers(folder):
    fewer, plain = opened(folder, "8bit").transformer, opened(folder).transformer
    for name, module in linears(plain).items():
        most = module.weight.detach().half().float().abs().amax(1, keepdim=True)
        whole = (module.weight.detach().half().float() / most * 127).round()
        got = linears(fewer)[name].weight.data.float()
        assert (got - whole).abs().max() <= 1, name  # ties
        assert (got != whole).float().mean() < 0.01, name
    near, exact = flux_output(fewer), flux_output(plain)
    assert 0 < (near - exact).abs().max() < 0.05 * exact.abs().max()


@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_the_vae_and_clip_keep_their_bits_and_memory_is_as_planned(folder, bits):
    pipe = opened(folder, bits, dtype=torch.bfloat16)
    fewer = {name for name, part in pipe.components.items() if getattr(part, "is_quantized", False)}
    assert fewer == {"transformer", "text_encoder_2"}
    plan = planned(folder, index_of(folder), configs_in(folder), Changes(quantize=bits), 2)
    full = planned(folder, index_of(folder), configs_in(folder), Changes(), 2)
    for name in plan:
        modules = list(pipe.components[name].modules())
        states = [getattr(getattr(m, "weight", None), "quant_state", None) for m in modules]
        taken = sum(p.numel() * p.element_size() for p in pipe.components[name].parameters())
        taken += sum(4 * state.absmax.numel() for state in states if state is not None)
        assert plan[name] == pytest.approx(taken, rel=0.05), name
        assert (plan[name] < full[name]) == (name in fewer), name


@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_the_fill_obeys_bits_and_seed_and_leaves_the_rest(folder, tmp_path, bits):
    preset = tmp_path / "tiny.yaml"
    preset.write_text(f"path: {folder}\nsize: 64\nsteps: 2\n")

    def fill(*options: Any) -> np.ndarray:
        result = inpaint(tmp_path, "--model", preset, "--json", *options)
        assert result.exit_code == 0, result.output
        assert "MatMul8bitLt" not in result.stderr  # one remark of bitsandbytes for each layer
        assert json.loads(result.stdout)["changes"] == ({"quantize": bits} if bits in options else None)
        assert (f"quantized to {bits}" in result.stdout) == (bits in options)
        return np.asarray(Image.open(tmp_path / "photo.restored.png"))

    one = fill("--quantize", bits)
    photo = np.asarray(Image.open(tmp_path / "photo.png"))
    outside = np.ones(photo.shape[:2], bool)
    outside[30:60, 40:70] = False
    assert (one[outside] == photo[outside]).all()
    assert (one[~outside] != photo[~outside]).any()
    assert (fill("--quantize", bits) == one).all()
    assert (fill("--quantize", bits, "--seed", 1) != one).any()
    assert (fill() != one).any()


def test_a_folder_that_is_stored_in_four_bits_opens_as_it_is(folder, tmp_path, monkeypatch):
    made = opened(folder, "4bit")
    made.save_pretrained(tmp_path / "nf4")
    again = opened(tmp_path / "nf4")
    assert again.transformer.is_quantized
    assert again.text_encoder_2.is_quantized
    torch.testing.assert_close(flux_output(again.transformer), flux_output(made.transformer), atol=1e-5, rtol=1e-4)
    shown = json.loads(CliRunner().invoke(main, ["models", "show", str(tmp_path / "nf4"), "--json"]).stdout)
    assert shown["quantized"] == "text_encoder_2 stored by bitsandbytes, transformer stored by bitsandbytes"

    result = inpaint(tmp_path, "--model", tmp_path / "nf4", "--quantize", "4bit")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "weights to quantise" in result.stderr

    real = importlib.util.find_spec
    monkeypatch.setattr(
        "restore.pipelines.hub.changes.find_spec", lambda name: None if name == "bitsandbytes" else real(name)
    )
    result = inpaint(tmp_path, "--model", tmp_path / "nf4")
    assert (result.exit_code, result.stderr.count("\n")) == (4, 1)
    assert "stored quantised" in result.stderr
    assert "pip install 'restore[quantize]'" in result.stderr
    result = inpaint(tmp_path, "--model", folder, "--quantize", "4bit")
    assert (result.exit_code, result.stderr.count("\n")) == (4, 1)
    assert "pip install 'restore[quantize]'" in result.stderr


def test_stored_bits_that_a_cpu_gets_wrong_are_refused(tmp_path):
    import diffusers

    folder = tiny_hub.flux_fill(tmp_path / "narrow")  # rows of 32, two to a block
    with on_any(CPU):
        net = diffusers.FluxTransformer2DModel.from_pretrained(
            folder / "transformer", quantization_config=diffusers.BitsAndBytesConfig(load_in_4bit=True)
        )
    net.save_pretrained(folder / "transformer")
    with pytest.raises(ModelUnavailableError, match="rows of multiples of 64"):
        opened(folder)


def test_folders_for_other_packages_name_them(folder, tmp_path):
    for method, package in (("torchao", "torchao"), ("quanto", "optimum-quanto")):
        shutil.copytree(folder, tmp_path / method)
        config = tmp_path / method / "transformer" / "config.json"
        config.write_text(
            json.dumps(json.loads(config.read_text()) | {"quantization_config": {"quant_method": method}})
        )
        result = inpaint(tmp_path, "--model", tmp_path / method)
        assert (result.exit_code, result.stderr.count("\n")) == (4, 1)
        assert result.stderr.endswith(f"pip install {package}\n")
    config.write_text(json.dumps(json.loads(config.read_text()) | {"quantization_config": {"quant_method": "a.b"}}))
    result = inpaint(tmp_path, "--model", tmp_path / method)
    assert (result.exit_code, result.stderr.count("\n")) == (4, 1)


def test_of_a_model_with_a_file_the_rest_is_quantised(folder, tmp_path):
    gguf = pytest.importorskip("gguf")
    weights = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    writer = gguf.GGUFWriter(tmp_path / "f16.gguf", "flux")
    for name, tensor in weights.items():
        writer.add_tensor(name, tensor.numpy().astype(np.float16 if tensor.ndim == 2 else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    pipe = opened(folder, "4bit", str(tmp_path / "f16.gguf"))
    assert not any(hasattr(module.weight, "quant_state") for module in linears(pipe.transformer).values())
    assert any(hasattr(module.weight, "quant_state") for module in linears(pipe.text_encoder_2).values())

    save_file(weights, tmp_path / "tune.safetensors")
    result = inpaint(tmp_path, "--model", folder, "--transformer", tmp_path / "tune.safetensors", "--quantize", "4bit")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "leave --quantize out" in result.stderr


def test_few_bits_are_not_widened(folder):
    pipe = opened(folder, "8bit", dtype=torch.bfloat16)
    memory = DeviceMemory(pipe, CPU, "tiny")
    assert not memory.widen()
    assert pipe.vae.dtype == torch.bfloat16


def test_nothing_is_fetched_or_said_when_bitsandbytes_is_imported(tmp_path):
    """On CPUs with AVX512-BF16 it asks a package called kernels for code from the hub."""
    (tmp_path / "kernels.py").write_text("raise SystemExit('asked')")
    code = (
        "from restore.pipelines.hub.library import diffusers; diffusers(); "
        "import sys; sys.exit('bitsandbytes' not in sys.modules)"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    run = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert (run.returncode, run.stderr) == (0, "")
