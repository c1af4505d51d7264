"""Stable Diffusion in one file, offline: the published shapes, CLIP's words, and the same pictures as from a folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_hub
import torch
from accelerate import init_empty_weights
from click.testing import CliRunner
from conftest import make_scene
from PIL import Image
from safetensors.torch import save_file

from restore.cli import main
from restore.hub import single_file
from restore.hub.single_file import Single, recognised, write_configs
from restore.pipelines.hub.guided_diffusion import RES
from restore.pipelines.hub.opening import load, plan_for

RESNET = {here: there for there, here in RES.items()}
ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OPEN_CLIP = {"attn.out_proj": "self_attn.out_proj", "ln_1": "layer_norm1", "ln_2": "layer_norm2",
             "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}  # fmt: skip
OURS: dict[str, dict[str, torch.Tensor]] = {}


def unet_names(net: Any) -> dict[str, torch.Tensor]:
    """The weights of a UNet under the names of the first implementation (input_blocks, middle_block, output_blocks)."""
    layers, out = net.config.layers_per_block, {}
    plain = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
             "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}  # fmt: skip
    for key, value in net.state_dict().items():
        part, *rest = key.split(".")
        stem, _, kind = key.rpartition(".")
        if stem in plain:
            out[f"{plain[stem]}.{kind}"] = value
            continue
        level = int(rest[0]) if part != "mid_block" else 0
        group, number, *tail_parts = rest if part == "mid_block" else rest[1:]
        tail = ".".join(tail_parts)
        if group == "resnets":
            tail = f"{RESNET[tail.rpartition('.')[0]]}.{tail.rpartition('.')[2]}"
        index = int(number)
        if part == "mid_block":
            place = f"middle_block.{2 * index if group == 'resnets' else 1}"
        elif part == "down_blocks":
            block = (level + 1) * (layers + 1) if group == "downsamplers" else 1 + level * (layers + 1) + index
            place, tail = (
                f"input_blocks.{block}.{int(group == 'attentions')}",
                tail.replace("conv.", "op.") if (group == "downsamplers") else tail,
            )
        else:
            block = level * (layers + 1) + (layers if group == "upsamplers" else index)
            attended = bool(getattr(net.up_blocks[level], "attentions", None))
            slot = {"resnets": 0, "attentions": 1, "upsamplers": 1 + attended}[group]
            place = f"output_blocks.{block}.{slot}"
        out[f"{place}.{tail}"] = value
    return {f"model.diffusion_model.{key}": value for key, value in out.items()}


def vae_names(coder: Any) -> dict[str, torch.Tensor]:
    last = len(coder.config.block_out_channels) - 1
    out = {}
    for key, value in coder.state_dict().items():
        name = key.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        for i in range(last + 1):
            name = name.replace(f"down_blocks.{i}.", f"down.{i}.").replace(f"up_blocks.{i}.", f"up.{last - i}.")
        name = name.replace("resnets.", "block.").replace("downsamplers.0", "downsample").replace(
            "upsamplers.0", "upsample"
        )  # fmt: skip
        name = name.replace("mid_block.block.0", "mid.block_1").replace("mid_block.block.1", "mid.block_2")
        if "mid_block.attentions.0." in name:
            name = name.replace("mid_block.attentions.0.", "mid.attn_1.")
            for ours, theirs in ATTENTION.items():
                name = name.replace(f".{ours}.", f".{theirs}.")
            value = value[:, :, None, None] if value.ndim == 2 else value
        out[f"first_stage_model.{name}"] = value
    return out


def text_names(reader: Any) -> dict[str, torch.Tensor]:
    weights = {key.removeprefix("text_model."): value for key, value in reader.state_dict().items()}
    return {f"cond_stage_model.transformer.text_model.{key}": value for key, value in weights.items()}


def open_clip_names(reader: Any) -> dict[str, torch.Tensor]:
    """The weights of a text encoder under OpenCLIP's names."""
    weights = {key.removeprefix("text_model."): value for key, value in reader.state_dict().items()}
    out = {"positional_embedding": weights["embeddings.position_embedding.weight"],
           "token_embedding.weight": weights["embeddings.token_embedding.weight"]}  # fmt: skip
    for kind in ("weight", "bias"):
        out[f"ln_final.{kind}"] = weights[f"final_layer_norm.{kind}"]
        for i in range(reader.config.num_hidden_layers):
            here, there = f"encoder.layers.{i}", f"transformer.resblocks.{i}"
            joined = torch.cat([weights[f"{here}.self_attn.{part}_proj.{kind}"] for part in "qkv"])
            out[f"{there}.attn.in_proj_{kind}"] = joined
            for theirs, ours in OPEN_CLIP.items():
                out[f"{there}.{theirs}.{kind}"] = weights[f"{here}.{ours}.{kind}"]
    return {f"cond_stage_model.model.{key}": value for key, value in out.items()}


def test_configs_have_the_published_numbers_of_parameters():
    import diffusers
    import transformers

    counts = {
        "SD 1.5": {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480},
        "SD 2": {"unet": 865_925_124, "text_encoder": 340_387_840},
        "SDXL": {"unet": 2_567_463_684, "text_encoder": 123_060_480, "text_encoder_2": 694_659_840},
    }
    kinds = {
        "SD 1.5": {"unet": single_file.UNET | {"in_channels": 4}, "vae": single_file.CODER,
                   "text_encoder": single_file.CLIP},
        "SD 2": {"unet": single_file.H_UNET | {"in_channels": 9}, "text_encoder": single_file.H_CLIP},
        "SDXL": {"unet": single_file.XL_UNET | {"in_channels": 4}, "text_encoder": single_file.CLIP,
                 "text_encoder_2": single_file.BIG_CLIP},
    }  # fmt: skip
    for kind, parts in kinds.items():
        for part, config in parts.items():
            with init_empty_weights():
                if "_class_name" in config:
                    made = getattr(diffusers, str(config["_class_name"])).from_config(config)
                else:
                    values = {k: v for k, v in config.items() if k not in ("architectures", "model_type")}
                    made = getattr(transformers, config["architectures"][0])(transformers.CLIPTextConfig(**values))
            assert sum(p.numel() for p in made.parameters()) == counts[kind][part], (kind, part)


def test_words_become_clips_numbers(tmp_path):
    from transformers import CLIPTokenizer

    words = CLIPTokenizer.from_pretrained(write_configs(recognised(checkpoint(tmp_path)), tmp_path / "c") / "tokenizer")
    assert words("a photo of a cat, a cat!")["input_ids"] == [
        49406, 320, 1125, 539, 320, 2368, 267, 320, 2368, 256, 49407,
    ]  # fmt: skip
    assert len(words) == 49408


def checkpoint(folder: Path, channels: int = 4, told: dict[str, str] | None = None, **more: torch.Tensor) -> Path:
    """A tiny Stable Diffusion 1.5 in one file."""
    coder, net, reader = tiny_hub.vae(), tiny_hub.unet(channels), tiny_hub.clip_text(16)
    texts = text_names(reader)
    OURS["weights"] = {**unet_names(net), **vae_names(coder), **texts}
    file = folder / "tiny.safetensors"
    save_file({key: value.contiguous() for key, value in (OURS["weights"] | more).items()}, file, told)
    return file


def tiny(single: Single, channels: int = 4) -> Single:
    """The same with the configs of tiny parts."""
    reader = tiny_hub.clip_text(16).config.to_dict() | {"architectures": ["CLIPTextModel"]}
    parts = {"unet": dict(tiny_hub.unet(channels).config) | {"_class_name": "UNet2DConditionModel"},
             "vae": dict(tiny_hub.vae().config) | {"_class_name": "AutoencoderKL"}, "text_encoder": reader,
             "scheduler": single.configs["scheduler"]}  # fmt: skip
    return replace(single, configs=parts)


def test_a_file_paints_what_its_folder_paints(tmp_path, monkeypatch):
    file = checkpoint(tmp_path)
    single = recognised(file)
    assert isinstance(single, Single)
    assert (single.kind, single.pipeline) == ("SD 1.5", "StableDiffusionInpaintPipeline")
    vocabulary = {"vocab_size": 49408, "max_position_embeddings": 24}
    small = tiny(single)
    reader = tiny_hub.clip_text(16)
    reader.resize_token_embeddings(49408)
    torch.manual_seed(1)
    torch.nn.init.normal_(reader.get_input_embeddings().weight)
    small = replace(small, configs={**small.configs, "text_encoder": small.configs["text_encoder"] | vocabulary})
    texts = text_names(reader)
    save_file({key: value.contiguous() for key, value in (OURS["weights"] | texts).items()}, file)
    monkeypatch.setattr("restore.pipelines.hub.opening.recognised", lambda path: small)
    plan = plan_for(file)
    pipe = load(plan, torch.float32)
    for part, made in (("unet", tiny_hub.unet(4)), ("vae", tiny_hub.vae()), ("text_encoder", reader)):
        loaded = getattr(pipe, part).state_dict()
        for key, value in made.state_dict().items():
            assert torch.equal(loaded[key], value), (part, key)
    Image.fromarray(make_scene(97, 131)).save(tmp_path / "photo.png")
    command = ["inpaint", str(tmp_path / "photo.png"), "--box", "40,30,30,30", "--passes", "1", "--candidates", "1"]
    one = CliRunner().invoke(main, [*command, "--model", str(file), "--steps", "2", "-o", str(tmp_path / "one.png")])
    assert one.exit_code == 0, one.output
    pipe.save_pretrained(tmp_path / "folder")
    two = CliRunner().invoke(
        main, [*command, "--model", str(tmp_path / "folder"), "--steps", "2", "-o", str(tmp_path / "two.png")]
    )
    assert two.exit_code == 0, two.output
    assert np.array_equal(*(np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("one", "two")))


SD2 = {"cond_stage_model.model.ln_final.weight": torch.ones(2)}


@pytest.mark.parametrize(
    ("channels", "more", "said"),
    [
        (9, {}, "StableDiffusionInpaintPipeline"),
        (8, {}, "StableDiffusionInstructPix2PixPipeline"),
        (5, {}, "takes 5 channels"),
        (4, {"conditioner.embedders.1.model.ln_final.weight": torch.ones(2)}, "StableDiffusionXLInpaintPipeline"),
        (4, {"conditioner.embedders.0.model.ln_final.weight": torch.ones(2)}, "refiner"),
        (4, SD2, "tiny.yaml"),
        (9, SD2, "StableDiffusionInpaintPipeline"),
        (4, SD2 | {"model.diffusion_model.label_emb.0.0.weight": torch.ones(2)}, "unCLIP"),
    ],
)
def test_which_it_is_follows_from_its_tensors(tmp_path, channels, more, said):
    found = recognised(checkpoint(tmp_path, channels, **more))
    assert said in (found.pipeline if isinstance(found, Single) else found)
    result = CliRunner().invoke(main, ["models", "show", str(tmp_path / "tiny.safetensors"), "--json"])
    if isinstance(found, Single):
        assert json.loads(result.stdout)["opened as"] == said
    else:
        assert (result.exit_code, result.stderr.count("\n")) == (4, 1)


SPREAD = torch.linspace(-1, 1, 320)  # its standard deviation is .58


@pytest.mark.parametrize(
    ("beside", "metadata", "more", "predicts"),
    [
        ("", {}, {single_file.LAST_NORM: 0.2 * SPREAD}, "v_prediction"),
        ("", {}, {single_file.LAST_NORM: 0.1 * SPREAD}, "epsilon"),
        ("", {"modelspec.prediction_type": "epsilon"}, {single_file.LAST_NORM: 0.2 * SPREAD}, "epsilon"),
        ("", {"modelspec.predict_key": "v"}, {}, "v_prediction"),
        ("", {"modelspec.architecture": "stable-diffusion-v2-768-v"}, {}, "v_prediction"),
        ("model: {params: {parameterization: v}}", {"modelspec.prediction_type": "epsilon"}, {}, "v_prediction"),
        ("model: {params: {linear_start: 0.00085}}", {}, {single_file.LAST_NORM: 0.2 * SPREAD}, "epsilon"),
        ("model: [", {"modelspec.prediction_type": "v"}, {}, "v_prediction"),
    ],
)
def test_what_stable_diffusion_2_predicts_is_told_by_its_file(tmp_path, beside, metadata, more, predicts):
    file = checkpoint(tmp_path, 4, metadata, **SD2, **more)
    if beside:
        file.with_suffix(".yaml").write_text(beside)
    found = recognised(file)
    assert isinstance(found, Single)
    assert found.configs["scheduler"]["prediction_type"] == predicts
    assert found.configs["unet"]["sample_size"] == {"v_prediction": 96, "epsilon": 64}[predicts]
    shown = json.loads(CliRunner().invoke(main, ["models", "show", str(file), "--json"]).stdout)
    assert shown["predicts"] == predicts


def test_only_a_model_trained_for_it_has_its_noise_rescaled_to_zero_signal(tmp_path):
    xl = {"conditioner.embedders.1.model.ln_final.weight": torch.ones(2), "v_pred": torch.ones(0)}
    for more, rescaled in ((xl, None), (xl | {"ztsnr": torch.ones(0)}, True)):
        found = recognised(checkpoint(tmp_path, 4, **more))
        assert isinstance(found, Single)
        assert found.configs["scheduler"]["prediction_type"] == "v_prediction"
        assert found.configs["scheduler"].get("rescale_betas_zero_snr") == rescaled


@pytest.mark.parametrize("channels", [4, 9])
def test_stable_diffusion_2_is_read_from_its_first_names(tmp_path, monkeypatch, channels):
    """Weights, words filled up with OpenCLIP's 0, and the same picture as from the folder that they make."""
    reader = tiny_hub.clip_text(16)
    reader.resize_token_embeddings(49408)
    options = {"use_linear_projection": True}
    net = tiny_hub.unet(channels, **options)
    weights = {**unet_names(net), **vae_names(tiny_hub.vae()), **open_clip_names(reader)}
    file = tmp_path / "two.safetensors"
    save_file({key: value.contiguous() for key, value in weights.items()}, file, {"modelspec.prediction_type": "v"})
    single = recognised(file)
    assert isinstance(single, Single)
    assert single.kind == "SD 2"
    text = reader.config.to_dict() | {"architectures": ["CLIPTextModel"], "max_position_embeddings": 24}
    parts = {"unet": dict(net.config) | {"_class_name": "UNet2DConditionModel"}, "text_encoder": text,
             "vae": dict(tiny_hub.vae().config) | {"_class_name": "AutoencoderKL"}}  # fmt: skip
    small = replace(single, configs={**single.configs, **parts})
    monkeypatch.setattr("restore.pipelines.hub.opening.recognised", lambda path: small)
    pipe = load(plan_for(file), torch.float32)
    assert pipe.scheduler.config.prediction_type == "v_prediction"
    for part, made in (("unet", net), ("vae", tiny_hub.vae()), ("text_encoder", reader)):
        loaded = getattr(pipe, part).state_dict()
        for key, value in made.state_dict().items():
            assert torch.equal(loaded[key], value), (part, key)
    assert pipe.tokenizer("a cat", padding="max_length", max_length=6)["input_ids"] == [49406, 320, 2368, 49407, 0, 0]
    if channels == 9:
        return
    Image.fromarray(make_scene(97, 131)).save(tmp_path / "photo.png")
    command = ["inpaint", str(tmp_path / "photo.png"), "--box", "40,30,30,30", "--passes", "1", "--candidates", "1"]
    pipe.save_pretrained(tmp_path / "folder")
    for name, model in (("one", file), ("two", tmp_path / "folder")):
        out = str(tmp_path / f"{name}.png")
        done = CliRunner().invoke(main, [*command, "--model", str(model), "--steps", "2", "-o", out])
        assert done.exit_code == 0, done.output
    assert np.array_equal(*(np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("one", "two")))
