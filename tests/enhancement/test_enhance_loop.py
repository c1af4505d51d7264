"""The loop of a restoration: what it replaces and what it refuses; and options that shape a restoration."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import restore
from restore import enhance
from restore.cli import main
from restore.enhancement.loop import MOST, Critic, Loop, to_bytes, worst
from restore.pipelines.diffusion.denoiser import GaussianPrior
from restore.pipelines.restoration import plans
from restore.pipelines.restoration.degradations import Blur, Compose, Downsample
from restore.pipelines.restoration.jpeg import Compressed, Jpeg
from restore.pipelines.restoration.kernels import gaussian_kernel
from restore.pipelines.restoration.sampling import Sampling
from restore.quality.judges.judge import Judgement
from tests.conftest import make_scene


class FakeJudge:
    """Calls pixels above 200 artifacts."""

    def __call__(self, image: np.ndarray) -> Judgement:
        bad = image.mean(2) > 200
        return Judgement(bad.astype(np.float32), np.ones_like(bad), float(bad.mean()))


class Darker:
    """Scores darkness: 100 = black."""

    def __call__(self, image: np.ndarray) -> float:
        return 100 - float(image.mean()) / 6


class Brighter(Darker):
    def __call__(self, image: np.ndarray) -> float:
        return float(image.mean()) / 2.55


def loop_over(unknown: torch.Tensor, score: Darker, size: int = 512) -> tuple[Loop, torch.Tensor]:
    """A photo of mid grey, `unknown` (H, W) painted white by the first pass; the prior believes in mid grey."""
    y = torch.zeros(1, 3, size, size)
    plan = plans.inpaint(y, unknown[None, None].float())
    first = torch.where(unknown, 1.0, y)
    critic = Critic(FakeJudge(), score)  # type: ignore[arg-type]
    return Loop(GaussianPrior(0.0, 0.01), plan, Sampling(steps=2), critic, 0), first


def test_only_bad_windows_are_sampled_again_and_kept_where_better():
    unknown = torch.zeros(512, 512, dtype=torch.bool)
    unknown[:90, :90] = True
    loop, first = loop_over(unknown, Darker())
    seen: list[int] = []
    better, records = loop.improve(first, 3, lambda record: seen.append(record.index))
    assert [r.index for r in records] == seen == [2]  # nothing was left to mend after it
    assert records[0].accepted
    assert records[0].windows == 1
    assert records[0].par_image < 0.005
    assert float(better[..., :80, :80].abs().max()) < 0.1
    assert torch.equal(better[..., 256:, :], first[..., 256:, :])
    assert torch.allclose(better[..., ~unknown], first[..., ~unknown], atol=1e-3)


def test_what_scores_worse_is_not_kept():
    unknown = torch.zeros(512, 512, dtype=torch.bool)
    unknown[:128, :128] = True
    loop, first = loop_over(unknown, Brighter())
    same, records = loop.improve(first, 2, lambda record: None)
    assert torch.equal(same, first)
    assert [r.accepted for r in records] == [False, False]


def test_what_disagrees_with_the_input_is_not_kept():
    unknown = torch.zeros(512, 512, dtype=torch.bool)
    unknown[:128, :128] = True
    loop, _ = loop_over(unknown, Darker())
    y = torch.ones(1, 3, 512, 512)  # measured: white, where the prior wants mid grey
    loose = plans.Plan(plans.Measurement(plans.Identity(), y), -torch.ones_like(y), 0.1, 0.02, 1, guided=False)
    same, records = Loop(loop.denoiser, loose, loop.sampling, loop.critic, 0).improve(y, 1, lambda record: None)
    assert torch.equal(same, y)
    assert not records[0].accepted


def test_the_worst_windows_come_first_and_are_few():
    bad = np.zeros((1000, 1000), np.float32)
    bad[:40, :40], bad[900:, 900:] = 1, 1
    chosen = worst(Judgement(bad, np.ones_like(bad, bool), 0.0), 16)
    assert 2 <= len(chosen) <= MOST
    assert chosen[0][1].stop == chosen[0][2].stop == 1000
    assert all(b.start % 16 == 0 for box in chosen for b in box[1:])


@pytest.fixture
def small() -> np.ndarray:
    return make_scene()[40:104, 60:140].copy()


def test_a_result_tells_the_quality_before_and_after(small, tmp_path):
    result = enhance(small, task="super-resolution", scale=2, steps=1)
    assert [r.index for r in result.passes][:2] == [0, 1]
    assert result.passes[0].consistency is None
    assert all(0 <= r.score <= 100 and 0 <= r.quality <= 100 and 0 <= r.par_image <= 1 for r in result.passes)
    assert result.consistency == result.passes[-1].consistency
    assert json.loads(json.dumps(result.summary()))["passes"][1]["accepted"] is True
    result.report(tmp_path / "r.html")
    assert f"{result.passes[1].score:.1f}" in (tmp_path / "r.html").read_text()
    with pytest.raises(restore.Cancelled):
        enhance(small, task="denoise", on_pass=lambda record: record.index < 1)
    with pytest.raises(restore.InputError, match="passes"):
        enhance(small, task="denoise", passes=0)


def test_terms_shape_the_picture(small):
    plain = enhance(small, task="denoise", noise=10, method="half-quadratic", passes=1).image
    bright = enhance(small, task="denoise", noise=10, terms={"exposure": 300.0}, target=0.9, passes=1).image
    smooth = enhance(small, task="denoise", noise=10, terms={"variation": 1.0}, passes=1).image
    assert bright.mean() > plain.mean() + 5
    varies = [np.abs(np.diff(image.astype(float), axis=1)).mean() for image in (smooth, plain)]
    assert varies[0] < 0.97 * varies[1]
    for terms in ({"beauty": 1.0}, {"exposure": -1.0}):
        with pytest.raises(restore.InputError, match="exposure, colour, spatial, variation"):
            enhance(small, task="denoise", terms=terms)


def test_a_composition_is_undone_through_its_jpeg(small):
    x = torch.from_numpy(np.kron(small, np.ones((2, 2, 1), np.uint8))).permute(2, 0, 1)[None] / 127.5 - 1
    x = x + 0.2 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    operator = Compressed(Compose([Blur(gaussian_kernel(1.5)), Downsample(2)]), Jpeg.of_quality(60))
    y = operator.forward(x)
    start = operator.start(y)
    solved = operator.data_step(start, y, 0.1, 1e-4)
    assert operator.forward(solved).shape == y.shape
    assert float((operator.forward(solved) - y).square().mean()) < float((operator.forward(start) - y).square().mean())
    assert torch.allclose(operator.data_step(x, y, 0.1, 1e-4), x, atol=0.02)  # the truth explains y already
    result = enhance(to_bytes(y), task="compose", degradation="downsample:2,noise:1,jpeg:30", steps=2, passes=1)
    assert result.image.shape == (128, 160, 3)
    for chain in ("jpeg:30,blur:2", "blur", "blur:x", "fog:2", "motion:3"):
        with pytest.raises(restore.InputError, match="jpeg:30"):
            enhance(small, task="compose", degradation=chain)
    with pytest.raises(restore.InputError, match="degradation"):
        enhance(small, task="compose")


def test_the_command_reads_a_configuration_and_options_win(small, tmp_path):
    Image.fromarray(small).save(tmp_path / "photo.png")
    (tmp_path / "c.yaml").write_text("task: super-resolution\nscale: 2\nsteps: 1\npasses: 1\nterm: [exposure=0]\n")
    (tmp_path / "bad.yaml").write_text("taks: denoise\n")

    def call(*args: object) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["enhance", str(tmp_path / "photo.png"), *(str(a) for a in args)])
        return result.exit_code, result.stdout if result.exit_code == 0 else result.stderr

    code, text = call("--config", tmp_path / "c.yaml", "--seed", 3, "--json")
    assert code == 0, text
    assert [json.loads(text)[k] for k in ("task", "size", "steps", "seed")] == ["super-resolution", [160, 128], 1, 3]
    code, text = call("--config", tmp_path / "c.yaml", "--scale", 3, "--json", "--overwrite")
    assert json.loads(text)["size"] == [240, 192]
    for args, word in (
        (("--config", tmp_path / "bad.yaml"), "did you mean 'task'"),
        (("--config", tmp_path / "none.yaml", "--task", "denoise"), "none.yaml"),
        (("--task", "denoise", "--term", "exposure"), "NAME=WEIGHT"),
    ):
        code, text = call(*args)
        assert code == 2, text
        assert word in text
        assert len(text.strip().splitlines()) == 1
