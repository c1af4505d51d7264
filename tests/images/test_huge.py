"""TIFFs above the limit are edited tile by tile: the same result as in memory, in a file of the same layout."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from conftest import make_scene
from PIL import Image

from restore import Engine
from restore.cli import main
from restore.edit.find import Region, find_region, part_of
from restore.edit.request import Request, to_inpaint
from restore.errors import InputError
from restore.images import limits, tiff_tiles
from restore.images.huge import HugePhoto, open_photo
from restore.images.mask import load_mask, save_mask
from restore.images.photo import Photo, load_photo

FAST = {"passes": 1, "candidates": 1}
SCENE = make_scene(150, 210)
DEEP = SCENE.astype(np.uint16) * 257 + np.arange(210, dtype=np.uint16)[:, None]
ALPHA = np.where(SCENE[..., :1] > 120, 255, 30).astype(np.uint8)
SAMPLES = {
    "grey": SCENE[..., 0],
    "grey16": DEEP[..., 1],
    "rgb": SCENE,
    "rgb16": DEEP,
    "rgba": np.dstack([SCENE, ALPHA]),
    "rgba16": np.dstack([DEEP, ALPHA.astype(np.uint16) * 257]),
}
LAYOUTS: dict[str, dict[str, Any]] = {
    "one strip": {},
    "strips": {"rowsperstrip": 7},
    "tiles": {"tile": (32, 48)},
    "deflate tiles": {"tile": (32, 48), "compression": "zlib", "predictor": True},
    "deflate strips": {"rowsperstrip": 9, "compression": "zlib"},
    "big-endian": {"byteorder": ">", "rowsperstrip": 11, "compression": "zlib", "predictor": True},
    "BigTIFF": {"bigtiff": True, "tile": (64, 16)},
}
CODED = ("tiff_lzw", "packbits", "tiff_adobe_deflate", "tiff_deflate")
PART = np.s_[40:100, 60:150]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is large, and read in pieces."""
    for name, value in (("HUGE", 10_000), ("BAND", 3000), ("BATCH", 3000)):
        monkeypatch.setattr(limits, name, value)


def opened(path: Path) -> HugePhoto:
    photo = open_photo(path)
    assert isinstance(photo, HugePhoto)
    return photo


def tiff(path: Path, samples: np.ndarray, **options: Any) -> Path:
    kind = "rgb" if samples.ndim == 3 else "minisblack"
    extra = ["unassalpha"] if samples.shape[2:] == (4,) else None
    tifffile.imwrite(path, samples, photometric=kind, extrasamples=extra, **options)
    return path


def patch(seed: int = 0) -> tuple[Any, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    mask = np.zeros((60, 90), bool)
    mask[10:45, 20:77] = rng.random((35, 57)) < 0.5
    return PART, rng.integers(0, 256, (60, 90, 3), np.uint8), mask


def check(path: Path) -> None:
    """Windows, and an edit written, are what the photo in memory gives."""
    photo, whole = opened(path), load_photo(path)
    assert (photo.size, photo.mode, photo.pixels.shape) == (whole.size, whole.mode, whole.pixels.shape)
    assert np.array_equal(photo.pixels[np.s_[3:120, 5:210]], whole.pixels[3:120, 5:])
    assert np.array_equal(photo.native(np.s_[99:150, 0:77]), whole.native[99:, :77])
    out = path.with_suffix(".out.tif")
    photo.with_patches([patch(0), patch(1)]).save(out)
    expected, got = whole.with_patches([patch(0), patch(1)]), load_photo(out)
    assert np.array_equal(got.native, expected.native)
    assert (got.mode, got.meta.dpi, got.meta.icc, got.meta.exif) == (
        expected.mode, whole.meta.dpi, whole.meta.icc, whole.meta.exif
    )  # fmt: skip
    assert np.array_equal(photo.pixels[PART], whole.pixels[PART])  # as it was


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", SAMPLES)
def test_every_layout_and_depth(tmp_path: Path, layout: str, kind: str) -> None:
    path = tiff(tmp_path / "a.tif", SAMPLES[kind], **LAYOUTS[layout])
    check(path)
    out = tmp_path / "a.out.tif"
    with tifffile.TiffFile(path) as before, tifffile.TiffFile(out) as after:
        a, b = before.pages[0], after.pages[0]
        assert np.array_equal(b.asarray(), load_photo(out).native)  # another reader agrees
        assert (before.byteorder, before.is_bigtiff) == (after.byteorder, after.is_bigtiff)
        names = ("compression", "predictor", "photometric", "is_tiled", "bitspersample", "samplesperpixel")
        assert [getattr(a, n) for n in names] == [getattr(b, n) for n in names]


@pytest.mark.parametrize("coded", CODED)
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "CMYK"])
def test_every_compression_of_another_writer(tmp_path: Path, coded: str, mode: str) -> None:
    path, icc = tmp_path / "a.tif", b"a profile" * 30
    tags = {317: 2, 0x010E: "what it shows"}  # PackBits knows no predictor: the tag means nothing there
    picture = Image.fromarray(SCENE).convert(mode)
    picture.save(path, compression=coded, dpi=(300, 240), icc_profile=icc, strip_size=2000, tiffinfo=tags)
    check(path)
    with Image.open(tmp_path / "a.out.tif") as out:
        assert (out.info["icc_profile"], out.info["dpi"], out.tag_v2[0x010E]) == (icc, (300, 240), tags[0x010E])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("layout", ["strips", "tiles"])
def test_orientation_is_applied_and_kept(tmp_path: Path, orientation: int, layout: str) -> None:
    path = tiff(tmp_path / "a.tif", np.ascontiguousarray(SCENE), **LAYOUTS[layout], extratags=[
        (274, "H", 1, orientation, True)
    ])  # fmt: skip
    whole, photo = load_photo(path), opened(path)
    assert photo.size == whole.size
    part = np.s_[20:80, 31:121]
    assert np.array_equal(photo.pixels[part], whole.pixels[part])
    _, colours, mask = patch()
    out = tmp_path / "o.tif"
    photo.with_patches([(part, colours, mask)]).save(out)
    assert np.array_equal(load_photo(out).pixels, whole.with_patches([(part, colours, mask)]).pixels)
    with tifffile.TiffFile(out) as file:
        assert file.pages[0].tags[274].value == orientation


def test_tiles_without_edits_are_copied_as_they_are(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", SCENE, tile=(16, 16), compression="zlib", compressionargs={"level": 1})
    out = tmp_path / "o.tif"
    part = np.s_[20:24, 40:44]
    opened(path).with_patches([(part, np.zeros((4, 4, 3), np.uint8), np.ones((4, 4), bool))]).save(out)
    coded = []
    for name in (path, out):
        with tifffile.TiffFile(name) as file, name.open("rb") as raw:
            page = file.pages[0]
            places = zip(page.dataoffsets, page.databytecounts, strict=True)
            coded.append([raw.seek(o) and raw.read(n) for o, n in places])
    assert [i for i, (a, b) in enumerate(zip(*coded, strict=True)) if a != b] == [14 * 1 + 2]


@pytest.mark.parametrize("where", [{"box": (90, 70, 30, 25)}, {"point": (100, 60)}])
def test_the_engine_gives_what_it_gives_in_memory(tmp_path: Path, engine: Engine, where: dict[str, Any]) -> None:
    y, x = np.mgrid[:150, :210]
    disc = np.hypot(y - 60, x - 100) < 22
    path = tiff(tmp_path / "a.tif", np.where(disc[..., None], np.uint16(9000), DEEP), tile=(48, 32))
    streamed = engine.inpaint(path, **where, **FAST)
    whole = engine.inpaint(load_photo(path), **where, **FAST)
    assert isinstance(streamed.photo, HugePhoto)
    assert np.array_equal(streamed.mask, whole.mask)
    streamed.save(tmp_path / "o.tif")
    streamed.save_passes(tmp_path / "passes")
    expected = whole.photo.native  # type: ignore[union-attr]
    for name in ("o.tif", "passes/pass-01.tif"):
        assert np.array_equal(load_photo(tmp_path / name).native, expected)
    with pytest.raises(InputError, match="save"):
        _ = streamed.image


def test_the_command_writes_over_its_own_input_and_reports(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", SCENE, rowsperstrip=10)
    save_mask(np.pad(np.ones((20, 30), bool), ((60, 70), (80, 100))), tmp_path / "m.png")
    command = ["inpaint", str(path), "--mask", str(tmp_path / "m.png"), "--passes", "1", "--candidates", "1", "--json"]
    command += ["-o", str(path), "--report", str(tmp_path / "r.html"), "--save-mask", str(tmp_path / "s.tif")]
    refused = CliRunner().invoke(main, command)
    assert refused.exit_code == 2
    assert np.array_equal(load_photo(path).pixels, SCENE)
    result = CliRunner().invoke(main, [*command, "--overwrite"])
    assert result.exit_code == 0, result.output
    hole = {"source": "mask", "pixels": 600, "box": [80, 60, 30, 20]}
    assert json.loads(result.stdout)["mask"] == hole | {"regions": [hole | {"said": None}]}
    changed = (load_photo(path).pixels != SCENE).any(-1)
    assert changed[60:80, 80:110].any()
    assert changed.sum() == changed[60:80, 80:110].sum()
    assert "Close-up before" in (tmp_path / "r.html").read_text()
    assert load_mask(tmp_path / "s.tif", (210, 150)).sum() == 600
    assert not list(tmp_path.glob(".restore-*"))


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = opened(tiff(tmp_path / "a.tif", SCENE, tile=(16, 16)))
    read = tiff_tiles.TiledTiff._stored
    left = iter(range(20))

    def stored(self: Any, offset: int, count: int) -> bytes:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return read(self, offset, count)

    monkeypatch.setattr(tiff_tiles.TiledTiff, "_stored", stored)
    with pytest.raises(KeyboardInterrupt):
        photo.save(tmp_path / "o.tif")
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


def bad_files(folder: Path) -> Iterator[tuple[Path, str]]:
    whole = tiff(folder / "whole.tif", SCENE, rowsperstrip=10).read_bytes()
    (folder / "cut.tif").write_bytes(whole[: len(whole) // 2])
    yield folder / "cut.tif", "damaged"
    Image.fromarray(SCENE).save(folder / "jpeg.tif", compression="jpeg")
    yield folder / "jpeg.tif", "compression jpeg"
    Image.fromarray(SCENE).convert("P").save(folder / "palette.tif", compression="tiff_lzw")
    yield folder / "palette.tif", "photometric kind 3"
    tifffile.imwrite(folder / "planes.tif", SCENE.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
    yield folder / "planes.tif", "separate planes"
    Image.fromarray(SCENE).save(folder / "photo.png")
    yield folder / "photo.png", "megapixels"


def test_what_cannot_be_streamed_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_PIXELS", 20_000)
    for path, said in bad_files(tmp_path):
        result = CliRunner().invoke(main, ["inpaint", str(path), "--box", "9,9,20,20"])
        assert result.exit_code == 2, path
        assert result.stderr.count("\n") == 1
        assert said in result.stderr
    monkeypatch.setattr(tiff_tiles, "MOST_TILE", 60_000)
    with pytest.raises(InputError, match="a single strip or tile of 210×150"):
        open_photo(tiff(tmp_path / "one.tif", SCENE, compression="zlib", rowsperstrip=150))
    (tmp_path / "name.png").touch()
    good = tiff(tmp_path / "good.tif", SCENE, rowsperstrip=10)
    result = CliRunner().invoke(main, ["inpaint", str(good), "--box", "9,9,20,20", "-o", str(tmp_path / "o.png")])
    assert result.exit_code == 2
    assert ".tif" in result.stderr


@pytest.mark.parametrize("where", ["restore.images.decode._decode", "restore.images.huge.read_header"])
def test_too_little_memory_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def fail(*_: Any) -> None:
        raise MemoryError

    path = tiff(tmp_path / "a.tif", SCENE, rowsperstrip=10)
    monkeypatch.setattr(limits, "HUGE", 10**9 if "decode" in where else 10_000)
    monkeypatch.setattr(where, fail)
    monkeypatch.setattr("restore.images.decode._decode", fail)
    result = CliRunner().invoke(main, ["inpaint", str(path), "--box", "9,9,20,20"])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "memory" in result.stderr
    monkeypatch.setattr("restore.images.huge.load_photo", fail)
    result = CliRunner().invoke(main, ["inpaint", str(path), "--box", "9,9,20,20"])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)


def test_the_tags_of_a_bigtiff_are_read(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x8769] = "maker", {0x9003: "2024:01:02 03:04:05"}
    Image.fromarray(SCENE).save(tmp_path / "a.tif", big_tiff=True, exif=exif.tobytes())
    opened(tmp_path / "a.tif").with_patches([patch()]).save(tmp_path / "o.tif")
    for photo in (read(tmp_path / name) for read in (opened, load_photo) for name in ("a.tif", "o.tif")):
        again = Image.Exif()
        again.load(photo.meta.exif)
        assert (again[0x010F], again.get_ifd(0x8769)[0x9003]) == ("maker", "2024:01:02 03:04:05")


def test_damage_inside_a_tile_is_found_when_it_is_read(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", SCENE, tile=(64, 64), compression="zlib")
    with tifffile.TiffFile(path) as file:
        start = file.pages[0].dataoffsets[0]
    data = bytearray(path.read_bytes())
    data[start : start + 40] = bytes(40)
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        opened(path).native(np.s_[0:50, 0:50])


def test_below_the_old_limit_such_files_are_read_whole(tmp_path: Path) -> None:
    for path, _ in list(bad_files(tmp_path))[1:]:
        assert isinstance(open_photo(path), Photo)


def test_of_several_pages_the_first_is_edited_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "pages.tif"
    tifffile.imwrite(path, np.stack([SCENE, SCENE[::-1]]), photometric="rgb", rowsperstrip=10)
    with pytest.warns(UserWarning, match="holds 2 frames"):
        photo = opened(path)
    photo.with_patches([patch()]).save(tmp_path / "o.tif")
    with tifffile.TiffFile(tmp_path / "o.tif") as file:
        assert len(file.pages) == 1


def test_the_overview_follows_edits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OVERVIEW_SIDE", 70)
    path = tiff(tmp_path / "a.tif", SCENE, tile=(32, 32))
    photo = opened(path)
    assert photo.overview.size == (70, 50)
    means = SCENE.reshape(50, 3, 70, 3, 3).mean((1, 3))
    assert np.abs(photo.overview.pixels - means).max() <= 1
    edited = photo.with_patches([patch(0)]).with_patches([patch(1)])
    edited.save(tmp_path / "o.tif")
    assert np.array_equal(edited.overview.pixels, opened(tmp_path / "o.tif").overview.pixels)
    assert (edited.overview.pixels != photo.overview.pixels).any()


def test_what_words_mean_is_looked_up_in_the_overview(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OVERVIEW_SIDE", 70)
    photo, asked = opened(tiff(tmp_path / "a.tif", SCENE, tile=(32, 32))), []
    hole = np.zeros((50, 70), bool)
    hole[20:30, 40:55] = True

    def find(request: Request) -> Region:
        given = None if request.given is None else request.given.sum()
        asked.append((request.photo.size, [said.text for said in request.said], given, request.points))
        parts = (part_of("prompt", None, hole),)
        return Region(hole, parts, barred=hole[::-1], instruction=request.instruction)

    found = find_region(find, to_inpaint("builtin", photo, "remove the cat"))
    expected = np.zeros((150, 210), bool)
    expected[60:90, 120:165] = True
    assert (found.hole != expected).sum() < 8  # its corners
    assert found.barred is not None
    assert np.array_equal(found.barred, found.hole[::-1])
    inside = find_region(find, to_inpaint("builtin", photo, "remove the cat", box=(0, 0, 140, 150)))
    assert np.array_equal(inside.hole, found.hole & (np.arange(210) < 140))
    added = find_region(find, to_inpaint("builtin", photo, "add a cat", box=(30, 40, 20, 21)))
    assert (added.hole.sum(), added.hole[40:61, 30:50].all()) == (420, True)
    clicked = find_region(find, to_inpaint("builtin", photo, point=(209, 149), box=(0, 0, 30, 30)))
    assert np.array_equal(clicked.hole[30:], found.hole[30:])
    assert clicked.hole[:30, :30].all()
    assert [part.box for part in clicked.parts] == [(0, 0, 30, 30), (120, 60, 45, 30)]
    assert asked == [
        ((70, 50), ["remove the cat"], None, ()),
        ((70, 50), ["remove the cat"], 47 * 50, ()),
        ((70, 50), ["add a cat"], 7 * 8, ()),
        ((70, 50), [], None, ((69, 49),)),
    ]


@pytest.mark.parametrize("kind", ["1", "L", "RGB", "I;16", "interlaced", "alpha"])
def test_large_masks_are_read_in_bands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    path, grey = tmp_path / "m.png", np.where(make_scene(150, 210)[..., 0] > 110, 201, 20).astype(np.uint8)
    colours = np.dstack([grey, grey, grey // 3])
    if kind == "I;16":
        Image.fromarray(grey.astype(np.uint16) * 257).save(path)
    else:
        Image.fromarray(colours).convert({"interlaced": "L", "alpha": "RGBA"}.get(kind, kind)).save(path)
    if kind == "interlaced":
        data = bytearray(path.read_bytes())
        data[28] = 1
        path.write_bytes(data)
    if kind in ("interlaced", "alpha"):
        with pytest.raises(InputError, match="grey or RGB"):
            load_mask(path, (210, 150))
        return
    got = load_mask(path, (210, 150))
    monkeypatch.setattr(limits, "HUGE", 10**9)
    assert np.array_equal(got, load_mask(path, (210, 150)))
    data = path.read_bytes()
    monkeypatch.setattr(limits, "HUGE", 10)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="damaged"):
        load_mask(path, (210, 150))


@pytest.mark.parametrize("kind", ["grey", "grey16"])
def test_large_mask_tiffs_too(tmp_path: Path, kind: str) -> None:
    path = tiff(tmp_path / "m.tif", SAMPLES[kind], tile=(32, 32))
    assert np.array_equal(load_mask(path, (210, 150)), load_photo(path).pixels[..., 0] >= 128)
    with pytest.raises(InputError, match="grey"):
        load_mask(tiff(tmp_path / "c.tif", SCENE), (210, 150))


def test_memory_does_not_follow_the_photo(tmp_path: Path) -> None:
    """120 megapixels of grey in a sparse file: opened, edited in a corner, written."""
    path, shape = tmp_path / "a.tif", (10_000, 12_000)
    tifffile.imwrite(path, np.zeros((1, 12_000), np.uint8), photometric="minisblack", rowsperstrip=1, metadata=None)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        for name, value in (("ImageLength", shape[0]), ("RowsPerStrip", shape[0]), ("StripByteCounts", 120_000_000)):
            tag = page.tags[name]
            data[tag.valueoffset : tag.valueoffset + tag.valuebytecount] = value.to_bytes(tag.valuebytecount, "little")
        start = page.dataoffsets[0]
    with path.open("wb") as out:
        out.write(data[:start])
        out.truncate(start + 120_000_000)
    code = f"""
import numpy as np
from restore.images.huge import open_photo
from restore.images.mask import box_mask
peak = lambda: int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1000
before, photo = peak(), open_photo({str(path)!r})
mask = box_mask((11_000, 9_000, 500, 500), photo.size)
part = np.s_[8_500:10_000, 10_500:12_000]
photo.with_patches([(part, photo.pixels[part] + np.uint8(7), mask[part])]).save({str(tmp_path / "o.tif")!r})
print(peak() - before)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(ran.stdout) < 60  # MB
    out = opened(tmp_path / "o.tif")
    assert (out.native(np.s_[8_998:9_002, 10_998:11_002]) == [[0] * 4] * 2 + [[0, 0, 7, 7]] * 2).all()
