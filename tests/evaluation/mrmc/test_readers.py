"""Simulated readers: the accuracy they were made for, and the table that the study reads."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import norm

from msk_jax.evaluation.mrmc.ratings import read_ratings
from msk_jax.evaluation.mrmc.readers import CALL, simulate_readers
from msk_jax.evaluation.mrmc.settings import MrmcSettings, ReaderGroup, ReaderModel
from msk_jax.evaluation.mrmc.study import analyse


def _cases(count: int, separation: float, seed: int = 1):
    """Truth and calibrated scores of a model whose d' is `separation`."""
    rng = np.random.default_rng(seed)
    truth = np.arange(count) % 2
    latent = separation * (truth - 0.5) + rng.standard_normal(count)
    return [f"P{n}" for n in range(count)], truth, 1 / (1 + np.exp(-separation * latent))


def _majority(table, group: str, modality: str) -> float:
    rows = table[(table.group == group) & (table.modality == modality)]
    calls = (rows.rating >= CALL).groupby(rows["case"]).mean() > 0.5
    return float((calls == rows.groupby("case").truth.first().astype(bool)).mean())


def test_majorities_are_as_accurate_as_published():
    """Published, of 116 patients: 72.4, 88.8 and 87.1 % unaided, juniors 91.4 % aided."""
    table = simulate_readers(*_cases(8000, 2 * norm.ppf(0.931)))
    for group, accuracy in (("junior", 0.724), ("middle", 0.888), ("senior", 0.871)):
        assert _majority(table, group, "unaided") == pytest.approx(accuracy, abs=0.03)
    assert _majority(table, "junior", "aided") == pytest.approx(0.914, abs=0.03)


def test_auc_of_one_reader_is_the_closed_form():
    """Phi(d' / sqrt(2 (1 + view^2))) for a reader whose separation is d'."""
    from sklearn.metrics import roc_auc_score

    model = ReaderModel(groups=(ReaderGroup("one", 1, 1.5, 1.0, 30.0, 0.0),))
    table = simulate_readers(*_cases(20000, 2.0), seed=3, model=model)
    rows = table[table.modality == "unaided"]
    expected = ndtr(1.5 / np.sqrt(2 * (1 + 0.5**2)))
    assert roc_auc_score(rows.truth, rows.rating) == pytest.approx(expected, abs=0.012)
    aided = table[table.modality == "aided"]  # of weight 1: the model is ignored
    np.testing.assert_array_equal(aided.rating, rows.rating)


def test_help_follows_the_model_and_saves_time():
    cases, truth, scores = _cases(400, 4.0)
    table, wrong = (
        simulate_readers(cases, truth, scores),
        simulate_readers(cases, truth, 1 - scores),
    )
    alone = table.modality == "unaided"
    np.testing.assert_array_equal(table.rating[alone], wrong.rating[alone])
    for group in ("junior", "middle", "senior"):
        accuracy = [_majority(t, group, "aided") for t in (table, wrong)]
        assert accuracy[0] > _majority(table, group, "unaided") > accuracy[1]
    medians = table.groupby(["group", "modality"]).reading_time.median()
    assert all(medians[g, "aided"] < medians[g, "unaided"] for g in ("junior", "middle", "senior"))
    assert medians["senior", "unaided"] < medians["junior", "unaided"]


def test_the_study_reads_it(tmp_path):
    table = simulate_readers(*_cases(116, 3.0), seed=5)
    table.to_csv(tmp_path / "ratings.csv", index=False)
    study = read_ratings(tmp_path / "ratings.csv")
    assert study.ratings.shape == (2, 16, 116) and np.isfinite(study.ratings).all()
    assert sorted(set(study.groups.values())) == ["junior", "middle", "senior"]
    result = analyse(study, MrmcSettings(covariance="delong"))
    assert set(result["groups"]) == {"junior", "middle", "senior"}
    assert result["overall"]["p"] < 0.05


def test_same_seed_same_table():
    cases = _cases(20, 2.0)
    first, again = simulate_readers(*cases, seed=9), simulate_readers(*cases, seed=9)
    assert first.equals(again) and not first.equals(simulate_readers(*cases, seed=10))
    calm = simulate_readers(*cases, model=replace(ReaderModel(), leaning=0, view=0))
    alone = calm[(calm.modality == "unaided") & (calm.group == "senior")]
    assert (alone.groupby("case").rating.nunique() == 1).all()


@pytest.mark.parametrize(
    ("cases", "truth", "scores"),
    [
        (["a", "a"], [0, 1], [0.1, 0.9]),
        (["a", "b"], [0], [0.1, 0.9]),
        (["a", "b"], [0, 2], [0.1, 0.9]),
        (["a", "b"], [0, 1], [0.1, 1.9]),
        (["a", "b"], [0, 1], [0.1, np.nan]),
    ],
)
def test_refuses(cases, truth, scores):
    with pytest.raises(ValueError, match="must be"):
        simulate_readers(cases, truth, scores)
