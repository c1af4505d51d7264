"""The metrics beside independent implementations on the same inputs: absolute differences in a table.

  python -m benchmarks.agreement [--out FILE]

Needs scikit-image, torchmetrics and scikit-learn (the dev extra). Inputs are made here, from a fixed seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from restore.quality.judges.fiqa import pseudo_labels
from restore.quality.metrics.full_reference import ms_ssim, psnr, ssim
from restore.quality.metrics.giqa import fit_mixture
from restore.quality.metrics.no_reference import colour_cast, sharpness
from restore.quality.metrics.sets import LinearSVM, frechet_distance, kernel_distance, p_ids, u_ids

Row = tuple[str, str, float, float]  # metric, other implementation, ours, theirs


def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    """A smooth picture (1, 3, 192, 224) in [0, 1] and a noisy copy."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 12, 14, generator=generator)
    truth = torch.nn.functional.interpolate(coarse, (192, 224), mode="bicubic").clamp(0, 1).double()
    noise = torch.randn(truth.shape, generator=generator, dtype=torch.float64)
    return (truth + 0.1 * noise).clamp(0, 1), truth


def full_reference() -> Iterator[Row]:
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    image, truth = pictures()
    a, b = (t[0].permute(1, 2, 0).numpy() for t in (image, truth))
    theirs = peak_signal_noise_ratio(b, a, data_range=1.0)
    yield "PSNR, dB", "scikit-image", psnr(image, truth).item(), float(theirs)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": 2}
    theirs = structural_similarity(a, b, data_range=1.0, **options)
    yield "SSIM", "scikit-image", ssim(image, truth).item(), float(theirs)
    other = multiscale_structural_similarity_index_measure(image, truth, data_range=1.0)
    yield "MS-SSIM", "torchmetrics", ms_ssim(image, truth).item(), other.item()


def classic() -> Iterator[Row]:
    from skimage.color import rgb2lab
    from skimage.measure import blur_effect

    image = (pictures()[0][0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    theirs = 1 - blur_effect(image, channel_axis=2, reduce_func=max)
    yield "sharpness", "scikit-image, 1 − blur_effect", sharpness(image), float(theirs)
    mean = rgb2lab(image)[..., 1:].mean((0, 1))
    yield "colour cast", "scikit-image, rgb2lab", colour_cast(image), float(np.hypot(*mean))


def sets() -> Iterator[Row]:
    from sklearn.mixture import GaussianMixture
    from sklearn.svm import LinearSVC
    from torchmetrics.image.fid import _compute_fid
    from torchmetrics.image.kid import poly_mmd

    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(600, 24)), rng.normal(size=(600, 24)) * 1.15 + 0.1
    a, b = torch.from_numpy(real), torch.from_numpy(fake)
    theirs = _compute_fid(a.mean(0), a.T.cov(), b.mean(0), b.T.cov()).item()
    yield "Fréchet distance", "torchmetrics, given features", frechet_distance(real, fake), theirs
    yield "kernel distance", "torchmetrics, given features", kernel_distance(real, fake), poly_mmd(a, b).item()
    svm = LinearSVC(dual=False, tol=1e-9, max_iter=10000)
    svm.fit(np.concatenate([real, fake]), np.repeat([1, -1], 600))
    f, g = svm.decision_function(real), svm.decision_function(fake)
    yield "SVM score, most different row", "scikit-learn, LinearSVC", *_worst(LinearSVM(real, fake)(real), f)
    yield "U-IDS", "scikit-learn, LinearSVC", u_ids(real, fake), float(((f < 0).mean() + (g > 0).mean()) / 2)
    yield "P-IDS", "scikit-learn, LinearSVC", p_ids(real, fake), float((g > f).mean())
    x = np.concatenate([rng.normal(size=(300, 6)) + 8 * np.eye(6)[i] for i in range(3)])
    mixture = GaussianMixture(3, reg_covar=1e-6, tol=1e-9, max_iter=500, random_state=0).fit(x)
    ours = fit_mixture(x, 3, floor=1e-6, tolerance=1e-9).log_density(x)
    yield "log-likelihood, most different row", "scikit-learn, GaussianMixture", *_worst(ours, mixture.score_samples(x))


def faces() -> Iterator[Row]:
    """All similarities taken: the labels must order as SciPy's distances, of which they are an affine function."""
    from scipy.stats import wasserstein_distance

    rng = np.random.default_rng(0)
    identities = np.repeat(np.arange(8), 5)
    x = rng.normal(size=(8, 16))[identities] + rng.normal(size=(40, 16)) * rng.uniform(0.2, 1.5, (40, 1))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    exact = []
    for i in range(40):
        same = (identities == identities[i]) & (np.arange(40) != i)
        exact.append(wasserstein_distance((unit @ unit[i])[same], (unit @ unit[i])[identities != identities[i]]))
    scaled = 100 * (np.array(exact) - min(exact)) / np.ptp(exact)
    labels = pseudo_labels(x, identities, m=24, draws=400)
    yield "SDD-FIQA label, mean", "SciPy, wasserstein_distance of all pairs", float(labels.mean()), float(scaled.mean())
    yield "its correlation with SciPy's", "1", float(np.corrcoef(labels, scaled)[0, 1]), 1.0


def _worst(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    i = int(np.abs(ours - theirs).argmax())
    return float(ours[i]), float(theirs[i])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    lines = ["| metric | beside | ours | theirs | difference |", "|---|---|---|---|---|"]
    for part in (full_reference, classic, sets, faces):
        for name, other, ours, theirs in part():
            lines.append(f"| {name} | {other} | {ours:.6f} | {theirs:.6f} | {abs(ours - theirs):.1e} |")
    text = "\n".join(lines) + "\n"
    if args.out is not None:
        args.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
