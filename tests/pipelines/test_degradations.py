"""Operators: adjoints, other implementations, and data steps against dense linear algebra."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from restore.errors import InputError
from restore.pipelines.restoration.degradations import Blur, Compose, Downsample, Grey, Identity, Mask
from restore.pipelines.restoration.kernels import disk_kernel, gaussian_kernel, motion_kernel


def known(height: int = 8, width: int = 16) -> torch.Tensor:
    return (torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(3)) > 0.5).double()


OPERATORS = {
    "identity": Identity(),
    "mask": Mask(known()),
    "grey": Grey(),
    "area2": Downsample(2, "area"),
    "bicubic2": Downsample(2),
    "bicubic4": Downsample(4),
    "area8": Downsample(8, "area"),
    "gaussian": Blur(gaussian_kernel(1.5)),
    "wider than the photo": Blur(gaussian_kernel(2.2)),
    "disk": Blur(disk_kernel(2.5)),
    "motion": Blur(motion_kernel(9, 30)),
    "blurred, then smaller": Compose([Blur(gaussian_kernel(1.0)), Downsample(2)]),
    "blurred, then grey, then smaller": Compose([Blur(motion_kernel(5, 60)), Grey(), Downsample(4, "area")]),
}


def images(n: int = 2) -> torch.Tensor:
    return torch.randn(n, 3, 8, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def dense(operator, x: torch.Tensor) -> torch.Tensor:
    """The operator as a matrix (measurements, pixels), for images shaped like x (1, 3, H, W)."""
    basis = torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape[1:])
    return operator.forward(basis).flatten(1).T


@pytest.mark.parametrize("name", OPERATORS)
def test_adjoints(name):
    operator, x = OPERATORS[name], images()
    y = torch.randn(operator.forward(x).shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert float((operator.forward(x) * y).sum()) == pytest.approx(float((x * operator.adjoint(y)).sum()), rel=1e-9)


@pytest.mark.parametrize("name", OPERATORS)
def test_norms_bound_the_largest_eigenvalue_and_not_by_much(name):
    operator = OPERATORS[name]
    matrix = dense(operator, images(1))
    largest = float(torch.linalg.matrix_norm(matrix, 2)) ** 2
    assert largest <= operator.norm * (1 + 1e-6)
    assert operator.norm < 3.5 * largest


@pytest.mark.parametrize("noise_var", [1e-4, 0.1])
@pytest.mark.parametrize("name", OPERATORS)
def test_data_steps_are_the_gaussian_posterior_mean(name, noise_var):
    operator, (z, truth) = OPERATORS[name], images().split(1)
    y, matrix, prior_var = operator.forward(truth), dense(operator, truth), 0.03
    gain = matrix.T @ torch.linalg.inv(matrix @ matrix.T + noise_var / prior_var * torch.eye(len(matrix)).double())
    expected = z.flatten() + gain @ (y.flatten() - matrix @ z.flatten())
    assert torch.allclose(operator.data_step(z, y, prior_var, noise_var).flatten(), expected, atol=5e-3)


def test_noise_may_differ_from_pixel_to_pixel():
    z, y = images().split(1)
    noise = torch.rand(y.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64) + 0.01
    expected = (noise * z + 0.5 * y) / (noise + 0.5)
    assert torch.allclose(Identity().data_step(z, y, 0.5, noise), expected, atol=1e-3)


def test_a_batch_solves_every_image_as_if_alone():
    operator, z = OPERATORS["motion"], images()
    y = operator.forward(images().flip(0)) * torch.tensor([1.0, 1e-3]).reshape(2, 1, 1, 1)
    together = operator.data_step(z, y, 0.1, 1e-4)
    alone = torch.cat([operator.data_step(z[i : i + 1], y[i : i + 1], 0.1, 1e-4) for i in range(2)])
    assert torch.allclose(together, alone, atol=1e-12)


def test_bicubic_is_pillows():
    x = images(1)[:, :1].float()
    small = Image.fromarray(x[0, 0].numpy()).resize((4, 2), Image.Resampling.BICUBIC)
    assert torch.allclose(Downsample(4).forward(x)[0, 0], torch.from_numpy(np.array(small)), atol=1e-5)


def test_gaussian_blur_is_scipys():
    x = images(1)
    expected = ndimage.gaussian_filter(x.numpy(), (0, 0, 1.5, 1.5), mode="reflect", truncate=4.0)
    assert np.allclose(Blur(gaussian_kernel(1.5).double()).forward(x).numpy(), expected, atol=1e-6)


def test_kernels_have_their_shape():
    disk, motion = disk_kernel(3.0), motion_kernel(7, 0)
    assert float(disk.sum()) == pytest.approx(1)
    assert float(disk[3, 3]) == pytest.approx(1 / (np.pi * 9), rel=0.03)
    assert torch.allclose(motion.sum(0)[1:8], torch.full((7,), 1 / 7), atol=0.03)
    assert float(motion[4].sum()) == pytest.approx(1)
    upright = motion_kernel(7, 90)
    assert torch.allclose(upright, motion.T, atol=1e-5)


def test_what_cannot_be_is_refused():
    for make in (
        lambda: Downsample(0),
        lambda: Downsample(2, "nearest"),
        lambda: Downsample(3).forward(images()),
        lambda: Blur(torch.ones(2, 3)),
        lambda: Blur(torch.zeros(3, 3)),
        lambda: Compose([]),
        lambda: gaussian_kernel(0.0),
        lambda: disk_kernel(-1.0),
        lambda: motion_kernel(0.5, 0.0),
    ):
        with pytest.raises(InputError, match="expected"):
            make()
