"""UNets: Stable Diffusion and XL with their ControlNets and guidances, IF, Kandinsky, RePaint, aMUSEd."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import tiny_hub
import torch
from tiny_hub import clip_text, clip_tokenizer, scheduler, unet, vae


def stable_diffusion(name: str, folder: Path, channels: int = 4, **parts: Any) -> Any:
    return getattr(diffusers, name)(
        vae=vae(), text_encoder=clip_text(16), tokenizer=clip_tokenizer(folder / "words"), unet=unet(channels),
        scheduler=scheduler(), safety_checker=None, feature_extractor=None, requires_safety_checker=False, **parts,
    )  # fmt: skip


def controlnet(size: int = 16, **options: Any) -> Any:
    torch.manual_seed(3)
    net = diffusers.ControlNetModel(
        block_out_channels=(16, 32), layers_per_block=1, cross_attention_dim=size, attention_head_dim=4,
        norm_num_groups=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        conditioning_embedding_out_channels=(16, 32), **options,
    )  # fmt: skip
    for part in (*net.controlnet_down_blocks, net.controlnet_mid_block, net.controlnet_cond_embedding.conv_out):
        torch.nn.init.normal_(part.weight, std=0.3)  # they start at zero: a new ControlNet changes nothing
    return net


XL = {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 64,
    "transformer_layers_per_block": (1, 1),
    "use_linear_projection": True,
}


def xl(name: str, folder: Path, channels: int = 4, **parts: Any) -> Any:
    words = clip_tokenizer(folder / "words")
    return getattr(diffusers, name)(
        vae=vae(), text_encoder=clip_text(16), text_encoder_2=clip_text(16, projection=True, seed=1), tokenizer=words,
        tokenizer_2=words, unet=unet(channels, size=32, **XL), scheduler=scheduler(), **parts,
    )  # fmt: skip


def t5(size: int = 32, layers: int = 1, seed: int = 0) -> Any:
    from transformers import T5Config, T5EncoderModel

    torch.manual_seed(seed)
    return T5EncoderModel(
        T5Config(
            vocab_size=400, d_model=size, d_kv=8, d_ff=32, num_layers=layers, num_heads=2,
            relative_attention_num_buckets=8,
        )
    ).eval()  # fmt: skip


def deepfloyd(folder: Path) -> Any:
    torch.manual_seed(0)
    net = diffusers.UNet2DConditionModel(
        sample_size=32, layers_per_block=1, block_out_channels=(16, 32), in_channels=3, out_channels=6,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"), cross_attention_dim=32,
        encoder_hid_dim=32, attention_head_dim=8, addition_embed_type="text", addition_embed_type_num_heads=2,
        cross_attention_norm="group_norm", resnet_time_scale_shift="scale_shift", act_fn="gelu", norm_num_groups=4,
    )  # fmt: skip
    steps = diffusers.DDPMScheduler(
        num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2", thresholding=True, dynamic_thresholding_ratio=0.95,
        sample_max_value=1.0, prediction_type="epsilon", variance_type="learned_range",
    )  # fmt: skip
    return diffusers.IFInpaintingPipeline(
        tokenizer=tiny_hub.unigram_tokenizer(), text_encoder=t5(), unet=net, scheduler=steps, safety_checker=None,
        feature_extractor=None, watermarker=None, requires_safety_checker=False,
    )  # fmt: skip


def kandinsky_22(folder: Path) -> Any:
    from restore.pipelines.hub.opening import open_pipeline

    decoder, prior = tiny_hub.kandinsky(folder)
    return open_pipeline(decoder, also=[prior])


def kandinsky_21(folder: Path) -> Any:
    from diffusers.pipelines.kandinsky.text_encoder import MCLIPConfig, MultilingualCLIP
    from transformers import XLMRobertaTokenizer

    decoder, prior = tiny_hub.kandinsky(folder)
    torch.manual_seed(1)
    config = MCLIPConfig(
        numDims=16, transformerDimensions=16, hidden_size=16, intermediate_size=16, num_attention_heads=2,
        num_hidden_layers=1, vocab_size=400, max_position_embeddings=128,
    )  # fmt: skip
    net = unet(
        9, size=16, out=8, addition_embed_type="text_image", encoder_hid_dim=16, encoder_hid_dim_type="text_image_proj",
        resnet_time_scale_shift="scale_shift",
    )  # fmt: skip
    scores = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((f"▁{w}", -1.0) for w in tiny_hub.WORDS)]
    made = diffusers.KandinskyV22PriorPipeline.from_pretrained(prior)
    parts = {f"prior_{key}": value for key, value in made.components.items()}
    return diffusers.KandinskyInpaintCombinedPipeline(
        text_encoder=MultilingualCLIP(config), tokenizer=XLMRobertaTokenizer(vocab=scores, model_max_length=77),
        unet=net, scheduler=diffusers.DDIMScheduler(clip_sample=False),
        movq=diffusers.VQModel.from_pretrained(decoder / "movq"), **parts,
    )  # fmt: skip


def repaint(folder: Path) -> Any:
    torch.manual_seed(0)
    net = diffusers.UNet2DModel(
        block_out_channels=(8, 16), layers_per_block=1, sample_size=32, norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    return diffusers.RePaintPipeline(net, diffusers.RePaintScheduler())


def amused(folder: Path) -> Any:
    torch.manual_seed(0)
    net = diffusers.UVit2DModel(
        hidden_size=16, cond_embed_dim=16, micro_cond_encode_dim=2, micro_cond_embed_dim=10, encoder_hidden_size=16,
        vocab_size=34, codebook_size=32, in_channels=8, block_out_channels=8, num_res_blocks=1, block_num_heads=2,
        num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, sample_size=32, downsample=True,
        upsample=True, use_bias=True,
    )  # fmt: skip
    coder = diffusers.VQModel(
        act_fn="silu", block_out_channels=(8,), down_block_types=("DownEncoderBlock2D",), latent_channels=8,
        layers_per_block=1, norm_num_groups=8, num_vq_embeddings=32, out_channels=3, sample_size=8,
        up_block_types=("UpDecoderBlock2D",), mid_block_add_attention=False, lookup_from_codebook=True,
    )  # fmt: skip
    steps = diffusers.AmusedScheduler(mask_token_id=33)
    return diffusers.AmusedInpaintPipeline(
        vqvae=coder, tokenizer=clip_tokenizer(folder / "words"), text_encoder=clip_text(16, projection=True),
        transformer=net, scheduler=steps,
    )  # fmt: skip


BUILDERS = {
    "StableDiffusionInpaintPipeline": lambda f: stable_diffusion("StableDiffusionInpaintPipeline", f, 9),
    "StableDiffusionInpaintPipelineLegacy": lambda f: stable_diffusion("StableDiffusionInpaintPipelineLegacy", f),
    "StableDiffusionPAGInpaintPipeline": lambda f: stable_diffusion(
        "StableDiffusionPAGInpaintPipeline", f, pag_applied_layers="mid"
    ),
    "StableDiffusionControlNetInpaintPipeline": lambda f: stable_diffusion(
        "StableDiffusionControlNetInpaintPipeline", f, controlnet=controlnet()
    ),
    "StableDiffusionControlNetPAGInpaintPipeline": lambda f: stable_diffusion(
        "StableDiffusionControlNetPAGInpaintPipeline", f, controlnet=controlnet(), pag_applied_layers="mid"
    ),
    "StableDiffusionInstructPix2PixPipeline": lambda f: stable_diffusion(
        "StableDiffusionInstructPix2PixPipeline", f, 8
    ),
    "StableDiffusionXLInpaintPipeline": lambda f: xl("StableDiffusionXLInpaintPipeline", f, 9),
    "StableDiffusionXLPAGInpaintPipeline": lambda f: xl(
        "StableDiffusionXLPAGInpaintPipeline", f, pag_applied_layers="mid"
    ),
    "StableDiffusionXLControlNetInpaintPipeline": lambda f: xl(
        "StableDiffusionXLControlNetInpaintPipeline", f, controlnet=controlnet(32, **XL)
    ),
    "StableDiffusionXLInstructPix2PixPipeline": lambda f: xl("StableDiffusionXLInstructPix2PixPipeline", f, 8),
    "IFInpaintingPipeline": deepfloyd,
    "KandinskyV22InpaintCombinedPipeline": kandinsky_22,
    "KandinskyInpaintCombinedPipeline": kandinsky_21,
    "RePaintPipeline": repaint,
    "AmusedInpaintPipeline": amused,
}
