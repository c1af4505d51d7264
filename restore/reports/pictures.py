"""Pictures of the quality report: crops, artifact maps and mask outlines as data URIs of bounded size."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from restore.images.geometry import fitted, mask_box
from restore.images.windows import shrunk

if TYPE_CHECKING:
    from restore.edit.area import Area
    from restore.images.huge import AnyPhoto
    from restore.quality.judges.judge import Judgement

CROP_SIDE = 448  # longest side of a close-up, pixels
MAP_SIDE = 320  # long side of an artifact map, pixels
JPEG_QUALITIES = (92, 85, 75, 60, 40, 20)  # the first that meets the byte budget is taken
HEAT = ((255, 190, 0), (214, 0, 28))  # RGB of artifact probabilities 0 and 1
HOLE_LINE = (52, 132, 228)
# Palette of a mask: outside, tint inside, dark and light line. RGB and opacity.
OUTLINE = ((0, 0, 0, 0), (255, 190, 0, 70), (0, 0, 0, 255), (255, 255, 255, 255))

RGB = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def jpeg_uri(image: RGB, budget: int, icc: bytes = b"", *, full_chroma: bool = False) -> str:
    """Data URI of `image` (h, w, 3) at the best of `JPEG_QUALITIES` that takes at most `budget` bytes.

    Pure noise can exceed the budget at the least quality. `full_chroma` keeps colour at every pixel (4:4:4).
    """
    picture, data = Image.fromarray(image), b""
    for quality in JPEG_QUALITIES:
        subsampling = 0 if full_chroma else 2
        data = _encoded(picture, "jpeg", quality=quality, subsampling=subsampling, icc_profile=icc or None)
        if len(data) <= budget:
            break
    return _uri(data, "jpeg")


def outline_uri(mask: Mask, size: tuple[int, int]) -> str:
    """`mask` at `size` (w, h) as a transparent PNG: a light tint inside a line that shows on any ground."""
    inside = shrunk(mask, size[::-1])
    line = max(1, round(max(size) / 500))
    colours = inside.astype(np.uint8)
    colours[_edge(inside, 2 * line)] = 2
    colours[_edge(inside, line)] = 3
    image = Image.fromarray(colours)
    image.putpalette([value for colour in OUTLINE for value in colour[:3]])
    return _uri(_encoded(image, "png", transparency=bytes(c[3] for c in OUTLINE), optimize=True), "png")


def artifact_map(area: Area) -> RGB:
    """An area's picture in grey with its judgement in colour, (h, w, 3), long side `MAP_SIDE`.

    Raises ValueError if the area was not judged.
    """
    if area.judgement is None:
        raise ValueError("expected a judged area, got one without a judgement")
    return judgement_map(area.image, area.judgement)


def judgement_map(picture: RGB, judgement: Judgement) -> RGB:
    """`picture` (H, W, 3) in grey with artifact probabilities in colour, artifacts outlined, and the hole's edge."""
    height, width = picture.shape[:2]
    size = fitted((width, height), MAP_SIDE, grow=True)
    kernel = cv2.INTER_AREA if max(width, height) > MAP_SIDE else cv2.INTER_LINEAR
    small, probability, hole, artifacts = (  # sized down first: a window of a large photo is heavy
        cv2.resize(a, size, interpolation=kernel)
        for a in (
            picture,
            judgement.probability,
            judgement.hole.astype(np.uint8) * 255,
            judgement.artifacts.astype(np.uint8) * 255,
        )
    )
    ground = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    heat = (1 - probability[..., None]) * HEAT[0] + probability[..., None] * HEAT[1]
    weight = 0.8 * np.sqrt(probability)[..., None]
    image = np.asarray((1 - weight) * (40 + 0.75 * ground[..., None]) + weight * heat, np.uint8)
    image[_edge(artifacts > 127, 1)] = 255
    if not judgement.hole.all():  # a picture judged all over has no edge to show
        image[_edge(hole > 127, 2)] = HOLE_LINE
    return image


def close_up(area: Area, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of a photo of `shape`: a hole with some context; of a large hole the worst part."""
    x, y, w, h = mask_box(area.hole)
    centre = x + w / 2, y + h / 2
    if max(w, h) > CROP_SIDE:
        suspicion = None if area.judgement is None else area.judgement.probability
        weight = area.hole.astype(np.float32) if suspicion is None or not suspicion.any() else suspicion
        scale = MAP_SIDE / max(weight.shape)
        small = cv2.resize(weight, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        reach = max(1, round(CROP_SIDE * scale))
        row, column = np.unravel_index(int(cv2.blur(small, (reach, reach)).argmax()), small.shape)
        centre = float(column) / scale, float(row) / scale
    side = int(np.clip(1.6 * max(w, h), 128, CROP_SIDE))
    top = _span(area.window.y + centre[1], side, shape[0])
    return top, _span(area.window.x + centre[0], side, shape[1])


def profile(photo: AnyPhoto) -> bytes:
    """The photo's colour profile, where it describes RGB and is no burden to the page."""
    return photo.meta.icc if photo.mode in ("RGB", "RGBA") and len(photo.meta.icc) < 20_000 else b""


def _span(middle: float, side: int, limit: int) -> slice:
    """`side` pixels around `middle`, moved inside 0:limit."""
    start = int(np.clip(middle - side / 2, 0, max(0, limit - side)))
    return slice(start, min(limit, start + side))


def _edge(mask: Mask, width: int) -> Mask:
    """The pixels of `mask` within `width` of its outside, to which all beyond the picture belongs."""
    around = np.pad(mask.astype(np.uint8), width)
    eroded = cv2.erode(around, np.ones((3, 3), np.uint8), iterations=width)[width:-width, width:-width]
    edge: Mask = mask & (eroded == 0)
    return edge


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
