"""Flags of the verbs that take an experiment."""

import dataclasses
from pathlib import Path
from typing import Literal

import tyro

from msk_jax import experiment as catalogue
from msk_jax.data.feed.augment import Preprocess
from msk_jax.dotted import changed
from msk_jax.environment import check_devices
from msk_jax.errors import UserError
from msk_jax.evaluation.settings import EvaluationSettings
from msk_jax.experiment import Experiment, Stage
from msk_jax.flags.places import Place
from msk_jax.memory import size_in_bytes
from msk_jax.methods.network import Network
from msk_jax.models import NetworkConfig
from msk_jax.phantoms import AnyPhantom
from msk_jax.training.recipe import Phase, Recipe

Flat = tyro.conf.OmitArgPrefixes
# Of several types the flags are those of the experiment's own.
Own = tyro.conf.AvoidSubcommands


@dataclasses.dataclass(frozen=True, kw_only=True)
class Changes:
    """Settings of the experiment that are otherwise for this command."""

    set: tuple[str, ...] = ()
    """Settings by their paths, as `--set classify.recipe.epochs=40 split.folds=3`; a path that is
    none is answered with the nearest one. Give `build`, `train` and `evaluate` the same."""


@dataclasses.dataclass(frozen=True)
class Phantom(Changes):
    """Write synthetic patients as a scanner would: one DICOM file per slice."""

    out: Path
    """New or empty folder."""
    phantom: Flat[Own[AnyPhantom]]

    def run(self, experiment: Experiment) -> None:
        from msk_jax.verbs import phantom

        phantom.run(experiment, self.out, self.phantom)


@dataclasses.dataclass(frozen=True)
class Build(Changes):
    """Turn a DICOM folder and a manifest into TFRecord shards, folds and a list of rejections; of a
    system that reads a table alone, the manifest.

    The manifest is a CSV with one row per unit: patient_id, side of a joint (left or right) or
    level of a vertebra (T12, ...), label, and series_uid or path (relative to the DICOM folder) or
    neither. Vertebrae need centre_x_mm, centre_y_mm and centre_z_mm. Optional for joints: grade,
    lesion_z_mm, joint_top_mm and joint_bottom_mm; for all: patient_label, site, age, sex.
    """

    manifest: Path
    """CSV with one row per unit."""
    data_dir: Path
    """Where the shards go."""
    dicom: str | None = None
    """Folder with the DICOM files (any depth, any names, zip archives too), a zip archive, a
    DICOMDIR, or the http(s) address of a DICOMweb service; a token for it is taken from the
    environment variable MSK_JAX_DICOMWEB_TOKEN."""
    key: Path | None = None
    """File with the key of the pseudonyms; by default the pseudonym.key beside the manifest, else
    one of your own in ~/.config/msk_jax, made when first needed. Keep it: it alone links a
    pseudonym to a patient."""
    num_folds: int | None = None
    """Folds of the cross-validation; by default the experiment's."""
    held_out: float | None = None
    """Share of the patients kept out of all folds for a last test; by default the experiment's."""
    seed: int = 0
    """Seed of the folds."""
    overwrite: bool = False
    """Replace another cohort in the data folder."""
    split: Literal["patient", "site", "manifest"] = "patient"
    """Folds of patients; each site a fold (leave one site out); or test, validation and train as
    the manifest's column `split` says, of which model 0 is the one that was meant."""
    workers: int = 1
    """Processes that read DICOM files. The shards are the same for any number."""
    cache: Path | None = None
    """Folder for converted studies, crops under pseudonyms; a later build converts only what is
    not in it."""
    beam: tuple[str, ...] | None = None
    """Read by an Apache Beam pipeline, whose options follow as name=value, for example
    `--beam runner=FlinkRunner flink_master=host:8081`; without any it runs on this machine. The
    workers see the DICOM files, the data folder and the cache under the same paths. The shards are
    the same."""
    refuse_below: Literal["poor", "acceptable", "good"] | None = None
    """Leave out scans whose quality has a lower grade, with the reason in rejected.csv. The limits
    of the grades are the experiment's (`Cohort.limits`); by default none is left out."""
    nifti_form: Literal["sform", "qform"] | None = None
    """Which statement of a NIfTI file about its place to trust where sform and qform differ; by
    default such a file is refused."""
    deshear: bool = False
    """Straighten volumes whose slices are tilted (gantry tilt); by default they are refused."""

    def run(self, experiment: Experiment) -> None:
        from msk_jax.verbs import build

        build.run(
            experiment,
            self.dicom,
            self.manifest,
            self.data_dir,
            self.key,
            self.num_folds,
            self.seed,
            self.overwrite,
            self.split,
            self.workers,
            self.cache,
            self.held_out,
            self.beam,
            self.refuse_below,
            self.nifti_form,
            self.deshear,
        )


@dataclasses.dataclass(frozen=True)
class Train(Changes):
    """Train one network per fold on all devices. Run the same command again to resume.

    When all are trained, every patient is predicted by the network that never saw them: tables,
    heat maps and the model for `predict` are left in the workdir.

    On several hosts, run it on each: on the workers of a TPU VM and in the tasks of Slurm they find
    each other; elsewhere give --coordinator, --num-hosts and --host. They share --workdir.
    """

    data_dir: Place
    """The folder that `build` wrote, or a copy of it in a bucket, as gs://bucket/shards."""
    workdir: Place
    """Checkpoints, curves and settings go here; may be in a bucket too."""
    model: Flat[Own[NetworkConfig]]
    preprocess: Flat[Preprocess]
    recipe: Flat[Recipe]
    before: tuple[Phase, ...] = ()
    """Phases that come before the recipe, as many as the experiment has."""
    small: bool = False
    """Start from the settings that a laptop trains in minutes, instead of the full ones."""
    fold: int | None = None
    """Train this fold only; to share folds among machines."""
    dry_run: bool = False
    """Print the plan (devices, batch, steps, memory, disk) and stop."""
    histograms: bool = False
    """Write the distribution of every parameter to TensorBoard after each epoch."""
    profile: bool = False
    """Trace five early steps into WORKDIR/profile, for TensorBoard or Perfetto."""
    masks: Path | None = None
    """Folder of masks (<patient_id>.nii.gz or <patient_id>_<unit>.nii.gz) of what heat maps should
    show: how much of them lies there is measured."""
    key: Path | None = None
    """File with the key of the pseudonyms, to find a patient's mask; by default the pseudonym.key
    beside the folder of masks."""
    nifti_form: Literal["sform", "qform"] | None = None
    """Which statement of a mask about its place to trust where sform and qform differ; by default
    such a mask is refused."""
    cache_memory: str | None = None
    """Most memory for voxels, as 8GB or 500MB; what does not fit is read from the shards when it is
    wanted. By default a third of what the machine or its container allows; of several
    hosts on one machine each takes as much."""
    coordinator: str | None = None
    """host:port of the first of several hosts."""
    num_hosts: int | None = None
    """How many hosts there are."""
    host: int | None = None
    """Which of them this is, from 0."""

    def run(self, experiment: Experiment) -> None:
        from msk_jax.training.parallel import join_hosts
        from msk_jax.training.watch import Watching
        from msk_jax.verbs import train

        join_hosts(self.coordinator, self.num_hosts, self.host)
        check_devices()
        stage = _stage(
            experiment, self.small, self.model, self.preprocess, self.recipe, self.before
        )
        train.run(
            experiment.with_stage(stage),
            self.data_dir,
            self.workdir,
            self.fold,
            watching=Watching(self.histograms, self.workdir / "profile" if self.profile else None),
            dry_run=self.dry_run,
            masks=self.masks,
            key=self.key,
            nifti_form=self.nifti_form,
            cache_memory=size_in_bytes(self.cache_memory) if self.cache_memory else None,
        )


@dataclasses.dataclass(frozen=True)
class TrainTable(Changes):
    """Fit the stages of a system that reads a table, one model per fold, and leave what they say of
    every patient: tables, and the models for `predict`."""

    data_dir: Place
    """The folder that `build` wrote, or a copy of it in a bucket, as gs://bucket/shards."""
    workdir: Place
    """Tables, models and settings go here; may be in a bucket too."""
    seed: int = 0
    """Of everything random."""
    small: bool = False
    """Start from the settings of a laptop, instead of the full ones."""
    dry_run: bool = False
    """Print the plan and stop."""

    def run(self, experiment: Experiment) -> None:
        from msk_jax.verbs import train

        if self.seed < 0:
            raise UserError(f"--seed is {self.seed}; it may be from 0 upwards.")
        system = experiment.at_small_size() if self.small else experiment
        train.run(system, self.data_dir, self.workdir, dry_run=self.dry_run, seed=self.seed)


@dataclasses.dataclass(frozen=True)
class TpuCheck(Changes):
    """Compile the training step for a TPU slice, without one: memory, operations, an estimate."""

    model: Flat[Own[NetworkConfig]]
    preprocess: Flat[Preprocess]
    recipe: Flat[Recipe]
    topology: str = "v5e:16x16"
    """Chip and sides of the slice; chips are v4, v5e, v5p and v6e."""
    batch_per_device: int = 16
    """Examples per chip and step; takes the place of --batch-size."""
    small: bool = False
    """Start from the settings that a laptop trains in minutes, instead of the full ones."""

    def run(self, experiment: Experiment) -> None:
        from msk_jax.verbs import tpu_check

        stage = _stage(experiment, self.small, self.model, self.preprocess, self.recipe)
        tpu_check.run(experiment, stage, self.topology, self.batch_per_device)


@dataclasses.dataclass(frozen=True)
class Evaluate(Changes):
    """Judge the predictions of a finished training: figures with intervals, by its tables alone.

    `msk-jax evaluate --predictions FILE` judges a table of predictions instead, from any model;
    `msk-jax evaluate --predictions FILE --help` explains its flags.
    """

    workdir: Place
    """The folder that `train` wrote, here or in a bucket."""
    evaluation: Flat[EvaluationSettings]
    ratings: Path | None = None
    """Ratings (0 to 100, from 50 a call of the second class) of real readers for the patients of
    the test sets, without and with the network's help, as `msk-jax mrmc` takes them; modalities
    `unaided` and `aided`. By default the experiment's readers, if any, are simulated."""

    def run(self, experiment: Experiment) -> None:
        from msk_jax.training.parallel import check_alone
        from msk_jax.verbs import evaluate

        check_alone("evaluate")
        experiment = changed(experiment, {"judging.evaluation": self.evaluation})
        evaluate.run(experiment, self.workdir, self.ratings)


@dataclasses.dataclass(frozen=True)
class Ablate(Changes):
    """Train the system with parts taken away, over several seeds, and tabulate the difference."""

    out: Path
    """Everything goes here; run again to resume."""
    data_dir: Path | None = None
    """Shards of your own; by default the ablation's phantom patients are made."""
    seeds: int = 3
    """Runs of each variant."""
    only: tuple[str, ...] = ()
    """Words of the variants to run, as `--only "1 slice" "5 slices"`; none runs them all."""
    init_from: Path | None = None
    """Weights (.safetensors or .pth) that fit the experiment's full network: adds that network with
    and without them to the variants."""

    def run(self, experiment: Experiment) -> None:
        from msk_jax.verbs import ablate

        check_devices()
        ablation = catalogue.load_ablation(experiment.name)
        ablate.run(
            experiment, ablation, self.out, self.data_dir, self.seeds, self.only, self.init_from
        )


@dataclasses.dataclass(frozen=True)
class Demo(Changes):
    """Phantom patients, build, train, evaluate, report: the whole way at laptop size."""

    out: Path = Path("demo")
    """Everything goes here; run again to resume."""
    patients: int | None = None
    """How many phantom patients to make; by default as many as suit a laptop."""
    seed: int = 0
    """Seed of the patients, the folds and the training."""

    def run(self, experiment: Experiment) -> None:
        from msk_jax.verbs import demo

        check_devices()
        patients = (
            experiment.at_small_size().phantom.patients if self.patients is None else self.patients
        )
        demo.run(experiment, self.out, patients, self.seed)


def _stage(
    experiment: Experiment,
    small: bool,
    model: NetworkConfig,
    preprocess: Preprocess,
    recipe: Recipe,
    before: tuple[Phase, ...] = (),
) -> Stage:
    """The experiment's stage with a network of these flags."""
    system = experiment.at_small_size() if small else experiment
    method = Network(model, preprocess, recipe, before)
    return dataclasses.replace(system.network_stage, method=method)


VERBS = {
    "phantom": Phantom,
    "build": Build,
    "train": Train,
    "evaluate": Evaluate,
    "ablate": Ablate,
    "tpu-check": TpuCheck,
    "demo": Demo,
}
OF_NETWORKS = ("train", "ablate", "tpu-check")
"""Verbs whose flags are those of a network; `train` has others for a table."""
