"""Where to repaint: from words, a mask, a box or a point to pixels.

A photo too large to be looked at whole is looked up in its overview, and the mask drawn at its own size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from restore.edit.area import Image, Mask, reduced
from restore.edit.request import Part, Request, Shown
from restore.errors import InputError, ObjectNotFoundError, UnsureError
from restore.grounding.finder import EmbeddedFinder
from restore.grounding.ground import Finders, Grounded, ground
from restore.grounding.grounder import Grounder, Instance
from restore.grounding.instruction import Instruction
from restore.grounding.placement import room
from restore.grounding.vocabulary import Vocabulary
from restore.images.geometry import Size, fitted, mask_box
from restore.images.mask import box_mask, check_mask, united, warn_of_most
from restore.images.photo import Photo, Pixels
from restore.images.windows import Window, grow_mask, grow_strokes, shrunk, windows

PENALTY = 0.5  # cost of copying from another detected object, in units of the shift map's colour steps
ALIVE_SIDE = 1024  # long side at which people and animals are looked for,
BESIDE = 0.25  # and how far beyond a hole's window, share of its long side


@dataclass(frozen=True)
class Region:
    """Where to repaint: hole (H, W); parts: what was united in it; barred (H, W): pixels never copied from; alive
    (h, w), the photo's size or less: people and animals, better not copied; instruction: what the prompt said;
    proposal (h, w, 3), the photo's size or less: a finished edit to start from."""

    hole: Mask
    parts: tuple[Part, ...]
    barred: Mask | None = None
    alive: Mask | None = None
    instruction: Instruction | None = None
    proposal: Image | None = None

    @property
    def painted(self) -> bool:
        """Whether something shall appear here."""
        return self.instruction is not None and self.instruction.subject is not None

    def proposed(self, window: Window, size: tuple[int, int]) -> Image | None:
        """The proposal in one window of the photo, at `size` (h, w); None without one."""
        if self.proposal is None:
            return None
        lines = [
            ((np.arange(n) + 0.5) * length / n + first) * small / large - 0.5
            for n, first, length, small, large in zip(
                size, (window.y, window.x), (window.h, window.w), self.proposal.shape, self.hole.shape, strict=False
            )
        ]
        x, y = np.meshgrid(lines[1].astype(np.float32), lines[0].astype(np.float32))
        picture = cv2.remap(self.proposal, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return picture.astype(np.uint8)

    def penalty(self, window: Window) -> NDArray[np.float32] | None:
        """Cost ≥ 0 of copying each pixel of a window, (h, w); None if there is none."""
        if self.alive is None:
            return None
        rows, columns = (
            np.arange(first, first + count) * small // large
            for first, count, small, large in zip(
                (window.y, window.x), (window.h, window.w), self.alive.shape, self.hole.shape, strict=True
            )
        )
        costly = self.alive[rows[:, None], columns] & ~self.hole[window.slices]
        return costly.astype(np.float32) * PENALTY


Find = Callable[[Request], Region]


class RegionFinder:
    """Finds what a request means in a photo.

    grounder: the embedded one; finders: what finds objects by name and point, and overlays, in its stead; copies:
    whether the filler copies from the photo, and so has to know where people and animals are.
    """

    def __init__(self, grounder: Grounder, finders: Finders | None = None, *, copies: bool = True) -> None:
        self.grounder, self.copies = grounder, copies
        self.finders = finders or Finders(EmbeddedFinder(grounder))

    def ground(self, pixels: Image, instruction: Instruction) -> tuple[list[Instance], list[Instance]]:
        """(chosen instances, the others of the same name); for "keep", everything but what is named.

        Raises InputError, ObjectNotFoundError, ModelUnavailableError.
        """
        grounded = self._grounded(pixels, instruction)
        if instruction.action == "keep":
            return [Instance(grounded.mask, grounded.score)], []
        return grounded.chosen, grounded.others

    def _grounded(self, pixels: Image, instruction: Instruction, *, sure: bool = False) -> Grounded:
        """What the instruction means; raises UnsureError where that must be `sure` and is not."""
        grounded = ground(pixels, instruction, self.finders)
        if sure and not grounded.sure and isinstance(self.finders.objects, EmbeddedFinder):  # others' scores are theirs
            best = grounded.candidates[0]
            least = "" if len(grounded.chosen) == 1 else f", least of {len(grounded.chosen)}: {grounded.least:.2f}"
            raise UnsureError(
                f"expected '{instruction.listed}' in the photo, not sure of what was found (best: score "
                f"{best['score']:.2f} at {','.join(map(str, best['box']))}{least}); look with `restore segment`, "
                "then add --yes (Python: sure=False), or give a mask, box or point",
                grounded.candidates,
            )
        return grounded

    def find(self, request: Request, *, copies: bool = True) -> Region:
        """`copies`: whether this fill copies from the photo; see the class. Raises InputError, ObjectNotFoundError.

        In a huge photo words and clicks are looked up by `find_region`.
        """
        photo, given = request.photo, request.given
        barred: Mask | None = None
        found: list[tuple[str, str | None, Mask]] = []
        if request.searched and request.said[0].instruction.action == "add":
            (said,) = request.said
            source = said.source if given is None else request.shown[0].source
            found.append((source, said.text, self._room(request, said.instruction, given)))
        elif request.searched:
            for said in request.said:
                hole, others = self._meant(request, said.instruction, given)
                found.append((said.source, said.text, hole))
                barred = others if barred is None else barred | others
        else:
            text = request.said[0].text if request.said else None
            found += [(shown.source, text, shown.mask) for shown in request.shown]
            if given is not None:
                warn_of_most(given)
            for point in request.points:
                pixels = photo.overview.pixels
                found.append(("point", text, grow_mask(self.finders.objects.at(pixels, point).mask, pixels)))
        hole = check_mask(united([mask for *_, mask in found]), photo.size)
        parts = tuple(part_of(source, text, mask) for source, text, mask in found)
        if barred is not None:
            barred &= ~hole
            barred = barred if barred.any() else None
        alive = self._alive(photo.pixels, hole) if self.copies and copies else None
        alive = alive if alive is not None and alive.any() else None
        return Region(hole, parts, barred, alive, request.instruction)

    def _meant(self, request: Request, instruction: Instruction, given: Mask | None) -> tuple[Mask, Mask]:
        """(the hole for what the instruction means where the request says, the others of the same name)."""
        pixels = request.photo.overview.pixels
        shown = given is not None or bool(request.points)
        inside = np.zeros(pixels.shape[:2], np.bool_) if given is None else given
        chosen: list[Instance] = []
        others: list[Instance] = []
        for thing in instruction.things:
            grounded = self._grounded(pixels, replace(thing, also=()), sure=request.sure and not shown)
            kept = [
                i
                for i in grounded.chosen
                if not shown
                or (i.mask & inside).sum() > 0.5 * i.mask.sum()
                or any(i.mask[y, x] for x, y in request.points)
            ]
            if not kept:
                raise ObjectNotFoundError(f"expected '{thing.phrase}' inside the given region, found none there")
            chosen += kept
            others += grounded.others
        hole = united([i.mask for i in chosen])
        overlay = all(thing.overlay is not None for thing in instruction.things)
        hole = grow_strokes(hole, pixels) if overlay else grow_mask(hole, pixels)
        return hole, united([np.zeros_like(hole), *(i.mask for i in others)])

    def _room(self, request: Request, instruction: Instruction, given: Mask | None) -> Mask:
        """Where a new thing goes: the given mask or box, else beside what the instruction names."""
        if given is not None:
            return given
        if instruction.relation is None:
            raise InputError(
                f"expected where to add {instruction.subject}, got neither mask nor box nor a thing to put it at; "
                'give one, or say for example "add a hat on the man"'
            )
        pixels = request.photo.overview.pixels
        target = self._grounded(pixels, instruction.relation.target, sure=request.sure).chosen
        size = pixels.shape[1], pixels.shape[0]
        box = room(instruction.relation.kind, mask_box(np.any([i.mask for i in target], axis=0)), size)
        return box_mask(box, size)

    def _alive(self, pixels: Pixels, hole: Mask) -> Mask:
        """People and animals in the windows around the hole, (h, w), long side ≤ `ALIVE_SIDE`: a fill that copies them
        puts a second head or tail where none was."""
        h, w = fitted((hole.shape[0], hole.shape[1]), ALIVE_SIDE)
        found = np.zeros((h, w), np.bool_)
        for window in windows(hole):
            around = window.grown(BESIDE, hole.shape)
            rows, columns = (
                slice(first * small // large, -(-(first + count) * small // large))
                for first, count, small, large in zip(
                    (around.y, around.x), (around.h, around.w), (h, w), hole.shape, strict=True
                )
            )
            size = columns.stop - columns.start, rows.stop - rows.start
            crop = reduced(pixels[around.slices], size[::-1])
            looks = self.grounder.look(crop, roughly=True, share=max(size) / max(h, w))
            alive = self.grounder.find_in(looks, (), True, closely=False)
            alive += self.grounder.find_in(looks, Vocabulary.load().lookup("animal").classes, False, closely=False)
            for instance in alive:
                found[rows, columns] |= instance.mask
        return found


def find_region(find: Find, request: Request) -> Region:
    """What `find`, such as `RegionFinder.find`, finds in a photo of any size. Raises as it does.

    Found by words or a click it is as precise as a photo of `limits.OVERVIEW_SIDE` shows it.
    """
    photo, given = request.photo, request.given
    if isinstance(photo, Photo) or not (request.searched or request.points):
        return find(request)
    small = photo.overview
    shown = () if given is None or not request.searched else (Shown("mask", shrunk(given, small.pixels.shape[:2])),)
    points = tuple((x * small.size[0] // photo.size[0], y * small.size[1] // photo.size[1]) for x, y in request.points)
    region = find(replace(request, photo=small, shown=shown, points=points))
    parts = tuple(_scaled(part, small.size, photo.size) for part in region.parts)
    if given is not None and request.searched and _placed(region):
        return replace(region, hole=given, parts=parts)
    hole = _lifted(region.hole, photo.size)
    if given is not None and request.searched:
        hole &= given
    elif given is not None:
        hole |= given
        text = request.said[0].text if request.said else None
        parts = (*(part_of(one.source, text, one.mask) for one in request.shown), *parts)
    barred = None if region.barred is None else _lifted(region.barred, photo.size)
    return replace(region, hole=check_mask(hole, photo.size), parts=parts, barred=barred)


def part_of(source: str, text: str | None, mask: Mask) -> Part:
    """What is told of a region (H, W) that is united with others."""
    return Part(source, text, int(mask.sum()), mask_box(mask))


def _scaled(part: Part, small: Size, large: Size) -> Part:
    """A part of an overview of size `small` (w, h) as one of the photo of size `large` (W, H)."""
    x, y, w, h = part.box
    x0, x1 = (v * large[0] // small[0] for v in (x, x + w))
    y0, y1 = (v * large[1] // small[1] for v in (y, y + h))
    pixels = part.pixels * large[0] * large[1] // (small[0] * small[1])
    return replace(part, pixels=pixels, box=(x0, y0, x1 - x0, y1 - y0))


def _placed(region: Region) -> bool:
    """Whether what was given is where something new goes, not where something is looked for."""
    return region.instruction is not None and region.instruction.action == "add"


def _lifted(small: Mask, size: tuple[int, int]) -> Mask:
    """A mask (h, w) at `size` (W, H), interpolated. Memory is taken only where it is true."""
    (width, height), (h, w) = size, small.shape
    out = np.zeros((height, width), np.bool_)
    _, _, stats, _ = cv2.connectedComponentsWithStats(small.astype(np.uint8))
    for left, top, across, down, _ in stats[1:].tolist():
        y0, y1, x0, x1 = max(0, top - 1), min(h, top + down + 1), max(0, left - 1), min(w, left + across + 1)
        place = np.s_[y0 * height // h : y1 * height // h, x0 * width // w : x1 * width // w]
        shape = out[place].shape
        crop = small[y0:y1, x0:x1].astype(np.uint8) * np.uint8(255)
        out[place] |= cv2.resize(crop, shape[::-1], interpolation=cv2.INTER_LINEAR) > 127
    return out
