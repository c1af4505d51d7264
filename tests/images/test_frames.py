"""One frame or page is edited, the others stay."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image

from restore.cli import main
from restore.errors import InputError
from restore.images.frames import check_animation
from restore.images.huge import check_goal, save_any
from restore.images.photo import Photo, load_photo, read_photo

RNG = np.random.default_rng(0)
HOLE = np.s_[3:9, 4:11]


@pytest.fixture(autouse=True)
def _untold() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*frames or pages; only")
        yield


def noise(*shape: int, depth: type = np.uint8) -> np.ndarray:
    return RNG.integers(0, np.iinfo(depth).max, shape, dtype=depth)


def edited(photo: Photo) -> Photo:
    mask = np.zeros(photo.pixels.shape[:2], np.bool_)
    mask[HOLE] = True
    return photo.with_pixels(255 - photo.pixels, mask)


def pages(path: Path) -> list[np.ndarray]:
    with tifffile.TiffFile(path) as tiff:
        return [page.asarray() for page in tiff.pages]


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("layout", ["classic", "MM", "big", "big MM", "tiles", "zlib"])
def test_the_other_pages_of_a_tiff_stay_bytes_for_bytes(layout: str, number: int, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    arrays = [noise(20, 30, 3), noise(17, 23, depth=np.uint16), noise(20, 30, 3)]
    order, big = ">" if "MM" in layout else "<", "big" in layout
    with tifffile.TiffWriter(path, byteorder=order, bigtiff=big) as tiff:
        for n, array in enumerate(arrays):
            kind = "rgb" if array.ndim == 3 else "minisblack"
            more: dict = (
                {"tile": (16, 16)} if layout == "tiles" else {"compression": "zlib"} if layout == "zlib" else {}
            )
            tiff.write(array, photometric=kind, description=f"page {n + 1}", metadata=None, **more)
    if layout == "big MM":  # Pillow reads none
        with pytest.raises(InputError):
            load_photo(path, number)
        return
    before = path.read_bytes()
    photo = edited(load_photo(path, number))
    save_any(photo, path, overwrite=True)
    found = pages(path)
    assert len(found) == 3
    for n, array in enumerate(arrays, 1):
        expected = photo.native if n == number else array
        np.testing.assert_array_equal(found[n - 1], expected)
        assert load_photo(path, n).size == (array.shape[1], array.shape[0])
    with tifffile.TiffFile(path) as tiff:
        assert [page.description for page in tiff.pages] == ["page 1", "page 2", "page 3"]
        for page in tiff.pages[: number - 1] + tiff.pages[number:]:  # where they were
            for start, length in zip(page.dataoffsets, page.databytecounts, strict=True):
                assert path.read_bytes()[start : start + length] == before[start : start + length]
    if layout != "zlib":  # what was erased is nowhere in the file
        erased = arrays[number - 1][5, 5:9]
        erased = erased.astype(erased.dtype.newbyteorder(order)).tobytes()
        assert erased in before
        assert erased not in path.read_bytes()


def test_reduced_copies_go_with_their_page(tmp_path: Path) -> None:
    path, array = tmp_path / "a.tif", noise(20, 30, 3)
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(array, photometric="rgb", subifds=1)
        tiff.write(array[::4, ::4], photometric="rgb", subfiletype=1)
        tiff.write(array[::2, ::2], photometric="rgb", subfiletype=1)
        tiff.write(noise(5, 5), photometric="minisblack")
    save_any(edited(load_photo(path)), path, overwrite=True)
    assert [page.shape for page in pages(path)] == [(20, 30, 3), (5, 5)]
    for copy in (array[::4, ::4], array[::2, ::2]):
        assert copy.tobytes()[:15] not in path.read_bytes()


@pytest.mark.parametrize("suffix", [".webp", ".png"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_other_frames_of_an_animation_keep_their_pixels(
    suffix: str, channels: int, number: int, tmp_path: Path
) -> None:
    path = tmp_path / f"a{suffix}"
    arrays = [noise(20, 30, channels) for _ in range(3)]
    if channels == 4:
        for array in arrays:
            array[..., 3] |= 1  # colours that nobody sees may change
    images = [Image.fromarray(array) for array in arrays]
    times = [40, 100, 250]
    images[0].save(path, save_all=True, append_images=images[1:], lossless=True, duration=times, loop=3, xmp=b"<x/>")
    photo = edited(load_photo(path, number))
    save_any(photo, path, overwrite=True)
    with Image.open(path) as image:
        assert image.n_frames == 3  # type: ignore[attr-defined]
        assert image.info["loop"] == 3
        assert suffix == ".png" or image.info["xmp"] == b"<x/>"  # Pillow writes none into the original PNG
        for n, array in enumerate(arrays, 1):
            image.seek(n - 1)
            image.load()
            assert image.info["duration"] == times[n - 1]
            np.testing.assert_array_equal(np.asarray(image.convert("RGBA"))[..., :channels],
                                          photo.native if n == number else array)  # fmt: skip


def test_a_picture_for_those_who_cannot_play_it_stays_apart(tmp_path: Path) -> None:
    images = [Image.fromarray(noise(20, 30, 3)) for _ in range(3)]
    images[0].save(tmp_path / "a.png", save_all=True, append_images=images[1:], default_image=True, duration=[50, 70])
    save_any(edited(load_photo(tmp_path / "a.png", 2)), tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as image:
        assert image.default_image  # type: ignore[attr-defined]
        assert image.n_frames == 3  # type: ignore[attr-defined]
        np.testing.assert_array_equal(np.asarray(image), np.asarray(images[0]))
        image.seek(2)
        np.testing.assert_array_equal(np.asarray(image), np.asarray(images[2]))


def test_what_cannot_go_back_is_refused_before_the_work(tmp_path: Path) -> None:
    path = tmp_path / "a.webp"
    images = [Image.fromarray(noise(20, 30, 3)) for _ in range(3)]
    images[0].save(path, save_all=True, append_images=images[1:])
    photo = load_photo(path)
    with pytest.raises(InputError, match="30×20 pixels as the other frames, got 60×40"):
        check_goal(photo, tmp_path / "b.webp", scale=2)
    check_goal(photo, tmp_path / "b.png", scale=2)
    with pytest.raises(InputError, match="in all frames, got 100000"):
        check_animation(100_000, (100, 100), (100, 100), deep=False, name="a")
    with pytest.raises(InputError, match="got 16"):
        check_animation(2, (100, 100), (100, 100), deep=True, name="a")
    images[0].save(path, save_all=False)
    with pytest.raises(InputError, match="it changed since"):
        save_any(photo, tmp_path / "b.webp")
    assert not (tmp_path / "b.webp").exists()


def test_a_circle_of_pages_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    image = Image.fromarray(noise(20, 30, 3))
    image.save(path, save_all=True, append_images=[image])
    photo = load_photo(path)
    data = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<I", data, first + 2 + 12 * count, first)
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged or too large"):
        save_any(photo, tmp_path / "b.tif")


def test_pages_through_pipes_and_in_place(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    images = [Image.fromarray(noise(32, 40, 3)) for _ in range(3)]
    images[0].save(path, save_all=True, append_images=images[1:])
    box = ["--box", "10,10,6,6", "--draft", "--frame", "2"]
    piped = CliRunner().invoke(main, ["inpaint", "-", *box], input=path.read_bytes())
    assert piped.exit_code == 0, piped.stderr
    again = read_photo(io.BytesIO(piped.stdout_bytes), "x", 2)
    placed = CliRunner().invoke(main, ["inpaint", str(path), *box, "-o", str(path), "--overwrite"])
    assert placed.exit_code == 0, placed.stderr
    np.testing.assert_array_equal(load_photo(path, 2).native, again.native)
    for number in (1, 3):
        np.testing.assert_array_equal(load_photo(path, number).native, np.asarray(images[number - 1]))
