"""Samples that count light (linear ones, as raw developers write them) and samples coded for eyes (sRGB)."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

CURVES = (b"rTRC", b"gTRC", b"bTRC", b"kTRC")
NEAR = 0.02  # from an exponent of 1


def is_linear(icc: bytes) -> bool:
    """Whether a profile says that samples are proportional to light: each of its curves is a straight line.

    ICC.1:2022, 7.3 (tag table), 10.6 (curv: no entry is the identity, one is an exponent), 10.18 (para). False for no
    profile, a damaged one, and curves that are tables.
    """
    try:
        (count,) = struct.unpack_from(">I", icc, 128)
        tags = [struct.unpack_from(">4sII", icc, 132 + 12 * i) for i in range(min(count, 100))]
        curves = [_exponent(icc, offset) for name, offset, _ in tags if name in CURVES]
    except struct.error:
        return False
    return bool(curves) and all(curve is not None and abs(curve - 1) < NEAR for curve in curves)


def _exponent(icc: bytes, at: int) -> float | None:
    kind, _, count = struct.unpack_from(">4sII", icc, at)
    if kind == b"curv" and count < 2:
        return float(struct.unpack_from(">H", icc, at + 12)[0]) / 256 if count else 1.0
    if kind == b"para" and count >> 16 == 0:  # its function's number: 0 is Y = X^g
        return float(struct.unpack_from(">i", icc, at + 12)[0]) / 65536
    return None


def coded(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Light in [0, 1] as sRGB (IEC 61966-2-1) codes it."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clip(1e-9) ** np.float32(1 / 2.4) - 0.055)


def light_of(code: NDArray[np.float32]) -> NDArray[np.float32]:
    """The inverse."""
    return np.where(code <= 0.04045, code / 12.92, ((code.clip(0) + 0.055) / 1.055) ** np.float32(2.4))
