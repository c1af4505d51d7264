"""How typical is this picture among photographs? GIQA's mixture model, fitted to many photos once and shipped.

Fréchet distance asks whether a *set* of pictures looks like photos; this asks it of one. Fitted by
`restore.training.recipes.natural`. Typical is not good: the features are those of content, so a blurred photo is about
as typical as a sharp one (`benchmarks/scorer.py natural` measures it); `restore.quality.judges.scorer` judges that.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from restore.errors import InputError
from restore.features.lite0 import Lite0
from restore.quality.features.pooled import photo_features
from restore.quality.metrics.giqa import GaussianMixture, GmmScore, Space


class NaturalPhotos:
    """Log-likelihood of a picture's pooled features among photos (GMM-GIQA, Gu et al., ECCV 2020), and its rank.

    weights: mean (D,) and axes (D, P) of the principal components; shares (K,), centres (K, P) and factors (K, P, P)
    of the mixture, Σₖ = Lₖ Lₖᵀ; photos (Q,), the ascending scores of photos kept out of the fit.
    """

    def __init__(self, weights: dict[str, Tensor], lite0: Lite0, device: str = "cpu") -> None:
        self.lite0, self.device = lite0, device
        self.model, self.photos = mixture(weights), weights["photos"].double().cpu().numpy()

    def log_likelihood(self, image: np.ndarray) -> float:
        """GIQA's own score of `image` (H, W, 3) uint8 RGB: nats per dimension, higher = more typical.

        Raises InputError for another kind of array.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise InputError(f"expected (H, W, 3) uint8, got {image.shape} {image.dtype}")
        x = torch.from_numpy(image.copy()).to(self.device).permute(2, 0, 1).float() / 255
        return float(self.model(photo_features(self.lite0, x)[None])[0])

    def __call__(self, image: np.ndarray) -> float:
        """Share of real photos, 0–100, that are no more typical than `image` (H, W, 3) uint8 RGB.

        50 = as usual as the middle photo, below 1 = stranger than nearly all. The rank says the same as the
        log-likelihood in a unit that can be read.
        """
        rank = np.searchsorted(self.photos, self.log_likelihood(image), side="right")
        return float(100 * rank / len(self.photos))


def mixture(weights: dict[str, Tensor]) -> GmmScore:
    """The fitted model in the tensors that `NaturalPhotos` describes; "photos" is not needed."""
    w = {name: value.double().cpu().numpy() for name, value in weights.items()}
    shares = w["shares"] / w["shares"].sum()  # fp16 rounds them
    return GmmScore(Space(w["mean"], w["axes"], 0.0), GaussianMixture(shares, w["centres"], w["factors"]))
