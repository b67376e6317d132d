"""Figures of what was found and counted, against values derived by hand and by another library."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr

from msk_jax.evaluation.settings import EvaluationSettings
from msk_jax.evaluation.studies.detections import (
    agreement_figures,
    counted_figures,
    precision_figures,
)
from msk_jax.methods.procedures import Counts

SETTINGS = EvaluationSettings(bootstrap_samples=200)
CLASSES = ("full", "empty")
CORNERS = ["x0", "y0", "x1", "y1"]


def boxes(rows):
    """Boxes of ten pixels from (picture, class, x, score)."""
    return pd.DataFrame(
        [(unit, name, score, x, 0.0, x + 10.0, 10.0) for unit, name, x, score in rows],
        columns=["unit_id", "class", "score", *CORNERS],
    )


PICTURES = pd.DataFrame({"unit_id": ["a/1", "a/2", "b/1"], "patient_id": ["a", "a", "b"]})
TRUE = boxes([("a/1", "full", 0, 1), ("a/1", "empty", 50, 1), ("b/1", "full", 0, 1)])


def test_precision_of_what_is_right_and_of_what_is_half_right():
    perfect = precision_figures(PICTURES, TRUE, TRUE, CLASSES, 0.5, SETTINGS)
    assert perfect["mean"]["value"] == 1 and (perfect["n"], perfect["patients"]) == (3, 2)
    assert {name: part["boxes"] for name, part in perfect["of_class"].items()} == {
        "full": 2,
        "empty": 1,
    }
    # The surest box of `full` is wrong: precision 1/2 at both recalls up to 1, then 2/3.
    said = boxes([("a/2", "full", 0, 0.9), ("a/1", "full", 1, 0.8), ("b/1", "full", 0, 0.7)])
    found = precision_figures(PICTURES, TRUE, said, CLASSES, 0.5, SETTINGS)
    assert found["of_class"]["full"]["value"] == pytest.approx(2 / 3)
    assert found["of_class"]["empty"]["value"] == 0
    assert found["mean"]["value"] == pytest.approx(1 / 3)
    # At an overlap of 0.9 the shifted box (9 of 11 pixels) hits no more.
    strict = precision_figures(PICTURES, TRUE, said, CLASSES, 0.9, SETTINGS)
    assert strict["of_class"]["full"]["value"] == pytest.approx(51 / 101 / 3)


def test_whole_patients_are_drawn():
    """All of one patient is right and nothing of the other: samples give 0, 1 or between."""
    pictures = pd.DataFrame(
        {"unit_id": [f"{p}/{k}" for p in "ab" for k in range(20)], "patient_id": ["a", "b"] * 20}
    ).assign(patient_id=["a"] * 20 + ["b"] * 20)
    true = boxes([(unit, "full", 0, 1) for unit in pictures["unit_id"]])
    said = true[true["unit_id"].str.startswith("a")]
    found = precision_figures(pictures, true, said, ("full",), 0.5, SETTINGS)["mean"]
    assert found["value"] == pytest.approx(51 / 101)
    assert (found["low"], found["high"]) == (0, 1)


def test_agreement_is_scipys_and_by_hand():
    said, true = np.array([1.0, 2, 4, 8, 3]), np.array([1.0, 3, 4, 6, np.nan])
    found = agreement_figures(said, true, "%", 0.95)
    r = pearsonr(said[:4], true[:4]).statistic
    assert found["n"] == 4 and found["mae"] == 0.75
    assert found["r"]["value"] == pytest.approx(r)
    assert found["adjusted_r2"] == pytest.approx(1 - (1 - r**2) * 3 / 2)
    assert found["adjusted_r"] == pytest.approx(np.sqrt(1 - (1 - r**2) * 3 / 2))
    assert found["bias"]["value"] == pytest.approx(0.25)  # 0, -1, 0, 2
    few = agreement_figures(said[:2], true[:2], "%", 0.95)
    assert few["r"]["value"] is None and "three pictures" in few["r"]["why"] and few["mae"] == 0.5
    assert agreement_figures(said[:0], true[:0], "%", 0.95)["mae"] is None


def test_counts_and_shares():
    counts = Counts(("empty",), score=0.5)
    labels, scores = ["full", "empty", "empty", "full"], np.array([0.9, 0.5, 0.49, 0.7])
    assert counts.counts(labels, scores, CLASSES).tolist() == [2, 1]
    shares = counts.share(np.array([[2, 1], [0, 0], [0, 3]]), CLASSES)
    np.testing.assert_allclose(shares, [100 / 3, np.nan, 100])
    table = pd.DataFrame(
        {
            "n full": [3, 1, 2, 5],
            "true n full": [3, 2, 2, 5],
            "n empty": [1, 1, 0, 5],
            "true n empty": [1, 1, 1, 5],
            "share": [25.0, 50, 0, 50],
            "true share": [25.0, 100 / 3, 100 / 3, 50],
        }
    )
    found = counted_figures(table, CLASSES, SETTINGS)
    assert found["counts"]["full"]["mae"] == 0.25 and found["counts"]["all"]["mae"] == 0.5
    assert found["share"]["mae"] == pytest.approx((50 / 3 + 100 / 3) / 4)
