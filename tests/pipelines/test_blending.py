"""Text-to-image pipelines as fillers: the known part stays what it is at every level of noise, down to none."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import tiny_hub
import torch
from click.testing import CliRunner
from conftest import make_scene
from PIL import Image
from zoo.painters import PAINTERS

from restore.cli import main
from restore.errors import ModelUnavailableError
from restore.pipelines.hub import blending
from restore.pipelines.hub.blending import ROUNDS, encoded, journey, one_step
from restore.pipelines.hub.inpaint import HubPainter, PainterOptions

# Euler's schedulers of diffusers 0.42 give NumPy a tensor in a way that it will not take much longer.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
CPU = torch.device("cpu")
SIDE = 64
IMAGE, MASK = make_scene(SIDE, SIDE), np.zeros((SIDE, SIDE), bool)
MASK[20:44, 16:50] = True
DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SCHEDULERS = [
    *(diffusers.DDIMScheduler, diffusers.DDPMScheduler, diffusers.EulerDiscreteScheduler),
    *(diffusers.EulerAncestralDiscreteScheduler, diffusers.LCMScheduler, diffusers.TCDScheduler),
    *(diffusers.PNDMScheduler, diffusers.DPMSolverMultistepScheduler, diffusers.HeunDiscreteScheduler),
]


@pytest.fixture(scope="module")
def diffusion(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return PAINTERS["StableDiffusionPipeline"](tmp_path_factory.mktemp("sd"))


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Packed latents."""
    return PAINTERS["FluxPipeline"](tmp_path_factory.mktemp("flux"))


def fill(
    pipe: Any, image: Any = IMAGE, seed: int = 1, steps: int = 4, strength: float = 1.0, words: str = "a dog"
) -> Any:
    painter = HubPainter(pipe, PainterOptions(SIDE), CPU, "tiny")
    generator = torch.Generator().manual_seed(seed)
    return painter(image, MASK, words, "cat", generator=generator, num_inference_steps=steps, strength=strength)


def decoded(pipe: Any, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents as they came to the autoencoder, and those that it makes of the photo."""
    seen: list[torch.Tensor] = []
    real = type(pipe.vae).decode

    def decode(self: Any, latents: torch.Tensor, *args: Any, **more: Any) -> Any:
        seen.append(latents)
        return real(self, latents, *args, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(pipe.vae), "decode", decode)
        fill(pipe, **options)
    return seen[0], encoded(pipe.vae, IMAGE, MASK, CPU, filled=options.get("strength", 1.0) < 1)


@pytest.mark.parametrize("kind", SCHEDULERS, ids=lambda kind: kind.__name__)
def test_known_latents_end_as_the_photos_whatever_the_scheduler(diffusion, kind, monkeypatch):
    monkeypatch.setattr(diffusion, "scheduler", kind(**DIFFUSION))
    latents, photo = decoded(diffusion)
    hole = torch.nn.functional.adaptive_max_pool2d(torch.from_numpy(MASK)[None, None].float(), photo.shape[-2:]) > 0
    assert torch.allclose(latents.masked_select(~hole), photo.masked_select(~hole), atol=1e-5)
    assert (latents - photo).abs().masked_select(hole).mean() > 0.1
    assert type(diffusion.scheduler) is kind  # as it was
    assert "decode" not in vars(diffusion.vae)


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_packed_latents_of_a_flow_end_as_the_photos(flow, strength):
    latents, photo = decoded(flow, strength=strength)
    hole = torch.nn.functional.adaptive_max_pool2d(torch.from_numpy(MASK)[None, None].float(), photo.shape[-2:]) > 0
    assert torch.allclose(latents.masked_select(~hole), photo.masked_select(~hole), atol=1e-5)


@pytest.mark.parametrize("kind", [*SCHEDULERS[:6], diffusers.FlowMatchEulerDiscreteScheduler])
def test_levels_of_noise_are_the_schedulers_own(kind):
    scheduler = one_step(kind(**DIFFUSION) if kind in SCHEDULERS else kind(shift=3.0))
    known = blending.Known(torch.zeros(1, 1, 1, 1), torch.ones(1), torch.zeros(1), 1.0, [])
    plain = kind.from_config(scheduler.config)
    plain.set_timesteps(5)
    swapped = blending._blending(scheduler, known)
    swapped.set_timesteps(5)
    assert torch.equal(swapped.every, plain.timesteps)
    add = getattr(plain, "add_noise", None) or (lambda x, noise, t: plain.scale_noise(x, t, noise))
    one, none = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
    for index, timestep in enumerate(plain.timesteps):
        kept, noise = swapped.level(index)
        assert float(add(one, none, timestep[None])) == pytest.approx(kept, abs=1e-5)
        assert float(add(none, one, timestep[None])) == pytest.approx(noise, rel=1e-5)
    assert swapped.level(5) == (1.0, 0.0)


@pytest.mark.parametrize(("steps", "strength"), [*itertools.product([1, 2, 7, 10, 30, 50], [0.01, 0.5, 0.61, 1.0])])
def test_every_stretch_is_gone_through_again_and_none_is_left_out(steps, strength):
    plan = journey(steps, strength)
    made = [index for index in plan if index >= 0]
    first = steps - max(1, int(steps * strength))
    assert {index: made.count(index) for index in made} == dict.fromkeys(range(first, steps), ROUNDS)
    assert (plan[0] == -1) == (first > 0)
    assert all(after <= before + 1 for before, after in itertools.pairwise(made))  # back, but never on without a step
    assert made[-1] == steps - 1


def test_going_back_gives_all_the_noise_of_where_it_goes():
    """Latents of a Gaussian keep the variance that they have at each level."""
    torch.manual_seed(0)
    for kind in (diffusers.DDIMScheduler, diffusers.FlowMatchEulerDiscreteScheduler, diffusers.EulerDiscreteScheduler):
        photo, noise = torch.randn(2, 1, 4, 128, 128).unbind(0)
        known = blending.Known(photo, torch.zeros(1, 4, 128, 128), noise, 1.0, [torch.Generator().manual_seed(3)])
        scheduler = blending._blending(one_step(kind()), known)
        scheduler.set_timesteps(20)
        for _ in known.plan:
            index = known.made
            timestep = scheduler.timesteps[index]
            out = scheduler.step(torch.zeros_like(photo), timestep, photo, return_dict=False)[0]
            after = known.plan[index + 1] if index + 1 < len(known.plan) else 20
            kept, more = scheduler.level(after)
            assert float(out.var()) == pytest.approx(kept**2 + more**2, rel=0.05)
        assert torch.equal(out, photo)


@pytest.mark.parametrize("name", ["diffusion", "flow"])
def test_the_fill_hears_words_and_seed_and_never_sees_what_shall_go(name, request):
    pipe = request.getfixturevalue(name)
    first = fill(pipe)
    other = IMAGE.copy()
    other[MASK] = 255 - other[MASK]
    assert np.array_equal(fill(pipe), first)
    assert np.array_equal(fill(pipe, other), first)
    assert not np.array_equal(fill(pipe, other, strength=0.5), fill(pipe, strength=0.5))  # begun from it
    assert not np.array_equal(fill(pipe, seed=2), first)
    assert not np.array_equal(fill(pipe, words="a red cat"), first)
    other = IMAGE.copy()
    other[:8] = 255 - other[:8]
    assert not np.array_equal(fill(pipe, other), first)


def test_candidates_of_one_call_are_those_of_calls_of_their_own(flow):
    def drawn(together: bool) -> list[Any]:
        painter = HubPainter(flow, PainterOptions(SIDE, together=together), CPU, "tiny")
        generators = [torch.Generator().manual_seed(k) for k in range(3)]
        made = list(painter.several(IMAGE, MASK, "a dog", "", generators=generators, num_inference_steps=2))
        assert list(painter.together.alike.values()) == [True] * together
        return made

    assert all(np.array_equal(a, b) for a, b in zip(drawn(True), drawn(False), strict=True))


class Turned(diffusers.FluxPipeline):
    """Packs its latents, but not as it unpacks them."""

    @staticmethod
    def _pack_latents(latents, batch_size, num_channels_latents, height, width):
        return diffusers.FluxPipeline._pack_latents(latents.flip(-1), batch_size, num_channels_latents, height, width)


def test_latents_that_are_not_the_autoencoders_are_refused_by_name(flow, diffusion, monkeypatch):
    with pytest.raises(ModelUnavailableError, match="known latents of the photo") as caught:
        fill(Turned(**flow.components))
    assert "Turned" in str(caught.value)
    monkeypatch.setattr(diffusion, "scheduler", diffusers.AmusedScheduler(mask_token_id=3))
    with pytest.raises(ModelUnavailableError, match="AmusedScheduler"):
        fill(diffusion)


def test_a_folder_of_a_model_without_any_relative_fills(tmp_path):
    folder = tmp_path / "model"
    PAINTERS["PixArtSigmaPipeline"](tmp_path).save_pretrained(folder)
    shown = json.loads(CliRunner().invoke(main, ["models", "show", str(folder), "--json"]).stdout)
    assert shown["opened as"] == "PixArtSigmaPipeline"
    assert shown["does"] == "fills the mask, the known part re-imposed in every step; hears words, a negative prompt"
    photo, mask = make_scene(97, 131), np.zeros((97, 131), np.uint8)
    mask[30:61, 40:75] = 255
    Image.fromarray(photo).save(tmp_path / "photo.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    asked = [
        "inpaint",
        tmp_path / "photo.png",
        "--mask",
        tmp_path / "mask.png",
        "--model",
        folder,
        "--steps",
        2,
        "--json",
    ]
    asked += ["--passes", 1, "--par", 0, "--candidates", 1, "-o", tmp_path / "out.png"]
    done = CliRunner().invoke(main, [str(x) for x in asked])
    assert done.exit_code == 0, done.output
    out = np.asarray(Image.open(tmp_path / "out.png"))
    assert np.array_equal(out[mask == 0], photo[mask == 0])
    assert (out[mask > 0] != photo[mask > 0]).any(-1).mean() > 0.5
    told = [heard["strength"] for record in json.loads(done.stdout)["passes"] for heard in record["heard"]]
    assert told == [1.0]


def test_a_text_model_of_stable_diffusion_is_still_opened_as_its_relative(tmp_path):
    folder = tiny_hub.stable_diffusion(tmp_path / "sd", 4, "StableDiffusionPipeline")
    shown = json.loads(CliRunner().invoke(main, ["models", "show", str(folder), "--json"]).stdout)
    assert shown["opened as"] == "StableDiffusionInpaintPipeline"
    assert Path(shown["place"]) == folder
