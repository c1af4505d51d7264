"""What is laid over a photo, found by the embedded network: text, watermarks, dates, scratches, dust and wires."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore.features.lite0 import Lite0
from restore.grounding.grounder import Image, Instance, Mask
from restore.grounding.meaning import OVERLAY_KINDS, OverlayKind
from restore.grounding.overlay_net import CLASSES, TAPS, OverlayNet, padded

SIDE = 2048  # long side of the closest look; letters are looked for at halves of it too,
LEAST_SIDE = 320  # down to this, for large ones
WINDOW, MARGIN = 1024, 96  # pixels of a look that the network sees at once, and by how much they overlap
NAMES: dict[OverlayKind, tuple[str, ...]] = {
    "text": ("text", "watermark"),
    "watermark": ("watermark",),
    "date": ("text",),
    "scratches": ("scratch",),
    "dust": ("dust",),
    "wires": ("wire",),
}
LETTERS = ("text", "watermark")
# An instance has a pixel of at least this probability and, of each class, so many pixels.
SURE = 0.6
LEAST = {"text": 16, "watermark": 24, "scratch": 16, "dust": 3, "wire": 24}  # pixels of the closest look
LEAST_SPECKS = 3  # fewer are not dust
MOST = 24  # instances of a kind; what is left over is one more
GAP = 5  # pixels of the closest look that may be missing in a scratch or wire
WORD, LINE = 1.0, 0.3  # gaps between letters of one line: across and down, in heights of letters
# A date: so near to two edges and at most so high, shares of the photo; so many times as wide as high at least.
CORNER, DATE_HEIGHT, DATE_WIDTH = 0.2, 0.1, 2.0


class EmbeddedOverlays:
    """The embedded network behind kinds of overlays. Images are (H, W, 3) uint8 RGB."""

    def __init__(self, weights: dict[str, Tensor], lite0: Lite0, device: torch.device) -> None:
        self.net = OverlayNet.from_weights(weights).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.lite0, self.device = lite0, device

    def laid_over(self, image: Image, kinds: Sequence[OverlayKind]) -> list[Instance]:
        """What is of any of `kinds`, best first; none = empty list.

        Text comes in lines, scratches and wires one by one, dust as one. Masks (H, W) are tight.
        """
        maps = self.probabilities(image, {name for kind in kinds for name in NAMES[kind]})
        found: list[Instance] = []
        for kind in OVERLAY_KINDS:  # in an order of their own: the same for any order of `kinds`
            if kind in kinds and not (kind in ("watermark", "date") and "text" in kinds):
                found += self._of_kind(kind, maps, max(1.0, max(image.shape[:2]) / SIDE))
        return sorted(found, key=lambda i: -i.score)

    @torch.inference_mode()
    def probabilities(self, image: Image, names: set[str]) -> dict[str, NDArray[np.float32]]:
        """Probability (H, W) of each named class of CLASSES, in units of its threshold: from 1 on a pixel is of it."""
        height, width = image.shape[:2]
        side = min(SIDE, max(height, width))
        out: dict[str, NDArray[np.float32]] = {}
        first = True
        while first or (side >= LEAST_SIDE and names & set(LETTERS)):
            scale = side / max(height, width)
            size = max(1, round(width * scale)), max(1, round(height * scale))
            small = image if size == (width, height) else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            maps = self._look(small)
            for name in sorted(names if first else names & set(LETTERS)):
                this = cv2.resize(maps[CLASSES.index(name)], (width, height), interpolation=cv2.INTER_LINEAR)
                out[name] = this if first else np.maximum(out[name], this)
            side, first = side // 2, False
        return out

    def _look(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """(5, h, w): the network's probabilities over its thresholds, in windows where the image is large."""
        x = torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None].to(self.device)
        x = padded(x).contiguous(memory_format=torch.channels_last)
        out = x.new_empty(len(CLASSES), *x.shape[2:])
        for rows, keep_rows in _spans(x.shape[2]):
            for columns, keep_columns in _spans(x.shape[3]):
                part = x[:, :, rows, columns].contiguous(memory_format=torch.channels_last)
                p = torch.sigmoid(self.net(part, self.lite0.features(part, TAPS)))[0]
                inside = slice(keep_rows.start - rows.start, keep_rows.stop - rows.start)
                beside = slice(keep_columns.start - columns.start, keep_columns.stop - columns.start)
                out[:, keep_rows, keep_columns] = p[:, inside, beside]
        out = out / self.net.thresholds[:, None, None]
        return np.asarray(out[:, : image.shape[0], : image.shape[1]].cpu().numpy(), np.float32)

    def _of_kind(self, kind: OverlayKind, maps: dict[str, NDArray[np.float32]], scale: float) -> list[Instance]:
        """scale: pixels of the photo per pixel of the closest look."""
        mask, sure = np.zeros_like(next(iter(maps.values())), np.bool_), None
        for name in NAMES[kind]:
            cut = float(self.net.thresholds[CLASSES.index(name)])
            mask |= _believed(maps[name], SURE / cut, LEAST[name] * scale * scale)
            p = np.minimum(maps[name] * cut, 1)
            sure = p if sure is None else np.maximum(sure, p)
        assert sure is not None
        if kind == "dust":
            specks = cv2.connectedComponents(mask.astype(np.uint8))[0] - 1
            return [Instance(mask, float(sure[mask].mean()))] if specks >= LEAST_SPECKS else []
        labels = _lines(mask) if kind in ("text", "watermark", "date") else _joined(mask, round(GAP * scale))
        found = [Instance(part, float(sure[part].mean())) for part in _parts(mask, labels)]
        return [i for i in found if _like_date(i.mask)] if kind == "date" else found


def _spans(length: int) -> Iterator[tuple[slice, slice]]:
    """(what is looked at, what of it is kept) along one side; both begin and end at multiples of the stride."""
    step = WINDOW - 2 * MARGIN
    starts = range(0, max(1, length - 2 * MARGIN), step)
    for start in starts:
        stop = min(length, start + WINDOW)
        last = stop == length
        yield slice(start, stop), slice(start + MARGIN if start else 0, stop if last else stop - MARGIN)
        if last:
            return


def _believed(map_: NDArray[np.float32], peak: float, least: float) -> Mask:
    """Where the map is 1 or more, in parts that somewhere reach `peak` and have `least` pixels."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((map_ >= 1).astype(np.uint8))
    kept = stats[:, cv2.CC_STAT_AREA] >= least
    reached = np.zeros(count, np.bool_)
    reached[np.unique(labels[map_ >= max(1.0, peak)])] = True
    kept &= reached
    kept[0] = False
    return np.asarray(kept[labels], np.bool_)


def _lines(mask: Mask) -> NDArray[np.int32]:
    """Labels (H, W) of letters that make a line together, from 1 on."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if len(stats) == 1:
        return np.zeros(mask.shape, np.int32)
    heights, areas = stats[1:, cv2.CC_STAT_HEIGHT], stats[1:, cv2.CC_STAT_AREA]
    order = np.argsort(heights)
    middle = int(np.searchsorted(np.cumsum(areas[order]), areas.sum() / 2))
    letter = float(heights[order][min(middle, len(order) - 1)])
    kernel = np.ones((max(1, round(LINE * letter)), max(1, round(WORD * letter))), np.uint8)
    return _labels(cv2.dilate(mask.astype(np.uint8), kernel))


def _joined(mask: Mask, gap: int) -> NDArray[np.int32]:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (gap, gap))
    return _labels(cv2.dilate(mask.astype(np.uint8), kernel))


def _labels(mask: NDArray[Any]) -> NDArray[np.int32]:
    return np.asarray(cv2.connectedComponents(mask)[1], np.int32)


def _parts(mask: Mask, labels: NDArray[np.int32]) -> Iterator[Mask]:
    """The mask's pixels by label, the MOST largest one by one, then the others together."""
    sizes = np.bincount(labels[mask], minlength=1)
    sizes[0] = 0
    order = [int(i) for i in np.argsort(-sizes, kind="stable") if sizes[i] > 0]
    for i in order[:MOST]:
        yield mask & (labels == i)
    if len(order) > MOST:
        yield mask & np.isin(labels, order[MOST:])


def _like_date(mask: Mask) -> bool:
    """Whether a line of text stands where and as cameras put a date: small, in one row, in a corner."""
    height, width = mask.shape
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    across = min(x, width - x - w) <= CORNER * width
    down = min(y, height - y - h) <= CORNER * height
    return across and down and h <= DATE_HEIGHT * height and w >= DATE_WIDTH * h and w <= 0.6 * width
