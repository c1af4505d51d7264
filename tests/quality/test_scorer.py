"""The quality scorer: its distortion ladders, network, losses and grid of crops."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from conftest import make_scene

from restore.errors import InputError
from restore.features.lite0 import Lite0, trained_lite0
from restore.quality.judges.scorer import CROP, MOST, Scorer, grid_crops
from restore.quality.judges.scorer_net import TAPS, CascadedGroupAttention, ScorerNet, crop_features
from restore.training.data.distortions import DISTORTIONS, HELD_OUT, LEVELS, TRAINED, distort
from restore.training.recipes.scorer import (
    RUNGS,
    ScorerTask,
    ladder_hinge,
    pairs_in_order,
    similarity,
    teacher,
    to_tensor,
)
from restore.training.tasks import load_recipe
from restore.weights.store import load_weights, manifest


def make_texture(side: int, seed: int = 0) -> np.ndarray:
    """Grains of all sizes in all colours, (side, side, 3) uint8: nothing regular that a shift could land on."""
    rng, total = np.random.default_rng(seed), np.zeros((side, side, 3))
    for sigma in (1, 2, 4, 8, 16):
        grain = cv2.GaussianBlur(rng.normal(size=(side, side, 3)), (0, 0), sigma)
        total += grain / grain.std()
    return (120 + 20 * total).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def lite0() -> Lite0:
    return trained_lite0()


@pytest.fixture(scope="module")
def scorer(lite0: Lite0) -> Scorer:
    return Scorer(load_weights("scorer"), lite0)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> ScorerTask:
    folder = tmp_path_factory.mktemp("photos")
    for i in range(4):
        cv2.imwrite(str(folder / f"{i}.png"), make_scene(130 + 10 * i, 200, i)[..., ::-1])
    torch.manual_seed(0)
    return ScorerTask(load_recipe("scorer") | {"batch": 2, "size": 48}, [folder], tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize("name", DISTORTIONS)
def test_ladder_gets_worse_step_by_step(name: str) -> None:
    photo = make_texture(144)
    rungs = [distort(name, photo, level, seed=7) for level in range(RUNGS)]
    assert np.array_equal(rungs[0], photo)
    assert all(r.shape == photo.shape and r.dtype == np.uint8 for r in rungs)
    errors = [float(np.square(r.astype(float) - photo).mean()) for r in rungs]
    assert all(np.diff(errors) > 0), errors


@pytest.mark.parametrize("name", DISTORTIONS)
def test_ladder_depends_on_the_seed_only(name: str) -> None:
    photo = make_scene(64, 64)
    before = photo.copy()
    assert np.array_equal(distort(name, photo, 3, seed=1), distort(name, photo, 3, seed=1))
    assert np.array_equal(photo, before)


def test_random_faults_are_nested_between_levels() -> None:
    photo = np.full((64, 64, 3), 100, np.uint8)
    for level in range(1, LEVELS):
        weak, strong = (distort("impulse_noise", photo, k, seed=2) != photo for k in (level, level + 1))
        assert (strong | ~weak).all()


def test_there_are_enough_distortions_and_some_are_kept_out() -> None:
    assert len(TRAINED) >= 12
    assert len(HELD_OUT) == 3
    assert not set(TRAINED) & set(HELD_OUT)


def test_blur_and_exposure_have_their_physical_meaning() -> None:
    point = np.zeros((65, 65, 3), np.uint8)
    point[32, 32] = 255
    blurred = distort("gaussian_blur", point, 3, 0).astype(float)[..., 0]
    y = np.arange(65) - 32
    assert np.sqrt((blurred.sum(1) * y**2).sum() / blurred.sum()) == pytest.approx(1.6, rel=0.1)
    grey = np.full((32, 32, 3), 100, np.uint8)
    light = (grey[0, 0, 0] / 255 + 0.055) / 1.055
    stops = np.log2(((distort("over_exposure", grey, 2, 0)[0, 0, 0] / 255 + 0.055) / 1.055) ** 2.4 / light**2.4)
    assert stops == pytest.approx(1.3, abs=0.02)


def test_unknown_distortions_and_levels_are_refused() -> None:
    photo = make_scene(32, 32)
    with pytest.raises(InputError, match="got 'fog'"):
        distort("fog", photo, 1, 0)
    with pytest.raises(InputError, match="from 0 to 5, got 6"):
        distort("jpeg", photo, 6, 0)
    with pytest.raises(InputError, match="uint8"):
        distort("jpeg", photo.astype(np.float32), 1, 0)
    with pytest.raises(InputError, match="sides of 32 pixels or more, got 40×31"):
        distort("jpeg", make_scene(31, 40), 1, 0)


def test_hinge_is_zero_beyond_the_margin_and_counts_all_pairs() -> None:
    assert ladder_hinge(torch.tensor([[0.9, 0.6, 0.3]]), 0.1) == 0
    # Pairs (0,1), (0,2) are right by .5 and .2; (1,2) is wrong by .3: hinge .1 + .3.
    assert ladder_hinge(torch.tensor([[0.9, 0.4, 0.7]]), 0.1).item() == pytest.approx(0.4 / 3)
    assert pairs_in_order(torch.tensor([[3.0, 1.0, 2.0], [3.0, 2.0, 1.0]])).tolist() == pytest.approx([2 / 3, 1])


def test_similarity_of_scaled_contrast_has_its_closed_form() -> None:
    """Of y = a·x + b the covariance is a·σ² and the variance a²·σ²; uniform noise has σ² = 1/12."""
    x = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)).expand(1, 3, 64, 64)
    for share, offset in ((1.0, 0.2), (0.5, 0.3), (0.2, 0.0)):
        expected = (2 * share / 12 + 0.03**2) / ((1 + share**2) / 12 + 0.03**2)
        assert similarity(share * x + offset, x, scales=1).item() == pytest.approx(expected, abs=0.002)
    assert similarity(1 - x, x, scales=1).item() == pytest.approx(-1, abs=0.02)


def test_teacher_gives_the_photo_100_and_ladders_their_order(lite0: Lite0) -> None:
    photo = make_scene(64, 64)
    rungs = to_tensor(np.stack([distort("gaussian_blur", photo, level, 0) for level in range(RUNGS)]))
    features = crop_features(lite0, rungs)
    truth = torch.zeros(RUNGS, dtype=torch.long)
    score, distances = teacher(rungs, rungs[truth], features, [f[truth] for f in features])
    assert score[0].item() == pytest.approx(100, abs=1e-3)
    assert distances[0].max() < 1e-6
    assert distances.shape == (RUNGS, 16, len(TAPS))
    assert (score.diff() < 0).all()
    assert (score >= 0).all()


def test_heads_cascade() -> None:
    torch.manual_seed(0)
    attention = CascadedGroupAttention(16, 4)
    x = torch.randn(1, 5, 16)
    with torch.no_grad():
        before = attention.mix.weight.copy_(torch.eye(16)) is not None and attention(x)
        x[..., :4] += 1  # the first head's channels reach every later head
        after = attention(x)
    changed = (after - before).abs().amax((0, 1)).view(4, 4).amax(1)
    assert (changed > 1e-6).all()
    order = torch.randperm(5)
    assert torch.allclose(attention(x[:, order]), after[:, order], atol=1e-6)


def test_neighbours_in_a_batch_never_change_a_score(lite0: Lite0) -> None:
    torch.manual_seed(1)
    net = ScorerNet().eval()
    x = to_tensor(np.stack([make_scene(64, 64, i) for i in range(4)]))
    with torch.no_grad():
        together, _ = net(x, crop_features(lite0, x))
        alone = torch.cat([net(x[i : i + 1], crop_features(lite0, x[i : i + 1]))[0] for i in range(4)])
    assert together.std() > 1e-3
    assert torch.allclose(together, alone, atol=1e-3)


@pytest.mark.parametrize(("height", "width"), [(128, 128), (129, 300), (60, 500), (900, 2000), (1, 1)])
def test_grid_covers_the_photo_at_native_size(height: int, width: int) -> None:
    index = np.arange(height * width).reshape(height, width)
    crops = grid_crops(index)
    assert {c.shape for c in crops} == {(min(height, CROP), min(width, CROP))}
    assert len(crops) <= MOST**2
    covered = np.zeros(height * width, bool)
    covered[np.concatenate([c.ravel() for c in crops])] = True
    covered = covered.reshape(height, width)
    assert covered[0, 0]
    assert covered[-1, -1]
    assert covered.all() or max(height, width) > MOST * CROP


def test_batches_are_seeded_ladders_that_begin_with_the_photo(task: ScorerTask) -> None:
    a, b = (task.batch(np.random.default_rng(5), 0.0) for _ in range(2))
    assert torch.equal(a["image"], b["image"])
    assert a["image"].shape == (2 * RUNGS, 3, 48, 48)
    assert a["distil"] == 0
    assert task.batch(np.random.default_rng(5), 1.0)["distil"] == 1
    ladder = a["image"].view(2, RUNGS, -1)
    away = (ladder - ladder[:, :1]).square().mean(2)
    assert (away.diff(dim=1) > 0).all()


def test_photos_kept_out_are_never_drawn(task: ScorerTask, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    fetch = type(task.cache).__getitem__
    monkeypatch.setattr(type(task.cache), "__getitem__", lambda self, i: drawn.append(i) or fetch(self, i))
    for k in range(10):
        task.batch(np.random.default_rng(k), 0.0)
    assert set(drawn) == set(range(len(task.cache) - task.held))


def test_training_learns_the_order(task: ScorerTask) -> None:
    optimiser = torch.optim.Adam(task.net.parameters(), 3e-3)
    batch = task.batch(np.random.default_rng(0), 1.0)
    first = task(batch)
    for _ in range(5):
        losses = task(batch)
        optimiser.zero_grad()
        losses["loss"].backward()
        optimiser.step()
    assert losses["loss"] < 0.8 * first["loss"]
    assert losses["order"] > max(0.8, float(first["order"]))
    assert all(not p.requires_grad for p in task.lite0.parameters())


def test_shipped_scorer_ranks_a_scene_it_never_saw(scorer: Scorer) -> None:
    photo = make_scene(128, 128, 9)
    right = []
    for name in ("gaussian_blur", "gaussian_noise", "jpeg", "impulse_noise"):
        scores = [scorer(distort(name, photo, level, 3)) for level in (0, 2, 5)]
        assert all(0 <= s <= 100 for s in scores)
        right += [scores[0] > scores[1], scores[1] > scores[2]]
    assert sum(right) >= 7


def test_scores_repeat_and_bear_any_size(scorer: Scorer) -> None:
    photo = make_scene(140, 200)
    assert scorer(photo) == scorer(photo.copy())
    assert abs(scorer(photo) - scorer(np.ascontiguousarray(photo[:, ::-1]))) < 8
    for shape in ((1, 1), (5, 300), (127, 16)):
        assert 0 <= scorer(make_scene(*shape)) <= 100


def test_other_arrays_are_refused(scorer: Scorer) -> None:
    for wrong in (np.zeros((64, 64), np.uint8), np.zeros((64, 64, 4), np.uint8), np.zeros((64, 64, 3), np.float32)):
        with pytest.raises(InputError, match="uint8"):
            scorer(wrong)


def test_shipped_head_is_small() -> None:
    assert manifest()["scorer"]["bytes"] < 3_000_000
