"""Priors from elsewhere: tiny randomly initialised models in diffusers' format, and our own weights from a file."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from restore import enhance
from restore.errors import ModelUnavailableError
from restore.pipelines.diffusion.schedules import linear_alpha_bars
from restore.pipelines.hub.prior import DiffusersPrior, load_prior, prior_from_weights
from restore.pipelines.networks.prior import PriorConfig, PriorNet

CPU = torch.device("cpu")
diffusers = pytest.importorskip("diffusers")


def tiny(out_channels: int = 3):
    torch.manual_seed(0)
    return diffusers.UNet2DModel(
        sample_size=16,
        out_channels=out_channels,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )


@pytest.fixture
def folder(tmp_path):
    tiny().save_pretrained(tmp_path / "unet")
    diffusers.DDPMScheduler().save_pretrained(tmp_path / "scheduler")
    return tmp_path


def test_a_diffusers_folder_denoises_as_its_scheduler_says(folder):
    """x₀ of the wrapper is the scheduler's own `pred_original_sample` at the same step."""
    prior = load_prior(str(folder), CPU)
    scheduler, step = diffusers.DDPMScheduler(clip_sample=False), 400
    alpha = scheduler.alphas_cumprod[step]
    x_t = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    unet = tiny().eval()
    with torch.no_grad():
        expected = scheduler.step(unet(x_t, step).sample, step, x_t).pred_original_sample
        found = prior.denoise(x_t / alpha.sqrt(), ((1 - alpha) / alpha).sqrt()[None])
    assert torch.allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize(("prediction", "weight"), [("sample", 0.0), ("v_prediction", 1.0)])
def test_other_predictions_are_converted(prediction, weight):
    """A network that always says 0: x₀ is 0, or √ᾱ of the variance-preserving picture."""

    class Zero(torch.nn.Module):
        config = tiny().config

        def forward(self, x: torch.Tensor, t: torch.Tensor):
            return type("Output", (), {"sample": torch.zeros_like(x)})

    x, sigma = torch.ones(1, 3, 16, 16), torch.tensor([1.0])
    out = DiffusersPrior(Zero(), linear_alpha_bars(), prediction).denoise(x, sigma)
    assert torch.allclose(out, torch.full_like(x, weight * 0.5))


def test_enhance_takes_a_folder_at_odd_sizes(folder):
    photo = np.random.default_rng(0).integers(0, 256, (19, 33, 3), dtype=np.uint8)
    result = enhance(photo, task="super-resolution", scale=2, steps=2, model=str(folder))
    assert result.image.shape == (38, 66, 3)


def test_weights_from_a_file_carry_their_own_widths(tmp_path):
    net = PriorNet(PriorConfig((8, 16), (1, 2), (3,)))
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    loaded = load_prior(str(tmp_path / "net.safetensors"), CPU)
    x, sigma = torch.randn(1, 3, 16, 16), torch.tensor([0.2])
    assert torch.equal(loaded.denoise(x, sigma), net.eval().denoise(x, sigma))


def test_what_is_no_prior_is_refused(folder, tmp_path):
    with pytest.raises(ModelUnavailableError, match="PriorNet"):
        prior_from_weights({"x": torch.zeros(1)})
    with pytest.raises(ModelUnavailableError, match="nothing"):
        load_prior("nothing", CPU)
    config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    config["prediction_type"] = "flow"
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelUnavailableError, match="flow"):
        load_prior(str(folder), CPU)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04N.")  # a pickle is not read
    with pytest.raises(ModelUnavailableError, match="expected"):
        load_prior(str(folder), CPU)
