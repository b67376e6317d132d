"""Where the rows of a table stand says nothing: every figure and every interval stays."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from msk_jax.evaluation.detection import average_precision, froc, match_boxes, mean_over_classes
from msk_jax.evaluation.studies.class_model import evaluate_class_model
from msk_jax.evaluation.studies.model_study import ModelSettings, evaluate_model
from msk_jax.evaluation.survival import harrell_c, time_auc, uno_c
from msk_jax.evaluation.tables.case_table import match_cases, read_cases, read_class_cases

SETTINGS = ModelSettings(bootstrap_samples=30, gate="staging")


@pytest.fixture
def table():
    """Cases of coarse probabilities, most of which are there several times."""
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, 80)
    return pd.DataFrame(
        {
            "label": labels,
            "prob": (rng.integers(0, 6, 80) + 3 * labels) / 10,
            "other": rng.integers(0, 10, 80) / 10,
            "sex": np.array(["F", "M", "NA", ""])[rng.integers(0, 4, 80)],
            "age": rng.integers(20, 90, 80),
        }
    )


def _judged(table: pd.DataFrame, folder) -> dict:
    """All that `evaluate --predictions` says, of files that are written as given."""
    names = [name for name in ("case", "patient_id") if name in table]
    sets = {"first": table.drop(columns="other")}
    sets["second"] = table[[*names, "label"]].assign(prob=table["other"])
    sets["validation"] = sets["first"].assign(
        **{name: "v" + table[name].astype(str) for name in names}, prob=1 - table["prob"] / 2
    )
    for name, rows in sets.items():
        rows.to_csv(folder / f"{name}.csv", index=False)
    first, second, validation = (read_cases(folder / f"{name}.csv") for name in sets)
    if not names:  # rows are numbered, so no validation table is of other patients
        validation = None
    return evaluate_model(
        first, SETTINGS, other=second, validation=validation, by=("sex", "age"), decisions=True
    )


@pytest.mark.parametrize("named", ["not", "cases", "patients"])
def test_a_shuffled_table_is_judged_alike(table, tmp_path, named):
    if named != "not":
        table["case"] = [f"c{k}" for k in range(80)]
    if named == "patients":
        table["patient_id"] = [f"p{k // 3}" for k in range(80)]
    first = _judged(table, tmp_path)
    for seed in (0, 1):
        assert _judged(table.sample(frac=1, random_state=seed), tmp_path) == first
    average = average_precision_score(table["label"], table["prob"])
    assert first["precision_recall"]["average_precision"] == pytest.approx(average, abs=1e-12)


def test_a_shuffled_table_of_classes_is_judged_alike(table, tmp_path):
    shares = np.random.default_rng(6).integers(1, 4, (80, 3))
    table[["prob_a", "prob_b", "prob_c"]] = shares / shares.sum(axis=1, keepdims=True)
    table["label"] = np.array(["a", "b", "c"])[np.arange(80) % 3]
    table = table.drop(columns=["prob", "other"])
    judged = []
    for seed in (None, 0, 1):
        rows = table if seed is None else table.sample(frac=1, random_state=seed)
        rows.to_csv(tmp_path / "t.csv", index=False)
        cases = read_class_cases(tmp_path / "t.csv")
        judged.append(evaluate_class_model(cases, ("a", "b", "c"), SETTINGS, ("sex",)))
    assert judged[0] == judged[1] == judged[2]


def test_cases_are_matched_by_name_whatever_their_order(table):
    table = table.assign(case=[f"c{k}" for k in range(80)])
    first, second = table.drop(columns="other"), table.assign(prob=table["other"])
    mixed = second.sample(frac=1, random_state=0)
    assert match_cases(first, mixed, "second").tolist() == table["other"].tolist()


def test_groups_without_a_name_are_no_group_of_the_fairness(table):
    cases = table.assign(case="c", patient_id=[str(k) for k in range(80)])
    fairness = evaluate_model(cases, SETTINGS, by=("sex",))["fairness"]["sex"]
    named = cases[cases["sex"].isin(["F", "M"])]
    assert fairness == evaluate_model(named, SETTINGS, by=("sex",))["fairness"]["sex"]


def _crowd(rng, images=12):
    """Boxes on a coarse grid with coarse scores: equal scores, equal overlaps, equal boxes."""
    corners = [rng.integers(0, 3, (rng.integers(1, 6), 2)) * 4.0 for _ in range(images)]
    boxes = [np.c_[low, low + rng.integers(1, 3, low.shape) * 4] for low in corners]
    truths = [box[rng.random(len(box)) < 0.6] + 1 for box in boxes]
    return boxes, [rng.integers(0, 3, len(box)) / 2 for box in boxes], truths


def test_detections_of_one_score_are_one_point():
    rng = np.random.default_rng(0)
    for _ in range(30):
        boxes, scores, truths = _crowd(rng)
        matched = match_boxes(boxes, scores, truths, 0.3)
        precision = average_precision(matched, samples=2).value
        points = froc(matched, samples=2)
        images = rng.permutation(len(boxes))
        inside = [rng.permutation(len(boxes[k])) for k in images]
        mixed = match_boxes(
            [boxes[k][o] for k, o in zip(images, inside, strict=True)],
            [scores[k][o] for k, o in zip(images, inside, strict=True)],
            [truths[k][rng.permutation(len(truths[k]))] for k in images],
            0.3,
        )
        assert average_precision(mixed, samples=2).value == precision
        other = froc(mixed, samples=2)
        assert other.score.value == points.score.value
        np.testing.assert_array_equal(other.sensitivity, points.sensitivity)
        of_class = mean_over_classes({"a": [mixed]}, samples=2).classes["a"].value
        assert of_class == pytest.approx(precision)


def test_average_precision_of_equal_scores_by_hand():
    # Two findings; of three detections of one score one hits. Precision 1/3 up to recall 1/2.
    truths = [np.array([[0, 0, 1, 1]]), np.array([[0, 0, 1, 1]]), np.zeros((0, 4))]
    hit, miss = np.array([[0.0, 0, 1, 1]]), np.array([[5.0, 5, 6, 6]])
    for found in ([hit, miss, miss], [miss, hit, miss]):
        matched = match_boxes(found, [[0.5]] * 3, truths)
        assert average_precision(matched, samples=2).value == pytest.approx(51 / 101 / 3)


def test_of_equal_scores_the_larger_overlap_takes_the_finding():
    # The first box overlaps both findings, the second one only: both may hit, in either order.
    truths = [np.array([[0.0, 0, 10, 10], [10, 0, 20, 10]])]
    wide, narrow = [2.0, 0, 17, 10], [0.0, 0, 10, 9]
    for boxes in ([wide, narrow], [narrow, wide]):
        matched = match_boxes([np.array(boxes)], [[0.5, 0.5]], truths, 0.3)
        assert matched.hits.all()


def test_of_equal_overlaps_the_finding_of_the_lower_corner_is_taken():
    one, other = [0.0, 0, 10, 10], [10.0, 0, 20, 10]
    for truths in ([one, other], [other, one]):
        boxes = [np.array([[5.0, 0, 15, 10], [0, 0, 9, 10]])]
        matched = match_boxes(boxes, [[0.9, 0.5]], [np.array(truths)], 0.3)
        assert matched.hits.tolist() == [True, False]


def test_concordance_counts_equal_risks_as_half_in_any_order():
    rng = np.random.default_rng(1)
    times, events = rng.integers(1, 9, 40).astype(float), rng.integers(0, 2, 40)
    risks = rng.integers(0, 4, 40) / 4
    order = rng.permutation(40)
    for figure, *rest in ((harrell_c,), (uno_c, 6.0), (time_auc, 4.0)):
        first = figure(times, events, risks, *rest, samples=2).value
        mixed = figure(times[order], events[order], risks[order], *rest, samples=2).value
        assert mixed == pytest.approx(first, abs=1e-12)
    # What rounding leaves between two equal risks does not count, and never for more than a win.
    near = risks + 1e-12 * rng.random(40)
    assert uno_c(times, events, near, 6.0, samples=2).value == pytest.approx(
        uno_c(times, events, risks, 6.0, samples=2).value, abs=1e-12
    )
