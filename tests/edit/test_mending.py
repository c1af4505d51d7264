"""Passes that mend a fill: from it, at less strength, in the words of the model's preset; all of it recorded, and
none begun that would end too late."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_hub
import yaml
from click.testing import CliRunner
from conftest import make_scene
from PIL import Image

from restore import Engine
from restore.cli import main
from restore.edit.area import Candidate, Heard, areas_of
from restore.edit.hub_filler import words_for
from restore.edit.loop import repair
from restore.errors import InputError
from restore.grounding.instruction import parse
from restore.hub.presets import Preset, load_preset, presets
from restore.pipelines.hub.inpaint import REFINE
from restore.quality.judges.judge import Judgement
from restore.settings import Settings

SIZE = 64


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preset of a tiny Stable Diffusion."""
    root = tmp_path_factory.mktemp("tiny")
    folder = tiny_hub.stable_diffusion(root / "sd")
    values = {"path": str(folder), "size": SIZE, "steps": 5, "guidance": 3.0}
    values |= {"prompts": {"remove": "nothing of {names}"}, "negatives": {"remove": "{names}, frame"}}
    (root / "tiny.yaml").write_text(yaml.safe_dump(values))
    return root / "tiny.yaml"


def scene() -> tuple[np.ndarray, np.ndarray]:
    image, mask = make_scene(96, 128), np.zeros((96, 128), bool)
    mask[30:61, 40:75] = True
    return image, mask


def test_later_passes_begin_from_the_fill_at_less_strength_and_the_record_says_so(tiny, monkeypatch):
    engine = Engine(str(tiny))
    pipe = engine._filler.painter.pipe  # type: ignore[attr-defined]
    steps: list[int] = []
    begun: list[np.ndarray] = []
    real = type(pipe).__call__

    def call(self: Any, **given: Any) -> Any:
        begun.append(np.asarray(given["image"]))
        out = real(self, **given)
        steps.append(len(self.scheduler.timesteps) if given["strength"] == 1 else int(5 * given["strength"]))
        assert self._num_timesteps == steps[-1]
        return out

    monkeypatch.setattr(type(pipe), "__call__", call)
    image, mask = scene()
    result = engine.inpaint(image, mask=mask, passes=2, par=0.0, candidates=1)
    told = [heard for record in result.passes for heard in record.heard]
    assert [heard.strength for heard in told] == [1.0, REFINE]
    assert {heard.prompt for heard in told} == {"nothing of"}
    assert {heard.negative for heard in told} == {"frame"}
    assert steps == [5, 3]
    assert not np.array_equal(begun[0], begun[1])  # the fill, around what is wrong in it
    (second,) = result.summary()["passes"][1]["heard"]
    assert second == {"prompt": "nothing of", "negative": "frame", "strength": REFINE}
    mended = engine.refine(result.image, mask=mask, passes=1, par=0.0, candidates=1)
    assert [heard.strength for record in mended.passes for heard in record.heard] == [REFINE]


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 49, 50])
def test_at_any_number_of_steps_one_is_left_to_mend_with(tiny, steps):
    painter = Engine(str(tiny))._filler.painter  # type: ignore[attr-defined]
    for wanted in (0.01, 0.3, 1.0):
        object.__setattr__(painter.options, "refine_strength", wanted)
        strength = painter.strength_for(steps, mend=True)
        assert 1 <= int(steps * strength) <= steps
        assert strength == pytest.approx(max(wanted, 1 / steps), abs=1e-5)
    assert painter.strength_for(steps, mend=False) == 1


def judge(image: np.ndarray, hole: np.ndarray) -> Judgement:
    probability = (image[..., 0] / 255).astype(np.float32) * hole
    return Judgement(probability, hole, float(probability[hole].mean()))


def test_no_pass_begins_that_would_end_too_late():
    """Fills of 20 ms, a little better each time."""
    hole = np.zeros((64, 64), bool)
    hole[20:40, 20:40] = True

    def fill(area: Any, todo: np.ndarray, index: int) -> list[Candidate]:
        time.sleep(0.02)
        image = area.image.copy()
        image[todo] = 250 - index
        return [Candidate(image, 0.5, heard=Heard("a", "b", None))]

    def run(seconds: float) -> Any:
        areas = areas_of(np.zeros((64, 64, 3), np.uint8), hole)
        until = time.perf_counter() + seconds
        return repair(areas, 4096, fill, judge, Settings(passes=20, par=0.0), patience=99, until=until)

    outcome = run(0.11)
    assert outcome.stop == "time"
    assert 1 <= len(outcome.passes) <= 5
    assert sum(record.seconds for record in outcome.passes) < 0.11
    assert outcome.passes[0].heard == [Heard("a", "b", None)]
    late = run(-1.0)
    assert (late.stop, len(late.passes)) == ("time", 1)  # one is always made
    assert (run(60.0).stop, len(run(60.0).passes)) == ("budget", 20)


def test_the_command_and_its_report_say_that_time_was_up(tiny, tmp_path):
    image, mask = scene()
    Image.fromarray(image).save(tmp_path / "photo.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    options = ["inpaint", tmp_path / "photo.png", "--mask", tmp_path / "mask.png", "--par", 0, "--candidates", 1]
    options += ["--model", tiny]
    asked = [*options, "--max-seconds", 0.001, "--json", "--report", tmp_path / "report.html"]
    done = CliRunner().invoke(main, [str(x) for x in asked])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["stop"], len(told["passes"])) == ("time", 1)
    page = (tmp_path / "report.html").read_text()
    assert "would not have ended within 0.001 seconds" in page
    assert "“nothing of”, not “frame”, strength 1" in page
    for wrong in ("0", "-3", "nan"):
        refused = CliRunner().invoke(main, [str(x) for x in [*options, "--max-seconds", wrong]])
        assert refused.exit_code == 2
        assert "max_seconds above 0" in refused.stderr


@pytest.mark.parametrize("name", sorted(name for name, preset in presets().items() if preset.role == "fill"))
def test_every_preset_names_what_goes_and_what_comes(name):
    """A model hears the object that shall go, as an instruction or a negative prompt, and never as what shall be
    seen."""
    preset = presets()[name]
    told = {"prompts": preset.prompts, "negatives": preset.negatives}
    instructed = "Edit" in preset.pipeline or "Kontext" in preset.pipeline or "Pix2Pix" in preset.pipeline
    gone = words_for(parse("remove the red hat"), instructed=instructed, **told)
    assert ("the red hat" in gone.prompt) == instructed
    assert instructed or gone.negative.startswith("red hat, ")
    added = words_for(parse("add a dog on the sofa"), instructed=instructed, **told)
    assert "a dog on the sofa" in added.prompt
    swapped = words_for(parse("replace the cat with a dog"), instructed=instructed, **told)
    assert "a dog" in swapped.prompt
    assert "cat" in (swapped.prompt if instructed else swapped.negative)
    unnamed = words_for(None, instructed=instructed, at="in the middle of the picture", **told)
    assert ("the object in the middle of the picture" in unnamed.prompt) == instructed
    assert not unnamed.negative.startswith(",")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("prompts: {delete: x}", "remove, paint, replace"),
        ("prompts: {remove: '{thing}'}", "{things}, {names}"),
        ("prompts: {remove: '{'}", "closed"),
        ("prompts: {remove: '{things.__class__}'}", "{things}, {names}"),
        ("negatives: {remove: '{0}'}", "{things}, {names}"),
        ("negatives: {remove: '{names!r:>9}'}", "{names}"),
        ("prompts: [remove]", "like {}"),
        ("prompts: {remove: 3}", "a text"),
        ("refine_strength: 0", "strength"),
    ],
)
def test_wrong_words_of_a_preset_are_refused_in_one_line(tmp_path, line, said):
    (tmp_path / "mine.yaml").write_text(line)
    with pytest.raises(InputError) as caught:
        load_preset(tmp_path / "mine.yaml")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_description_is_passed_on_as_it_is():
    from restore.edit.request import words_of

    (said,) = words_of("un {chat} rouge, vraiment", shown=True)
    told = words_for(said.instruction, instructed=False, prompts={"paint": "no {subject}"})
    assert (told.prompt, told.negative) == ("un {chat} rouge, vraiment", "")
    assert Preset("x").prompts == {}
