"""Removal by instruction, without a mask (Inst-Inpaint, Yildirim et al., 2023): a photo and words in, a photo out.

The network works on a small square; where it says nothing changes, nothing does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.pipelines.diffusion.loop import descend, euler
from restore.pipelines.diffusion.schedules import karras
from restore.pipelines.networks.instruct import SIDE, InstructNet, token_ids
from restore.pipelines.paint.single import SingleNetPipeline

SIGMA_MAX = 2.0  # noise level of the first sampled step, 13 standard deviations of the change


@dataclass(frozen=True)
class InstructOutput:
    """image (1, 3, H, W) in [0, 1], equal to the input where `change` is below ½; change (1, 1, H, W): probability
    that a pixel changes; small (1, 3, SIDE, SIDE): the network's own picture."""

    image: Tensor
    change: Tensor
    small: Tensor


class InstructPipeline(SingleNetPipeline[InstructNet]):
    """Called with a generator, it returns an output object. See the module's docstring."""

    network, file = InstructNet, "instruct.safetensors"

    @torch.inference_mode()
    def __call__(
        self,
        image: Tensor,
        prompt: str,
        *,
        generator: torch.Generator | None = None,
        num_inference_steps: int = 1,
        guidance_scale: float = 1.0,
        image_guidance_scale: float = 1.0,
    ) -> InstructOutput:
        """image (1, 3, H, W) in [0, 1], any size; prompt: the whole instruction.

        One step is the conditional mean; more steps sample, from `generator`'s noise. Guidance (Brooks et al., CVPR
        2023, eq. 3) exaggerates what the words (`guidance_scale`) and the photo (`image_guidance_scale`) add; 1: none.
        """
        device = next(self.net.parameters()).device
        # Shrunk over areas, not points: thin things stay visible.
        small = F.interpolate(image, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)
        source = (small * 2 - 1).to(device)
        words = self.net.read(token_ids([prompt, "", ""]).to(device))
        scales = (guidance_scale, image_guidance_scale)
        levels = [math.inf, 0.0] if num_inference_steps == 1 else karras(num_inference_steps, SIGMA_MAX)
        x, change = source, torch.zeros_like(source[:, :1])
        if num_inference_steps > 1:
            x = source + SIGMA_MAX * torch.randn(source.shape, generator=generator).to(device)

        def estimate(x: Tensor, sigma: float) -> Tensor:
            nonlocal change  # the last step's counts
            clean, change = self._denoise(source, x, sigma, words, scales)
            return clean

        x = descend(x, levels, estimate, euler)
        return _enlarged(image, x.cpu() / 2 + 0.5, torch.sigmoid(change.float()).cpu())

    def _denoise(
        self, source: Tensor, x: Tensor, sigma: float, words: tuple[Tensor, Tensor], scales: tuple[float, float]
    ) -> tuple[Tensor, Tensor]:
        """The guided clean picture and the logits of its change mask."""
        count = 1 if scales == (1.0, 1.0) else 3  # with words and photo; with the photo; with neither
        level = torch.full((count,), sigma, device=x.device)
        shown = source.repeat(count, 1, 1, 1)
        shown[2:] = 0
        sources, noisy = source.expand(count, -1, -1, -1), x.expand(count, -1, -1, -1)
        told = self.net.denoise(sources, noisy, level, words[0][:count], words[1][:count], shown)
        if count == 1:
            return told.target, told.change
        full, photo, nothing = told.target.split(1)
        clean = nothing + scales[1] * (photo - nothing) + scales[0] * (full - photo)
        return clean, told.change[:1]


def _enlarged(image: Tensor, small: Tensor, change: Tensor) -> InstructOutput:
    """The network's pixels at the photo's size, where it changes something and one cell around (the faint rim of what
    was there); a soft edge inside that region."""
    size = image.shape[-2:]
    mask = F.interpolate(F.max_pool2d(change, 3, 1, 1), size, mode="bilinear", align_corners=False)
    painted = F.interpolate(small, size, mode="bicubic", align_corners=False).clamp(0, 1)
    weight = ((mask - 0.5) * 10).clamp(0, 1)
    return InstructOutput(torch.lerp(image, painted, weight), mask, small)
