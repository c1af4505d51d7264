"""Painting into a shape: what may change does, what may not does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import restore
from restore.errors import InputError
from restore.grounding.painting import paintable
from restore.pipelines.networks.draft import DraftConfig, DraftNet
from restore.pipelines.networks.instruct import token_ids
from restore.pipelines.networks.shape import ShapeNet
from restore.pipelines.paint.shape import ShapePipeline
from restore.pipelines.push_pull import push_pull
from restore.training.data.scenes import Cutout, common_names
from restore.training.recipes.shape import dice, imprecise, rendered_object, take_draft, view
from restore.weights.store import load_weights


@pytest.fixture(scope="module")
def pipeline() -> ShapePipeline:
    torch.manual_seed(0)
    net = ShapeNet(DraftConfig(outer=16, inner=32, blocks=(1, 1, 1), attention=1))
    for p in net.parameters():
        if p.abs().sum() == 0:
            torch.nn.init.normal_(p, std=0.1)
    torch.nn.init.normal_(net.draft.final.weight, std=0.3)
    return ShapePipeline(net)


def scene(height: int, width: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).random((1, 3, height, width), np.float32))


def box(height: int, width: int, y: int, x: int, h: int, w: int) -> torch.Tensor:
    mask = torch.zeros(1, 1, height, width)
    mask[..., y : y + h, x : x + w] = 1
    return mask


@pytest.mark.parametrize(
    ("size", "where"),
    [
        ((90, 150), (20, 40, 30, 50)),
        ((64, 64), (0, 0, 64, 64)),
        ((200, 40), (100, 0, 90, 40)),
        ((70, 300), (3, 1, 60, 299)),
    ],
)
def test_only_the_object_inside_the_shape_changes(pipeline, size, where):
    image, mask = scene(*size), box(*size, *where)
    output = pipeline(image, mask, "dog")
    assert output.image.shape == image.shape
    assert not output.instance[mask == 0].any()
    still = (output.instance == 0).expand_as(image)
    assert torch.equal(output.image[still], image[still])
    assert not torch.equal(output.image, image)
    assert 0 <= output.confidence <= 1


def test_variants_follow_their_seed(pipeline):
    image, mask = scene(64, 64), box(64, 64, 10, 10, 40, 40)

    def drawn(seed: int) -> torch.Tensor:
        return pipeline(image, mask, "cat", generator=torch.Generator().manual_seed(seed)).image

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


def test_the_words_and_the_precision_are_heard(pipeline):
    image, mask = scene(64, 64), box(64, 64, 10, 10, 40, 40)
    plain = pipeline(image, mask, "cat", precision=0.5).image
    assert not torch.equal(plain, pipeline(image, mask, "dog", precision=0.5).image)
    assert not torch.equal(plain, pipeline(image, mask, "cat", precision=1.0).image)


def test_what_stood_in_the_shape_is_not_looked_at(pipeline):
    """Only the shape is noised, all of it: its old pixels show through nowhere but outside the outline."""
    image, mask = scene(64, 64), box(64, 64, 10, 10, 40, 40)
    other = torch.where(mask > 0, 1 - image, image)
    a, b = (pipeline(x, mask, "cat") for x in (image, other))
    assert torch.equal(a.instance, b.instance)
    inside = (a.instance == 1).expand_as(image)
    assert inside.any()
    torch.testing.assert_close(a.image[inside], b.image[inside], atol=1e-6, rtol=0)


def test_bad_shapes_are_refused(pipeline):
    with pytest.raises(InputError, match="empty mask"):
        pipeline(scene(32, 32), torch.zeros(1, 1, 32, 32), "cat")
    with pytest.raises(InputError, match="precision"):
        pipeline(scene(32, 32), box(32, 32, 4, 4, 9, 9), "cat", precision=1.5)


def test_what_is_saved_is_what_is_loaded(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    image, mask = scene(40, 40), box(40, 40, 4, 4, 30, 30)
    a, b = (p(image, mask, "cat").image for p in (pipeline, ShapePipeline.from_pretrained(tmp_path)))
    torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


def test_it_starts_as_the_draft_network():
    """Before training the same picture comes out, whatever the words and the precision."""
    weights = load_weights("draft")
    draft = DraftNet.from_weights(weights)
    net = ShapeNet(draft.config)
    take_draft(net, weights)
    x, mask = torch.nn.functional.interpolate(scene(8, 8), size=64), box(64, 64, 20, 20, 24, 24)
    with torch.no_grad():
        expected, error = draft.draft(x, mask)
        smooth, unseen = push_pull(x, mask) * 2 - 1, torch.full((1,), torch.inf)
        condition = net.eval().condition(token_ids(["dog"]), torch.tensor([0.3]))
        told = net.denoise(smooth, unseen, smooth, mask, condition)
        clean = torch.where(mask > 0, told.clean / 2 + 0.5, x).clamp(0, 1)
    torch.testing.assert_close(clean, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(told.error / 2, error, atol=1e-4, rtol=0)


def test_precision_widens_a_shape_from_its_outline_to_its_box():
    rng = np.random.default_rng(0)
    instance = np.zeros((128, 128), np.uint8)
    yy, xx = np.mgrid[:128, :128]
    instance[(yy - 60) ** 2 / 900 + (xx - 70) ** 2 / 300 < 1] = 1
    assert imprecise(instance, 0.0) is instance
    areas = [int(imprecise(instance, s).sum()) for s in (0.0, 0.25, 0.5, 0.75)]
    assert areas == sorted(areas)
    assert areas[0] < areas[1]
    for s in (*rng.random(5), 1.0):
        assert (imprecise(instance, float(s)) >= instance).all()
    ys, xs = np.nonzero(instance)
    assert imprecise(instance, 1.0).sum() == (np.ptp(ys) + 1) * (np.ptp(xs) + 1)
    assert not imprecise(np.zeros_like(instance), 1.0).any()


def test_dice_is_zero_for_the_same_mask_and_near_one_for_another():
    a = box(20, 20, 0, 0, 10, 20)
    assert dice(a, a).item() == pytest.approx(0, abs=1e-6)
    assert dice(a, 1 - a).item() == pytest.approx(1 - 1 / 401)


def test_a_view_shows_the_instance_and_only_the_photo():
    rng = np.random.default_rng(0)
    image = rng.integers(1, 255, (90, 140, 3), dtype=np.uint8)
    mask = np.zeros((90, 140), np.uint8)
    mask[30:70, 100:135] = 1
    for _ in range(20):
        shown, instance = view(Cutout("x", image, mask, "human", ("person",)), 64, rng)
        assert shown.shape == (64, 64, 3)
        assert 0.03 < instance.mean() < 0.95
        assert (shown > 0).all()  # no border was made up


def test_a_rendered_object_is_named_by_what_it_is():
    for seed in range(10):
        image, instance, name = rendered_object(64, np.random.default_rng(seed))
        assert image.shape == (64, 64, 3)
        assert instance.any()
        assert name.split()[-1] in ("ball", "cube", "cylinder", "cone")


def test_a_beagle_is_also_a_dog():
    blank = np.zeros((4, 4), np.uint8)
    cuts = [Cutout("x", blank, blank, "model", (name,)) for name in ("beagle", "cat", "espresso maker")]
    assert common_names(cuts, ["cat", "dog"]) == [["beagle", "dog"], ["cat"], ["espresso maker"]]


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ("a dog", "dog"),
        ("a puppy", "dog"),
        ("the tabby cat", "cat"),
        ("a woman", "person"),
        ("a small red cube", "small red cube"),
    ],
)
def test_things_are_painted_under_the_name_they_were_learnt_by(subject, name):
    assert paintable(subject) == name


@pytest.mark.parametrize(
    "subject", ["a spaceship", "a hat", "a qwertyuiop", "", "a black dog", "a man with a ball", "a wooden cube"]
)
def test_things_never_learnt_are_refused(subject):
    with pytest.raises(InputError, match="expected to add one of cat, dog"):
        paintable(subject)


def test_an_object_is_added_in_its_box_and_nowhere_else():
    image = np.random.default_rng(0).integers(90, 120, (120, 160, 3), dtype=np.uint8)
    engine = restore.Engine("builtin", "cpu")
    first, second = (
        engine.inpaint(image, prompt="add a cat", box=(40, 30, 70, 60), passes=1, candidates=2) for _ in range(2)
    )
    outside = np.ones((120, 160), bool)
    outside[30:90, 40:110] = False
    assert np.array_equal(first.image[outside], image[outside])
    assert not np.array_equal(first.image, image)
    assert np.array_equal(first.image, second.image)
    assert first.presence is not None
    assert first.presence.wanted
    assert first.summary()["presence"]["object"] == "a cat"


def test_something_never_learnt_is_refused_before_anything_is_looked_for():
    with pytest.raises(InputError, match="--model sd15-inpaint"):
        restore.inpaint(np.zeros((40, 40, 3), np.uint8), prompt="add a spaceship", box=(5, 5, 20, 20))
