"""User masks, boxes and points: what is read, what is cut to size, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from restore.errors import InputError
from restore.images.geometry import mask_box
from restore.images.mask import box_mask, check_point, load_mask, parse_box, parse_point, save_mask, warn_of_most
from restore.images.photo import load_photo

SIZE = (12, 8)


def blob() -> np.ndarray:
    mask = np.zeros((8, 12), np.bool_)
    mask[2:5, 3:9] = True
    mask[6, 1] = True
    return mask


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".webp"])
def test_a_saved_mask_comes_back(suffix: str, tmp_path: Path) -> None:
    save_mask(blob(), tmp_path / f"m{suffix}")
    np.testing.assert_array_equal(load_mask(tmp_path / f"m{suffix}", SIZE), blob())
    with pytest.raises(InputError, match="existing file"):
        save_mask(blob(), tmp_path / f"m{suffix}")
    save_mask(~blob(), tmp_path / f"m{suffix}", overwrite=True)
    np.testing.assert_array_equal(load_mask(tmp_path / f"m{suffix}", SIZE), ~blob())


def test_a_saved_mask_is_white_on_black(tmp_path: Path) -> None:
    save_mask(blob(), tmp_path / "m.png")
    with Image.open(tmp_path / "m.png") as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), blob() * 255)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK"])
def test_modes_of_mask_images(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(blob().astype(np.uint8) * 255).convert(mode)
    np.testing.assert_array_equal(load_mask(image, SIZE), blob())
    image.save(tmp_path / "m.tif")
    np.testing.assert_array_equal(load_mask(tmp_path / "m.tif", SIZE), blob())


def test_the_threshold_is_half_the_range() -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (2, 1))
    np.testing.assert_array_equal(load_mask(ramp, (256, 2))[0], np.arange(256) >= 128)
    deep = np.tile(np.arange(0, 65536, 64, dtype=np.uint16), (2, 1))
    np.testing.assert_array_equal(load_mask(deep, (1024, 2))[0], deep[0] >= 32768)
    fine = np.tile(np.linspace(0, 1, 11), (2, 1))
    np.testing.assert_array_equal(load_mask(fine, (11, 2))[0], fine[0] >= 0.5)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.uint16, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("channel", [False, True])
def test_arrays_of_zeros_and_ones(dtype: type, channel: bool) -> None:
    array = blob().astype(dtype)
    found = load_mask(array[..., None] if channel else array, SIZE)
    assert found.dtype == np.bool_
    np.testing.assert_array_equal(found, blob())


def test_coloured_strokes_count() -> None:
    painted = np.zeros((8, 12, 3), np.uint8)
    painted[blob()] = (255, 0, 0)
    np.testing.assert_array_equal(load_mask(painted, SIZE), blob())


@pytest.mark.parametrize("colour", [(0, 0, 0), (60, 20, 20), (255, 255, 255), (255, 0, 0)])
def test_strokes_on_an_empty_layer_are_the_mask_whatever_their_colour(colour: tuple[int, int, int]) -> None:
    layer = np.zeros((8, 12, 4), np.uint8)
    layer[blob()] = (*colour, 255)
    np.testing.assert_array_equal(load_mask(layer, SIZE), blob())


def test_white_where_nothing_is_opaque_does_not_count() -> None:
    layer = np.full((8, 12, 4), 255, np.uint8)
    layer[~blob(), 3] = 0
    np.testing.assert_array_equal(load_mask(layer, SIZE), blob())


def test_an_opaque_alpha_channel_means_nothing() -> None:
    layer = np.dstack([blob() * np.uint8(255), np.full((8, 12), 255, np.uint8)])
    np.testing.assert_array_equal(load_mask(layer, SIZE), blob())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_is_turned_as_its_photo_was(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    marked = np.zeros((8, 12, 3), np.uint8)
    marked[blob()] = 255
    Image.fromarray(marked).save(tmp_path / "photo.png", exif=exif)
    Image.fromarray(marked[..., 0]).save(tmp_path / "mask.png", exif=exif)
    photo = load_photo(tmp_path / "photo.png")
    np.testing.assert_array_equal(load_mask(tmp_path / "mask.png", photo.size), photo.pixels[..., 0] == 255)


def test_another_size_names_both() -> None:
    with pytest.raises(InputError, match="640×480 pixels, got 12×8"):
        load_mask(blob(), (640, 480))


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (np.zeros((8, 12), np.uint8), "empty mask"),
        (np.full((8, 12), 127, np.uint8), "empty mask"),
        (np.full((8, 12), 255, np.uint8), "all of it"),
        (np.full((8, 12), 2.0), "between 0 and 1"),
        (np.full((8, 12), np.nan), "between 0 and 1"),
        (np.full((8, 12), -1), "expected uint8"),
        (np.zeros((8, 12, 7), np.uint8), "expected an array"),
        (np.zeros((0, 12), np.bool_), "expected an array"),
        (np.zeros((8, 12, 4), np.uint8), "empty mask"),
    ],
)
def test_unfit_masks_are_refused(mask: np.ndarray, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        load_mask(mask, SIZE)


def test_a_missing_mask_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.png: expected an image file"):
        load_mask(tmp_path / "none.png", SIZE)


@given(
    box=st.tuples(st.integers(-20, 20), st.integers(-20, 20), st.integers(-2, 40), st.integers(-2, 40)),
    size=st.tuples(st.integers(1, 16), st.integers(1, 16)),
)
@settings(max_examples=300, deadline=None)
def test_boxes_are_clipped(box: tuple[int, int, int, int], size: tuple[int, int]) -> None:
    x, y, w, h = box
    columns, rows = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    expected = (columns >= x) & (columns < x + w) & (rows >= y) & (rows < y + h)
    if expected.any() and not expected.all():
        found = box_mask(box, size)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(box_mask(mask_box(found), size), expected)
    else:
        with pytest.raises(InputError, match=r"^box: expected"):
            box_mask(box, size)


def test_mask_box() -> None:
    assert mask_box(blob()) == (1, 2, 8, 5)
    assert mask_box(np.zeros((3, 4), np.bool_)) == (0, 0, 0, 0)
    assert [type(v) for v in mask_box(blob())] == [int] * 4


def test_boxes_and_points_are_read() -> None:
    assert parse_box("1,2,30,40") == (1, 2, 30, 40)
    assert parse_box(" -1, 2 ,3,4 ") == (-1, 2, 3, 4)
    assert parse_point("7,9") == (7, 9)


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1.5,2,3,4", "1;2;3;4"])
def test_malformed_boxes_and_points(text: str) -> None:
    with pytest.raises(InputError, match="box: expected X,Y,W,H in whole pixels, got"):
        parse_box(text)
    with pytest.raises(InputError, match="point: expected X,Y in whole pixels, got"):
        parse_point(text)
    with pytest.raises(InputError, match="whole pixels"):
        box_mask((1, 2, 3.5, 4), SIZE)  # type: ignore[arg-type]


def test_points_have_to_lie_in_the_photo() -> None:
    assert check_point((11, 7), SIZE) == (11, 7)
    for point in ((12, 0), (0, 8), (-1, 0)):
        with pytest.raises(InputError, match="0 ≤ X < 12 and 0 ≤ Y < 8, got"):
            check_point(point, SIZE)


def textured(size: tuple[int, int] = (60, 80)) -> np.ndarray:
    """Something like a photo, (H, W, 3)."""
    rng = np.random.default_rng(0)
    return rng.normal(120, 30, (*size, 3)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("colour", [0, 255, None])
def test_the_erased_part_of_a_photo_is_the_mask(colour: int | None) -> None:
    erased = np.zeros((60, 80), np.bool_)
    erased[20:40, 30:50] = True
    picture = np.dstack([textured(), np.where(erased, 0, 255).astype(np.uint8)])
    if colour is not None:
        picture[erased, :3] = colour
    np.testing.assert_array_equal(load_mask(Image.fromarray(picture), (80, 60)), erased)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_a_photo_is_no_mask(mode: str) -> None:
    photo = Image.fromarray(textured()).convert(mode)
    with pytest.raises(InputError, match="looks like a photo"):
        load_mask(photo, (80, 60))


def test_soft_and_compressed_masks_are_masks(tmp_path: Path) -> None:
    y, x = np.mgrid[:60, :80]
    soft = (np.hypot(y - 30, x - 40) * -8 + 255).clip(0, 255).astype(np.uint8)
    Image.fromarray(soft).save(tmp_path / "a.jpg", quality=60)
    for mask in (soft, tmp_path / "a.jpg"):
        found = load_mask(mask, (80, 60))
        assert abs(int(found.sum()) - int((soft >= 128).sum())) < 30


@pytest.mark.parametrize("value", [1, 15, 127])
@pytest.mark.parametrize("kind", ["L", "P"])
def test_masks_of_one_dark_value(kind: str, value: int, tmp_path: Path) -> None:
    index = np.zeros((60, 80), np.uint8)
    index[10:20, 10:20] = value if kind == "L" else 1
    image = Image.fromarray(index, kind)
    if kind == "P":
        image.putpalette([0, 0, 0, value, 0, value // 2])
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(load_mask(tmp_path / "a.png", (80, 60)), index > 0)


def test_several_dark_values_are_listed(tmp_path: Path) -> None:
    index = np.zeros((60, 80), np.uint8)
    index[10:20, 10:20], index[30:40, 30:40] = 3, 15
    Image.fromarray(index).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"got the values 3, 15$"):
        load_mask(tmp_path / "a.png", (80, 60))


def test_a_mask_of_most_of_the_photo_is_told() -> None:
    mask = np.ones((60, 80), np.bool_)
    mask[:, :30] = False
    with pytest.warns(UserWarning, match="62% of the photo is to be repainted.*invert the mask"):
        warn_of_most(mask)
    warn_of_most(~mask)
