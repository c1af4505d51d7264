"""Editors whose language models count the picture's own tokens, so that it must be seen: Qwen-Image 2.1, GLM-Image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import tiny_hub
import torch

from zoo.editors import LATENTS, Words, qwen3_vl
from zoo.flux import bpe_tokenizer, flow, shaken
from zoo.unets import t5

PAD = "<|image_pad|>"
SIZES = {"shortest_edge": 32 * 32, "longest_edge": 1024 * 1024}
START, END, IMAGE, GRID, GRID_END = ("<|start|>", "<|end|>", "<|image|>", "<|grid|>", "<|grid_end|>")
TALK = (
    "{% for m in messages %}{% for part in m['content'] %}"
    f"{{% if part['type'] == 'image' %}}{START}{IMAGE}{END}{{% else %}}{{{{ part['text'] }}}}{{% endif %}}"
    "{% endfor %}{% endfor %}"
)
CODES = 32  # in GLM-Image's book of picture tokens


class Sighted(Words):
    """Stands for Qwen3VLProcessor, whose videos need torchvision: as many tokens for a picture as it has patches."""

    def __init__(self) -> None:
        from transformers import Qwen2VLImageProcessorPil

        self.tokenizer = bpe_tokenizer()
        self.tokenizer.add_special_tokens({"additional_special_tokens": [PAD]})
        self.image_processor = Qwen2VLImageProcessorPil(patch_size=16, size=SIZES)

    def __call__(self, text: Any, images: Any = None, **options: Any) -> Any:
        from transformers import BatchFeature

        seen = self.image_processor(images, return_tensors="pt")
        slots = iter((seen["image_grid_thw"].prod(-1) // self.image_processor.merge_size**2).tolist())
        lines = [
            "".join(part + PAD * next(slots) for part in line.split(PAD)[:-1]) + line.split(PAD)[-1] for line in text
        ]
        words = self.tokenizer(lines, padding=True, return_tensors="pt")
        kinds = (words["input_ids"] == self.tokenizer.convert_tokens_to_ids(PAD)).int()
        return BatchFeature({**words, **seen, "mm_token_type_ids": kinds})


def qwen_21(folder: Path) -> Any:
    processor, encoder = Sighted(), qwen3_vl()
    encoder.config.image_token_id = encoder.model.config.image_token_id = processor.tokenizer.convert_tokens_to_ids(PAD)
    coder = diffusers.AutoencoderKLQwenImage21(
        base_dim=4, decoder_base_dim=4, z_dim=4, dim_mult=[1] * 5, num_res_blocks=1, **LATENTS
    )
    net = diffusers.QwenImage21Transformer2DModel(
        in_channels=4, out_channels=4, num_layers=1, attention_head_dim=16, num_attention_heads=2, context_in_dim=16,
        axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    shaken(net)
    return diffusers.QwenImage21Pipeline(
        scheduler=flow(), vae=coder, text_encoder=encoder, processor=processor, transformer=net
    )


def glm_words() -> Any:
    """Letters behind the picture's own tokens."""
    words = bpe_tokenizer()
    vocab = {f"<{i}>": i for i in range(CODES)} | {token: CODES + i for token, i in words.get_vocab().items()}
    made = type(words)(vocab=vocab, merges=[], bos_token=START, extra_special_tokens={
        "image_token": IMAGE, "grid_bos_token": GRID, "grid_eos_token": GRID_END, "end": END,
    })  # fmt: skip
    made.chat_template = TALK
    return made


def glm_language(words: Any) -> Any:
    from transformers import GlmImageConfig, GlmImageForConditionalGeneration

    torch.manual_seed(0)
    start, end, image = words.convert_tokens_to_ids([START, END, IMAGE])
    made = GlmImageForConditionalGeneration(
        GlmImageConfig(
            text_config={
                "vocab_size": len(words) + 1, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
                "num_attention_heads": 2, "num_key_value_heads": 2, "vision_vocab_size": CODES, "eos_token_id": end,
                "pad_token_id": words.pad_token_id,
                "rope_parameters": {"mrope_section": [1, 1, 2], "rope_type": "default", "rope_theta": 1e4},
            },
            vision_config={
                "depth": 1, "hidden_size": 16, "num_heads": 2, "image_size": 64, "intermediate_size": 16,
            },
            vq_config={"embed_dim": 8, "num_embeddings": CODES, "latent_channels": 16},
            image_token_id=image, image_start_token_id=start, image_end_token_id=end,
        )
    )  # fmt: skip
    for part in (made.model.language_model, made.lm_head):
        for weights in part.parameters():
            if weights.ndim == 2:
                torch.nn.init.normal_(weights)  # so sure of each token that other words lead to others
    return made


def glm(folder: Path) -> Any:
    from transformers import ByT5Tokenizer, GlmImageImageProcessorPil, GlmImageProcessor

    from restore.pipelines.hub.opening import completed

    words = glm_words()
    sight = GlmImageImageProcessorPil(patch_size=16, merge_size=1, temporal_patch_size=1, size=SIZES)
    language = glm_language(words)
    net = diffusers.GlmImageTransformer2DModel(
        in_channels=4, out_channels=4, num_layers=1, attention_head_dim=16, num_attention_heads=2, text_embed_dim=32,
        time_embed_dim=16, condition_dim=8, prior_vq_quantizer_codebook_size=CODES,
    )  # fmt: skip
    shaken(net)
    pipe = diffusers.GlmImagePipeline(
        tokenizer=ByT5Tokenizer(), processor=GlmImageProcessor(sight, words, chat_template=TALK), text_encoder=t5(),
        vision_language_encoder=language, vae=tiny_hub.vae(levels=4, **LATENTS), transformer=net, scheduler=flow(),
    )  # fmt: skip
    return completed(pipe)


BUILDERS = {"QwenImage21Pipeline": qwen_21, "GlmImagePipeline": glm}
