"""A transformer from a GGUF or safetensors file in place of a folder's own."""

from __future__ import annotations

import json
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_hub
import torch
from click.testing import CliRunner
from conftest import inpaint, make_scene
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_hub import flux_output
from zoo.flux import z_net

from restore.batching.perform import Performer
from restore.cli import main
from restore.errors import RestoreError
from restore.hub.transformer_file import transformer_file
from restore.pipelines.hub.changes import Changes
from restore.pipelines.hub.opening import load, plan_for
from restore.pipelines.hub.parts import parts

gguf = pytest.importorskip("gguf")
from diffusers.quantizers.gguf.utils import dequantize_gguf_tensor  # noqa: E402  # needs gguf

Q4, Q8, F32 = gguf.GGMLQuantizationType.Q4_0, gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.F32
Weights = dict[str, torch.Tensor]


def packed(name: str, tensor: torch.Tensor) -> bool:
    return name.endswith("weight") and tensor.ndim == 2 and tensor.shape[1] % 32 == 0


def written(path: Path, weights: Weights, architecture: str = "flux", kind: Any = Q4) -> Path:
    """A GGUF file as the published ones are: matrices in blocks, the rest in float32."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_array("tokenizer.ggml.tokens", ["a", "b"])
    writer.add_array("numbers", [1, 2, 3])
    for name, tensor in weights.items():
        blocks = packed(name, tensor)
        raw = tensor.float().numpy()
        writer.add_tensor(name, gguf.quants.quantize(raw, kind) if blocks else raw, raw_dtype=kind if blocks else F32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def rounded(weights: Weights, kind: Any = Q4) -> Weights:
    """What such a file holds, by the arithmetic of `gguf` itself, and as diffusers has it: in float16."""
    return {
        name: torch.from_numpy(gguf.quants.dequantize(gguf.quants.quantize(t.float().numpy(), kind), kind))
        .half()
        .float()
        if packed(name, t)
        else t
        for name, t in weights.items()
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_hub.flux_fill(tmp_path_factory.mktemp("flux"))


def stored(folder: Path) -> Weights:
    return load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")


def opened(folder: Path, file: Path | None = None) -> Any:
    changes = Changes.of(str(file) if file else "", "")
    return load(plan_for(folder), torch.float32, (), changes)


@pytest.mark.parametrize("kind", [Q4, Q8])
def test_a_gguf_computes_what_its_weights_say(folder, tmp_path, kind):
    weights = stored(folder)
    pipe = opened(folder, written(tmp_path / "flux.gguf", weights, kind=kind))
    assert pipe.transformer.single_transformer_blocks[0].proj_mlp.weight.dtype == torch.uint8  # still packed
    plain = opened(folder).transformer
    before = flux_output(plain)
    plain.load_state_dict(rounded(weights, kind))
    torch.testing.assert_close(flux_output(pipe.transformer), flux_output(plain), atol=1e-5, rtol=1e-5)
    assert (flux_output(plain) - before).abs().max() > 1e-4  # or the comparison would say nothing


def test_a_safetensors_transformer_computes_what_its_folder_did(folder, tmp_path):
    weights = {name: tensor * 1.5 for name, tensor in stored(folder).items()}
    save_file(weights, tmp_path / "tune.safetensors")
    plain = opened(folder).transformer
    plain.load_state_dict(weights)
    assert torch.equal(flux_output(opened(folder, tmp_path / "tune.safetensors").transformer), flux_output(plain))


def test_the_names_of_the_original_code_are_understood(tmp_path):
    """Z-Image's own: one matrix for queries, keys and values, and other names."""
    net = z_net()
    net.save_config(tmp_path / "transformer")
    own = dict(net.state_dict())
    for name in [name for name in own if name.endswith("attention.to_q.weight")]:
        parts_of = [own.pop(name.replace("to_q", part)) for part in ("to_q", "to_k", "to_v")]
        own[name.replace("to_q", "qkv")] = torch.cat(parts_of)
    for ours, theirs in {"all_final_layer.2-1.": "final_layer.", "all_x_embedder.2-1.": "x_embedder.",
                         ".to_out.0.": ".out.", ".norm_q.": ".q_norm.", ".norm_k.": ".k_norm."}.items():  # fmt: skip
        own = {name.replace(ours, theirs): tensor for name, tensor in own.items()}
    file = written(tmp_path / "z.gguf", own, "lumina2")
    index = {"transformer": ["diffusers", "ZImageTransformer2DModel"]}
    changes = Changes.of(str(file), "")
    got = parts(tmp_path, index, {}, changes, torch.float32, torch.device("cpu"))["transformer"]
    named, wanted = dict(got.named_parameters()), rounded(dict(net.state_dict()))
    assert set(named) == set(wanted)
    for name, tensor in wanted.items():
        assert torch.equal(dequantize_gguf_tensor(named[name]).float(), tensor), name


@pytest.fixture(scope="module")
def preset(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny pipeline without the weights of its transformer: who brings a file does not need them."""
    bare = tmp_path_factory.mktemp("bare")
    shutil.copytree(folder, bare / "flux")
    (bare / "flux" / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
    (bare / "tiny.yaml").write_text(f"path: {bare / 'flux'}\nsize: 64\nsteps: 2\ndtype: float32\n")
    return bare / "tiny.yaml"


def test_the_fill_obeys_the_file_and_the_seed_and_leaves_the_rest(folder, preset, tmp_path):
    weights = {name: t * (3.0 if t.ndim == 2 else 1.0) for name, t in stored(folder).items()}
    first, other = written(tmp_path / "a.gguf", stored(folder)), written(tmp_path / "b.gguf", weights)

    def fill(file: Path, seed: int = 0) -> np.ndarray:
        result = inpaint(tmp_path, "--model", preset, "--transformer", file, "--seed", seed, "--json")
        assert result.exit_code == 0, result.output
        told = json.loads(result.stdout)
        assert told["changes"] == {"transformer": str(file)}
        assert f"transformer {file.name}" in str(told["mark"])
        return np.asarray(Image.open(tmp_path / "photo.restored.png"))

    one, photo = fill(first), np.asarray(Image.open(tmp_path / "photo.png"))
    outside = np.ones(photo.shape[:2], bool)
    outside[30:60, 40:70] = False
    assert (one[outside] == photo[outside]).all()
    assert (one[~outside] != photo[~outside]).any()
    assert (fill(first) == one).all()
    assert (fill(first, 1) != one).any()
    two = fill(other)
    assert (two != one).any()

    performer = Performer("inpaint")  # a row of a table may name another file than the one before
    settings = {"model": str(preset), "box": [[40, 30, 30, 30]], "passes": 1, "candidates": 1}
    for file, filled in ((first, one), (other, two)):
        opened_photo = performer.open(str(tmp_path / "photo.png"), settings)
        made = performer("", opened_photo, settings | {"transformer": str(file)}).photo
        assert (np.asarray(made.native) == filled).all()


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def huge(path: Path, *numbers: int) -> Path:
    """A header that promises more than there is."""
    path.write_bytes(
        b"GGUF" + struct.pack("<IQQ", 3, *numbers) + struct.pack("<Q", 4) + b"list" + struct.pack("<IIQ", 9, 0, 2**62)
    )
    return path


def one(folder: Path, name: str, shape: tuple[int, ...] = (32, 32), **options: Any) -> Path:
    return written(folder / "x.gguf", {name: torch.zeros(shape)}, **options)


def tensors(path: Path, *names: str) -> Path:
    save_file({name: torch.ones(2) for name in names}, path)
    return path


WRONG: dict[str, tuple[Callable[[Path, Weights], Path], str, int]] = {
    "nowhere": (lambda f, w: f / "gone.gguf", "check the path", 2),
    "picture": (lambda f, w: Path(shutil.copy(f / "photo.png", f / "p.gguf")), "no GGUF", 2),
    "suffix": (lambda f, w: Path(shutil.copy(f / "photo.png", f / "p.bin")), "another kind", 2),
    "header cut": (lambda f, w: cut(written(f / "x.gguf", w), 0.02), "cut short", 2),
    "weights cut": (lambda f, w: cut(written(f / "x.gguf", w), 0.9), "cut short", 2),
    "endless": (lambda f, w: huge(f / "x.gguf", 1, 1), "values of type", 2),
    "many": (lambda f, w: huge(f / "x.gguf", 2**60, 1), "tensors", 2),
    "words": (lambda f, w: one(f, "token_embd.weight", architecture="llama"), "a language model (llama)", 2),
    "small": (lambda f, w: one(f, "double_blocks.0.img_attn.qkv.weight"), "made for another model", 4),
    "others": (lambda f, w: written(f / "x.gguf", {f"x.{n}": t for n, t in w.items()}), "got others", 4),
    "one missing": (
        lambda f, w: written(f / "x.gguf", {n: t for n, t in w.items() if n != "proj_out.bias"}),
        "got others",
        4,
    ),
    "lora": (lambda f, w: tensors(f / "x.safetensors", "t.lora_A.weight"), "--lora", 2),
    "packed": (lambda f, w: tensors(f / "x.safetensors", "a.weight", "a.weight.absmax"), "packed", 2),
    "broken": (lambda f, w: Path(shutil.copy(f / "photo.png", f / "p.safetensors")), "cut short", 2),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_transformer_for_it_is_one_line(folder, preset, tmp_path, kind):
    make, said, code = WRONG[kind]
    Image.fromarray(make_scene(97, 131)).save(tmp_path / "photo.png")
    result = inpaint(tmp_path, "--model", preset, "--transformer", make(tmp_path, stored(folder)))
    assert result.exit_code == code, result.output
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "photo.restored.png").exists()


def test_what_is_missing_is_told_with_the_next_step(folder, preset, tmp_path, monkeypatch):
    file = written(tmp_path / "flux.gguf", stored(folder))
    unet = tiny_hub.stable_diffusion(tmp_path / "sd")
    result = inpaint(tmp_path, "--model", unet, "--transformer", file)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "a model with a transformer" in result.stderr
    embedded = inpaint(tmp_path, "--transformer", file)
    assert (embedded.exit_code, embedded.stderr.count("\n")) == (2, 1)
    assert "--model" in embedded.stderr
    bare = inpaint(tmp_path, "--model", preset)
    assert (bare.exit_code, bare.stderr.count("\n")) == (4, 1)
    assert "give one: --transformer FILE" in bare.stderr
    monkeypatch.setitem(sys.modules, "gguf", None)
    bare = inpaint(tmp_path, "--model", folder, "--transformer", file)
    assert (bare.exit_code, bare.stderr.count("\n")) == (4, 1)
    assert "pip install 'restore[gguf]'" in bare.stderr


def test_no_bytes_whatever_make_it_hang_or_fail_otherwise(tmp_path):
    file, chance = one(tmp_path, "double_blocks.0.img_attn.qkv.weight"), np.random.default_rng(0)
    whole = np.frombuffer(file.read_bytes(), np.uint8)
    read = refused = 0
    for _ in range(400):
        bad = whole[: chance.integers(1, len(whole))] if chance.random() < 0.3 else whole.copy()
        bad = bad.copy()
        bad[chance.integers(0, min(len(bad), 300), 4)] = chance.integers(0, 256, 4)
        file.write_bytes(bad.tobytes())
        try:
            read += transformer_file(str(file)).weights > 0
        except RestoreError as error:
            refused += "\n" not in str(error)
    assert read > 5
    assert read + refused == 400


def test_models_show_plans_the_memory(folder, tmp_path):
    file = written(tmp_path / "flux.gguf", stored(folder))
    shown = json.loads(
        CliRunner().invoke(main, ["models", "show", str(folder), "--transformer", str(file), "--json"]).stdout
    )
    assert shown["quantized"] == "transformer as Q4_0 from flux.gguf"
    packed = opened(folder, file).transformer
    taken = sum(p.numel() * p.element_size() for p in packed.parameters())
    assert f"transformer {taken / 1e9:.2g})" in shown["memory"] or f"transformer {taken / 1e9:.2g}," in shown["memory"]
