"""The loop: fill, judge, keep what is better, fill the bad pixels again, stop when good enough.

Iterated refinement after Zhang et al. (ECCV 2022); a pass that is not better is rolled back,
because iterated fills otherwise grow smoother instead of better.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from restore.edit.area import Area, Candidate, Image, Mask, Outcome, PassRecord
from restore.images.geometry import fitted
from restore.pipelines.fill.enlarge import KEPT, Source
from restore.pipelines.fill.expansion import Expansion
from restore.quality.judges.judge import Judgement
from restore.settings import Settings

PATIENCE = 3  # passes in a row without gain before a model that draws gives up
CLEARLY = 0.1  # PAR that counts whatever else is told
MONTAGE_SIDE = 128  # long side, pixels, at which regions of several fills are put together
MONTAGE_TRUST = 0.6  # weight of the judge's probability against colour steps across a cut
MONTAGE_EXPECTED = 1.0  # weight of the distance to the expected features, alike


class Fill(Protocol):
    """Fills `todo` of an area; `index` counts passes from 1 and picks strategies and seeds."""

    def __call__(self, area: Area, todo: Mask, index: int) -> list[Candidate]: ...


Judge = Callable[[Image, Mask], Judgement]


def repair(
    areas: list[Area],
    pixels: int,
    fill: Fill,
    judge: Judge,
    settings: Settings,
    on_pass: Callable[[PassRecord, list[Area]], None] | None = None,
    patience: int = PATIENCE,
    until: float | None = None,
) -> Outcome:
    """Run the loop. `pixels` is the photo's size, for PAR_image; areas that carry a judgement are refined.
    on_pass hears of each pass and of the areas as they stand after it. patience: passes in a row without gain that end
    the loop. until: no pass after the first begins that would end later if it took as long as the one before it
    (time.perf_counter)."""
    passes: list[PassRecord] = []
    history: list[list[Area]] = []
    proposed: list[list[Area]] = []
    stop, gainless = "budget", 0
    if all(area.judgement is not None for area in areas):  # an existing picture: its own state is pass 0
        passes.append(_record(0, areas, pixels, True, 0.0))
        history.append(areas)
        proposed.append(areas)
        stop = "threshold" if passes[-1].par_hole <= settings.par else stop
    for index in range(1, settings.passes + 1):
        if stop == "threshold":
            break
        started = time.perf_counter()
        if until is not None and index > 1 and started + passes[-1].seconds > until:
            stop = "time"
            break
        tried = [_attempt(area, index, fill, judge, settings.par) for area in areas]
        kept = [new if _better(new, old) else old for new, old in zip(tried, areas, strict=True)]
        accepted = any(new is not old for new, old in zip(kept, areas, strict=True))
        before, areas = areas, kept
        heard = list(dict.fromkeys(a.heard for a, old in zip(tried, before, strict=True) if a is not old and a.heard))
        record = _record(index, areas if accepted else tried, pixels, accepted, time.perf_counter() - started)
        passes.append(replace(record, heard=heard))
        history.append(areas)
        proposed.append(tried)
        if on_pass is not None:
            on_pass(passes[-1], areas)
        gainless = 0 if accepted else gainless + 1
        if accepted and passes[-1].par_hole <= settings.par:
            stop = "threshold"
        elif gainless == patience:
            stop = "no-gain"
            break
    return Outcome(passes, stop, history, proposed)


def _attempt(area: Area, index: int, fill: Fill, judge: Judge, par: float) -> Area:
    """The best that a pass can do for one area; the area itself when it is already good."""
    if area.judgement is not None and area.judgement.par_hole <= par:
        return area
    todo = area.bad()
    tried = [
        replace(
            area,
            image=c.image,
            judgement=judge(c.image, area.hole),
            confidence=c.confidence,
            source=_filled(area, todo, c.source),
            heard=c.heard,
        )
        for c in fill(area, todo, index)
    ]
    if area.judgement is None:
        first = min(tried, key=_cost)
        if len(tried) == 1:
            return first
        return min(first, _mixed(first, todo, tried, judge), key=_cost)
    tried.append(_mixed(area, todo, tried, judge))
    better = [a for a in tried if _better(a, area)]
    return min(better or tried, key=_cost)


def _mixed(area: Area, todo: Mask, tried: list[Area], judge: Judge) -> Area:
    """Every region of `todo` from the picture, old or new, that has the least wrong there.

    A photomontage (Agarwala et al., SIGGRAPH 2004): the judge's probability and the distance to the expected features
    are the unary cost, colour steps between the pictures the seam cost, one minimum cut a label; the cuts run where
    the pictures agree.
    """
    pictures = [area, *tried]
    size = fitted((todo.shape[1], todo.shape[0]), MONTAGE_SIDE)
    small = cv2.resize(todo.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    colour = np.stack([cv2.resize(p.image, size, interpolation=cv2.INTER_AREA)[small] for p in pictures])
    judged = [p.judgement for p in pictures if p.judgement is not None]
    wrong = np.array([cv2.resize(_wrong(j), size, interpolation=cv2.INTER_AREA)[small] for j in judged], np.float32)
    expansion = Expansion(small, colour.astype(np.float32) / 255, wrong, np.ones(wrong.shape, dtype=np.bool_))
    choice = np.zeros(small.shape, np.uint8)
    choice[small] = expansion.run(sweeps=2)[0]
    chosen = cv2.resize(choice, todo.shape[::-1], interpolation=cv2.INTER_NEAREST)
    image, source = area.image.copy(), _filled(area, np.zeros_like(todo), None)
    for k, picture in enumerate(tried, 1):
        part = todo & (chosen == k)
        image[part] = picture.image[part]
        if picture.source is not None:
            source[part] = picture.source[part]
    judgement, heard = judge(image, area.hole), tried[0].heard
    return replace(area, image=image, judgement=judgement, confidence=tried[0].confidence, source=source, heard=heard)


def _filled(area: Area, todo: Mask, source: Source | None) -> Source:
    """Where the area's pixels come from once `todo` is filled from `source`; a copy."""
    out = np.empty((*todo.shape, len(KEPT)), np.int32) if area.source is None else area.source.copy()
    if area.source is None:
        out[:] = KEPT
    out[todo] = 0 if source is None else source[todo]
    return out


def _wrong(judgement: Judgement) -> NDArray[np.float32]:
    trust = MONTAGE_TRUST * judgement.probability
    return trust if judgement.distance is None else trust + MONTAGE_EXPECTED * judgement.distance


def _par(area: Area) -> float:
    return 1.0 if area.judgement is None else area.judgement.par_hole


def _cost(area: Area) -> float:
    return np.inf if area.judgement is None else area.judgement.cost


def _better(new: Area, old: Area) -> bool:
    """Nearer to the truth, as far as can be told, with no more artifacts, or clearly fewer of them; where the distance
    is not known fewer at no higher cost. Any fill is better than none.

    Of 167 later passes the distance tells 71 % right, fewer artifacts at no higher cost 61 %.
    """
    if new is old or new.judgement is None:
        return False
    if old.judgement is None:
        return True
    fewer, before, after = _par(old) - _par(new), old.judgement.expected, new.judgement.expected
    if before is None or after is None:
        return fewer > 0 and _cost(new) <= _cost(old)
    return fewer > CLEARLY or (fewer >= 0 and after < before)


def _record(index: int, areas: list[Area], pixels: int, accepted: bool, seconds: float) -> PassRecord:
    judged = [(a, a.judgement) for a in areas if a.judgement is not None]
    if not judged:  # nothing to repair: as good as an untouched photo
        return PassRecord(index, 0.0, 0.0, 100.0, 1.0, accepted, seconds)
    holes = [int(j.hole.sum()) for _, j in judged]
    bad = sum(int(j.artifacts.sum()) for _, j in judged)
    total = sum(holes)
    quality = sum(j.quality * n for (_, j), n in zip(judged, holes, strict=True)) / total
    confidence = sum(a.confidence * n for (a, _), n in zip(judged, holes, strict=True)) / total
    return PassRecord(index, bad / total, bad / max(1, pixels), quality, confidence, accepted, seconds)
