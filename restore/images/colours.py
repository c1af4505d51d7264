"""Between a file's own samples and the 8-bit RGB that models work on: greys, inks, 16 bits, alpha."""

from __future__ import annotations

import numpy as np
from PIL import Image

from restore.images.encode import high_byte, pillow_image

Levels = tuple[int, int]  # 16-bit samples that are black and white in the 8-bit view
FULL: Levels = (0, 65535)
NARROW = 16_384  # 16-bit photos that use less than this, a quarter of the range, are viewed stretched
SAMPLED = 1_000_000  # samples looked at to find that out
BAND = 1 << 20  # pixels converted at a time
AROUND = 32  # pixels around an edit that its inks and transparency are taken from
CLOSE = 4  # levels by which a colour may be missed where black alone makes it
DARK = 240  # black from which it is all that makes a colour


def levels_of(native: np.ndarray, mode: str) -> Levels:
    """Black and white of the 8-bit view: `FULL`, but what is used where that is little of 16 bits (astronomy, CT).

    A thousandth of the samples at either end does not count: hot pixels, stars. Inks are never stretched.
    """
    if native.dtype != np.uint16 or mode == "CMYK":
        return FULL
    colours = colour_channels(native, mode)
    step = max(1, round((colours.size / SAMPLED) ** 0.5))
    low, high = (round(float(v)) for v in np.percentile(colours[::step, ::step], (0.1, 99.9)))
    if high - low >= NARROW or low == high:
        return FULL
    return low, max(high, low + 255)


def rgb_view(native: np.ndarray, mode: str, levels: Levels = FULL) -> np.ndarray:
    """(H, W, 3) uint8: `native` itself where it is that already."""
    if native.dtype == np.bool_:
        native = native.astype(np.uint8) * np.uint8(255)
    elif native.dtype == np.uint16 and levels != FULL:
        low, high = levels
        native = np.rint((native.clip(low, high) - np.float32(low)) * np.float32(255 / (high - low))).astype(np.uint8)
    elif native.dtype == np.uint16:
        native = high_byte(native)
    if mode == "CMYK":
        out = np.empty((*native.shape[:2], 3), np.uint8)
        step = max(1, BAND // max(1, native.shape[1]))
        for top in range(0, len(native), step):  # Pillow holds three copies of what it converts
            out[top : top + step] = pillow_image(native[top : top + step], mode).convert("RGB")
        return out
    if mode in ("1", "L", "LA"):
        grey = native[..., 0] if mode == "LA" else native
        return np.repeat(grey[..., None], 3, axis=2)
    return native if mode == "RGB" else np.ascontiguousarray(native[..., :3])


def colour_channels(native: np.ndarray, mode: str) -> np.ndarray:
    """View of (H, W, colours) without alpha."""
    if native.ndim == 2:
        return native[..., None]
    return native[..., :-1] if mode in ("LA", "RGBA") else native


def near(mask: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of the true pixels of `mask` (h, w), which has any, and of `AROUND` pixels beside them."""
    lines = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    rows, columns = (slice(max(0, int(at[0]) - AROUND), int(at[-1]) + 1 + AROUND) for at in lines)
    return rows, columns


def repainted(
    native: np.ndarray, colours: np.ndarray, mask: np.ndarray, mode: str, levels: Levels = FULL
) -> np.ndarray:
    """Samples (n, C) for the n pixels of a crop where `mask` (h, w) bool is true, from `colours` (h, w, 3) uint8 RGB.

    native (h, w[, C]): the crop before, from whose known pixels inks and transparency are taken over.
    """
    fill = colours[mask]
    out = native[mask].reshape(len(fill), -1)
    if mode == "CMYK":
        known = ~mask
        return inks(fill, rgb_view(native, mode)[known], native[known])
    if mode in ("LA", "RGBA"):
        out[:, -1] = closed(native[..., -1], mask)[mask]
    out[:, : out.shape[1] - (mode in ("LA", "RGBA"))] = _samples(fill, mode, native.dtype, levels)
    return out


def _samples(colours: np.ndarray, mode: str, depth: np.dtype, levels: Levels) -> np.ndarray:
    """RGB values (n, 3) uint8 as samples (n, colours) of `mode` and `depth`, without inks and alpha."""
    if mode in ("1", "L", "LA"):
        colours = np.asarray(Image.fromarray(colours[None]).convert("L")).reshape(len(colours), -1)
    if depth == np.bool_:
        return colours >= 128
    if depth != np.uint16:
        return colours
    if levels == FULL:
        return colours.astype(np.uint16) * np.uint16(257)
    low, high = levels
    step = (high - low) / 255
    # Between the steps of the view lies what the neighbours have and 8 bits lost: spread evenly, not combed.
    spread = np.random.default_rng(0).uniform(-0.5, 0.5, colours.shape)
    return np.rint(low + step * (colours + spread * (step > 1))).clip(*FULL).astype(np.uint16)


def inks(colours: np.ndarray, known: np.ndarray, known_inks: np.ndarray) -> np.ndarray:
    """CMYK samples (n, 4) of RGB values (n, 3) uint8, separated as their neighbours are.

    known (m, 3) uint8, known_inks (m, 4) uint8 or uint16: the neighbours. A colour of theirs gets its inks; another one
    the inks of the nearest with more or less black, or with its black more or less of the others.
    """
    from scipy.spatial import cKDTree  # heavy, for CMYK only

    wide = known_inks.dtype == np.uint16
    if len(known) == 0:
        plain = np.asarray(Image.fromarray(colours[None]).convert("CMYK"))[0]
        return plain.astype(np.uint16) * np.uint16(257) if wide else plain
    kinds, which = np.unique(_key(colours), return_inverse=True)
    # Of the separations of one colour the commonest.
    both, counts = np.unique(np.stack([_key(known), _key(known_inks)], 1), axis=0, return_counts=True)
    both = both[np.argsort(-counts, kind="stable")]
    palette, first = np.unique(both[:, 0], return_index=True)
    separations = _unkeyed(both[first, 1], 4, known_inks.dtype)
    wanted, colour_of = _unkeyed(kinds, 3, colours.dtype), _unkeyed(palette, 3, colours.dtype)
    nearest = cKDTree(colour_of).query(wanted)[1]
    found = separations[nearest]
    other = (wanted != colour_of[nearest]).any(1)
    solved = _toned(wanted[other].astype(np.float64), found[other] // (257 if wide else 1)).astype(found.dtype)
    found[other] = solved * 257 if wide else solved
    return found[which]


def _toned(wanted: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Inks (n, 4) for RGB values (n, 3), 0 to 255, from those of similar colours; paper shows (1 - C)(1 - K)."""
    paper = 255.0 - near[:, :3]
    light = ((wanted * paper).sum(1) / np.maximum((paper**2).sum(1), 1)).clip(0, 1)[:, None]
    black = np.minimum(near[:, 3], 255 - wanted.max(1))[:, None]
    rest = 255 - wanted * 255 / np.maximum(255 - black, 1)
    blacker = np.column_stack([near[:, :3], 255 * (1 - light)])
    other = np.column_stack([rest, black])
    same = (np.abs(paper * light - wanted).max(1) <= CLOSE) | (black[:, 0] > DARK)
    return np.rint(np.where(same[:, None], blacker, other)).clip(0, 255)


def _key(samples: np.ndarray) -> np.ndarray:
    """Each row of (n, up to 4) samples as one number."""
    bits = 8 * samples.dtype.itemsize
    key = np.zeros(len(samples), np.uint64)
    for channel in samples.T:
        key = key << np.uint64(bits) | channel.astype(np.uint64)
    return key


def _unkeyed(keys: np.ndarray, channels: int, depth: np.dtype) -> np.ndarray:
    bits = 8 * depth.itemsize
    shifts = (np.arange(channels - 1, -1, -1) * bits).astype(np.uint64)
    return (keys[:, None] >> shifts & np.uint64(2**bits - 1)).astype(depth)


def closed(alpha: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Alpha (h, w), continued into `mask` from around it (Telea 2004); as it is where all of it is the same."""
    if alpha.min() == alpha.max() or mask.all():
        return alpha
    import cv2  # not needed elsewhere here

    return np.asarray(cv2.inpaint(np.ascontiguousarray(alpha), mask.astype(np.uint8), 3, cv2.INPAINT_TELEA))
