"""What a model that fills must offer the loop, and the embedded one.

The loop knows areas, judgements and passes; a filler knows one model. Every model is a `Filler`: the loop, the
reports and the guarantees are the same whichever is named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from restore.edit.area import SIDE, Area, Candidate, Image, Mask
from restore.grounding.instruction import Instruction
from restore.images.windows import Window
from restore.pipelines.fill.builtin import STRATEGIES, BuiltinPipeline
from restore.pipelines.fill.enlarge import KEPT, enlarge
from restore.pipelines.fill.transforms import uncropped
from restore.settings import Settings

CANDIDATES = 1009  # seeds of a pass are that far apart
BESIDE = 0.5  # what later passes see on each side of a bad part, share of its longer side,
LEAST_BESIDE = 48  # and pixels at least,
MOST = 0.6  # unless that is this share of the window


@dataclass(frozen=True)
class Order:
    """What one pass asks of a filler.

    instruction: what the user said, None for a bare mask, box or point. index: the pass, from 1; candidates are
    numbered on over the passes, so that no two are alike, and from where the next seed's begin, so that another seed
    is another variant. barred (h, w): known pixels never copied from; penalty
    (h, w) ≥ 0: cost of copying a pixel; both of the area's window. proposal (h, w, 3): a
    finished edit of it. on_candidate(k) is called after each fill,
    on_step() between the steps of a long one; both may raise Cancelled.
    """

    settings: Settings
    index: int
    instruction: Instruction | None = None
    barred: Mask | None = None
    penalty: NDArray[np.float32] | None = None
    proposal: Image | None = None
    on_candidate: Callable[[int], None] | None = None
    on_step: Callable[[], None] | None = None

    @property
    def seed(self) -> int:
        """Of the pass: same settings, same bytes."""
        return self.settings.seed * 1000003 + self.index

    @property
    def first(self) -> int:
        """Number of the pass's first candidate."""
        return (self.index - 1 + self.settings.seed) * self.settings.candidates

    def generator(self, k: int) -> torch.Generator:
        """Of candidate k alone: asking for more candidates leaves the first ones as they are."""
        return torch.Generator().manual_seed(self.seed * CANDIDATES + k)


class Filler(Protocol):
    """A model behind a name. side: long side, pixels, up to which a window is worked on at its own size; patience:
    passes in a row without gain after which another is not worth its time."""

    side: int
    patience: int

    def fill(self, area: Area, todo: Mask, order: Order) -> list[Candidate]:
        """`order.settings.candidates` pictures of the area's window, or fewer where no more could differ, changed
        inside `todo` only."""
        ...


class BuiltinFiller:
    """The embedded fill (pipelines/fill/builtin.py). What it copies is chosen, not drawn: once a pass gains nothing,
    the next does not either (of 27 such passes 6 came nearer to the truth)."""

    side, patience = SIDE, 1

    def __init__(self, pipeline: BuiltinPipeline) -> None:
        self.pipeline = pipeline

    def fill(self, area: Area, todo: Mask, order: Order) -> list[Candidate]:
        count = order.settings.candidates
        forbidden = area.hole & ~todo  # what an earlier pass made up
        if order.barred is not None:
            forbidden |= order.barred
        near = Window(0, 0, *todo.shape[::-1]) if area.judgement is None else _around(todo)
        inside = near.slices
        barred, penalty = forbidden[inside], order.penalty
        output = self.pipeline(
            as_tensor(area.image[inside]),
            torch.from_numpy(todo[inside])[None, None].float(),
            generator=torch.Generator().manual_seed(order.seed),
            strategies=[STRATEGIES[(order.first + k) % len(STRATEGIES)] for k in range(count)],
            num_inference_steps=order.settings.steps,
            barred=barred if barred.any() else None,
            penalty=None if penalty is None else penalty[inside],
            callback_on_step_end=order.on_candidate,
        )
        found = []
        for new, maps in zip(output.images, output.sources, strict=True):
            image, source = area.image.copy(), np.zeros((*todo.shape, maps.shape[-1]), np.int32)
            image[inside] = pasted(image[inside], new, todo[inside])
            source[inside] = uncropped(maps, near.y, near.x)
            found.append(Candidate(image, output.confidence, source))
        return found


def _around(todo: Mask) -> Window:
    """What a later pass looks at: the bad part and its surroundings, so that it is seen larger than before; the whole
    window where that is most of it anyway."""
    y, x = np.nonzero(todo)
    part = Window(int(x.min()), int(y.min()), int(np.ptp(x)) + 1, int(np.ptp(y)) + 1)
    near = part.grown(BESIDE, todo.shape, LEAST_BESIDE)
    return near if near.w * near.h < MOST * todo.size else Window(0, 0, *todo.shape[::-1])


class DraftFiller:
    """The embedded draft with the photo's own detail: an instant preview."""

    side, patience = SIDE, 1

    def __init__(self, pipeline: BuiltinPipeline) -> None:
        self.pipeline = pipeline

    def fill(self, area: Area, todo: Mask, order: Order) -> list[Candidate]:
        small, _, confidence = self.pipeline.small_draft((area.image / 255).astype(np.float32), todo)
        picture = np.rint(small * 255).astype(np.uint8)
        if todo.shape == (area.window.h, area.window.w):
            image = enlarge(area.image, todo, picture, np.zeros((*small.shape[:2], len(KEPT)), np.int32))
        else:  # the window gets its detail when it is enlarged to its full size
            soft = cv2.resize(picture, todo.shape[::-1], interpolation=cv2.INTER_CUBIC)
            image = np.where(todo[..., None], soft, area.image)
        if order.on_candidate is not None:
            order.on_candidate(0)
        return [Candidate(image, confidence)]


def as_tensor(image: Image) -> torch.Tensor:
    """(1, 3, h, w) float32 in [0, 1] of an (h, w, 3) uint8 image."""
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


def pasted(image: Image, new: torch.Tensor, todo: Mask) -> Image:
    """A copy of `image` (h, w, 3) with the pixels of `new` (3, h, w) in [0, 1] where `todo` says so."""
    out = image.copy()
    out[todo] = (new.permute(1, 2, 0).numpy()[todo] * 255 + 0.5).astype(np.uint8)
    return out
