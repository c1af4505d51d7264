"""What is asked is checked once, before anything heavy is imported, and by looking only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import make_scene
from PIL import Image

from restore.cli import main
from restore.edit.choose import models_for
from restore.edit.find import RegionFinder
from restore.edit.hub_filler import Words, words_for
from restore.edit.request import KINDS, to_inpaint, to_refine
from restore.errors import InputError, ObjectNotFoundError, UnsureError
from restore.grounding.finder import EmbeddedFinder
from restore.grounding.ground import Finders
from restore.grounding.grounder import Instance
from restore.grounding.meaning import Instruction
from restore.images.photo import photo_from_array
from restore.settings import Settings

PHOTO = photo_from_array(make_scene(48, 64))
FAST = {"passes": 1, "candidates": 1}
BOXES = ((10, 120, 20, 15), (150, 20, 12, 30))


def test_checks_import_nothing_heavy(tmp_path: Path) -> None:
    Image.fromarray(make_scene(48, 64)).save(tmp_path / "photo.png")
    code = (
        "import sys\nfrom restore.cli import main\n"
        "main(sys.argv[1:], standalone_mode=False)\n"
        "print([m for m in ('torch', 'diffusers', 'transformers', 'scipy', 'jinja2') if m in sys.modules])"
    )
    for wrong in (["--box", "500,0,9,9"], ["--prompt", "add a hat", "--box", "1,1,9,9"], ["--prompt", "add a zzz"],
                  ["--point", "9,9", "--model", "instruct"]):  # fmt: skip
        command = [sys.executable, "-c", code, "inpaint", str(tmp_path / "photo.png"), *wrong]
        found = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
        assert found.stdout == "[]\n", found.stderr
        assert "restore: " in found.stderr


def test_a_repaint_looks_at_its_words_mask_and_models_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(make_scene(48, 64)).save(tmp_path / "photo.png")
    hole = np.zeros((48, 64), bool)
    hole[20:30, 20:30] = True
    Image.fromarray(hole).save(tmp_path / "mask.png")
    calls: list[str] = []

    def counted(place: str) -> None:
        module, name = place.rsplit(".", 1)
        real = getattr(sys.modules[module], name)

        def call(*args: Any, **options: Any) -> Any:
            calls.append(name)
            return real(*args, **options)

        monkeypatch.setattr(place, call)

    for place in ("edit.request.parse_shown", "edit.request.load_mask", "edit.choose.models_for"):
        counted(f"restore.{place}")
    arguments = ["inpaint", str(tmp_path / "photo.png"), "--mask", str(tmp_path / "mask.png"), "--prompt", "add a ball",
                 "--passes", "1", "--candidates", "1"]  # fmt: skip
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert sorted(calls) == ["load_mask", "models_for", "parse_shown"]


def test_looking_for_models_leaves_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    before = dict(os.environ)
    assert models_for(Settings(offline=True)).painter is None
    assert dict(os.environ) == before


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="got none"):
        to_inpaint("builtin", PHOTO)
    with pytest.raises(InputError, match="did you mean 'wires'"):
        to_inpaint("builtin", PHOTO, find="wire")
    with pytest.raises(InputError, match="remove something each"):
        to_inpaint("builtin", PHOTO, ("remove the cat", "add a dog"))
    with pytest.raises(InputError, match="told by words"):
        to_inpaint("instruct", PHOTO, ("remove the cat", "remove the dog"))
    for asked in ({"point": (3, 3)}, {"box": (1, 1, 9, 9)}):
        with pytest.raises(InputError, match="told by words"):
            to_inpaint("instruct", PHOTO, **asked)
    with pytest.raises(InputError, match="fills from the surroundings"):
        to_inpaint("instruct", PHOTO, "add a dog")
    with pytest.raises(InputError, match="at least 8×8"):
        to_inpaint("builtin", photo_from_array(np.zeros((7, 9, 3), np.uint8)), box=(1, 1, 2, 2))
    with pytest.raises(InputError, match="photo's size"):
        to_refine(PHOTO, np.ones((9, 9), bool))


def test_one_and_a_sequence_of_one_are_the_same():
    one = to_inpaint("builtin", PHOTO, "remove the cat", None, (1, 2, 3, 4), (5, 6), "text")
    several = to_inpaint("builtin", PHOTO, ["remove the cat"], [], [(1, 2, 3, 4)], [(5, 6)], ["text"])
    assert (one.said, one.points) == (several.said, several.points)
    assert np.array_equal(one.given, several.given)
    boxes = to_inpaint("builtin", PHOTO, box=np.array([[1, 2, 3, 4], [5, 6, 7, 8]]))
    assert [shown.mask.sum() for shown in boxes.shown] == [12, 56]
    assert len(to_inpaint("builtin", PHOTO, box=np.array([1, 2, 3, 4])).shown) == 1
    everything = to_inpaint("builtin", PHOTO, find="all").instruction
    assert everything.overlay.kinds == KINDS[:-1]


def test_words_without_a_verb_tell_what_shall_appear_in_a_region():
    for region in ({"box": (1, 1, 9, 9)}, {"mask": np.eye(48, 64, dtype=bool)}, {"point": (3, 3)}):
        request = to_inpaint("builtin", PHOTO, "a red ball", **region)
        assert request.instruction == Instruction("add", "a red ball", subject="a red ball", described=True)
        assert not request.searched
        assert to_inpaint("builtin", PHOTO, "remove the red ball", **region).searched
        with pytest.raises(InputError, match=r"got 'car'.*say \"remove"):
            to_inpaint("builtin", PHOTO, "the car", **region)
    assert to_inpaint("builtin", PHOTO, "a red ball").instruction.action == "remove"
    told = "un chat noir, photo réaliste"
    request = to_inpaint("sd15-inpaint", PHOTO, told, box=(1, 1, 9, 9))
    assert [words_for(request.instruction, instructed=edits) for edits in (False, True)] == [Words(told, "")] * 2
    with pytest.raises(InputError, match="say it alone"):
        to_inpaint("builtin", PHOTO, "a red ball", find="text", box=(1, 1, 9, 9))


def test_what_shall_appear_is_painted_into_what_is_shown(engine, scene, hole):
    result = engine.inpaint(scene, prompt="a red ball", mask=hole, **FAST)
    assert np.array_equal(result.mask, hole)
    assert [(part.source, part.said) for part in result.parts] == [("mask", "a red ball")]
    assert result.presence is None or result.presence.wanted


class Doubtful(EmbeddedFinder):
    """Finds cups on the right and anything else on the left, with score .5."""

    def __init__(self) -> None:
        pass

    def named(self, image, phrase):
        mask = np.zeros(image.shape[:2], bool)
        mask[10:20, 10:30] = phrase != "cup"
        mask[30:40, 50:60] = phrase == "cup"
        return [Instance(mask, 0.5)]


def test_what_may_be_something_else_is_asked_about():
    finder = RegionFinder(None, Finders(Doubtful()), copies=False)
    with pytest.raises(UnsureError, match=r"best: score 0.50 at 10,10,20,10\); look with `restore segment`") as told:
        finder.find(to_inpaint("builtin", PHOTO, "remove the cat", sure=True))
    assert told.value.exit_code == 3
    assert told.value.candidates == [{"score": 0.5, "box": [10, 10, 20, 10], "chosen": True}]
    with pytest.raises(UnsureError):
        finder.find(to_inpaint("builtin", PHOTO, "add a dog on the cat", sure=True))
    assert finder.find(to_inpaint("builtin", PHOTO, "remove the cat")).hole.any()
    shown = to_inpaint("builtin", PHOTO, "remove the cat", box=(5, 5, 40, 30), sure=True)
    assert finder.find(shown).hole.any()
    with pytest.raises(ObjectNotFoundError, match="'cup' inside the given region"):
        finder.find(to_inpaint("builtin", PHOTO, "remove the cat and the cup", box=(5, 5, 40, 30)))


def test_the_command_line_lists_candidates_and_goes_on_with_yes(tmp_path, monkeypatch):
    photo = tmp_path / "photo.png"
    Image.fromarray(make_scene(48, 64)).save(photo)
    monkeypatch.setattr("restore.api.open_finder", lambda *_: Doubtful())
    args = ["inpaint", str(photo), "--prompt", "remove the cat", "--json", "--passes", "1", "--candidates", "1"]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 3
    assert json.loads(result.stdout)["candidates"][0]["score"] == 0.5
    assert result.stderr.count("\n") == 1
    assert "--yes" in result.stderr
    assert not photo.with_name("photo.restored.png").exists()
    result = CliRunner().invoke(main, [*args, "--yes"])
    assert result.exit_code == 0, result.output


def test_boxes_masks_and_points_are_united_and_listed(engine, scene, hole):
    result = engine.inpaint(scene, mask=[hole, hole[::-1]], box=BOXES, **FAST)
    expected = hole | hole[::-1]
    for x, y, w, h in BOXES:
        expected[y : y + h, x : x + w] = True
    assert np.array_equal(result.mask, expected)
    assert np.array_equal(result.image[~expected], scene[~expected])
    mask = result.summary()["mask"]
    assert mask["source"] == "mask and box"
    assert [(r["source"], r["pixels"]) for r in mask["regions"]] == [
        ("mask", 1800), ("mask", 1800), ("box", 300), ("box", 360),
    ]  # fmt: skip
    assert mask["regions"][3]["box"] == [150, 20, 12, 30]


def test_what_is_not_found_is_refused_whatever_else_is_there(engine, scene):
    cv2.putText(scene, "Summer", (30, 130), cv2.FONT_HERSHEY_DUPLEX, 1.0, (255, 255, 255), 2, cv2.LINE_AA)
    with pytest.raises(ObjectNotFoundError, match="'wires'"):
        engine.inpaint(scene, find=["text", "wires"], **FAST)


def test_repeated_options_are_united(tmp_path, scene):
    photo = tmp_path / "photo.png"
    Image.fromarray(scene).save(photo)
    args = ["inpaint", photo, "--json", "--passes", 1, "--candidates", 1, "--report", tmp_path / "report.html"]
    for box in BOXES:
        args += ["--box", ",".join(map(str, box))]
    result = CliRunner().invoke(main, [str(a) for a in args])
    assert result.exit_code == 0, result.output
    assert [r["box"] for r in json.loads(result.stdout)["mask"]["regions"]] == [list(box) for box in BOXES]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "region 2" in page
    assert "150,20,12,30" in page
