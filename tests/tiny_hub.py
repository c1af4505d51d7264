"""Tiny randomly initialised models of each class that the hub presets name, saved as the real repositories are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

WORDS = [
    "a",
    "an",
    "the",
    "cat",
    "dog",
    "hat",
    "red",
    "of",
    "photo",
    "remove",
    "replace",
    "with",
    "add",
    "empty",
    "background",
    "nothing",
    "but",
    "surroundings",
    "continued",
    "natural",
    "object",
    "text",
    "watermark",
    "frame",
    "photograph",
    "on",
    "man",
    "to",
    "in",
    "next",
]


def clip_tokenizer(folder: Path, length: int = 24) -> Any:
    """A byte-level BPE of single letters and a few words, in the two files of CLIP's tokenizer."""
    from transformers import CLIPTokenizer

    letters = [chr(c) for c in range(ord("!"), ord("~") + 1)]
    vocab = [*letters, *(f"{c}</w>" for c in letters)]
    merges = []
    for word in WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            pair = parts[0], parts[1]
            if pair not in merges:
                merges.append(pair)
            parts = ["".join(pair), *parts[2:]]
            vocab += [p for p in parts if p not in vocab]
    vocab += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocab)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    return CLIPTokenizer.from_pretrained(folder, model_max_length=length)


def clip_text(size: int, *, projection: bool = False, seed: int = 0, positions: int = 24) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(seed)
    config = CLIPTextConfig(
        vocab_size=400, hidden_size=size, intermediate_size=2 * size, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=positions, projection_dim=size, bos_token_id=0, eos_token_id=2, pad_token_id=1,
    )  # fmt: skip
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)


def vae(latents: int = 4, seed: int = 0, levels: int = 2, **options: Any) -> Any:
    """Halves once, or as often as there are further levels: latents of 8×8 for 16×16."""
    from diffusers import AutoencoderKL

    torch.manual_seed(seed)
    return AutoencoderKL(
        block_out_channels=(8, *(16,) * (levels - 1)), down_block_types=("DownEncoderBlock2D",) * levels,
        norm_num_groups=4, up_block_types=("UpDecoderBlock2D",) * levels, latent_channels=latents, sample_size=64,
        **options,
    )  # fmt: skip


def unet(channels: int, size: int = 16, seed: int = 0, out: int = 4, **options: Any) -> Any:
    from diffusers import UNet2DConditionModel

    torch.manual_seed(seed)
    return UNet2DConditionModel(
        block_out_channels=(16, 32), layers_per_block=1, sample_size=32, in_channels=channels, out_channels=out,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=size, attention_head_dim=4, norm_num_groups=4, **options,
    )  # fmt: skip


def scheduler() -> Any:
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1,
    )  # fmt: skip


def stable_diffusion(folder: Path, channels: int = 9, name: str = "StableDiffusionInpaintPipeline") -> Path:
    """4 channels and "StableDiffusionPipeline" make a model that was not trained to inpaint, 8 an InstructPix2Pix."""
    import diffusers

    pipe = getattr(diffusers, name)(
        vae=vae(), text_encoder=clip_text(16), tokenizer=clip_tokenizer(folder / "words"), unet=unet(channels),
        scheduler=scheduler(), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipe.save_pretrained(folder)
    return folder


def sdxl(folder: Path) -> Path:
    from diffusers import StableDiffusionXLInpaintPipeline

    net = unet(
        9, size=32, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=64, transformer_layers_per_block=(1, 1), use_linear_projection=True,
    )  # fmt: skip
    words = clip_tokenizer(folder / "words")
    pipe = StableDiffusionXLInpaintPipeline(
        vae=vae(), text_encoder=clip_text(16), text_encoder_2=clip_text(16, projection=True, seed=1), tokenizer=words,
        tokenizer_2=words, unet=net, scheduler=scheduler(),
    )  # fmt: skip
    pipe.save_pretrained(folder)
    return folder


def flux_fill(folder: Path, width: int = 32) -> Path:
    """width: of the transformer and of T5's words, a multiple of 16."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxFillPipeline, FluxTransformer2DModel
    from transformers import T5Config, T5EncoderModel

    torch.manual_seed(0)
    # Packed 2×2: 16 of noise, 16 of the masked picture, 16 of the mask (its pixels in an 2×2 latent's cells).
    net = FluxTransformer2DModel(
        patch_size=1, in_channels=48, out_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=width // 16, joint_attention_dim=width, pooled_projection_dim=16, axes_dims_rope=(4, 4, 8),
        guidance_embeds=True,
    )  # fmt: skip
    t5 = T5EncoderModel(
        T5Config(
            vocab_size=400,
            d_model=width,
            d_kv=width // 4,
            d_ff=width,
            num_layers=1,
            num_heads=width // 16,
            relative_attention_num_buckets=8,
        )
    )
    pipe = FluxFillPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(), text_encoder=clip_text(16), text_encoder_2=t5,
        vae=vae(shift_factor=0.1, use_quant_conv=False, use_post_quant_conv=False),
        tokenizer=clip_tokenizer(folder / "words"),
        tokenizer_2=unigram_tokenizer(), transformer=net,
    )  # fmt: skip
    pipe.save_pretrained(folder)
    return folder


def unigram_tokenizer() -> Any:
    """A T5 tokenizer of single words."""
    from transformers import T5Tokenizer

    scores = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((f"▁{word}", -1.0) for word in WORDS)]
    return T5Tokenizer(vocab=scores, extra_ids=0, model_max_length=32)


def kandinsky(folder: Path) -> tuple[Path, Path]:
    """Decoder and prior, as the two repositories are."""
    from diffusers import (
        DDPMScheduler,
        KandinskyV22InpaintPipeline,
        KandinskyV22PriorPipeline,
        PriorTransformer,
        UnCLIPScheduler,
        VQModel,
    )  # fmt: skip
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=16, image_size=16, projection_dim=16, intermediate_size=16, num_attention_heads=2, patch_size=8,
        num_hidden_layers=1,
    )  # fmt: skip
    prior = KandinskyV22PriorPipeline(
        prior=PriorTransformer(
            num_attention_heads=2, attention_head_dim=8, embedding_dim=16, num_embeddings=24, num_layers=1
        ),
        image_encoder=CLIPVisionModelWithProjection(vision), text_encoder=clip_text(16, projection=True),
        tokenizer=clip_tokenizer(folder / "words"), image_processor=CLIPImageProcessor(size=16, crop_size=16),
        scheduler=UnCLIPScheduler(
            variance_type="fixed_small_log", prediction_type="sample", num_train_timesteps=100, clip_sample_range=5.0
        ),
    )  # fmt: skip
    prior.prior.clip_std.data.fill_(1)  # made of zeros, which would forget the words
    net = unet(
        9, size=16, out=8, addition_embed_type="image", encoder_hid_dim=16, encoder_hid_dim_type="image_proj",
        resnet_time_scale_shift="scale_shift",
    )  # fmt: skip
    movq = VQModel(
        block_out_channels=(32, 32), down_block_types=("DownEncoderBlock2D",) * 2, norm_num_groups=4, latent_channels=4,
        up_block_types=("UpDecoderBlock2D",) * 2, num_vq_embeddings=12, vq_embed_dim=4, norm_type="spatial",
    )  # fmt: skip
    decoder = KandinskyV22InpaintPipeline(unet=net, scheduler=DDPMScheduler(clip_sample=False), movq=movq)
    decoder.save_pretrained(folder / "decoder")
    prior.save_pretrained(folder / "prior")
    return folder / "decoder", folder / "prior"


def qwen_image_edit() -> Any:
    """The pipeline itself: its processor needs torchvision and so cannot be saved."""
    from diffusers import (
        AutoencoderKLQwenImage,
        FlowMatchEulerDiscreteScheduler,
        QwenImageEditPipeline,
        QwenImageTransformer2DModel,
    )  # fmt: skip
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    torch.manual_seed(0)
    coder = AutoencoderKLQwenImage(
        base_dim=8, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
    )  # fmt: skip
    net = QwenImageTransformer2DModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=16, axes_dims_rope=(8, 4, 4),
    )  # fmt: skip
    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "num_key_value_heads": 2, "vocab_size": 160,
            "rope_parameters": {"mrope_section": [1, 1, 2], "rope_type": "default", "rope_theta": 1e6},
        },
        vision_config={
            "depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16,
        },
        image_token_id=150, video_token_id=151, vision_start_token_id=152, vision_end_token_id=153,
    )  # fmt: skip
    return QwenImageEditPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0), vae=coder, transformer=net, tokenizer=None,
        text_encoder=Qwen2_5_VLForConditionalGeneration(config), processor=Words(),
    )  # fmt: skip


class Words:
    """Stands for Qwen2VLProcessor, which cannot be made without torchvision: letters to numbers, pictures unseen."""

    def __call__(self, text: list[str], images: Any, padding: bool, return_tensors: str) -> Any:
        from transformers import BatchFeature

        ids = torch.tensor([[ord(c) % 128 for c in line] for line in text])
        return BatchFeature({"input_ids": ids, "attention_mask": torch.ones_like(ids)})


def processor_config(folder: Path, size: Any) -> Path:
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": size}))
    return folder


def clipseg(folder: Path) -> Path:
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = CLIPSegConfig(
        text_config={**small, "vocab_size": 400, "max_position_embeddings": 24, "bos_token_id": 298,
                     "eos_token_id": 299},
        vision_config={**small, "image_size": 64, "patch_size": 16}, projection_dim=16, reduce_dim=8,
        extract_layers=[0, 1, 2], decoder_num_attention_heads=2, decoder_intermediate_size=16,
    )  # fmt: skip
    CLIPSegForImageSegmentation(config).save_pretrained(folder)
    clip_tokenizer(folder).save_pretrained(folder)
    return processor_config(folder, {"height": 64, "width": 64})


def owlv2(folder: Path) -> Path:
    from transformers import Owlv2Config, Owlv2ForObjectDetection

    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Owlv2Config(
        text_config={**small, "vocab_size": 400, "max_position_embeddings": 24}, projection_dim=16,
        vision_config={**small, "image_size": 64, "patch_size": 16},
    )  # fmt: skip
    Owlv2ForObjectDetection(config).save_pretrained(folder)
    clip_tokenizer(folder).save_pretrained(folder)
    return processor_config(folder, {"height": 64, "width": 64})


def dino(folder: Path) -> Path:
    from transformers import (
        BertConfig,
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        SwinConfig,
    )

    torch.manual_seed(0)
    swin = SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=2,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    words = {w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", "?", *WORDS])}
    bert = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=64,
    )  # fmt: skip
    config = GroundingDinoConfig(
        backbone_config=swin, text_config=bert, d_model=32, encoder_layers=1, decoder_layers=2,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, num_queries=10,
        max_text_len=32, num_feature_levels=3,
    )  # fmt: skip
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    BertTokenizer(vocab=words).save_pretrained(folder)
    return processor_config(folder, {"shortest_edge": 64, "longest_edge": 128})


def sam(folder: Path) -> Path:
    from transformers import SamConfig, SamModel

    torch.manual_seed(0)
    config = SamConfig(
        vision_config={"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 64,
                       "patch_size": 8, "output_channels": 16, "mlp_dim": 16, "global_attn_indexes": [0],
                       "window_size": 4, "num_pos_feats": 8},
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 8, "mask_input_channels": 4},
        mask_decoder_config={"hidden_size": 16, "mlp_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                             "iou_head_hidden_dim": 16},
    )  # fmt: skip
    SamModel(config).save_pretrained(folder)
    return processor_config(folder, {"longest_edge": 64})


def sam2(folder: Path) -> Path:
    from transformers import Sam2Config, Sam2HieraDetConfig, Sam2Model, Sam2VisionConfig

    torch.manual_seed(0)
    hiera = Sam2HieraDetConfig(
        hidden_size=8, num_attention_heads=1, blocks_per_stage=[1, 1, 2, 1], embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 2, 2], image_size=[64, 64], window_size_per_stage=[8, 4, 4, 4],
        window_positional_embedding_background_size=[4, 4], global_attention_blocks=[3],
    )  # fmt: skip
    vision = Sam2VisionConfig(
        backbone_config=hiera, backbone_channel_list=[64, 32, 16, 8], fpn_hidden_size=16,
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
    )  # fmt: skip
    config = Sam2Config(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 16, "mask_input_channels": 4},
        mask_decoder_config={"hidden_size": 16, "mlp_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                             "iou_head_hidden_dim": 16},
    )  # fmt: skip
    Sam2Model(config).save_pretrained(folder)
    return processor_config(folder, {"height": 64, "width": 64})


def flux_output(net: Any) -> torch.Tensor:
    """What a FLUX.1 transformer of 48 channels makes of the same noise every time."""
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    with torch.inference_mode():
        return net(
            hidden_states=noise(1, 16, 48), encoder_hidden_states=noise(1, 8, net.config.joint_attention_dim),
            pooled_projections=noise(1, 16), timestep=torch.tensor([0.5]), guidance=torch.tensor([30.0]),
            txt_ids=torch.zeros(8, 3),
            img_ids=torch.cartesian_prod(torch.zeros(1), torch.arange(4.0), torch.arange(4.0)),
        ).sample  # fmt: skip
