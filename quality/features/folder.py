"""CLIP, DINOv2 and other vision networks of transformers, from a local folder, as features for sets of pictures."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from restore.errors import InputError

MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]  # CLIP's
WORDS_TOO = {"CLIPModel": "CLIPVisionModelWithProjection", "SiglipModel": "SiglipVisionModel"}


class FolderNet:
    """A vision network of transformers: the projected image embedding if it has one (CLIP), else the pooled output
    (DINOv2: the class token).

    Safetensors only, no remote code, no network. Raises InputError where the folder holds no such model.
    """

    def __init__(self, folder: Path) -> None:
        import transformers

        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            said = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
            name = str(config["architectures"][0])
            kind = getattr(transformers, WORDS_TOO.get(name, name))
            self.net = kind.from_pretrained(folder, use_safetensors=True, local_files_only=True).eval()
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, ImportError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise InputError(f"{folder}: expected a vision model of transformers, got: {reason}") from None
        crop = said.get("crop_size") or said.get("size") or {}
        sides = [v for v in crop.values() if isinstance(v, int)] if isinstance(crop, dict) else [crop]
        self.side = int(sides[0]) if sides else 224
        self.mean, self.std = (
            torch.tensor(said.get(key) or default)[:, None, None]
            for key, default in (("image_mean", MEAN), ("image_std", STD))
        )
        sample = next(iter(self.net.state_dict().values())).float().numpy().tobytes()
        self.digest = hashlib.sha256(json.dumps([config, said], sort_keys=True).encode() + sample).hexdigest()

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> np.ndarray:
        """(N, 3, H, W) RGB in [0, 1], squeezed to the network's square → (N, D)."""
        size = (self.side, self.side)
        resized = F.interpolate(images.float(), size=size, mode="bilinear", antialias=True, align_corners=False)
        out = self.net(pixel_values=(resized - self.mean) / self.std)
        embedded = getattr(out, "image_embeds", None)
        return np.asarray((out.pooler_output if embedded is None else embedded).float().numpy(), np.float32)
