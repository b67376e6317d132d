"""Simulated readers of given cases, alone and with a model's help, until real ones take over.

A reader's impression of a case is latent: separation x (truth - 1/2) + leaning of the reader +
difficulty of the case, which all readers share, + what this reader sees in this case. With help it
is own_weight x impression + (1 - own_weight) x the model's score on the same scale. A positive
impression is a call of 1; its rating is the normal probability of it, from 0 to 100.
"""

import numpy as np
import pandas as pd
from scipy.special import logit, ndtr

from msk_jax.evaluation.mrmc.settings import ReaderModel

UNAIDED, AIDED = "unaided", "aided"
CALL = 50.0
"""A rating of at least this is a call of 1."""


def simulate_readers(
    cases: list[str],
    truth: np.ndarray,
    scores: np.ndarray,
    seed: int = 0,
    model: ReaderModel | None = None,
) -> pd.DataFrame:
    """The ratings of a study in which every reader reads every case, unaided and aided.

    Args:
        cases: names of the cases, each once.
        truth: 0 or 1 [cases].
        scores: the model's probabilities of 1 [cases].
        seed: of the readers; the same seed gives the same impressions whatever the scores.
        model: who reads how.

    Returns:
        One row per reading: reader, group, case, modality (`unaided` or `aided`), truth, rating (0
        to 100) and reading_time in seconds. As CSV it is what `ratings.read_ratings` takes.

    Raises:
        ValueError: lengths that differ, a case named twice, or scores that are no probabilities.

    Source of the latent form: C. A. Roe and C. E. Metz, Acad Radiol 1997;4:298.
    """
    model = model or ReaderModel()
    truth, shown = np.asarray(truth, int), np.asarray(scores, float)
    if not len(cases) == len(truth) == len(shown) or len(set(cases)) < len(cases):
        raise ValueError("cases, truth and scores must be of one length, and each case named once")
    if not np.isin(truth, (0, 1)).all() or not ((shown >= 0) & (shown <= 1)).all():
        raise ValueError("truth must be 0 or 1 and scores must be probabilities")
    rng = np.random.default_rng(seed)
    hint = _on_scale(shown, truth) * model.difficulty
    difficulty = model.difficulty * rng.standard_normal(len(cases))
    tables = []
    for group in model.groups:
        for index in range(group.readers):
            impression = group.separation * model.difficulty * (truth - 0.5) + difficulty
            impression = impression + model.leaning * rng.standard_normal()
            impression = impression + model.view * rng.standard_normal(len(cases))
            pace = np.exp(model.pace * rng.standard_normal())
            for modality in (UNAIDED, AIDED):
                own = group.own_weight if modality == AIDED else 1.0
                latent = own * impression + (1 - own) * hint
                spread = np.exp(model.time_spread * rng.standard_normal(len(cases)))
                seconds = group.seconds * pace * spread * (1 + model.doubt * np.exp(-(latent**2)))
                seconds *= 1 - group.time_saved * (modality == AIDED)
                tables.append(
                    pd.DataFrame(
                        {
                            "reader": f"{group.name}-{index + 1}",
                            "group": group.name,
                            "case": list(cases),
                            "modality": modality,
                            "truth": truth,
                            "rating": np.round(100 * ndtr(latent), 1),
                            "reading_time": np.round(seconds, 1),
                        }
                    )
                )
    return pd.concat(tables, ignore_index=True)


def _on_scale(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Logits with a standard deviation of 1 within the classes; 0 stays the even score."""
    logits = logit(np.clip(scores, 1e-4, 1 - 1e-4))
    within = [logits[truth == k].var() for k in (0, 1) if (truth == k).sum() > 1]
    spread = np.sqrt(np.mean(within)) if within else 0.0
    return logits / spread if spread > 0 else np.sign(logits)
