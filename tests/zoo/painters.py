"""Text-to-image pipelines, most without any relative that takes a photo: filled with by blending."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
from tiny_hub import unigram_tokenizer, vae

from zoo.editors import LATENTS, Words, qwen, qwen3_vl, qwen25_vl
from zoo.flux import FLOW, bpe_tokenizer, chroma, flow, flux, flux_vae, qwen3, sd3, shaken, z_image
from zoo.unets import stable_diffusion, t5, xl


def pixart(name: str, folder: Path, **parts: Any) -> Any:
    torch.manual_seed(0)
    net = diffusers.PixArtTransformer2DModel(
        sample_size=16, num_layers=2, patch_size=2, attention_head_dim=8, num_attention_heads=3, caption_channels=32,
        in_channels=4, cross_attention_dim=24, out_channels=8, attention_bias=True, activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000, norm_type="ada_norm_single", norm_elementwise_affine=False, norm_eps=1e-6,
        use_additional_conditions=False,
    )  # fmt: skip
    shaken(net)
    return getattr(diffusers, name)(
        tokenizer=unigram_tokenizer(), text_encoder=t5(), vae=vae(), transformer=net,
        scheduler=diffusers.DPMSolverMultistepScheduler(), **parts,
    )  # fmt: skip


def aura(folder: Path) -> Any:
    torch.manual_seed(0)
    net = diffusers.AuraFlowTransformer2DModel(
        sample_size=32, patch_size=2, in_channels=4, num_mmdit_layers=1, num_single_dit_layers=1, attention_head_dim=8,
        num_attention_heads=4, caption_projection_dim=32, joint_attention_dim=32, pos_embed_max_size=1024,
    )  # fmt: skip
    return diffusers.AuraFlowPipeline(
        tokenizer=unigram_tokenizer(), text_encoder=t5(), vae=vae(), transformer=net, scheduler=FLOW()
    )


def gemma(size: int = 16) -> Any:
    from transformers import Gemma2Config, Gemma2Model

    torch.manual_seed(0)
    return Gemma2Model(
        Gemma2Config(
            vocab_size=160, hidden_size=size, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=2, head_dim=8, pad_token_id=0,
        )
    ).eval()  # fmt: skip


def sana(name: str, folder: Path, **parts: Any) -> Any:
    torch.manual_seed(0)
    net = diffusers.SanaTransformer2DModel(
        patch_size=1, in_channels=4, out_channels=4, num_layers=1, num_attention_heads=2, attention_head_dim=4,
        num_cross_attention_heads=2, cross_attention_head_dim=4, cross_attention_dim=8, caption_channels=16,
        sample_size=32,
    )  # fmt: skip
    coder = diffusers.AutoencoderDC(
        latent_channels=4, attention_head_dim=2, encoder_block_out_channels=(8,) * 5,
        decoder_block_out_channels=(8,) * 5,
        encoder_qkv_multiscales=((),) * 5, decoder_qkv_multiscales=((),) * 5, encoder_layers_per_block=(1,) * 5,
        decoder_layers_per_block=(1,) * 5, downsample_block_type="conv",
        upsample_block_type="interpolate", decoder_norm_types="rms_norm", decoder_act_fns="silu",
        scaling_factor=0.41407,
    )  # fmt: skip
    steps = diffusers.DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    return getattr(diffusers, name)(
        tokenizer=bpe_tokenizer(), text_encoder=gemma(), vae=coder, transformer=net, scheduler=steps, **parts
    )


def lumina2(folder: Path) -> Any:
    torch.manual_seed(0)
    net = diffusers.Lumina2Transformer2DModel(
        sample_size=16, patch_size=2, in_channels=4, hidden_size=24, num_layers=1, num_refiner_layers=1,
        num_attention_heads=3, num_kv_heads=1, multiple_of=2, ffn_dim_multiplier=None, norm_eps=1e-5,
        scaling_factor=1.0, axes_dim_rope=[4, 2, 2], axes_lens=[1024, 128, 128], cap_feat_dim=16,
    )  # fmt: skip
    return diffusers.Lumina2Pipeline(
        transformer=net, scheduler=FLOW(), vae=flux_vae(levels=4), text_encoder=gemma(), tokenizer=bpe_tokenizer()
    )


def cogview4(folder: Path) -> Any:
    from transformers import GlmConfig, GlmModel

    torch.manual_seed(0)
    net = diffusers.CogView4Transformer2DModel(
        patch_size=2, in_channels=4, num_layers=2, attention_head_dim=4, num_attention_heads=4, out_channels=4,
        text_embed_dim=32, time_embed_dim=8, condition_dim=4,
    )  # fmt: skip
    config = GlmConfig(
        hidden_size=32, intermediate_size=8, num_hidden_layers=2, num_attention_heads=4, head_dim=8,
        num_key_value_heads=2, vocab_size=160, pad_token_id=0,
    )  # fmt: skip
    steps = FLOW(
        base_shift=0.25, max_shift=0.75, base_image_seq_len=256, use_dynamic_shifting=True, time_shift_type="linear"
    )
    return diffusers.CogView4Pipeline(
        tokenizer=bpe_tokenizer(),
        text_encoder=GlmModel(config).eval(),
        vae=vae(levels=4),
        transformer=net,
        scheduler=steps,
    )


def ovis(folder: Path) -> Any:
    torch.manual_seed(0)
    net = diffusers.OvisImageTransformer2DModel(
        patch_size=1, in_channels=16, out_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=16, axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    return diffusers.OvisImagePipeline(
        scheduler=flow(), vae=flux_vae(), text_encoder=qwen3(2).model, tokenizer=bpe_tokenizer(), transformer=net
    )


def krea2(folder: Path) -> Any:
    torch.manual_seed(0)
    net = diffusers.Krea2Transformer2DModel(
        in_channels=16, num_layers=1, attention_head_dim=16, num_attention_heads=2, num_key_value_heads=2,
        intermediate_size=32, timestep_embed_dim=16, text_hidden_dim=16, num_text_layers=2, text_num_attention_heads=2,
        text_num_key_value_heads=2, text_intermediate_size=16, num_layerwise_text_blocks=1, num_refiner_text_blocks=1,
        axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    coder = diffusers.AutoencoderKLQwenImage(
        base_dim=8, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True], **LATENTS
    )
    return diffusers.Krea2Pipeline(
        scheduler=flow(), vae=coder, text_encoder=qwen3_vl(2).model, tokenizer=bpe_tokenizer(), transformer=net,
        text_encoder_select_layers=(0, 1),
    )  # fmt: skip


def longcat(folder: Path) -> Any:
    torch.manual_seed(0)
    net = diffusers.LongCatImageTransformer2DModel(
        patch_size=1, in_channels=64, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=16, pooled_projection_dim=16, axes_dims_rope=[4, 4, 8],
    )  # fmt: skip
    return diffusers.LongCatImagePipeline(
        scheduler=flow(), vae=flux_vae(16), text_encoder=qwen25_vl(), tokenizer=bpe_tokenizer(), text_processor=Words(),
        transformer=net,
    )  # fmt: skip


def cogview3(folder: Path) -> Any:
    torch.manual_seed(0)
    net = diffusers.CogView3PlusTransformer2DModel(
        patch_size=2, in_channels=4, num_layers=2, attention_head_dim=4, num_attention_heads=2, out_channels=4,
        text_embed_dim=32, time_embed_dim=8, condition_dim=2, pos_embed_max_size=64, sample_size=32,
    )  # fmt: skip
    return diffusers.CogView3PlusPipeline(
        tokenizer=unigram_tokenizer(), text_encoder=t5(), vae=vae(levels=4), transformer=net,
        scheduler=diffusers.CogVideoXDDIMScheduler(),
    )  # fmt: skip


def _sd(name: str, **parts: Any) -> Any:
    return lambda folder: stable_diffusion(name, folder, 4, **parts)


PAINTERS = {
    "StableDiffusionPipeline": _sd("StableDiffusionPipeline"),
    "StableDiffusionPAGPipeline": _sd("StableDiffusionPAGPipeline", pag_applied_layers="mid"),
    "StableDiffusionXLPipeline": lambda f: xl("StableDiffusionXLPipeline", f, 4),
    "StableDiffusionXLPAGPipeline": lambda f: xl("StableDiffusionXLPAGPipeline", f, 4, pag_applied_layers="mid"),
    "StableDiffusion3Pipeline": lambda f: sd3("StableDiffusion3Pipeline", f),
    "StableDiffusion3PAGPipeline": lambda f: sd3("StableDiffusion3PAGPipeline", f, pag_applied_layers="blocks.1"),
    "FluxPipeline": lambda f: flux("FluxPipeline", f),
    "ZImagePipeline": lambda f: z_image("ZImagePipeline", f),
    "QwenImagePipeline": lambda f: qwen("QwenImagePipeline", f),
    "PixArtAlphaPipeline": lambda f: pixart("PixArtAlphaPipeline", f),
    "PixArtSigmaPipeline": lambda f: pixart("PixArtSigmaPipeline", f),
    "PixArtSigmaPAGPipeline": lambda f: pixart("PixArtSigmaPAGPipeline", f, pag_applied_layers="blocks.1"),
    "AuraFlowPipeline": aura,
    "SanaPipeline": lambda f: sana("SanaPipeline", f),
    "SanaPAGPipeline": lambda f: sana("SanaPAGPipeline", f, pag_applied_layers="transformer_blocks.0"),
    "Lumina2Pipeline": lumina2,
    "CogView4Pipeline": cogview4,
    "OvisImagePipeline": ovis,
    "Krea2Pipeline": krea2,
    "ChromaPipeline": lambda f: chroma("ChromaPipeline", f),
    "LongCatImagePipeline": longcat,
    "CogView3PlusPipeline": cogview3,
}
