"""Hostile input: damaged files of every format through every command, in this process.

  python -m benchmarks.fuzz --count 10000 --out fuzz             # the counts, and every fault
  python -m benchmarks.fuzz --count 10000 --out fuzz --shrink    # stops at a fault and makes it small

Hypothesis draws a valid file, a command and what is damaged; the same --seed draws the same. The models are replaced by
stand-ins that cost nothing: what is tested is the way in and out. Counted: exceptions that are not this package's,
refusals of more than one line, runs over 60 s, files left half written or as drafts, inputs that changed, pixels
outside the hole that did, and memory above three times the decoded size and 1 GB.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis
import numpy as np
from click.testing import CliRunner, Result
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase
from PIL import Image, PngImagePlugin

from restore.errors import InputError
from restore.images.colours import FULL
from restore.images.limits import MAX_PIXELS
from restore.images.photo import load_photo

LIMIT = 60  # seconds
GIGABYTE = 2**30
SIDE = (24, 20)  # pixels of the pictures
HOLE = np.s_[4:10, 4:10]
BOX = ["--box", "4,4,6,6", "--passes", "1"]
NUMBERS = (0, 1, 255, 65535, 2**31 - 1, 2**32 - 1)
# What is done, where (share of the file, or byte of its head), to how many bytes (a power of two), with what.
Step = tuple[int, float, bool, int, bytes]
STEPS = st.lists(
    st.tuples(
        st.integers(0, 7), st.floats(0, 1, exclude_max=True), st.booleans(), st.integers(0, 9), st.binary(min_size=4)
    ),
    max_size=3,
)


def originals() -> dict[str, bytes]:
    """A small valid file of every format, mode and depth, with all metadata that it can hold."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (SIDE[1], SIDE[0], 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "what it shows", 6
    exif[0x8769] = {0xA002: SIDE[0], 0xA003: SIDE[1]}
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "Steps: 20", zip=True)
    info.add_itxt("Title", "Größe", "de")
    found: dict[str, bytes] = {}

    def put(name: str, image: Image.Image, kind: str, **options: Any) -> None:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        found[name] = buffer.getvalue()

    picture = Image.fromarray(rgb)
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        put(f"{mode}.png", picture.convert(mode), "PNG", pnginfo=info, exif=exif, icc_profile=b"profile" * 30)
    put("I16.png", Image.fromarray(rgb[..., 0].astype(np.uint16) * 200), "PNG")
    for mode in ("L", "RGB", "CMYK"):
        extra = b"\xff\xed\0\x1cPhotoshop 3.0\x008BIM\x04\x04\0\0\0\0"
        put(f"{mode}.jpg", picture.convert(mode), "JPEG", exif=exif, comment="a comment", extra=extra)
    put("progressive.jpg", picture, "JPEG", progressive=True, xmp=b'<x GCamera:MotionPhoto="1"/>')
    put("second.jpg", picture, "MPO", save_all=True, append_images=[picture])
    for mode in ("1", "L", "LA", "RGB", "RGBA", "CMYK"):
        coded = "tiff_lzw" if mode != "1" else "group4"
        put(f"{mode}.tif", picture.convert(mode), "TIFF", compression=coded, tiffinfo={270: "what it shows", 274: 6})
    put("pages.tif", picture, "TIFF", save_all=True, append_images=[picture])
    from restore.images.gain import segment
    from restore.images.xmp import Mark, marked, split

    gain = (
        b'<x><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><r:Description xmlns:hdrgm="h" hdrgm:V="1"/>'
    )
    gain += b"</r:RDF></x>"
    put("map.jpg", picture.convert("L"), "JPEG", xmp=gain)
    put("ultrahdr.jpg", picture, "JPEG", xmp=gain)
    found["ultrahdr.jpg"] += found.pop("map.jpg")
    packet, rest = split(marked(b"", Mark("compositeSynthetic", "x" * 70_000, "restore")))
    put("xmp.jpg", picture, "JPEG", xmp=packet, extra=b"".join(segment(0xE1, part) for part in rest))
    put("lossy.webp", picture, "WEBP", exif=exif, xmp=b"<x/>")
    put("animated.png", picture, "PNG", save_all=True, append_images=[Image.fromarray(255 - rgb)], exif=exif)
    put("animated.webp", picture, "WEBP", save_all=True, append_images=[Image.fromarray(255 - rgb)], lossless=True)
    put("RGB.bmp", picture, "BMP")
    put("P.gif", picture.convert("P"), "GIF")
    from restore.images.encode import encode
    from restore.images.photo import photo_from_array

    for channels in (3, 4):
        deep = photo_from_array(rng.integers(0, 65536, (*SIDE[::-1], channels), dtype=np.uint16))
        for kind in ("PNG", "TIFF"):
            buffer = io.BytesIO()
            encode(deep.native, deep.mode, deep.meta, kind, buffer, "x")
            found[f"deep{channels}.{'png' if kind == 'PNG' else 'tif'}"] = buffer.getvalue()
    return found


def damaged(data: bytes, steps: list[Step], *, mend: bool) -> bytes:
    """Valid `data` with bits turned, bytes set, cut short, pieces doubled, removed or blank, numbers enlarged."""
    out = bytearray(data)
    for what, share, head, power, content in steps:
        if not out:
            break
        at = int(share * (min(len(out), 200) if head else len(out)))  # headers are worth more
        length = min(len(out) - at, 2**power)
        number = NUMBERS[content[0] % len(NUMBERS)]
        match what:
            case 0:
                out[at] ^= 1 << content[0] % 8
            case 1:
                out[at : at + len(content)] = content
            case 2:
                del out[at:]
            case 3:
                out[at:at] = out[at : at + length]
            case 4:
                del out[at : at + length]
            case 5 | 6:
                out[at : at + 4] = struct.pack("<I" if what == 5 else ">I", number)
            case _:
                out[at : at + length] = bytes(length)
    return _mended(bytes(out)) if mend else bytes(out)


def _mended(data: bytes) -> bytes:
    """A PNG whose checksums are right again, so that the damage gets further in."""
    if not data.startswith(b"\x89PNG"):
        return data
    out, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        body = data[at + 4 : at + 8 + length]
        out += struct.pack(">I", max(0, len(body) - 4)) + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + length
    return bytes(out)


def commands(bad: str) -> dict[str, list[str]]:
    """Every way a file gets in, by name; `bad` is the damaged one, good.png, mask.png and out.* are others."""
    unread = ["--no-cache", "--jobs", "1"]
    return {
        "inpaint": ["inpaint", bad, *BOX],
        "inpaint to png": ["inpaint", bad, *BOX, "-o", "out.png", "--report", "out.html"],
        "inpaint to tif": ["inpaint", bad, *BOX, "-o", "out.tif", "--save-mask", "out.png"],
        "inpaint to webp": ["inpaint", bad, *BOX, "-o", "out.webp"],
        "inpaint to bmp": ["inpaint", bad, *BOX, "-o", "out.bmp"],
        "inpaint in place": ["inpaint", bad, *BOX, "-o", bad, "--overwrite", "--format", "png"],
        "second frame": ["inpaint", bad, *BOX, "-o", "out.png", "--frame", "2"],
        "second frame in place": ["inpaint", bad, *BOX, "-o", bad, "--overwrite", "--frame", "2"],
        "provenance": ["provenance", bad],
        "stdin": ["inpaint", "-", *BOX],
        "mask": ["inpaint", "good.png", "--mask", bad, "-o", "out.png"],
        "refine": ["refine", bad, "--mask", "mask.png", "-o", "out.jpg"],
        "segment": ["segment", bad, "--prompt", "the cat", "-o", "out.png"],
        "enlarge": ["enhance", bad, "--task", "super-resolution", "--scale", "2"],
        "dejpeg": ["enhance", bad, "--task", "dejpeg", "-o", "out.jpg"],
        "kernel": ["enhance", "good.png", "--task", "deblur", "--kernel", bad, "-o", "out.png"],
        "config": ["inpaint", "good.png", *BOX, "--config", bad, "-o", "out.png"],
        "assess": ["assess", ".", *unread, "--json"],
        "rank": ["rank", ".", *unread, "--keep", "0.5", "--move-rejected", "rejected"],
        "compare": ["compare", ".", "--reference", "other", *unread, "--draws", "100"],
    }


@contextmanager
def stand_ins() -> Iterator[None]:
    """Models that cost nothing: fills of one grey, no artifacts anywhere, restorations as they were begun."""
    from restore.api import Engine
    from restore.edit.area import Candidate
    from restore.edit.fillers import BuiltinFiller
    from restore.edit.find import RegionFinder
    from restore.measure.assessor import Assessor
    from restore.pipelines.restoration import plans
    from restore.quality.judges.judge import Judge, Judgement
    from restore.quality.judges.scorer import Scorer
    from restore.results import Segmentation

    def judged(image: Any, hole: Any = None) -> Judgement:
        where = np.ones(image.shape[:2], np.bool_) if hole is None else hole
        return Judgement(np.zeros(where.shape, np.float32), where, severity=0.1)

    class Grey(BuiltinFiller):
        def __init__(self) -> None: ...

        def fill(self, area: Any, todo: Any, order: Any) -> list[Candidate]:
            image = area.image.copy()
            image[todo] = 128
            return [Candidate(image, 0.5)]

    def assessor(self: Any, device: Any, nets: Any = None, mbc: Any = None) -> None:
        self.device, self.nets, self.mbc, self.lpips = device, {}, None, None
        self.judge, self.scorer, self.natural = judged, lambda _: 50.0, lambda _: 50.0

    def features(self: Any, image: Any, net: str) -> Any:
        return np.resize(image.astype(np.float32).mean((0, 1)), 8)

    def against(self: Any, image: Any, truth: Any, hole: Any = None) -> dict[str, float]:
        return {"psnr": 30.0}

    def segmented(self: Any, photo: Any, **_: Any) -> Segmentation:
        mask = np.zeros(photo.pixels.shape[:2], np.bool_)
        mask[HOLE] = True
        return Segmentation(mask, 0.5, [])

    def nobody(self: Any, pixels: Any, hole: Any) -> Any:
        return np.zeros((1, 1), np.bool_)

    patches: list[Any] = [
        mock.patch.object(Engine, "_judge", staticmethod(judged)),
        mock.patch.object(Engine, "_filler", Grey()),
        mock.patch.object(Engine, "_grounder", None),
        mock.patch.object(Engine, "segment", segmented),
        mock.patch.object(RegionFinder, "_alive", nobody),
        mock.patch.object(Assessor, "__init__", assessor),
        mock.patch.object(Assessor, "features", features),
        mock.patch.object(Assessor, "against", against),
        mock.patch.object(Judge, "__call__", lambda _, *given: judged(*given)),
        mock.patch.object(Scorer, "__call__", return_value=50.0),
        mock.patch.object(plans, "run", lambda _, plan, *__: plan.start),
    ]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


def _late(*_: Any) -> None:
    raise TimeoutError(f"over {LIMIT} s")


def run(folder: Path, name: str, data: bytes, command: str) -> tuple[Result, list[str]]:
    """A command on the damaged file `name` in a fresh `folder`: its result, and what was wrong with it."""
    from restore.cli import main

    shutil.rmtree(folder, ignore_errors=True)
    (folder / "other").mkdir(parents=True)
    good, hole = np.full((*SIDE[::-1], 3), 90, np.uint8), np.zeros(SIDE[::-1], np.uint8)
    good[::2], hole[HOLE] = 140, 255
    for path, image in (("good.png", good), ("mask.png", hole), ("other/good.png", good), ("other/2.png", 255 - good)):
        Image.fromarray(image).save(folder / path)
    bad = f"bad{Path(name).suffix}"
    (folder / bad).write_bytes(data)
    before = _content(folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.signal(signal.SIGALRM, _late)
    signal.alarm(LIMIT)
    try:
        with _inside(folder):
            result = CliRunner().invoke(main, commands(bad)[command], input=data if command == "stdin" else None)
    finally:
        signal.alarm(0)
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak)
    faults = [f"{grown / GIGABYTE:.1f} GB"] if grown > GIGABYTE + 3 * 4 * MAX_PIXELS else []
    return result, faults + _faults(folder, result, before, bad, command)


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    here = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)


def _content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def _faults(folder: Path, result: Result, before: dict[str, bytes], bad: str, command: str) -> list[str]:
    faults = []
    error = result.exception
    if isinstance(error, TimeoutError):
        faults.append("hang")
    elif error is not None and not isinstance(error, SystemExit):
        faults.append("traceback: " + "".join(traceback.format_exception(error))[-1500:])
    elif result.exit_code not in (0, 2, 3, 4):
        faults.append(f"exit code {result.exit_code}")
    wrong = [line for line in result.stderr.splitlines() if not line.startswith(("restore: ", "-: "))]
    if wrong:
        faults.append(f"lines on stderr: {wrong[:3]}")
    after = _content(folder)
    moved = {path.removeprefix("rejected/"): content for path, content in after.items()}
    for path, content in before.items():
        in_place = "in place" in command and path == bad and result.exit_code == 0
        if moved.get(path) != content and not in_place:
            faults.append(f"{path} changed")
    for path in after.keys() - before.keys():
        if path.startswith("rejected/"):
            continue
        if result.exit_code != 0 or ".tmp" in path:
            faults.append(f"{path} left behind")
        elif not path.endswith(".html"):
            faults += _unreadable(folder / path)
    if command == "inpaint to png" and result.exit_code == 0:
        faults += _changed(folder / bad, folder / "out.png")
    return faults


def _unreadable(path: Path) -> list[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            load_photo(path)
    except InputError as error:
        return [f"half written: {error}"]
    return []


def _changed(source: Path, goal: Path) -> list[str]:
    """Whether pixels outside the hole are others."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old, new = load_photo(source), load_photo(goal)
    if old.levels != FULL or new.levels != FULL:
        return []
    same = (old.pixels == new.pixels).all(axis=2) if old.size == new.size else np.zeros(1, np.bool_)
    if old.size == new.size:
        same[HOLE] = True
    return [] if same.all() else ["pixels outside the hole changed"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shrink", action="store_true", help="stop at a fault and make it small")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    files, counts, began = originals(), Counter[str](), time.perf_counter()
    phases = None if args.shrink else [hypothesis.Phase.generate]

    @hypothesis.seed(args.seed)
    @hypothesis.settings(
        max_examples=args.count,
        deadline=None,
        phases=phases or list(hypothesis.Phase),
        database=DirectoryBasedExampleDatabase(args.out / "examples"),
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(st.sampled_from(sorted(files)), st.sampled_from(sorted(commands(""))), STEPS, st.booleans())
    def attempt(name: str, command: str, steps: list[Step], mend: bool) -> None:
        data = damaged(files[name], steps, mend=mend)
        result, faults = run(work, name, data, command)
        counts["inputs"] += 1
        counts["done" if result.exit_code == 0 else "refused"] += 1
        for fault in faults:
            counts[fault.split(":")[0]] += 1
        if faults:
            number = len(list(args.out.glob("fault-*.json")))
            facts = {"name": name, "command": command, "data": data.hex(), "faults": faults}
            (args.out / f"fault-{number:04d}.json").write_text(json.dumps(facts, indent=1))
            assert not args.shrink, faults
        if counts["inputs"] % 500 == 0:
            print(dict(counts), f"{time.perf_counter() - began:.0f} s", flush=True)

    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # files of a few bytes, synced to disk, cost most
    with stand_ins(), tempfile.TemporaryDirectory(dir=memory) as folder:
        work = Path(folder) / "work"
        attempt()
    counts["seconds"] = round(time.perf_counter() - began)
    (args.out / "counts.json").write_text(json.dumps(counts, indent=1) + "\n")
    print(json.dumps(counts, indent=1))
    sys.exit(any(key not in ("inputs", "done", "refused", "seconds") for key in counts))


if __name__ == "__main__":
    main()
