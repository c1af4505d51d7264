"""One pixel is edited: all others, and all metadata, are what they were. Format × depth × transparency × metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.round_trip import PIXEL, TABLE, edited, hole, source

HELD = {  # kinds of metadata that a format has a place for
    ".png": {"exif", "icc", "xmp", "dpi", "texts"},
    ".tif": {"exif", "icc", "xmp", "dpi", "iptc"},
    ".jpg": {"exif", "icc", "xmp", "dpi", "iptc", "comment"},
    ".webp": {"exif", "icc", "xmp"},
    ".bmp": {"dpi"},
}


def kept(path: Path) -> dict[str, Any]:
    """What Pillow finds in a file, by kind."""
    with Image.open(path) as image:
        exif, info = image.getexif(), image.info
        parts = {
            "exif": {tag: exif.get(tag) for tag in (0x010F, 0x0110, 0x8298)}
            | {ifd: exif.get_ifd(ifd) for ifd in (0x8769, 0x8825)},
            "icc": info.get("icc_profile"),
            "xmp": info.get("xmp"),
            "dpi": info.get("dpi"),
            "texts": {k: v for k, v in getattr(image, "text", {}).items() if not k.startswith("XML")},
            "gamma": info.get("gamma"),
            "iptc": info.get("photoshop") or getattr(image, "tag_v2", {}).get(34377),
            "comment": info.get("comment"),
        }
    return {kind: value for kind, value in parts.items() if value}


@pytest.mark.parametrize(("suffix", "mode", "depth"), TABLE, ids=lambda v: getattr(v, "__name__", v))
def test_nothing_but_the_hole_changes(suffix: str, mode: str, depth: type, tmp_path: Path) -> None:
    path, goal = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    path.write_bytes(source(suffix, mode, depth))
    before, after = edited(path, goal)
    assert (after.mode, after.native.dtype, after.native.shape) == (before.mode, depth, before.native.shape)
    outside = ~hole(before)
    if suffix == ".jpg":
        far = outside.copy()
        far[:8, 8:16] = False  # the block of the hole
        far[PIXEL[0] // 16 * 16 : 16, :16] = False
        np.testing.assert_array_equal(after.native[far], before.native[far])
    else:
        np.testing.assert_array_equal(after.native[outside], before.native[outside])
        assert (after.native[PIXEL] != before.native[PIXEL]).any() or mode == "1"
    old, new = kept(path), kept(goal)
    assert new == old
    wanted = HELD[suffix] - ({"icc"} if "RGB" not in mode else set())
    assert wanted <= old.keys()
