"""Light by region, and exposures merged: what a curve and a blend must keep."""

from __future__ import annotations

import numpy as np
import torch

from restore.pipelines.restoration.exposures import merged
from restore.pipelines.restoration.lighting import Lighting


def backlit() -> torch.Tensor:
    """A bright textured sky above a dark textured ground, (1, 3, 96, 128) in [-1, 1]."""
    texture = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0)) * 0.1 - 0.05
    level = torch.full((1, 3, 96, 128), 0.85)
    level[..., 48:, :] = 0.08
    return 2 * (level + level * texture) - 1


def test_the_dark_gets_light_and_the_bright_stays():
    y = backlit()
    x = Lighting(y, 0.45).start(y)
    before, after = (y + 1) / 2, (x + 1) / 2
    assert float(after[..., 60:, :].mean()) > 2.5 * float(before[..., 60:, :].mean())
    assert float((after - before)[..., :36, :].abs().max()) < 0.08


def test_what_was_well_lit_stays_as_it_is():
    y = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(1)) - 0.2
    assert torch.allclose(Lighting(y, 0.4).start(y), y, atol=0.01)


def test_nothing_clips_and_every_region_keeps_its_order():
    y = torch.linspace(-0.98, 0.98, 128).expand(1, 3, 96, -1).clone()
    y[..., 48:, :] = -0.95 + 0.1 * (y[..., 48:, :] + 1)
    x = Lighting(y, 0.45).start(y)
    assert float(x.max()) < 1
    assert float(x.min()) > -1
    flat = torch.full((1, 3, 96, 128), -0.8)
    flat[..., ::2, ::2] = -0.7
    brighter = Lighting(flat, 0.45).start(flat)
    assert bool((brighter[..., ::2, ::2] > brighter[..., 1::2, 1::2]).all())


def test_the_operator_explains_the_photo_by_the_brightened_one():
    y = backlit()
    operator = Lighting(y, 0.45)
    x = operator.start(y)
    assert torch.allclose(operator.forward(x), y, atol=1e-5)
    assert torch.allclose(operator.data_step(torch.zeros_like(x), y, 1e4, 1e-6), x, atol=1e-3)


def exposures(scene: np.ndarray) -> list[torch.Tensor]:
    shots = [(scene * 0.4).clip(0, 1), (scene * 1.6).clip(0, 1)]
    return [torch.from_numpy(s.astype(np.float32)).permute(2, 0, 1)[None] * 2 - 1 for s in shots]


def test_merged_exposures_show_what_one_of_them_clipped(scene):
    shots = exposures(scene / 255)
    picture, ghosts = merged(shots)
    assert not ghosts.any()
    clipped = (shots[1] > 0.999).any(1)[0]
    sky = picture[0, :, clipped]
    assert clipped.float().mean() > 0.05
    assert float((sky > 0.98).float().mean()) < 0.01
    assert np.corrcoef(picture[0].permute(1, 2, 0).numpy().ravel(), (scene / 255).ravel())[0, 1] > 0.75


def test_what_moved_is_told_and_taken_from_one_exposure(scene):
    shots = exposures(scene / 255)
    moving = [s.clone() for s in shots]
    moving[0][:, :, 110:140, 60:90] = 0.8  # someone in white, in the short exposure only
    picture, ghosts = merged(moving)
    assert ghosts[112:138, 62:88].all()
    assert ghosts.mean() < 0.1
    assert torch.allclose(picture[..., 118:132, 68:82], moving[0][..., 118:132, 68:82], atol=0.2)
    still, _ = merged(shots)
    assert torch.allclose(picture[..., :60, 120:], still[..., :60, 120:], atol=0.1)
