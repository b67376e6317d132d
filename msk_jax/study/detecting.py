"""What a detector says of every picture, and what is counted of it: tables that need no network.

`train` ends with `pictures.csv` (which pictures were asked about, by the network of which fold, in
which set), `boxes.csv` (what people drew), `detections.csv`, and of each stage that counts
`<stage>_measurements.csv`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from msk_jax.errors import UserError
from msk_jax.experiment import Experiment
from msk_jax.files import replacing
from msk_jax.methods.procedures import Counts
from msk_jax.study.listener import SILENT, Listener
from msk_jax.study.training import Training, best_variables, make_trainer, members
from msk_jax.table_reader import read_table
from msk_jax.training import parallel

OUT_OF_FOLD, VALIDATION = "out of fold", "validation"
_CORNERS = ("x0", "y0", "x1", "y1")
_ANSWERS = ("boxes", "scores", "labels")
_KEY = ["set", "fold", "unit_id"]
_COLUMNS = {
    "pictures": ("set", "fold", "patient_id", "unit_id"),
    "boxes": ("unit_id", "class", *_CORNERS),
    "detections": (*_KEY, "class", "score", *_CORNERS),
}
_NUMBERS = ("fold", "score", *_CORNERS)


@dataclass(frozen=True)
class Detected:
    """What is said of all pictures, and what is true."""

    pictures: pd.DataFrame
    """`set`, `fold` (of the network), `patient_id`, `unit_id`; of test sets a row per network."""
    boxes: pd.DataFrame
    """What people drew: `unit_id`, `class`, corners in pixels of the crop."""
    detections: pd.DataFrame
    """`set`, `fold`, `unit_id`, `class`, `score` and corners."""


def detect_everybody(
    training: Training, workdir: Path, listener: Listener = SILENT
) -> tuple[Detected, list[Any]]:
    """Ask the networks of all folds about those whom they never saw; and the networks.

    Raises:
        UserError: a fold is not finished, or a checkpoint is damaged.
    """
    trainer = make_trainer(training.data, training.folds, training.stage)
    like, ensemble = trainer.trained_like(), []
    pictures, detections = [], []
    with listener.progress("Predicting folds") as update:
        for k in range(training.num_folds):
            ensemble.append(parallel.on_this_host(best_variables(workdir, k, like)))
            sets = {
                OUT_OF_FOLD: members(training.folds, k, "test"),
                VALIDATION: members(training.folds, k, "validation"),
                **training.test_sets,
            }
            for name, patients in sets.items():
                if patients:
                    asked, said = _ask(training, trainer, ensemble[k], patients)
                    pictures.append(asked.assign(set=name, fold=k))
                    detections.append(said.assign(set=name, fold=k))
            update(k + 1, training.num_folds, "")
    made = Detected(
        pd.concat(pictures, ignore_index=True)[list(_COLUMNS["pictures"])],
        _truths(training),
        pd.concat(detections, ignore_index=True)[list(_COLUMNS["detections"])],
    )
    return made, ensemble


def _ask(training: Training, trainer, variables, patients: set[str]):
    """The pictures of some patients, and what one network detects in them."""
    from msk_jax.tasks.detection import detections_of

    data, task = training.data, training.stage.task
    classes = np.array(task.classes(training.experiment.cohort))
    table = data.table(patients)
    batches = data.evaluation_batches(patients, trainer.batch_size)
    answers = parallel.gather_answers(trainer.predict(variables, batches), _ANSWERS)
    units = [data.records[number]["unit_id"] for number in table.record]
    asked = pd.DataFrame({"patient_id": table.patient_id, "unit_id": units})
    said = []
    for row, unit in enumerate(units):
        boxes, scores, places = detections_of(answers, row)
        said.append(_rows(unit, classes[places], boxes).assign(score=scores.astype(float)))
    return asked, pd.concat(said, ignore_index=True)


def _truths(training: Training) -> pd.DataFrame:
    cohort = training.experiment.cohort
    classes = np.array(training.stage.task.classes(cohort))
    field = cohort.boxes
    rows = [
        _rows(record["unit_id"], classes[record[field.class_name]], record[field.name])
        for record in training.data.records
    ]
    return pd.concat(rows, ignore_index=True)


def _rows(unit: str, classes: np.ndarray, boxes: np.ndarray) -> pd.DataFrame:
    corners = np.asarray(boxes, float).reshape(-1, 4)
    named = {name: corners[:, k] for k, name in enumerate(_CORNERS)}
    return pd.DataFrame({"unit_id": unit, "class": classes.astype(str), **named})


def write_detected(detected: Detected, experiment: Experiment, workdir: Path) -> None:
    """Write the tables, and those of stages that count."""
    for name in _COLUMNS:
        _write(getattr(detected, name), workdir / f"{name}.csv")
    for stage in experiment.stages:
        if isinstance(stage.method, Counts):
            table = measured(detected, stage.method, experiment)
            _write(table, workdir / f"{stage.name}_measurements.csv")


def _write(table: pd.DataFrame, path: Path) -> None:
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)


def read_detected(workdir: Path) -> Detected:
    """The tables that `write_detected` wrote.

    Raises:
        UserError: one is missing or faulty.
    """
    return Detected(*(_read(workdir / f"{name}.csv", _COLUMNS[name]) for name in _COLUMNS))


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    table = read_table(path, f"There is no table {path}. Run `msk-jax train`, which writes it.")
    missing = [name for name in columns if name not in table]
    if missing:
        raise UserError(f"{path} lacks the column(s) {', '.join(missing)}. Train again.")
    for name in (name for name in columns if name in _NUMBERS):
        table[name] = pd.to_numeric(table[name], errors="coerce")
        if not np.isfinite(table[name]).all():
            raise UserError(f"{path} has a {name} that is no number. Train again.")
    return table


def measured(detected: Detected, counts: Counts, experiment: Experiment) -> pd.DataFrame:
    """What is counted of each picture, beside what people drew; of pictures of no fold the mean of
    all networks.

    Returns:
        `set`, `patient_id`, `unit_id`, for each class `n <class>` and `true n <class>`, and
        `share` and `true share` in percent.
    """
    classes = experiment.cohort.boxes.classes
    drawn = dict(list(detected.boxes.groupby("unit_id")))
    said = dict(list(detected.detections.groupby(_KEY)))
    none = detected.detections.iloc[:0]
    rows = []
    for picture in detected.pictures.itertuples():
        own = said.get((picture.set, picture.fold, picture.unit_id), none)
        true = drawn.get(picture.unit_id, none)
        found = counts.counts(own["class"], own["score"], classes)
        there = counts.counts(true["class"], np.ones(len(true)), classes)
        rows.append(
            {
                "set": picture.set,
                "patient_id": picture.patient_id,
                "unit_id": picture.unit_id,
                **{f"n {name}": n for name, n in zip(classes, found, strict=True)},
                **{f"true n {name}": n for name, n in zip(classes, there, strict=True)},
                "share": float(counts.share(found, classes)),
                "true share": float(counts.share(there, classes)),
            }
        )
    keys = ["set", "patient_id", "unit_id"]
    return pd.DataFrame(rows).groupby(keys, sort=False).mean().reset_index()
