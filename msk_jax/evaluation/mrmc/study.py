"""From the table of a reader study to its figures, as a dict that goes into JSON."""

from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np

from msk_jax.errors import UserError
from msk_jax.evaluation.classes.points import mean_roc_points, roc_points
from msk_jax.evaluation.core import figure
from msk_jax.evaluation.mrmc.analysis import MrmcResult, Random, obuchowski_rockette
from msk_jax.evaluation.mrmc.groups import difference_between_groups
from msk_jax.evaluation.mrmc.nested_readers import nested_readers, readers_are_nested
from msk_jax.evaluation.mrmc.ratings import Ratings
from msk_jax.evaluation.mrmc.settings import MrmcSettings
from msk_jax.evaluation.mrmc.sizing import cases_needed, power

_NOT_FACTORIAL = (
    "The size of a next study is known from a factorial study only: here the readers did not all "
    "read the same cases, so an error does not shrink with the number of all cases."
)


def analyse(study: Ratings, settings: MrmcSettings) -> dict[str, Any]:
    """All figures of a reader study.

    Args:
        study: the ratings.
        settings: how to analyse.

    Returns:
        A dict of plain Python values: `settings`, `n` (readers, cases, positives, negatives),
        `design`, `overall`, `groups` (by name, where the ratings have groups), `between_groups`
        (for each pair of them, whether the modalities differ by as much) and `next_study`, which is
        empty with the reason in `next_study_why` unless the design is factorial; `power_curves` and
        `roc` are for pictures. What has no answer is None, with the reason in a `why` beside it.

    Raises:
        UserError: a study that cannot be analysed in the way asked for.
    """
    settings.check()
    try:
        result = _result(study, settings, settings.random)
    except ValueError as error:
        raise UserError(str(error)) from error
    positives = int(study.truth.sum())
    groups = {
        name: _group(study.of_readers(readers), settings)
        for name, readers in study.by_group().items()
    }
    sizes, why, curves = [], _NOT_FACTORIAL, []
    if np.isfinite(study.ratings).all():
        sizes, why = _next_study(result, len(study.truth), settings)
        curves = _power_curves(result, len(study.truth), settings, [r["readers"] for r in sizes])
    return {
        "settings": asdict(settings),
        "n": {
            "readers": len(study.readers),
            "cases": len(study.truth),
            "positives": positives,
            "negatives": len(study.truth) - positives,
        },
        "design": design(study.ratings),
        "overall": to_plain(result),
        "groups": groups,
        "between_groups": _between(study, settings),
        "next_study": sizes,
        "next_study_why": why,
        "power_curves": curves,
        "roc": _roc(study) if settings.measure == "auc" else None,
    }


def _calls(study: Ratings, settings: MrmcSettings) -> np.ndarray:
    """The ratings, or for all measures but the AUC the calls [modalities, readers, cases]."""
    if settings.measure == "auc":
        return study.ratings
    return np.where(np.isnan(study.ratings), np.nan, study.ratings >= settings.threshold)


def _result(study: Ratings, settings: MrmcSettings, random: Random) -> MrmcResult:
    analysed = nested_readers if readers_are_nested(study.ratings) else obuchowski_rockette
    return analysed(
        study.truth,
        _calls(study, settings),
        modality_names=study.modalities,
        reader_names=study.readers,
        measure=settings.measure,
        method=settings.covariance,
        random=random,
        confidence=settings.confidence,
    )


def _group(study: Ratings, settings: MrmcSettings) -> dict[str, Any]:
    """The figures of one group of readers; of a single reader with that reader fixed."""
    random, why = settings.random, None
    if len(study.readers) == 1 and random != "cases":
        random = "cases"
        why = "The group is one reader, so the figures speak of that reader alone."
    readers = list(study.readers)
    try:
        return {"readers": readers, "why": why, **to_plain(_result(study, settings, random))}
    except ValueError as error:
        return {"readers": readers, "why": str(error)}


def _between(study: Ratings, settings: MrmcSettings) -> list[dict[str, Any]]:
    """Of each pair of groups and of modalities the first's difference minus the second's."""
    places = {
        name: [study.readers.index(reader) for reader in readers]
        for name, readers in study.by_group().items()
    }
    calls = _calls(study, settings)
    rows = []
    for (a, first), (b, second) in combinations(places.items(), 2):
        for one, two in combinations(range(len(study.modalities)), 2):
            test = difference_between_groups(
                study.truth,
                calls[[one, two]],
                first,
                second,
                measure=settings.measure,
                method=settings.covariance,
                random=settings.random,
                confidence=settings.confidence,
            )
            pair = {"first": study.modalities[one], "second": study.modalities[two]}
            rows.append({"first_group": a, "second_group": b, **pair, **asdict(test)})
    return rows


def design(ratings: np.ndarray) -> str:
    """Who read what, in words, from ratings [modalities, readers, cases]."""
    read = np.isfinite(ratings)
    if read.all():
        return "factorial: every reader read every case in every modality"
    by_reader, by_modality = read.any(axis=0), read.any(axis=1)
    if readers_are_nested(ratings):
        own = "" if (by_modality.sum(axis=0) > 1).any() else " and cases"
        return f"readers{own} nested in modalities"
    if (read == by_reader[None]).all():
        sets = {row.tobytes(): row for row in by_reader}
        if (np.sum(list(sets.values()), axis=0) <= 1).all():
            if len(sets) == len(by_reader):
                return "cases nested in readers"
            return "split plot: groups of readers, each with cases of its own"
    if (read == by_modality[:, None]).all() and not (by_modality.sum(axis=0) > 1).any():
        return "cases nested in modalities"
    return "unbalanced: some readings are missing"


def _next_study(
    result: MrmcResult, cases: int, settings: MrmcSettings
) -> tuple[list[dict[str, Any]], str | None]:
    """Cases for a power of 0.8 with several numbers of readers, or why that is not known.

    Of one reader the covariances between readers have no estimate, so no others are shown.
    """
    found = len(result.reader_names)
    rows = []
    options = {"difference": settings.next_difference, "random": result.random}
    for readers in sorted({found, 5, 10, 16, 20}) if found > 1 else [1]:
        try:
            now = power(result.components, cases, readers=readers, cases=cases, **options).power
        except ValueError as error:
            return [], str(error)
        need = cases_needed(result.components, cases, readers=readers, **options)
        row = {"readers": readers, "power_with_these_cases": now, "cases": None, "why": None}
        if need is None:
            row["why"] = "No number of cases up to 100,000 is enough: the readers differ too much."
        else:
            row["cases"] = need.cases
        rows.append(row)
    return rows, None


def _power_curves(
    result: MrmcResult, cases: int, settings: MrmcSettings, readers: list[int]
) -> list[dict[str, Any]]:
    """Power over 20 to 5000 cases with these numbers of readers."""
    grid = np.unique(np.geomspace(20, 5000, 40).astype(int)).tolist()
    options = {"difference": settings.next_difference, "random": result.random}
    return [
        {
            "readers": count,
            "cases": grid,
            "power": [
                power(result.components, cases, readers=count, cases=n, **options).power
                for n in grid
            ],
        }
        for count in readers
    ]


def _roc(study: Ratings) -> dict[str, Any]:
    """By modality the ROC curve of each reader, and their mean."""
    found = {}
    for name, rows in zip(study.modalities, study.ratings, strict=True):
        curves = {}
        for reader, ratings in zip(study.readers, rows, strict=True):
            read = np.isfinite(ratings)
            if read.any():
                curves[reader] = roc_points(study.truth[read], ratings[read])
        found[name] = {"readers": curves, "mean": mean_roc_points(list(curves.values()))}
    return found


def to_plain(result: MrmcResult) -> dict[str, Any]:
    """Plain Python values of an analysis; its tests as dicts of what they compare."""
    return figure.to_plain(result) | {
        "differences": [
            {"first": a, "second": b, **asdict(test)} for a, b, test in result.differences
        ],
        "by_reader": [
            {"reader": r, "first": a, "second": b, **asdict(test)}
            for r, a, b, test in result.by_reader
        ],
    }
