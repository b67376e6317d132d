"""`evaluate --predictions` and `mrmc --ratings` on other people's tables."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, cohen_kappa_score, roc_auc_score

from msk_jax.evaluation.mrmc.settings import MrmcSettings
from msk_jax.evaluation.mrmc.simulation import RoeMetz
from msk_jax.evaluation.plots.readers import difference_figure
from msk_jax.evaluation.tables.case_table import read_class_cases
from msk_jax.verbs import mrmc
from tests.verbs.conftest import verb


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Two models' predictions of 120 cases, and of 60 other patients for the threshold."""
    folder = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 120)
    base = pd.DataFrame(
        {
            "case": [f"c{i}" for i in range(120)],
            "truth": labels,
            "site": np.where(np.arange(120) < 70, "north", "south"),
            "age": rng.integers(20, 90, 120),
        }
    )
    for name, shift in (("ours", 1.6), ("theirs", 0.9)):
        score = 1 / (1 + np.exp(-rng.normal(shift * (2 * labels - 1), 1.2)))
        base.assign(score=score).to_csv(folder / f"{name}.csv", index=False)
    first = pd.read_csv(folder / "ours.csv")
    other = first.iloc[:60].assign(case=[f"v{i}" for i in range(60)])
    other.to_csv(folder / "validation.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def ratings(tmp_path_factory):
    truth, drawn = RoeMetz(effect=0.8).draw(4, 25, 25, seed=3)
    rows = [
        (
            f"r{j}",
            f"c{k}",
            ("aided", "unaided")[i],
            truth[k],
            drawn[i, j, k],
            "junior" if j < 2 else "senior",
        )
        for i in range(2)
        for j in range(4)
        for k in range(50)
    ]
    path = tmp_path_factory.mktemp("ratings") / "ratings.csv"
    columns = ["reader", "case", "modality", "truth", "rating", "group"]
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    return path


@pytest.fixture
def faults(capsys):
    """Runs a command that must be refused with a list of faults; gives the message."""

    def run(*args) -> str:
        verb(*args, status=2)
        error = capsys.readouterr().err
        assert error.startswith("msk-jax: ") and "Traceback" not in error
        return error

    return run


def test_a_foreign_table_whole(tables, tmp_path, capsys):
    verb(
        "evaluate",
        "--predictions",
        tables / "ours.csv",
        "--compare",
        tables / "theirs.csv",
        "--validation",
        tables / "validation.csv",
        "--decision-curve",
        "--by",
        "site",
        "age",
        "--gate",
        "staging",
        "--bootstrap-samples",
        100,
        "--out",
        tmp_path,
    )
    result = json.loads((tmp_path / "figures.json").read_text())
    first, second = (pd.read_csv(tables / f"{n}.csv") for n in ("ours", "theirs"))
    areas = [roc_auc_score(t["truth"], t["score"]) for t in (first, second)]
    assert result["figures"]["auc"]["value"] == pytest.approx(areas[0])
    difference = result["comparison"]["auc_difference"]
    assert difference["difference"] == pytest.approx(areas[0] - areas[1])
    assert result["threshold"]["chosen_on"] == "validation"
    sites = {row["group"]: row for row in result["subgroups"]["site"]}
    north = first[first["site"] == "north"]
    expected = roc_auc_score(north["truth"], north["score"])
    assert sites["north"]["figures"]["auc"]["value"] == pytest.approx(expected)
    gaps = [sites[name]["gaps"]["auc"]["value"] for name in ("north", "south")]
    assert gaps[0] == pytest.approx(-gaps[1])
    assert {row["name"] for row in result["gate"]} == {"specificity", "slope"}
    south = sites["south"]
    slopes = (sites["north"]["figures"]["slope"]["value"], south["figures"]["slope"]["value"])
    assert south["gaps"]["slope"]["value"] == pytest.approx(slopes[1] - slopes[0])
    assert set(south["gaps"]) == set(result["figures"])
    assert 0 <= result["fairness"]["site"]["equal_opportunity_difference"]["value"] <= 1
    # One area is one area, whoever compares it.
    assert result["comparison"]["auc"][0] == result["figures"]["auc"]
    average = average_precision_score(first["truth"], first["score"])
    assert result["precision_recall"]["average_precision"] == pytest.approx(average)
    curve, again = result["decision_curve"], result["recalibration"]
    assert curve["avoided_low"][50] <= curve["avoided"][50] <= curve["avoided_high"][50]
    # But for probabilities that are cut at 1e-6.
    assert again["figures"]["slope"]["value"] * again["slope"] == pytest.approx(
        result["figures"]["slope"]["value"], rel=0.02
    )
    pictures = (
        "roc precision_recall confusion calibration decision_curve interventions_avoided "
        "benefit_difference by_site gaps_by_site by_age gaps_by_age gate"
    )
    assert set(pictures.split()) == {path.stem for path in tmp_path.glob("*.png")}
    printed = capsys.readouterr().out
    assert "120 cases of 120 patients" in printed and "first minus second" in printed
    assert "equal_opportunity_difference" in printed


def test_a_perfect_model_has_one_interval_and_a_group_any_name(tables, tmp_path, refused):
    assert "two classes" in refused("evaluate", "--predictions", tables / "ours.csv", "--ordinal")
    table = pd.read_csv(tables / "ours.csv")
    table = table.assign(score=0.2 + 0.6 * table["truth"]).rename(columns={"site": "a/b"})
    # Names that are one and the same as names of files.
    table = table.assign(**{"A b": table["a/b"]})
    table.to_csv(tmp_path / "perfect.csv", index=False)
    verb(
        "evaluate",
        "--predictions",
        tmp_path / "perfect.csv",
        "--compare",
        tables / "theirs.csv",
        "--by",
        "a/b",
        "A b",
        "--gate",
        "early",
        "--gate-rule",
        "point",
        "--bootstrap-samples",
        20,
        "--proportions",
        "exact",
        "--out",
        tmp_path / "out",
    )
    result = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert result["comparison"]["auc"][0]["low"] == result["figures"]["auc"]["low"] > 0.8
    found = {path.stem for path in (tmp_path / "out").glob("*by_*.png")}
    assert found == {"by_a_b", "gaps_by_a_b", "by_A_b_2", "gaps_by_A_b_2"}
    share = result["figures"]["sensitivity"]
    # Of n of n the exact bound is 0.025^(1/n).
    assert share["low"] == pytest.approx(0.025 ** (1 / share["n"])) and share["method"] == "exact"
    verdicts = {v["name"]: (v["verdict"], v["counted"]) for v in result["gate"]}
    assert verdicts == {"sensitivity": ("pass", "positives"), "specificity": ("pass", "negatives")}


def test_faulty_tables_say_what_is_wrong(tables, tmp_path, refused, faults):
    given = ("evaluate", "--predictions")
    assert "no file" in refused(*given, tmp_path / "none.csv")
    bad = tmp_path / "bad.csv"
    bad.write_text("case,truth,score\na,0,0.5\na,2,1.5\n")
    message = faults(*given, bad)
    assert all(word in message for word in ("neither 0 nor 1", "from 0 to 1", "there twice"))
    bad.write_text("case,score\na,0.5\n")
    assert "no column label or truth" in refused(*given, bad)
    good = tables / "ours.csv"
    assert "same cases" in refused(*given, good, "--compare", tables / "validation.csv")
    assert "other patients" in refused(*given, good, "--validation", good)
    assert "no column scanner" in refused(*given, good, "--by", "scanner")


HEAD = "case,label,prob,sex\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label,prob\n0,1,0.2\n1,0,0.8\n", "one cell more in every row"),
        ("case,label,prob,prob\na,0,0.2,0.8\n", "'prob' names the columns 3 and 4"),
        ("label,prob_0,prob_1\n0,0.8,0.2\n", "positive one (prob_0 or prob_1) prob"),
        ("label,score,prob\n0,0.8,0.2\n", "the columns prob and score, which differ"),
        ("label,y_true,prob\n0,1,0.2\n", "the columns label and y_true, which differ"),
        ("label prob\n0 0.5\n", "it has label prob alone (cells are separated by commas"),
        (HEAD + "a,benign,0.1,F\nb,malignant,0.9,F\n", "there is benign and malignant: write 1"),
        (HEAD + 'a,0,"0,1",F\nb,1,"0,9",F\n', "write a decimal point, or separate the cells by"),
        (HEAD + "a,0,12%,F\nb,1,90%,F\n", "write 0.71 for 71 per cent"),
        (HEAD + "a,0,12,F\nb,1,90,F\n", "write 0.71 for 71 per cent"),
        (HEAD + "a,0,-2.5,F\nb,1,3.5,F\n", "of a logit x"),
        (HEAD + "a,0,NA,F\nb,1,0.5,F\n", "without a prediction has no row) in 1 row(s) (row 2"),
        (HEAD + "a,0,0.5,F\n\nb,1,1.0000001,F\n", "from 0 to 1 in 1 row(s) (row 4: '1.0000001')"),
    ],
)
def test_what_people_write_instead_is_named(tmp_path, faults, text, message):
    (tmp_path / "t.csv").write_text(text)
    assert message in faults("evaluate", "--predictions", tmp_path / "t.csv")


def test_columns_that_agree_or_are_a_place_are_no_riddle(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("label,y_true,prob,x,y\n0,0.0,0.2,5,7\n1,1.0,0.8,5,8\n")
    verb("evaluate", "--predictions", table, "--bootstrap-samples", 5)


def test_cases_that_one_program_took_for_numbers_are_not_joined(tmp_path, refused):
    (tmp_path / "a.csv").write_text(HEAD + "0012,0,0.1,F\n0013,1,0.9,F\n")
    (tmp_path / "b.csv").write_text(HEAD + "12.0,0,0.1,F\n13.0,1,0.9,F\n")
    error = refused(
        "evaluate", "--predictions", tmp_path / "a.csv", "--compare", tmp_path / "b.csv"
    )
    assert "as 0012, which is 12.0 there" in error and "write them alike" in error


def test_readers_without_a_group_are_said(ratings, tmp_path, capsys):
    table = pd.read_csv(ratings)
    table.loc[table["reader"] == "r0", "group"] = ""
    table.to_csv(tmp_path / "ratings.csv", index=False, sep=";", decimal=",")
    verb("mrmc", "--ratings", tmp_path / "ratings.csv", "--out", tmp_path / "out")
    printed = capsys.readouterr().out
    assert "1 reader(s) have no group" in printed and "junior (1)" in printed
    result = json.loads((tmp_path / "out" / "mrmc.json").read_text())
    assert set(result["groups"]) == {"junior", "senior"}
    assert result["overall"]["accuracy"][0][0] > 0.5


@pytest.fixture(scope="module")
def three_classes(tmp_path_factory):
    """Predictions of 90 cases; two of each patient."""
    rng = np.random.default_rng(1)
    labels = np.arange(90) % 3
    logits = rng.normal(size=(90, 3)) + 1.5 * np.eye(3)[labels]
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    names = ["burst", "normal", "wedge"]
    table = pd.DataFrame({"case": np.arange(90), "patient": np.arange(90) // 2})
    table["truth"] = np.array(names)[labels]
    table[[f"prob_{name}" for name in names]] = probs
    table["site"] = np.where(np.arange(90) < 50, "north", "south")
    path = tmp_path_factory.mktemp("classes") / "three.csv"
    table.to_csv(path, index=False)
    return path, labels, probs


def test_three_classes_of_a_foreign_table(three_classes, tmp_path, capsys, refused):
    path, labels, probs = three_classes
    verb(
        "evaluate",
        "--predictions",
        path,
        "--by",
        "site",
        "--bootstrap-samples",
        50,
        "--ordinal",
        "--out",
        tmp_path,
    )
    result = json.loads((tmp_path / "figures.json").read_text())
    right = probs.argmax(1) == labels
    assert result["accuracy"]["value"] == pytest.approx(right.mean())
    assert result["patients"] == 45 and result["counts"]["normal"] == 30
    of_normal = roc_auc_score(labels == 1, probs[:, 1])
    assert result["of_class"]["normal"]["auc"]["value"] == pytest.approx(of_normal)
    expected = roc_auc_score(labels, probs, multi_class="ovo")
    assert result["hand_till"]["value"] == pytest.approx(expected)
    north, south = result["subgroups"]["site"]
    assert (north["group"], north["n"], south["n"]) == ("north", 50, 40)
    assert north["accuracy"]["value"] == pytest.approx(right[:50].mean())
    expected = right[:50].mean() - right[50:].mean()
    assert north["gaps"]["accuracy"]["value"] == pytest.approx(expected)
    gaps = [group["gaps_of_class"]["burst"]["auc"]["value"] for group in (north, south)]
    areas = [group["of_class"]["burst"]["auc"]["value"] for group in (north, south)]
    assert gaps[0] == pytest.approx(areas[0] - areas[1]) and gaps[1] == pytest.approx(-gaps[0])
    quadratic = cohen_kappa_score(labels, probs.argmax(1), weights="quadratic")
    assert result["ordinal"]["kappa_quadratic"]["value"] == pytest.approx(quadratic)
    brier = result["calibration"]["burst"]["brier"]["value"]
    assert brier == pytest.approx(np.mean((probs[:, 0] - (labels == 0)) ** 2))
    pictures = {"confusion", "roc", "calibration", "by_site", "gaps_by_site"}
    assert {p.stem for p in tmp_path.glob("*.png")} == pictures
    assert "90 cases of 45 patients: 30 burst, 30 normal, 30 wedge" in capsys.readouterr().out
    # One against the rest is a model of two classes, with all that can be asked of one.
    verb(
        "evaluate",
        "--predictions",
        path,
        "--one-class",
        "normal",
        "--decision-curve",
        "--bootstrap-samples",
        50,
        "--out",
        tmp_path,
    )
    result = json.loads((tmp_path / "figures.json").read_text())
    assert result["figures"]["auc"]["value"] == pytest.approx(of_normal)
    assert result["n"]["positives"] == 30 and "decision_curve" in result
    given = ("evaluate", "--predictions", path)
    assert "Give --one-class and one of burst, normal, wedge" in refused(*given, "--decision-curve")
    assert "none is called fracture" in refused(*given, "--one-class", "fracture")


def test_faulty_tables_of_classes(three_classes, tables, tmp_path, refused, faults):
    table = pd.read_csv(three_classes[0])
    bad = tmp_path / "bad.csv"
    table.assign(truth="crack").to_csv(bad, index=False)
    given = ("evaluate", "--predictions", bad)
    assert "is none of burst, normal, wedge" in faults(*given)
    table.assign(truth=np.where(table.index < 9, "1", table["truth"])).to_csv(bad, index=False)
    assert "in 9 row(s)" in faults(*given), "names and places in one column"
    table.assign(score=0.5).to_csv(bad, index=False)
    assert "of several classes, and score of two" in refused(*given)
    bad.write_text("truth,prob_a,prob_a,prob_b\na,0.2,0.3,0.5\n")
    assert "'prob_a' names the columns 2 and 3" in refused(*given)
    bad.write_text("truth,prob_a,prob_,prob_b\na,0.2,0.3,0.5\n")
    assert "prob_ without a class" in refused(*given)
    table.assign(prob_burst=0.99).to_csv(bad, index=False)
    assert "does not sum to 1" in faults("evaluate", "--predictions", bad)
    small = three_classes[0]
    assert "two classes. Leave it" in refused(
        "evaluate", "--predictions", small, "--threshold", 0.3
    )
    ours = tables / "ours.csv"
    assert "has two classes" in refused("evaluate", "--predictions", ours, "--one-class", "normal")


@pytest.mark.parametrize(
    ("names", "cells"),
    [
        (("1", "2", "3"), ("1", "2", "3")),
        (("2", "1", "0"), ("2.0", "1.0", "0.0")),
        (("0", "1", "2"), ("0", "1", "2")),
        (("a", "b", "c"), ("0", "1", "2.0")),
        (("a", "b", "c"), ("a", "b", "c")),
        (("mild 1", "x", "1"), ("mild 1", "x", "1.0")),
    ],
)
def test_labels_are_read_as_names_or_as_places_but_never_as_both(tmp_path, names, cells):
    labels = np.arange(30) % 3
    table = pd.DataFrame({"truth": np.array(cells)[labels]})
    table[[f"prob_{name}" for name in names]] = 0.1 + 0.7 * np.eye(3)[labels]
    table.to_csv(tmp_path / "t.csv", index=False)
    found = read_class_cases(tmp_path / "t.csv")
    assert found["label"].tolist() == labels.tolist()


def test_one_class_has_answers_where_there_are_some(tmp_path):
    table = tmp_path / "one.csv"
    table.write_text("truth,score\n1,0.2\n1,0.9\n1,0.7\n")
    verb("evaluate", "--predictions", table, "--out", tmp_path / "out", "--decision-curve")
    result = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert result["figures"]["auc"]["value"] is None and result["figures"]["auc"]["why"]
    assert result["figures"]["sensitivity"]["value"] == pytest.approx(2 / 3)


def test_a_reader_study_whole(ratings, tmp_path, capsys):
    verb("mrmc", "--ratings", ratings, "--covariance", "delong", "--out", tmp_path)
    result = json.loads((tmp_path / "mrmc.json").read_text())
    table = pd.read_csv(ratings)
    one = table[(table["reader"] == "r0") & (table["modality"] == "aided")]
    expected = roc_auc_score(one["truth"], one["rating"])
    assert result["overall"]["accuracy"][0][0] == pytest.approx(expected)
    assert set(result["groups"]) == {"junior", "senior"}
    assert result["design"].startswith("factorial")
    pictures = {"readers", "differences", "roc", "power"}
    assert {path.stem for path in tmp_path.glob("*.png")} == pictures
    (between,) = result["between_groups"]
    gains = [result["groups"][g]["differences"][0]["difference"] for g in ("junior", "senior")]
    assert between["difference"] == pytest.approx(gains[0] - gains[1])
    printed = capsys.readouterr().out
    assert "aided - unaided" in printed and "junior - senior" in printed


def test_readers_who_make_no_error_prove_nothing(ratings, tmp_path, capsys):
    table = pd.read_csv(ratings)
    table.assign(rating=table["truth"]).to_csv(tmp_path / "perfect.csv", index=False)
    verb("mrmc", "--ratings", tmp_path / "perfect.csv", "--out", tmp_path / "out")
    printed = capsys.readouterr().out
    assert "proves no certainty" in printed and "to 1.0000" not in printed
    assert "shows no variance" in printed and "2 cases" not in printed


def test_every_pair_of_modalities_has_its_panel(ratings, tmp_path, capsys):
    table = pd.read_csv(ratings)
    third = table[table["modality"] == "aided"]
    third = third.assign(modality="model", rating=third["rating"] + 1.0)
    pd.concat([table, third]).to_csv(tmp_path / "three.csv", index=False)
    study = mrmc.run(tmp_path / "three.csv", MrmcSettings(), tmp_path / "out")
    figure = difference_figure(study)
    shown = [axis.get_xlabel() for axis in figure.axes]
    pairs = ("aided minus unaided", "aided minus model", "unaided minus model")
    assert shown == [f"AUC: {pair}" for pair in pairs]
    names = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert names == ["all readers", "junior", "senior", "r0", "r1", "r2", "r3"]
    printed = capsys.readouterr().out
    assert all(pair.replace("minus", "-") in printed for pair in pairs)


def test_decisions_of_readers_need_a_threshold(ratings, refused, tmp_path):
    assert "--threshold" in refused("mrmc", "--ratings", ratings, "--measure", "sensitivity")
    verb("mrmc", "--ratings", ratings, "--measure", "accuracy", "--threshold", 0.7)


def test_faulty_ratings_say_what_is_wrong(ratings, tmp_path, refused, faults):
    bad = tmp_path / "bad.csv"
    bad.write_text("reader,case,modality,truth,rating\nr,a,x,0,high\nr,,x,3,1\n")
    message = faults("mrmc", "--ratings", bad)
    assert all(word in message for word in ("is no number", "case is empty", "neither 0 nor 1"))
    table = pd.read_csv(ratings)
    half = table[~((table["reader"] == "r1") & (table["modality"] == "aided"))]
    pd.concat([half, half.iloc[:1]]).to_csv(bad, index=False)
    message = faults("mrmc", "--ratings", bad)
    assert "there twice" in message and "lack a modality (r1)" in message
    table[table["reader"] == "r0"].to_csv(bad, index=False)
    assert "--random cases" in refused("mrmc", "--ratings", bad)
    verb("mrmc", "--ratings", bad, "--random", "cases")
