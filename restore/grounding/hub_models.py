"""Networks of transformers that find objects, each as one small adaptor: words to boxes or masks, prompts to masks.

Pictures are prepared here, as each model's own processor does it, and not by those processors: some of them need
torchvision, and what they do is a resize and a normalisation.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from restore.errors import ModelUnavailableError
from restore.grounding.grounder import Image, Mask
from restore.hub.cache import quiet
from restore.images.geometry import fitted

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
CLIP = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
HALF = ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
DINO_LONGEST = 1333 / 800  # longest side of Grounding DINO's pictures against its shortest
MASK = 0.5  # probability of a pixel of an object
OWL_LENGTH = 16  # tokens of OWLv2's text encoder

Scored = tuple[NDArray[np.float32], float]  # box x0, y0, x1, y1 in pixels, or probability (H, W); score in [0, 1]


@dataclass(frozen=True)
class Loaded:
    """A model of transformers, its tokenizer (None: it takes no words) and how its pictures are normalised."""

    net: Any
    tokenizer: Any
    mean: list[float]
    std: list[float]
    size: int
    device: torch.device

    def pixels(self, image: NDArray[Any], width: int, height: int) -> Tensor:
        """(1, 3, height, width), normalised."""
        how = cv2.INTER_AREA if width * height < image.shape[0] * image.shape[1] else cv2.INTER_LINEAR
        resized = cv2.resize(image, (width, height), interpolation=how).astype(np.float32) / 255
        scaled = (resized - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return torch.from_numpy(scaled).permute(2, 0, 1)[None].to(self.device)

    def tokens(self, text: str, **options: Any) -> dict[str, Tensor]:
        return {k: v.to(self.device) for k, v in self.tokenizer(text, return_tensors="pt", **options).items()}


def load(folder: Path, name: str, size: int, device: torch.device) -> Loaded:
    """A model by its class in transformers. Safetensors only, no remote code, no network. ModelUnavailableError."""
    import transformers

    kind = MODELS.get(name)
    if kind is None:
        raise ModelUnavailableError(f"expected one of {', '.join(MODELS)} in {folder}, got '{name}'")
    try:
        with quiet("transformers"):
            net = getattr(transformers, name).from_pretrained(folder, use_safetensors=True, local_files_only=True)
            speaks = kind is not PROMPTED
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True) if speaks else None
        config = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, ImportError, AttributeError, TypeError, KeyError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise ModelUnavailableError(f"expected {name} with safetensors in {folder}, got: {reason}") from None
    mean, std = NORMALS[name]
    sides = config.get("size")
    side = max(sides.values()) if isinstance(sides, dict) else sides
    if name == "GroundingDinoForObjectDetection" and isinstance(sides, dict):
        side = sides.get("shortest_edge", min(sides.values()))
    mean, std = config.get("image_mean", mean), config.get("image_std", std)
    return Loaded(net.eval().to(device), tokenizer, mean, std, int(side or size), device)


def class_in(folder: Path) -> str:
    """The class that a folder's config names, without the "video" of SAM 2 and 3; "" if it names none."""
    try:
        names = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"]
        return str(names[0]).replace("VideoModel", "Model")
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return ""


def clipseg(model: Loaded, image: Image, phrase: str) -> list[Scored]:
    """Lüddecke & Ecker, CVPR 2022: one probability map (H, W)."""
    out = model.net(pixel_values=model.pixels(image, model.size, model.size), **model.tokens(phrase))
    p = out.logits.reshape(1, 1, *out.logits.shape[-2:]).float().sigmoid()
    full = F.interpolate(p, size=image.shape[:2], mode="bilinear", align_corners=False)[0, 0].cpu().numpy()
    return [(full, float(full.max()))]


def grounding_dino(model: Loaded, image: Image, phrase: str) -> list[Scored]:
    """Liu et al., ECCV 2024: boxes; a box's score is its best token's."""
    height, width = image.shape[:2]
    scale = min(model.size / min(height, width), DINO_LONGEST * model.size / max(height, width))
    w, h = max(1, round(width * scale)), max(1, round(height * scale))
    out = model.net(pixel_values=model.pixels(image, w, h), **model.tokens(phrase.lower().rstrip(".") + "."))
    return _boxes(out.pred_boxes[0], out.logits[0].sigmoid().amax(-1), width, height)


def owlv2(model: Loaded, image: Image, phrase: str) -> list[Scored]:
    """Minderer et al., NeurIPS 2023: boxes in the picture, padded to a square at the right and below."""
    height, width = image.shape[:2]
    side = max(height, width)
    square = np.full((side, side, 3), 0, np.uint8)
    square[:height, :width] = image
    tokens = model.tokens(f"a photo of a {phrase}", padding="max_length", max_length=OWL_LENGTH, truncation=True)
    out = model.net(pixel_values=model.pixels(square, model.size, model.size), **tokens)
    return _boxes(out.pred_boxes[0], out.logits[0].amax(-1).sigmoid(), side, side)


def sam3(model: Loaded, image: Image, phrase: str) -> list[Scored]:
    """Words to masks: (H, W) probabilities; a score is the query's times that of anything being there."""
    out = model.net(pixel_values=model.pixels(image, model.size, model.size), **model.tokens(phrase))
    scores = out.pred_logits[0].sigmoid()
    if out.presence_logits is not None:
        scores = scores * out.presence_logits[0].sigmoid()
    masks = F.interpolate(out.pred_masks.float().sigmoid(), size=image.shape[:2], mode="bilinear", align_corners=False)
    return [(m.cpu().numpy(), float(s)) for m, s in zip(masks[0], scores, strict=True)]


def prompted(
    model: Loaded, image: Image, box: NDArray[np.float32] | None = None, point: tuple[int, int] | None = None
) -> tuple[Mask, float]:
    """Segment Anything (Kirillov et al., ICCV 2023; SAM 2: Ravi et al., 2024): the best mask (H, W) and its IoU score.

    SAM pads the picture to a square, SAM 2 squeezes it into one.
    """
    height, width = image.shape[:2]
    squeeze = type(model.net).__name__ != "SamModel"
    w, h = (model.size, model.size) if squeeze else fitted((width, height), model.size, grow=True)
    pixels = F.pad(model.pixels(image, w, h), (0, model.size - w, 0, model.size - h))
    factor = np.array([w / width, h / height], np.float32)
    given: dict[str, Tensor] = {}
    if box is not None:
        given["input_boxes"] = torch.from_numpy(box * np.tile(factor, 2))[None, None]
    if point is not None:
        given["input_points"] = torch.from_numpy(np.array(point, np.float32) * factor)[None, None, None]
        given["input_labels"] = torch.ones(1, 1, 1, dtype=torch.int64)
    given = {key: value.to(model.device) for key, value in given.items()}
    out = model.net(pixel_values=pixels, **given, multimask_output=box is None)
    best = int(out.iou_scores[0, 0].argmax())
    logits = out.pred_masks[0, 0, best][None, None].float()
    logits = F.interpolate(logits, size=(model.size, model.size), mode="bilinear", align_corners=False)[..., :h, :w]
    logits = F.interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)
    return np.asarray(logits[0, 0].cpu().numpy() > 0), float(out.iou_scores[0, 0, best].clamp(0, 1))


def _boxes(boxes: Tensor, scores: Tensor, width: int, height: int) -> list[Scored]:
    """Boxes (N, 4) as shares cx, cy, w, h, and scores (N,) → pixels x0, y0, x1, y1."""
    cx, cy, w, h = boxes.float().unbind(-1)
    corners = torch.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], -1)
    pixels = (corners * torch.tensor([width, height, width, height], device=corners.device)).cpu().numpy()
    return [(box.astype(np.float32), float(score)) for box, score in zip(pixels, scores, strict=True)]


Named = Callable[[Loaded, Image, str], list[Scored]]
PROMPTED = "prompted"  # takes boxes and points, no words
MODELS: dict[str, Named | str] = {
    "CLIPSegForImageSegmentation": clipseg,
    "GroundingDinoForObjectDetection": grounding_dino,
    "Owlv2ForObjectDetection": owlv2,
    "Sam3Model": sam3,
    "SamModel": PROMPTED,
    "Sam2Model": PROMPTED,
}
NORMALS = {
    "CLIPSegForImageSegmentation": IMAGENET,
    "GroundingDinoForObjectDetection": IMAGENET,
    "Owlv2ForObjectDetection": CLIP,
    "Sam3Model": HALF,
    "SamModel": IMAGENET,
    "Sam2Model": IMAGENET,
}
