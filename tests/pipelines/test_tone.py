"""Curves of faded photos: closed forms of what fading does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from restore.pipelines.restoration.tone import BLACK, LOW_APART, WHITE, Curves, Tone, curves_of, skin_kept, tone_of

NONE = np.zeros((96, 96), np.bool_)


def smooth(seed: int = 0, channels: int = 3) -> torch.Tensor:
    """A scene (1, 3, 96, 96) in [BLACK, WHITE] that has both ends in every channel."""
    coarse = torch.rand(1, channels, 8, 8, generator=torch.Generator().manual_seed(seed))
    scene = torch.nn.functional.interpolate(coarse, size=(96, 96), mode="bilinear").expand(-1, 3, -1, -1)
    low, high = scene.amin((2, 3), keepdim=True), scene.amax((2, 3), keepdim=True)
    return BLACK + (scene - low) / (high - low) * (WHITE - BLACK)


def faded(scene: torch.Tensor, black: tuple[float, ...], white: tuple[float, ...]) -> torch.Tensor:
    low, high = (torch.tensor(v)[None, :, None, None] for v in (black, white))
    return 2 * (low + (high - low) * (scene - BLACK) / (WHITE - BLACK)) - 1


def test_a_fading_common_to_the_channels_is_undone():
    scene = smooth()
    old = faded(scene, (0.15,) * 3, (0.8,) * 3)
    tone = tone_of(old, NONE)
    assert tone.faded(beside=False)
    assert not tone_of(2 * scene - 1, NONE).faded(beside=True)
    back = (curves_of([tone])(old) + 1) / 2
    assert float((back - scene).abs().mean()) < 0.02


def test_of_a_cast_the_stated_share_is_undone():
    tone = Tone(np.array([0.1, 0.16, 0.1]), np.array([0.9, 0.9, 0.8]), False)
    curves = curves_of([tone])
    assert curves.black[1] == pytest.approx(0.1 + LOW_APART * 0.06)
    assert 0.8 < curves.white[2] < curves.white[0] == pytest.approx(0.9)


def test_a_scene_without_black_is_not_stretched_to_have_one():
    curves = curves_of([Tone(np.full(3, 0.5), np.full(3, 0.6), False)])
    assert np.mean(curves.black) == pytest.approx(0.2)
    assert np.mean(curves.white) == pytest.approx(0.75)


def test_curves_rise_everywhere_and_clip_nothing():
    curves = Curves((0.1, 0.2, 0.0), (0.8, 0.75, 1.0))
    ramp = torch.linspace(-1, 1, 1001).expand(1, 3, 1, -1)
    out = curves(ramp)
    assert bool((out.diff() > 0).all())
    assert out[..., 0].flatten().tolist() == pytest.approx([-1, -1, 2 * BLACK - 1], abs=1e-5)
    assert out[..., -1].flatten().tolist() == pytest.approx([1, 1, 2 * WHITE - 1], abs=1e-5)


def test_grey_and_sepia_keep_their_tint_unless_told():
    grey = smooth(channels=1)
    sepia = grey * torch.tensor([1.0, 0.86, 0.66])[None, :, None, None]
    for scene in (grey, sepia):
        old = 2 * (0.12 + 0.7 * scene) - 1
        tone = tone_of(old, NONE)
        assert tone.tinted
        back = (curves_of([tone])(old) + 1) / 2
        before = (scene[:, :1] - scene[:, 2:]).mean()
        assert float((back[:, :1] - back[:, 2:]).mean()) == pytest.approx(float(before), abs=0.04)
        neutral = curves_of([tone], neutral=True)(old)
        assert float((neutral[:, 0] - neutral[:, 2]).abs().mean()) < 0.4 * float(before) + 0.001
    assert not tone_of(2 * smooth() - 1, NONE).tinted


def test_marks_do_not_tell_the_tone():
    old = faded(smooth(), (0.15,) * 3, (0.8,) * 3)
    marks = NONE.copy()
    marks[:, 40:44] = True
    scratched = old.clone()
    scratched[..., torch.from_numpy(marks)] = 1.0
    assert not tone_of(scratched, NONE).faded(beside=True)
    assert tone_of(scratched, marks).high == pytest.approx(tone_of(old, marks).high, abs=0.01)


def test_one_film_has_one_pair_of_ends():
    tones = [Tone(np.full(3, 0.12), np.full(3, 0.7), False), Tone(np.full(3, 0.3), np.full(3, 0.88), False)]
    assert curves_of(tones) == Curves((0.12,) * 3, (0.88,) * 3)


def test_skin_stays_skin():
    skin = torch.tensor([0.8, 0.6, 0.5])[None, :, None, None].expand(1, 3, 64, 64) * 2 - 1
    green = Curves((0.2, 0.0, 0.2), (1.0, 0.7, 1.0))
    kept = skin_kept(green, skin)
    colour = kept(skin)[0, :, 0, 0]
    assert colour[0] > colour[1] > colour[2]
    assert not bool(green(skin)[0, 0, 0, 0] > green(skin)[0, 1, 0, 0])
    grey = torch.zeros(1, 3, 64, 64)
    assert skin_kept(green, grey) == green
