"""What is laid over a photo or written in it: the interface of whatever finds text, scratches, dust and wires."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from restore.grounding.grounder import Image, Instance
from restore.grounding.meaning import OverlayKind


class OverlayFinder(Protocol):
    """Anything that finds what is laid over a photo. `Finders(objects, overlays)` of ground.py is where it goes."""

    def laid_over(self, image: Image, kinds: Sequence[OverlayKind]) -> list[Instance]:
        """What is of any of `kinds` in `image` (H, W, 3) RGB, best first; none = empty list.

        An instance is what one would point at: a line or block of text, one scratch, one wire. Masks (H, W) are tight;
        growing them is the caller's.
        """
        ...
