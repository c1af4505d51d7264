"""Linear 16-bit files: known by their profile, restored as eyes see them, written as light again."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile
from PIL import ImageCms

from restore import enhance
from restore.images.transfer import coded, is_linear, light_of


def profile(curve: bytes) -> bytes:
    """A profile of one curve for all three channels, nothing else in it."""
    at = 132 + 3 * 12
    table = b"".join(struct.pack(">4sII", name, at, len(curve)) for name in (b"rTRC", b"gTRC", b"bTRC"))
    return b"\0" * 128 + struct.pack(">I", 3) + table + curve


IDENTITY = struct.pack(">4sII", b"curv", 0, 0)


@pytest.mark.parametrize(
    ("curve", "linear"),
    [
        (IDENTITY, True),
        (struct.pack(">4sIIH", b"curv", 0, 1, 256), True),
        (struct.pack(">4sIIH", b"curv", 0, 1, 563), False),  # 2.2
        (struct.pack(">4sIIi", b"para", 0, 0, 65536), True),
        (struct.pack(">4sIIi", b"para", 0, 3 << 16, 65536), False),
        (struct.pack(">4sIIHH", b"curv", 0, 2, 0, 65535), False),  # a table
    ],
)
def test_a_profile_says_whether_samples_are_light(curve, linear):
    assert is_linear(profile(curve)) == linear
    assert not any(is_linear(profile(curve)[:n]) for n in (0, 100, 131, 140))


def test_srgb_is_not_linear_and_its_curve_is_pillows():
    assert not is_linear(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    x = np.linspace(0, 1, 1001, dtype=np.float32)
    assert np.allclose(light_of(coded(x)), x, atol=1e-5)
    assert coded(np.float32([0.18, 0.5])) == pytest.approx([0.4614, 0.7354], abs=1e-3)  # mid grey, half light


@pytest.mark.parametrize(("task", "options"), [("denoise", {"noise": 12}), ("low-light", {})])
def test_a_linear_file_is_restored_as_its_coded_twin(scene, tmp_path, task, options):
    rng = np.random.default_rng(0)
    eyes = (scene[:96, :112] / 255 * (0.25 if task == "low-light" else 1)).astype(np.float32)
    eyes = (eyes + rng.normal(0, 12 / 255, eyes.shape)).clip(0.02, 1).astype(np.float32)
    light = light_of(eyes)
    files = {"light": (light, profile(IDENTITY)), "eyes": (coded((light * 65535).round() / 65535), b"")}
    found = {}
    for name, (samples, icc) in files.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", (samples * 65535).round().astype(np.uint16), iccprofile=icc or None)
        result = enhance(tmp_path / f"{name}.tif", task=task, passes=1, **options)
        found[name] = result.photo.native.astype(np.float32) / 65535
        assert result.photo.native.dtype == np.uint16
    assert np.abs(coded(found["light"]) - found["eyes"]).mean() < 1e-3
    assert np.abs(found["light"] - found["eyes"]).mean() > 0.02
