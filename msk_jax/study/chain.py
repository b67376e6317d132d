"""The stages of an experiment on one built cohort, one after the other."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from msk_jax.data.shards.folds import check_sites, load_folds, load_test_sets
from msk_jax.data.shards.stored import open_stored, read_index
from msk_jax.errors import UserError
from msk_jax.experiment import Experiment
from msk_jax.methods.estimator import Estimator
from msk_jax.study.answers import Answers
from msk_jax.study.contributions import explain_stage
from msk_jax.study.estimating import FittedStage, Patients, fit_stage
from msk_jax.study.listener import SILENT, Listener
from msk_jax.study.patients import patients_of_records
from msk_jax.study.settings import check_cohort
from msk_jax.study.training import Training


@dataclasses.dataclass(frozen=True)
class Chain:
    """An experiment, its patients, and the networks that are to be trained."""

    experiment: Experiment
    data_dir: Path
    patients: Patients
    training: Training | None
    """Of its network; None where it has none."""
    seed: int
    """Of everything random but the network's training."""

    @classmethod
    def open(
        cls,
        experiment: Experiment,
        data_dir: Path,
        cache_memory: int | None = None,
        seed: int = 0,
    ) -> "Chain":
        """The chain on a built cohort.

        Args:
            experiment: whose stages are wanted.
            data_dir: the cohort.
            cache_memory: bytes of voxels that may be held, see `VoxelCache`.
            seed: of estimators; a network has its own, which is then theirs too.

        Raises:
            UserError: a recipe or the shards are not what they must be.
        """
        stage = experiment.network_stage
        if stage is None:
            check_cohort(experiment, data_dir)
            records, _ = read_index(open_stored(data_dir))
            training = None
            table = patients_of_records(experiment.cohort, records)
            labels = table["label"].to_dict()
            folds, test_sets = load_folds(data_dir, labels), load_test_sets(data_dir)
            check_sites(folds, test_sets, table["site"].to_dict())
        else:
            training = Training.open(experiment, stage, data_dir, cache_memory)
            table = patients_of_records(experiment.cohort, training.data.records)
            folds, test_sets = training.folds, training.test_sets
            seed = stage.method.recipe.seed
        for one in experiment.stages:
            one.method.check()
        patients = Patients(table, folds, test_sets, experiment.split.trained)
        return cls(experiment, data_dir, patients, training, seed)

    def fit_estimators(
        self, answers: Mapping[str, Answers], listener: Listener = SILENT
    ) -> dict[str, FittedStage]:
        """Every stage that learns from a table, in order.

        Args:
            answers: of the network, by its stage.
            listener: is told how it goes on.

        Raises:
            UserError: see `estimating.fit_stage`.
        """
        heard, fitted = dict(answers), {}
        stages = [one for one in self.experiment.stages if isinstance(one.method, Estimator)]
        with listener.progress("Fitting tables") as update:
            for done, stage in enumerate(stages):
                update(done, len(stages), stage.name)
                made = fit_stage(self.experiment, stage, self.patients, heard, self.seed)
                heard[stage.name], fitted[stage.name] = made.answers, made
            update(len(stages), len(stages), "")
        return fitted

    def explain_estimators(
        self,
        answers: Mapping[str, Answers],
        fitted: Mapping[str, FittedStage],
        listener: Listener = SILENT,
    ) -> dict[str, pd.DataFrame]:
        """How much each variable counts in each stage that learned from a table, by name; where
        the library for it is not installed, none and a sentence."""
        heard, tables = {**answers, **{k: v.answers for k, v in fitted.items()}}, {}
        try:
            with listener.progress("Explaining tables") as update:
                for done, (name, stage) in enumerate(fitted.items()):
                    update(done, len(fitted), name)
                    one = self.experiment.stage(name)
                    tables[name] = explain_stage(one, stage, self.patients, heard, self.seed)
                update(len(fitted), len(fitted), "")
        except UserError as error:
            listener.say(f"What the variables contribute is not shown. {error}")
            return {}
        return tables
