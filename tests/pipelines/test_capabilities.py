"""What is read from a class and its configs: relatives by parts, which guidance is real, sizes, defaults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import tiny_hub

from restore.edit.choose import completed, default_settings
from restore.edit.hub_filler import place, words_for
from restore.hub.cache import locate
from restore.pipelines.hub.capabilities import capabilities_of
from restore.pipelines.hub.opening import plan_for
from restore.pipelines.hub.relatives import class_for

SD = {
    "unet": "UNet2DConditionModel",
    "vae": "AutoencoderKL",
    "text_encoder": "CLIPTextModel",
    "tokenizer": "CLIPTokenizer",
    "scheduler": "DDIMScheduler",
}
XL = SD | {"text_encoder_2": "CLIPTextModelWithProjection", "tokenizer_2": "CLIPTokenizer"}
FLUX = {
    "transformer": "FluxTransformer2DModel",
    "vae": "AutoencoderKL",
    "text_encoder": "CLIPTextModel",
    "tokenizer": "CLIPTokenizer",
    "text_encoder_2": "T5EncoderModel",
    "tokenizer_2": "T5Tokenizer",
    "scheduler": "FlowMatchEulerDiscreteScheduler",
}
KLEIN = {
    "transformer": "Flux2Transformer2DModel",
    "vae": "AutoencoderKLFlux2",
    "text_encoder": "Qwen3ForCausalLM",
    "tokenizer": "Qwen2TokenizerFast",
    "scheduler": "FlowMatchEulerDiscreteScheduler",
}
QWEN = {
    "transformer": "QwenImageTransformer2DModel",
    "vae": "AutoencoderKLQwenImage",
    "tokenizer": "Qwen2Tokenizer",
    "text_encoder": "Qwen2_5_VLForConditionalGeneration",
    "scheduler": "FlowMatchEulerDiscreteScheduler",
}
Z = {
    "transformer": "ZImageTransformer2DModel",
    "vae": "AutoencoderKL",
    "text_encoder": "Qwen3Model",
    "tokenizer": "Qwen2Tokenizer",
    "scheduler": "FlowMatchEulerDiscreteScheduler",
}


def opened(name: str, parts: dict[str, str], **configs: Any) -> str:
    return class_for(getattr(diffusers, name), parts, configs).__name__.removesuffix("Pipeline")


@pytest.mark.parametrize(
    ("name", "parts", "configs", "expected"),
    [
        ("StableDiffusionPipeline", SD, {"unet": {"in_channels": 4, "out_channels": 4}}, "StableDiffusionInpaint"),
        ("StableDiffusionPipeline", SD, {"unet": {"in_channels": 9, "out_channels": 4}}, "StableDiffusionInpaint"),
        ("StableDiffusionImg2ImgPipeline", SD, {}, "StableDiffusionInpaint"),
        ("StableDiffusionDiffEditPipeline", SD, {}, "StableDiffusionInpaint"),
        ("LEditsPPPipelineStableDiffusion", SD, {}, "StableDiffusionInpaint"),
        ("LEditsPPPipelineStableDiffusionXL", XL, {}, "StableDiffusionXLInpaint"),
        ("StableDiffusionXLPipeline", XL, {}, "StableDiffusionXLInpaint"),
        ("StableDiffusionXLPAGPipeline", XL, {}, "StableDiffusionXLPAGInpaint"),
        ("FluxPipeline", FLUX, {"transformer": {"in_channels": 64, "out_channels": None}}, "FluxInpaint"),
        ("FluxKontextPipeline", FLUX, {}, "FluxKontextInpaint"),
        ("FluxFillPipeline", FLUX, {"transformer": {"in_channels": 384, "out_channels": 64}}, "FluxFill"),
        ("Flux2KleinPipeline", KLEIN, {}, "Flux2KleinInpaint"),
        ("QwenImagePipeline", QWEN, {}, "QwenImageInpaint"),
        ("QwenImageEditPipeline", QWEN | {"processor": "Qwen2VLProcessor"}, {}, "QwenImageEditInpaint"),
        ("ZImagePipeline", Z, {}, "ZImageInpaint"),
        # What must not become another: other inputs, other readers, cached or whole-picture editors.
        (
            "StableDiffusionInstructPix2PixPipeline",
            SD,
            {"unet": {"in_channels": 8, "out_channels": 4}},
            "StableDiffusionInstructPix2Pix",
        ),
        (
            "StableDiffusionUpscalePipeline",
            SD,
            {"unet": {"in_channels": 7, "out_channels": 4}},
            "StableDiffusionUpscale",
        ),
        ("StableDiffusionControlNetPipeline", SD | {"controlnet": "ControlNetModel"}, {}, "StableDiffusionControlNet"),
        ("VisualClozePipeline", FLUX, {"transformer": {"in_channels": 384, "out_channels": 64}}, "VisualCloze"),
        ("Flux2Pipeline", KLEIN | {"text_encoder": "Mistral3ForConditionalGeneration"}, {}, "Flux2"),
        ("Flux2KleinKVPipeline", KLEIN, {}, "Flux2KleinKV"),
        ("QwenImageEditPlusPipeline", QWEN | {"processor": "Qwen2VLProcessor"}, {}, "QwenImageEditPlus"),
        (
            "KandinskyV22Pipeline",
            {"unet": "UNet2DConditionModel", "movq": "VQModel", "scheduler": "DDPMScheduler"},
            {},
            "KandinskyV22",
        ),
    ],
)
def test_relatives_are_found_by_their_parts(name, parts, configs, expected):
    assert opened(name, parts, **configs) == expected


@pytest.mark.parametrize(
    ("name", "configs", "guidance", "real", "negative"),
    [
        ("StableDiffusionInpaintPipeline", {}, "guidance_scale", True, True),
        ("FluxFillPipeline", {"transformer": {"guidance_embeds": True}}, "guidance_scale", False, False),
        ("FluxInpaintPipeline", {"transformer": {"guidance_embeds": True}}, "guidance_scale", False, False),
        ("FluxInpaintPipeline", {"transformer": {"guidance_embeds": False}}, "true_cfg_scale", True, True),
        ("ChromaInpaintPipeline", {"transformer": {"in_channels": 64}}, "guidance_scale", True, True),
        ("QwenImageEditPipeline", {"transformer": {"guidance_embeds": False}}, "true_cfg_scale", True, True),
        ("Flux2KleinInpaintPipeline", {"": {"is_distilled": True}}, "guidance_scale", False, False),
        ("ZImageInpaintPipeline", {}, "guidance_scale", True, True),
        ("DreamLiteMobilePipeline", {}, "", False, False),
    ],
)
def test_which_guidance_is_real(name, configs, guidance, real, negative):
    able = capabilities_of(getattr(diffusers, name), configs)
    assert (able.guidance, able.real, able.negative) == (guidance, real, negative)


@pytest.mark.parametrize(
    ("name", "configs", "size", "multiple"),
    [
        (
            "StableDiffusionInpaintPipeline",
            {"unet": {"sample_size": 64, "block_out_channels": [1] * 4}, "vae": {"block_out_channels": [1] * 4}},
            512,
            64,
        ),
        ("IFInpaintingPipeline", {"unet": {"sample_size": 64, "block_out_channels": [1] * 4}}, 64, 8),  # no autoencoder
        (
            "AmusedInpaintPipeline",
            {"transformer": {"sample_size": 16, "block_out_channels": 768}, "vqvae": {"block_out_channels": [1] * 5}},
            256,
            32,
        ),
        (
            "StableDiffusion3InpaintPipeline",
            {"transformer": {"sample_size": 128}, "vae": {"block_out_channels": [1] * 4}},
            1024,
            16,
        ),
        ("FluxInpaintPipeline", {"transformer": {}, "vae": {"block_out_channels": [1] * 4}}, 1024, 16),
        (
            "JoyImageEditPipeline",
            {"transformer": {}, "vae": {"scale_factor_spatial": 8, "dim_mult": [1] * 4}},
            1024,
            16,
        ),
        (
            "GlmImagePipeline",
            {"transformer": {"prior_vq_quantizer_codebook_size": 16384}, "vae": {"block_out_channels": [1] * 4}},
            1024,
            32,
        ),
    ],
)
def test_sizes_are_those_of_the_parts(name, configs, size, multiple):
    able = capabilities_of(getattr(diffusers, name), configs)
    assert (able.size, able.multiple) == (size, multiple)


def test_what_a_model_leaves_open_comes_from_its_classs_preset_then_from_the_class(tmp_path):
    """A fine-tune of SDXL for inpainting by folder, a text model, and one that says it was distilled."""
    xl = tiny_hub.sdxl(tmp_path / "xl")
    preset = completed(locate(str(xl), "fill")).preset
    assert (preset.steps, preset.guidance, preset.strength) == (25, 8.0, 0.99)
    assert default_settings(str(xl)).steps == 25
    text = tiny_hub.stable_diffusion(tmp_path / "sd", 4, "StableDiffusionPipeline")
    assert completed(locate(str(text), "fill")).preset.steps == 30
    klein = tmp_path / "klein"
    klein.mkdir()
    index = {
        key: ["transformers" if "t" in key[:2] and key != "transformer" else "diffusers", value]
        for key, value in KLEIN.items()
    }
    (klein / "model_index.json").write_text(
        json.dumps(index | {"_class_name": "Flux2KleinPipeline", "is_distilled": True})
    )
    able = plan_for(klein).able
    assert (able.pipeline, able.steps, able.real, able.strength) == ("Flux2KleinInpaintPipeline", 4, False, 1.0)
    preset = completed(locate(str(klein), "fill")).preset
    assert (preset.steps, preset.strength) == (4, 1.0)


def test_editors_are_told_where_a_nameless_object_is():
    def at(rows: slice, columns: slice) -> str:
        hole = np.zeros((90, 120), bool)
        hole[rows, columns] = True
        return words_for(None, instructed=True, at=place(hole)).prompt

    assert at(slice(40, 50), slice(50, 70)) == "remove the object in the middle of the picture"
    assert at(slice(0, 20), slice(0, 20)) == "remove the object in the top left of the picture"
    assert at(slice(70, 90), slice(50, 70)) == "remove the object at the bottom of the picture"
    assert at(slice(40, 50), slice(100, 120)) == "remove the object in the right of the picture"


def test_a_folder_that_names_a_class_of_another_release_is_told(tmp_path: Path):
    (tmp_path / "model_index.json").write_text('{"_class_name": "TomorrowInpaintPipeline"}')
    with pytest.raises(Exception, match="upgrade diffusers") as caught:
        plan_for(tmp_path)
    assert "\n" not in str(caught.value)
