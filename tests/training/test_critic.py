"""The critic that all filling networks share: who learns what from it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from restore.features.lite0 import Lite0
from restore.quality.metrics.full_reference import feature_distance
from restore.training.critic import Critic, distance, hinge, judged, over

TAPS = (0, 2)


@pytest.fixture(scope="module")
def lite0() -> Lite0:
    torch.manual_seed(0)
    return Lite0().eval().requires_grad_(False)


def pictures() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    mask = torch.zeros(2, 1, 32, 32)
    mask[..., 8:20, 4:24] = 1
    return torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32), mask


def test_the_mean_is_over_touched_cells_or_over_the_others() -> None:
    value = torch.arange(16.0).reshape(1, 1, 4, 4)
    shape = torch.zeros(1, 1, 8, 8)
    shape[..., 0, 0] = shape[..., 5, 3] = 1  # cells (0, 0) and (2, 1)
    assert over([value, value], shape).item() == (0 + 9) / 2
    assert over([value], shape, touched=False).item() == pytest.approx((120 - 9) / 14)


def test_each_learns_from_its_own_loss_only(lite0: Lite0) -> None:
    fake, real, mask = pictures()
    fake.requires_grad_(True)
    critic = Critic(TAPS, layers=1)
    losses = judged(critic, lite0, fake, real, mask)
    losses["critic"].backward(retain_graph=True)
    assert fake.grad is None
    assert all(p.grad is not None for p in critic.parameters())
    critic.zero_grad()
    losses["confusion"].backward()
    assert fake.grad is not None
    assert fake.grad.abs().sum() > 0
    assert all(p.grad is None for p in critic.parameters())
    assert all(p.requires_grad for p in critic.parameters())


def test_the_distance_is_the_one_that_is_reported(lite0: Lite0) -> None:
    fake, real, mask = pictures()
    expected = feature_distance(lite0, fake, real, mask, TAPS)
    found = distance(lite0.features(fake, TAPS), lite0.features(real, TAPS), mask)
    torch.testing.assert_close(found, expected)


class Perfect(Critic):
    """Sure of everything: what it sees first is the truth, then the filled picture."""

    def __init__(self, mask: torch.Tensor) -> None:
        super().__init__(TAPS, layers=1)
        self.mask, self.calls = mask, 0

    def forward(self, features: list[torch.Tensor], *maps: torch.Tensor) -> list[torch.Tensor]:
        self.calls += 1
        made = [F.adaptive_max_pool2d(self.mask, f.shape[-2:]) for f in features]
        return [torch.full_like(m, 2.0) if self.calls == 1 else 2 - 4 * m for m in made]


def test_a_critic_that_is_right_everywhere_has_no_loss_and_one_that_is_wrong_does(lite0: Lite0) -> None:
    fake, real, mask = pictures()
    losses = judged(Perfect(mask), lite0, fake, real, mask)
    assert (losses["critic"].item(), losses["confusion"].item()) == (0, 2)
    losses = judged(Perfect(1 - mask), lite0, fake, real, mask)
    assert losses["critic"] > 2
    assert losses["confusion"] < 0  # it takes most filled cells for the photo's own


def test_the_hinge_ends_one_beyond_the_border() -> None:
    assert [h.tolist() for h in hinge([torch.tensor([-2.0, 0.0, 2.0])], -1)] == [[0, 1, 3]]
