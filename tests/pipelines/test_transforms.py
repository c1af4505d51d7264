"""Maps to sources between pixels: interpolation against closed forms, the same map at another size."""

from __future__ import annotations

import numpy as np
import pytest

from restore.pipelines.fill.transforms import LINEAR, MIRRORED, NONE, SHIFTED, TURNED, Transforms, sample, uncropped

KINDS = (SHIFTED, MIRRORED, *TURNED)


def test_cubic_convolution_is_exact_for_quadratics_and_on_pixels() -> None:
    y, x = np.mgrid[:20, :24].astype(np.float32)
    picture = np.stack([0.3 * y * y - x, 2 + x * y, 0.1 * x * x], -1)
    usable, rng = np.ones((20, 24), bool), np.random.default_rng(0)
    at = rng.uniform((2, 2), (17, 21), (50, 2)).astype(np.float32)
    v, u = at.T
    colour, good = sample(picture, usable, at)
    assert good.all()
    assert colour == pytest.approx(np.stack([0.3 * v * v - u, 2 + u * v, 0.1 * u * u], -1), rel=1e-5, abs=1e-4)
    whole = rng.integers(0, (20, 24), (30, 2))
    assert np.array_equal(sample(picture, usable, whole.astype(np.float32))[0], picture[whole[:, 0], whole[:, 1]])


def test_a_point_is_good_only_if_all_sixteen_pixels_around_it_are_usable() -> None:
    at = np.array([[5.4, 6.7]], np.float32)
    for y, x in np.ndindex(12, 14):
        usable = np.ones((12, 14), bool)
        usable[y, x] = False
        assert sample(np.ones((12, 14, 3)), usable, at)[1][0] == (not (4 <= y <= 7 and 5 <= x <= 8))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [(3.0, 3.0), (2.5, 2.5)])
def test_a_map_of_an_enlarged_picture_is_the_same_map(kind: int, scale: tuple[float, float]) -> None:
    """Pixel centres lie at +½ in both pictures; the shift is rounded to whole pixels."""
    moves = Transforms.shifts(np.array([7, -20]), np.array([-4, 31]), kind)
    large, which = moves.scaled(np.array(scale)), np.array([0, 1])
    at = np.array([[12, 30], [25, 6]])
    wanted = (moves.points(which, at) + 0.5) * scale - 0.5
    beside = (at + 0.5) * scale - 0.5  # the same places, pixel or not
    found = np.einsum("ij,nj->ni", LINEAR[kind], beside) + large.shift
    assert np.abs(found - wanted).max() <= 0.5 + 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_the_nearest_source_is_the_same_however_it_is_asked_for(kind: int) -> None:
    moves, usable = Transforms.shifts(np.array([9]), np.array([2]), kind), np.ones((60, 50), bool)
    y, x = np.mgrid[12:20, 14:22].reshape(2, -1)
    which, at = np.zeros(len(y), int), np.stack([y, x], 1)
    exact = at @ LINEAR[kind].astype(float).T + moves.shift[0]
    source = moves.apply(which, at)
    assert np.abs(source - exact).max() <= 0.5 + 1e-4
    flat, inside = moves.lookup(y, x, usable)
    good = inside[0]
    assert np.array_equal(flat[0][good], (source[:, 0] * 50 + source[:, 1])[good])
    picture = np.random.default_rng(1).random((60, 50, 3))
    colour, fine = moves.look(picture, usable, which, y, x)
    assert np.array_equal(fine, good)
    if kind <= MIRRORED:
        assert np.array_equal(colour[good], picture.reshape(-1, 3)[flat[0][good]].astype(np.float32))


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_of_a_crop_is_the_same_map_in_the_picture(kind: int) -> None:
    moves, corner, at = Transforms.shifts(np.array([9]), np.array([-3]), kind), np.array([31, 57]), np.array([[12, 30]])
    rows = uncropped(moves.rows(), *corner)
    found = Transforms(rows[:, 0], rows[:, 1:]).points(np.array([0]), at + corner)
    assert np.abs(found - (moves.points(np.array([0]), at) + corner)).max() <= (
        1e-4 if kind <= MIRRORED else 0.5 + 1e-4
    )


def test_no_map_stays_no_map() -> None:
    assert not uncropped(np.full((2, 3, 3), NONE, np.int32), 5, 7).any()
