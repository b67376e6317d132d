"""Is the histology phantom fair? An oracle, a weak baseline, and a guess that is blind.

The oracle knows where each lacuna lies and measures how much of it is nucleus and how dark that is.
The weak baseline sees how bright, how spread and how coloured a picture is; the blind one sees the
same of what is left when the lacunae are hidden, so what it says must be chance.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from msk_jax.phantoms.histology import HistologyPhantom
from msk_jax.phantoms.histology.cohort import draw_tile, empty_share, render_tile
from msk_jax.phantoms.histology.ellipses import cover
from msk_jax.phantoms.histology.lacunae import Lacunae
from msk_jax.phantoms.histology.render import STAINS
from msk_jax.phantoms.sacroiliac.checks import over_patients

BINS = np.linspace(0, 256, 17)
MARGIN_UM = 2.5  # hidden around a lacuna, for its wall and the blur
DARK = 0.18  # haematoxylin that counts as nucleus: above the haze of a lacuna, below any nucleus
READING = 0.10  # relative error of an ideal reader who measures an area or a darkness


@dataclass(frozen=True)
class Seen:
    """One section as the checks see it."""

    animal: int
    empty_share: float  # as the manifest has it
    classes: np.ndarray  # [n] of the lacunae, as annotated
    oracle: np.ndarray  # [n, 2] true parameters, with the error of reading
    measured: np.ndarray  # [n, 2] the same two figures, measured in the picture
    whole: np.ndarray  # features of the whole picture
    blind: np.ndarray  # of what is left of it


def picture_features(picture: np.ndarray, seen: np.ndarray | None = None) -> np.ndarray:
    """[54] float64 of an RGB picture: mean, SD and 16-bin histogram of each colour.

    `seen` (bool, [rows, columns]) leaves the rest of the picture out.
    """
    seen = np.ones(picture.shape[:2], bool) if seen is None else seen
    features = []
    for colour in np.moveaxis(picture, 2, 0):
        values = colour[seen].astype(np.float64)
        histogram = np.histogram(values, BINS)[0] / values.size
        features += [values.mean(), values.std(), *np.log(histogram + 1e-4)]
    return np.array(features)


def lacuna_features(picture: np.ndarray, lacunae: Lacunae) -> np.ndarray:
    """[n, 2] float64 of the lacunae of a picture [rows, columns, 3]: the share of each that is dark
    with haematoxylin, and its mean amount there (0 where nothing is dark)."""
    density = -np.log10(np.maximum(picture, 1) / 255.0)
    haematoxylin = (density * np.linalg.inv(STAINS)[:, 0]).sum(2).reshape(-1)
    places, which, share = cover(lacunae.ellipses, picture.shape[:2])
    inside = share > 0.5
    places, which = places[inside], which[inside]
    count = len(lacunae)
    area = np.bincount(which, minlength=count)
    dark = haematoxylin[places] > DARK
    pixels = np.bincount(which[dark], minlength=count)
    total = np.bincount(which[dark], haematoxylin[places][dark], minlength=count)
    return np.stack([pixels / np.maximum(area, 1), total / np.maximum(pixels, 1)], axis=1)


def see(config: HistologyPhantom, number: int) -> list[Seen]:
    """The sections of an animal."""
    sections = []
    for index in range(config.tiles):
        tile = draw_tile(config, number, index)
        rendering, lacunae = render_tile(tile, config), tile.lacunae
        truth = np.stack([lacunae.ratio, lacunae.staining], axis=1)
        error = tile.section.stream(config.seed, "reading").normal(1, READING, truth.shape)
        margin = int(np.ceil(MARGIN_UM / config.pixel_um))
        left = ~binary_dilation(rendering.labels > 0, iterations=margin)
        sections.append(
            Seen(
                number, empty_share(lacunae.annotated), lacunae.annotated, truth * error,
                lacuna_features(rendering.picture, lacunae),
                picture_features(rendering.picture), picture_features(rendering.picture, left),
            )
        )  # fmt: skip
    return sections


def measure(config: HistologyPhantom, workers: int = 1) -> dict[str, float]:
    """Render the cohort in memory; what oracle and weak baselines achieve on it.

    How often the oracle names the class of a lacuna (from the truth, and measured in the picture);
    of what global figures of the whole and of the blind picture say of the empty share, the
    correlation with it and the explained share of its variance. All from folds without the animal,
    so that saying nothing gives a correlation somewhat below 0.
    """
    sections = [s for animal in over_patients(see, config, workers) for s in animal]
    classes = np.concatenate([s.classes for s in sections])
    animals = np.repeat([s.animal for s in sections], [len(s.classes) for s in sections])
    figures = {}
    for name in ("oracle", "measured"):
        features = np.concatenate([getattr(s, name) for s in sections])
        said = _out_of_fold(LogisticRegression(max_iter=1000), features, classes, animals)
        figures[f"{name}_accuracy"] = float((said == classes).mean())
    shares = np.array([s.empty_share for s in sections])
    animals = np.array([s.animal for s in sections])
    for name, key in (("weak_baseline", "whole"), ("blind", "blind")):
        features = np.array([getattr(s, key) for s in sections])
        said = _out_of_fold(RidgeCV(np.logspace(-1, 5, 13)), features, shares, animals)
        figures[f"{name}_r"] = float(np.corrcoef(said, shares)[0, 1])
        figures[f"{name}_r2"] = float(1 - ((said - shares) ** 2).mean() / shares.var())
    return figures


def _out_of_fold(model, features: np.ndarray, target: np.ndarray, groups: np.ndarray):
    folds = GroupKFold(min(5, len(np.unique(groups))))
    return cross_val_predict(
        make_pipeline(StandardScaler(), model), features, target, groups=groups, cv=folds
    )
