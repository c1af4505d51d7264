"""Crops at a model's native size, and fills whose colours meet the photo's at the hole's edge."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from restore.pipelines.push_pull import push_pull

RING = 0.03  # width of the ring of known pixels that is compared, share of the crop's longer side
LARGEST = 0.15  # correction of a colour; more is not a shift of the model's but another content
CHANGED = 0.06  # colour distance from which an edited pixel counts as changed
LARGE = 1024  # long side of crops for models of any size

Image = NDArray[np.uint8]
Picture = NDArray[np.float32]
Mask = NDArray[np.bool_]


def around(todo: Mask, size: int) -> tuple[slice, slice]:
    """The part of a window to work on: the hole's box, its longer side around it, at least `size` pixels if there."""
    x, y, w, h = cv2.boundingRect(todo.astype(np.uint8))
    out = []
    for start, length, whole in ((y, h, todo.shape[0]), (x, w, todo.shape[1])):
        side = min(whole, max(length + 2 * max(w, h), size))
        first = min(max(0, start + length // 2 - side // 2), whole - side)
        out.append(slice(first, first + side))
    return out[0], out[1]


def native_shape(shape: tuple[int, int], size: int, multiple: int, *, square: bool = False) -> tuple[int, int]:
    """(height, width) of a crop (h, w) at native `size`: about size² pixels in its own proportions, sides rounded.

    size 0: as it is, at most LARGE on the long side. square: size × size, for networks that take nothing else.
    """
    if square:
        return size, size
    scale = size / (shape[0] * shape[1]) ** 0.5 if size else min(1.0, LARGE / max(shape))
    height, width = (max(multiple, round(side * scale / multiple) * multiple) for side in shape)
    return height, width


def shrunk(image: Image, todo: Mask, shape: tuple[int, int]) -> tuple[Image, Mask]:
    """Crop and hole at (height, width); a pixel with any hole in it is hole."""
    size = shape[::-1]
    smaller = shape[0] * shape[1] < todo.size
    picture = cv2.resize(image, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    hole = cv2.resize(todo.astype(np.float32), size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return picture.astype(np.uint8), hole > 1e-3


def grown(picture: Picture, shape: tuple[int, int]) -> Picture:
    """A picture at (height, width)."""
    if picture.shape[:2] == shape:
        return picture
    smaller = shape[0] * shape[1] < picture.shape[0] * picture.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LANCZOS4
    return np.asarray(cv2.resize(picture, shape[::-1], interpolation=how), np.float32).clip(0, 1)


def matched(image: Image, new: Picture, todo: Mask) -> tuple[Picture, float]:
    """`new` (h, w, 3) in [0, 1] with the colours of `image` at the edge of `todo`; how well it knew them, in [0, 1].

    The difference in a ring of known pixels is continued smoothly into the hole and added (a membrane: Farbman et
    al., "Coordinates for instant image cloning", SIGGRAPH 2009). Nothing to compare: unchanged, 0.
    """
    radius = max(2, round(RING * max(todo.shape)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    ring = (cv2.dilate(todo.astype(np.uint8), kernel) > 0) & ~todo
    if not ring.any():
        return new, 0.0
    difference = image.astype(np.float32) / 255 - new
    agreement = float(np.exp(-np.abs(difference[ring]).mean() / 0.1))
    clipped = torch.from_numpy(difference.clip(-LARGEST, LARGEST)).permute(2, 0, 1)[None]
    smooth = push_pull(clipped, torch.from_numpy(~ring)[None, None].float())[0].permute(1, 2, 0).numpy()
    return (new + smooth).clip(0, 1).astype(np.float32), agreement


def changed(image: Image, new: Picture, todo: Mask) -> Mask:
    """Pixels of `todo` that an edit of the whole crop changed, closed and grown a little."""
    distance = np.abs(cv2.GaussianBlur(new - image.astype(np.float32) / 255, (0, 0), 1)).max(2)
    side = 2 * max(1, round(max(todo.shape) / 64)) + 1
    kernel = np.ones((side, side), np.uint8)
    found = cv2.morphologyEx((distance > CHANGED).astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    return todo & (cv2.dilate(found, kernel) > 0)
