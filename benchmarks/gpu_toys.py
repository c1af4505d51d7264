"""Models of real shapes with made-up weights: as slow and as large as the real ones, and as blind.

Vocabularies are those of the tests. Small ones try the benchmark itself on a CPU.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import Maker
from tests.tiny_hub import clip_tokenizer, unigram_tokenizer


def toys(*, large: bool) -> dict[str, Maker]:
    """A UNet of Stable Diffusion 1.5's shape and a transformer of FLUX.1's with fewer blocks; or tiny ones."""
    suffix = "shape, made-up weights" if large else "tiny"
    return {f"SD 1.5 ({suffix})": lambda t: sd(t, large), f"FLUX.1 ({suffix})": lambda t: flux(t, large)}


def _words() -> Any:
    return clip_tokenizer(Path(tempfile.mkdtemp()))


def _clip(large: bool) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    width, layers = (768, 12) if large else (16, 2)
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=400, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
            num_attention_heads=12 if large else 2, max_position_embeddings=24, projection_dim=width, bos_token_id=0,
            eos_token_id=2, pad_token_id=1,
        )
    )  # fmt: skip


def _vae(large: bool, latents: int, **options: Any) -> Any:
    from diffusers import AutoencoderKL

    widths = (128, 256, 512, 512) if large else (8, 16)
    return AutoencoderKL(
        block_out_channels=widths, down_block_types=("DownEncoderBlock2D",) * len(widths), latent_channels=latents,
        up_block_types=("UpDecoderBlock2D",) * len(widths), norm_num_groups=32 if large else 4,
        layers_per_block=2 if large else 1, sample_size=512, **options,
    )  # fmt: skip


def _half(pipe: Any, dtype: torch.dtype) -> Any:
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.to(dtype).eval()
    return pipe


def sd(dtype: torch.dtype, large: bool) -> Any:
    from diffusers import DDIMScheduler, StableDiffusionInpaintPipeline, UNet2DConditionModel

    torch.manual_seed(0)
    shape = {} if large else {
        "block_out_channels": (16, 32), "layers_per_block": 1, "attention_head_dim": 4, "norm_num_groups": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    }  # fmt: skip
    net = UNet2DConditionModel(sample_size=64, in_channels=9, cross_attention_dim=768 if large else 16, **shape)
    steps = DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    pipe = StableDiffusionInpaintPipeline(
        vae=_vae(large, 4), text_encoder=_clip(large), tokenizer=_words(), unet=net, scheduler=steps,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    return _half(pipe, dtype)


def flux(dtype: torch.dtype, large: bool) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxInpaintPipeline, FluxTransformer2DModel
    from transformers import T5Config, T5EncoderModel

    torch.manual_seed(0)
    heads, size = (24, 128) if large else (2, 16)
    net = FluxTransformer2DModel(
        in_channels=64 if large else 16, num_layers=2 if large else 1, num_single_layers=4 if large else 1,
        attention_head_dim=size, num_attention_heads=heads, joint_attention_dim=32,
        pooled_projection_dim=768 if large else 16, axes_dims_rope=(16, 56, 56) if large else (4, 4, 8),
        guidance_embeds=True,
    )  # fmt: skip
    reader = T5EncoderModel(
        T5Config(
            vocab_size=400, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2, relative_attention_num_buckets=8
        )
    )
    coder = _vae(large, 16 if large else 4, shift_factor=0.1, use_quant_conv=False, use_post_quant_conv=False)
    pipe = FluxInpaintPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(), text_encoder=_clip(large), text_encoder_2=reader, vae=coder,
        tokenizer=_words(), tokenizer_2=unigram_tokenizer(), transformer=net,
    )  # fmt: skip
    return _half(pipe, dtype)
