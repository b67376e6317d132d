"""Is the spine phantom fair? An oracle, a weak baseline, and a check that is blind to the level."""

from pathlib import Path

import numpy as np
import pandas as pd

from msk_jax.phantoms.sacroiliac.checks import cross_validated_auc, global_features, over_patients
from msk_jax.phantoms.spine.cohort import (
    SpinePatient,
    draw_patient,
    render_patient,
    true_parameters,
)
from msk_jax.phantoms.spine.render import to_spine
from msk_jax.phantoms.spine.settings import ThoracolumbarPhantom

BLIND_MM = (58.0, 47.0, 28.0)
"""Half sides of the box about the level's vertebra, with all its processes, that the blind check
does not see, along x, y and z of the spine."""
BEHIND_MM = 23.0
"""How far the box's middle lies behind that of the body."""

READING = {
    "height_mm": 0.8,
    "loss_mm": 0.8,
    "canal_mm": 0.8,
    "pedicles_mm": 0.8,
    "crack_mm": 0.6,
    "split_mm": 0.6,
    "band": 0.15,
}
"""Standard deviations of what a reader measures on voxels of 0.7 mm with noise."""


def oracle_auc(parameters: pd.DataFrame | Path, seed: int = 0) -> float:
    """Macro AUC of a logistic regression on the true parameters, read with errors.

    Heights and pedicles are in shares of the neighbour's, as a reader judges them; with the second
    end plate, the canal, the cracks, those across the body, and the band of impacted bone.
    """
    table = pd.read_csv(parameters) if isinstance(parameters, Path | str) else parameters.copy()
    rng = np.random.default_rng(seed)
    for name in table.columns:
        error = next((sd for end, sd in READING.items() if name.endswith(end)), None)
        if error is not None:
            table[name] = table[name] + rng.normal(0, error, len(table))
    shares = [
        table[name] / table[f"neighbour_{name}"]
        for name in ("anterior_height_mm", "middle_height_mm", "posterior_height_mm", "pedicles_mm")
    ]
    others = ("second_loss_mm", "canal_mm", "crack_mm", "split_mm", "band")
    features = np.stack([*shares, *(table[name] for name in others)], axis=1)
    return cross_validated_auc(features, class_numbers(table), seed)


def class_numbers(parameters: pd.DataFrame) -> np.ndarray:
    """A number for the class of each row as the manifest says it, label noise included."""
    return np.unique(parameters["label"], return_inverse=True)[1]


def measure(config: ThoracolumbarPhantom, workers: int = 1) -> dict[str, float]:
    """Render the cohort in memory; macro AUC of oracle, weak baseline and blind check.

    The weak baseline is a logistic regression on mean, spread, histogram and noise power of the
    whole scan; the blind check the same without the level's vertebra.
    """
    rows, whole, blind = zip(*over_patients(_one, config, workers), strict=True)
    table = pd.DataFrame(rows)
    labels = class_numbers(table)
    return {
        "oracle_auc": oracle_auc(table),
        "weak_baseline_auc": cross_validated_auc(np.array(whole), labels),
        "blind_auc": cross_validated_auc(np.array(blind), labels),
    }


def _one(config: ThoracolumbarPhantom, number: int):
    patient = draw_patient(config, number)
    hu = render_patient(patient, config.seed).hu
    return true_parameters(patient), global_features(hu), global_features(hu, outside(patient))


def outside(patient: SpinePatient) -> np.ndarray:
    """bool [slices, rows, columns]: what does not belong to the level."""
    grid = patient.grid
    axis = np.arange(grid.matrix) * grid.pixel_mm
    z, y, x = np.meshgrid(
        grid.z_mm, grid.origin_mm[1] + axis, grid.origin_mm[0] + axis, indexing="ij", sparse=True
    )
    shape = np.broadcast_shapes(x.shape, y.shape, z.shape)
    u, v, w = to_spine(patient.spine, *(np.broadcast_to(a, shape) for a in (x, y, z)))
    a, b, c = BLIND_MM
    return (np.abs(u) > a) | (np.abs(v - BEHIND_MM) > b) | (np.abs(w) > c)
