"""Kept samples: what is read is what would be made, however the file was filled, cut off or cut short."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_scene
from PIL import Image
from safetensors.torch import load_file

from restore.errors import Cancelled, InputError
from restore.training.curves import Curves, read_rows
from restore.training.data.kept import KeptSamples
from restore.training.loop import run
from restore.training.recipes.expectation import ExpectationTask
from restore.training.tasks import load_recipe

RECIPE = {"size": 64, "batch": 2, "steps": 6, "report": 1, "hole_shapes": "none", "kept_gb": 0.0006, "uses": 2}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for i in range(10):
        Image.fromarray(make_scene(96, 120, seed=i)).save(folder / f"{i}.png")
    return folder


def numbered(number):
    values = torch.from_numpy(np.random.default_rng(number).standard_normal((3, 5), np.float32))
    return {"values": values, "what": torch.tensor([number], dtype=torch.uint8)}


def test_what_is_read_is_what_would_be_made_and_is_made_once_while_it_lasts(tmp_path):
    made = []
    kept = KeptSamples(tmp_path, "", 400e-9, lambda number: made.append(number) or numbered(number))
    assert kept.slots == 10  # of 8 + 30 + 1 bytes
    made.clear()
    rng = np.random.default_rng(0)
    for first in range(40):
        numbers = (first + rng.choice(kept.slots, 4, replace=False)).tolist()
        found = kept[numbers]
        for i, number in enumerate(numbers):
            assert torch.equal(found["values"][i], numbered(number)["values"].half().float())
            assert found["what"][i].item() == number
    assert len(set(made)) == len(made) <= 50
    assert next(tmp_path.iterdir()).stat().st_size == 390
    again = KeptSamples(tmp_path, "", 400e-9, lambda number: made.append(number) or numbered(number))
    made.clear()
    assert torch.equal(again[numbers]["values"], found["values"])
    assert made == []


def test_a_slot_that_was_cut_off_is_made_again(tmp_path):
    def broken(number):
        return numbered(number) | ({"what": "no tensor"} if number == 3 else {})

    kept = KeptSamples(tmp_path, "", 400e-9, broken)
    with pytest.raises(AttributeError):
        kept[[3]]
    kept.make = numbered
    assert kept[[3]]["what"].item() == 3


@pytest.mark.parametrize("gigabytes", [1e9, float("inf"), float("nan"), -1, 1e-12])
def test_room_is_asked_for_before_it_is_taken(tmp_path, gigabytes):
    with pytest.raises(InputError, match="kept_gb"):
        KeptSamples(tmp_path, "", gigabytes, numbered)
    assert list(tmp_path.iterdir()) == []


def test_the_network_sees_kept_features_as_it_would_see_computed_ones(tmp_path, photos):
    recipe = load_recipe("expectation") | RECIPE
    task = ExpectationTask(recipe, [photos], tmp_path)
    torch.nn.init.normal_(task.net.outs[2].weight, std=0.1)  # at the start the network says nothing of its own
    place = torch.arange(2)
    task.step = 5  # five steps of two samples, each used twice
    rngs = [np.random.default_rng([recipe["seed"], number]) for number in (5, 6)]
    crops = [task._collate([task.train_on[rng.integers(len(task.train_on))]], rng) for rng in rngs]
    task.kept, kept = None, task.kept
    computed = task({name: torch.cat([crop[name] for crop in crops]) for name in crops[0]})
    task.kept = kept
    for _ in range(2):  # made, then read
        for name, value in task({"place": place}).items():
            assert value.item() == pytest.approx(computed[name].item(), rel=1e-3)


class CutTask(ExpectationTask):
    """Interrupted at the third of its steps."""

    def forward(self, batch):
        if self.step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return super().forward(batch)


def test_a_run_with_kept_samples_is_resumed_exactly_even_without_their_file(tmp_path, photos, monkeypatch):
    monkeypatch.setattr(Curves, "draw", lambda self: None)
    recipe = load_recipe("expectation") | RECIPE

    def fit(task: type[ExpectationTask], out: Path, resume: bool = False) -> None:
        run(task, "expectation", recipe, [photos], out, resume=resume)

    fit(ExpectationTask, tmp_path / "whole")
    with pytest.raises(Cancelled, match="step 3"):
        fit(CutTask, tmp_path / "cut")
    shutil.copytree(tmp_path / "cut", tmp_path / "bare")
    for file in (tmp_path / "bare").glob("kept-*.bin"):
        file.unlink()
    whole = load_file(tmp_path / "whole/weights.safetensors")
    losses = [row for row in read_rows(tmp_path / "whole/losses.csv") if row[3] == "loss"]
    assert len({row[4] for row in losses}) == 6
    for name in ("cut", "bare"):
        fit(ExpectationTask, tmp_path / name, resume=True)
        found = load_file(tmp_path / name / "weights.safetensors")
        assert all(torch.equal(found[k], whole[k]) for k in whole)
        again = [row for row in read_rows(tmp_path / name / "losses.csv") if row[3] == "loss"]
        assert [(r[0], r[4]) for r in again] == [(r[0], r[4]) for r in losses]


@pytest.mark.parametrize(("changes", "message"), [({"uses": 0}, "uses"), ({"kept_gb": 0.0001}, "batch")])
def test_a_recipe_that_cannot_keep_is_refused(tmp_path, photos, changes, message):
    with pytest.raises(InputError, match=message):
        ExpectationTask(load_recipe("expectation") | RECIPE | changes, [photos], tmp_path)
