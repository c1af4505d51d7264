"""Scores of sets: refused when too few, told apart when they differ, and not when they do not."""

from __future__ import annotations

import numpy as np
import pytest

from restore.errors import InputError
from restore.measure.sets import PictureSet, comparison, set_differences, set_scores
from restore.quality.catalogue import OF_SETS

D = 4


def picture_set(
    label: str, seed: int, n: int = 150, *, shift: float = 0.0, scale: float = 1.0, prefix: str = ""
) -> PictureSet:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, D)) * scale + shift
    scores: list[dict[str, float | None]] = [
        {"quality": 50 - 10 * shift + rng.normal(), "psnr": None} for _ in range(n)
    ]
    return PictureSet(label, [f"{prefix}{i:03d}" for i in range(n)], features, scores)


REAL = picture_set("real", 0)
GOOD = picture_set("good", 1)
BAD = picture_set("bad", 2, shift=1.5)


@pytest.fixture(scope="module")
def scored() -> list[dict]:
    return [set_scores(REAL, fake, "lite0", draws=20) for fake in (GOOD, BAD)]


def test_every_score_is_there_with_its_interval_and_the_network_in_its_name(scored: list[dict]) -> None:
    expected = {"fid_lite0", "kid_lite0"} | set(OF_SETS) - {"fid", "kid"}
    assert set(scored[0]) == expected
    for score in scored[0].values():
        low, high = score.interval
        assert low <= score.value <= high or score.value in (low, high)
    assert scored[0]["u_ids"].value > 0.35
    assert scored[1]["u_ids"].value < 0.2
    assert scored[1]["qs"].value < scored[0]["qs"].value
    assert scored[1]["fid_lite0"].value == pytest.approx(D * 1.5**2, rel=0.25)


def test_the_better_set_is_named_in_every_score_that_decides(scored: list[dict]) -> None:
    found = set_differences((GOOD, scored[0]), (BAD, scored[1]))
    for key in ("fid_lite0", "kid_lite0", "precision", "coverage", "u_ids", "qs", "quality"):
        assert found[key]["better"] == "first", key
    assert found["quality"]["p"] < 1e-6
    assert found["quality"]["n"] == 150
    assert "psnr" not in found
    report = comparison(REAL, [GOOD, BAD], scored)
    assert report["verdict"].startswith("good is better than bad")
    assert report["sets"][0]["pairs"] == 150


def test_equal_sets_are_not_told_apart(scored: list[dict]) -> None:
    other = PictureSet("copy", GOOD.names, GOOD.features, GOOD.scores)
    found = set_differences((GOOD, scored[0]), (other, scored[0]))
    assert {entry["better"] for entry in found.values()} == {None}
    report = comparison(REAL, [GOOD, other], [scored[0], scored[0]])
    assert report["verdict"] == "No difference between good and copy is shown."


def test_too_few_pictures_are_refused_with_a_reason_and_few_with_a_warning() -> None:
    few = picture_set("few", 3, n=12)
    scores = set_scores(REAL, few, "lite0", draws=20)
    assert {s.value for s in scores.values() if s is not scores["p_ids"]} == {None}
    assert "at least 20" in scores["fid_lite0"].note
    report = comparison(REAL, [few], [scores])
    assert "too few" in report["verdict"]
    assert len(report["sets"][0]["missing"]) == 138
    some = set_scores(REAL, picture_set("some", 4, n=40), "lite0", draws=20)
    assert "few" in some["kid_lite0"].note
    assert some["kid_lite0"].value is not None


def test_an_svm_that_could_split_anything_is_not_asked() -> None:
    rng = np.random.default_rng(0)
    wide = [PictureSet(str(i), REAL.names, rng.normal(size=(150, 100)), REAL.scores) for i in range(2)]
    scores = set_scores(wide[0], wide[1], "lite0", draws=20)
    assert scores["u_ids"].value is None
    assert "200 pictures" in scores["u_ids"].note
    assert "biased upwards" in scores["fid_lite0"].note


def test_names_in_neither_set_leave_p_ids_out_and_say_so() -> None:
    scores = set_scores(REAL, picture_set("other", 5, prefix="x"), "lite0", draws=20)
    assert scores["p_ids"].value is None
    assert "pair" in scores["p_ids"].note
    assert scores["u_ids"].value is not None
    with pytest.raises(InputError, match="at least one set"):
        comparison(REAL, [], [])
