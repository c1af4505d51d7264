"""One repaint from its region to what stands in the end, made anew where the grounder says that it failed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from restore.edit.area import Area, Candidate, Image, Mask, Outcome, PassRecord, areas_of, edited, reduced
from restore.edit.fillers import Filler, Order
from restore.edit.find import Region
from restore.edit.loop import repair
from restore.edit.presence import Presence, copied_from, presence
from restore.errors import tell
from restore.grounding.ground import Finders, named
from restore.grounding.grounder import Instance
from restore.images.huge import AnyPhoto
from restore.quality.judges.judge import Judgement
from restore.settings import Settings

OnPass = Callable[[PassRecord], Any]
OnStep = Callable[[int, int], Any]
OnKept = Callable[[PassRecord, AnyPhoto], Any]
AnyJudge = Callable[..., Judgement]  # of an image (H, W, 3), and of its hole (H, W) if not of everything
RETRIES = 1  # attempts after the first while the grounder says that the instruction was not followed


@dataclass(frozen=True)
class Run:
    """What is repainted, by what, judged by whom, and who is told: `on_pass(record)`, `on_step(done, total)` and
    `on_kept(record, photo)`, with the photo after a pass that was kept, may return False to stop. started: since
    when its seconds count (time.perf_counter)."""

    photo: AnyPhoto
    region: Region
    filler: Filler
    judge: AnyJudge
    settings: Settings
    on_pass: OnPass | None = None
    on_step: OnStep | None = None
    on_kept: OnKept | None = None
    started: float = 0.0

    @property
    def until(self) -> float | None:
        """When its time is up, None where it has no limit."""
        return None if self.settings.max_seconds is None else self.started + self.settings.max_seconds

    def made_sure(self, finders: Finders, retries: int = RETRIES) -> tuple[Outcome, Presence | None]:
        """The repaired areas, made anew where the grounder finds what should be gone or misses what should be there.

        Raises Cancelled.
        """
        trial, best = self, self.attempt(finders)
        outcome, told = best
        for attempt in range(1, 1 + retries):
            if told is None or told.right or self._late(outcome):
                break
            settings = self.settings.updated(seed=self.settings.seed + attempt)
            trial = replace(trial, region=trial.without(outcome.areas, told), settings=settings)
            outcome, told = trial.attempt(finders)
            if told is not None and best[1] is not None and told.better(best[1]):
                best = outcome, told
        return best

    def _late(self, outcome: Outcome) -> bool:
        """Whether not even a first pass like the last attempt's would end in time."""
        return self.until is not None and time.perf_counter() + outcome.passes[0].seconds > self.until

    def attempt(self, finders: Finders) -> tuple[Outcome, Presence | None]:
        """The areas of the region, repaired, and whether what the words said is so; None where no words said it."""
        outcome = self.repaired(areas_of(self.photo.pixels, self.region.hole, self.filler.side))
        said = self.region.instruction
        if said is None:
            return outcome, None
        subject, things = said.subject, said.things

        def look(image: Image) -> list[Instance]:
            if subject is not None:
                return finders.objects.named(image, subject)
            return [instance for thing in things for instance in named(image, thing, finders)]

        return outcome, presence(look, outcome.areas, subject or said.listed, wanted=self.region.painted)

    def without(self, areas: list[Area], told: Presence) -> Region:
        """The region for the next attempt: what was found again was copied or proposed, neither shall happen twice."""
        barred = copied_from(areas, told.found, self.photo.pixels.shape)
        if self.region.barred is not None:
            barred |= self.region.barred
        barred[self.region.hole] = False
        return replace(self.region, barred=barred, proposal=None)

    def repaired(self, areas: list[Area]) -> Outcome:
        """The loop over `areas`. Raises Cancelled."""
        region, settings = self.region, self.settings
        total = settings.passes * max(1, len(areas)) * settings.candidates
        done = 0

        def step(_: int) -> None:
            nonlocal done
            done += 1
            tell(self.on_step, done, total)

        def alive() -> None:
            tell(self.on_step, done, total)

        alive()  # with what is to come, and as a last chance to stop before it

        def fill(area: Area, todo: Mask, index: int) -> list[Candidate]:
            cost = region.penalty(area.window)
            h, w = area.hole.shape
            cost = None if cost is None else reduced(cost, (h, w))
            barred = None if region.barred is None else reduced(region.barred[area.window.slices], (h, w))
            proposal = region.proposed(area.window, (h, w))
            order = Order(settings, index, region.instruction, barred, cost, proposal, on_candidate=step, on_step=alive)
            return self.filler.fill(area, todo, order)

        def judge(image: Image, hole: Mask) -> Judgement:
            judgement = self.judge(image, hole)
            # What may have been there before is no measure of something new.
            return replace(judgement, distance=None) if region.painted else judgement

        def passed(record: PassRecord, areas: list[Area]) -> None:
            tell(self.on_pass, record)
            if self.on_kept is not None and record.accepted:
                tell(self.on_kept, record, edited(self.photo, areas, region.hole))

        height, width = self.photo.pixels.shape[:2]
        return repair(areas, height * width, fill, judge, settings, passed, self.filler.patience, self.until)
