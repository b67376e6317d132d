"""Are the radiograph phantoms fair? An oracle, a weak baseline, and a guess that is blind.

As `checks` for CT: a network must beat the weak baseline and cannot honestly beat the oracle. The
weak baseline sees how bright, how spread and how noisy a picture is; the blind one sees the same
of what is left when the places that carry the signs are hidden.
"""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context

import numpy as np
from scipy.ndimage import binary_dilation, uniform_filter

from msk_jax.phantoms import chest
from msk_jax.phantoms.anatomy import stream
from msk_jax.phantoms.checks import weak_baseline_auc
from msk_jax.phantoms.chest.bones import SIGNS
from msk_jax.phantoms.chest.cohort import draw_patient, render_patient
from msk_jax.phantoms.projection import LEVELS

BINS = np.linspace(0, LEVELS, 33)
MARGIN_MM = 5.0  # hidden around a sign, for the detector's blur
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


def measure(
    config, see: Callable[[object, int], Seen] | None = None, workers: int = 1
) -> dict[str, float]:
    """Render the cohort in memory; its oracle, weak-baseline and blind AUC by patient.

    Args:
      config: a phantom's configuration.
      see: what to look at; by default that of the configuration's phantom.
      workers: processes.
    """
    work = partial(see or LOOKERS[type(config)], replace(config, workers=1))
    numbers = range(config.patients)
    if workers > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            results = list(pool.map(work, numbers))
    else:
        results = [work(number) for number in numbers]
    labels = np.array([r.label for r in results])
    return {
        f"{name}_auc": weak_baseline_auc(np.array([getattr(r, key) for r in results]), labels)
        for name, key in (("oracle", "oracle"), ("weak_baseline", "whole"), ("blind", "blind"))
    }


def hidden(labels: np.ndarray, pixel_mm: float) -> np.ndarray:
    """Where a sign is, or near it: bool [rows, columns]."""
    return binary_dilation(labels > 0, iterations=int(np.ceil(MARGIN_MM / pixel_mm)))


def see_chest(config: chest.ChestPhantom, number: int) -> Seen:
    """A patient of the chest cohort; all bone is hidden from the blind check."""
    patient = draw_patient(config, number)
    rendering = render_patient(patient, config)
    error = stream(config.seed, number, "reading").normal(0, READING, len(SIGNS))
    signs = np.log([getattr(patient.bones, name) for name in SIGNS]) + error
    left = ~hidden(rendering.labels, config.pixel_mm)
    return Seen(
        int(patient.person.osteoporosis != patient.person.flipped),
        np.r_[signs, patient.bones.wedge_loss],
        picture_features(rendering.stored),
        picture_features(rendering.stored, left),
    )


LOOKERS = {chest.ChestPhantom: see_chest}
