"""Figures of a study that finds and counts: average precision, counts beside counts, shares."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd

from msk_jax.evaluation.core.figure import missing
from msk_jax.evaluation.detection import Matched, match_boxes, mean_over_classes
from msk_jax.evaluation.measurement import adjusted_r2, bland_altman, correlation
from msk_jax.evaluation.settings import EvaluationSettings

CORNERS = ["x0", "y0", "x1", "y1"]


def precision_figures(
    pictures: pd.DataFrame,
    boxes: pd.DataFrame,
    detections: pd.DataFrame,
    classes: Sequence[str],
    overlap: float,
    settings: EvaluationSettings,
) -> dict[str, Any]:
    """Average precision of each class and their mean, with intervals over patients.

    Args:
        pictures: `unit_id` and `patient_id` of the pictures that were asked about.
        boxes: what people drew: `unit_id`, `class` and corners.
        detections: `unit_id`, `class`, `score` and corners.
        classes: all there are.
        overlap: intersection over union from which a detection is on a box.
        settings: confidence and bootstrap.

    Returns:
        `n` pictures, `patients`, `mean`, and `of_class` a figure each with its number of boxes.
    """
    units = pictures["unit_id"].tolist()
    owners = pd.factorize(pictures["patient_id"])[0]
    matched = {
        name: [_by_patient(_matched(name, units, boxes, detections, overlap), owners)]
        for name in classes
    }
    found = mean_over_classes(matched, **settings.bootstrap)
    drawn = boxes[boxes["unit_id"].isin(units)]["class"].value_counts()
    method = "bootstrap over patients"
    return {
        "n": len(units),
        "patients": len(set(owners.tolist())),
        "overlap": overlap,
        "mean": {**asdict(found.mean), "method": method},
        "of_class": {
            name: {**asdict(figure), "method": method, "boxes": int(drawn.get(name, 0))}
            for name, figure in found.classes.items()
        },
    }


def _matched(name, units, boxes, detections, overlap) -> Matched:
    def by_unit(table: pd.DataFrame) -> list[pd.DataFrame]:
        groups = dict(list(table[table["class"] == name].groupby("unit_id")))
        return [groups.get(unit, table.iloc[:0]) for unit in units]

    said, true = by_unit(detections), by_unit(boxes)
    return match_boxes(
        [rows[CORNERS].to_numpy(float) for rows in said],
        [rows["score"].to_numpy(float) for rows in said],
        [rows[CORNERS].to_numpy(float) for rows in true],
        overlap,
    )


def _by_patient(matched: Matched, owners: np.ndarray) -> Matched:
    """The same, as if all pictures of a patient were one: so are drawn whole patients."""
    count = int(owners.max(initial=-1)) + 1
    findings = np.bincount(owners, weights=matched.findings, minlength=count)
    return replace(matched, image=owners[matched.image], findings=findings.astype(int))


def agreement_figures(
    said: np.ndarray, true: np.ndarray, unit: str, confidence: float
) -> dict[str, Any]:
    """Two measurements of the same pictures.

    Args:
        said: by the machine [pictures].
        true: by people [pictures].
        unit: of both.
        confidence: of intervals.

    Returns:
        `n`, `unit`, `mae`, `r` (Pearson), `adjusted_r2` and `adjusted_r`, its root, both with one
        predictor, and Bland-Altman's `bias`, `lower` and `upper` (said less true); figures that
        need more pictures are None in value, with the reason. Pictures of which either is unknown
        are left out.
    """
    known = np.isfinite(said) & np.isfinite(true)
    said, true = np.asarray(said, float)[known], np.asarray(true, float)[known]
    result: dict[str, Any] = {"n": len(said), "unit": unit, "mae": None}
    if len(said):
        result["mae"] = float(np.abs(said - true).mean())
    if len(said) < 3:
        gone = asdict(missing("t", "Agreement needs three pictures."))
        names = ("r", "bias", "lower", "upper")
        return {**result, **dict.fromkeys(names, gone), "adjusted_r2": None, "adjusted_r": None}
    found, limits = correlation(said, true, confidence), bland_altman(said, true, confidence)
    adjusted = None if found.value is None else adjusted_r2(found.value, len(said), 1)
    return {
        **result,
        "r": asdict(found),
        "adjusted_r2": adjusted,
        # Below 0 a squared correlation has no root: nothing is left of it.
        "adjusted_r": None if adjusted is None else float(np.sqrt(max(adjusted, 0.0))),
        **{name: asdict(getattr(limits, name)) for name in ("bias", "lower", "upper")},
    }


def counted_figures(
    table: pd.DataFrame, classes: Sequence[str], settings: EvaluationSettings
) -> dict[str, Any]:
    """Counts of each class, of all, and the share, beside those of people.

    Args:
        table: of pictures: `n <class>`, `true n <class>`, `share` and `true share` in percent.
        classes: all there are.
        settings: confidence.
    """
    confidence = settings.confidence
    said = table[[f"n {name}" for name in classes]].to_numpy(float)
    true = table[[f"true n {name}" for name in classes]].to_numpy(float)
    counts: Mapping[str, tuple[np.ndarray, np.ndarray]] = {
        **{name: (said[:, k], true[:, k]) for k, name in enumerate(classes)},
        "all": (said.sum(axis=1), true.sum(axis=1)),
    }
    shares = (table["share"].to_numpy(float), table["true share"].to_numpy(float))
    return {
        "counts": {k: agreement_figures(*v, "boxes", confidence) for k, v in counts.items()},
        "share": {
            **agreement_figures(*shares, "%", confidence),
            "said": shares[0].tolist(),
            "true": shares[1].tolist(),
        },
    }
