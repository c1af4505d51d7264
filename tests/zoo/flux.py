"""Transformers that denoise packed or plain latents from words: FLUX.1 and .2, Chroma, Stable Diffusion 3, Z-Image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
from tiny_hub import clip_text, clip_tokenizer, unigram_tokenizer, vae

from zoo.unets import t5

FLOW = diffusers.FlowMatchEulerDiscreteScheduler
CHAT = "{% for m in messages %}{% if m['content'] is string %}{{ m['content'] }}{% endif %}{% endfor %}"


def flow() -> Any:
    return FLOW(use_dynamic_shifting=True)


def bpe_tokenizer() -> Any:
    """Qwen's tokenizer with letters for words."""
    from transformers import Qwen2Tokenizer

    letters = [chr(c) for c in range(ord("!"), ord("~") + 1)]
    vocab = {token: i for i, token in enumerate([*letters, "Ġ", "Ċ", "<|endoftext|>", "<|im_start|>", "<|im_end|>"])}
    words = Qwen2Tokenizer(vocab=vocab, merges=[], model_max_length=512)
    words.chat_template = CHAT
    return words


def flux_vae(latents: int = 4, levels: int = 2) -> Any:
    return vae(latents, levels=levels, shift_factor=0.1, use_quant_conv=False, use_post_quant_conv=False)


def flux_net(channels: int = 16, out: int | None = None, guidance: bool = True) -> Any:
    torch.manual_seed(0)
    return diffusers.FluxTransformer2DModel(
        patch_size=1, in_channels=channels, out_channels=out, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=16, axes_dims_rope=(4, 4, 8),
        guidance_embeds=guidance,
    )  # fmt: skip


def flux(name: str, folder: Path, channels: int = 16, out: int | None = None, **parts: Any) -> Any:
    return getattr(diffusers, name)(
        scheduler=flow(), text_encoder=clip_text(16), text_encoder_2=t5(), vae=flux_vae(),
        tokenizer=clip_tokenizer(folder / "words"), tokenizer_2=unigram_tokenizer(),
        transformer=flux_net(channels, out), **parts,
    )  # fmt: skip


def flux_controlnet() -> Any:
    torch.manual_seed(2)
    net = diffusers.FluxControlNetModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=16, axes_dims_rope=[4, 4, 8],
    )  # fmt: skip
    shaken(net)
    return net


def shaken(net: Any) -> None:
    """Networks start with gates at zero, through which nothing is heard: these are opened."""
    for part in net.parameters():
        if not part.any():
            torch.nn.init.normal_(part, std=0.3)


def chroma(name: str, folder: Path) -> Any:
    from restore.pipelines.hub.opening import completed

    torch.manual_seed(0)
    net = diffusers.ChromaTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, axes_dims_rope=(4, 4, 8), approximator_hidden_dim=32, approximator_layers=1,
        approximator_num_channels=16,
    )  # fmt: skip
    return completed(
        getattr(diffusers, name)(
            scheduler=flow(), vae=flux_vae(), text_encoder=t5(), tokenizer=unigram_tokenizer(), transformer=net
        )
    )


def qwen3(layers: int, size: int = 16) -> Any:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=160, hidden_size=size, intermediate_size=16, num_hidden_layers=layers, num_attention_heads=2,
            num_key_value_heads=2, head_dim=8, max_position_embeddings=1024,
        )
    )  # fmt: skip


def flux2(name: str, folder: Path, layers: int = 28, guidance: bool = False, **parts: Any) -> Any:
    torch.manual_seed(0)
    net = diffusers.Flux2Transformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=48, timestep_guidance_channels=16, axes_dims_rope=(4, 4, 4, 4), guidance_embeds=guidance,
    )  # fmt: skip
    coder = diffusers.AutoencoderKLFlux2(
        block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2, layers_per_block=1,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=4, sample_size=64,
    )  # fmt: skip
    words = Mistral() if guidance else bpe_tokenizer()
    return getattr(diffusers, name)(
        scheduler=flow(), vae=coder, text_encoder=qwen3(layers), tokenizer=words, transformer=net, **parts
    )


class Mistral:
    """Stands for Mistral's processor."""

    def apply_chat_template(self, messages: Any, **options: Any) -> Any:
        from transformers import BatchFeature

        said = [" ".join(part["text"] for m in talk for part in m["content"] if "text" in part) for talk in messages]
        return BatchFeature(dict(bpe_tokenizer()(said, padding="max_length", max_length=512, return_tensors="pt",
                                                 truncation=True)))  # fmt: skip


def sd3(name: str, folder: Path, **parts: Any) -> Any:
    torch.manual_seed(0)
    words = clip_tokenizer(folder / "words")
    net = diffusers.SD3Transformer2DModel(
        sample_size=32, patch_size=1, in_channels=16, num_layers=2, attention_head_dim=16, num_attention_heads=2,
        caption_projection_dim=32, joint_attention_dim=32, pooled_projection_dim=32, out_channels=16,
    )  # fmt: skip
    return getattr(diffusers, name)(
        transformer=net, scheduler=FLOW(), vae=flux_vae(16), text_encoder=clip_text(16, projection=True),
        tokenizer=words, text_encoder_2=clip_text(16, projection=True, seed=1), tokenizer_2=words, text_encoder_3=t5(),
        tokenizer_3=unigram_tokenizer(), **parts,
    )  # fmt: skip


def sd3_controlnet() -> Any:
    torch.manual_seed(2)
    net = diffusers.SD3ControlNetModel(
        sample_size=32, patch_size=1, in_channels=16, num_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, caption_projection_dim=32, pooled_projection_dim=32, out_channels=16,
        extra_conditioning_channels=1,
    )  # fmt: skip
    shaken(net)
    return net


def z_net(**options: Any) -> Any:
    torch.manual_seed(0)
    net = diffusers.ZImageTransformer2DModel(
        all_patch_size=(2,), all_f_patch_size=(1,), in_channels=4, dim=32, n_layers=2, n_refiner_layers=1, n_heads=2,
        n_kv_heads=2, cap_feat_dim=16, axes_dims=[8, 4, 4], axes_lens=[2048, 256, 256], **options,
    )  # fmt: skip
    with torch.no_grad():  # padding is made without numbers
        for name in ("x_pad_token", "cap_pad_token", "siglip_pad_token"):
            token = getattr(net, name, None)
            if token is not None:
                token.normal_(std=0.02)
    return net


def z_image(name: str, folder: Path, **parts: Any) -> Any:
    return getattr(diffusers, name)(
        scheduler=flow(), vae=flux_vae(), text_encoder=qwen3(2), tokenizer=bpe_tokenizer(), transformer=z_net(), **parts
    )


def z_controlnet() -> Any:
    torch.manual_seed(2)
    net = diffusers.ZImageControlNetModel(
        control_layers_places=[0], control_refiner_layers_places=[0], control_in_dim=9,
        add_control_noise_refiner="control_noise_refiner", all_patch_size=(2,), all_f_patch_size=(1,), dim=32,
        n_refiner_layers=1, n_heads=2, n_kv_heads=2,
    )  # fmt: skip
    shaken(net)
    return net


BUILDERS = {
    "FluxFillPipeline": lambda f: flux("FluxFillPipeline", f, 48, 16),
    "FluxInpaintPipeline": lambda f: flux("FluxInpaintPipeline", f),
    "FluxControlNetInpaintPipeline": lambda f: flux("FluxControlNetInpaintPipeline", f, controlnet=flux_controlnet()),
    "FluxKontextPipeline": lambda f: flux("FluxKontextPipeline", f),
    "FluxKontextInpaintPipeline": lambda f: flux("FluxKontextInpaintPipeline", f),
    "Flux2Pipeline": lambda f: flux2("Flux2Pipeline", f, 31, True),
    "Flux2KleinPipeline": lambda f: flux2("Flux2KleinPipeline", f),
    "Flux2KleinKVPipeline": lambda f: flux2("Flux2KleinKVPipeline", f),
    "Flux2KleinInpaintPipeline": lambda f: flux2("Flux2KleinInpaintPipeline", f),
    "ChromaInpaintPipeline": lambda f: chroma("ChromaInpaintPipeline", f),
    "StableDiffusion3InpaintPipeline": lambda f: sd3("StableDiffusion3InpaintPipeline", f),
    "StableDiffusion3ControlNetInpaintingPipeline": lambda f: sd3(
        "StableDiffusion3ControlNetInpaintingPipeline", f, controlnet=sd3_controlnet()
    ),
    "ZImageInpaintPipeline": lambda f: z_image("ZImageInpaintPipeline", f),
    "ZImageControlNetInpaintPipeline": lambda f: z_image(
        "ZImageControlNetInpaintPipeline", f, controlnet=z_controlnet()
    ),
}
