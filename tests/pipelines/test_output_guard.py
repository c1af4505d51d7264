"""What a model must never get away with: no numbers, one flat colour, another part of the photo, foreign exceptions."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import make_scene
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from restore.cli import main
from restore.edit.area import Area, areas_of
from restore.edit.fillers import Order
from restore.edit.hub_filler import PainterFiller
from restore.errors import ModelUnavailableError
from restore.pipelines.hub.guard import fault
from restore.pipelines.hub.inpaint import HubPainter, PainterOptions
from restore.settings import Settings

CPU = torch.device("cpu")
H, W = 96, 128
HOLE = np.zeros((H, W), bool)
HOLE[30:62, 40:90] = True


def clean(seed: int = 0) -> Any:
    return make_scene(H, W, seed=seed).astype(np.float32) / 255


def filled(value: Any) -> Any:
    out = clean()
    out[HOLE] = value
    return out


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (filled(np.nan), "not finite"),
        (filled(np.inf), "not finite"),
        (np.where(np.arange(W)[None, :, None] == 70, np.nan, clean()), "not finite"),  # one column
        (filled(0.0), r"flat colour \(0, 0, 0\)"),
        (filled(1.0), "flat colour"),
        (np.zeros((H, W, 3), np.float32), "flat colour"),
        (np.full((H, W, 3), clean().mean((0, 1)), np.float32), "flat colour"),
        (clean()[:, :64], "64×96 pixels for a crop of 128×96"),
        (clean()[..., :1], "an array"),
        (np.roll(clean(), (6, -9), (0, 1)), r"shifted by -9, [67] pixels"),
    ],
)
def test_what_is_no_fill_is_named(picture, said):
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(fault(np.asarray(picture, np.float32), make_scene(H, W), HOLE))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 50), st.floats(0, 0.4), st.floats(-0.2, 0.2))
def test_fills_of_any_likeness_pass(seed, noise, lighter):
    """A fill with grain, a known part that is only about the photo's, and pictures that have nothing to do with it."""
    rng = np.random.default_rng(seed)
    other = (clean(seed) + lighter + noise * rng.standard_normal((H, W, 3))).clip(0, 1).astype(np.float32)
    other[HOLE] = rng.random((int(HOLE.sum()), 3))
    assert fault(other, make_scene(H, W, seed=seed), HOLE) == ""
    assert fault(rng.random((H, W, 3)).astype(np.float32), make_scene(H, W, seed=seed), HOLE) == ""
    assert fault(other[::2, ::2], make_scene(H, W, seed=seed), HOLE) == ""


def test_flat_surroundings_may_be_continued_but_not_in_another_colour():
    white = np.full((H, W, 3), 250, np.uint8)
    assert fault(np.full((H, W, 3), 250 / 255, np.float32), white, HOLE) == ""
    black = white / np.float32(255)
    black[HOLE] = 0
    assert "flat colour" in fault(black, white, HOLE)


class Bad(torch.nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3, dtype=dtype))


class BadPipe:
    """Gives `wrong` while its weights are not float32, noise after that; or always, or raises it."""

    def __init__(self, wrong: Any, dtype: torch.dtype = torch.float32) -> None:
        self.wrong, self.calls = wrong, 0
        self.components = {"unet": Bad(dtype)}
        self.config: dict[str, Any] = {}

    def to(self, device: Any = None, dtype: Any = None) -> None:
        if dtype is not None:
            self.components["unet"].to(dtype)

    def remove_all_hooks(self) -> None: ...

    def set_progress_bar_config(self, disable: bool) -> None: ...

    def __call__(self, prompt: str, image: Any, mask_image: Any, output_type: str, generator: Any) -> Any:
        self.calls += 1
        if isinstance(self.wrong, Exception):
            raise self.wrong
        noise = torch.rand(image.height, image.width, 3, generator=generator).numpy()
        half = self.components["unet"].weight.dtype != torch.float32 or self.calls > 2
        picture = np.full_like(noise, self.wrong) if half else noise
        return type("Output", (), {"images": picture[None]})


def draw(pipe: BadPipe) -> Any:
    painter = HubPainter(pipe, PainterOptions(64), CPU, "bad")
    return painter(
        make_scene(64, 64), np.ones((64, 64), bool), "", "", generator=torch.Generator().manual_seed(3),
        num_inference_steps=1,
    )  # fmt: skip


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 0.0])
def test_half_precision_is_given_up_once_and_the_noise_is_the_same(wrong, caplog):
    pipe = BadPipe(wrong, torch.float16)
    assert np.array_equal(draw(pipe), draw(BadPipe(wrong)))
    assert pipe.calls == 2
    assert "now in float32" in caplog.text


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 0.0, 0.5])
def test_what_stays_wrong_is_an_error(wrong):
    pipe = BadPipe(wrong)
    pipe.calls = 2
    with pytest.raises(ModelUnavailableError, match=r"expected BadPipe of bad to repaint, got (one flat|numbers)"):
        draw(pipe)
    assert pipe.calls == 3  # float32 already: the same again would be the same again


@pytest.mark.parametrize(
    "error", [AttributeError("no 'x'\nat all"), KeyError("unet"), NameError("ftfy"), ZeroDivisionError(), OSError("a")]
)
def test_whatever_others_raise_is_one_line(error):
    with pytest.raises(ModelUnavailableError) as caught:
        draw(BadPipe(error))
    assert "\n" not in str(caught.value)
    assert type(error).__name__ in str(caught.value) or str(error) in str(caught.value)


class Broken(torch.nn.Module):
    """LaMa's form, which gives something that is no fill."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self.kind == "shifted":
            return torch.roll(image, [9, -13], [2, 3])
        if self.kind == "nan":
            return torch.where(mask > 0, torch.full_like(image, float("nan")), image)
        if self.kind == "inf":
            return torch.where(mask > 0, torch.full_like(image, float("inf")), image)
        return torch.where(mask > 0, torch.full_like(image, 0.6 if self.kind == "constant" else 0.0), image)


@pytest.mark.parametrize("kind", ["nan", "inf", "black", "constant", "shifted"])
def test_nothing_broken_is_accepted_from_the_command_line(tmp_path, kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit is old
        torch.jit.save(torch.jit.script(Broken(kind)), str(tmp_path / "broken.pt"))
    Image.fromarray(make_scene(97, 131)).save(tmp_path / "photo.png")
    command = ["inpaint", str(tmp_path / "photo.png"), "--box", "40,30,30,30", "--model", str(tmp_path / "broken.pt")]
    result = CliRunner().invoke(main, [*command, "-o", str(tmp_path / "out.png"), "--report", str(tmp_path / "r.html")])
    assert result.exit_code == 4, result.output
    assert len([line for line in result.stderr.splitlines() if line.startswith("restore: expected")]) == 1
    assert {"nan": "not finite", "inf": "not finite", "shifted": "shifted by"}.get(kind, "flat colour") in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.pt", "photo.png"]


def test_a_pipeline_that_shifts_the_photo_is_an_error():
    class Shifts(BadPipe):
        def __call__(self, prompt: str, image: Any, mask_image: Any, output_type: str, generator: Any) -> Any:
            picture = np.roll(np.asarray(image, np.float32) / 255, (6, -9), (0, 1))
            return type("Output", (), {"images": picture[None]})

    painter = HubPainter(Shifts(0.0), PainterOptions(64), CPU, "shifts")
    with pytest.raises(ModelUnavailableError, match=r"got a picture shifted by -9, [67] pixels"):
        painter(make_scene(H, W), HOLE, "", "", generator=torch.Generator(), num_inference_steps=1)


def test_no_candidate_of_a_broken_model_reaches_the_loop():
    area: Area = areas_of(make_scene(H, W), HOLE)[0]
    pipe = BadPipe(np.nan)
    pipe.calls = 2
    one = PainterFiller(HubPainter(pipe, PainterOptions(64), CPU, "bad"), "bad")
    with pytest.raises(ModelUnavailableError, match="not finite"):
        one.fill(area, area.hole, Order(Settings(candidates=2, steps=1), 1))
