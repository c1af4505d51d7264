"""Peak memory and seconds of `restore inpaint` on TIFFs of 120 and 300 megapixels, whole process, beside their size.

    python -m benchmarks.huge --photo PHOTO --out OUT [--megapixels 120,300]

The photos are PHOTO enlarged to 12 megapixels with texture (benchmarks/large.py) and repeated in mirrors: strips of
8-bit RGB, uncompressed and LZW, and Deflate tiles of 16-bit RGB. Holes: a box of 400 pixels, one of 2 % of the photo,
a mask file with two small holes in opposite corners. OUT gets huge.csv and huge.md; the photos are deleted.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from benchmarks.large import Row, large_photo, table, write

KINDS = ("uncompressed strips", "LZW strips", "Deflate tiles, 16 bits")
TILE = 512
PROGRAM = """
import sys
from restore.__main__ import run
try:
    run()
finally:
    print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0], file=sys.stderr)
"""


def rows(base: NDArray[np.uint8], shape: tuple[int, int], step: int) -> Iterator[NDArray[np.uint8]]:
    """Bands of `step` rows of a picture of `shape` (H, W) that repeats `base` in mirrors."""
    block = np.concatenate([base, base[::-1]])
    block = np.concatenate([block, block[:, ::-1]], 1)
    block = np.concatenate([block] * -(-shape[1] // block.shape[1]), 1)[:, : shape[1]]
    for top in range(0, shape[0], step):
        yield block[np.arange(top, top + step) % len(block)]


def make(path: Path, base: NDArray[np.uint8], shape: tuple[int, int], kind: str) -> None:
    """Write one photo of `shape` (H, W)."""
    if kind == KINDS[1]:
        whole = np.concatenate([band[: shape[0] - i * 512] for i, band in enumerate(rows(base, shape, 512))])
        Image.fromarray(whole).save(path, compression="tiff_lzw", tiffinfo={317: 2})
        return
    wide = shape[0], -(-shape[1] // TILE) * TILE
    low = np.random.default_rng(0).integers(0, 256, (TILE, wide[1], 1), np.uint16)

    def tiles() -> Iterator[NDArray[np.uint16]]:
        for band in rows(base, wide, TILE):
            deep = band.astype(np.uint16) * np.uint16(256) + low
            for left in range(0, shape[1], TILE):
                yield deep[:, left : left + TILE]

    options: dict[str, Any] = {"shape": (*shape, 3), "photometric": "rgb"}
    if kind == KINDS[0]:
        options |= {"dtype": np.uint8, "rowsperstrip": 16}
        bands = (band[: shape[0] - i * 16] for i, band in enumerate(rows(base, shape, 16)))
        tifffile.imwrite(path, bands, **options)
    else:
        options |= {"dtype": np.uint16, "tile": (TILE, TILE), "compression": "zlib", "predictor": True}
        tifffile.imwrite(path, tiles(), **options)


def measured(path: Path, options: list[str]) -> Row:
    """Seconds, CPU seconds and peak resident memory, GB, of the command in a process of its own."""
    began, spent = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", PROGRAM, "inpaint", str(path), *options, "-o", str(path.with_suffix(".out.tif"))]
    done = subprocess.run([*command, "--overwrite"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    seconds, used = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime - spent.ru_utime - spent.ru_stime
    return {"seconds": seconds, "cpu": cpu, "peak": int(done.stderr.split()[-1]) / 1e6}  # kB


def two_corners(path: Path, shape: tuple[int, int]) -> None:
    """A mask (H, W) of two boxes as an uncompressed TIFF."""
    mask = np.zeros(shape, np.uint8)
    mask[300:600, 300:700] = mask[-700:-400, -600:-300] = 255
    tifffile.imwrite(path, mask, rowsperstrip=16)


def main() -> None:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--megapixels", default="120,300")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    found: list[Row] = []
    small = args.out / "small.tif"
    base = large_photo(args.photo, 12)
    Image.fromarray(base[:1000, :1000]).save(small)
    found.append({"megapixels": 1, "kind": "for comparison", "hole": "400²", "decoded": 0.003})
    found[0] |= measured(small, ["--box", "300,300,400,400"])
    print(found[0], flush=True)
    for megapixels in (int(v) for v in args.megapixels.split(",")):
        width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
        shape = width * 3 // 4, width
        mask, photo = args.out / "mask.tif", args.out / "photo.tif"
        two_corners(mask, shape)
        side = round((megapixels * 1e6 * 0.02) ** 0.5)
        small_box = ["--box", "5000,5000,400,400"]
        holes = {"400²": small_box, "two corners, mask file": ["--mask", str(mask)]}
        once = {"2 %": ["--box", f"3000,3000,{side},{side}"]}
        once["400², report"] = [*small_box, "--report", str(args.out / "report.html")]
        for kind in KINDS:
            make(photo, base, shape, kind)
            for hole, options in (holes | once if kind == KINDS[0] else holes).items():
                row = {"megapixels": megapixels, "kind": kind, "hole": hole}
                row |= {"decoded": shape[0] * shape[1] * (6 if kind == KINDS[2] else 3) / 1e9}
                found.append(row | measured(photo, options))
                print(found[-1], flush=True)
        for path in (photo, photo.with_suffix(".out.tif"), mask):
            path.unlink()
    write(args.out / "huge.csv", found)
    (args.out / "huge.md").write_text("\n".join(table(found)) + "\n")


if __name__ == "__main__":
    main()
