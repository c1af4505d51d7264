"""The hole-only draft network: cells painted alone are those of the whole picture; known pixels stay."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from restore.pipelines.coord_net import CELL, CODE, CoordConfig, CoordNet
from restore.pipelines.smooth import push_pull


def small_net() -> CoordNet:
    torch.manual_seed(0)
    net = CoordNet(CoordConfig(width=32, blocks=2, hidden=8, frequencies=3)).eval()
    torch.nn.init.normal_(net.write.weight, std=0.1)
    torch.nn.init.normal_(net.before.conv2.weight, std=0.05)
    return net


def picture(h: int, w: int) -> tuple[np.ndarray, np.ndarray]:
    image = np.random.default_rng(0).integers(0, 256, (h, w, 3)).astype(np.uint8)
    mask = np.zeros((h, w), bool)
    mask[h // 4 : h // 2, w // 3 : w // 2] = True
    return image, mask


def test_a_hole_alone_is_painted_as_the_whole_picture_would_be() -> None:
    net = small_net()
    image, mask = picture(96, 64)  # cells of 24 pixels: 4 × 2⅔
    code = torch.randn(1, CODE)
    out = net.fill(image, mask, code, size=32)
    smooth, hole = net._small(image, mask, 24, (4, 3))
    with torch.inference_mode():
        whole = net(smooth, hole, code, 24)[0, :, :96, :64].permute(1, 2, 0).clamp(0, 1).numpy() * 255
    assert np.abs(out[mask] - whole[mask]).max() <= 0.51
    assert np.array_equal(out[~mask], image[~mask])


def test_what_the_hole_holds_does_not_matter_and_the_style_does() -> None:
    net, (image, mask) = small_net(), picture(80, 80)
    codes = torch.randn(2, 1, CODE)
    other = np.where(mask[..., None], np.uint8(9), image)
    assert np.array_equal(net.fill(image, mask, codes[0], 40), net.fill(other, mask, codes[0], 40))
    assert not np.array_equal(net.fill(image, mask, codes[0], 40), net.fill(image, mask, codes[1], 40))


def test_at_the_start_the_draft_is_the_smooth_fill() -> None:
    net = CoordNet(CoordConfig(width=32, blocks=1, hidden=8, frequencies=2)).eval()
    with torch.no_grad():
        net.write.weight.zero_()
    x, mask = torch.rand(2, 3, 32, 32), torch.zeros(2, 1, 32, 32)
    mask[..., 8:20, 8:20] = 1
    smooth = push_pull(x * (1 - mask), mask)
    out = net(smooth, mask, torch.randn(2, CODE), 2 * CELL)
    assert torch.allclose(out, F.interpolate(smooth, size=64, mode="bilinear", align_corners=False), atol=1e-6)
