import base64
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from msk_jax.errors import UserError
from msk_jax.evaluation.settings import EvaluationSettings
from msk_jax.evaluation.tables.predictions import pool, read_predictions, write_predictions
from msk_jax.reports.html import write_report
from msk_jax.reports.reading import read_inputs
from tests.spoil import MISSING, changed, spoilt
from tests.two_classes import judge_two

HOSTILE = "<script>alert('x')</script>"
# A picture of one pixel.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def _run():
    return {
        "experiment": {
            "name": "sacroiliitis",
            "title": "Sacroiliitis on CT",
            "task": "classification",
            "modality": "CT",
            "input": "five slices",
            "source": "Zhang 2025",
            "classes": ["normal", "sacroiliitis"],
            "published": [
                {
                    "name": "sensitivity",
                    "value": 0.913,
                    "level": "most likely slices",
                    "note": "The published cohort has 29 cases.",
                },
                {
                    "name": "specificity",
                    "value": 0.952,
                    "level": "most likely slices",
                    "note": "The published cohort has 29 cases.",
                },
            ],
            "choices": {
                "learning_rate": "Not published; a common start.",
                "optimizer": "A group.",
                "width": HOSTILE,
            },
        },
        "commands": ["msk-jax train sacroiliitis --data-dir D --workdir W"],
        "versions": {"jax": "0.10.2"},
        "seed": 7,
        "date": "2026-03-01",
        "devices": "2 CPU",
        "is_phantom": True,
        "recipe": {"learning_rate": 0.001, "optimizer": {"decay": 0.01}},
        "model": {"backbone": "resnet18"},
        "warnings": [],
    }


def _write_workdir(folder):
    rng = np.random.default_rng(0)
    joints = {f"p{i}/{side}": i % 2 for i in range(16) for side in ("left", "right")}
    rows = [
        {
            "patient_id": name.split("/")[0],
            "unit_id": f"{name}/{k}",
            "level": "slice",
            "fold": int(name.split("/")[0][1:]) // 2 % 2,
            "label": label,
            "prob": float(np.clip(rng.normal(0.35 + 0.3 * label, 0.25), 0, 1)),
            "site": HOSTILE,
            "age": "",
            "sex": "F",
        }
        for name, label in joints.items()
        for k in range(2)
    ]
    table = pool(pd.DataFrame(rows), joints, {f"p{i}": i % 2 for i in range(16)})
    write_predictions(table, folder / "predictions.csv")
    metrics = judge_two(
        read_predictions(folder / "predictions.csv"),
        table.assign(fold=1 - table["fold"]),
        EvaluationSettings(bootstrap_samples=50),
    )
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "run.json").write_text(json.dumps(_run()))
    return metrics


def _write_options(folder):
    """The parts that may be missing."""
    (folder / "cohort.json").write_text(
        json.dumps(
            {
                "name": "demo",
                "patients": 16,
                "sites": {HOSTILE: 16},
                "spacing_mm": {"x": {"min": 0.7}},
                "age": {"median": 44.5, "q1": 30, "q3": 60, "missing": 2},
                "by_label": {"patient": {"normal": 8, "sacroiliitis": 8}},
            }
        )
    )
    (folder / "fold_0").mkdir()
    (folder / "fold_0/history.csv").write_text(
        "step,epoch,split,loss,auc,learning_rate\n1,1,train,0.7,,0.1\n1,1,validation,0.8,0.6,0.1\n"
    )
    (folder / "cam").mkdir()
    (folder / "cam/a.png").write_bytes(PNG)
    (folder / "secret.png").write_bytes(b"not to be carried away")
    (folder / "cam/index.json").write_text(
        json.dumps(
            [
                {
                    "file": "a.png",
                    "unit_id": "p1/left/0",
                    "label": 1,
                    "prob": 0.9,
                    "z_mm": -80.0,
                    "caption": f"joint {HOSTILE}",
                },
                {"file": "../secret.png", "unit_id": "p2/left/0"},
            ]
        )
    )


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    _write_workdir(folder)
    _write_options(folder)
    return folder


@pytest.fixture(scope="module")
def page(workdir):
    return write_report(workdir, workdir / "out/report.html").read_text(encoding="utf-8")


def _text(page):
    """The page as a reader sees it."""
    body = re.sub(r"<style>.*?</style>", "", page, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", body))


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.names = [], [], set()

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        if tag not in ("img", "meta"):
            self.open.append(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href", "srcset", "action")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_well_formed_and_needs_nothing_from_outside(page):
    tags = _Tags()
    tags.feed(page)
    assert not tags.open
    assert tags.addresses and all(a.startswith("data:image/") for a in tags.addresses)
    assert not tags.names & {"script", "link", "iframe", "object"}
    assert not re.search(r"https?://|@import|url\(", page)


def test_hostile_text_is_only_text(page):
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 3  # a site, a choice, a caption


def test_page_tells_what_it_must(page):
    text = _text(page)
    for part in (
        "Phantom data: these are not clinical figures.",
        "published figures are of another cohort",
        "no claim",
        "29 cases",
        "91.3",
        "95.2",
        "most likely slices",
        "--data-dir D --workdir W",
        "jax 0.10.2",
        "2 CPU",
        "median 44.5, quartiles 30 to 60; 2 unknown",
        "five slices",
        "Not published; a common start.",
        "optimizer.decay",
        "optimizer decay 0.01 A group.",
    ):
        assert part in text, part


def test_figures_of_the_page_are_those_of_the_metrics(page, workdir):
    text = _text(page)
    levels = json.loads((workdir / "metrics.json").read_text())["levels"]
    for name, level in levels.items():
        for measure in ("sensitivity", "specificity"):
            shown = level[measure]["clustered"] or level[measure]
            low, high = 100 * shown["low"], 100 * shown["high"]
            figure = f"{100 * level[measure]['value']:.1f}\u202f% {low:.1f} to {high:.1f}"
            assert figure.replace("\u202f", " ") in text.replace("\u202f", " "), name
        assert f"{level['auc']['value']:.3f}" in text


def test_pictures_travel_in_the_page_but_no_other_file(page):
    assert base64.b64encode(PNG).decode() in page
    assert base64.b64encode(b"not to be carried away").decode() not in page
    assert "1 picture(s) of cam/index.json could not be found" in page


def test_same_files_same_page(page, workdir):
    again = write_report(workdir, workdir / "again.html").read_text(encoding="utf-8")
    assert again == page


def test_missing_options_become_sentences(tmp_path):
    _write_workdir(tmp_path)
    text = _text(write_report(tmp_path, tmp_path / "r.html").read_text(encoding="utf-8"))
    for part in ("no cohort.json", "no training curves", "no heat maps"):
        assert part in text, part


def test_real_data_carry_no_phantom_banner(tmp_path):
    _write_workdir(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({**_run(), "is_phantom": False}))
    assert "Phantom" not in write_report(tmp_path, tmp_path / "r.html").read_text(encoding="utf-8")


def test_one_class_still_makes_a_page(tmp_path):
    _write_workdir(tmp_path)
    table = read_predictions(tmp_path / "predictions.csv")
    healthy = table[table["label"] == 0]
    write_predictions(healthy, tmp_path / "predictions.csv")
    metrics = judge_two(healthy, healthy.iloc[:0], EvaluationSettings(bootstrap_samples=20))
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    text = _text(write_report(tmp_path, tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "needs both classes" in text and "Fold 0 has no operating point" in text
    assert "nan" not in text.lower().split()


@pytest.mark.parametrize(
    ("name", "verb"),
    [("run.json", "train"), ("metrics.json", "evaluate"), ("predictions.csv", "train")],
)
def test_missing_files_name_the_verb(tmp_path, name, verb):
    _write_workdir(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=f"{name}.*msk-jax {verb}"):
        write_report(tmp_path, tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_broken_files_name_themselves(tmp_path):
    _write_workdir(tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    (tmp_path / "metrics.json").write_text('{"levels": ')
    with pytest.raises(UserError, match=r"metrics\.json cannot be read"):
        write_report(tmp_path, tmp_path / "r.html")
    del metrics["levels"]["joint"]["roc"]
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(
        UserError,
        match=r"metrics\.json is damaged: levels\.joint lacks roc\. Run `msk-jax evaluate`",
    ):
        write_report(tmp_path, tmp_path / "r.html")
    with pytest.raises(UserError, match="no folder"):
        write_report(tmp_path / "nowhere", tmp_path / "r.html")


@pytest.mark.parametrize(
    ("name", "verb"),
    [
        ("metrics.json", "evaluate"),
        ("run.json", "train"),
        ("cohort.json", "train"),
        ("cam/index.json", "train"),
    ],
)
def test_keys_left_out_and_values_of_another_kind(workdir, tmp_path, monkeypatch, name, verb):
    """What the page needs is asked for in one sentence; what it does not need may be anything.

    Changes of one kind that do not matter are made together, for a page takes its time.
    """
    shutil.copytree(workdir, tmp_path / "work")
    path = tmp_path / "work" / name
    original = json.loads(path.read_text())
    if name == "metrics.json":  # the levels are alike, and one page of curves is long
        for level in ("slice", "patient"):
            original["levels"][level] = {"n": 0}
    unread, refused = [], 0
    for place, was, now, damaged in spoilt(original):
        path.write_text(json.dumps(damaged))
        try:
            read_inputs(tmp_path / "work")
        except UserError as error:
            refused += 1
            assert re.match(rf"{path} is damaged: .*Run `msk-jax {verb}` again", str(error))
        else:
            unread += [(place, now)] if type(was) is not type(now) else []
    assert refused >= 5
    monkeypatch.setattr("msk_jax.reports.images.svg", lambda figure: "data:image/svg+xml;base64,")
    for kind in (["list"], None, MISSING):
        together = original
        for place in sorted((p for p, now in unread if now is kind or now == kind), key=len)[::-1]:
            together = changed(together, place, kind)
        path.write_text(json.dumps(together))
        page = write_report(tmp_path / "work", tmp_path / "page.html").read_text(encoding="utf-8")
        assert "How this was made" in page
