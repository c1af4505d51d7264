"""The shift map: exact moves, periodic and mirrored pictures, forbidden sources, determinism."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from restore.errors import InputError
from restore.pipelines.fill.expansion import FORBIDDEN, UNITS, Expansion
from restore.pipelines.fill.shift_map import ShiftMapOptions, offsets, solve
from restore.pipelines.fill.transforms import LINEAR, TURNED

OPTIONS = ShiftMapOptions()


def hole(h: int, w: int, top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros((h, w), bool)
    mask[top : top + height, left : left + width] = True
    return mask


def noise(h: int, w: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((h, w, 3), dtype=np.float32)


def grey(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.where(mask[..., None], np.float32(0.5), image)


def energy(mask: np.ndarray, colour: np.ndarray, unary: np.ndarray, labels: np.ndarray) -> float:
    """The energy written out pixel by pixel, straight from its definition."""
    place = {yx: i for i, yx in enumerate(zip(*np.nonzero(mask), strict=True))}
    total = sum(float(unary[labels[i], i]) for i in place.values())
    for (y, x), p in place.items():
        for q in (place.get((y, x + 1)), place.get((y + 1, x))):
            if q is not None:
                a, b = labels[p], labels[q]
                total += float(np.linalg.norm(colour[a, p] - colour[b, p]))
                total += float(np.linalg.norm(colour[a, q] - colour[b, q]))
    return total


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("weight", [0.1, 0.6, 2.0])  # seams rule, both matter, pixels rule
def test_a_move_is_the_best_of_all_moves(seed: int, weight: float) -> None:
    rng = np.random.default_rng(seed)
    mask = np.ones((3, 3), bool)
    mask[0, 0] = mask[2, 1] = False
    n, k, alpha = 7, 4, 2
    colour = rng.random((k, n, 3), dtype=np.float32)
    unary = weight * rng.random((k, n), dtype=np.float32)
    allowed = rng.random((k, n)) < 0.8
    labels = rng.integers(0, k, n).astype(np.int32)
    allowed[labels, np.arange(n)] = True
    priced = np.where(allowed, unary, FORBIDDEN)
    best = min(
        energy(mask, colour, priced, np.where(take, alpha, labels))
        for take in itertools.product([False, True], repeat=n)
    )
    Expansion(mask, colour, unary, allowed).expand(labels, alpha)
    assert energy(mask, colour, priced, labels) == pytest.approx(best, abs=30 / UNITS)


@pytest.mark.parametrize("seed", range(3))
def test_successive_moves_on_one_object_stay_exact(seed: int) -> None:
    """What one move leaves behind (anything remembered between moves) must not spoil the next."""
    rng = np.random.default_rng(seed)
    mask, n, k = np.ones((2, 4), bool), 8, 5
    colour, unary = rng.random((k, n, 3), dtype=np.float32), 0.4 * rng.random((k, n), dtype=np.float32)
    labels = rng.integers(0, k, n).astype(np.int32)
    expansion = Expansion(mask, colour, unary, np.ones((k, n), bool))
    for alpha in (0, 1, 2, 3, 4, 0, 3):
        best = min(
            energy(mask, colour, unary, np.where(take, alpha, labels))
            for take in itertools.product([False, True], repeat=n)
        )
        expansion.expand(labels, alpha)
        assert energy(mask, colour, unary, labels) == pytest.approx(best, abs=30 / UNITS)


def test_energy_and_seam_cost_are_as_defined() -> None:
    rng = np.random.default_rng(5)
    mask = hole(6, 6, 1, 1, 4, 3)
    n = int(mask.sum())
    colour, unary = rng.random((3, n, 3), dtype=np.float32), rng.random((3, n), dtype=np.float32)
    labels = rng.integers(0, 3, n).astype(np.int32)
    expansion = Expansion(mask, colour, unary, np.ones((3, n), bool))
    expected = energy(mask, colour, unary, labels)
    assert expansion.energy(labels) == pytest.approx(expected, rel=1e-5)
    seams = expected - unary[labels, np.arange(n)].sum()
    assert expansion.seam_cost(labels).sum() == pytest.approx(seams, rel=1e-5)


def test_a_periodic_texture_is_continued_perfectly() -> None:
    image = np.tile(noise(12, 14), (6, 5, 1))
    mask = hole(72, 70, 27, 25, 20, 18)
    given = grey(image, mask)
    result = solve(given, mask, given, offsets(given, mask, OPTIONS), ShiftMapOptions(lam=0.05))
    assert np.array_equal(given[result.source_y, result.source_x], image)
    assert result.seam_cost.max() == 0


def test_a_symmetric_picture_is_completed_by_a_mirror() -> None:
    half = noise(64, 32)
    image = np.concatenate([half, half[:, ::-1]], 1)
    mask = hole(64, 64, 20, 40, 16, 16)
    given = grey(image, mask)
    result = solve(given, mask, given, offsets(given, mask, OPTIONS), ShiftMapOptions(lam=0.05))
    assert result.mirrored[result.label[mask]].all()
    assert np.array_equal(given[result.source_y, result.source_x], image)


def waves(at: np.ndarray, seed: int = 0) -> np.ndarray:
    """A texture without a period, wavelengths of 5 to 16 pixels, at points (..., 2): (..., 3) in [0, 1]."""
    rng = np.random.default_rng(seed)
    angle, length, phase = rng.uniform(0, np.pi, 12), rng.uniform(5, 16, 12), rng.uniform(0, 6, 12)
    along = at @ np.stack([np.sin(angle), np.cos(angle)]) * 2 * np.pi / length + phase
    return (0.5 + np.sin(along) @ rng.normal(0, 0.06, (12, 3))).clip(0, 1).astype(np.float32)


@pytest.mark.parametrize("kind", TURNED)
def test_a_texture_that_comes_back_scaled_or_turned_is_continued(kind: int) -> None:
    """Left of the middle the texture itself, right of it the same texture seen through the map."""
    at = np.moveaxis(np.indices((72, 128)), 0, -1).astype(float)
    shift = np.rint((36, 32) - LINEAR[kind] @ (36, 96))  # the centres of both halves
    image = np.where(at[..., 1:] < 64, waves(at), waves(at @ LINEAR[kind].T + shift))
    mask = hole(72, 128, 28, 88, 16, 16)
    given = grey(image, mask)
    error, energy = {}, {}
    for turned in (0, 6):
        options = ShiftMapOptions(lam=0.05, turned=turned)
        labels = offsets(given, mask, options)
        result = solve(given, mask, given, labels, options)
        brought = labels.colour[result.label[mask], np.arange(mask.sum())]
        error[turned], energy[turned] = np.abs(brought - image[mask]).mean(), result.energy
    assert result.moves.kind[result.label[mask]].tolist().count(kind) > 0.8 * mask.sum()
    assert error[6] < 0.005
    assert error[0] > 0.05
    assert energy[6] < 0.5 * energy[0]


@pytest.mark.parametrize("seed", range(4))
def test_scales_and_rotations_never_raise_the_energy(seed: int) -> None:
    image = (0.3 * noise(56, 64, seed) + 0.7 * waves(np.moveaxis(np.indices((56, 64)), 0, -1), seed)).astype(np.float32)
    mask, energies = hole(56, 64, 20, 22, 16, 18), []
    for turned in (0, 6):
        options = ShiftMapOptions(turned=turned)
        energies.append(solve(image, mask, grey(image, mask), offsets(image, mask, options), options).energy)
    assert energies[1] <= energies[0]


def test_sources_are_known_and_never_barred_and_the_hole_s_content_is_never_read() -> None:
    image, mask = noise(48, 48), hole(48, 48, 16, 16, 16, 16)
    barred = np.zeros_like(mask)
    barred[:, 32:] = True
    results = []
    for content in (0.0, 1.0):
        given = np.where(mask[..., None], np.float32(content), image)
        guide = grey(image, mask)
        results.append(solve(given, mask, guide, offsets(given, mask, OPTIONS, barred), OPTIONS))
    for result in results:
        assert not barred[result.source_y, result.source_x][mask].any()
        assert not mask[result.source_y, result.source_x].any()
    assert np.array_equal(results[0].label, results[1].label)


def test_outside_the_hole_every_pixel_is_its_own_source() -> None:
    image, mask = noise(40, 32), hole(40, 32, 10, 10, 8, 9)
    result = solve(image, mask, image, offsets(image, mask, OPTIONS), OPTIONS)
    y, x = np.indices(mask.shape)
    assert np.array_equal(result.source_y[~mask], y[~mask])
    assert np.array_equal(result.source_x[~mask], x[~mask])
    assert (result.label[~mask] == -1).all()
    assert (result.label[mask] >= 0).all()


def test_a_penalty_sends_the_sources_elsewhere() -> None:
    image = np.tile(noise(12, 12), (5, 6, 1))
    mask = hole(60, 72, 24, 30, 12, 12)
    given = grey(image, mask)
    labels = offsets(given, mask, OPTIONS)
    left = np.zeros(mask.shape, np.float32)
    left[:, :36] = 5
    for penalty in (left, left[:, ::-1]):  # whichever side was free, the other one is chosen
        result = solve(given, mask, given, labels, OPTIONS, penalty=np.ascontiguousarray(penalty))
        assert penalty[result.source_y, result.source_x][mask].max() == 0


def test_the_guide_chooses_between_equal_textures() -> None:
    image = np.full((48, 96, 3), 0.2, np.float32)
    image[:, 48:] = 0.8
    image += 0.05 * noise(48, 96)
    mask = hole(48, 96, 16, 40, 16, 16)
    labels = offsets(grey(image, mask), mask, OPTIONS)
    for tone in (0.225, 0.825):
        guide = np.where(mask[..., None], np.float32(tone), image)
        result = solve(grey(image, mask), mask, guide, labels, ShiftMapOptions(lam=20.0))
        inner = hole(48, 96, 20, 44, 8, 8)  # near its edge the guide's blur mixes in what lies around
        assert np.abs(image[result.source_y, result.source_x][inner] - tone).max() < 0.1


def test_the_same_seed_gives_the_same_map() -> None:
    image, mask = noise(48, 40), hole(48, 40, 14, 12, 14, 14)
    guide, runs = grey(image, mask), []
    for _ in range(2):
        labels = offsets(image, mask, OPTIONS)
        runs.append(solve(image, mask, guide, labels, OPTIONS, rng=np.random.default_rng(7)))
    assert np.array_equal(runs[0].label, runs[1].label)
    assert runs[0].energy == runs[1].energy


def test_a_hole_that_leaves_one_pixel_is_filled_from_it() -> None:
    image, mask = noise(9, 9), np.ones((9, 9), bool)
    mask[4, 4] = False
    result = solve(image, mask, image, offsets(image, mask, OPTIONS), OPTIONS)
    assert (result.source_y == 4).all()
    assert (result.source_x == 4).all()


def test_unusable_input_is_refused() -> None:
    image, mask = noise(16, 16), hole(16, 16, 4, 4, 4, 4)
    with pytest.raises(InputError, match="known pixels"):
        offsets(image, mask, OPTIONS, barred=~mask)
    with pytest.raises(InputError, match="empty mask"):
        offsets(image, np.zeros_like(mask), OPTIONS)
    with pytest.raises(InputError, match="image and an"):
        offsets(image[..., 0], mask, OPTIONS)
    with pytest.raises(InputError, match="guide of shape"):
        solve(image, mask, image[:8], offsets(image, mask, OPTIONS), OPTIONS)
