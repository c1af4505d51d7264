"""Candidates in one call: the bytes of calls of their own, or calls of their own."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_scene
from zoo import BUILDERS

from restore.pipelines.hub.inpaint import BlankedError, HubPainter, PainterOptions
from restore.pipelines.hub.together import Apart

CPU = torch.device("cpu")
SIDE = 64
IMAGE, MASK = make_scene(SIDE, SIDE), np.zeros((SIDE, SIDE), bool)
MASK[20:44, 16:50] = True


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of diffusers about its own classes
        yield


def drawn(pipe: Any, together: bool, count: int = 3, steps: int = 2, **options: Any) -> tuple[HubPainter, list[Any]]:
    painter = HubPainter(pipe, PainterOptions(SIDE, together=together), CPU, "tiny")
    generators = [torch.Generator().manual_seed(5 + k) for k in range(count)]
    made = painter.several(IMAGE, MASK, "a dog", "cat", generators=generators, num_inference_steps=steps, **options)
    return painter, list(made)


def rows_seen(net: torch.nn.Module) -> list[int]:
    """How many rows the network denoised in each of its steps, from now on."""
    seen: list[int] = []
    net.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(len(args[0] if args else kwargs["hidden_states"])), with_kwargs=True
    )
    return seen


@pytest.mark.parametrize(
    ("name", "dtype", "strength"),
    [
        ("StableDiffusionInpaintPipeline", torch.float32, None),
        ("StableDiffusionInpaintPipeline", torch.float32, 0.5),
        ("StableDiffusionInpaintPipeline", torch.bfloat16, None),
        ("StableDiffusionXLInpaintPipeline", torch.float32, None),
        ("FluxInpaintPipeline", torch.float32, None),
        ("StableDiffusion3InpaintPipeline", torch.float32, None),
    ],
)
def test_candidates_of_one_call_are_those_of_calls_of_their_own(tmp_path, name, dtype, strength):
    pipe = BUILDERS[name](tmp_path).to(dtype)
    net = pipe.transformer if "transformer" in pipe.components else pipe.unet
    _, alone = drawn(pipe, together=False, strength=strength)
    seen = rows_seen(net)
    painter, at_once = drawn(pipe, together=True, strength=strength)
    guided = 2 if painter.able.real else 1
    assert seen[-1] == 3 * guided  # all three
    assert all(np.array_equal(a, b) for a, b in zip(alone, at_once, strict=True))
    assert not np.array_equal(alone[0], alone[1])
    before = len(seen)
    assert np.array_equal(drawn(pipe, together=True, count=1, strength=strength)[1][0], alone[0])
    assert seen[before:] == [guided] * (len(seen) - before)  # nothing to try for one


@pytest.mark.parametrize(
    "name", ["StableDiffusionInpaintPipelineLegacy", "RePaintPipeline", "KandinskyV22InpaintCombinedPipeline"]
)
def test_a_class_that_takes_no_lists_or_mixes_its_candidates_draws_one_at_a_time(tmp_path, name, caplog):
    pipe = BUILDERS[name](tmp_path)
    _, alone = drawn(pipe, together=False)
    with caplog.at_level(logging.INFO, "restore"):
        painter, told = drawn(pipe, together=True)
    assert list(painter.together.alike.values()) == [False]
    assert all(np.array_equal(a, b) for a, b in zip(alone, told, strict=True))
    assert "one candidate at a time" in caplog.text


def test_every_sum_is_that_of_its_candidate_alone():
    """Shapes and kinds at random, two groups of three candidates, as guidance makes them."""
    torch.manual_seed(0)
    f, whole = torch.nn.functional, {}
    for width in (3, 16, 31, 64):
        x, y = torch.randn(6, 5, width), torch.randn(6, 5, width)
        image, row = torch.randn(6, width, 7, 7), torch.randn(6, width)
        matrix, kernel = torch.randn(9, width), torch.randn(4, width, 3, 3)
        cases = [
            (f.linear, (x, matrix)), (f.linear, (row, matrix)),
            (f.conv2d, (image, kernel)), (lambda x: x.softmax(-1), (x,)),
            (lambda x, y: torch.bmm(x, y.transpose(1, 2)), (x, y)), (lambda x: x.mean((1, 2)), (image,)),
            (lambda x, y: f.scaled_dot_product_attention(query=x, key=y, value=y), (x[:, None], y[:, None])),
            (lambda x: f.group_norm(x, 1), (image,)), (lambda x, y: x @ y.mT, (x, y)),
        ]  # fmt: skip
        for call, given in cases:
            with Apart(3, whole):
                at_once = [call(*given) for _ in range(2)]  # tried, then remembered
            for k in range(3):
                alone = call(*(x[k::3].clone() if len(x) == 6 else x for x in given))
                assert all(torch.equal(out[k::3], alone) for out in at_once)
    assert any(whole.values())
    with Apart(3, whole):  # over the candidates themselves: nothing to split
        assert torch.equal(row.mean(), row.mean())
        assert row.sum(0).shape == (64,)


class Noise:
    """A pipeline of noise: room for `most` pictures at once, blank ones by their first number."""

    def __init__(self, most: int, blank: float = 2.0) -> None:
        self.most, self.blank, self.calls = most, blank, []
        self.components: dict[str, Any] = {}
        self.config: dict[str, Any] = {}

    def to(self, device: torch.device) -> None:
        """Nothing to move."""

    def set_progress_bar_config(self, disable: bool) -> None:
        """It has none."""

    def __call__(
        self, prompt: Any, image: Any, mask_image: Any, height: int, width: int, output_type: str, generator: Any
    ) -> Any:
        generators = generator if isinstance(generator, list) else [generator]
        self.calls.append(len(generators))
        made = np.stack([torch.rand(height, width, 3, generator=g).numpy() for g in generators])
        if len(generators) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return type("Output", (), {"images": made, "nsfw_content_detected": [p[0, 0, 0] > self.blank for p in made]})


def test_out_of_memory_halves_what_is_drawn_at_once(caplog):
    alone = drawn(Noise(1), together=False, count=7)[1]
    pipe = Noise(3)
    with caplog.at_level(logging.WARNING, "restore"):
        assert all(np.array_equal(a, b) for a, b in zip(alone, drawn(pipe, True, count=7)[1], strict=True))
    trial = [1] * 7 + [7] + [1] * 3 + [3]
    assert pipe.calls == [*trial, 3, 3, 1]
    assert caplog.text.count("now draws 3 at a time") == 1


def test_a_blank_one_takes_none_of_the_others_with_it():
    alone = drawn(Noise(9, 0.5), together=False, count=9)[1]
    at_once = drawn(Noise(9, 0.5), together=True, count=9)[1]
    blank = [isinstance(one, BlankedError) for one in alone]
    assert 0 < sum(blank) < 9
    for k, (one, other) in enumerate(zip(alone, at_once, strict=True)):
        assert isinstance(other, BlankedError) if blank[k] else np.array_equal(one, other)
