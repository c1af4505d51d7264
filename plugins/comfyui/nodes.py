"""Inpaint, Refine, Assess and Segment for ComfyUI, in its V3 API; `restore` runs in ComfyUI's own process.

IMAGE is (B, H, W, C) float32 in [0, 1], MASK (B, H, W) float32, 1 = repaint. What lies outside the mask comes back
exactly as it came. Every picture of a batch gets the same seed: neighbours never change a result.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from comfy.utils import ProgressBar
from comfy_api.latest import ComfyExtension, io

CATEGORY = "image/restore"
Images, Masks = torch.Tensor, torch.Tensor


@cache
def engine() -> Any:
    """One for all nodes; its models stay loaded."""
    import restore

    return restore.Engine()


def bytes_of(image: torch.Tensor) -> np.ndarray:
    """(H, W, 3) uint8 of one image (H, W, C)."""
    colours = image[..., :3] if image.shape[-1] >= 3 else image[..., :1].expand(*image.shape[:2], 3)
    return (colours.detach().cpu().float().clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def masks_for(images: Images, masks: Masks | None) -> list[np.ndarray | None]:
    """A mask (H, W) bool for every image; one mask is everyone's. Raises ValueError where they do not fit."""
    count, height, width = images.shape[:3]
    if masks is None:
        return [None] * count
    masks = masks[None] if masks.ndim == 2 else masks
    if masks.shape[0] not in (1, count) or masks.shape[1:] != (height, width):
        found = " × ".join(map(str, masks.shape))
        raise ValueError(f"expected a mask of {width} × {height} pixels, one or {count}, got {found} (B × H × W)")
    found = [mask.detach().cpu().numpy() > 0.5 for mask in masks]
    return found * count if len(found) == 1 else found


def on_step(index: int, count: int) -> Callable[[int, int], None]:
    """Moves ComfyUI's bar, which raises where the user stops the run."""
    bar = ProgressBar(1000)

    def told(done: int, total: int) -> None:
        bar.update_absolute(round(1000 * (index + done / max(1, total)) / count))

    return told


def edited(images: Images, run: Callable[[int, np.ndarray], Any]) -> io.NodeOutput:
    """(images, masks) of what `run` makes of each picture."""
    out, masks = images.clone(), []
    for index, image in enumerate(images):
        result = run(index, bytes_of(image))
        where = torch.from_numpy(result.mask)
        fill = torch.from_numpy(result.image).to(images) / 255
        out[index][..., :3][where] = fill[where][:, : min(3, images.shape[-1])]
        masks.append(where.float())
    return io.NodeOutput(out, torch.stack(masks))


def loop_inputs() -> list[Any]:
    """Inputs of the repair loop."""
    return [
        io.Int.Input("seed", default=0, min=0, max=2**32 - 1, control_after_generate=True),
        io.Int.Input("passes", default=5, min=1, max=50, tooltip="Most passes over the hole."),
        io.Int.Input("candidates", default=3, min=1, max=16, tooltip="Fills per pass for the judge to choose from."),
        io.Float.Input("par", default=0.05, min=0.0, max=1.0, step=0.01, tooltip="Stop at this share of bad pixels."),
    ]


class RestoreInpaint(io.ComfyNode):
    """Remove what a mask shows or words name."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RestoreInpaint",
            display_name="Restore: Inpaint",
            category=CATEGORY,
            description="Removes what the mask shows or the words name, judges the fill, and repairs what looks wrong.",
            inputs=[
                io.Image.Input("image"),
                io.Mask.Input("mask", optional=True),
                io.String.Input("prompt", default="", tooltip="For example: remove the cat"),
                *loop_inputs(),
            ],
            outputs=[io.Image.Output(), io.Mask.Output(display_name="repainted")],
        )

    @classmethod
    def execute(
        cls, image: Images, prompt: str, seed: int, passes: int, candidates: int, par: float, mask: Masks | None = None
    ) -> io.NodeOutput:
        masks = masks_for(image, mask)
        asked: dict[str, Any] = {"seed": seed, "passes": passes, "candidates": candidates, "par": par, "sure": True}

        def run(index: int, pixels: np.ndarray) -> Any:
            step = on_step(index, len(masks))
            return engine().inpaint(pixels, prompt=prompt.strip() or None, mask=masks[index], on_step=step, **asked)

        return edited(image, run)


class RestoreRefine(io.ComfyNode):
    """Repair what looks wrong."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RestoreRefine",
            display_name="Restore: Refine",
            category=CATEGORY,
            description="Finds the artifacts that any model left, inside the mask or anywhere, and repairs only those.",
            inputs=[io.Image.Input("image"), io.Mask.Input("mask", optional=True), *loop_inputs()],
            outputs=[io.Image.Output(), io.Mask.Output(display_name="repainted")],
        )

    @classmethod
    def execute(
        cls, image: Images, seed: int, passes: int, candidates: int, par: float, mask: Masks | None = None
    ) -> io.NodeOutput:
        masks = masks_for(image, mask)
        asked: dict[str, Any] = {"seed": seed, "passes": passes, "candidates": candidates, "par": par}

        def run(index: int, pixels: np.ndarray) -> Any:
            return engine().refine(pixels, mask=masks[index], on_step=on_step(index, len(masks)), **asked)

        return edited(image, run)


class RestoreAssess(io.ComfyNode):
    """Where a picture looks wrong, and how good it is."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RestoreAssess",
            display_name="Restore: Assess",
            category=CATEGORY,
            description="Artifact map, quality of 100 and share of bad pixels; means over the batch.",
            inputs=[io.Image.Input("image"), io.Mask.Input("mask", optional=True, tooltip="Where it was edited.")],
            outputs=[
                io.Mask.Output(display_name="artifacts"),
                io.Float.Output(display_name="quality"),
                io.Float.Output(display_name="PAR"),
            ],
        )

    @classmethod
    def execute(cls, image: Images, mask: Masks | None = None) -> io.NodeOutput:
        pairs = zip(image, masks_for(image, mask), strict=True)
        found = [engine().assess(bytes_of(one), mask=where) for one, where in pairs]
        pars = [one.par_image if one.par_hole is None else one.par_hole for one in found]
        maps = torch.stack([torch.from_numpy(one.artifacts) for one in found])
        return io.NodeOutput(maps, float(np.mean([one.quality for one in found])), float(np.mean(pars)))


class RestoreSegment(io.ComfyNode):
    """What words name, as a mask."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RestoreSegment",
            display_name="Restore: Segment",
            category=CATEGORY,
            description="The mask of what words name.",
            inputs=[io.Image.Input("image"), io.String.Input("prompt", default="every person")],
            outputs=[io.Mask.Output(), io.Float.Output(display_name="score")],
        )

    @classmethod
    def execute(cls, image: Images, prompt: str) -> io.NodeOutput:
        found = [engine().segment(bytes_of(one), prompt=prompt) for one in image]
        masks = torch.stack([torch.from_numpy(one.mask).float() for one in found])
        return io.NodeOutput(masks, float(np.mean([one.score for one in found])))


class RestoreExtension(ComfyExtension):
    """What ComfyUI loads."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [RestoreInpaint, RestoreRefine, RestoreAssess, RestoreSegment]


async def comfy_entrypoint() -> RestoreExtension:
    """ComfyUI calls this."""
    return RestoreExtension()
