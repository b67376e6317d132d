"""From the tables of a run to its figures: no network, no checkpoint, no shards."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from msk_jax.data.shards.folds import EXTERNAL, POOLED_SITES
from msk_jax.errors import UserError
from msk_jax.evaluation.studies.classes import evaluate_classes
from msk_jax.evaluation.studies.detections import counted_figures, precision_figures
from msk_jax.evaluation.studies.side_by_side import OUT_OF_FOLD, side_by_side
from msk_jax.experiment import Experiment
from msk_jax.files import write_json
from msk_jax.methods.procedures import Counts
from msk_jax.study.contributions import read_contributions
from msk_jax.study.detecting import VALIDATION, Detected, measured, read_detected
from msk_jax.study.feature_map import map_features
from msk_jax.study.listener import SILENT, Listener
from msk_jax.study.outputs import check_written, note_pooling, read_features
from msk_jax.study.package import MODEL_NAME, write_operating_points
from msk_jax.study.readers import read_or_simulate
from msk_jax.study.settings import note_evaluation, read_settings
from msk_jax.study.signs import read_maps_on_signs, signs_figures
from msk_jax.study.tables import Tables, pooled_anew, prefix, read_tables, write_tables
from msk_jax.tasks.settings import Detection


def evaluate(
    experiment: Experiment, workdir: Path, ratings: Path | None = None, listener: Listener = SILENT
) -> dict[str, Any]:
    """Judge a finished training by the tables that it left; gives what `metrics.json` holds.

    Args:
        experiment: of the workdir.
        workdir: of the training.
        ratings: of real readers, in place of simulated ones.
        listener: is told of the readers.

    Raises:
        UserError: the training is not finished, or a table is missing or faulty.
    """
    experiment.judging.evaluation.check()
    read_settings(workdir)  # so that a folder of something else is called so
    made = check_written(workdir)
    if isinstance(experiment.stages[0].task, Detection):
        metrics = judge_detector(read_detected(workdir), experiment)
        write_json(workdir / "metrics.json", metrics)
        note_evaluation(workdir, experiment)
        return metrics
    tables = read_tables(workdir, experiment.cohort.levels)
    settings = experiment.judging.evaluation
    if (made["unit_pool"], made["patient_pool"]) != (settings.unit_pool, settings.patient_pool):
        tables = pooled_anew(tables, experiment)
        write_tables(tables, workdir)
        note_pooling(workdir, made, settings)
    metrics = judge(tables, experiment)
    binary = len(experiment.cohort.classes) == 2
    if binary and (tables.test_sets or len(experiment.stages) > 1):
        metrics |= _side_by_side(tables, metrics, experiment, workdir)
    if ratings is not None or (experiment.judging.readers is not None and tables.test_sets):
        metrics["readers"] = _readers(tables, metrics, experiment, workdir, ratings, listener)
    maps = read_maps_on_signs(workdir)
    if maps is not None:
        metrics["explained"] = signs_figures(maps, settings.confidence)
    contributions = {
        stage.name: read_contributions(workdir / f"{stage.name}_contributions.csv")
        for stage in experiment.stages
    }
    if any(contributions.values()):
        metrics["contributions"] = {k: v for k, v in contributions.items() if v is not None}
    if experiment.network_stage is not None:
        metrics["features"] = map_features(read_features(workdir), settings.seed)
    write_json(workdir / "metrics.json", metrics)
    write_operating_points(workdir / MODEL_NAME, operating_points(metrics))
    note_evaluation(workdir, experiment)
    return metrics


def judge(tables: Tables, experiment: Experiment, **changes) -> dict[str, Any]:
    """The figures of these tables; `changes` of the evaluation's settings."""
    settings = dataclasses.replace(experiment.judging.evaluation, **changes)
    tables, cohort = _with_pooled_sites(tables, experiment), experiment.cohort
    return evaluate_classes(
        tables.test,
        tables.validation,
        tables.training,
        tables.test_sets,
        settings,
        cohort.label.classes,
        cohort.levels,
        cohort.label.ordinal,
    )


def judge_detector(detected: Detected, experiment: Experiment) -> dict[str, Any]:
    """The figures of what was detected and counted, by set of patients."""
    settings, cohort = experiment.judging.evaluation, experiment.cohort
    task, classes = experiment.stages[0].task, cohort.boxes.classes
    found: dict[str, Any] = {}
    pictures = detected.pictures[detected.pictures["set"] != VALIDATION]
    for name, asked in pictures.groupby("set", sort=False):
        # Of patients of no fold each network by itself; the figures are of the first.
        first = asked if name == OUT_OF_FOLD else asked[asked["fold"] == asked["fold"].min()]
        said = detected.detections[detected.detections["set"] == name]
        said = said if name == OUT_OF_FOLD else said[said["fold"] == first["fold"].min()]
        found[name] = precision_figures(
            first, detected.boxes, said, classes, task.overlap, settings
        )
    measured_by = {}
    for stage in experiment.stages:
        if isinstance(stage.method, Counts):
            table = measured(detected, stage.method, experiment)
            measured_by[stage.name] = {
                "share_of": list(stage.method.share_of),
                "score": stage.method.score,
                "sets": {
                    name: counted_figures(table[table["set"] == name], classes, settings)
                    for name in found
                },
            }
    folds = sorted({int(fold) for fold in pictures["fold"]})
    return {
        "settings": dataclasses.asdict(settings),
        "folds": folds,
        "levels": {level: {"n": 0} for level in cohort.levels},
        "detection": {"classes": list(classes), "sets": found},
        "measurements": measured_by,
    }


def operating_points(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """The threshold for new patients, by level; None where there is none."""
    return {
        level: figures["thresholds"]["predict"]["threshold"] if "thresholds" in figures else None
        for level, figures in metrics["levels"].items()
    }


def _side_by_side(
    tables: Tables, metrics: Mapping[str, Any], experiment: Experiment, workdir: Path
) -> dict[str, Any]:
    """All stages that are to know the same, in all sets of patients."""
    levels, (first, *others) = experiment.cohort.levels, experiment.stages
    everybody = _with_pooled_sites(tables, experiment)
    by_model = {first.name: _by_set(everybody, levels[-1])}
    figures = {first.name: metrics["levels"][levels[-1]]}
    for stage in others:
        said = read_tables(workdir, levels, prefix(experiment, stage))
        by_model[stage.name] = _by_set(_with_pooled_sites(said, experiment), levels[-1])
        figures[stage.name] = judge(said, experiment)["levels"][levels[-1]]
    return side_by_side(by_model, figures, experiment.judging.evaluation)


def _readers(
    tables: Tables,
    metrics: Mapping[str, Any],
    experiment: Experiment,
    workdir: Path,
    ratings: Path | None,
    listener: Listener,
) -> dict[str, Any]:
    if len(experiment.cohort.classes) != 2:
        raise UserError("A study of readers is of two classes, and this experiment has more.")
    threshold = operating_points(metrics)[experiment.cohort.levels[-1]]
    return read_or_simulate(experiment, tables.test_sets, threshold, workdir, ratings, listener)


def _with_pooled_sites(tables: Tables, experiment: Experiment) -> Tables:
    """With one more test set, of the patients of all external sites, where it is asked for and
    there are several."""
    external = [t for name, t in tables.test_sets.items() if name.startswith(EXTERNAL)]
    if not experiment.split.pool_sites or len(external) < 2:
        return tables
    pooled = {POOLED_SITES: pd.concat(external, ignore_index=True)}
    return dataclasses.replace(tables, test_sets={**tables.test_sets, **pooled})


def _by_set(tables: Tables, level: str) -> dict[str, pd.DataFrame]:
    """Rows of one level, out of fold and of each test set."""
    by_set = {OUT_OF_FOLD: tables.test, **tables.test_sets}
    return {name: table[table["level"] == level] for name, table in by_set.items()}
