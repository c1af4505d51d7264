"""What can happen to a photo: y = A x, one small class per linear operator, and their composition.

Images are (N, C, H, W) in [-1, 1] and so are measurements. A sampler needs three things of an operator:
`forward`, `adjoint`, and the *data step*, the mean of the Gaussian posterior

    argmin_x ‖A x − y‖² / noise_var + ‖x − z‖² / prior_var = z + prior_var Aᵀ (prior_var A Aᵀ + noise_var)⁻¹ (y − A z)

(the half-quadratic split of Zhang et al., DPIR, TPAMI 2021, eq. 6). Written over the measurement like this it is
one conjugate gradient for every operator; where A Aᵀ is a multiple of the identity (area downsampling, grey,
mask) that ends after one iteration, and a symmetric blur is solved in the Fourier domain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.errors import InputError
from restore.pipelines.push_pull import push_pull
from restore.pipelines.restoration.kernels import gaussian_kernel
from restore.pipelines.restoration.tiles import Box, reduced, shifted

ITERATIONS = 60  # most steps of the conjugate gradient
TOLERANCE = 1e-4  # relative residual at which it stops
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, what Pillow and JPEG call grey


class Operator(Protocol):
    """What samplers ask of a degradation; not all are linear (see `jpeg` and `lighting`)."""

    @property
    def norm(self) -> float:
        """Upper bound of ‖∂A/∂x‖²: gradient steps of 1/norm descend ‖A x − y‖² / 2."""
        ...

    def forward(self, x: Tensor) -> Tensor:
        """The measurement of images x."""
        ...

    def start(self, y: Tensor) -> Tensor:
        """A plain picture of what y shows, at the size of x: where sampling starts."""
        ...

    def data_step(self, z: Tensor, y: Tensor, prior_var: float, noise_var: Tensor | float) -> Tensor:
        """The image nearest to both z (variance `prior_var`) and the measurement (variance `noise_var`)."""
        ...

    @property
    def unit(self) -> int:
        """Windows of x begin at multiples of this many pixels."""
        ...

    def cut(self, box: Box) -> Operator:
        """The same degradation of the window `box` of x."""
        ...

    def measured(self, box: Box) -> Box:
        """Where in y the window `box` of x is measured."""
        ...

    def reduced(self, y: Tensor, scale: float) -> tuple[Operator, Tensor]:
        """Degradation and measurement of x at `scale` < 1 of its size, as near as the small size can tell."""
        ...


class Linear:
    """Base of linear operators: `data_step` by conjugate gradients over the measurement."""

    norm = 1.0
    unit = 1

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def adjoint(self, y: Tensor) -> Tensor:
        """Aᵀ y: ⟨A x, y⟩ = ⟨x, Aᵀ y⟩ for all x, y."""
        raise NotImplementedError

    def start(self, y: Tensor) -> Tensor:
        return self.adjoint(y)

    def cut(self, box: Box) -> Linear:
        return self

    def measured(self, box: Box) -> Box:
        return box

    def reduced(self, y: Tensor, scale: float) -> tuple[Operator, Tensor]:
        return self, reduced(y, scale)

    def data_step(self, z: Tensor, y: Tensor, prior_var: float, noise_var: Tensor | float) -> Tensor:
        residual = y - self.forward(z)
        return z + prior_var * self.adjoint(self._solve(residual, prior_var, noise_var))

    def _solve(self, residual: Tensor, prior_var: float, noise_var: Tensor | float) -> Tensor:
        """(prior_var A Aᵀ + noise_var)⁻¹ residual, every image of the batch on its own."""

        def system(u: Tensor) -> Tensor:
            return prior_var * self.forward(self.adjoint(u)) + noise_var * u

        return conjugate_gradient(system, residual)


class MatrixFunction(Protocol):
    """A symmetric positive matrix as a function."""

    def __call__(self, u: Tensor, /) -> Tensor: ...


def conjugate_gradient(system: MatrixFunction, b: Tensor) -> Tensor:
    """Solve system(u) = b for a symmetric positive (semi-)definite system, from u = 0.

    Inner products are per image of the batch (N, C, H, W); a solved image stands still while others go on,
    so neighbours in a batch never change a result.
    """
    u, r = torch.zeros_like(b), b.clone()
    p, rr = r.clone(), _inner(r, r)
    goal = TOLERANCE**2 * rr
    for _ in range(ITERATIONS):
        going = rr > goal
        if not bool(going.any()):
            break
        q = system(p)
        step = torch.where(going, rr / _inner(p, q).clamp(min=1e-30), 0)
        u, r = u + step * p, r - step * q
        after = _inner(r, r)
        p = torch.where(going, r + (after / rr.clamp(min=1e-30)) * p, p)
        rr = torch.where(going, after, rr)
    return u


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((1, 2, 3), keepdim=True)


class Identity(Linear):
    """Nothing but noise."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        return y


class Mask(Linear):
    """Pixels that are known are kept, the others read 0. `known` (1 or N, 1, H, W), 1 = known."""

    def __init__(self, known: Tensor) -> None:
        self.known = known

    def forward(self, x: Tensor) -> Tensor:
        return self.known * x

    def adjoint(self, y: Tensor) -> Tensor:
        return self.known * y

    def start(self, y: Tensor) -> Tensor:
        """Known pixels, and a smooth fill between them (push–pull pyramid)."""
        hole = (1 - self.known).expand(len(y), 1, *y.shape[-2:])
        return push_pull((y + 1) / 2, hole) * 2 - 1

    def cut(self, box: Box) -> Mask:
        return Mask(self.known[box])

    def reduced(self, y: Tensor, scale: float) -> tuple[Operator, Tensor]:
        """A cell is known where a quarter of it is; it holds the mean of what is known there."""
        share = reduced(self.known, scale)
        known = (share >= 0.25).to(y)
        return Mask(known), known * reduced(self.known * y, scale) / share.clamp(min=1e-6)


class Grey(Linear):
    """Luma only: (N, 3, H, W) → (N, 1, H, W)."""

    norm = sum(w * w for w in LUMA)

    def forward(self, x: Tensor) -> Tensor:
        return (x * self._weights(x)).sum(1, keepdim=True)

    def adjoint(self, y: Tensor) -> Tensor:
        return y * self._weights(y)

    def start(self, y: Tensor) -> Tensor:
        return y.expand(-1, 3, -1, -1)

    def _weights(self, like: Tensor) -> Tensor:
        return like.new_tensor(LUMA)[None, :, None, None]


class Downsample(Linear):
    """Smaller by a whole factor, `kind` "bicubic" (antialiased, as Pillow does it) or "area" (mean of a cell).

    Sides of x must be divisible by `factor`. Each axis is one matrix, so the adjoint is exact at the borders.
    """

    def __init__(self, factor: int, kind: str = "bicubic") -> None:
        if factor < 1 or kind not in ("bicubic", "area"):
            raise InputError(f"expected a factor of at least 1 and 'bicubic' or 'area', got {factor} and '{kind}'")
        self.factor = self.unit = factor
        self.kind = kind
        self.norm = 1.0 / factor**2 if kind == "area" else 1.3 / factor**2  # cubic overshoot: ‖row‖ above the mean's

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-2] % self.factor or x.shape[-1] % self.factor:
            raise InputError(f"expected sides divisible by {self.factor}, got {tuple(x.shape[-2:])}; crop or pad first")
        rows, columns = (self._matrix(side // self.factor, x) for side in x.shape[-2:])
        return rows @ x @ columns.mT

    def adjoint(self, y: Tensor) -> Tensor:
        rows, columns = (self._matrix(side, y) for side in y.shape[-2:])
        return rows.mT @ y @ columns

    def start(self, y: Tensor) -> Tensor:
        """Bicubic enlargement."""
        return F.interpolate(y, scale_factor=self.factor, mode="bicubic", align_corners=False)

    def measured(self, box: Box) -> Box:
        return shifted(box, self.factor)

    def _matrix(self, small: int, like: Tensor) -> Tensor:
        """(small, small · factor): row i holds the weights of output pixel i; rows sum to 1."""
        k = self.factor
        if self.kind == "area":
            return torch.eye(small, dtype=like.dtype, device=like.device).repeat_interleave(k, 1) / k
        centre = (torch.arange(small, dtype=torch.float64)[:, None] + 0.5) * k - 0.5
        weights = _cubic((torch.arange(small * k, dtype=torch.float64)[None] - centre) / k)
        return (weights / weights.sum(1, keepdim=True)).to(like)


def _cubic(t: Tensor) -> Tensor:
    """Keys' cubic convolution kernel, a = −½ (IEEE ASSP 1981, eq. 15)."""
    t = t.abs()
    near, far = (1.5 * t - 2.5) * t * t + 1, ((-0.5 * t + 2.5) * t - 4) * t + 2
    return torch.where(t < 1, near, torch.where(t < 2, far, 0))


class Blur(Linear):
    """Convolution with one kernel (h, w), odd sides, scaled to sum 1; the photo is mirrored at its borders.

    Mirrored about the border itself (… b a | a b …): then a kernel symmetric in both axes is diagonal in the
    cosine basis, and `data_step` is one division there instead of a conjugate gradient.
    """

    def __init__(self, kernel: Tensor) -> None:
        if kernel.ndim != 2 or not all(side % 2 for side in kernel.shape) or not float(kernel.sum()) > 0:
            raise InputError(f"expected a kernel (h, w) of odd sides and positive sum, got {tuple(kernel.shape)}")
        self.kernel = kernel / kernel.sum()
        flips = (self.kernel.flip(0), self.kernel.flip(1))
        self.symmetric = all(torch.allclose(self.kernel, f, atol=1e-7) for f in flips)
        self.norm = 1.0 if self.symmetric else 2.0  # ‖A‖² ≤ ‖A‖₁ ‖A‖∞: mirroring can show a pixel twice

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = self._mirrored(x)
        return self._convolve(x[..., rows, :][..., columns], self.kernel.flip(0, 1))

    def adjoint(self, y: Tensor) -> Tensor:
        h, w = self.kernel.shape
        spread = self._convolve(F.pad(y, (w - 1, w - 1, h - 1, h - 1)), self.kernel)
        rows, columns = self._mirrored(y)
        folded = spread.new_zeros(*y.shape[:-2], y.shape[-2], spread.shape[-1]).index_add_(-2, rows, spread)
        return torch.zeros_like(y).index_add_(-1, columns, folded)

    def start(self, y: Tensor) -> Tensor:
        return y

    def reduced(self, y: Tensor, scale: float) -> tuple[Operator, Tensor]:
        """A Gaussian of the kernel's deviation; nothing where that is a small part of a pixel."""
        away = torch.arange(self.kernel.shape[0]) - self.kernel.shape[0] // 2
        across = torch.arange(self.kernel.shape[1]) - self.kernel.shape[1] // 2
        weights = self.kernel.cpu()
        moment = (weights.sum(1) * away**2).sum() + (weights.sum(0) * across**2).sum()
        width = scale * math.sqrt(float(moment) / 2)
        return (Blur(gaussian_kernel(width)) if width > 0.3 else Identity()), reduced(y, scale)

    def _solve(self, residual: Tensor, prior_var: float, noise_var: Tensor | float) -> Tensor:
        if not self.symmetric or not isinstance(noise_var, float):
            return super()._solve(residual, prior_var, noise_var)
        height, width = residual.shape[-2:]
        doubled = torch.cat([residual, residual.flip(-2)], -2)
        doubled = torch.cat([doubled, doubled.flip(-1)], -1)
        h, w = self.kernel.shape
        rows = torch.arange(h, device=residual.device) - h // 2
        columns = torch.arange(w, device=residual.device) - w // 2
        wrapped = residual.new_zeros(2 * height, 2 * width)
        place = (rows[:, None] % (2 * height) * (2 * width) + columns[None] % (2 * width)).flatten()
        wrapped.view(-1).index_add_(0, place, self.kernel.to(residual).flatten())
        response = torch.fft.rfft2(wrapped).real
        solved = torch.fft.rfft2(doubled) / (prior_var * response**2 + noise_var)
        return torch.fft.irfft2(solved, s=doubled.shape[-2:])[..., :height, :width]

    def _mirrored(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Row and column of x for each row and column of the padded image."""
        return tuple(  # type: ignore[return-value]  # two sides
            _mirror(side, size // 2, x.device) for side, size in zip(x.shape[-2:], self.kernel.shape, strict=True)
        )

    def _convolve(self, x: Tensor, kernel: Tensor) -> Tensor:
        flat = x.flatten(0, 1)[:, None]
        return F.conv2d(flat, kernel.to(x)[None, None]).unflatten(0, x.shape[:2])[:, :, 0]


def _mirror(side: int, pad: int, device: torch.device) -> Tensor:
    index = torch.arange(-pad, side + pad, device=device) % (2 * side)
    return torch.minimum(index, 2 * side - 1 - index)


class Compose(Linear):
    """One operator after another, the first given first: Compose([blur, downsample])."""

    def __init__(self, parts: Sequence[Linear]) -> None:
        if not parts:
            raise InputError("expected at least one operator to compose, got none")
        self.parts = list(parts)
        self.norm = math.prod(part.norm for part in parts)
        self.unit = math.prod(part.unit for part in parts)

    def cut(self, box: Box) -> Compose:
        parts = []
        for part in self.parts:
            parts.append(part.cut(box))
            box = part.measured(box)
        return Compose(parts)

    def measured(self, box: Box) -> Box:
        for part in self.parts:
            box = part.measured(box)
        return box

    def reduced(self, y: Tensor, scale: float) -> tuple[Operator, Tensor]:
        return Compose([cast(Linear, part.reduced(y, scale)[0]) for part in self.parts]), reduced(y, scale)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part.forward(x)
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        for part in reversed(self.parts):
            y = part.adjoint(y)
        return y

    def start(self, y: Tensor) -> Tensor:
        for part in reversed(self.parts):
            y = part.start(y)
        return y
