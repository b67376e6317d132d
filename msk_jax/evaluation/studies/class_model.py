"""From one table of predictions of three or more classes to the figures of a model, for JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from msk_jax.evaluation.classes.calibration import calibration_figures
from msk_jax.evaluation.classes.points import calibration_points
from msk_jax.evaluation.core.figure import to_plain
from msk_jax.evaluation.settings import ModelSettings
from msk_jax.evaluation.studies.several_classes import (
    OF_CLASS,
    OVERALL,
    all_figures,
    call_figures,
    counts_of,
    order_of,
)
from msk_jax.evaluation.studies.subgroups import groups_apart
from msk_jax.evaluation.tables.case_table import in_fixed_order
from msk_jax.evaluation.tables.predictions import probability_columns

CALIBRATION = ("slope", "in_the_large", "brier", "ece", "ece_by_chance")


def evaluate_class_model(
    cases: pd.DataFrame, classes: Sequence[str], settings: ModelSettings, by: Sequence[str] = ()
) -> dict[str, Any]:
    """All figures of a model of three or more classes, whoever wrote its predictions.

    Args:
        cases: `case_table.read_class_cases`.
        classes: their names, in the order of the labels.
        settings: confidence and bootstrap.
        by: columns whose groups are shown apart.

    Returns:
        `settings`, `classes`, the figures of a level of `evaluate_classes`, `calibration` of each
        class against the rest, `ordinal` and `cuts` where asked for, and `subgroups`: for each
        column, of each group the same figures (no curves), and `gaps` and `gaps_of_class`, to all
        other cases.

    Raises:
        UserError: a column that is not there.
    """
    settings.check()
    cases, _ = in_fixed_order(cases)
    clustered = bool(cases["patient_id"].duplicated().any())

    def flat_figures(part: pd.DataFrame) -> dict[Any, Any]:
        figures = all_figures(part, classes, settings, clustered)
        flat: dict[Any, Any] = {key: figures[key] for key in OVERALL}
        for name, entry in figures["classes"].items():
            flat |= {(name, key): entry[key] for key in OF_CLASS}
        return flat

    apart = {
        column: [_group(*row, classes) for row in groups_apart(cases, column, flat_figures)]
        for column in by
    }
    given = (cases, classes, settings, clustered)
    return {
        "settings": asdict(settings),
        "classes": list(classes),
        **counts_of(cases, classes),
        **(call_figures(*given) if len(cases) else {}),
        **(order_of(*given) if len(cases) and settings.ordinal else {}),
        "calibration": _calibration(*given),
        "subgroups": apart,
    }


def _calibration(
    cases: pd.DataFrame, classes: Sequence[str], settings: ModelSettings, clustered: bool
) -> dict[str, Any]:
    """Slope, groups and curve of each class against the rest."""
    patients = cases["patient_id"].to_numpy() if clustered else None
    options = {"samples": settings.bootstrap_samples, "seed": settings.seed}
    by_class = {}
    for k, (name, column) in enumerate(zip(classes, probability_columns(classes), strict=True)):
        labels, probs = (cases["label"] == k).to_numpy(), cases[column].to_numpy()
        figures = calibration_figures(
            labels, probs, patients, confidence=settings.confidence, **options
        )
        by_class[name] = {
            **{key: to_plain(figures[key]) for key in CALIBRATION},
            **calibration_points(labels, probs, patients, settings.confidence),
        }
    return by_class


def _group(
    name: str,
    part: pd.DataFrame,
    own: Mapping[Any, Any],
    gaps: Mapping[Any, Any],
    classes: Sequence[str],
) -> dict[str, Any]:
    """One group's figures, and their gaps to all other cases, overall and of each class."""

    def of_classes(flat: Mapping[Any, Any]) -> dict[str, Any]:
        return {c: {key: to_plain(flat[c, key]) for key in OF_CLASS} for c in classes}

    return {
        "group": name,
        **counts_of(part, classes),
        **{key: to_plain(own[key]) for key in OVERALL},
        "of_class": of_classes(own),
        "gaps": {key: to_plain(gaps[key]) for key in OVERALL},
        "gaps_of_class": of_classes(gaps),
    }
