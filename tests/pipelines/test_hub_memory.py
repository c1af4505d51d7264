"""What happens when a model does not fit, and the geometry and colours of what is pasted back."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_scene

from restore.edit.area import Area, Mask, areas_of
from restore.edit.fillers import Order
from restore.edit.hub_filler import PainterFiller, words_for
from restore.errors import ModelUnavailableError
from restore.grounding.instruction import parse
from restore.hub.prompts import SHOWN
from restore.pipelines.hub.crop import around, matched, native_shape, shrunk
from restore.pipelines.hub.inpaint import BlankedError, HubPainter, PainterOptions
from restore.pipelines.hub.placement import LAYERS, MODEL, SLICES, TILES, WHOLE, DeviceMemory, dtype_for, placement
from restore.settings import Settings

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("device", "free", "weights", "largest", "expected"),
    [
        (CPU, 0.0, 10**11, 10**11, WHOLE),
        (CUDA, 24e9, 7 * 10**9, 5 * 10**9, WHOLE),
        (CUDA, 8e9, 7 * 10**9, 5 * 10**9, MODEL),
        (CUDA, 4e9, 7 * 10**9, 5 * 10**9, LAYERS),
        (CUDA, 24e9, 34 * 10**9, 23 * 10**9, LAYERS),
        (CUDA, 48e9, 34 * 10**9, 23 * 10**9, WHOLE),
    ],
)
def test_where_a_pipeline_lies_follows_from_what_is_free(device, free, weights, largest, expected):
    assert placement(device, free, weights, largest) == expected


def test_dtypes():
    def chosen(wanted: str, stored: str, device: torch.device, transformer: bool = False) -> torch.dtype:
        return dtype_for(wanted, stored, device, transformer=transformer)

    assert chosen("float16", "", CPU) is torch.float32
    assert chosen("bfloat16", "", CPU) is torch.bfloat16
    assert chosen("float16", "float32", CUDA, True) is torch.float16  # who says so gets it
    assert chosen("", "bfloat16", CPU) is chosen("", "bfloat16", CUDA) is torch.bfloat16
    assert chosen("", "float32", CPU) is chosen("", "float16", CPU) is torch.float32
    assert chosen("", "float16", CUDA) is chosen("", "float32", CUDA) is torch.float16
    assert chosen("", "float16", CUDA, True) is chosen("", "", CUDA, True) is torch.bfloat16


class Coder(torch.nn.Module):
    """A VAE by what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3))
        self.tiled = self.sliced = False

    def enable_tiling(self) -> None:
        self.tiled = True

    def enable_slicing(self) -> None:
        self.sliced = True


class Net(torch.nn.Module):
    def set_attention_slice(self, size: Any) -> None:
        raise AssertionError("asked of the pipeline")


class Pipe:
    """Runs out of memory until `needed` steps were taken; draws noise."""

    def __init__(self, needed: int) -> None:
        self.needed, self.attention, self.calls, self.unsafe = needed, False, 0, False
        self.unsafe_calls: set[int] | None = None
        self.components = {"vae": Coder(), "unet": Net(), "tokenizer": None}
        self.config: dict[str, Any] = {}

    def to(self, device: torch.device) -> None:
        self.device = device

    def set_progress_bar_config(self, disable: bool) -> None:
        self.quiet = disable

    def enable_attention_slicing(self) -> None:
        self.attention = True

    def __call__(
        self, prompt: str, image: Any, mask_image: Any, height: int, width: int, output_type: str, generator: Any
    ) -> Any:
        self.calls += 1
        noise = torch.rand(height, width, 3, generator=generator)
        if self.components["vae"].tiled + self.attention < self.needed:
            raise torch.OutOfMemoryError("CUDA out of memory")
        unsafe = self.unsafe if self.unsafe_calls is None else self.calls in self.unsafe_calls
        return type("Output", (), {"images": noise[None].numpy(), "nsfw_content_detected": [unsafe]})


def draw(pipe: Pipe) -> Any:
    painter = HubPainter(pipe, PainterOptions(64), CPU, "tiny")
    image, mask = make_scene(64, 64), np.ones((64, 64), bool)
    return painter(image, mask, "", "", generator=torch.Generator().manual_seed(3), num_inference_steps=1)


def test_out_of_memory_takes_one_step_at_a_time_says_so_and_draws_the_same(caplog):
    with caplog.at_level(logging.WARNING, "restore"):
        at_once = draw(Pipe(0))
        assert not caplog.records
        for needed in (1, 2):
            caplog.clear()
            pipe = Pipe(needed)
            assert np.array_equal(draw(pipe), at_once)
            assert pipe.calls == needed + 1
            said = [record.getMessage() for record in caplog.records]
            assert said == [f"out of memory: tiny now with {step}" for step in (TILES, SLICES)[:needed]]
            assert pipe.components["vae"].sliced
            assert pipe.attention == (needed == 2)


def test_what_a_safety_checker_blanked_is_no_candidate(caplog):
    pipe = Pipe(0)
    pipe.unsafe = True
    with pytest.raises(BlankedError, match="safety checker"):
        draw(pipe)
    (area,) = areas_of(make_scene(96, 128), hole_in((96, 128), (44, 28, 40, 40)))
    order = Order(Settings(candidates=3, steps=1), 1)
    one = PainterFiller(HubPainter(pipe, PainterOptions(64), CPU, "tiny"), "tiny")
    with pytest.raises(BlankedError):
        one.fill(area, area.hole, order)
    caplog.clear()
    pipe.unsafe_calls = {pipe.calls + 2}
    with caplog.at_level(logging.WARNING, "restore"):
        assert len(one.fill(area, area.hole, order)) == 2
    assert caplog.text.count("safety checker") == 1


def test_out_of_memory_after_every_step_is_one_error():
    with pytest.raises(ModelUnavailableError, match="smaller model") as caught:
        draw(Pipe(3))
    assert "\n" not in str(caught.value)


def test_the_ladder_of_a_gpu_ends_with_offloading(monkeypatch):
    """Of a device that is not there: only the order of the steps."""
    taken: list[str] = []
    monkeypatch.setattr(DeviceMemory, "_take", lambda self, step: taken.append(step))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (40e9, 80e9))
    memory = DeviceMemory(Pipe(0), CUDA, "tiny")
    assert (taken, memory.left) == ([], [TILES, SLICES, MODEL, LAYERS])
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1e9, 80e9))
    memory = DeviceMemory(Pipe(0), CUDA, "tiny")
    assert (taken, memory.left) == ([LAYERS, TILES], [])


def hole_in(shape: tuple[int, int], box: tuple[int, int, int, int]) -> Mask:
    mask = np.zeros(shape, bool)
    mask[box[1] : box[1] + box[3], box[0] : box[0] + box[2]] = True
    return mask


@pytest.mark.parametrize("box", [(0, 0, 5, 5), (290, 10, 10, 60), (100, 80, 1, 1), (0, 0, 300, 200)])
def test_the_part_worked_on_holds_the_hole_and_is_at_native_size_where_it_can_be(box):
    mask = hole_in((200, 300), box)
    part = around(mask, 128)
    assert mask[part].sum() == mask.sum()
    height, width = mask[part].shape
    assert height >= min(200, 128)
    assert width >= min(300, 128)


@pytest.mark.parametrize("shape", [(133, 171), (40, 400), (512, 512), (7, 9)])
def test_native_shapes_have_the_models_pixels_and_the_crops_proportions(shape):
    height, width = native_shape(shape, 512, 64)
    assert height % 64 == width % 64 == 0
    assert 0.7 < height * width / 512**2 < 1.5
    assert native_shape(shape, 0, 8) == tuple(max(8, round(side / 8) * 8) for side in shape)
    assert native_shape(shape, 512, 8, square=True) == (512, 512)


def test_a_shrunk_hole_misses_no_pixel():
    mask = hole_in((301, 233), (100, 57, 1, 1))
    assert shrunk(make_scene(301, 233), mask, (64, 48))[1].any()


def test_a_shift_of_all_colours_is_undone_exactly_and_nothing_else_is_touched():
    image, hole = make_scene(96, 120), hole_in((96, 120), (40, 30, 30, 30))
    clean = image.astype(np.float32) / 255
    new, agreement = matched(image, clean, hole)
    assert agreement == 1
    assert np.abs(new - clean).max() < 1e-6
    shifted, less = matched(image, clean - np.float32([0.1, 0.05, -0.1]), hole)
    assert np.abs(shifted - clean)[hole].max() < 2e-3
    assert less < 0.5
    assert matched(image, clean, np.ones_like(hole))[1] == 0  # nothing around it to compare


class Editor:
    """Paints the left half of what it is given white."""

    size, edits, instructed, speaks, negative = 64, True, True, True, True

    def __init__(self, change: float) -> None:
        self.change = change

    def shape_for(self, crop: tuple[int, int]) -> tuple[int, int]:
        return native_shape(crop, self.size, 8)

    def strength_for(self, steps: int, *, mend: bool) -> None:
        return None

    def several(self, image: Any, mask: Any, prompt: str, negative: str, **options: Any) -> Any:
        self.prompt = prompt
        new = image.astype(np.float32) / 255
        new[:, : new.shape[1] // 2] += self.change
        yield new.clip(0, 1)


def edit(editor: Editor, area: Area) -> Any:
    order = Order(Settings(candidates=1), 1, parse("replace the cat with a dog"))
    return PainterFiller(editor, "editor").fill(area, area.hole, order)[0].image


def test_of_an_edit_only_changed_pixels_of_the_hole_are_kept(caplog):
    image = np.full((96, 128, 3), 60, np.uint8)
    (area,) = areas_of(image, hole_in((96, 128), (44, 28, 40, 40)))
    editor = Editor(0.6)
    out = edit(editor, area)
    assert editor.prompt == "replace the cat with a dog"
    differs = (out != area.image).any(-1)
    assert not differs[~area.hole].any()
    ys, xs = np.nonzero(area.hole)
    left, right = xs < np.median(xs) - 8, xs > np.median(xs) + 8
    assert differs[ys[left], xs[left]].all()
    assert not differs[ys[right], xs[right]].any()
    with caplog.at_level(logging.WARNING, "restore"):
        assert np.array_equal(edit(Editor(0.0), area), area.image)
    assert "left the hole as it was" in caplog.text


@pytest.mark.parametrize(
    ("text", "prompt", "negative", "instruction"),
    [
        (None, SHOWN["remove"], "object,", "remove the object"),
        ("remove the red hat", SHOWN["remove"], "red hat, object", "remove the red hat"),
        ("replace the cat with a dog", "a dog", "cat", "replace the cat with a dog"),
        ("turn the car into a red car", "a red car", "", "replace the car with a red car"),
        ("remove the dog and the cup", SHOWN["remove"], "dog, cup, object", "remove the dog and the cup"),
        ("replace the dog and the cup with a cup", "a cup", "dog", "replace the dog and the cup with a cup"),
        ("add a hat on the man", "a hat on the man", "", "add a hat on the man"),
        ("add a dog next to the bench", "a dog next to the bench", "", "add a dog next to the bench"),
    ],
)
def test_what_models_are_told(text, prompt, negative, instruction):
    said = words_for(parse(text) if text else None, instructed=False)
    assert said.prompt == prompt
    assert said.negative.startswith(negative)
    assert bool(said.negative) == bool(negative)
    assert words_for(parse(text) if text else None, instructed=True).prompt == instruction
