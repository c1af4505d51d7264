"""`restore.enhance` and `restore enhance`: every task end to end, the same guarantees as `inpaint`."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import restore
from restore import enhance
from restore.cli import main
from restore.pipelines.diffusion.denoiser import GaussianPrior
from restore.pipelines.restoration.degradations import Blur
from restore.pipelines.restoration.jpeg import Jpeg, found_compression
from restore.pipelines.restoration.kernels import gaussian_kernel
from restore.pipelines.restoration.noise import blotch_level, noise_level
from restore.pipelines.restoration.plans import denoise, low_light, run
from restore.pipelines.restoration.sampling import Sampling


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def noisy(scene: np.ndarray, deviation: float = 25) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, deviation, scene.shape)
    return (scene + noise).clip(0, 255).astype(np.uint8)


def compressed(scene: np.ndarray, quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(scene).save(file, "JPEG", quality=quality)
    return file.getvalue()


@pytest.fixture
def small(scene):
    return scene[40:104, 60:140].copy()


def test_denoising_estimates_the_noise_and_removes_it(small):
    damaged = noisy(small)
    result = enhance(damaged, task="denoise")
    assert result.parameters["noise"] == pytest.approx(25, rel=0.15)
    assert psnr(result.image, small) > psnr(damaged, small) + 4


def test_deblurring_a_known_blur(small):
    damaged = Blur(gaussian_kernel(1.5)).forward(torch.from_numpy(small).permute(2, 0, 1)[None].float())
    damaged = damaged[0].permute(1, 2, 0).round().byte().numpy()
    result = enhance(damaged, task="deblur", blur=1.5, noise=0.5)
    assert psnr(result.image, small) > psnr(damaged, small) + 2
    assert result.consistency < 2


def test_super_resolution_changes_the_size_and_agrees_with_the_input(small):
    result = enhance(small, task="super-resolution", scale=2)
    assert result.image.shape == (128, 160, 3)
    assert result.consistency < 1
    with pytest.raises(restore.InputError, match="2, 3, 4 or 8"):
        enhance(small, task="super-resolution", scale=5)


def test_inpainting_keeps_known_pixels_and_finds_the_others(small):
    lost = np.random.default_rng(0).random(small.shape[:2]) < 0.5
    damaged = np.where(lost[..., None], 0, small).astype(np.uint8)
    result = enhance(damaged, task="inpaint", mask=lost)
    assert np.array_equal(result.image[~lost], small[~lost])
    assert psnr(result.image, small) > 22


def test_dejpeg_takes_the_tables_from_the_file(small, tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(compressed(small, 12))
    damaged = np.asarray(Image.open(path))
    result = enhance(path, task="dejpeg")
    assert psnr(np.asarray(result.image), small) > psnr(damaged, small) + 0.1
    result.save(tmp_path / "better.jpg")
    saved = np.asarray(Image.open(tmp_path / "better.jpg"))
    assert psnr(saved, np.asarray(result.image)) > 38  # not through the tables that damaged it


@pytest.mark.parametrize("quality", [8, 20, 50, 80])
def test_jpeg_quality_is_found_in_pixels(scene, quality):
    decoded = np.asarray(Image.open(io.BytesIO(compressed(noisy(scene, 8), quality))))
    found = found_compression(decoded)
    assert found is not None
    assert found[1] == pytest.approx(quality, abs=1)
    assert found[0].origin == (0, 0)


@pytest.mark.parametrize("quality", [6, 10, 20, 60])
def test_halved_chroma_is_not_taken_for_whole_where_coarse_tables_left_little(scene, quality):
    blobs = np.add.outer(np.sin(np.arange(160) / 23), np.cos(np.arange(200) / 31))
    soft = scene.copy()
    soft[..., 0] = (soft[..., 0] * 0.6 + 40 * (blobs + 1.5)).clip(0, 255)
    decoded = np.asarray(Image.open(io.BytesIO(compressed(noisy(soft, 8), quality))))  # Pillow halves chroma
    jpeg, _ = found_compression(decoded)
    assert (jpeg.halved, jpeg.origin) == (True, (0, 0))


@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("corner", [(3, 5), (8, 0), (13, 9)])
def test_the_blocks_of_a_cropped_jpeg_are_found(scene, subsampling, corner):
    colourful = scene.copy()
    colourful[..., 0] = colourful[..., 0] // 2 + (np.add.outer(np.arange(160) // 9, np.arange(200) // 13) % 2 * 90)
    file = io.BytesIO()
    Image.fromarray(noisy(colourful, 6)).save(file, "JPEG", quality=25, subsampling=subsampling)
    cropped = np.asarray(Image.open(file))[corner[0] :, corner[1] :]
    jpeg, quality = found_compression(cropped)
    assert quality == pytest.approx(25, abs=1)
    assert jpeg.halved == (subsampling == 2)
    assert jpeg.origin == (corner[0] % jpeg.unit, corner[1] % jpeg.unit)
    x = torch.from_numpy(cropped.copy()).permute(2, 0, 1)[None] / 127.5 - 1
    assert float((jpeg.forward(x) - x).abs().mean()) * 127.5 < 1.5  # compressing it again changes next to nothing
    if jpeg.origin != (0, 0):
        assert float((Jpeg.of_quality(25, jpeg.halved).forward(x) - x).abs().mean()) * 127.5 > 2


def test_a_photo_that_was_never_compressed_has_no_jpeg_quality(scene):
    assert found_compression(noisy(scene, 8)) is None
    with pytest.raises(restore.InputError, match="quality"):
        enhance(noisy(scene, 8), task="dejpeg")


def test_the_jpeg_operator_is_the_codec_and_the_truth_lies_in_its_box(scene):
    scene = noisy(scene, 8)
    decoded = np.asarray(Image.open(io.BytesIO(compressed(scene, 20))))
    x, y = (torch.from_numpy(np.array(i)).permute(2, 0, 1)[None] / 127.5 - 1 for i in (scene, decoded))
    operator = Jpeg.of_quality(20)
    assert float((operator.forward(x) - y).abs().mean()) * 127.5 < 2
    assert float((operator.data_step(x, y, 0.1, 0.0) - x).abs().mean()) * 127.5 < 0.3
    grey = torch.zeros_like(x)
    inside = operator.data_step(grey, y, 0.1, 0.0)
    assert float((inside - grey).abs().mean()) > 0.05
    x.requires_grad_()
    operator.forward(x).square().sum().backward()
    assert bool(x.grad.isfinite().all())
    assert float(x.grad.abs().mean()) > 0


def test_low_light_finds_the_gain_and_brightens(small):
    dark = (small * 0.2).astype(np.uint8)
    result = enhance(dark, task="low-light", target=0.4)
    assert float(np.mean(result.image)) > 3 * float(dark.mean())
    assert result.parameters["gain"] < 0.5
    assert result.light_map is not None
    assert result.light_map.shape == small.shape


def test_hdr_merges_exposures_and_refuses_other_sizes(small):
    under, over = (small * 0.4).astype(np.uint8), (small * 1.9).clip(0, 255).astype(np.uint8)
    result = enhance([under, over], task="hdr")
    assert result.parameters["ghosts"] == 0
    assert np.corrcoef(result.image.ravel(), small.ravel())[0, 1] > 0.75
    deep = enhance([under.astype(np.uint16) * 257, over.astype(np.uint16) * 257], task="hdr").image
    assert deep.dtype == np.uint16
    assert len(np.unique(deep % 257)) > 1
    with pytest.raises(restore.InputError, match="one size"):
        enhance([under, over[:-8]], task="hdr")
    with pytest.raises(restore.InputError, match="2 to 5"):
        enhance([under], task="hdr")


def test_colour_comes_back_where_grey_was(small):
    grey = np.array(Image.fromarray(small).convert("L"))
    result = enhance(grey, task="colorize", steps=2)
    assert result.image.shape == small.shape
    assert result.consistency < 2


def test_seeds_decide_samples_and_batches_of_windows_do_not(small):
    def sampled(seed: int) -> np.ndarray:
        return enhance(small, task="super-resolution", scale=2, method="gdp", steps=3, seed=seed).image

    first = sampled(0)
    assert np.array_equal(first, sampled(0))
    assert not np.array_equal(first, sampled(1))


def test_samples_keep_depth_alpha_and_greys(small):
    deep = small.astype(np.uint16) * 257
    alpha = np.full((*small.shape[:2], 1), 77, np.uint8)
    assert enhance(deep, task="denoise", noise=5).image.dtype == np.uint16
    assert len(np.unique(enhance(deep, task="denoise", noise=5).image % 257)) > 1  # not 8 bits stretched
    transparent = enhance(np.concatenate([small, alpha], 2), task="super-resolution", scale=2).image
    assert transparent.shape == (128, 160, 4)
    assert (transparent[..., 3] == 77).all()
    assert enhance(small[..., 0].copy(), task="denoise", noise=5).image.shape == small.shape[:2]


def test_callbacks_count_and_stop(small):
    seen: list[tuple[int, int]] = []
    enhance(small, task="inpaint", mask=small[..., 0] > 128, steps=3, on_step=lambda *at: seen.append(at))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    with pytest.raises(restore.Cancelled):
        enhance(small, task="denoise", on_step=lambda *_: False)


def test_what_cannot_be_is_refused(small):
    for options in (
        {"task": "sharpen"},
        {"task": "inpaint"},
        {"task": "denoise", "mask": small[..., 0] > 128},
        {"task": "deblur", "blur": 1.0, "disk": 2.0},
        {"task": "denoise", "method": "magic"},
        {"task": "denoise", "steps": 0},
        {"task": "denoise", "noise": -1.0},
        {"task": "denoise", "strength": 0.0},
        {"task": "denoise", "temperature": 2.0},
        {"task": "denoise", "seed": -1},
    ):
        with pytest.raises(restore.InputError, match="expected"):
            enhance(small, **options)
    with pytest.raises(restore.ModelUnavailableError, match="no-such"):
        enhance(small, task="denoise", model="no-such")
    with pytest.raises(restore.InputError, match="one photo"):
        enhance([small, small], task="denoise")


def test_every_method_and_spacing_runs_on_a_prior_of_any_kind():
    y = torch.zeros(1, 3, 16, 16)
    for method in ("half-quadratic", "gdp", "gdp-xt"):
        for respaced in (False, True):
            out = run(
                GaussianPrior(0.0, 0.5), low_light(y, 0.45), Sampling(method, 3, respaced=respaced), torch.Generator()
            )
            assert bool(out.isfinite().all())


def test_noise_levels_are_measured():
    noise = 0.2 * torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert noise_level(noise) == pytest.approx(0.2, rel=0.05)
    assert noise_level(torch.zeros(1, 3, 8, 8)) == 0


def test_noise_that_was_smoothed_is_found_at_half_size():
    fine = 0.1 * torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    assert blotch_level(fine) == pytest.approx(0.1, rel=0.25)
    smooth = torch.nn.functional.avg_pool2d(fine, 5, 1, 2)
    assert noise_level(smooth) < 0.2 * blotch_level(smooth) + 0.004
    assert blotch_level(torch.linspace(-1, 1, 128).expand(1, 3, 128, 128)) < 1e-3
    assert denoise(smooth).estimated["noise"] > 1.0
    assert denoise(fine).estimated["noise"] == pytest.approx(12.75, rel=0.05)


def call(*args: object):
    return CliRunner().invoke(main, ["enhance", *(str(a) for a in args)])


def test_the_command_writes_picture_report_and_json(small, tmp_path):
    Image.fromarray(noisy(small)).save(tmp_path / "photo.png")
    args = (tmp_path / "photo.png", "--task", "denoise", "--json", "--report", tmp_path / "r.html")
    result = call(*args)
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["task"] == "denoise"
    assert summary["parameters"]["noise"] == pytest.approx(25, rel=0.15)
    assert summary["size"] == [80, 64]
    with Image.open(tmp_path / "photo.restored.png") as written:
        assert written.size == (80, 64)
    page = (tmp_path / "r.html").read_text()
    assert "Close-up" in page
    assert "http" not in page.replace("http-equiv", "")
    again = call(*args)
    assert again.exit_code == 2
    assert "existing" in again.stderr
    assert call(*args, "--overwrite").exit_code == 0


def test_the_command_refuses_in_one_line(small, tmp_path):
    Image.fromarray(small).save(tmp_path / "photo.png")
    photo = tmp_path / "photo.png"
    for args, code, word in (
        ((photo, photo, "--task", "denoise"), 2, "one photo"),
        ((photo, "--task", "inpaint"), 2, "mask"),
        ((photo, "--task", "deblur", "--motion", "3"), 2, "LENGTH,ANGLE"),
        ((photo, "--task", "denoise", "--model", "no-such"), 4, "no-such"),
        ((tmp_path / "none.png", "--task", "denoise"), 2, "none.png"),
    ):
        result = call(*args)
        assert result.exit_code == code, result.output
        assert word in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photo.png"]


def test_an_engine_keeps_its_prior_and_shares_its_judge(small):
    engine = restore.Engine(device="cpu")
    first, second = (engine.enhance(small, task="denoise", passes=1) for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert engine._restorer.prior("builtin") is engine._restorer.prior("builtin")
    assert engine._restorer.critic.judge is engine._assessor.judge
