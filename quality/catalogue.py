"""What every reported number means: its name, its unit, which way is better. Reports and JSON schemas read this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Measure:
    """better: "higher", "lower" or "neither" (a description, not a grade)."""

    title: str
    better: Literal["higher", "lower", "neither"]
    definition: str

    @property
    def arrow(self) -> str:
        return {"higher": "↑", "lower": "↓", "neither": ""}[self.better]


# Of one picture alone
ALONE = {
    "quality": Measure(
        "Quality", "higher", "0 broken to 100 like an untouched photo, as the artifact judge expects it."
    ),
    "score": Measure(
        "Score",
        "higher",
        "No-reference scorer, 0 to 100: technical faults such as blur, noise and compression, at native size.",
    ),
    "natural": Measure(
        "Natural",
        "higher",
        "Share of real photos, 0 to 100, whose features are no more typical than this picture's (GIQA-GMM, Gu 2020): "
        "about what is shown, hardly about blur.",
    ),
    "par_hole": Measure(
        "PAR hole", "lower", "Share of the mask's pixels judged artifacts, |A ∩ H| / |H| (Zhang 2022)."
    ),
    "par_image": Measure(
        "PAR image", "lower", "Share of all pixels judged artifacts, |A| / |I|. Not comparable with PAR hole."
    ),
    "sharpness": Measure("Sharpness", "higher", "1 − the blur measure of Crété (2007): 0 blurred to 1 sharp."),
    "noise": Measure(
        "Noise", "lower", "Standard deviation in levels of 255 (Immerkær 1996, median); texture adds to it."
    ),
    "exposure": Measure("Exposure", "neither", "Mean luma, 0 black to 1 white."),
    "clipped_dark": Measure("Clipped dark", "lower", "Share of pixels within 2 levels of black."),
    "clipped_bright": Measure("Clipped bright", "lower", "Share of pixels within 2 levels of white."),
    "colour_cast": Measure("Colour cast", "neither", "Distance of the mean colour from grey in CIELAB a*b*."),
}

# Against a set of reference pictures
AGAINST_SET = {
    "giqa_gmm": Measure(
        "GIQA-GMM",
        "higher",
        "Log-likelihood per dimension under a Gaussian mixture of the reference set's features (Gu 2020).",
    ),
    "giqa_knn": Measure(
        "GIQA-KNN", "higher", "Mean inverse feature distance to the 5 nearest reference pictures (Gu 2020)."
    ),
}

# By a classifier that was given
BY_CLASSIFIER = {
    "giqa_mbc": Measure(
        "GIQA-MBC",
        "higher",
        "Mean of binary classifiers, 0 made early to 1 made late in a generator's training or real (Gu 2020).",
    ),
}

# Against the picture's own truth
AGAINST_TRUTH = {
    "psnr": Measure("PSNR", "higher", "10·log₁₀(255² / mean squared error), dB. Absent where nothing differs."),
    "ssim": Measure("SSIM", "higher", "Structural similarity, 11×11 Gaussian windows (Wang 2004): 1 = same."),
    "ms_ssim": Measure("MS-SSIM", "higher", "SSIM over five scales (Wang 2003); sides of 176 pixels or more."),
    "feature_distance": Measure(
        "Feature distance",
        "lower",
        "Squared distance of unit-length EfficientNet-Lite0 features, long side at most 1024: 0 same, 2 unrelated.",
    ),
    "psnr_hole": Measure("PSNR hole", "higher", "PSNR over the mask's pixels."),
    "ssim_hole": Measure("SSIM hole", "higher", "SSIM over windows centred in the mask."),
    "feature_distance_hole": Measure(
        "Feature distance hole", "lower", "Feature distance over the cells that touch the mask."
    ),
    "psnr_outside": Measure(
        "PSNR outside", "higher", "PSNR over the pixels outside the mask; absent where nothing differs."
    ),
    "ssim_outside": Measure(
        "SSIM outside", "higher", "SSIM over windows centred outside the mask; at its edge they reach in."
    ),
    "lpips": Measure(
        "LPIPS", "lower", "Learned perceptual distance (Zhang 2018); only with the lpips package installed."
    ),
}

PER_IMAGE = ALONE | AGAINST_SET | BY_CLASSIFIER | AGAINST_TRUTH

# Of two sets; FID and KID also name the feature network in their key
OF_SETS = {
    "fid": Measure(
        "FID",
        "lower",
        "Fréchet distance of Gaussians fitted to both sets' features (Heusel 2017). Biased upwards at small n.",
    ),
    "kid": Measure("KID", "lower", "Unbiased squared MMD, kernel (x·y/D + 1)³ (Bińkowski 2018)."),
    "precision": Measure(
        "Precision", "higher", "Share of pictures inside the reference manifold, k = 3 (Kynkäänniemi 2019)."
    ),
    "recall": Measure("Recall", "higher", "Share of the reference inside the pictures' manifold, k = 3."),
    "density": Measure(
        "Density", "higher", "Reference balls a picture lies in, over k = 5 (Naeem 2020); about 1 for equal sets."
    ),
    "coverage": Measure("Coverage", "higher", "Share of reference balls that hold a picture, k = 5."),
    "u_ids": Measure(
        "U-IDS", "higher", "Share a linear SVM on features mistakes: 0 told apart, 0.5 not at all (Zhao 2021)."
    ),
    "p_ids": Measure(
        "P-IDS", "higher", "Share of pictures the SVM finds more real than their own reference, paired by file name."
    ),
    "qs": Measure(
        "QS",
        "higher",
        "Mean GIQA-GMM score of the pictures under the reference's model: quality (Gu 2020). A set of typical, even "
        "blurred pictures can score above a sharper one: never decide by QS without DS and FID.",
    ),
    "ds": Measure(
        "DS",
        "higher",
        "Mean GIQA-GMM score of the reference under the pictures' model: diversity. Falls when what is unusual is "
        "missing, blur included.",
    ),
}


def better_of(key: str) -> str:
    return PER_IMAGE[key].better if key in PER_IMAGE else "higher"


def measure_of(key: str) -> Measure:
    """The catalogue's entry of a key of a set or of a picture."""
    return PER_IMAGE[key] if key in PER_IMAGE else OF_SETS[key if key in OF_SETS else key.split("_")[0]]
