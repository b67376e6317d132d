"""A study of two classes and one of three go the same way: what differs is which figures apply."""

import json

import numpy as np
import pandas as pd
import pytest

from msk_jax.errors import UserError
from msk_jax.evaluation.settings import EvaluationSettings
from msk_jax.evaluation.studies import kinds
from msk_jax.evaluation.studies.classes import evaluate_classes
from msk_jax.evaluation.tables.predictions import probability_cells

LEVELS = ("image", "unit", "patient")
FAST = EvaluationSettings(bootstrap_samples=20)
TWO, THREE = ("normal", "broken"), ("normal", "broken", "burst")
COUNTS = pytest.mark.parametrize("classes", [TWO, THREE], ids=["two", "three"])


def _study(classes):
    """Twelve patients of three folds, and six of a test set, of all classes."""
    rng = np.random.default_rng(3)

    def table(names, fold):
        labels = np.arange(len(names)) % len(classes)
        logits = rng.normal(0, 1, (len(names), len(classes))) + 2 * np.eye(len(classes))[labels]
        probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        cells = probability_cells(classes, probs)
        keys = {"patient_id": names, "unit_id": names, "fold": fold, "label": labels}
        parts = [
            pd.DataFrame({**keys, "unit_id": [f"{n}/{k}" for n in names], "level": level, **cells})
            for k, level in enumerate(LEVELS)
        ]
        return pd.concat(parts, ignore_index=True)

    names, fold = [f"p{k}" for k in range(12)], np.arange(12) // 3 % 3
    test = table(names, fold)
    others = [test.assign(fold=(test["fold"] + step) % 3) for step in (1, 2)]
    return test, *others, {"held-out": table([f"q{k}" for k in range(6)], -1)}


@COUNTS
def test_every_level_has_the_figures_of_its_kind_in_every_set(classes):
    metrics = evaluate_classes(*_study(classes), FAST, classes, LEVELS)
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert list(metrics["levels"]) == list(LEVELS) and metrics["folds"] == [0, 1, 2]
    assert ("classes" in metrics) == (classes is THREE)
    for level in metrics["levels"].values():
        assert level["n"] == 12 and level["test_sets"]["held-out"]["n"] == 6
        assert ("thresholds" in level) == ("of_class" not in level) == (classes is TWO)
        for name in kinds.kind_of(classes).main:
            for part in (level, level["test_sets"]["held-out"]):
                assert part[name]["value"] is not None, name


def test_a_third_class_that_nobody_has_changes_no_call_of_the_others():
    """The calls of two classes at a threshold of 1/2 and of three, the last of which is nobody's
    and has no probability, are the same calls."""
    test, validation, training, tested = _study(TWO)
    three = [
        table.assign(prob_normal=1 - table["prob"], prob_broken=table["prob"], prob_burst=0.0).drop(
            columns="prob"
        )
        for table in (test, validation, training, tested["held-out"])
    ]
    metrics = evaluate_classes(*three[:3], {"held-out": three[3]}, FAST, THREE, LEVELS)
    two = evaluate_classes(test, validation, training, tested, FAST, TWO, LEVELS)
    for name, level in metrics["levels"].items():
        rows = test[test["level"] == name]
        called = rows["prob"] > 0.5
        table = [[(called[rows["label"] == k] == c).sum() for c in (0, 1)] for k in (0, 1)]
        assert level["confusion"] == [[*table[0], 0], [*table[1], 0], [0, 0, 0]]
        area = two["levels"][name]["auc"]["value"]
        assert level["of_class"]["broken"]["auc"]["value"] == pytest.approx(area)


@COUNTS
def test_faulty_tables_are_refused_whatever_the_classes(classes):
    test, validation, training, tested = _study(classes)
    rest = (FAST, classes, LEVELS)
    with pytest.raises(UserError, match="the folds overlap"):
        evaluate_classes(test, test, training, tested, *rest)
    with pytest.raises(UserError, match="The predictions of held-out"):
        evaluate_classes(test, validation, training, {"held-out": test.assign(label=7)}, *rest)
    with pytest.raises(UserError, match="The training predictions"):
        evaluate_classes(test, validation, training.assign(label=7), tested, *rest)


@COUNTS
def test_a_level_without_cases_counts_none(classes):
    test, validation, training, tested = (
        {k: t[t["level"] == "patient"] for k, t in table.items()}
        if isinstance(table, dict)
        else table[table["level"] == "patient"]
        for table in _study(classes)
    )
    metrics = evaluate_classes(test, validation, training, tested, FAST, classes, LEVELS)
    assert metrics["levels"]["image"]["n"] == 0
    assert metrics["levels"]["image"]["test_sets"]["held-out"]["n"] == 0
    assert metrics["levels"]["patient"]["n"] == 12


def test_an_order_adds_its_figures_to_three_classes_and_nothing_to_two():
    for classes, ordinal in ((TWO, True), (THREE, False), (THREE, True)):
        metrics = evaluate_classes(*_study(classes), FAST, classes, LEVELS, ordinal)
        level = metrics["levels"]["patient"]
        for part in (level, level["test_sets"]["held-out"]):
            assert ("ordinal" in part) == ("cuts" in part) == (ordinal and classes is THREE)
            if "ordinal" in part:
                assert set(kinds.IN_ORDER) <= set(part["ordinal"])
