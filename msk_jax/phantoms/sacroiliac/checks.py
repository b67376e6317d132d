"""Is the phantom fair? What an oracle reads off the truth, and what a blind guess achieves.

A network must beat the weak baseline and cannot honestly beat the oracle. The weak baseline sees
only how bright, how spread and how noisy a scan is, which disease changes too; what has nothing to
do with disease shows in the blind check, which must stay near 0.5.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import uniform_filter
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from msk_jax.phantoms.anatomy import SIDES
from msk_jax.phantoms.phantom import Phantom
from msk_jax.phantoms.sacroiliac.cohort import render_patient, true_parameters
from msk_jax.phantoms.sacroiliac.patients import draw_patient
from msk_jax.phantoms.sacroiliac.settings import SacroiliacPhantom
from msk_jax.processes import processes

BINS = np.linspace(-200, 1400, 33)
BLIND_MM = 45.0  # voxels this near to a joint's middle are hidden from the blind check
# Volumes vary over orders of magnitude: they enter as logarithms.
VOLUMES = ("notch_mm3", "dense_mm3", "fat_mm3")
# What measuring on voxels of 0.8 mm with noise leaves uncertain (standard deviations).
READING = {
    "notch_mm3": 4.0,
    "dense_mm3": 150.0,
    "fat_mm3": 30.0,
    "width_mm": 0.25,
    "roughness_mm": 0.12,
}
SCALES = ("width_mm", "roughness_mm", "bridge_fraction", "longest_notch_mm")


def read_labels(parameters: pd.DataFrame) -> pd.Series:
    """0/1 by patient as the manifest says it, label noise included."""
    patients = parameters.groupby("patient_id").first()
    return (patients["true_patient_label"] ^ patients["flipped"]).astype(int)


def oracle_auc(parameters: pd.DataFrame | Path, seed: int = 0) -> float:
    """Patient-level AUC of a logistic regression on the true parameters of the joints.

    It sees what an ideal reader could measure (volume of all notches and all dense bone, width
    and its deviation, roughness, bridging, the longest notch), each with the uncertainty of
    READING, not which of them are disease. Cross-validated, mean over repetitions. `parameters`
    is `parameters.csv` or its path.
    """
    table = pd.read_csv(parameters) if isinstance(parameters, Path | str) else parameters.copy()
    rng = np.random.default_rng(seed)
    for name, deviation in READING.items():
        error = rng.normal(0, deviation, len(table))
        table[name] = np.maximum(table[name] + error, 0)
    features = pd.concat(
        [
            np.log1p(table[list(VOLUMES)]),
            table[list(SCALES)],
            (table["width_mm"] - 3).abs().rename("deviation_mm"),
            table["condensans"],
            table["patient_id"],
        ],
        axis=1,
    )
    joints = features.groupby("patient_id")
    return cross_validated_auc(
        np.hstack([joints.max().to_numpy(), joints.min().to_numpy()]),
        read_labels(table).to_numpy(),
        seed,
    )


def weak_baseline_auc(features: np.ndarray, labels: np.ndarray, seed: int = 0) -> float:
    """Cross-validated AUC of a logistic regression on `global_features` [patients, 36]."""
    return cross_validated_auc(features, labels, seed)


def cross_validated_auc(
    features: np.ndarray, labels: np.ndarray, seed: int = 0, repeats: int = 5
) -> float:
    """AUC of a logistic regression on features [cases, features], mean over repetitions.

    Of several classes (0, 1, ...) the mean over classes, each against the rest.
    """
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=2000))
    folds = min(5, int(np.bincount(labels, minlength=2).min()))
    if folds < 2:
        raise ValueError("the check needs at least two patients of each class")
    splits = list(
        RepeatedStratifiedKFold(n_splits=folds, n_repeats=repeats, random_state=seed).split(
            features, labels
        )
    )
    scores = []
    for k in range(repeats):
        part = splits[k * folds : (k + 1) * folds]
        prob = cross_val_predict(model, features, labels, cv=part, method="predict_proba")
        prob = prob[:, 1] if prob.shape[1] == 2 else prob
        scores.append(roc_auc_score(labels, prob, multi_class="ovr"))
    return float(np.mean(scores))


def global_features(hu: np.ndarray, seen: np.ndarray | None = None) -> np.ndarray:
    """[36] float64 of a CT volume: mean, SD, noise power, bone share, 32-bin histogram of HU.

    Over the body (above -500 HU); with `seen` (bool, [rows, columns]) only there.
    """
    body = hu > -500
    if seen is not None:
        body &= seen
    values = hu[body].astype(np.float64)
    volume = hu.astype(np.float32)
    residual = (volume - uniform_filter(volume, (0, 3, 3)))[body & (hu > 0) & (hu < 100)]
    histogram = np.histogram(np.clip(values, BINS[0], BINS[-1]), BINS)[0] / values.size
    power = residual.var() if residual.size else 0.0
    return np.r_[
        values.mean(), values.std(), power, (values > 150).mean(), np.log(histogram + 1e-5)
    ]


def measure(config: SacroiliacPhantom, workers: int = 1) -> dict[str, float]:
    """Render the cohort in memory; its oracle, weak-baseline and blind AUC by patient.

    The blind check is the weak baseline without the neighbourhood of the joints: it looks for
    differences where there is no disease.
    """
    results = over_patients(_one, config, workers)
    table = pd.DataFrame([row for rows, _, _ in results for row in rows])
    labels = read_labels(table).to_numpy()
    return {
        "oracle_auc": oracle_auc(table),
        "weak_baseline_auc": weak_baseline_auc(np.array([r[1] for r in results]), labels),
        "blind_auc": weak_baseline_auc(np.array([r[2] for r in results]), labels),
    }


def over_patients(work: Callable, config: Phantom, workers: int) -> list:
    """`work(config, number)` for every patient of a cohort, in so many processes."""
    work = partial(work, replace(config, workers=1))
    numbers = range(config.patients)
    if workers == 1:
        return [work(number) for number in numbers]
    with processes(workers) as pool:
        return list(pool.map(work, numbers))


def _one(config: SacroiliacPhantom, number: int):
    patient = draw_patient(config, number)
    rendering = render_patient(patient, config)
    rows = [true_parameters(patient, side, rendering) for side in SIDES]
    grid = patient.grid
    axis = np.arange(grid.matrix) * grid.pixel_mm
    seen = np.ones((grid.matrix, grid.matrix), bool)
    for row in rows:
        seen &= (
            np.hypot(
                grid.origin_mm[0] + axis[None, :] - row["centre_x_mm"],
                grid.origin_mm[1] + axis[:, None] - row["centre_y_mm"],
            )
            > BLIND_MM
        )
    return rows, global_features(rendering.hu), global_features(rendering.hu, seen)
