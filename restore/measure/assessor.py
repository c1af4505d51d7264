"""All measures of one picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore.errors import InputError
from restore.features.lite0 import trained_lite0
from restore.images.geometry import fitted
from restore.quality.features.folder import FolderNet
from restore.quality.features.pooled import OnnxNet, photo_features
from restore.quality.judges.judge import Judge, Judgement
from restore.quality.judges.natural import NaturalPhotos
from restore.quality.judges.scorer import Scorer
from restore.quality.metrics.full_reference import (
    MS_SSIM_SIDE,
    SSIM_SIDE,
    feature_distance,
    lpips,
    ms_ssim,
    psnr,
    ssim_map,
)
from restore.quality.metrics.giqa import MbcScore
from restore.quality.metrics.no_reference import colour_cast, exposure, noise, sharpness
from restore.weights.store import load_weights, manifest

VERSION = 1  # raised when a measure changes, so that remembered numbers are not mixed with new ones
EDGE = SSIM_SIDE // 2  # pixels at the picture's edge where no SSIM window is centred
FEATURE_SIDE = 1024  # long side, pixels, at which feature distances are taken: bounds memory
RGB = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Scores = dict[str, float | None]


class Assessor:
    """The networks that judge, loaded when first needed, safe to call from several threads.

    nets: further feature networks by name, for set distances in other features than Lite0's. mbc: the classifiers
    behind the score giqa_mbc.
    """

    def __init__(
        self, device: torch.device, nets: Mapping[str, OnnxNet | FolderNet] | None = None, mbc: MbcScore | None = None
    ) -> None:
        self.device, self.nets, self.mbc = device, nets or {}, mbc
        self.lite0 = trained_lite0().to(device)
        self.judge = Judge(load_weights("judge"), self.lite0, device)
        self.scorer = Scorer(load_weights("scorer"), self.lite0, str(device)) if "scorer" in manifest() else None
        self.natural = (
            NaturalPhotos(load_weights("natural"), self.lite0, str(device)) if "natural" in manifest() else None
        )

        self.lpips = self._lpips()

    def _lpips(self) -> Callable[[Tensor, Tensor], Tensor] | None:
        """The network of the lpips package, if that was installed: its weights come with torchvision's."""
        if find_spec("lpips") is None:
            return None
        net = import_module("lpips").LPIPS(net="alex", verbose=False).eval().requires_grad_(False)
        return net.to(self.device)

    @cached_property
    def version(self) -> str:
        """Changes with every weight file and every measure."""
        names = ("lite0", "judge", "scorer", "natural")
        return json.dumps(
            [VERSION, self.lpips is not None, *(manifest()[name]["sha256"] for name in names if name in manifest())]
        )

    def alone(self, image: RGB, hole: Mask | None = None) -> Scores:
        """Scores of `image` (H, W, 3) by itself; `hole` (H, W) is where it was edited."""
        return self.described(image, self.judge(image, hole), edited=hole is not None)

    def described(self, image: RGB, judged: Judgement, *, edited: bool) -> Scores:
        """The same of a picture that was judged already, in a hole (`edited`) or all over."""
        exposed = exposure(image)
        scores: Scores = {
            "quality": judged.quality,
            "par_hole": judged.par_hole if edited else None,
            "par_image": judged.par_image,
            "sharpness": sharpness(image),
            "noise": noise(image),
            "exposure": exposed.mean,
            "clipped_dark": exposed.dark,
            "clipped_bright": exposed.bright,
            "colour_cast": colour_cast(image),
        }
        if self.scorer is not None:
            scores["score"] = self.scorer(image)
        if self.natural is not None:
            scores["natural"] = self.natural(image)
        return scores

    @torch.inference_mode()
    def against(self, image: RGB, truth: RGB, hole: Mask | None = None) -> Scores:
        """Distances to `truth`, a picture of the same size, whole, inside `hole` and outside it.

        None stands for what cannot be a number: the PSNR of equal pixels, SSIM of pictures smaller than its window.
        Raises InputError where the sizes differ.
        """
        if image.shape != truth.shape:
            sizes = [f"{a.shape[1]}×{a.shape[0]}" for a in (truth, image)]
            raise InputError(f"expected a picture of its reference's size, {sizes[0]} pixels, got {sizes[1]}")
        x, y = self._tensor(image), self._tensor(truth)
        everything = torch.ones_like(x[:, :1])
        regions = {"": everything}
        if hole is not None:
            inside = torch.from_numpy(hole).to(self.device)[None, None].float()
            regions |= {"_hole": inside, "_outside": 1 - inside}
        side = min(image.shape[:2])
        scores: Scores = {"ms_ssim": ms_ssim(x, y).item() if side >= MS_SSIM_SIDE else None}
        if self.lpips is not None:
            scores["lpips"] = lpips(self.lpips, x, y).item()
        small_x, small_y = _at_most(x, FEATURE_SIDE), _at_most(y, FEATURE_SIDE)
        similarity = ssim_map(x, y) if side >= SSIM_SIDE else None
        for suffix, region in regions.items():
            scores[f"psnr{suffix}"] = _finite(psnr(x, y, region).item())
            inner = region[..., EDGE:-EDGE, EDGE:-EDGE]
            scores[f"ssim{suffix}"] = None
            if similarity is not None and bool(inner.any()):
                scores[f"ssim{suffix}"] = similarity[inner > 0.5].mean().item()  # what full_reference.ssim gives
            if suffix != "_outside":
                cells = _at_most(region, FEATURE_SIDE)
                scores[f"feature_distance{suffix}"] = feature_distance(self.lite0, small_x, small_y, cells).item()
        return scores

    def features(self, image: RGB, net: str = "lite0") -> NDArray[np.float32]:
        """The picture's row (D,) for distances of sets."""
        x = self._tensor(image)
        return photo_features(self.lite0, x[0]) if net == "lite0" else self.nets[net](x)[0]

    def _tensor(self, image: RGB) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(image)).to(self.device).permute(2, 0, 1)[None].float() / 255


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _at_most(x: Tensor, side: int) -> Tensor:
    """`x` (1, C, H, W) with its long side reduced to `side` where it is longer."""
    height, width = x.shape[-2:]
    size = fitted((width, height), side)
    if size == (width, height):
        return x
    small = cv2.resize(x[0].permute(1, 2, 0).cpu().numpy(), size, interpolation=cv2.INTER_AREA)
    return torch.from_numpy(small.reshape(size[1], size[0], -1)).to(x.device).permute(2, 0, 1)[None]
