"""Readers alone and with a network's help, beside the network itself."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from msk_jax.errors import UserError
from msk_jax.evaluation.agreement import fleiss_kappa, mcnemar
from msk_jax.evaluation.classes.roc import delong
from msk_jax.evaluation.core.proportions import proportion
from msk_jax.evaluation.mrmc.ratings import Ratings, ratings_from_table
from msk_jax.evaluation.mrmc.readers import AIDED, CALL, UNAIDED
from msk_jax.evaluation.mrmc.settings import MrmcSettings
from msk_jax.evaluation.mrmc.study import analyse
from msk_jax.evaluation.tables.faults import exact_numbers, some

ALL = "all"
"""What the readers of all groups together are called."""
_INCOMPLETE = (
    "Majorities, kappa and McNemar's test want every reader to have read every case, alone and "
    "with help."
)


def aided_study(
    table: pd.DataFrame,
    truth: Mapping[str, int],
    scores: Mapping[str, float],
    threshold: float,
    settings: MrmcSettings | None = None,
    samples: int = 2000,
    where: str = "The table of ratings",
) -> dict[str, Any]:
    """All figures of a study of readers with and without a network's help.

    A rating of at least `CALL` is a call of 1. A group answers by the majority of its calls; where
    these are even, by the mean of its ratings.

    Args:
        table: as `ratings.read_ratings` wants it, of the modalities `unaided` and `aided`; a column
            `reading_time`, in seconds, may be there.
        truth: 0 or 1, by case.
        scores: the network's probability of 1, by case; cases that nobody has read are left out.
        threshold: a probability of at least this is the network's call of 1.
        settings: of the analysis of Obuchowski and Rockette; by default readers and cases are
            samples, or, of a single reader, the cases.
        samples: of the bootstrap of kappa.
        where: names the table in an error.

    Returns:
        Plain Python values: `analysis` (`study.analyse`); `network` (`threshold`, `auc`,
        `accuracy`); `majorities`, by group and for all: `readers`, the accuracies `unaided` and
        `aided`, and McNemar's tests `network_unaided`, `network_aided` and `aided_unaided`, of the
        first against the second; `kappa`, Fleiss' by group and modality; `reading_time`, medians in
        seconds by group and modality, None where no time is given; `why`, where there are no
        majorities and no kappa.

    Raises:
        UserError: a faulty table, other modalities, cases that are not known, or another truth.
    """
    study = ratings_from_table(table, where)
    _check(study, truth, where)
    # Of one reader alone nothing is known of others; the cases are a sample all the same.
    usual = MrmcSettings(random="cases" if len(study.readers) == 1 else "readers and cases")
    analysis = analyse(study, settings or usual)
    given = np.array([scores[case] for case in study.cases])
    right = (given >= threshold) == study.truth.astype(bool)
    groups = {**study.by_group(), ALL: list(study.readers)}
    complete = bool(np.isfinite(study.ratings).all())
    whole = {name: study.of_readers(readers) for name, readers in groups.items() if complete}
    return {
        "analysis": analysis,
        "network": {
            "threshold": float(threshold),
            "auc": asdict(delong(study.truth, given)),
            "accuracy": asdict(proportion(right.sum(), len(right))),
        },
        "majorities": {name: _majority(part, right) for name, part in whole.items()},
        "kappa": {name: _kappa(part, samples) for name, part in whole.items()},
        "reading_time": _times(table, groups),
        "why": None if complete else _INCOMPLETE,
    }


def _check(study: Ratings, truth: Mapping[str, int], where: str) -> None:
    if set(study.modalities) != {UNAIDED, AIDED}:
        raise UserError(
            f"{where} has the modalities {', '.join(study.modalities)}; {UNAIDED} and {AIDED} are "
            "needed."
        )
    unknown = [case for case in study.cases if case not in truth]
    if unknown:
        raise UserError(
            f"{where} has {len(unknown)} case(s) that are no patients of a test set "
            f"({some(unknown)}). Give the patients' pseudonyms, as in test_set_predictions.csv."
        )
    other = [c for c, t in zip(study.cases, study.truth, strict=True) if truth[c] != t]
    if other:
        raise UserError(f"{where} gives cases another truth than the cohort has ({some(other)}).")


def _of(study: Ratings, modality: str) -> np.ndarray:
    """Ratings [readers, cases] of one modality."""
    return study.ratings[study.modalities.index(modality)]


def majority(ratings: np.ndarray) -> np.ndarray:
    """What readers together call 1 [cases], from ratings [readers, cases]; see `aided_study`."""
    share = (ratings >= CALL).mean(axis=0)
    return np.where(share == 0.5, ratings.mean(axis=0) >= CALL, share > 0.5)


def _majority(study: Ratings, network: np.ndarray) -> dict[str, Any]:
    """One group's answers; `network` says where the network is right [cases]."""
    right = {m: majority(_of(study, m)) == study.truth.astype(bool) for m in (UNAIDED, AIDED)}
    return {
        "readers": len(study.readers),
        **{m: asdict(proportion(r.sum(), len(r))) for m, r in right.items()},
        "network_unaided": asdict(mcnemar(network, right[UNAIDED])),
        "network_aided": asdict(mcnemar(network, right[AIDED])),
        "aided_unaided": asdict(mcnemar(right[AIDED], right[UNAIDED])),
    }


def _kappa(study: Ratings, samples: int) -> dict[str, Any] | None:
    """Agreement of the readers' calls by modality; None of a single reader."""
    if len(study.readers) < 2:
        return None
    calls = {m: (_of(study, m) >= CALL).T.astype(int) for m in (UNAIDED, AIDED)}
    return {m: asdict(fleiss_kappa(found, samples=samples)) for m, found in calls.items()}


def _times(table: pd.DataFrame, groups: Mapping[str, list[str]]) -> dict[str, Any] | None:
    if "reading_time" not in table:
        return None
    seconds = table.assign(reading_time=exact_numbers(table["reading_time"]))
    found = {}
    for name, readers in groups.items():
        rows = seconds[seconds["reader"].astype(str).isin(readers)].dropna(subset="reading_time")
        found[name] = rows.groupby("modality")["reading_time"].median().to_dict()
    return found
