"""Editors, which read photo and instruction: Qwen, Kandinsky 5, LongCat, JoyImage, DreamLite, Z-Image, ChronoEdit.

Those whose encoders count the picture's own tokens are in counting.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import tiny_hub
import torch
from tiny_hub import clip_text, clip_tokenizer

from zoo.flux import bpe_tokenizer, flow, flux_vae, qwen3, shaken, z_net

LATENTS = {"latents_mean": [0.0] * 4, "latents_std": [1.0] * 4}


class Words:
    """Stands for processors of words and pictures, which need torchvision: letters to numbers, pictures unseen."""

    def __init__(self) -> None:
        self.tokenizer = bpe_tokenizer()
        self.image_processor = None

    def __call__(self, text: Any, images: Any = None, **options: Any) -> Any:
        from transformers import BatchFeature

        lines = [text] if isinstance(text, str) else text
        longest = max(map(len, lines))
        ids = torch.tensor([[ord(c) % 128 for c in line.rjust(longest)] for line in lines])
        return BatchFeature({"input_ids": ids, "attention_mask": torch.ones_like(ids)})

    def apply_chat_template(self, messages: Any, **options: Any) -> Any:
        return [[1] * 8]


def qwen25_vl() -> Any:
    return tiny_hub.qwen_image_edit().text_encoder


def qwen3_vl(layers: int = 2) -> Any:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    torch.manual_seed(0)
    config = Qwen3VLConfig(
        text_config={
            "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": layers, "num_attention_heads": 2,
            "num_key_value_heads": 2, "vocab_size": 160, "head_dim": 8,
            "rope_parameters": {"mrope_section": [1, 1, 2], "rope_type": "default", "rope_theta": 1e6},
        },
        vision_config={
            "depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16,
            "deepstack_visual_indexes": [0],
        },
        image_token_id=150, video_token_id=151, vision_start_token_id=152, vision_end_token_id=153,
    )  # fmt: skip
    return Qwen3VLForConditionalGeneration(config)


def qwen(name: str, folder: Path, **parts: Any) -> Any:
    made = tiny_hub.qwen_image_edit()
    parts |= {"processor": Words()} if "Edit" in name else {}
    return getattr(diffusers, name)(
        scheduler=flow(), vae=made.vae, text_encoder=made.text_encoder, tokenizer=bpe_tokenizer(),
        transformer=made.transformer, **parts,
    )  # fmt: skip


def qwen_controlnet() -> Any:
    torch.manual_seed(2)
    net = diffusers.QwenImageControlNetModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=16, axes_dims_rope=(8, 4, 4), extra_condition_channels=4,
    )  # fmt: skip
    shaken(net)
    return net


def wan_vae() -> Any:
    torch.manual_seed(0)
    return diffusers.AutoencoderKLWan(
        base_dim=4, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True], **LATENTS
    )


def joy(plus: bool) -> Any:
    torch.manual_seed(0)
    name = "JoyImageEditPlus" if plus else "JoyImageEdit"
    net = getattr(diffusers, f"{name}Transformer3DModel")(
        patch_size=[1, 2, 2], in_channels=4, hidden_size=32, num_attention_heads=2, text_dim=16, num_layers=1,
        rope_dim_list=[4, 6, 6],
    )  # fmt: skip
    return getattr(diffusers, f"{name}Pipeline")(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(), vae=wan_vae(), text_encoder=qwen3_vl(),
        tokenizer=bpe_tokenizer(), transformer=net, processor=Words(),
    )  # fmt: skip


def dream_lite(name: str, folder: Path) -> Any:
    torch.manual_seed(0)
    net = diffusers.DreamLiteUNetModel(
        sample_size=32, in_channels=4, out_channels=4, block_out_channels=(16, 32),
        down_block_types=("DreamLiteCrossAttnNoSelfAttnDownBlock2D", "DreamLiteCrossAttnDownBlock2D"),
        up_block_types=("DreamLiteCrossAttnUpBlock2D", "DreamLiteUpBlock2D"), layers_per_block=1, norm_num_groups=4,
        cross_attention_dim=16, attention_head_dim=8, transformer_layers_per_block=1,
    )  # fmt: skip
    coder = diffusers.AutoencoderTiny(
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1), latent_channels=4,
    )  # fmt: skip
    return getattr(diffusers, name)(
        text_encoder=qwen3_vl(), tokenizer=bpe_tokenizer(), processor=Words(), vae=coder, unet=net, scheduler=flow()
    )


def kandinsky_5(folder: Path) -> Any:
    torch.manual_seed(0)
    net = diffusers.Kandinsky5Transformer3DModel(
        in_visual_dim=4, in_text_dim=16, in_text_dim2=16, time_dim=16, out_visual_dim=4, model_dim=32, ff_dim=32,
        num_text_blocks=1, num_visual_blocks=1, axes_dims=(4, 6, 6), visual_cond=True,
    )  # fmt: skip
    shaken(net)
    pipe = diffusers.Kandinsky5I2IPipeline(
        transformer=net, vae=tiny_hub.vae(levels=4), text_encoder=qwen25_vl(), tokenizer=Words(),
        text_encoder_2=clip_text(16, positions=77), tokenizer_2=clip_tokenizer(folder / "words"),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
    )  # fmt: skip
    pipe.resolutions = [(64, 64), (64, 96), (96, 64)]
    return pipe


class Vision:
    """Stands for Qwen2VLProcessor's pictures: four patches, which become one token."""

    merge_size, image_token = 2, "<|image_pad|>"

    def __init__(self) -> None:
        self.image_processor = self

    def __call__(self, images: Any, return_tensors: str) -> Any:
        return {"pixel_values": torch.zeros(4, 1176), "image_grid_thw": torch.tensor([[1, 2, 2]])}


def longcat(folder: Path) -> Any:
    torch.manual_seed(0)
    words = bpe_tokenizer()
    words.add_special_tokens({"additional_special_tokens": ["<|vision_start|>", "<|image_pad|>", "<|vision_end|>"]})
    encoder = qwen25_vl()
    encoder.config.image_token_id = encoder.model.config.image_token_id = words.convert_tokens_to_ids("<|image_pad|>")
    net = diffusers.LongCatImageTransformer2DModel(
        patch_size=1, in_channels=64, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=16, pooled_projection_dim=16, axes_dims_rope=[4, 4, 8],
    )  # fmt: skip
    return diffusers.LongCatImageEditPipeline(
        scheduler=flow(), vae=flux_vae(16), text_encoder=encoder, tokenizer=words, text_processor=Vision(),
        transformer=net,
    )  # fmt: skip


def z_omni(folder: Path) -> Any:
    from transformers import Siglip2ImageProcessorPil, Siglip2VisionConfig, Siglip2VisionModel

    torch.manual_seed(0)
    sight = Siglip2VisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_patches=16, patch_size=16
    )
    pipe = diffusers.ZImageOmniPipeline(
        scheduler=flow(), vae=flux_vae(), text_encoder=qwen3(2), tokenizer=bpe_tokenizer(),
        transformer=z_net(siglip_feat_dim=16), siglip=Siglip2VisionModel(sight),
        siglip_processor=Siglip2ImageProcessorPil(patch_size=16, max_num_patches=16),
    )  # fmt: skip
    return pipe.to(torch.bfloat16)  # the class knows no other


def chrono(folder: Path) -> Any:
    from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel

    torch.manual_seed(0)
    net = diffusers.ChronoEditTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=12, out_channels=4, text_dim=32,
        freq_dim=16, ffn_dim=32, num_layers=1, image_dim=16, rope_max_seq_len=64,
    )  # fmt: skip
    sight = CLIPVisionConfig(
        hidden_size=16, image_size=32, intermediate_size=16, num_attention_heads=2, patch_size=8, num_hidden_layers=1
    )
    words = UMT5Config(vocab_size=400, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    coder = diffusers.AutoencoderKLWan(
        base_dim=4, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True], **LATENTS
    )
    return diffusers.ChronoEditPipeline(
        tokenizer=tiny_hub.unigram_tokenizer(), text_encoder=UMT5EncoderModel(words),
        image_encoder=CLIPVisionModel(sight), image_processor=CLIPImageProcessorPil(size=32, crop_size=32),
        transformer=net, vae=coder, scheduler=diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
    )  # fmt: skip


BUILDERS = {
    "QwenImageInpaintPipeline": lambda f: qwen("QwenImageInpaintPipeline", f),
    "QwenImageControlNetInpaintPipeline": lambda f: qwen(
        "QwenImageControlNetInpaintPipeline", f, controlnet=qwen_controlnet()
    ),
    "QwenImageEditPipeline": lambda f: qwen("QwenImageEditPipeline", f),
    "QwenImageEditPlusPipeline": lambda f: qwen("QwenImageEditPlusPipeline", f),
    "QwenImageEditInpaintPipeline": lambda f: qwen("QwenImageEditInpaintPipeline", f),
    "JoyImageEditPipeline": lambda f: joy(False),
    "JoyImageEditPlusPipeline": lambda f: joy(True),
    "DreamLitePipeline": lambda f: dream_lite("DreamLitePipeline", f),
    "DreamLiteMobilePipeline": lambda f: dream_lite("DreamLiteMobilePipeline", f),
    "Kandinsky5I2IPipeline": kandinsky_5,
    "ZImageOmniPipeline": z_omni,
    "ChronoEditPipeline": chrono,
    "LongCatImageEditPipeline": longcat,
}
