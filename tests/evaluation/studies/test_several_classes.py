"""A study of three classes, counted by hand and by scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, roc_auc_score

from msk_jax.errors import UserError
from msk_jax.evaluation.settings import EvaluationSettings
from msk_jax.evaluation.studies.classes import evaluate_classes
from msk_jax.evaluation.tables.predictions import (
    check_predictions,
    pool,
    probability_cells,
    read_predictions,
    write_predictions,
)

CLASSES = ("normal", "compression", "burst")
LEVELS = ("image", "vertebra", "patient")
FAST = EvaluationSettings(bootstrap_samples=60, patient_pool="mean")
PROBS = [f"prob_{name}" for name in CLASSES]


def _table(patients, seed, fold=None, sure=2.0):
    """Three images of one vertebra of each patient."""
    rng = np.random.default_rng(seed)
    rows, labels = [], {}
    for number in patients:
        label = number % 3
        labels[f"p{number}/L1"] = labels[f"p{number}"] = label
        for k in range(3):
            logits = rng.normal(0, 1, 3) + sure * np.eye(3)[label]
            probs = np.exp(logits) / np.exp(logits).sum()
            rows.append(
                {
                    "patient_id": f"p{number}",
                    "unit_id": f"p{number}/L1/sagittal{k}",
                    "level": "image",
                    "fold": number // 3 % 3 if fold is None else fold,
                    "label": label,
                    **{name: v[0] for name, v in probability_cells(CLASSES, probs[None]).items()},
                }
            )
    return pool(pd.DataFrame(rows), labels, labels, patient="mean", levels=LEVELS)


@pytest.fixture(scope="module")
def study():
    test = _table(range(36), 0)
    validation = test.assign(fold=(test["fold"] + 1) % 3)
    training = test.assign(fold=(test["fold"] + 2) % 3)
    held_out = _table(range(100, 112), 1, fold=-1, sure=4.0)
    return test, validation, training, {"held-out": held_out}


def test_figures_of_three_classes(study):
    metrics = evaluate_classes(*study, FAST, CLASSES, LEVELS)
    assert metrics["folds"] == [0, 1, 2] and metrics["classes"] == list(CLASSES)
    for table, part in (
        (study[0], lambda level: metrics["levels"][level]),
        (study[3]["held-out"], lambda level: metrics["levels"][level]["test_sets"]["held-out"]),
    ):
        for level, count in (("image", 3), ("vertebra", 1), ("patient", 1)):
            rows, figures = table[table["level"] == level], part(level)
            truth, probs = rows["label"].to_numpy(), rows[PROBS].to_numpy()
            called = probs.argmax(axis=1)
            assert figures["n"] == len(truth) == count * figures["patients"]
            assert np.sum(figures["confusion"]) == len(truth)
            # The same sums in another order: the last digits may differ.
            assert figures["accuracy"]["value"] == pytest.approx(accuracy_score(truth, called))
            assert figures["kappa"]["value"] == pytest.approx(cohen_kappa_score(truth, called))
            assert figures["macro_f1"]["value"] == pytest.approx(
                f1_score(truth, called, average="macro")
            )
            assert figures["macro_auc"]["value"] == pytest.approx(
                roc_auc_score(truth, probs, multi_class="ovr")
            )
            assert list(figures["of_class"]) == list(CLASSES)
    level = metrics["levels"]["image"]
    assert level["kappa"]["low"] < level["kappa"]["value"] < level["kappa"]["high"]
    assert level["train_accuracy"]["value"] == level["accuracy"]["value"], "the same rows"


def test_pooled_probabilities_sum_to_one():
    images = _table(range(6), 3).query("level == 'image'")
    labels = {**{f"p{k}/L1": k % 3 for k in range(6)}, **{f"p{k}": k % 3 for k in range(6)}}
    for how in ("mean", "max", "median"):
        table = pool(images, labels, labels, unit=how, levels=LEVELS)
        np.testing.assert_allclose(table[PROBS].sum(axis=1), 1, atol=1e-12)
    unit = table[table["unit_id"] == "p0/L1"][PROBS].to_numpy()[0]
    middle = np.median(images[images["patient_id"] == "p0"][PROBS].to_numpy(), axis=0)
    np.testing.assert_allclose(unit, middle / middle.sum(), rtol=1e-12)


def test_tables_go_to_the_disk_and_back(study, tmp_path):
    path = write_predictions(study[0], tmp_path / "p.csv")
    pd.testing.assert_frame_equal(read_predictions(path, levels=LEVELS), study[0])
    with pytest.raises(UserError, match="is none of slice, joint, patient"):
        read_predictions(path)


def test_faulty_tables(study):
    table = study[0]
    for change, message in (
        ({"label": 3}, r"label is no class \(0 to 2\)"),
        ({"prob_burst": 0.9}, "does not sum to 1 with the others"),
        ({"prob_burst": -0.1}, "prob_burst is no number from 0 to 1"),
    ):
        with pytest.raises(UserError, match=message):
            check_predictions(table.assign(**change), "T", levels=LEVELS)
    leaking = study[1].assign(fold=study[0]["fold"])
    with pytest.raises(UserError, match="the folds overlap"):
        evaluate_classes(table, leaking, study[2], {}, FAST, CLASSES, LEVELS)
