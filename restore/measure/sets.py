"""Do sets of pictures differ? Scores of sets with intervals, differences between sets, and a verdict in words.

Works on features and per-picture scores; files are read by `restore.measure.pictures`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from restore.errors import InputError
from restore.quality.catalogue import OF_SETS, PER_IMAGE, measure_of
from restore.quality.metrics.giqa import diversity_scores, quality_scores
from restore.quality.metrics.manifold import density_coverage, precision_recall
from restore.quality.metrics.sets import (
    frechet_distance,
    half_samples,
    interval_of,
    kernel_distance,
    p_ids,
    paired_difference,
    resampled,
    share_interval,
    u_ids,
)

LEAST = 20  # pictures below which no score of a set is given
FEW = 100  # below which every one comes with a warning
PER_DIMENSION = 10  # pictures per feature dimension below which FID and the IDS come with a warning
SVM_SCORES = ("u_ids", "p_ids")
WHOLE = ("fid", "kid", "precision", "recall", "density", "coverage", "u_ids")
BOUNDS = dict.fromkeys(("precision", "recall", "coverage", "p_ids"), (0.0, 1.0)) | {
    "u_ids": (0.0, 0.5),
    "fid": (0.0, np.inf),
    "density": (0.0, np.inf),
}
SHARES = ("precision", "recall", "coverage", "u_ids", "p_ids")  # of pictures: known no better than a count is
DECIDING = ("quality", "score", "psnr", "ssim", "feature_distance", "feature_distance_hole")  # paired tests


@dataclass(frozen=True)
class PictureSet:
    """Pictures by name (unique, sorted), their feature rows (N, D) and their scores, a dict per picture."""

    label: str
    names: list[str]
    features: np.ndarray
    scores: list[dict[str, float | None]]


@dataclass(frozen=True)
class SetScore:
    """value and interval are None where `note` says the sets are too small; errors (draws,) stand behind both."""

    value: float | None
    interval: tuple[float, float] | None
    note: str | None
    errors: np.ndarray | None = None

    def summary(self) -> dict[str, Any]:
        interval = None if self.interval is None else list(self.interval)
        return {"value": self.value, "interval": interval, "note": self.note}


def key_of(name: str, net: str) -> str:
    """fid and kid carry the feature network's name in their key."""
    return f"{name}_{net}" if name in ("fid", "kid") else name


def set_scores(real: PictureSet, fake: PictureSet, net: str, draws: int = 100) -> dict[str, SetScore]:
    """All scores of `fake` against `real` by key, each with its 95 % interval (see `sets.resampled`).

    P-IDS uses the pictures whose names are in both. QS and DS: the spread over pictures, the mixtures as fitted.
    """
    pairs = _pairs(real, fake)
    enough = {name: _too_few(name, real, fake, len(pairs[0])) for name in OF_SETS}
    found: dict[str, SetScore] = {}
    if enough["fid"] is None:
        names = WHOLE if enough["u_ids"] is None else WHOLE[:-1]
        paired = real.names == fake.names

        def whole(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            (p, r), (d, c) = precision_recall(a, b), density_coverage(a, b)
            basic = [frechet_distance(a, b), kernel_distance(a, b, paired=paired), p, r, d, c]
            return np.array([*basic, u_ids(a, b)] if "u_ids" in names else basic)

        values = whole(real.features, fake.features)
        errors = resampled(whole, real.features, fake.features, paired=paired, draws=draws)
        found |= {name: _scored(name, values[i], errors[:, i], real, fake) for i, name in enumerate(names)}
        for name, function, rows in (
            ("qs", quality_scores, len(fake.names)),
            ("ds", diversity_scores, len(real.names)),
        ):
            scores = function(fake.features, real.features)
            spread = np.array([scores[half].mean() for half in half_samples(rows, draws)])
            found[name] = _scored(name, float(scores.mean()), spread - spread.mean(), real, fake)
    if enough["p_ids"] is None:
        a, b = real.features[pairs[0]], fake.features[pairs[1]]
        found["p_ids"] = _scored("p_ids", p_ids(a, b), resampled(p_ids, a, b, paired=True, draws=draws), real, fake)
    return {key_of(name, net): found.get(name) or SetScore(None, None, enough[name]) for name in OF_SETS}


def set_differences(
    first: tuple[PictureSet, dict[str, SetScore]], second: tuple[PictureSet, dict[str, SetScore]]
) -> dict[str, dict[str, Any]]:
    """first − second by key: value, interval, better ("first", "second" or None), and n and p for paired tests.

    Sets: the errors are subtracted draw by draw, so what both owe to the same reference cancels. Pictures of the
    same names: mean difference of every score both have, bootstrap interval, Wilcoxon's p.
    """
    (a, scores_a), (b, scores_b) = first, second
    found: dict[str, dict[str, Any]] = {}
    for key, x in scores_a.items():
        y = scores_b[key]
        if x.value is None or y.value is None or x.errors is None or y.errors is None:
            continue
        value = x.value - y.value
        interval = interval_of(value, x.errors - y.errors)
        if key in SHARES and x.interval is not None and y.interval is not None:  # Newcombe (1998), method 10
            low = value - np.hypot(x.value - x.interval[0], y.interval[1] - y.value)
            high = value + np.hypot(x.interval[1] - x.value, y.value - y.interval[0])
            interval = min(interval[0], float(low)), max(interval[1], float(high))
        found[key] = _difference(key, value, interval)
    places = {name: i for i, name in enumerate(b.names)}
    shared = [(i, places[name]) for i, name in enumerate(a.names) if name in places]
    for key in PER_IMAGE:
        both = [(a.scores[i].get(key), b.scores[j].get(key)) for i, j in shared]
        numbers = [(x, y) for x, y in both if x is not None and y is not None]
        if len(numbers) >= LEAST:
            mean, interval, p = paired_difference([x for x, _ in numbers], [y for _, y in numbers])
            found[key] = _difference(key, mean, interval) | {"p": p, "n": len(numbers)}
    return found


def verdict(sets: Sequence[tuple[PictureSet, dict[str, SetScore]]], differences: list[dict[str, Any]]) -> str:
    """One or more sentences: which set is better in what, counting only intervals that exclude 0."""
    if len(sets) == 1:
        fake, scores = sets[0]
        told = [
            f"{measure_of(k).title} {_number(s.value)} ({_span(s.interval)})"
            for k, s in scores.items()
            if s.value is not None
        ]
        return f"{fake.label}: {', '.join(told)}." if told else f"{fake.label}: too few pictures to score the set."
    sentences = []
    for pair in differences:
        a, b, scores = pair["first"], pair["second"], pair["scores"]
        decided = {"first": [], "second": []}  # type: dict[str, list[str]]
        for key, found in scores.items():
            if found["better"] is not None and (key not in PER_IMAGE or key in DECIDING):
                decided[found["better"]].append(measure_of(key).title)
        won, lost = decided["first"], decided["second"]
        if won and lost:
            sentences.append(f"{a} is better in {_list(won)}, {b} in {_list(lost)}.")
        elif won or lost:
            better, worse = (a, b) if won else (b, a)
            sentences.append(
                f"{better} is better than {worse} in {_list(won or lost)}; it is worse in nothing that counts."
            )
        else:
            sentences.append(f"No difference between {a} and {b} is shown.")
    return " ".join(sentences)


def comparison(real: PictureSet, fakes: Sequence[PictureSet], scored: list[dict[str, SetScore]]) -> dict[str, Any]:
    """Everything about the sets as plain data: the object that `compare --json` prints, but for schema and failures."""
    if not fakes:
        raise InputError("expected at least one set to compare with the reference, got none")
    sets, both = [], list(zip(fakes, scored, strict=True))
    for fake, scores in both:
        missing = sorted(set(real.names) - set(fake.names)), sorted(set(fake.names) - set(real.names))
        pairing = {"pairs": len(real.names) - len(missing[0]), "missing": missing[0], "unmatched": missing[1]}
        sets.append({"set": fake.label, "n": len(fake.names), **pairing} | {k: s.summary() for k, s in scores.items()})
    differences = [
        {"first": a[0].label, "second": b[0].label, "scores": set_differences(a, b)} for a, b in combinations(both, 2)
    ]
    return {
        "reference": {"set": real.label, "n": len(real.names)},
        "sets": sets,
        "differences": differences,
        "verdict": verdict(both, differences),
        "warnings": _warnings(both),
    }


def _scored(name: str, value: float, errors: np.ndarray, real: PictureSet, fake: PictureSet) -> SetScore:
    n, width = min(len(real.names), len(fake.names)), real.features.shape[1]
    note = None
    if n < FEW:
        note = f"{n} pictures are few: read large differences only"
    elif name in ("fid", *SVM_SCORES) and n < PER_DIMENSION * width:
        bias = "biased upwards" if name == "fid" else "biased downwards"
        note = f"{n} pictures for {width} features: {bias}, compare only sets of this size"
    interval = interval_of(float(value), errors, bounds=BOUNDS.get(name, (-np.inf, np.inf)))
    if name in SHARES:  # where all halves agree, resampling sees no error at all
        low, high = share_interval(float(value), n)
        interval = min(interval[0], low), max(interval[1], high)
    return SetScore(float(value), interval, note, errors)


def _too_few(name: str, real: PictureSet, fake: PictureSet, pairs: int) -> str | None:
    """Why a score would mean nothing, or None. 2N points in D dimensions split at will below N = D (Cover, 1965)."""
    n, width = min(len(real.names), len(fake.names)), real.features.shape[1]
    if name == "p_ids" and pairs == 0:
        return "no picture has a reference of its name: nothing to pair"
    counted, kind = (pairs, "pairs") if name == "p_ids" else (n, "pictures")
    # A half-sample must not be separable by its size alone either.
    least = max(LEAST, 2 * width) if name in SVM_SCORES else LEAST
    return f"expected at least {least} {kind}, got {counted}: too few to mean anything" if counted < least else None


def _pairs(real: PictureSet, fake: PictureSet) -> tuple[list[int], list[int]]:
    places = {name: i for i, name in enumerate(fake.names)}
    rows = [i for i, name in enumerate(real.names) if name in places]
    return rows, [places[real.names[i]] for i in rows]


def _difference(key: str, value: float, interval: tuple[float, float]) -> dict[str, Any]:
    better = None
    way = measure_of(key).better
    if way != "neither" and (interval[0] > 0 or interval[1] < 0):
        better = "first" if (interval[0] > 0) == (way == "higher") else "second"
    return {"value": value, "interval": list(interval), "better": better}


def _warnings(sets: Sequence[tuple[PictureSet, dict[str, SetScore]]]) -> list[str]:
    """The notes, each once per set with the scores it is about."""
    lines = []
    for fake, scores in sets:
        by_note: dict[str, list[str]] = {}
        for key, score in scores.items():
            if score.note is not None:
                by_note.setdefault(score.note, []).append(key)
        lines += [f"{fake.label}: {', '.join(keys)}: {note}" for note, keys in by_note.items()]
    return lines


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _span(interval: tuple[float, float] | None) -> str:
    return "–" if interval is None else f"{interval[0]:.3g} to {interval[1]:.3g}"


def _list(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
