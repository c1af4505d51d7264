"""GIQA-MBC end to end: classifiers from checkpoints of the prior, their file, and the score in the commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import make_scene
from PIL import Image
from safetensors.torch import save_file

from restore.cli import main
from restore.errors import InputError
from restore.pipelines.networks.prior import PriorConfig, PriorNet
from restore.quality.metrics.giqa import MbcScore
from restore.training.recipes.mbc import MbcTask
from restore.training.tasks import load_recipe

SHAPE = {"widths": [16, 16], "down": [1, 1], "up": [1]}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for i in range(6):
        Image.fromarray(make_scene(96, 120, seed=i)).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two untrained priors: one leaves noise over a darker picture, one adds patterns of its own."""
    folder = tmp_path_factory.mktemp("priors")
    found = {}
    for name, strength in (("noisy", 0.0), ("patterned", 0.5)):
        torch.manual_seed(0)
        net = PriorNet(PriorConfig((16, 16), (1, 1), (1,)))
        torch.nn.init.normal_(net.final.weight, std=strength)
        found[name] = folder / f"{name}.safetensors"
        save_file(net.state_dict(), found[name])
    return found


def recipe(*entries: str) -> dict[str, Any]:
    return load_recipe("mbc") | {"checkpoints": list(entries), "network": SHAPE, "fit_steps": 60, "size": 64}


def test_scores_follow_the_samples_that_checkpoints_had(
    photos: Path, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    task = MbcTask(recipe(f"200={checkpoints['noisy']}", f"30={checkpoints['patterned']}"), [photos], tmp_path)
    found = task.evaluate(task.net)
    assert found["in_order"] == 1
    assert found["score_of_first"] < 0.3 < 0.7 < found["score_of_photos"]
    assert not any(p.requires_grad for p in task.net.parameters())
    again = MbcScore.of({name: value.half().float() for name, value in task.export(task.net).items()})
    rows = task.held_out.reshape(-1, task.held_out.shape[-1])
    np.testing.assert_allclose(again.score(rows), task.net.score(rows), atol=0.01)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ((), "got none"),
        (("early.safetensors",), "SAMPLES=FILE"),
        (("10=nowhere.safetensors",), "nowhere"),
    ],
)
def test_wrong_checkpoints_are_refused(entries: tuple[str, ...], message: str, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        MbcTask(recipe(*entries), [photos], tmp_path)


def test_the_same_samples_twice_are_refused(photos: Path, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="another number"):
        MbcTask(recipe(f"9={checkpoints['noisy']}", f"9={checkpoints['patterned']}"), [photos], tmp_path)


def test_commands_score_by_the_classifiers_they_are_given(photos: Path, tmp_path: Path) -> None:
    model = MbcScore(112, 2, 4)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        model.net[2].bias.copy_(torch.tensor([0.0, float(np.log(3))]))  # sigmoids 1/2 and 3/4
    weights = tmp_path / "mbc.safetensors"
    save_file(model.state_dict(), weights)
    given = ["rank", str(photos), "--mbc", str(weights), "--by", "giqa_mbc", "--no-cache", "--json"]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert [row["giqa_mbc"] for row in report["images"]] == pytest.approx([0.625] * 6)
    assert report["summary"]["giqa_mbc"]["n"] == 6


@pytest.mark.parametrize("content", ["none", "junk", "another network"])
def test_other_files_are_refused_in_one_line(
    content: str, photos: Path, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    path = checkpoints["noisy"] if content == "another network" else tmp_path / "mbc.safetensors"
    if content == "junk":
        path.write_bytes(b"junk" * 100)
    result = CliRunner().invoke(main, ["assess", str(photos / "0.png"), "--mbc", str(path)])
    assert result.exit_code == 2
    assert len(result.output.splitlines()) == 1
    assert "train mbc" in result.output
    usage = CliRunner().invoke(main, ["rank", str(photos), "--by", "giqa_mbc"])
    assert usage.exit_code == 2
    assert "--mbc FILE" in usage.output
