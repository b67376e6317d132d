"""Readers without and with help: every figure beside the function it comes from, or by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar as their_mcnemar
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

from msk_jax.errors import UserError
from msk_jax.evaluation.mrmc.aided import aided_study, majority
from msk_jax.evaluation.mrmc.readers import simulate_readers

COUNT = 60


@pytest.fixture(scope="module")
def study():
    rng = np.random.default_rng(0)
    truth = np.arange(COUNT) % 2
    scores = 1 / (1 + np.exp(-(3 * (truth - 0.5) + rng.standard_normal(COUNT))))
    cases = [f"P{k}" for k in range(COUNT)]
    table = simulate_readers(cases, truth, scores, seed=2)
    truth, scores = dict(zip(cases, truth, strict=True)), dict(zip(cases, scores, strict=True))
    return table, truth, scores, aided_study(table, truth, scores, 0.4, samples=50)


def _calls(table, group, modality):
    """[cases, readers] in the order of the cases."""
    rows = table[(table.group == group) & (table.modality == modality)]
    wide = rows.pivot(index="case", columns="reader", values="rating")
    return wide.loc[[f"P{k}" for k in range(COUNT)]].to_numpy() >= 50


def test_majority_by_hand():
    """Three of four; even calls, by the mean rating; nobody."""
    ratings = np.array([[60, 90, 10], [70, 60, 20], [80, 40, 30], [10, 45, 40]])
    assert majority(ratings).tolist() == [True, True, False]
    ratings[1, 1] = 51
    ratings[0, 1] = 52  # two of four, mean 47
    assert majority(ratings).tolist() == [True, False, False]


def test_network_and_majorities_are_those_of_statsmodels_and_scikit_learn(study):
    table, truth, scores, found = study
    label = np.array(list(truth.values())).astype(bool)
    shown = np.array(list(scores.values()))
    assert found["network"]["auc"]["value"] == pytest.approx(roc_auc_score(label, shown))
    network = (shown >= 0.4) == label
    assert found["network"]["accuracy"]["successes"] == network.sum()
    # Five readers: there is no tie.
    for modality in ("unaided", "aided"):
        right = (_calls(table, "senior", modality).mean(axis=1) > 0.5) == label
        entry = found["majorities"]["senior"]
        assert entry[modality]["successes"] == right.sum() and entry["readers"] == 5
        both = pd.crosstab(network, right).reindex([True, False], axis=0, fill_value=0)
        both = both.reindex([True, False], axis=1, fill_value=0)
        expected = their_mcnemar(both.to_numpy(), exact=True).pvalue
        assert entry[f"network_{modality}"]["p_exact"] == pytest.approx(expected, abs=1e-12)


def test_kappa_is_that_of_statsmodels_and_times_are_medians(study):
    table, _, _, found = study
    for group in ("junior", "middle", "senior"):
        for modality in ("unaided", "aided"):
            counts, _ = aggregate_raters(_calls(table, group, modality).astype(int))
            kappa = found["kappa"][group][modality]["value"]
            assert kappa == pytest.approx(fleiss_kappa(counts), abs=1e-12)
            rows = table[(table.group == group) & (table.modality == modality)]
            assert found["reading_time"][group][modality] == np.median(rows.reading_time)
    assert list(found["majorities"]) == ["junior", "middle", "senior", "all"]
    assert found["analysis"]["n"] == {
        "readers": 16,
        "cases": COUNT,
        "positives": COUNT // 2,
        "negatives": COUNT // 2,
    }


def test_real_tables_may_be_incomplete_and_have_no_times(study):
    table, truth, scores, _ = study
    less = table.drop(index=table.index[0]).drop(columns="reading_time")
    found = aided_study(less, truth, scores, 0.5, samples=50)
    assert found["reading_time"] is None and not found["majorities"] and not found["kappa"]
    assert "every reader to have read every case" in found["why"]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.replace({"modality": {"aided": "with AI"}}), "unaided and aided are needed"),
        (lambda t: t.replace({"case": {"P3": "Q3"}}), r"1 case\(s\) that are no patients .*Q3"),
        (lambda t: t.assign(truth=1 - t["truth"]), "another truth than the cohort has"),
    ],
)
def test_refuses(study, change, message):
    table, truth, scores, _ = study
    with pytest.raises(UserError, match=message):
        aided_study(change(table), truth, scores, 0.5)
