"""What a file keeps when one pixel of it is edited: every format, depth, kind of transparency and of metadata.

  apt-get install libimage-exiftool-perl
  python -m benchmarks.round_trip --out round-trip      # seconds

The pixels are compared as decoded, metadata as exiftool reads it, but for what describes the coding of the file.
`tests/images/test_round_trip.py` compares the same table as Pillow reads it.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from restore.images.decode import Metadata
from restore.images.encode import encode
from restore.images.photo import Photo, load_photo, save_photo

SIZE = (21, 17)  # W, H
PIXEL = (5, 8)  # row and column of the hole
# (suffix, mode, samples); JPEG and lossy WebP are left out where pixels are compared one by one.
TABLE: list[tuple[str, str, type]] = [
    *[(".png", mode, np.bool_ if mode == "1" else np.uint8) for mode in ("1", "L", "LA", "RGB", "RGBA")],
    *[(".png", mode, np.uint16) for mode in ("L", "LA", "RGB", "RGBA")],
    *[(".tif", mode, np.bool_ if mode == "1" else np.uint8) for mode in ("1", "L", "LA", "RGB", "RGBA", "CMYK")],
    *[(".tif", mode, np.uint16) for mode in ("L", "RGB", "RGBA", "CMYK")],
    *[(".webp", mode, np.uint8) for mode in ("RGB", "RGBA")],
    *[(".bmp", mode, np.bool_ if mode == "1" else np.uint8) for mode in ("1", "L", "RGB", "RGBA")],
    *[(".jpg", mode, np.uint8) for mode in ("L", "RGB", "CMYK")],
]
CHANNELS = {"1": 1, "L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}
# What exiftool says of the file and its coding, not of the photo.
OF_THE_FILE = ("SourceFile", "ExifTool", "File", "System", "Composite")
CODING = ("Strip", "RowsPer", "Compression", "Predictor", "BitDepth", "Filter", "PlanarConfiguration", "DataSize",
          "Num", "EncodingProcess", "DCT", "APP14", "ColorTransform")  # fmt: skip


def metadata(mode: str, suffix: str) -> Metadata:
    """All that a file of this kind can hold, or else do without."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112], exif[0x8298] = "Maker", "Model", 1, "Someone"
    exif[0x8769] = {0x829A: (1, 250), 0x9003: "2024:05:06 07:08:09", 0xA002: SIZE[0], 0xA003: SIZE[1]}
    exif[0x8825] = {1: "N", 2: (48.0, 12.0, 30.0), 3: "E", 4: (11.0, 30.0, 0.0)}
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"/></rdf:RDF></x:xmpmeta>'
    )
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() if "RGB" in mode else b""
    iptc = b"\x1c\x02\x05\x00\x05Title\x1c\x02P\x00\x06Author"
    irb = b"Photoshop 3.0\x008BIM" + struct.pack(">HHI", 1028, 0, len(iptc)) + iptc
    extras: dict[str, tuple[tuple[str, bytes], ...]] = {
        ".png": (
            ("tEXt", b"parameters\0a cat, Steps: 20"),
            ("iTXt", b"Title\0\0\0de\0\0Gr\xc3\xb6\xc3\x9fe"),
            ("gAMA", struct.pack(">I", 45455)),
        ),
        ".jpg": (("APP13", irb), ("COM", b"a comment")),
        ".tif": (("APP13", irb),),
    }
    return Metadata(exif=exif.tobytes(), icc=icc, xmp=xmp, dpi=(300, 240), extras=extras.get(suffix, ()))


def source(suffix: str, mode: str, depth: type) -> bytes:
    """A file of noise, smooth where the format is lossy, with all metadata it can hold."""
    rng = np.random.default_rng(0)
    shape = (*SIZE[::-1], CHANNELS[mode])
    native: np.ndarray[Any, np.dtype[Any]]
    if depth is np.bool_:
        native = rng.random(SIZE[::-1]) < 0.5
    else:
        native = rng.integers(0, np.iinfo(depth).max, shape, dtype=depth, endpoint=True)
        native = native[..., 0] if shape[2] == 1 else native
    if suffix == ".jpg":
        native = np.full_like(native, 90)
    buffer = io.BytesIO()
    kind = {".png": "PNG", ".tif": "TIFF", ".webp": "WEBP", ".bmp": "BMP", ".jpg": "JPEG"}[suffix]
    encode(native, mode, metadata(mode, suffix), kind, buffer, "source")
    return buffer.getvalue()


def hole(photo: Photo) -> np.ndarray:
    mask = np.zeros(photo.pixels.shape[:2], np.bool_)
    mask[PIXEL] = True
    return mask


def edited(path: Path, goal: Path) -> tuple[Photo, Photo]:
    """The photo at `path` and, as it was read again, at `goal`, where one pixel is another."""
    photo = load_photo(path)
    save_photo(photo.with_pixels(255 - photo.pixels, hole(photo)), goal)
    return photo, load_photo(goal)


def told(path: Path) -> dict[str, Any]:
    """What exiftool reads, but for the file and its coding."""
    ran = subprocess.run(["exiftool", "-json", "-G1", "-n", "-b", str(path)], capture_output=True, check=True)
    found: dict[str, Any] = json.loads(ran.stdout)[0]
    return {
        key: value
        for key, value in found.items()
        if not key.startswith(OF_THE_FILE) and not any(word in key for word in CODING)
    }


def differences(folder: Path) -> Iterator[tuple[str, int, list[str]]]:
    """Of every row of the table: its name, how many tags it has, and what did not come through."""
    for suffix, mode, depth in TABLE:
        path, goal = folder / f"a{suffix}", folder / f"b{suffix}"
        path.write_bytes(source(suffix, mode, depth))
        goal.unlink(missing_ok=True)
        before, after = edited(path, goal)
        old, new = told(path), told(goal)
        lost = [
            f"{key}: {old.get(key)!r:.40} → {new.get(key)!r:.40}"
            for key in {*old, *new}
            if old.get(key) != new.get(key)
        ]
        if suffix != ".jpg" and (before.native != after.native)[~hole(before)].any():
            lost.append("pixels outside the hole")
        yield f"{suffix} {mode} {np.dtype(depth)}", len(old), sorted(lost)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if shutil.which("exiftool") is None:
        parser.error("expected exiftool, found none; apt-get install libimage-exiftool-perl")
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        rows = list(differences(Path(folder)))
    lines = [
        "| file | tags | not kept |",
        "|---|---|---|",
        *(f"| {n} | {c} | {'; '.join(x) or '–'} |" for n, c, x in rows),
    ]
    (args.out / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    sys.exit(any(lost for _, _, lost in rows))


if __name__ == "__main__":
    main()
