"""Other people's pipelines behind the engine, on tiny randomly initialised ones of each class."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_hub
import torch
import yaml
from click.testing import CliRunner
from conftest import make_scene
from PIL import Image

from restore import Engine
from restore.cli import main
from restore.edit.area import Area, areas_of
from restore.edit.choose import models_for, open_filler, settings_for
from restore.edit.fillers import Order
from restore.edit.hub_filler import PainterFiller
from restore.errors import Cancelled, ModelUnavailableError
from restore.grounding.instruction import parse
from restore.hub.presets import presets
from restore.hub.prompts import SHOWN
from restore.pipelines.hub.inpaint import HubPainter, PainterOptions
from restore.pipelines.hub.opening import open_pipeline
from restore.settings import Settings

CPU = torch.device("cpu")
SIZE = 64
KINDS = ("sd", "sd4", "sdxl", "flux", "kandinsky", "pix2pix")
DOG = parse("replace the cat with a dog")


pytestmark = pytest.mark.usefixtures("_no_network")


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A preset file of a tiny model of each kind."""
    root = tmp_path_factory.mktemp("hub")
    decoder, prior = tiny_hub.kandinsky(root / "kandinsky")
    folders = {
        "sd": tiny_hub.stable_diffusion(root / "sd"),
        "sd4": tiny_hub.stable_diffusion(root / "sd4", 4, "StableDiffusionPipeline"),
        "pix2pix": tiny_hub.stable_diffusion(root / "pix2pix", 8, "StableDiffusionInstructPix2PixPipeline"),
        "sdxl": tiny_hub.sdxl(root / "sdxl"),
        "flux": tiny_hub.flux_fill(root / "flux"),
        "kandinsky": decoder,
    }
    for name, folder in folders.items():
        preset: dict[str, Any] = {"path": str(folder), "size": SIZE, "steps": 2, "guidance": 3.0, "dtype": "float16"}
        if name == "kandinsky":
            preset["also"] = [str(prior)]
        if name == "sdxl":
            preset["strength"] = 0.99
        (root / f"{name}.yaml").write_text(yaml.safe_dump(preset))
    return {name: root / f"{name}.yaml" for name in folders}


def filler(preset: Path) -> PainterFiller:
    models = models_for(settings_for(None, model=str(preset)))
    opened = open_filler(models, CPU, lambda: pytest.fail("the embedded one was asked"))
    assert isinstance(opened, PainterFiller)
    return opened


@pytest.fixture
def area() -> Area:
    scene = make_scene(133, 171)
    hole = np.zeros(scene.shape[:2], bool)
    hole[41:80, 60:101] = True
    return areas_of(scene, hole)[0]


def order(candidates: int = 1, seed: int = 0, instruction: Any = DOG, **calls: Any) -> Order:
    return Order(Settings(steps=2, candidates=candidates, seed=seed), 1, instruction, **calls)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_hole_changes_and_the_seed_decides_how(hub, area, kind):
    one = filler(hub[kind])
    first, second = one.fill(area, area.hole, order(2))
    (alone,) = one.fill(area, area.hole, order(1))
    (other,) = one.fill(area, area.hole, order(1, seed=1))
    for candidate in (first, second, other):
        assert candidate.image.shape == area.image.shape
        assert candidate.image.dtype == np.uint8
        assert np.array_equal(candidate.image[~area.hole], area.image[~area.hole])
        assert (candidate.image[area.hole] != area.image[area.hole]).any(-1).mean() > 0.5
        assert 0 <= candidate.confidence <= 1
    assert np.array_equal(first.image, alone.image)  # whatever else is asked for
    assert not np.array_equal(first.image, second.image)
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("kind", KINDS)
def test_latents_are_those_of_the_pipelines_own_call(hub, kind, monkeypatch):
    """Our call against a user's own, written for that class: every latent of every step, bit for bit."""
    import diffusers

    values = yaml.safe_load(hub[kind].read_text())
    folder = Path(values["path"])
    painter = filler(hub[kind]).painter
    assert isinstance(painter, HubPainter)
    image, mask = make_scene(SIZE, SIZE), np.zeros((SIZE, SIZE), bool)
    mask[20:44, 16:50] = True
    pictures = {"image": Image.fromarray(image), "mask_image": Image.fromarray(np.uint8(mask) * 255)}
    sides = {"height": SIZE, "width": SIZE}
    if kind == "kandinsky":
        embed = diffusers.KandinskyV22PriorPipeline.from_pretrained(values["also"][0])
        own = diffusers.KandinskyV22InpaintPipeline.from_pretrained(folder)
        generator = torch.Generator().manual_seed(5)
        said = embed("a dog", "cat", num_inference_steps=25, guidance_scale=4.0, generator=generator)
        asked = {**pictures, **sides, "generator": generator, "image_embeds": said.image_embeds,
                 "negative_image_embeds": said.negative_image_embeds}  # fmt: skip
    else:
        name = {"sd": "StableDiffusionInpaintPipeline", "sd4": "StableDiffusionInpaintPipeline",
                "sdxl": "StableDiffusionXLInpaintPipeline", "flux": "FluxFillPipeline",
                "pix2pix": "StableDiffusionInstructPix2PixPipeline"}[kind]  # fmt: skip
        own = getattr(diffusers, name).from_pretrained(folder)
        asked = {**pictures, **sides, "prompt": "a dog", "negative_prompt": "cat", "generator": torch.Generator()}
        asked["generator"].manual_seed(5)
        asked |= {"strength": 0.99} if kind == "sdxl" else {}
        if kind == "flux":
            del asked["negative_prompt"]
        if kind == "pix2pix":
            for key in ("mask_image", "height", "width"):
                del asked[key]
    seen: list[torch.Tensor] = []

    def record(scheduler: Any) -> None:
        real = scheduler.step

        def step(*values: Any, **options: Any) -> Any:
            out = real(*values, **options)
            seen.append(out[0].clone())
            return out

        monkeypatch.setattr(scheduler, "step", step)

    for pipe in (own, painter.pipe):
        record(pipe.scheduler if kind != "kandinsky" or pipe is own else pipe.decoder_pipe.scheduler)
    own.set_progress_bar_config(disable=True)
    expected = own(**asked, num_inference_steps=2, guidance_scale=3.0, output_type="np").images[0]
    got = painter(image, mask, "a dog", "cat", generator=torch.Generator().manual_seed(5), num_inference_steps=2)
    assert len(seen) == 2 * len(seen[::2]) >= 2
    for theirs, ours in zip(seen[: len(seen) // 2], seen[len(seen) // 2 :], strict=True):
        assert torch.equal(theirs, ours)
    assert np.array_equal(expected, got)


def test_words_reach_the_text_encoder(hub, area, monkeypatch):
    one = filler(hub["sd"])
    assert isinstance(one.painter, HubPainter)
    heard: list[str] = []
    real = type(one.painter.pipe.tokenizer).__call__

    def listen(self: Any, text: Any, *rest: Any, **options: Any) -> Any:
        heard.extend([text] if isinstance(text, str) else text)
        return real(self, text, *rest, **options)

    monkeypatch.setattr(type(one.painter.pipe.tokenizer), "__call__", listen)
    one.fill(area, area.hole, order(instruction=parse("remove the red hat")))
    assert heard[0] == SHOWN["remove"]
    assert any(text.startswith("red hat,") for text in heard)
    heard.clear()
    one.fill(area, area.hole, order(instruction=DOG))
    assert heard[0] == "a dog"
    assert any(text.startswith("cat, ") for text in heard)


def test_another_prompt_makes_another_picture_and_so_does_a_negative_one(hub, area):
    painter = filler(hub["sd"]).painter
    image, mask = make_scene(SIZE, SIZE), np.ones((SIZE, SIZE), bool)

    def drawn(prompt: str, negative: str) -> Any:
        return painter(image, mask, prompt, negative, generator=torch.Generator().manual_seed(0), num_inference_steps=2)

    assert not np.array_equal(drawn("a dog", ""), drawn("a cat", ""))
    assert not np.array_equal(drawn("a dog", ""), drawn("a dog", "cat"))


def test_a_model_that_hears_no_negative_prompt_says_so_once(hub, area, caplog):
    one = filler(hub["flux"])
    with caplog.at_level(logging.INFO, "restore"):
        one.fill(area, area.hole, order(instruction=parse("remove the cat")))
        one.fill(area, area.hole, order(instruction=parse("remove the cat")))
    said = [r.getMessage() for r in caplog.records if "negative prompt" in r.getMessage()]
    assert len(said) == 1
    assert "cat" in said[0]


def test_the_call_can_be_stopped_between_steps(hub, area):
    calls = []

    def stop() -> None:
        calls.append(1)
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        filler(hub["sd"]).fill(area, area.hole, order(on_step=stop))
    assert len(calls) == 1


def test_another_scheduler_of_the_folder_is_used(hub, area, tmp_path):
    from diffusers import DDPMScheduler

    folder = tiny_hub.stable_diffusion(tmp_path / "sd")
    DDPMScheduler(steps_offset=1, clip_sample=False).save_pretrained(folder / "scheduler")
    index = json.loads((folder / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", "DDPMScheduler"]
    (folder / "model_index.json").write_text(json.dumps(index))
    pipe = open_pipeline(folder)
    painter = HubPainter(pipe, PainterOptions(SIZE), CPU, "ddpm")
    assert type(painter.pipe.scheduler) is DDPMScheduler
    (candidate,) = PainterFiller(painter, "ddpm").fill(area, area.hole, order())
    assert not np.array_equal(candidate.image, filler(hub["sd"]).fill(area, area.hole, order())[0].image)


def test_half_precision_and_a_bare_folder(hub, area):
    """A folder without a preset takes its size from its own config; bfloat16 stays, float16 does not, on a CPU."""
    folder = Path(yaml.safe_load(hub["sd"].read_text())["path"])
    one = filler(folder)
    assert isinstance(one.painter, HubPainter)
    assert (one.painter.size, one.painter.multiple) == (32 * 2, 8)
    assert {p.dtype for p in one.painter.pipe.unet.parameters()} == {torch.float32}
    painter = HubPainter(open_pipeline(folder, dtype=torch.bfloat16), PainterOptions(), CPU, "half")
    assert {p.dtype for p in painter.pipe.unet.parameters()} == {torch.bfloat16}
    (candidate,) = PainterFiller(painter, "half").fill(area, area.hole, order())
    assert np.array_equal(candidate.image[~area.hole], area.image[~area.hole])


def test_qwen_image_edit_in_memory(area, monkeypatch):
    """Without its processor, which needs torchvision: see docs/models.md."""
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit as module

    real = module.calculate_dimensions
    monkeypatch.setattr(module, "calculate_dimensions", lambda area, ratio: real(SIZE * SIZE, ratio))
    painter = HubPainter(tiny_hub.qwen_image_edit(), PainterOptions(SIZE, 4.0), CPU, "qwen")
    assert (painter.edits, painter.negative, painter.able.guidance) == (True, True, "true_cfg_scale")
    first, second = PainterFiller(painter, "qwen").fill(area, area.hole, order(2))
    assert np.array_equal(first.image[~area.hole], area.image[~area.hole])
    assert not np.array_equal(first.image, second.image)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.fromarray(make_scene(97, 131)).save(tmp_path / "photo.png")
    mask = np.zeros((97, 131), np.uint8)
    mask[30:61, 40:75] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return tmp_path / "photo.png"


def command(*arguments: Any) -> Any:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_the_command_runs_the_loop_on_any_model(hub, photo):
    mask, out = photo.with_name("mask.png"), photo.with_name("out.png")
    options = (
        "--mask",
        mask,
        "--model",
        hub["sd"],
        "--passes",
        2,
        "--par",
        0,
        "--candidates",
        2,
        "--offline",
        "--json",
    )
    result = command("inpaint", photo, *options, "-o", out, "--report", photo.with_name("r.html"))
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["model"] == str(hub["sd"])
    assert "restore: sd: " in result.stderr
    before, after, hole = (np.asarray(Image.open(p)) for p in (photo, out, mask))
    assert after.shape == before.shape
    assert np.array_equal(after[hole == 0], before[hole == 0])
    assert not np.array_equal(after, before)
    again = command("inpaint", photo, *options, "-o", photo.with_name("again.png"))
    assert again.exit_code == 0
    assert photo.with_name("again.png").read_bytes() == out.read_bytes()


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("sd", "pix2pix")])
def test_the_engine_runs_the_loop_on_every_kind(hub, photo, kind):
    """Two passes, of which the second fills what the judge calls broken."""
    before, mask = np.asarray(Image.open(photo)), np.asarray(Image.open(photo.with_name("mask.png"))) > 0
    result = Engine(str(hub[kind])).inpaint(before, mask=mask, passes=2, par=0.0, candidates=1)
    assert 1 <= len(result.passes) <= 2
    assert np.array_equal(result.image[~mask], before[~mask])
    assert not np.array_equal(result.image, before)


def test_something_can_be_added_to_a_box_and_the_api_agrees_with_the_command(hub, photo):
    options = ("--prompt", "add a red hat", "--box", "40,30,30,30", "--model", hub["pix2pix"], "--passes", 1)
    result = command("inpaint", photo, *options, "--candidates", 1, "-o", photo.with_name("out.png"))
    assert result.exit_code == 0, result.output
    engine = Engine(str(hub["pix2pix"]))
    assert engine.settings.steps == 2  # the preset's
    done = engine.inpaint(str(photo), prompt="add a red hat", box=(40, 30, 30, 30), passes=1, candidates=1)
    assert np.array_equal(np.asarray(done.image), np.asarray(Image.open(photo.with_name("out.png"))))


def test_what_a_model_cannot_do_is_refused_before_anything_is_loaded(hub, photo):
    wordless = photo.with_name("lama.pt")
    wordless.write_bytes(b"not read yet")
    for prompt in ("replace the cat with a dog", "add a dog"):
        result = command("inpaint", photo, "--prompt", prompt, "--box", "40,30,30,30", "--model", wordless)
        assert result.exit_code == 2
        assert "--model sd15-inpaint" in result.stderr
        assert result.stderr.count("\n") == 1
    result = command("inpaint", photo, "--prompt", "add a dog", "--model", hub["sd"])
    assert result.exit_code == 2
    assert "where to add a dog" in result.stderr


def broken(tmp_path: Path, change: Any) -> Path:
    folder = tiny_hub.stable_diffusion(tmp_path / "broken")
    change(folder)
    return folder


def _pickled(folder: Path) -> None:
    """The weights of the UNet as a pickle that would run code."""
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch /tmp/run'\ntR.")


def _index(**changes: Any) -> Any:
    def change(folder: Path) -> None:
        index = json.loads((folder / "model_index.json").read_text()) | changes
        (folder / "model_index.json").write_text(json.dumps({k: v for k, v in index.items() if v is not None}))

    return change


def _remote(folder: Path) -> None:
    """A component whose class is in a Python file beside the weights."""
    (folder / "unet" / "mine.py").write_text("raise SystemExit('remote code ran')")
    _index(unet=["mine", "MyUNet"])(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_pickled, "safetensors"),
        (_remote, "StableDiffusionInpaintPipeline"),
        (_index(_class_name="NoSuchPipeline"), "NoSuchPipeline"),
        (_index(_class_name="DDPMPipeline", text_encoder=None), "place for the photo"),
        (_index(_class_name=None), "model_index.json"),
        (lambda folder: (folder / "vae" / "config.json").unlink(), "StableDiffusionInpaintPipeline"),
    ],
)
def test_a_folder_that_cannot_be_used_exits_4(tmp_path, photo, change, said):
    folder = broken(tmp_path, change)
    result = command("inpaint", photo, "--box", "40,30,30,30", "--model", folder)
    assert result.exit_code == 4, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("restore: ")]
    assert said in line


def test_a_prior_that_is_missing_is_an_error(hub):
    folder = Path(yaml.safe_load(hub["kandinsky"].read_text())["path"])
    with pytest.raises(ModelUnavailableError, match="prior"):
        open_pipeline(folder)


def test_half_precision_files_are_used_where_a_component_has_them(hub, area, tmp_path):
    """As `models pull` leaves a repository of which some components come as fp16 only."""
    folder = tiny_hub.stable_diffusion(tmp_path / "mixed")
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    file.rename(file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    painter = HubPainter(open_pipeline(folder), PainterOptions(SIZE, 3.0), CPU, "mixed")
    (got,) = PainterFiller(painter, "mixed", negatives=presets()["sd15-inpaint"].negatives).fill(
        area, area.hole, order()
    )
    assert np.array_equal(got.image, filler(hub["sd"]).fill(area, area.hole, order())[0].image)
