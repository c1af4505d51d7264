"""OpenAI's guided-diffusion checkpoints (Dhariwal & Nichol, NeurIPS 2021) as diffusers' `UNet2DModel`, key by key.

Both are the same network under other names. In a checkpoint `input_blocks` are numbered through: first the stem, then
`layers` residual blocks a level, each followed by attention where the level has it, then the level's downsampling
(a residual block that halves, or a convolution). `output_blocks` mirror them; there the upsampling is the last part of
a level's last block, which tells how many levels there are. Attention keeps q, k and v in one 1-d convolution,
head by head (`QKVAttentionLegacy`). What shapes cannot tell are the channels of a head and the noise schedule.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from restore.errors import InputError, ModelUnavailableError
from restore.images.files import replacing
from restore.pipelines.hub.library import diffusers

Weights = dict[str, Tensor]
RES = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}


@dataclass(frozen=True)
class UNetLayout:
    """What a checkpoint's keys and shapes say. attention: by level, finest first."""

    channels: tuple[int, ...]
    layers: int
    attention: tuple[bool, ...]
    out_channels: int
    scale_shift: bool
    residual_resampling: bool

    @property
    def per_level(self) -> int:
        return self.layers + 1


def layout_of(weights: Weights) -> UNetLayout:
    """Raises ModelUnavailableError if the keys are not those of an unconditional guided-diffusion UNet."""
    try:
        return _layout_of(weights)
    except (KeyError, StopIteration, IndexError, ZeroDivisionError) as error:
        raise ModelUnavailableError(
            f"expected a checkpoint of a guided-diffusion UNet, got one without {error or 'its blocks'}"
        ) from None


def _layout_of(weights: Weights) -> UNetLayout:
    if "label_emb.weight" in weights:
        raise ModelUnavailableError("expected an unconditional checkpoint, got one with class labels")
    if weights["input_blocks.0.0.weight"].shape[1] != 3:
        raise ModelUnavailableError("expected a checkpoint of an RGB model, got other channels")
    count = 1 + max(int(key.split(".")[1]) for key in weights if key.startswith("input_blocks."))
    ups = [k for k in range(count) if _upsampler(weights, k) is not None]
    levels = len(ups) + 1
    per_level = count // levels
    if per_level < 2 or ups != [per_level * (i + 1) - 1 for i in range(levels - 1)]:
        raise ModelUnavailableError(f"expected levels of one depth, got {count} blocks with upsampling at {ups}")
    first = [1 + i * per_level for i in range(levels)]
    width = weights["input_blocks.1.0.out_layers.3.weight"].shape[0]
    return UNetLayout(
        tuple(weights[f"input_blocks.{i}.0.out_layers.3.weight"].shape[0] for i in first),
        per_level - 1,
        tuple(f"input_blocks.{i}.1.qkv.weight" in weights for i in first),
        weights["out.2.weight"].shape[0],
        weights["input_blocks.1.0.emb_layers.1.weight"].shape[0] == 2 * width,
        levels == 1 or f"input_blocks.{per_level}.0.op.weight" not in weights,
    )


def _upsampler(weights: Weights, block: int) -> str | None:
    """Prefix of what enlarges at the end of an output block."""
    for part in (1, 2):
        prefix = f"output_blocks.{block}.{part}."
        if any(key.startswith((prefix + "conv.", prefix + "in_layers.")) for key in weights):
            return prefix
    return None


def unet_config(layout: UNetLayout, head_channels: int) -> dict[str, Any]:
    """Arguments of `UNet2DModel`."""
    plain = ("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D") if layout.residual_resampling else (
        "DownBlock2D", "UpBlock2D"
    )  # fmt: skip
    down = tuple("AttnDownBlock2D" if a else plain[0] for a in layout.attention)
    up = tuple("AttnUpBlock2D" if a else plain[1] for a in reversed(layout.attention))
    resampling = "resnet" if layout.residual_resampling else "conv"
    return {
        "in_channels": 3,
        "out_channels": layout.out_channels,
        "block_out_channels": layout.channels,
        "layers_per_block": layout.layers,
        "down_block_types": down,
        "up_block_types": up,
        "downsample_type": resampling,
        "upsample_type": resampling,
        "attention_head_dim": head_channels,
        "resnet_time_scale_shift": "scale_shift" if layout.scale_shift else "default",
        "norm_eps": 1e-5,
        "attn_norm_num_groups": 32,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
    }


def converted(weights: Weights, layout: UNetLayout, head_channels: int) -> Weights:
    """The checkpoint's tensors under the names of `UNet2DModel`. Raises ModelUnavailableError for keys left over."""
    old = dict(weights)
    new: Weights = {}
    for there, here in (
        ("time_embed.0", "time_embedding.linear_1"),
        ("time_embed.2", "time_embedding.linear_2"),
        ("input_blocks.0.0", "conv_in"),
        ("out.0", "conv_norm_out"),
        ("out.2", "conv_out"),
    ):
        _move(old, new, there, here)
    for level, attention in enumerate(layout.attention):
        for layer in range(layout.layers):
            there = f"input_blocks.{1 + level * layout.per_level + layer}"
            _resnet(old, new, f"{there}.0", f"down_blocks.{level}.resnets.{layer}")
            if attention:
                _attention(old, new, f"{there}.1", f"down_blocks.{level}.attentions.{layer}", head_channels)
        if level + 1 < len(layout.channels):
            there = f"input_blocks.{(level + 1) * layout.per_level}.0"
            _resample(old, new, there, f"down_blocks.{level}.downsamplers.0")
    _resnet(old, new, "middle_block.0", "mid_block.resnets.0")
    _attention(old, new, "middle_block.1", "mid_block.attentions.0", head_channels)
    _resnet(old, new, "middle_block.2", "mid_block.resnets.1")
    for level, attention in enumerate(reversed(layout.attention)):
        for layer in range(layout.per_level):
            there = f"output_blocks.{level * layout.per_level + layer}"
            _resnet(old, new, f"{there}.0", f"up_blocks.{level}.resnets.{layer}")
            if attention:
                _attention(old, new, f"{there}.1", f"up_blocks.{level}.attentions.{layer}", head_channels)
        if level + 1 < len(layout.channels):
            last = f"output_blocks.{(level + 1) * layout.per_level - 1}.{1 + attention}"
            _resample(old, new, last, f"up_blocks.{level}.upsamplers.0")
    if old:
        raise ModelUnavailableError(f"expected only known keys in the checkpoint, got '{next(iter(old))}' besides")
    return new


def _move(old: Weights, new: Weights, there: str, here: str) -> None:
    for part in ("weight", "bias"):
        try:
            new[f"{here}.{part}"] = old.pop(f"{there}.{part}").float()
        except KeyError:
            raise ModelUnavailableError(f"expected '{there}.{part}' in the checkpoint, got none") from None


def _resnet(old: Weights, new: Weights, there: str, here: str) -> None:
    for name, other in RES.items():
        if other != "conv_shortcut" or f"{there}.{name}.weight" in old:
            _move(old, new, f"{there}.{name}", f"{here}.{other}")
    shortcut = new.get(f"{here}.conv_shortcut.weight")
    if shortcut is not None and shortcut.shape[-1] != 1:
        raise ModelUnavailableError(f"expected a 1×1 skip connection in '{there}', got a wider one")


def _resample(old: Weights, new: Weights, there: str, here: str) -> None:
    for name in ("op", "conv"):
        if f"{there}.{name}.weight" in old:
            _move(old, new, f"{there}.{name}", f"{here}.conv")
            return
    _resnet(old, new, there, here)


def _attention(old: Weights, new: Weights, there: str, here: str, head_channels: int) -> None:
    _move(old, new, f"{there}.norm", f"{here}.group_norm")
    for name in ("qkv", "proj_out"):
        _move(old, new, f"{there}.{name}", f"{here}.{name}")
    weight, bias = (new.pop(f"{here}.qkv.{part}") for part in ("weight", "bias"))
    channels = weight.shape[1]
    if channels % head_channels:
        raise InputError(f"expected heads that divide {channels} channels, got heads of {head_channels}")
    rows = weight[..., 0].reshape(-1, 3, head_channels, channels).unbind(1)
    offsets = bias.reshape(-1, 3, head_channels).unbind(1)
    for name, row, offset in zip(("to_q", "to_k", "to_v"), rows, offsets, strict=True):
        new[f"{here}.{name}.weight"], new[f"{here}.{name}.bias"] = row.flatten(0, 1), offset.flatten()
    new[f"{here}.to_out.0.weight"] = new.pop(f"{here}.proj_out.weight")[..., 0]
    new[f"{here}.to_out.0.bias"] = new.pop(f"{here}.proj_out.bias")


def convert(source: Path, goal: Path, head_channels: int = 64, schedule: str = "linear") -> None:
    """Write a checkpoint as a folder that `load_prior` takes: `unet/` and `scheduler/`, safetensors and JSON.

    head_channels: of an attention head (`num_head_channels`; 64 in the published ones); schedule: "linear" or "cosine",
    1000 steps. Read by `unpickled`.
    Raises InputError for files, ModelUnavailableError for what is in them.
    """
    if goal.exists() and any(goal.iterdir() if goal.is_dir() else [goal]):
        raise InputError(f"expected a folder that is new or empty, got existing {goal}; choose another name")
    weights = unpickled(source)
    layout = layout_of(weights)
    unet: Any = diffusers().UNet2DModel(**unet_config(layout, head_channels))
    unet.load_state_dict(converted(weights, layout, head_channels))
    unet.save_pretrained(goal / "unet", safe_serialization=True)
    betas = {"linear": "linear", "cosine": "squaredcos_cap_v2"}[schedule]
    kind = "learned_range" if layout.out_channels == 6 else "fixed_small"
    scheduler: Any = diffusers().DDPMScheduler(beta_schedule=betas, variance_type=kind)
    scheduler.save_pretrained(goal / "scheduler")


def unpickled(source: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, and nothing else that may be in it: `weights_only=True`.

    Raises InputError for a file that cannot be read, ModelUnavailableError for what is no state dict.
    """
    try:
        weights = torch.load(source, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"expected a readable checkpoint, got {source} ({error.strerror})") from None
    except Exception as error:  # unpickling fails in as many ways as there are files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelUnavailableError(f"expected a checkpoint of tensors only in {source}, got: {reason}") from None
    if not isinstance(weights, dict) or not all(isinstance(v, Tensor) for v in weights.values()):
        raise ModelUnavailableError(f"expected a state dict of tensors in {source}, got another kind")
    return weights


def repacked(source: Path, goal: Path) -> None:
    """Write the tensors of a checkpoint, as they are, as safetensors. Raises as `unpickled`, and for existing files."""
    if goal.exists():
        raise InputError(f"expected a file that is new, got existing {goal}; choose another name")
    tensors = {name: value.contiguous().clone() for name, value in unpickled(source).items()}
    with replacing(goal, what="safetensors file") as file:
        save_file(tensors, file.name)
