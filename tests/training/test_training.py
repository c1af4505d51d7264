"""The training loop: exact resume, same seed same bytes, averages and schedules in closed form, and its errors."""

from __future__ import annotations

import io
import json
import os
import signal
import tarfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import make_scene
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from restore.cli import main
from restore.errors import Cancelled, InputError, RestoreError
from restore.quality.judges.judge_net import SEVERE
from restore.training.curves import HEADER, Curves, read_rows
from restore.training.data.photos import Holes, PhotoCache, held_out, photo_sources
from restore.training.loop import WARM_UP, Task, average, progress_of, rate_factor, run
from restore.training.recipes.grounder import GrounderTask
from restore.training.recipes.judge import JudgeTask, right_order
from restore.training.tasks import LOOP, RECIPES, TASKS, load_recipe
from restore.weights.store import FOLDER

RECIPE = LOOP | {"batch": 4, "steps": 20, "report": 4, "lr": 0.1, "ema": 0.9, "seed": 3, "stop_at": 0, "nan_from": 99}
SMALL_DRAFT = """
network: {outer: 16, inner: 16, blocks: [1, 1, 1], attention: 0}
sizes: [32, 32]
batch: 2
steps: 3
report: 1
hole_shapes: none
"""


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Drawing takes longer than the tests' training: one test does it."""
    if "draws" not in request.node.name:
        monkeypatch.setattr(Curves, "draw", lambda self: None)


class LineTask(Task):
    """A line fitted to noisy points; dropout proves that randomness inside `forward` is resumed too."""

    def __init__(self, recipe: dict[str, Any], data: list[Path], out: Path) -> None:
        super().__init__()
        self.recipe, self.calls = recipe, 0
        self.net = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))

    def batch(self, rng: np.random.Generator, progress: float) -> dict[str, Tensor]:
        self.calls += 1
        x = rng.standard_normal((self.recipe["batch"], 3), np.float32)
        y = x.sum(1, keepdims=True) + np.float32(progress) + rng.standard_normal((len(x), 1), np.float32) / 10
        return {"x": torch.from_numpy(x), "y": torch.from_numpy(y)}

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.calls == self.recipe["stop_at"]:
            os.kill(os.getpid(), signal.SIGINT)
        loss = (self.net(batch["x"]) - batch["y"]).square().mean()
        return {"loss": loss * (float("nan") if self.calls >= self.recipe["nan_from"] else 1), "twice": 2 * loss}

    def evaluate(self, net: nn.Module) -> dict[str, float]:
        assert not net.training
        return {"norm": sum(p.square().sum().item() for p in net.parameters())}


def fit(out: Path, resume: bool = False, warm: Path | None = None, **changes: float) -> dict[str, Any]:
    return run(LineTask, "line", RECIPE | changes, [], out, resume=resume, warm=warm)


def rows(out: Path) -> list[tuple[str, ...]]:
    """Rows of losses.csv without the clock, training losses only."""
    return [(s, n, name, v) for s, _, n, name, v in read_rows(out / "losses.csv") if not name.startswith("eval_")]


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    fit(tmp_path / "whole")
    with pytest.raises(Cancelled, match="step 10"):
        fit(tmp_path / "cut", stop_at=10)
    assert json.loads((tmp_path / "cut/run.json").read_text())["step"] == 10
    assert fit(tmp_path / "cut", resume=True)["finished"]
    whole, cut = (torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "cut"))
    for part in ("net", "ema"):
        for key, value in whole[part].items():
            assert torch.equal(value, cut[part][key]), (part, key)
    for i, state in whole["optimiser"]["state"].items():
        assert all(torch.equal(value, cut["optimiser"]["state"][i][key]) for key, value in state.items())
    assert (tmp_path / "whole/weights.safetensors").read_bytes() == (tmp_path / "cut/weights.safetensors").read_bytes()
    # Rows at steps 4, 8, …: the one begun before the interruption (9, 10) and ended after it included.
    assert rows(tmp_path / "whole") == rows(tmp_path / "cut")
    assert [r[:3] for r in rows(tmp_path / "cut")] == [
        (str(step), str(4 * step), name) for step in range(4, 21, 4) for name in ("loss", "twice")
    ]
    assert (tmp_path / "cut/losses.csv").read_text().count(",".join(HEADER)) == 1


def test_rows_beyond_the_checkpoint_are_written_again_not_twice(tmp_path):
    with pytest.raises(Cancelled):
        fit(tmp_path, stop_at=6)
    with open(tmp_path / "losses.csv", "a") as file:
        file.write("8,0.1,32,loss,123\n")  # as if killed after a row, before a checkpoint
    fit(tmp_path, resume=True)
    assert next(r for r in rows(tmp_path) if r[0] == "8" and r[2] == "loss")[3] != "123"
    assert len({r[:3] for r in rows(tmp_path)}) == len(rows(tmp_path))


def test_same_seed_same_bytes_and_another_seed_others(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        fit(tmp_path / name, seed=seed)
    a, b, c = ((tmp_path / name / "weights.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_the_average_has_its_closed_form():
    net, ema = nn.Linear(2, 1), nn.Linear(2, 1)
    ema.load_state_dict(net.state_dict())
    mean = net.weight.detach().clone().double()
    for step in range(1, 40):
        with torch.no_grad():
            net.weight.copy_(torch.tensor([[step, -(step**2)]]))
        average(ema, net, step, 0.8)
        keep = min(0.8, (step + 1) / (step + 10))
        mean = keep * mean + (1 - keep) * net.weight.detach().double()
    torch.testing.assert_close(ema.weight.double(), mean, rtol=1e-5, atol=1e-5)


def test_the_learning_rate_warms_up_holds_and_falls_to_zero_by_steps_or_by_time():
    assert rate_factor(0, 0.0, 0.5) == 1 / WARM_UP
    assert rate_factor(WARM_UP, 0.5, 0.5) == 1
    assert rate_factor(WARM_UP, 0.75, 0.5) == pytest.approx(0.5)
    assert rate_factor(WARM_UP, 1.0, 0.5) == 0
    assert progress_of(10, 100, 0, float("inf")) == 0.1
    assert progress_of(10, 100, 30, 60) == 0.5
    assert progress_of(90, 100, 30, 60) == 0.9
    assert progress_of(200, 100, 90, 60) == 1


def test_the_optimiser_follows_the_schedule(tmp_path):
    fit(tmp_path, decay=1.0)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["optimiser"]["param_groups"][0]["lr"] == pytest.approx(0.1 * (1 - 19 / 20) * 20 / WARM_UP)


def test_the_minutes_are_those_of_all_resumptions_together(tmp_path):
    def timed(minutes: float, resume: bool) -> dict[str, Any]:
        endless = RECIPE | {"steps": 10**9, "nan_from": 10**9}
        return run(LineTask, "line", endless, [], tmp_path, minutes=minutes, resume=resume)

    first = timed(0.005, resume=False)
    assert first["finished"]
    assert first["step"] > 0
    assert timed(0.005, resume=True)["step"] == first["step"]
    more = first["minutes"] + 0.02  # a loaded machine overruns a tiny budget: count from what was used
    assert timed(more, resume=True)["step"] > first["step"]
    steps_and_names = [(row[0], row[3]) for row in read_rows(tmp_path / "losses.csv")]
    assert len(set(steps_and_names)) == len(steps_and_names)


def test_a_loss_that_is_not_finite_is_skipped_then_refused(tmp_path):
    fit(tmp_path / "fine", steps=9)
    with pytest.raises(RestoreError, match="5 steps in a row without one up to step 13"):
        fit(tmp_path / "bad", nan_from=9)
    fit(tmp_path / "skipped", nan_from=9, steps=12)
    state = torch.load(tmp_path / "skipped/checkpoint.pt", weights_only=True)
    assert {int(s["step"]) for s in state["optimiser"]["state"].values()} == {8}  # steps 9 to 12 changed nothing
    assert all(v.isfinite().all() for v in load_file(tmp_path / "skipped/weights.safetensors").values())


def test_a_run_starts_from_given_weights_of_the_same_network_only(tmp_path):
    fit(tmp_path / "first")
    weights = tmp_path / "first/weights.safetensors"
    fit(tmp_path / "second", warm=weights, steps=1, lr=0.0)
    assert (tmp_path / "second/weights.safetensors").read_bytes() == weights.read_bytes()
    with pytest.raises(InputError, match="network"):
        run(
            LineTask,
            "line",
            RECIPE,
            [],
            tmp_path / "third",
            warm=FOLDER / "judge.safetensors",
        )


def test_a_run_folder_is_neither_overwritten_nor_resumed_by_mistake(tmp_path):
    fit(tmp_path, steps=1)
    with pytest.raises(InputError, match="--resume"):
        fit(tmp_path)
    with pytest.raises(InputError, match="got none"):
        fit(tmp_path / "new", resume=True)


def test_a_run_draws_its_curves_or_says_once_that_it_cannot(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    fit(tmp_path / "drawn")
    with Image.open(tmp_path / "drawn/curves.png") as picture:
        assert picture.width > 2 * picture.height  # loss, twice and norm side by side
    monkeypatch.setattr("restore.training.curves.find_spec", lambda name: None)
    capsys.readouterr()
    fit(tmp_path / "plain")
    assert capsys.readouterr().err.count("matplotlib") == 1
    assert not (tmp_path / "plain/curves.png").exists()
    assert rows(tmp_path / "plain") == rows(tmp_path / "drawn")
    with pytest.raises(InputError, match="TensorBoard"):
        Curves(tmp_path, tensorboard=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate: 1", "got 'learning_rate'"),
        ("bacth: 4", "did you mean 'batch'"),
        ("network: {inne: 4}", "did you mean 'inner'"),
        ("batch: many", "number"),
        ("batch: 2.5", "whole number"),
        ("steps: 0", "from 1 on"),
        ("- a\n- b", "key: value"),
        ("batch: [1", "syntax error at line"),
    ],
)
def test_recipes_are_checked(tmp_path, text, message):
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        load_recipe("draft", tmp_path / "recipe.yaml")


def test_a_recipe_changes_what_it_names_only(tmp_path):
    (tmp_path / "recipe.yaml").write_text("lr: 3e-4\nnetwork: {inner: 64}")
    packaged, changed = load_recipe("draft"), load_recipe("draft", tmp_path / "recipe.yaml")
    assert changed == packaged | {"lr": 3e-4, "network": packaged["network"] | {"inner": 64}}


def test_every_model_has_a_packaged_recipe():
    assert {path.stem for path in RECIPES.glob("*.yaml")} == set(TASKS)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten small pictures, as PNG and JPEG."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(10):
        image = Image.fromarray(make_scene(96, 120, seed=i))
        image.save(folder / f"{i}.{'png' if i % 2 else 'jpg'}")
    return folder


def test_broken_pictures_are_skipped_and_counted(tmp_path, photos, capsys):
    whole = (photos / "0.jpg").read_bytes()
    (photos / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "text.png").write_text("not a picture")
    Image.new("RGB", (20, 200)).save(photos / "tiny.png")
    cache = PhotoCache.open(tmp_path / "cache", [photos])
    assert sorted(cache.name(i) for i in range(len(cache))) == [str(i) for i in range(10)]
    assert capsys.readouterr().err.count("skipped 3 pictures") == 1
    assert np.array_equal(cache[1], make_scene(96, 120, seed=1))


def test_a_shard_and_a_folder_give_the_same_pixels(tmp_path, photos):
    with tarfile.open(tmp_path / "photos-0.tar", "w") as tar:
        for path in sorted(photos.iterdir()):
            tar.add(path, path.name)
    by_folder, by_shard = (PhotoCache.open(tmp_path / "cache", [p]) for p in (photos, tmp_path / "photos-0.tar"))
    assert len(by_folder) == len(by_shard) == 10
    assert all(np.array_equal(by_folder[i], by_shard[i]) for i in range(10))
    assert len(list((tmp_path / "cache").iterdir())) == 2
    data = (tmp_path / "photos-0.tar").read_bytes()
    (tmp_path / "short.tar").write_bytes(data[: len(data) // 3])
    with pytest.raises(InputError, match=r"short\.tar"):
        PhotoCache.open(tmp_path / "cache", [tmp_path / "short.tar"])


def test_a_cache_is_reused_until_its_sources_change(tmp_path, photos):
    PhotoCache.open(tmp_path / "cache", [photos])
    (made,) = (tmp_path / "cache").iterdir()
    before = (made / "pixels.bin").stat().st_mtime_ns
    PhotoCache.open(tmp_path / "cache", [photos])
    assert (made / "pixels.bin").stat().st_mtime_ns == before
    assert len(PhotoCache.open(tmp_path / "elsewhere", [made])) == 10  # a cache is data too
    assert not (tmp_path / "elsewhere").exists()
    (photos / "3.png").unlink()
    assert len(PhotoCache.open(tmp_path / "cache", [photos])) == 9
    assert len(PhotoCache.open(tmp_path / "cache", [photos], short_side=64)) == 9
    assert PhotoCache.open(tmp_path / "cache", [photos], short_side=64)[0].shape[0] == 64


def test_of_a_data_folder_only_its_photo_shards_are_read(tmp_path, photos):
    photos.rename(tmp_path / "eval")
    for name in ("photos-00.tar", "photos-01.tar", "faces.tar", "objects.tar"):
        with tarfile.open(tmp_path / name, "w") as tar:
            tar.addfile(tarfile.TarInfo("x"), io.BytesIO())
    assert [p.name for p in photo_sources([tmp_path])] == ["photos-00.tar", "photos-01.tar"]
    assert photo_sources([tmp_path / "eval", tmp_path / "objects.tar"]) == [tmp_path / "eval"]


def test_held_out_photos_are_not_trained_on_when_there_are_enough():
    assert held_out(200, 16) == (range(184), range(184, 200))
    assert held_out(10, 16) == (range(10), range(10))


def test_hole_shapes_are_found_in_and_beside_the_data(tmp_path):
    shape = np.ones((1, 8, 8), np.uint8)
    np.savez(tmp_path / "shapes.npz", bits=np.packbits(shape), shape=shape.shape)
    for data in ([tmp_path], [tmp_path / "photos-00.tar"]):
        holes = Holes.open("shapes.npz", data)
        assert holes.shapes is not None
        assert np.array_equal(holes.shapes, shape)


def test_without_shapes_holes_are_strokes_boxes_and_borders(capsys, tmp_path):
    holes = Holes.open("file.npz", [tmp_path])
    assert "strokes, boxes and borders only" in capsys.readouterr().err
    masks = [holes.sample(64, np.random.default_rng(i)) for i in range(200)]
    assert all(0.02 < m.mean() < 0.6 for m in masks)
    kinds = {int(cv2.connectedComponents(m)[0]) for m in masks}
    assert len(kinds) > 2
    borders = [m for m in masks if len(np.unique(m, axis=0)) == 1 or len(np.unique(m, axis=1).T) == 1]
    assert borders  # outpainting: the same in every row or every column


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_the_grounder_learns_clicks_from_plain_photos(tmp_path, photos):
    recipe = load_recipe("grounder") | {"size": 64, "batch": 12, "hole_shapes": "none"}
    for path in sorted(photos.iterdir())[3:]:
        path.unlink()
    task = GrounderTask(recipe, [photos], tmp_path / "run")
    batch = task.batch(np.random.default_rng(1), 0.0)
    assert equal(batch, task.batch(np.random.default_rng(1), 0.5))
    assert not equal(batch, task.batch(np.random.default_rng(2), 0.0))
    clicked = batch["is_click"] > 0
    assert clicked.any()
    assert not clicked.all()
    for (x, y), target in zip(batch["click"][clicked].long() // 4, batch["target"][clicked, 0], strict=True):
        assert target[y, x] > 0
    assert not batch["target"][~clicked].any()  # a pseudo-object has no name to be asked by
    losses = task(batch)
    losses["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in task.net.parameters() if p.requires_grad)
    assert not any(key.startswith("lite0") for key in task.export(task.net))


def test_the_judge_learns_from_shards_of_fills(tmp_path):
    truth = np.stack([make_scene(64, 64, seed=i) for i in range(3)])
    mask = np.zeros((3, 64, 64), np.uint8)
    mask[:, 20:50, 16:44] = 1
    noise = np.random.default_rng(0).integers(0, 256, truth.shape).astype(np.uint8)
    fills = np.where(mask[:, None, ..., None] > 0, np.stack([truth, noise], 1), truth[:, None])
    folder = tmp_path / "fills/0000"
    folder.mkdir(parents=True)
    for name, array in (("truth", truth), ("mask", mask), ("fill", fills)):
        np.save(folder / f"{name}.npy", array)
    task = JudgeTask(load_recipe("judge") | {"photos": 2}, [tmp_path / "fills"], tmp_path / "run")
    batch = task.batch(np.random.default_rng(1), 0.0)
    assert equal(batch, task.batch(np.random.default_rng(1), 0.5))
    assert batch["worse_at"].tolist() == [3, 7]  # of photo, two fills and a distorted copy each
    amounts = batch["true"].amax((1, 2, 3)).reshape(2, 4)
    assert (amounts[:, [0, 1, 3]] == 0).all()
    assert (amounts[:, 2] > SEVERE).all()
    task(batch)["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in task.net.parameters() if p.requires_grad)
    assert not any(key.startswith("lite0") for key in task.export(task.net))


def test_pairs_are_compared_within_a_photo_only():
    true, group = torch.tensor([0.0, 0.1, 0.5, 0.51]), torch.tensor([0, 0, 0, 1])
    assert right_order(torch.tensor([0.0, 1.0, 2.0, -9.0]), true, group) == 1
    assert right_order(torch.tensor([2.0, 1.0, 0.0, 9.0]), true, group) == 0
    assert right_order(torch.tensor([0.0, 2.0, 1.0, 9.0]), true, group) == pytest.approx(2 / 3)


def cli(*arguments: str | Path) -> Any:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_the_command_trains_on_ten_pictures_and_resumes(tmp_path, photos):
    (tmp_path / "small.yaml").write_text(SMALL_DRAFT)
    common = ("train", "draft", "--data", photos, "--out", tmp_path / "run", "--config", tmp_path / "small.yaml")
    done = cli(*common, "--json")
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert (record["step"], record["samples"], record["data"]) == (3, 6, ["photos"])
    assert set(record["evaluation"]) == {"l1", "features"}
    assert {r[3] for r in read_rows(tmp_path / "run/losses.csv")} >= {"loss", "l1", "eval_l1"}
    assert sorted(load_file(tmp_path / "run/weights.safetensors")) == sorted(
        torch.load(tmp_path / "run/checkpoint.pt", weights_only=True)["net"]
    )
    again = cli(*common)
    assert again.exit_code == 2
    assert "--resume" in again.stderr
    assert cli(*common, "--resume").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("darft", "--data", "EMPTY"), "did you mean 'draft'"),
        (("draft",), "--data"),
        (("draft", "--data", "nowhere"), "nowhere"),
        (("draft", "--data", "EMPTY"), "expected images"),
        (("draft", "--data", "EMPTY", "--config", "no.yaml"), "no.yaml"),
        (("draft", "--data", "EMPTY", "--resume", "--from", "x"), "got both"),
        (("draft", "--data", "EMPTY", "--minutes", "0"), "minutes"),
    ],
)
def test_bad_arguments_end_with_one_line_and_2(tmp_path, arguments, message):
    (tmp_path / "EMPTY").mkdir()
    given = [str(tmp_path / "EMPTY") if a == "EMPTY" else a for a in arguments]
    result = cli("train", *given, "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run/checkpoint.pt").exists()


def test_help_names_every_model_and_shows_examples():
    text = cli("train", "--help").output
    assert "restore train draft --data" in text
    assert set(TASKS) <= set(text.replace(",", " ").replace(".", " ").split())


def test_the_prior_sees_levels_of_photos_noise_most_often_and_sharp_crops_of_any_photo():
    from restore.pipelines.networks.prior import SIGMA_MAX, SIGMA_MIN
    from restore.training.recipes.prior import native_crop, noise_levels

    rng = np.random.default_rng(0)
    levels = noise_levels(1000, rng)
    assert levels.min() >= SIGMA_MIN
    assert levels.max() <= SIGMA_MAX
    for low, high, share in ((SIGMA_MIN, 0.02, 0.08), (0.02, 0.5, 0.72), (0.5, SIGMA_MAX, 0.2)):
        assert np.mean((low <= levels) & (levels < high)) == pytest.approx(share, abs=2e-3)
    stripes = np.zeros((130, 150, 3), np.uint8)
    stripes[:, ::2] = 255
    for _ in range(30):
        crop = native_crop(stripes, 96, rng)
        assert crop.shape == (96, 96, 3)
        line = crop[48].astype(float) if np.ptp(crop[48]) > np.ptp(crop[:, 48]) else crop[:, 48].astype(float)
        assert abs(line[8:-8].mean() - 127.5) < 4  # reduced without aliases: no slow beat
        assert np.ptp([part.mean() for part in np.split(line[:96], 12)][1:-1]) < 24
