"""Removal by instruction: the network, its pipeline and its training pairs."""

from __future__ import annotations

import io
import json
import math
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from restore import Engine, InputError, ObjectNotFoundError
from restore.pipelines.networks.instruct import GRID, SIDE, InstructConfig, InstructNet, token_ids
from restore.pipelines.paint.instruct import InstructPipeline
from restore.training.data.pairs import UNCLEAR, Rendered, Triplets, cell_labels, photo_pair
from restore.training.data.solids import Case, cover, random_case, random_scene, render
from restore.training.recipes.instruct import InstructTask, marked, one_step
from restore.training.tasks import load_recipe


@pytest.fixture(scope="module")
def net() -> InstructNet:
    """Small and random, but one that does change pictures."""
    torch.manual_seed(0)
    made = InstructNet(InstructConfig(outer=16, middle=16, inner=64, blocks=2, text=1))
    for p in made.parameters():
        if p.abs().sum() == 0:
            torch.nn.init.normal_(p, std=0.1)
    torch.nn.init.normal_(made.final.weight, std=0.2)
    made.final.bias.data[48:] = -1  # of the change mask: half of the pixels stay
    return made.eval()


@pytest.fixture(scope="module")
def pipeline(net: InstructNet) -> InstructPipeline:
    return InstructPipeline(net)


def photo(height: int, width: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).random((1, 3, height, width), np.float32))


def test_words_are_told_apart_and_their_form_is_not():
    first, second, third = token_ids(["Remove the CUP, please!", "remove the cup please", "remove the plate please"])
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert (first > 0).all()


def test_a_neighbour_in_the_batch_changes_nothing(net):
    x = photo(SIDE, SIDE) * 2 - 1
    short, long = "remove it", "please remove the large red cube that is left of the small blue ball"

    def told(texts: list[str]) -> torch.Tensor:
        n = len(texts)
        sources = x.expand(n, -1, -1, -1)
        return net.denoise(sources, sources, torch.full((n,), math.inf), *net.read(token_ids(texts))).target[0]

    with torch.no_grad():
        torch.testing.assert_close(told([short]), told([short, long]), atol=1e-5, rtol=0)


def test_locating_is_what_painting_locates(net):
    x = photo(SIDE, SIDE) * 2 - 1
    words, absent = net.read(token_ids(["remove the cup"]))
    with torch.no_grad():
        cells, kinds = net.locate(x, words, absent)
        whole = net.denoise(x, x, torch.tensor([math.inf]), words, absent)
    torch.testing.assert_close(cells, whole.cells)
    torch.testing.assert_close(kinds, whole.kinds)


def test_at_infinite_noise_the_noisy_picture_is_not_looked_at(net):
    x = photo(SIDE, SIDE) * 2 - 1
    words = net.read(token_ids(["remove the cup"]))
    with torch.no_grad():
        a, b = (net.denoise(x, y, torch.tensor([math.inf]), *words).target for y in (x, torch.full_like(x, 9.0)))
    assert torch.equal(a, b)


@pytest.mark.parametrize("size", [(97, 161), (128, 128), (300, 80)])
def test_pixels_outside_the_change_are_identical(pipeline, size):
    image = photo(*size)
    output = pipeline(image, "remove the cup")
    assert output.image.shape == image.shape
    still = (output.change <= 0.5).expand_as(image)
    assert 0.02 < still.float().mean() < 0.98  # otherwise nothing is tested
    assert torch.equal(output.image[still], image[still])
    assert not torch.equal(output.image, image)


def test_samples_follow_their_seed(pipeline):
    image = photo(64, 64)

    def drawn(seed: int) -> torch.Tensor:
        return pipeline(image, "remove it", num_inference_steps=3, generator=torch.Generator().manual_seed(seed)).small

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


def test_guidance_of_one_is_no_guidance_and_more_goes_further(pipeline):
    """eq. 3 of InstructPix2Pix, evaluated by hand on one step."""
    image = photo(SIDE, SIDE)
    net, x = pipeline.net, image * 2 - 1
    with torch.no_grad():
        full, seen, nothing = (
            net.denoise(x, x, torch.tensor([math.inf]), *net.read(token_ids([text])), shown).target
            for text, shown in (("remove it", None), ("", None), ("", torch.zeros_like(x)))
        )
    plain = pipeline(image, "remove it").small
    guided = pipeline(image, "remove it", guidance_scale=3.0, image_guidance_scale=1.5).small
    torch.testing.assert_close(plain, full / 2 + 0.5, atol=1e-5, rtol=0)
    expected = nothing + 1.5 * (seen - nothing) + 3.0 * (full - seen)
    torch.testing.assert_close(guided, expected / 2 + 0.5, atol=1e-4, rtol=0)


def test_what_is_saved_is_what_is_loaded(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    again = InstructPipeline.from_pretrained(tmp_path)
    image = photo(80, 80)
    assert again.net.config.inner == pipeline.net.config.inner
    a, b = (p(image, "remove it").change for p in (pipeline, again))
    torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


def test_a_rendered_pair_differs_where_its_cells_say():
    rng, checked = np.random.default_rng(0), 0
    for _ in range(20):
        pair = Rendered().sample(rng)
        assert pair.kinds.shape == (GRID, GRID)
        differs = np.abs(pair.source - pair.target).max(-1) > 0.05
        if pair.cells[0].any():
            y, x = np.unravel_index(pair.cells[0].argmax(), (GRID, GRID))
            step = SIDE // GRID
            assert differs[y * step : (y + 1) * step, x * step : (x + 1) * step].mean() > 0.3
            checked += 1
        else:
            assert not differs.any()
    assert checked > 10


def test_cells_hold_the_shares_that_a_solid_covers():
    scene = random_scene(np.random.default_rng(2))
    cells, kinds = cell_labels(scene, Case("", 1, 0))
    step = SIDE // GRID
    by_hand = cover(scene, 1, SIDE).reshape(GRID, step, GRID, step).mean((1, 3))
    np.testing.assert_allclose(cells[0], by_hand, atol=1e-6)
    assert set(np.unique(kinds)) - {0, UNCLEAR} <= set(range(1, 65))


def test_marked_names_the_solids_under_a_mask():
    scene = random_scene(np.random.default_rng(4))
    assert marked(scene, cover(scene, 0, SIDE)) == {0}
    assert marked(scene, np.zeros((SIDE, SIDE), bool)) == set()


def test_triplets_are_read_and_mirrored_only_where_words_allow(tmp_path):
    source = np.zeros((40, 40, 3), np.uint8)
    source[10:30, :10] = 255
    files = {}
    for key, text in (("000000", "remove the cat"), ("000001", "remove the cat on the left")):
        for name, pixels in (("source", source), ("target", np.zeros_like(source))):
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            files[f"{key}.{name}.png"] = buffer.getvalue()
        files[f"{key}.json"] = json.dumps({"instruction": text}).encode()
    with tarfile.open(tmp_path / "triplets-000000.tar", "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    pairs = [Triplets(tmp_path).sample(np.random.default_rng(seed)) for seed in range(40)]
    sides = {(p.text, bool(p.cells[0][:, 0].any())) for p in pairs}
    assert sides == {("remove the cat", True), ("remove the cat", False), ("remove the cat on the left", True)}


def test_an_unchanged_photo_pair_has_no_cells():
    image = np.full((50, 70, 3), 90, np.uint8)
    pair = photo_pair(image, image, "remove the dog")
    assert not pair.cells[:2].any()
    assert (pair.kinds == UNCLEAR).all()


def test_training_learns_one_scene_by_heart(tmp_path):
    """The network, overfitted to one pair, removes the named solid and leaves the others."""
    recipe = load_recipe("instruct")
    recipe["network"] = {"outer": 32, "middle": 32, "inner": 64, "blocks": 2, "text": 1, "kinds": 65}
    recipe |= {"batch": 1, "noisy_share": 0.0, "painted_share": 1.0, "no_text": 0.0, "no_image": 0.0}
    torch.manual_seed(0)
    task = InstructTask(recipe, [], tmp_path)
    scene = random_scene(np.random.default_rng(5))
    source, target = (render(s, SIDE) for s in (scene, scene.without(0)))
    cells, kinds = cell_labels(scene, Case("remove the first", 0))
    batch = task.batch(np.random.default_rng(0), 0.0)
    for name, value in (("source", source), ("target", target)):
        batch[name] = torch.from_numpy(value).permute(2, 0, 1)[None] * 2 - 1
    batch |= {"ids": token_ids(["remove the first"])}
    batch |= {"cells": torch.from_numpy(cells)[None], "kinds": torch.from_numpy(kinds)[None]}
    optimiser = torch.optim.Adam(task.net.parameters(), 3e-3)
    for _ in range(60):
        optimiser.zero_grad()
        task(batch)["loss"].backward()
        optimiser.step()
    told = one_step(task.net.eval(), source, "remove the first")
    assert marked(scene, told.change[0, 0].numpy() > 0) == {0}


def test_the_shipped_network_removes_what_is_named_and_keeps_the_rest():
    """Through the engine: simple instructions on scenes of a kind it was trained on, none of which it has seen."""
    engine, right = Engine("instruct", "cpu"), 0
    for seed in range(6):
        rng = np.random.default_rng([77, seed])
        scene = random_scene(rng)
        case = random_case(scene, rng, {"attributes": 1.0})
        image = (render(scene, SIDE) * 255).astype(np.uint8)
        result = engine.inpaint(image, prompt=case.text, passes=1, candidates=1)
        assert np.array_equal(result.image[~result.mask], image[~result.mask])
        right += marked(scene, result.mask) == {case.chosen}
    assert right >= 5


def test_what_is_not_there_is_not_removed():
    rng = np.random.default_rng(6)
    scene = random_scene(rng)
    case = random_case(scene, rng, {"irrelevant": 1.0})
    with pytest.raises(ObjectNotFoundError, match="changes nothing"):
        Engine("instruct", "cpu").inpaint((render(scene, SIDE) * 255).astype(np.uint8), prompt=case.text)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"prompt": "add a dog"}, "expected an instruction to remove"),
        ({"box": (1, 1, 9, 9)}, "told by words"),
        ({"prompt": "remove the cube", "point": (3, 3)}, "got a point"),
    ],
)
def test_requests_it_cannot_follow_are_refused(request_, message):
    with pytest.raises(InputError, match=message):
        Engine("instruct", "cpu").inpaint(np.zeros((64, 64, 3), np.uint8), **request_)
