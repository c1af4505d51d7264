"""Whole Stable Diffusion models in one safetensors file: which one it is, and the folder of configs that diffusers
wants beside it, so that nothing has to be fetched.

The numbers are those of the published models' configs; the vocabulary is CLIP's (Radford et al., 2021, MIT licence).
"""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restore.hub.headers import header, metadata

NET = "model.diffusion_model."
STEM = f"{NET}input_blocks.0.0.weight"
LAST_NORM = f"{NET}output_blocks.11.1.transformer_blocks.0.norm1.bias"
SPREAD = 0.09  # standard deviation of these biases, from which a Stable Diffusion 2 predicts v
V = "v_prediction"
MERGES = Path(__file__).with_name("clip_merges.txt.gz")
STEPS = {
    "_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1, "timestep_spacing": "leading",
}  # fmt: skip
CODER = {
    "_class_name": "AutoencoderKL", "block_out_channels": [128, 256, 512, 512], "latent_channels": 4,
    "layers_per_block": 2, "norm_num_groups": 32, "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4, "sample_size": 512, "scaling_factor": 0.18215,
}  # fmt: skip
UNET = {
    "_class_name": "UNet2DConditionModel", "block_out_channels": [320, 640, 1280, 1280], "sample_size": 64,
    "attention_head_dim": 8, "cross_attention_dim": 768, "layers_per_block": 2, "out_channels": 4,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
}  # fmt: skip
CLIP = {
    "architectures": ["CLIPTextModel"], "model_type": "clip_text_model", "hidden_size": 768, "intermediate_size": 3072,
    "num_hidden_layers": 12, "num_attention_heads": 12, "hidden_act": "quick_gelu", "max_position_embeddings": 77,
    "vocab_size": 49408, "projection_dim": 768, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1,
}  # fmt: skip
BIG_CLIP = CLIP | {
    "architectures": ["CLIPTextModelWithProjection"], "hidden_size": 1280, "intermediate_size": 5120,
    "num_hidden_layers": 32, "num_attention_heads": 20, "hidden_act": "gelu", "projection_dim": 1280,
}  # fmt: skip
XL_UNET = UNET | {
    "block_out_channels": [320, 640, 1280], "sample_size": 128, "attention_head_dim": [5, 10, 20],
    "cross_attention_dim": 2048, "transformer_layers_per_block": [1, 2, 10], "use_linear_projection": True,
    "addition_embed_type": "text_time", "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
}  # fmt: skip
H_CLIP = CLIP | {
    "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16,
    "hidden_act": "gelu", "projection_dim": 512,
}  # fmt: skip
H_UNET = UNET | {
    "attention_head_dim": [5, 10, 20, 20], "cross_attention_dim": 1024, "use_linear_projection": True,
    "upcast_attention": True,
}  # fmt: skip


@dataclass(frozen=True)
class Single:
    """kind: "SD 1.5", "SD 2" or "SDXL"; pipeline: the class to open it as; configs: of every part by its name."""

    kind: str
    pipeline: str
    configs: Mapping[str, Mapping[str, Any]]


def recognised(file: Path) -> Single | str | None:
    """What a file holds: a model, why it is none that can be read, or None where it is no whole Stable Diffusion."""
    found = header(file)
    if STEM not in found:
        return None
    channels = found[STEM]["shape"][1]
    if channels not in (4, 8, 9):
        return f"a Stable Diffusion whose network takes {channels} channels, which neither fills nor edits"
    if f"{NET}label_emb.0.0.weight" in found and "cond_stage_model.model.ln_final.weight" in found:
        return "a Stable unCLIP, which is shown a picture of what to paint; take another model"
    if "conditioner.embedders.1.model.ln_final.weight" in found:
        return _xl(channels, predicted(file) or "epsilon", zero_snr="ztsnr" in found)
    if "conditioner.embedders.0.model.ln_final.weight" in found:
        return "the refiner of SDXL, which only sharpens; take its base model"
    name = {8: "InstructPix2Pix"}.get(channels, "Inpaint")
    unet, kind = {"in_channels": channels}, predicted(file)
    if "cond_stage_model.model.ln_final.weight" in found:
        kind = kind or ("epsilon" if channels == 9 else _by_weights(file))
        if not kind:
            return (
                "Stable Diffusion 2, whose file does not say what it predicts; put its configuration beside it, as "
                f"{file.with_suffix('.yaml').name}, or take a folder"
            )
        size = 96 if kind == V else 64  # the 768 pixels that v-prediction came with
        parts = {"unet": H_UNET | unet | {"sample_size": size}, "text_encoder": H_CLIP}
        return _single("SD 2", f"StableDiffusion{name}Pipeline", parts, kind)
    parts = {"unet": UNET | unet, "text_encoder": CLIP}
    return _single("SD 1.5", f"StableDiffusion{name}Pipeline", parts, kind or "epsilon")


def predicted(file: Path) -> str:
    """What a file says its network predicts, "epsilon" or "v_prediction"; "" where it does not.

    By the configuration of the first implementation beside it (the same name, .yaml), by the mark that some hold as a
    tensor, or by its metadata (ModelSpec 1.0; ComfyUI calls one key otherwise).
    """
    import yaml

    with contextlib.suppress(OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        said = yaml.safe_load(file.with_suffix(".yaml").read_text(encoding="utf-8"))["model"]["params"]
        return V if said.get("parameterization") == "v" else "epsilon"
    if "v_pred" in header(file):
        return V
    told = metadata(file)
    kind = told.get("modelspec.prediction_type") or told.get("modelspec.predict_key")
    by_name = {"stable-diffusion-v2-768-v": "v", "stable-diffusion-v2-512": "epsilon"}
    kind = kind or by_name.get(told.get("modelspec.architecture", ""), "")
    return {"v": V, V: V, "epsilon": "epsilon"}.get(kind, "")


def _by_weights(file: Path) -> str:
    """What a Stable Diffusion 2 of four channels predicts, by the rule of ComfyUI (supported_models.py, SD20): the
    biases of the last transformer's first norm spread more in those that predict v. "" where they are not there."""
    if LAST_NORM not in header(file):
        return ""
    from safetensors import safe_open

    with safe_open(file, "pt") as tensors:
        spread = float(tensors.get_tensor(LAST_NORM).float().std(unbiased=False))
    return V if spread > SPREAD else "epsilon"


def _xl(channels: int, kind: str, *, zero_snr: bool) -> Single:
    name = {8: "InstructPix2Pix"}.get(channels, "Inpaint")
    steps = STEPS | ({"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"} if zero_snr else {})
    parts = {
        "unet": XL_UNET | {"in_channels": channels}, "text_encoder": CLIP, "text_encoder_2": BIG_CLIP,
        "vae": CODER | {"sample_size": 1024, "scaling_factor": 0.13025, "force_upcast": True}, "scheduler": steps,
    }  # fmt: skip
    return _single("SDXL", f"StableDiffusionXL{name}Pipeline", parts, kind)


def _single(kind: str, pipeline: str, parts: Mapping[str, Mapping[str, Any]], predicts: str) -> Single:
    steps = {**parts.get("scheduler", STEPS), "prediction_type": predicts}
    return Single(kind, pipeline, {"vae": CODER, **parts, "scheduler": steps})


def write_configs(single: Single, folder: Path) -> Path:
    """The folder that diffusers wants beside such a file: an index, configs, vocabularies; no weights."""
    index: dict[str, Any] = {"_class_name": single.pipeline}
    for part, config in single.configs.items():
        library = "transformers" if part.startswith("text_encoder") else "diffusers"
        index[part] = [library, config.get("_class_name") or config["architectures"][0]]
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        _write(folder / part / name, config)
        if part.startswith("text_encoder"):
            words = part.replace("text_encoder", "tokenizer")
            index[words] = ["transformers", "CLIPTokenizer"]
            pad = "!" if part == "text_encoder_2" or single.kind == "SD 2" else "<|endoftext|>"  # OpenCLIP's is 0
            _write_vocabulary(folder / words, pad, int(config["max_position_embeddings"]))
    index |= {"safety_checker": [None, None], "feature_extractor": [None, None]}
    _write(folder / "model_index.json", index)
    return folder


def _write_vocabulary(folder: Path, pad: str, length: int) -> None:
    """CLIP's tokens follow from its merges: bytes, bytes that end a word, merged pairs, start and end."""
    merges = gzip.decompress(MERGES.read_bytes()).decode("utf-8")
    shown = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = [chr(b) for b in shown] + [chr(256 + i) for i in range(256 - len(shown))]
    tokens = [*letters, *(f"{c}</w>" for c in letters), *("".join(pair.split()) for pair in merges.split("\n"))]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    _write(folder / "vocab.json", {token: i for i, token in enumerate(tokens)})
    said = {"tokenizer_class": "CLIPTokenizer", "model_max_length": length, "pad_token": pad,
            "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}  # fmt: skip
    _write(folder / "tokenizer_config.json", said)


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
