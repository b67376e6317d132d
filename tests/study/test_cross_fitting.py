"""Nobody leaks through a chain: estimators that know by heart whom they were fitted on."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.fields import Classes, Number
from msk_jax.errors import UserError
from msk_jax.evaluation.classes.roc import delong
from msk_jax.experiment import Experiment, Stage
from msk_jax.methods.estimator import Estimator, Logistic
from msk_jax.study import estimating
from msk_jax.study.answers import Answers, known, said_by, stage_rows
from msk_jax.study.estimating import Patients, fit_stage
from msk_jax.tasks.settings import Classification

FOLDS, COUNT, OUTSIDE = 4, 48, 16
LABEL = Classification("label")
COHORT = Cohort(
    "coins",
    (Number("who"), Classes("label", ("heads", "tails"))),
    ("patient",),
)


@dataclasses.dataclass(frozen=True)
class ByHeart:
    """Says the label of those whom it was fitted on, 0.5 of all others, and repeats what it hears
    of those of whom somebody before it was sure."""

    labels: dict

    def predict(self, rows):
        heard = rows.drop(columns="who").to_numpy()
        said = []
        for who, others in zip(rows["who"], heard, strict=True):
            sure = [p for p in others if p != 0.5]
            said.append(self.labels.get(who, sure[0] if sure else 0.5))
        return np.stack([1 - np.array(said), said], axis=1)


def learn_by_heart(estimator, rows, labels, num_classes, words, ordered, groups, seed):
    return ByHeart(dict(zip(rows["who"], labels.astype(float), strict=True)))


def chain(count):
    """An experiment of stages, each of which hears all above it."""
    stages, heard = [], ()
    for k in range(count):
        stages.append(Stage(f"s{k}", ("who", *heard), LABEL, Estimator((Logistic(),))))
        heard = (*heard, f"s{k}.probability")
    return Experiment("coins", COHORT, tuple(stages))


@pytest.fixture
def patients():
    """Patients with coins for labels, some of them in no fold."""
    rng = np.random.default_rng(3)
    names = [f"P{k:03d}" for k in range(COUNT + OUTSIDE)]
    label = rng.permutation(np.arange(len(names)) % 2)
    table = pd.DataFrame({"label": label, "who": np.arange(len(names), dtype=float)}, index=names)
    folds = {name: k % FOLDS for k, name in enumerate(names[:COUNT])}
    return Patients(table, folds, {"held-out": set(names[COUNT:])})


def run(experiment, patients):
    answers, fitted = {}, {}
    for stage in experiment.stages:
        made = fit_stage(experiment, stage, patients, answers, 0)
        answers[stage.name], fitted[stage.name] = made.answers, made
    return fitted


def areas(tables):
    """AUC out of fold and of the held-out, and of each model's validation patients."""
    parts = [tables.test, tables.test_sets["held-out"]]
    parts += [rows for _, rows in tables.validation.groupby("fold")]
    return [delong(rows["label"].to_numpy(), rows["prob"].to_numpy()).value for rows in parts]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_nobody_is_known_by_heart(monkeypatch, patients, count):
    monkeypatch.setattr(estimating, "fit", learn_by_heart)
    for stage in run(chain(count), patients).values():
        assert areas(stage.tables) == [0.5] * (2 + FOLDS)
        assert set(stage.tables.test["prob"]) == {0.5}


def test_the_tables_hold_each_patient_once_by_the_model_of_its_fold(monkeypatch, patients):
    monkeypatch.setattr(estimating, "fit", learn_by_heart)
    tables = run(chain(1), patients)["s0"].tables
    assert dict(zip(tables.test["patient_id"], tables.test["fold"], strict=True)) == patients.folds
    assert set(tables.test_sets["held-out"]["patient_id"]) == patients.test_sets["held-out"]
    for k, rows in tables.validation.groupby("fold"):
        assert {patients.folds[name] for name in rows["patient_id"]} == {(k + 1) % FOLDS}


def _role(fold, k):
    return {k: "test", (k + 1) % FOLDS: "validation"}.get(fold, "train")


def of_role_of_everybody(self, k, role):
    """The fault: a model is trained on all patients of folds."""
    return [n for n, fold in self.folds.items() if role in ("train", _role(fold, k))]


def of_role_with_the_tested(self, k, role):
    """The fault: the patients of the test fold are among the trained."""
    mine = {"train", "test"} if role == "train" else {role}
    return [n for n, fold in self.folds.items() if _role(fold, k) in mine]


@pytest.mark.parametrize("fault", [of_role_of_everybody, of_role_with_the_tested])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_training_on_the_tested_would_be_seen(monkeypatch, patients, count, fault):
    monkeypatch.setattr(estimating, "fit", learn_by_heart)
    monkeypatch.setattr(Patients, "of_role", fault)
    stages = list(run(chain(count), patients).values())
    assert areas(stages[-1].tables)[0] == 1.0


def test_hearing_the_model_that_trained_on_a_patient_would_be_seen(monkeypatch, patients):
    """The fault: stage two hears model 0 of everybody, not each patient's own."""
    monkeypatch.setattr(estimating, "fit", learn_by_heart)
    experiment = chain(2)
    first = fit_stage(experiment, experiment.stages[0], patients, {}, 0)
    rows = patients.table[["who"]].loc[list(patients.folds)]
    said = first.members[0].predict(rows)[:, 1:]
    leaky = pd.DataFrame(said, index=rows.index, columns=["s0.probability"])
    answers = {"s0": dataclasses.replace(first.answers, out_of_fold=leaky)}
    second = fit_stage(experiment, experiment.stages[1], patients, answers, 0)
    assert 0.5 < areas(second.tables)[0] < 1


def test_who_is_in_no_fold_is_asked_by_the_same_members(monkeypatch, patients):
    """Member k of a stage hears member k of the stage before, and the last answers are averaged."""

    @dataclasses.dataclass(frozen=True)
    class Counter:
        """Says how much more it is than what it hears."""

        own: float

        def predict(self, rows):
            heard = rows.drop(columns="who").sum(axis=1).to_numpy()
            said = 0.01 * self.own + 2 * heard
            return np.stack([1 - said, said], axis=1)

    made = []

    def count(*args):
        made.append(Counter(float(len(made) % FOLDS)))
        return made[-1]

    monkeypatch.setattr(estimating, "fit", count)
    stages = run(chain(2), patients)
    names = patients.outside()
    for k in range(FOLDS):
        heard = stages["s0"].answers.outside[k].loc[names, "s0.probability"]
        np.testing.assert_allclose(heard, 0.01 * k)
        told = stages["s1"].answers.outside[k].loc[names, "s1.probability"]
        np.testing.assert_allclose(told, 0.03 * k)
    mean = np.mean([0.03 * k for k in range(FOLDS)])
    np.testing.assert_allclose(stages["s1"].tables.test_sets["held-out"]["prob"], mean)


def test_a_stage_reads_what_its_patients_said_and_no_more(patients):
    names = list(patients.folds)[:5]
    said = pd.DataFrame({"s0.probability": np.linspace(0, 1, 5)}, index=names)
    other = pd.DataFrame({"s0.probability": np.ones(5)}, index=names)
    answers = {"s0": Answers(said, (), (other,))}
    stage = chain(2).stages[1]
    rows = stage_rows(stage, patients.table, answers, names[::-1], known)
    assert list(rows.columns) == ["who", "s0.probability"] and list(rows.index) == names[::-1]
    assert rows["s0.probability"].tolist() == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    assert set(stage_rows(stage, patients.table, answers, names, said_by(0))["s0.probability"]) == {
        1
    }


@pytest.mark.parametrize(
    ("reads", "words"),
    [
        (("whoo",), "'whoo', which is no field of the cohort.*Did you mean who"),
        (("s1.probability",), "which the stage s1 adds only after it"),
        (("s0.probability",), "which the stage s0 adds only after it"),  # a circle of one
        (("s0.mask",), "'s0.mask', which is no field"),
    ],
)
def test_a_stage_that_cannot_stand_there_is_refused(reads, words):
    with pytest.raises(UserError, match=words):
        Experiment(
            "coins",
            COHORT,
            (
                Stage("s0", reads, LABEL, Estimator((Logistic(),))),
                Stage("s1", ("who", "s0.probability"), LABEL, Estimator((Logistic(),))),
            ),
        )


def test_names_are_of_one_thing_each():
    stage = Stage("s0", ("who",), LABEL, Estimator((Logistic(),)))
    with pytest.raises(UserError, match="Two parts of coins are called 's0'"):
        Experiment("coins", COHORT, (stage, stage))
    with pytest.raises(UserError, match="called 'phantom'"):
        Experiment("coins", COHORT, (dataclasses.replace(stage, name="phantom"),))
    with pytest.raises(UserError, match="no stages"):
        Experiment("coins", COHORT, ())
    with pytest.raises(UserError, match="declares who more than once"):
        Cohort("coins", (Number("who"), Number("who")), ("patient",))
    with pytest.raises(UserError, match="no field of classes 'who' in the cohort coins"):
        stages = (dataclasses.replace(stage, task=Classification("who")),)
        Experiment("coins", COHORT, stages)
