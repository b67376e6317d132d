"""The table after fixation: its variables, its law, what an oracle ranks, the files."""

import csv
import json
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from sklearn.metrics import roc_auc_score

from msk_jax.errors import UserError
from msk_jax.phantoms import FixationPhantom, write_cohort
from msk_jax.phantoms.fixation import checks
from msk_jax.phantoms.fixation.cohort import EFFECTS, draw_cohort, intercept, manifest_rows
from msk_jax.phantoms.fixation.laws import HOSPITALS, LAWS
from msk_jax.phantoms.fixation.variables import NUMBERS, VARIABLES, WORDS

PLANTED = {"garden", "age", "reduction", "hours_to_surgery", "screw_deviation"}


@pytest.fixture(scope="module")
def large():
    return draw_cohort(FixationPhantom(patients=20_000))


@pytest.fixture(scope="module")
def table(large) -> pd.DataFrame:
    return pd.DataFrame(large.columns)


def test_43_variables_of_three_phases_each_with_a_law():
    assert len(VARIABLES) == 43 == len({v.name for v in VARIABLES})
    assert {v.phase for v in VARIABLES} == {"before", "during", "after"}
    assert list(LAWS) == [v.name for v in VARIABLES]
    assert len(NUMBERS) + len(WORDS) == 43
    assert NUMBERS["age"] == ("years", 18, 100) and WORDS["garden"] == ("I", "II", "III", "IV")
    assert {effect.variable for effect in EFFECTS} == PLANTED == set(checks.PLANTED)
    assert {e.setting for e in EFFECTS} <= {field.name for field in fields(FixationPhantom)}
    for variable in VARIABLES:
        assert bool(variable.words) != (variable.low is not None)
        if variable.words:
            assert len(LAWS[variable.name].shares) == len(variable.words)
            assert sum(LAWS[variable.name].shares) == pytest.approx(1)


def test_values_keep_their_ranges_and_marginals(large, table):
    for variable in VARIABLES:
        values = table[variable.name]
        if variable.words:
            assert set(values) == set(range(len(variable.words))), variable.name
        else:
            assert values.between(variable.low, variable.high).all(), variable.name
    local = table[np.array(large.site) == "A"]  # 8,157 patients
    se = np.sqrt(0.25 / len(local))
    assert (local.garden >= 2).mean() == pytest.approx(0.52, abs=3 * se)
    assert (local.reduction == 2).mean() == pytest.approx(0.38, abs=3 * se)
    assert (local.infection == 1).mean() == pytest.approx(0.02, abs=0.005)
    assert local.age.mean() == pytest.approx(54, abs=3 * 14 / np.sqrt(len(local)))
    assert local.age.std() == pytest.approx(14, abs=0.4)
    assert local.hours_to_surgery.median() == pytest.approx(50, abs=1)
    assert local.follow_up.min() == 30  # followed for more than two and a half years
    for effect in EFFECTS:
        values = effect.values(local)
        assert np.mean(values) == pytest.approx(effect.middle, rel=0.04)
        assert np.std(values) == pytest.approx(effect.deviation, rel=0.04)


def test_no_other_variable_goes_closely_with_a_planted_one(table):
    together = table.corr().loc[list(PLANTED)].abs()
    assert (together.drop(columns=list(PLANTED)) < 0.4).all(axis=None)
    among = together[list(PLANTED)].to_numpy().copy()
    assert np.sort(among.ravel())[:-5].max() < 0.12
    assert table.garden.corr(table.displacement) > 0.2  # and yet they are linked


def test_sites_differ_in_who_is_there_not_in_the_law(large, table):
    site = np.array(large.site)
    ages, female = table.age.groupby(site).mean(), (table.sex == 0).groupby(site).mean()
    assert ages["B"] - ages["A"] == pytest.approx(0.35 * 14, abs=1)
    assert ages["C"] - ages["A"] == pytest.approx(-0.3 * 14, abs=1)
    assert female["B"] > female["A"] + 0.08 and female["D"] < female["A"] - 0.1
    for name in "ABCD":
        rows = site == name
        fit = sm.Logit(large.ill[rows], sm.add_constant(large.log_odds[rows])).fit(disp=0)
        np.testing.assert_array_less(np.abs(fit.params - (0, 1)), 3.5 * fit.bse)
    published = draw_cohort(FixationPhantom())
    counts = pd.Series(published.site).value_counts()
    assert counts["A"] == 259 and counts.drop("A").sum() == 376


def test_effects_are_those_of_the_settings(large, table):
    """A logistic regression on all 43 gives the log odds back, and no more."""
    config = FixationPhantom()
    design = pd.DataFrame({e.setting: e.values(table) - e.middle for e in EFFECTS})
    others = table.drop(columns=list(PLANTED))
    others = (others - others.mean()) / others.std()
    x = sm.add_constant(pd.concat([design, others], axis=1))
    fit = sm.Logit(large.ill.astype(float), x).fit(disp=0)
    for effect in EFFECTS:
        value = getattr(config, effect.setting)
        assert abs(fit.params[effect.setting] - value) < 3 * fit.bse[effect.setting]
        assert value > 20 * fit.bse[effect.setting]
    assert abs(fit.params["const"] - intercept(config)) < 3 * fit.bse["const"]
    z = fit.tvalues[list(others)]
    assert (z.abs() < 3.7).all()  # 38 of them: a false alarm once in 120 seeds
    assert z.std() == pytest.approx(1, abs=0.35)


@pytest.mark.parametrize("severity", [0.0, 0.5, 1.0])
def test_share_of_necrosis_is_the_stated_one(severity):
    cohort = draw_cohort(FixationPhantom(patients=6000, severity=severity, positive_fraction=0.3))
    local = cohort.ill[np.array(cohort.site) == "A"]
    assert local.mean() == pytest.approx(0.3, abs=0.02 + 2 * np.sqrt(0.21 / len(local)))


def test_labels_mean_nothing_at_severity_0_and_noise_turns_them(large):
    faded = draw_cohort(FixationPhantom(patients=20_000, severity=0.0))
    assert np.ptp(faded.log_odds) == 0
    auc = roc_auc_score(faded.labels, large.log_odds)  # the risk as it was
    assert auc == pytest.approx(0.5, abs=3 * np.sqrt(1 / (12 * 20_000 * 0.38 * 0.62)))
    assert roc_auc_score(faded.labels, faded.image_score) == pytest.approx(0.5, abs=0.015)
    assert roc_auc_score(large.labels, large.log_odds) == pytest.approx(0.95, abs=0.01)
    assert roc_auc_score(large.labels, large.image_score) == pytest.approx(0.80, abs=0.01)
    noisy = draw_cohort(FixationPhantom(patients=3000, label_noise=0.2))
    assert (noisy.labels != noisy.ill).mean() == pytest.approx(0.2, abs=0.025)
    assert (noisy.ill == large.ill[:3000]).all()


def test_empty_cells_come_in_the_stated_share_and_say_nothing(large):
    empty = pd.DataFrame(large.empty)
    required = [v.name for v in VARIABLES if not v.optional]
    assert not empty[required].any(axis=None) and {"age", "sex", "garden"} <= set(required)
    shares = empty.drop(columns=required).mean()
    np.testing.assert_allclose(shares, 0.03, atol=4.5 * np.sqrt(0.03 * 0.97 / 20_000))
    counts = empty.sum(axis=1)  # cells are empty one by one: a binomial's variance
    assert counts.var() == pytest.approx((43 - len(required)) * 0.03 * 0.97, rel=0.05)
    assert roc_auc_score(large.labels, counts) == pytest.approx(0.5, abs=0.015)


def test_a_ranking_adds_up_the_columns_of_a_variable():
    contributions = np.array([[1.0, -1, 0.8], [-1, 1, -0.8]])
    assert checks.ranked(contributions, ["words", "words", "number"]) == ["number", "words"]
    assert checks.ranked(contributions, ["a", "b", "b"])[0] == "a"


def test_encoded_words_are_places_or_columns_and_empty_cells_nan():
    cohort = draw_cohort(FixationPhantom(patients=40, missing=0.5))
    columns, owners = checks.encoded(cohort)
    assert owners.count("implant") == 3 and owners.count("garden") == 1 and len(set(owners)) == 43
    assert set(columns["garden"]) == {0, 1, 2, 3}
    assert set(checks.encoded(cohort, known_form=True)[0]["garden"]) == {0, 1}
    assert columns["bmi"].isna().to_numpy().tolist() == cohort.empty["bmi"].tolist()


def test_oracle_ranks_the_planted_variables_first_and_not_at_the_sizes_of_p9():
    """The figures of 100 seeds are in the slow test."""
    config = FixationPhantom()
    assert checks.oracle_recovery(config, 8) >= 7 / 8
    begun = replace(
        config, garden_effect=0.8, age_effect=0.03, reduction_effect=0.5, delay_effect=0.02
    )
    assert checks.oracle_recovery(begun, 8) <= 5 / 8
    assert checks.oracle_recovery(replace(config, severity=0.0), 3) == 0


@pytest.mark.slow
def test_oracle_succeeds_in_95_of_100_seeds():
    assert checks.oracle_recovery(FixationPhantom(), 100) >= 0.95


@pytest.mark.slow
def test_boosted_trees_recover_the_planted_variables():
    pytest.importorskip("xgboost")
    figures = checks.measure(FixationPhantom(), cohorts=10)
    assert figures["boosted_recovered"] >= 0.9
    assert 0.8 < figures["boosted_auc"] < figures["true_risk_auc"] < 0.97


def test_written_cohort_is_a_table_alone(tmp_path):
    config = FixationPhantom(patients=30, seed=4, missing=0.1, image_score=True)
    manifest = write_cohort(tmp_path / "new", config)
    written = {path.name for path in (tmp_path / "new").iterdir()}
    assert written == {"manifest.csv", "parameters.csv", "phantom.json", "pseudonym.key"}
    assert json.loads((tmp_path / "new" / "phantom.json").read_text())["garden_effect"] == 3.4
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [v.name for v in VARIABLES]
    assert list(rows[0]) == ["patient_id", "label", "site", *names, "image_score"]
    assert len(rows) == 30 and {row["label"] for row in rows} == {"none", "necrosis"}
    assert {row["site"] for row in rows} == {h.name for h in HOSPITALS}
    for row in rows:
        for variable in VARIABLES:
            cell = row[variable.name]
            if not cell:
                assert variable.optional
            elif variable.words:
                assert cell in variable.words
            else:
                assert variable.low <= float(cell) <= variable.high
    assert any(not row["bmi"] for row in rows)
    truth = pd.read_csv(tmp_path / "new" / "parameters.csv")
    parts = truth.filter(like="part_")
    assert set(parts) == {f"part_{name}" for name in PLANTED}
    np.testing.assert_allclose(truth.log_odds, intercept(config) + parts.sum(axis=1), atol=4e-4)
    assert ((truth.true_label == 1) == [row["label"] == "necrosis" for row in rows]).all()


def test_patients_are_the_same_in_cohorts_of_any_size(large):
    config = FixationPhantom(patients=700)
    rows = manifest_rows(config, large)
    assert rows[:700] == manifest_rows(config, draw_cohort(config))
    for number in (0, 1, 513, 699):
        one, _ = config.write_patient(None, number)
        assert one == [rows[number]]
    assert rows[0] != manifest_rows(config, draw_cohort(replace(config, seed=1), [0]))[0]
    assert "image_score" not in rows[0] and "image_score" not in config.manifest_columns


def test_settings_that_cannot_be_used_are_refused():
    with pytest.raises(UserError, match="--missing"):
        FixationPhantom(missing=1.0).check()
    with pytest.raises(UserError, match="--positive-fraction"):
        FixationPhantom(positive_fraction=0).check()
    FixationPhantom().check()
