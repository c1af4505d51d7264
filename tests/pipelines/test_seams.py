"""Full-size composition and seam closing, against direct computations."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from restore.errors import InputError
from restore.pipelines.fill import seams
from restore.pipelines.fill.seams import Composite, close_seams, compose, shrink
from restore.pipelines.fill.shift_map import ShiftMap, ShiftMapOptions, offsets, solve
from restore.pipelines.fill.transforms import LINEAR, MIRRORED, SHIFTED, TURNED, Transforms

OPTIONS = ShiftMapOptions()


def smooth_photo(h: int, w: int, seed: int = 0) -> np.ndarray:
    """Slow waves with some grain, in [0, 1]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:h, :w] / max(h, w)
    waves = [0.5 + 0.3 * np.sin(9 * (a * y + b * x)) for a, b in rng.normal(size=(3, 2))]
    return (np.stack(waves, -1) + 0.03 * rng.normal(size=(h, w, 3))).clip(0, 1).astype(np.float32)


def hole(h: int, w: int, top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros((h, w), bool)
    mask[top : top + height, left : left + width] = True
    return mask


def solved(image: np.ndarray, mask: np.ndarray) -> ShiftMap:
    return solve(image, mask, image, offsets(image, mask, OPTIONS), OPTIONS)


def one_move(mask: np.ndarray, kind: int, dy: int, dx: int) -> ShiftMap:
    moves = Transforms.shifts(np.array([dy]), np.array([dx]), kind)
    label = np.where(mask, 0, -1).astype(np.int32)
    return ShiftMap(label, label, label, moves, 0.0, np.zeros(mask.shape, np.float32))


def test_at_its_own_size_the_composite_is_the_working_size_result() -> None:
    image, mask = smooth_photo(48, 56), hole(48, 56, 16, 20, 14, 15)
    labels = offsets(image, mask, OPTIONS)
    result = solve(image, mask, image, labels, OPTIONS)
    assert result.moves.turned[result.label[mask]].any()
    brought = labels.colour[result.label[mask], np.arange(mask.sum())]
    assert np.array_equal(compose(image, mask, result).image[mask], brought)


@pytest.mark.parametrize("scale", [2, 3])
def test_full_size_pixels_come_from_the_scaled_shift_and_mirror(scale: int) -> None:
    small = hole(20, 24, 8, 14, 4, 5)
    mask = small.repeat(scale, 0).repeat(scale, 1)
    image = smooth_photo(20 * scale, 24 * scale)
    y, x = np.nonzero(mask)
    shifted = compose(image, mask, one_move(small, SHIFTED, -5, -7)).image
    assert np.array_equal(shifted[mask], image[y - 5 * scale, x - 7 * scale])
    mirrored = compose(image, mask, one_move(small, MIRRORED, 2, 23)).image  # mirrored about the middle
    assert np.array_equal(mirrored[mask], image[y + 2 * scale, 24 * scale - 1 - x])


@pytest.mark.parametrize("kind", TURNED)
def test_scaled_and_turned_pixels_come_from_between_those_of_the_full_size_picture(kind: int) -> None:
    """Stripes of 5 pixels are lost at a quarter of the size: they can only come from the full-size picture."""
    mask = hole(160, 240, 64, 140, 24, 28)
    y, x = np.mgrid[:160, :240]

    def stripes(y: np.ndarray, x: np.ndarray) -> np.ndarray:
        return (0.5 + 0.4 * np.sin(2 * np.pi * (np.stack([y, x, y + x], -1) / (5, 6, 9)))).astype(np.float32)

    image = np.where(mask[..., None], np.float32(9), stripes(y, x))
    small = hole(40, 60, 16, 35, 6, 7)
    found = compose(image, mask, one_move(small, kind, *(np.array([20, 18]) - LINEAR[kind] @ (19, 38)).astype(int)))
    points = found.moves.points(np.zeros(mask.sum(), int), np.argwhere(mask))
    assert points.min(0)[1] > 2
    assert np.abs(found.image[mask] - stripes(*points.T)).max() < 0.08
    low = cv2.resize(cv2.resize(stripes(y, x), (60, 40), interpolation=cv2.INTER_AREA), (240, 160))
    assert low.std() < 0.5 * found.image[mask].std()
    assert close_seams(found)[~mask].tobytes() == image[~mask].tobytes()


@pytest.mark.parametrize("size", [(101, 131), (97, 200)])
def test_odd_sizes_use_known_pixels_only(size: tuple[int, int]) -> None:
    """At scales that are no whole numbers some sources round into the hole: they must be replaced."""
    image, mask = smooth_photo(*size), hole(*size, 30, 41, 33, 37)
    image[mask] = 9.0  # must never be seen
    small, small_mask = shrink(image, mask, 48)
    assert small.max() <= 1
    composite = compose(image, mask, solved(small, small_mask))
    assert composite.image.max() <= 1
    assert close_seams(composite).max() <= 1


def test_a_move_that_works_nowhere_falls_back_to_the_nearest_known_pixels() -> None:
    image, mask = smooth_photo(12, 12), hole(12, 12, 4, 4, 4, 4)
    filled = compose(image, mask, one_move(mask, SHIFTED, 100, 100)).image
    known = {tuple(c) for c in image[~mask].tolist()}
    assert all(tuple(c) in known for c in filled[mask].tolist())


def test_known_pixels_are_identical_and_inputs_untouched() -> None:
    image, mask = smooth_photo(60, 60), hole(60, 60, 20, 20, 20, 20)
    before = image.copy()
    closed = close_seams(compose(image, mask, solved(image, mask)))
    assert closed[~mask].tobytes() == image[~mask].tobytes()
    assert image.tobytes() == before.tobytes()


def dense_solution(composite: Composite, screen: float) -> np.ndarray:
    """The quadratic of `close_seams` written out edge by edge as a dense least-squares problem."""
    mask, label, known = composite.mask, composite.label, composite.known
    place = {yx: i for i, yx in enumerate(zip(*np.nonzero(mask), strict=True))}
    rows, right = [], []

    def source(k: int, y: int, x: int) -> np.ndarray | None:
        sy, sx = (LINEAR[composite.moves.kind[k]] @ (y, x) + composite.moves.shift[k]).astype(int)
        inside = 0 <= sy < mask.shape[0] and 0 <= sx < mask.shape[1]
        return known[sy, sx] if inside and not mask[sy, sx] else None

    for y, x in np.ndindex(mask.shape):
        for v, u in ((y, x + 1), (y + 1, x)):
            if v == mask.shape[0] or u == mask.shape[1] or not (mask[y, x] or mask[v, u]):
                continue
            step, weight = np.zeros(3), 1.0
            if label[y, x] != label[v, u]:
                pairs = [(source(k, y, x), source(k, v, u)) for k in (label[y, x], label[v, u]) if k >= 0]
                slopes = [a - b for a, b in pairs if a is not None and b is not None]
                step = composite.image[y, x] - composite.image[v, u] - (np.mean(slopes, 0) if slopes else 0)
                weight = 1 / (1 + np.mean(step**2) / seams.STEP**2)
            row = np.zeros(len(place))
            for yx, sign in (((y, x), 1), ((v, u), -1)):
                if yx in place:
                    row[place[yx]] = sign
            rows.append(np.sqrt(weight) * row)
            right.append(-np.sqrt(weight) * step)
    rows += list(np.sqrt(screen) * np.eye(len(place)))
    right += [np.zeros(3)] * len(place)
    return np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]


def test_seams_are_closed_as_a_dense_solver_closes_them() -> None:
    image, mask = smooth_photo(30, 34), hole(30, 34, 10, 11, 9, 10)
    image[:, 17:] = (0.7 * image[:, 17:]).astype(np.float32)  # a step, so that seams exist
    composite = compose(image, mask, solved(image, mask))
    assert len(np.unique(composite.label[mask])) > 1
    expected = composite.image[mask] + dense_solution(composite, seams.SCREEN)
    assert np.allclose(close_seams(composite)[mask], expected.clip(0, 1), atol=1e-4)


def test_the_iterative_solver_agrees_with_the_direct_one(monkeypatch: pytest.MonkeyPatch) -> None:
    image, mask = smooth_photo(90, 90), hole(90, 90, 28, 28, 34, 34)
    image[:, 45:] = (0.6 * image[:, 45:]).astype(np.float32)
    composite = compose(image, mask, solved(image, mask))
    direct = close_seams(composite)
    assert np.abs(direct - composite.image).max() > 0.01
    monkeypatch.setattr(seams, "DIRECT", 100)
    assert np.abs(close_seams(composite) - direct).max() < 1 / 255


@pytest.mark.parametrize("step", [0.05, 0.2, 0.6])
def test_a_lone_pixel_keeps_the_share_of_its_step_that_robust_weights_leave(step: float) -> None:
    """Four links of weight w and the screen s: 4w(step - u)² + s·u² leaves s/(4w + s) of the step."""
    mask = hole(12, 24, 6, 6, 1, 1)
    image = np.full((12, 24, 3), 0.8, np.float32)
    image[:, 12:] -= np.float32(step)
    closed = close_seams(compose(image, mask, one_move(mask, 1, 0, 12)))
    weight = 1 / (1 + (step / seams.STEP) ** 2)
    kept = seams.SCREEN / (4 * weight + seams.SCREEN)
    assert (0.8 - closed[mask]) / step == pytest.approx(kept, rel=1e-3)


def test_shrinking_ignores_the_hole_s_content_and_grows_the_hole() -> None:
    image, mask = np.full((40, 60, 3), 0.4, np.float32), hole(40, 60, 11, 13, 9, 17)
    image[mask] = 1.0
    small, small_mask = shrink(image, mask, 20)
    known = ~small_mask
    assert np.allclose(small[known], 0.4, atol=1e-6)
    covered = small_mask.repeat(3, 0).repeat(3, 1)[:40, :60]
    assert covered[:39, :60][mask[:39]].all()
    same, same_mask = shrink(image, mask, 100)
    assert np.array_equal(same, image)
    assert np.array_equal(same_mask, mask)


def test_the_seam_mask_marks_label_changes_inside_the_hole() -> None:
    mask = hole(8, 8, 2, 2, 4, 4)
    label = np.where(mask, 0, -1)
    blank = np.zeros((8, 8, 3), np.float32)
    composite = Composite(blank, mask, label, one_move(mask, 1, 0, 0).moves, blank)
    expected = mask.copy()
    expected[3:5, 3:5] = False
    assert np.array_equal(composite.seams, expected)


def test_a_mask_without_hole_or_without_known_pixels_is_refused() -> None:
    image, mask = smooth_photo(8, 8), hole(8, 8, 2, 2, 3, 3)
    for wrong in (np.zeros_like(mask), np.ones_like(mask), mask[:4]):
        with pytest.raises(InputError, match="hole and known pixels"):
            compose(image, wrong, one_move(mask, 1, 3, 3))
