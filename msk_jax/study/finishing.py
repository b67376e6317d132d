"""The end of a training: predictions of all stages, heat maps, the package."""

from pathlib import Path

import jax

from msk_jax.evaluation.studies.thresholds import operating_points
from msk_jax.experiment import Experiment
from msk_jax.study import outputs
from msk_jax.study.chain import Chain
from msk_jax.study.contributions import write_contributions
from msk_jax.study.detecting import detect_everybody, write_detected
from msk_jax.study.drawn_boxes import draw_examples
from msk_jax.study.heat_maps import choose, choose_of_classes, write_heat_maps
from msk_jax.study.listener import SILENT, Listener
from msk_jax.study.package import MODEL_NAME, save_model
from msk_jax.study.signs import Masks, maps_on_signs, write_maps_on_signs
from msk_jax.study.tables import Tables, prefix, write_tables
from msk_jax.study.training import Training, open_cohort
from msk_jax.tasks.settings import Detection
from msk_jax.training.parallel import on_first_host


def finish(
    chain: Chain,
    workdir: Path,
    masks: Masks | None = None,
    listener: Listener = SILENT,
    tables_alone: bool = False,
) -> None:
    """Leave what evaluation and new patients need, unless it is there already; on all hosts.

    Args:
        chain: whose networks are all trained.
        workdir: of it.
        masks: that heat maps are held against.
        listener: is told how it goes on.
        tables_alone: without heat maps and package, as ablations want it.

    Raises:
        UserError: a fold is not finished, a checkpoint is damaged, or something cannot be written.
    """
    training, experiment = chain.training, chain.experiment
    if outputs.are_written(chain, workdir, masks is not None):
        return
    if training is not None and isinstance(training.stage.task, Detection):
        return _finish_detector(chain, workdir, listener, tables_alone)
    predicted, answers = None, {}
    tables: dict[str, Tables] = {}
    if training is not None:
        predicted = outputs.predict_everybody(training, workdir, listener)
        tables[training.stage.name] = predicted.tables
        answers[training.stage.name] = predicted.answers
    fitted = chain.fit_estimators(answers, listener)
    explained = {} if tables_alone else chain.explain_estimators(answers, fitted, listener)
    tables |= {name: stage.tables for name, stage in fitted.items()}

    def write() -> None:
        for name, said in tables.items():
            write_tables(said, workdir, prefix(experiment, experiment.stage(name)))
        for name, table in explained.items():
            write_contributions(table, workdir / f"{name}_contributions.csv")
        if predicted is not None:
            outputs.write_features(predicted.features, workdir)
        if predicted is not None and not tables_alone:
            _explain(training, predicted, workdir, masks)

    on_first_host(write)
    if not tables_alone:
        save_model(
            workdir / MODEL_NAME,
            experiment,
            [] if predicted is None else predicted.ensemble,
            {name: stage.members for name, stage in fitted.items()},
            _thresholds_of(experiment, tables[experiment.stages[0].name]),
        )
    return on_first_host(lambda: outputs.mark_written(chain, workdir, masks is not None))


def _finish_detector(chain: Chain, workdir: Path, listener: Listener, tables_alone: bool) -> None:
    """The end of a detector's training."""
    experiment = chain.experiment
    detected, ensemble = detect_everybody(chain.training, workdir, listener)

    def write() -> None:
        write_detected(detected, experiment, workdir)
        if not tables_alone:
            draw_examples(detected, chain.training, workdir / "boxes")

    on_first_host(write)
    if not tables_alone:
        thresholds = dict.fromkeys(experiment.cohort.levels)
        save_model(workdir / MODEL_NAME, experiment, ensemble, {}, thresholds)
    on_first_host(lambda: outputs.mark_written(chain, workdir, False))


def _explain(
    training: Training, predicted: outputs.Predicted, workdir: Path, masks: Masks | None
) -> None:
    """Heat maps for the report, and how they lie on what masks mark."""
    experiment, stage = training.experiment, training.stage
    cohort, table = experiment.cohort, predicted.tables.test
    data = training.data
    if jax.process_count() > 1:
        data = open_cohort(experiment, stage, training.data_dir, training.cache_memory, alone=True)
    maps = None
    if masks is not None:
        maps = maps_on_signs(
            masks, experiment, stage, predicted.ensemble, data, training.folds, table
        )
    write_maps_on_signs(maps, workdir)
    if len(cohort.classes) == 2:
        unit = cohort.levels[1]
        points = operating_points(
            table, predicted.tables.validation, experiment.judging.evaluation, unit
        )
        limits = {entry["fold"]: entry["threshold"] for entry in points["per_fold"]}
        chosen = choose(table, limits, cohort.classes, cohort.levels)
    else:
        chosen = choose_of_classes(table, cohort.classes, cohort.levels)
    write_heat_maps(
        workdir / "cam", predicted.ensemble, data, training.folds, chosen, stage, cohort.levels[1]
    )


def _thresholds_of(experiment: Experiment, tables: Tables) -> dict[str, float | None]:
    """Where new patients are called positive, by level, until the run is evaluated otherwise."""
    if len(experiment.cohort.classes) > 2:
        return dict.fromkeys(experiment.cohort.levels)
    settings = experiment.judging.evaluation
    points = {
        level: operating_points(tables.test, tables.validation, settings, level)
        for level in experiment.cohort.levels
    }
    return {level: point["predict"]["threshold"] for level, point in points.items()}
