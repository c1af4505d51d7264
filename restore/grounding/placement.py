"""Where a new thing goes: "a hat on the man" as a box beside, on or in the man's."""

from __future__ import annotations

import math

from restore.errors import InputError
from restore.grounding.meaning import Relating

Box = tuple[int, int, int, int]  # x, y, width, height in pixels

OWN_SIZE = ("near", "left", "right", "front", "behind")  # about as large as the target; else half its side
SINK = 0.25  # share of the new box's height by which it sinks into what it stands on
LEAST_ROOM = 0.3  # of the new box's area must lie in the photo


def room(kind: Relating, target: Box, size: tuple[int, int]) -> Box:
    """A square box for a thing in relation `kind` to the box `target` in a photo of `size` (width, height).

    Its side is the target's (√(w·h)) for near, left, right, front and behind, half of it for on, in, with, above and
    below. left, right, near: beside it, on the same ground, near on the side with more room. on: centred, standing on
    its upper edge and a quarter sunk in. above, below: touching it. behind: as on, half sunk. front: before its foot.
    in, with: in its middle. Cut at the photo's edge; raises InputError where less than a third of it is left.
    """
    x, y, w, h = target
    side = max(8, round(math.sqrt(w * h) * (1 if kind in OWN_SIZE else 0.5)))
    left, right, foot, middle = x - side, x + w, y + h - side, x + (w - side) // 2
    corner = {
        "left": (left, foot),
        "right": (right, foot),
        "near": (right if size[0] - right >= x else left, foot),
        "on": (middle, round(y - (1 - SINK) * side)),
        "behind": (middle, y - side // 2),
        "above": (middle, y - side),
        "below": (middle, y + h),
        "front": (middle, y + h - side // 2),
        "in": (middle, y + (h - side) // 2),
        "with": (middle, y + (h - side) // 2),
    }[kind]
    x0, y0 = max(0, corner[0]), max(0, corner[1])
    x1, y1 = min(size[0], corner[0] + side), min(size[1], corner[1] + side)
    if max(0, x1 - x0) * max(0, y1 - y0) < LEAST_ROOM * side * side:
        raise InputError(
            f"expected room {kind} the object at {x},{y},{w},{h}, found the photo's edge; give a mask or box"
        )
    return x0, y0, x1 - x0, y1 - y0
