"""Are the radiograph phantoms fair? An oracle, a weak baseline, and a guess that is blind.

As `checks` for CT: a network must beat the weak baseline and cannot honestly beat the oracle. The
weak baseline sees how bright, how spread and how noisy a picture is; the blind one sees the same
of what is left when the places that carry the signs are hidden.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import binary_dilation, uniform_filter

from msk_jax.phantoms.anatomy import stream
from msk_jax.phantoms.chest import ChestPhantom
from msk_jax.phantoms.chest import cohort as chest
from msk_jax.phantoms.chest.bones import SIGNS
from msk_jax.phantoms.knee import KneePhantom
from msk_jax.phantoms.knee import cohort as knee
from msk_jax.phantoms.knee.signs import REACTIONS, Tumour
from msk_jax.phantoms.projection import LEVELS
from msk_jax.phantoms.sacroiliac.checks import over_patients, weak_baseline_auc

BINS = np.linspace(0, LEVELS, 33)
MARGIN_MM = 5.0  # hidden around a sign, for the detector's blur
LENGTHS = (
    "size_mm",
    "edge_mm",
    "transition_mm",
    "expansion_mm",
    "mass_mm",
    "matrix_share",
)
READING = 0.10  # relative error of an ideal reader who measures a cortex or a density


@dataclass(frozen=True)
class Seen:
    """One patient as the checks see it."""

    label: int  # as the manifest has it
    oracle: np.ndarray  # true parameters, with the error of reading
    whole: np.ndarray  # features of the whole picture
    blind: np.ndarray  # of what is left of it


def picture_features(stored: np.ndarray, seen: np.ndarray | None = None) -> np.ndarray:
    """[35] float64 of a radiograph: mean, SD, noise power, 32-bin histogram of stored values.

    `seen` (bool, [rows, columns]) leaves the rest of the picture out.
    """
    picture = stored.astype(np.float32)
    residual = picture - uniform_filter(picture, 3)
    seen = np.ones(picture.shape, bool) if seen is None else seen
    values = picture[seen].astype(np.float64)
    histogram = np.histogram(values, BINS)[0] / values.size
    power = np.log(residual[seen & (picture > 0)].var() + 1e-6)
    return np.r_[values.mean(), values.std(), power, np.log(histogram + 1e-4)]


def measure(config: ChestPhantom | KneePhantom, workers: int = 1) -> dict[str, float]:
    """Render the cohort in memory; its oracle, weak-baseline and blind AUC by patient."""
    see = see_chest if isinstance(config, ChestPhantom) else see_knee
    results = over_patients(see, config, workers)
    labels = np.array([r.label for r in results])
    return {
        f"{name}_auc": weak_baseline_auc(np.array([getattr(r, key) for r in results]), labels)
        for name, key in (("oracle", "oracle"), ("weak_baseline", "whole"), ("blind", "blind"))
    }


def hidden(labels: np.ndarray, pixel_mm: float) -> np.ndarray:
    """Where a sign is, or near it: bool [rows, columns]."""
    return binary_dilation(labels > 0, iterations=int(np.ceil(MARGIN_MM / pixel_mm)))


def see_chest(config: ChestPhantom, number: int) -> Seen:
    """A patient of the chest cohort; all bone is hidden from the blind check."""
    patient = chest.draw_patient(config, number)
    rendering = chest.render_patient(patient, config)
    error = stream(config.seed, number, "reading").normal(0, READING, len(SIGNS))
    signs = np.log([getattr(patient.bones, name) for name in SIGNS]) + error
    left = ~hidden(rendering.labels, config.pixel_mm)
    return Seen(
        int(patient.person.osteoporosis != patient.person.flipped),
        np.r_[signs, patient.bones.wedge_loss],
        picture_features(rendering.stored),
        picture_features(rendering.stored, left),
    )


def see_knee(config: KneePhantom, number: int) -> Seen:
    """A patient of the knee cohort; the blind check sees the leg without tumour, physes closed."""
    patient = knee.draw_patient(config, number)
    views = knee.render_patient(patient, config)
    healthy = replace(patient, tumour=None, person=replace(patient.person, physis_open=False))
    left = knee.render_patient(healthy, config)
    return Seen(
        int(patient.person.osteosarcoma != patient.person.flipped),
        tumour_signs(
            patient.tumour, patient.person.physis_open, stream(config.seed, number, "reading")
        ),
        np.hstack([picture_features(v.stored) for v in views.values()]),
        np.hstack([picture_features(v.stored) for v in left.values()]),
    )


def tumour_signs(tumour: Tumour, physis_open: bool, rng: np.random.Generator) -> np.ndarray:
    """[16] float64: what an ideal reader would note of a tumour, lengths with an error."""
    lengths = np.array([getattr(tumour, name) for name in LENGTHS])
    lengths = np.log1p(np.maximum(lengths * np.exp(rng.normal(0, READING, len(LENGTHS))), 0))
    flags = [
        tumour.breach,
        tumour.septa,
        tumour.rim,
        tumour.bone == "fibula",
        tumour.bone == "tibia",
        physis_open,
    ]
    reaction = [tumour.reaction == name for name in REACTIONS]
    return np.r_[lengths, tumour.eccentricity, flags, reaction].astype(float)
