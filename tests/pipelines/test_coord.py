"""Painting the hole from coordinates: starts at the enlarged draft, pays for the hole alone, leaves no edges."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from restore import Engine
from restore.pipelines.networks.coord import AROUND, CELL, CODE, CoordConfig, CoordNet, Tiles, closed
from restore.training.data import drafted
from restore.training.data.photos import Holes, PhotoCache
from restore.training.recipes.coord import smooth, square, views
from tests.conftest import make_scene

SMALL = CoordConfig(width=16, deep=24, blocks=(1, 1, 1), hidden=8, frequencies=3)


def small_net(trained: bool = True) -> CoordNet:
    torch.manual_seed(0)
    net = CoordNet(SMALL).eval()
    if trained:  # not the start, which hides mistakes
        for p in net.parameters():
            torch.nn.init.normal_(p, std=0.1)
    return net


def example(h: int, w: int, small: int = 32) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Image, hole, draft and its error."""
    rng, scale = np.random.default_rng(0), min(1, small / max(h, w))
    size = round(h * scale), round(w * scale)
    image = rng.integers(0, 256, (h, w, 3)).astype(np.uint8)
    hole = np.zeros((h, w), bool)
    hole[h // 4 : h // 2, w // 3 : w // 2] = True
    return image, hole, rng.random((*size, 3), np.float32), rng.random(size, np.float32) / 5


@pytest.mark.parametrize("shape", [(96, 64), (37, 150), (20, 20), (301, 200)])
def test_before_training_the_hole_is_the_enlarged_draft(shape: tuple[int, int]) -> None:
    image, hole, draft, error = example(*shape)
    out = small_net(trained=False).fill(image, hole, draft, error, torch.randn(1, CODE))
    soft = cv2.resize(draft, shape[::-1], interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(out, np.where(hole[..., None], np.rint(soft * 255).astype(np.uint8), image))


@pytest.mark.parametrize("shape", [(96, 64), (37, 150), (20, 20), (301, 200)])
def test_only_the_hole_is_painted_and_what_it_held_does_not_matter(shape: tuple[int, int]) -> None:
    net, code = small_net(), torch.randn(1, CODE)
    image, hole, draft, error = example(*shape)
    other = np.where(hole[..., None], np.uint8(9), image)
    out = net.fill(image, hole, draft, error, code)
    assert np.array_equal(out[~hole], image[~hole])
    assert np.array_equal(out, net.fill(other, hole, draft, error, code))
    soft = cv2.resize(draft, shape[::-1], interpolation=cv2.INTER_LINEAR) * 255
    assert np.abs(out[hole] - soft[hole]).mean() > 1  # and every pixel of it is
    assert not np.array_equal(out[hole], image[hole])


def test_two_styles_differ() -> None:
    net, (codes, inputs) = small_net(), (torch.randn(2, 1, CODE), example(64, 64))
    fills = [net.fill(*inputs, code) for code in codes]
    assert (fills[0] != fills[1])[inputs[1]].mean() > 0.3


@pytest.mark.parametrize("pixels", [1 << 16, 300])
def test_a_hole_alone_is_painted_as_the_whole_picture_would_be(monkeypatch: pytest.MonkeyPatch, pixels: int) -> None:
    monkeypatch.setattr("restore.pipelines.networks.coord.PIXELS", pixels)
    net, code = small_net(), torch.randn(1, CODE)
    image, hole, draft, error = example(64, 64)
    out = net.fill(image, hole, draft, error, code)
    seen = [torch.from_numpy(x).reshape(64, 64, -1).permute(2, 0, 1)[None] for x in closed(image, hole, draft, error)]
    soft = torch.from_numpy(draft).permute(2, 0, 1)[None]
    base = F.interpolate(soft, size=64, mode="bilinear", align_corners=False)
    half = CELL // 2
    with torch.inference_mode():
        whole = net(*seen, code, F.pad(base, (half,) * 4, mode="replicate"), 0)[0, :, half:-half, half:-half]
    whole = whole.permute(1, 2, 0).clamp(0, 1).numpy() * 255
    assert np.abs(out[hole] - whole[hole]).max() <= 0.51


def test_what_is_far_from_the_hole_is_not_looked_at() -> None:
    net, code = small_net(), torch.randn(1, CODE)
    image, hole, draft, error = example(200, 240)
    out = net.fill(image, hole, draft, error, code)
    changed = image.copy()
    near = cv2.dilate(hole.astype(np.uint8), np.ones((2 * AROUND + 1, 2 * AROUND + 1), np.uint8)) > 0
    changed[~cv2.dilate(near.astype(np.uint8), np.ones((33, 33), np.uint8)).astype(bool)] = 0
    assert np.array_equal(net.fill(changed, hole, draft, error, code)[hole], out[hole])
    changed[near & ~hole] = 0
    assert not np.array_equal(net.fill(changed, hole, draft, error, code)[hole], out[hole])


def test_a_photo_larger_than_the_picture_is_painted_from_a_reduced_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enlarging the photo enlarges the painting: what is written belongs to places, not to pixels."""
    monkeypatch.setattr("restore.pipelines.networks.coord.SEEN", 64)
    net, code = small_net(), torch.randn(1, CODE)
    image, hole, draft, error = example(64, 64)
    out = net.fill(image, hole, draft, error, code)
    large, wide = image.repeat(3, 0).repeat(3, 1), hole.repeat(3, 0).repeat(3, 1)
    painted = net.fill(large, wide, draft, error, code)
    where = cv2.erode(hole.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert np.abs(painted[1::3, 1::3][where].astype(int) - out[where]).max() <= 2


def test_a_part_is_painted_as_in_the_whole_and_the_batch_does_not_matter() -> None:
    net = small_net()
    x, error, code = torch.rand(3, 3, 64, 64), torch.rand(3, 1, 64, 64) / 5, torch.randn(3, CODE)
    mask = (torch.rand(3, 1, 64, 64) > 0.5).float()
    with torch.inference_mode():
        whole = net(x, mask, error, code, x[..., 4:60, 4:60], 1)
        part = net(x[1:2], mask[1:2], error[1:2], code[1:2], x[1:2, :, 12:44, 12:44], 2)
    torch.testing.assert_close(part, whole[1:2, :, 8:40, 8:40], atol=1e-5, rtol=0)


def test_tiles_meet_without_an_edge() -> None:
    net = small_net()
    cells = torch.randn(2, 3, net.config.numbers)  # two rows, three columns
    colours, rows = torch.full((1, 4, 3), 0.4), torch.tensor([[0.1, 0.35, 0.6, 0.9]])
    tiles = [cells[:, k : k + 2].reshape(1, 4, -1) for k in (0, 1)]
    left, right = (net.paint(t, colours, rows, torch.tensor([[x]])) for t, x in zip(tiles, (1.0, 0.0), strict=True))
    torch.testing.assert_close(left, right, atol=1e-5, rtol=0)
    assert (left - colours).abs().mean() > 0.01


@pytest.mark.parametrize(("n", "size"), [(100, 7.3), (64, 8.0), (20, 4.0), (333, 31.7)])
def test_tiles_part_a_side_without_gaps(n: int, size: float) -> None:
    tiles = Tiles.of(n, size)
    found, place, mine = tiles.pixels(np.arange(len(tiles.starts)))
    assert np.array_equal(np.sort(found[mine]), np.arange(n))
    assert (np.diff(place, axis=1)[mine[:, 1:]] > 0).all()
    assert np.allclose(((found + 0.5) / size)[mine], (place + np.arange(len(place))[:, None] - 0.5)[mine], atol=1e-5)


def test_pixels_that_the_hole_touches_are_the_draft_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restore.pipelines.networks.coord.SEEN", 50)
    image, hole, draft, error = example(100, 80)
    picture, mask, unsure = closed(image, hole, draft, error)
    assert picture.shape[:2] == mask.shape == unsure.shape == (50, 40)
    soft = cv2.resize(draft, mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(picture[mask > 0], soft[mask > 0])
    assert mask.mean() >= hole.mean()
    empty = np.zeros_like(hole)
    assert np.array_equal(small_net().fill(image, empty, draft, error, torch.randn(1, CODE)), image)


def test_the_engine_previews_in_the_style_of_the_seed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engine.__dict__, "_painter", small_net())
    image = make_scene(90, 120)
    hole = np.zeros(image.shape[:2], bool)
    hole[30:60, 40:80] = True
    fills = [np.asarray(engine.inpaint(image, mask=hole, seed=seed, draft=True).image) for seed in (1, 1, 2)]
    assert np.array_equal(fills[0], fills[1])
    assert (fills[0] != fills[2])[hole].mean() > 0.1
    assert all(np.array_equal(fill[~hole], image[~hole]) for fill in fills)


def test_drafted_crops_are_kept_and_known_pixels_are_the_photo_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drafted, "SHARD", 4)
    (tmp_path / "photos").mkdir()
    for k in range(2):
        cv2.imwrite(str(tmp_path / "photos" / f"{k}.png"), make_scene(80, 90, seed=k))
    photos = PhotoCache.open(tmp_path / "cache", [tmp_path / "photos"])

    def opened(count: int) -> drafted.Drafted:
        return drafted.Drafted.open(tmp_path / "cache", count, photos, range(2), Holes(None), (64, 32), 3)

    first = [tuple(x.copy() for x in opened(3)[k]) for k in range(4)]
    monkeypatch.setattr(drafted.DraftNet, "draft", lambda *_: pytest.fail("drafted again"))
    assert len(opened(4)) == 4
    for crop, again in zip(first, (opened(4)[k] for k in range(4)), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(crop, again, strict=True))
    view = views(first[0])
    far = cv2.dilate(first[0][1], np.ones((9, 9), np.uint8)) == 0
    off = (view["base"] - F.avg_pool2d(view["truth"], 3, 1, 1))[0].abs().mean(0).numpy()
    assert off[far].mean() < 0.06
    assert view["error"].max() > 0
    right = views(first[0], 1.0)
    reduced = F.interpolate(F.avg_pool2d(view["truth"], 2), scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(right["base"], reduced)
    assert right["error"].max() == 0
    assert torch.equal(square(view["mask"], [8, 16], 4, 20), view["mask"][..., 12:32, 20:40])
    torch.testing.assert_close(smooth(torch.full((1, 1, 20, 20), 0.3)), torch.full((1, 1, 20, 20), 0.3))
