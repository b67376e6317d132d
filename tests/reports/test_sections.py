"""The page is its sections in their order; one more is one module and one line."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from msk_jax.errors import UserError
from msk_jax.evaluation.settings import EvaluationSettings
from msk_jax.evaluation.studies.classes import evaluate_classes
from msk_jax.evaluation.tables.predictions import (
    LEVELS,
    pool,
    probability_cells,
    read_predictions,
    write_predictions,
)
from msk_jax.reports import sections
from msk_jax.reports.html import render, write_report
from msk_jax.reports.reading import read_inputs
from msk_jax.reports.sections.section import Section

TWO, THREE = ("normal", "broken"), ("normal", "broken", "burst")


def _write(folder, classes, ordinal=False):
    """A working folder of a study of eighteen patients in three folds."""
    rng = np.random.default_rng(5)
    rows, labels = [], {}
    for number in range(18):
        label, joint = number % len(classes), f"p{number}/left"
        labels[f"p{number}"] = labels[joint] = label
        logits = rng.normal(0, 1, (1, len(classes))) + np.eye(len(classes))[label]
        probs = np.exp(logits) / np.exp(logits).sum()
        cells = {name: cell[0] for name, cell in probability_cells(classes, probs).items()}
        keys = {"patient_id": f"p{number}", "unit_id": f"{joint}/0", "level": "slice"}
        rows.append({**keys, "fold": number // 3 % 3, "label": label, **cells})
    table = pool(pd.DataFrame(rows), labels, labels)
    write_predictions(table, folder / "predictions.csv")
    test = read_predictions(folder / "predictions.csv")
    others = [test.assign(fold=(test["fold"] + step) % 3) for step in (1, 2)]
    settings = EvaluationSettings(bootstrap_samples=20)
    metrics = evaluate_classes(test, *others, {}, settings, classes, LEVELS, ordinal)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    run = {"experiment": {"title": "Fractures", "classes": classes}, "is_phantom": True}
    (folder / "run.json").write_text(json.dumps(run))
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}
    for name, classes, ordinal in (
        ("two", TWO, False),
        ("three", THREE, False),
        ("order", THREE, True),
    ):
        made[name] = _write(tmp_path_factory.mktemp(name), classes, ordinal)
    return made


def _titles(page):
    return re.findall(r"<h2>(.*?)</h2>", page)


ALWAYS = ["Training", "Where the network looked"]


@pytest.mark.parametrize(
    ("name", "figures", "calls"),
    [
        ("two", ["ROC curves", "Confusion matrices"], "Operating points"),
        (
            "three",
            ["Confusion matrices", "ROC curves of each class against the rest", "Figures"],
            "How a class is called",
        ),
        (
            "order",
            [
                "Confusion matrices",
                "ROC curves of each class against the rest",
                "The classes in their order",
                "Figures",
            ],
            "How a class is called",
        ),
    ],
)
def test_a_page_has_the_sections_whose_figures_are_there(folders, name, figures, calls):
    page = render(read_inputs(folders[name]))
    assert _titles(page) == [
        "The answer at a glance",
        "Cohort",
        *figures,
        *ALWAYS,
        calls,
        "How this was made",
    ]
    anchors = re.findall(r'<section id="(.*?)">', page)
    assert len(anchors) == len(set(anchors)) >= len(_titles(page))


def _boxes(inputs):
    boxes = inputs.metrics.get("boxes")
    return Section("Boxes", "boxes", f"<p>{boxes['n']} of them</p>") if boxes else None


def test_an_added_section_is_on_the_page_and_its_figures_are_checked(
    folders, tmp_path, monkeypatch
):
    """As another task adds one: a module in the list, with the shape of what it reads."""
    metrics = json.loads((folders["two"] / "metrics.json").read_text())
    for name in ("run.json", "predictions.csv"):
        (tmp_path / name).write_bytes((folders["two"] / name).read_bytes())
    module = SimpleNamespace(section=_boxes, METRICS={"boxes?": {"n": int}})
    place = sections.SECTIONS.index(sections.training)
    longer = (*sections.SECTIONS[:place], module, *sections.SECTIONS[place:])
    for boxes, expected in (({"n": 17}, 1), (None, 0)):
        added = {} if boxes is None else {"boxes": boxes}
        (tmp_path / "metrics.json").write_text(json.dumps(metrics | added))
        plain = _titles(render(read_inputs(tmp_path)))
        with monkeypatch.context() as patch:
            patch.setattr(sections, "SECTIONS", longer)
            page = render(read_inputs(tmp_path))
        assert page.count("<p>17 of them</p>") == page.count('<section id="boxes">') == expected
        before = plain.index("Training")
        assert _titles(page) == [*plain[:before], *["Boxes"] * expected, *plain[before:]]
    (tmp_path / "metrics.json").write_text(json.dumps(metrics | {"boxes": {"n": "many"}}))
    render(read_inputs(tmp_path))  # nobody reads it
    monkeypatch.setattr(sections, "SECTIONS", longer)
    with pytest.raises(UserError, match=r"metrics\.json is damaged: boxes\.n"):
        read_inputs(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda level: level.pop("kappa"), "levels.joint lacks kappa"),
        (lambda level: level["confusion"].pop(), "levels.joint.confusion is not 3 x 3"),
        (lambda level: level["counts"].pop("burst"), "levels.joint does not name the classes"),
    ],
)
def test_a_damaged_level_of_several_classes_is_refused(folders, tmp_path, change, message):
    for name in ("run.json", "predictions.csv", "metrics.json"):
        (tmp_path / name).write_bytes((folders["three"] / name).read_bytes())
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    change(metrics["levels"]["joint"])
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(UserError, match=message):
        write_report(tmp_path, tmp_path / "page.html")


def test_the_wrong_calls_of_three_classes_are_those_of_the_table(folders):
    inputs = read_inputs(folders["three"])
    rows = inputs.predictions[inputs.predictions["level"] == "patient"]
    probs = rows[[f"prob_{name}" for name in THREE]].to_numpy()
    wrong = rows[probs.argmax(axis=1) != rows["label"]]
    page = render(inputs)
    part = page[page.index('<section id="mistakes">') :]
    listed = re.findall(r"<td><code>(p\d+)</code></td>", part[: part.index("</section>")])
    assert 0 < len(wrong) < len(rows)
    assert sorted(listed) == sorted(wrong["patient_id"])
