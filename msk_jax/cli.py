"""The command line: `msk-jax VERB [EXPERIMENT] [flags]`. Flags are made from dataclasses."""

import dataclasses
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import tyro

from msk_jax import experiment as catalogue
from msk_jax.data.augment import Preprocess
from msk_jax.errors import UserError
from msk_jax.evaluation.study import EvaluationSettings
from msk_jax.experiment import Experiment, Stage
from msk_jax.models.ms25dnet import MS25DNetConfig
from msk_jax.phantoms import SacroiliacPhantom
from msk_jax.training.recipe import Recipe
from msk_jax.verbs import console

Flat = tyro.conf.OmitArgPrefixes

USAGE = """msk-jax: musculoskeletal imaging AI, from DICOM to the statistics of a reader study

  msk-jax experiments                     which systems there are
  msk-jax demo EXPERIMENT                 the whole way on phantom patients, in minutes

  msk-jax phantom EXPERIMENT --out DIR    synthetic patients as DICOM series
  msk-jax build EXPERIMENT --dicom DIR --manifest CSV --data-dir DIR
                                          DICOM and labels to TFRecord shards
  msk-jax train EXPERIMENT --data-dir DIR --workdir DIR
                                          one network per fold; run again to resume
  msk-jax evaluate EXPERIMENT --data-dir DIR --workdir DIR
                                          out-of-fold predictions and figures
  msk-jax report --workdir DIR            one HTML page
  msk-jax predict --workdir DIR --dicom DIR --out DIR
                                          new patients, from the checkpoint alone
  msk-jax ablate EXPERIMENT --out DIR     what each part is worth, over seeds
  msk-jax pseudonym ID [ID ...]           the pseudonyms of patient IDs

`msk-jax VERB EXPERIMENT --help` explains every flag and shows that experiment's defaults.
EXPERIMENT is a name or a .py file that defines `experiment`.
"""


@dataclasses.dataclass(frozen=True)
class Phantom:
    """Write synthetic patients as a scanner would: one DICOM file per slice."""

    out: Path
    """New or empty folder."""
    phantom: Flat[SacroiliacPhantom]

    def run(self, experiment: Experiment) -> None:
        from msk_jax.verbs import phantom

        phantom.run(experiment, self.out, self.phantom)


@dataclasses.dataclass(frozen=True)
class Build:
    """Turn a DICOM folder and a manifest into TFRecord shards, folds and a list of rejections.

    The manifest is a CSV with one row per joint: patient_id, side (left or right), label, and
    series_uid or path (relative to the DICOM folder) or neither. Optional: patient_label, grade,
    lesion_z_mm, joint_top_mm and joint_bottom_mm, site, age, sex.
    """

    dicom: Path
    """Folder with the DICOM files, any depth, any names."""
    manifest: Path
    """CSV with one row per joint."""
    data_dir: Path
    """Where the shards go."""
    key: Path | None = None
    """File with the key of the pseudonyms; by default the pseudonym.key beside the manifest, else
    one of your own in ~/.config/msk_jax, made when first needed. Keep it: it alone links a
    pseudonym to a patient."""
    num_folds: int | None = None
    """Folds of the cross-validation; by default the experiment's."""
    seed: int = 0
    """Seed of the folds."""
    overwrite: bool = False
    """Replace another cohort in the data folder."""

    def run(self, experiment: Experiment) -> None:
        from msk_jax.verbs import build

        build.run(
            experiment, self.dicom, self.manifest, self.data_dir,
            self.key, self.num_folds, self.seed, self.overwrite,
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Train:
    """Train one network per fold on all local devices. Run the same command again to resume."""

    data_dir: Path
    """The folder that `build` wrote."""
    workdir: Path
    """Checkpoints, curves and settings go here."""
    model: Flat[MS25DNetConfig]
    preprocess: Flat[Preprocess]
    recipe: Flat[Recipe]
    small: bool = False
    """Start from the settings that a laptop trains in minutes, instead of the full ones."""
    fold: int | None = None
    """Train this fold only; to share folds among machines."""

    def run(self, experiment: Experiment) -> None:
        from msk_jax.verbs import train

        stage = Stage(self.model, self.preprocess, self.recipe)
        train.run(experiment, stage, self.data_dir, self.workdir, self.fold)


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Predict every patient by the network that never saw them, and draw the figures."""

    data_dir: Path
    """The folder that `build` wrote."""
    workdir: Path
    """The folder that `train` wrote."""
    evaluation: Flat[EvaluationSettings]

    def run(self, experiment: Experiment) -> None:
        from msk_jax.verbs import evaluate

        experiment = dataclasses.replace(experiment, evaluation=self.evaluation)
        evaluate.run(experiment, self.data_dir, self.workdir)


@dataclasses.dataclass(frozen=True)
class Ablate:
    """Train the system with parts taken away, over several seeds, and tabulate the difference."""

    out: Path
    """Everything goes here; run again to resume."""
    data_dir: Path | None = None
    """Shards of your own; by default the ablation's phantom patients are made."""
    seeds: int = 3
    """Runs of each variant."""
    only: tuple[str, ...] = ()
    """Words of the variants to run, as `--only "1 slice" "5 slices"`; none runs them all."""

    def run(self, experiment: Experiment) -> None:
        from msk_jax.verbs import ablate

        ablation = catalogue.load_ablation(experiment.name)
        ablate.run(experiment, ablation, self.out, self.data_dir, self.seeds, self.only)


@dataclasses.dataclass(frozen=True)
class Demo:
    """Phantom patients, build, train, evaluate, report: the whole way at laptop size."""

    out: Path = Path("demo")
    """Everything goes here; run again to resume."""
    patients: int = 29
    """How many phantom patients to make."""
    seed: int = 0
    """Seed of the patients, the folds and the training."""

    def run(self, experiment: Experiment) -> None:
        from msk_jax.verbs import demo

        demo.run(experiment, self.out, self.patients, self.seed)


@dataclasses.dataclass(frozen=True)
class Predict:
    """Predict the CT series of a folder with the networks of all folds."""

    workdir: Path
    """The folder that `evaluate` completed, or its `model` folder alone."""
    dicom: Path
    """Folder with the DICOM files of new patients."""
    out: Path
    """New or empty folder for predictions.csv, rejected.csv and pictures."""
    key: Path | None = None
    """File with the key of the pseudonyms; by default your own in ~/.config/msk_jax."""

    def run(self) -> None:
        from msk_jax.verbs import predict

        predict.run(self.workdir, self.dicom, self.out, self.key)


@dataclasses.dataclass(frozen=True)
class Report:
    """Write one self-contained HTML page about an evaluated run."""

    workdir: Path
    """The folder that `evaluate` completed."""
    out: Path | None = None
    """The page; by default report.html in the workdir."""

    def run(self) -> None:
        from msk_jax.verbs import report

        report.run(self.workdir, self.out)


@dataclasses.dataclass(frozen=True)
class Pseudonym:
    """Print the pseudonym of each patient ID, to find a patient of a table again."""

    ids: tyro.conf.Positional[tuple[str, ...]]
    """Patient IDs as in the DICOM headers."""
    key: Path | None = None
    """File with the key; by default your own in ~/.config/msk_jax."""

    def run(self) -> None:
        from msk_jax.data.deidentify import default_key_path, load_key, pseudonym

        key = load_key(self.key or default_key_path(None))
        for patient_id in self.ids:
            console.say(pseudonym(patient_id, key))


@dataclasses.dataclass(frozen=True)
class Experiments:
    """List the experiments."""

    def run(self) -> None:
        columns = ("name", "modality", "task", "input", "source")
        rows = [columns]
        rows += [
            tuple(getattr(catalogue.load(name), column) for column in columns)
            for name in catalogue.names()
        ]
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        for row in rows:
            console.say("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())


WITH_EXPERIMENT = {
    "phantom": Phantom, "build": Build, "train": Train, "evaluate": Evaluate, "ablate": Ablate,
    "demo": Demo,
}  # fmt: skip
PLAIN = {"predict": Predict, "report": Report, "experiments": Experiments, "pseudonym": Pseudonym}


def main(args: Sequence[str] | None = None) -> None:
    """Run one verb. Exit status 0, or 2 with a sentence where something given cannot be used."""
    _cache_compilations()
    try:
        _dispatch(list(sys.argv[1:] if args is None else args))
    except UserError as error:
        _leave(str(error))
    except OSError as error:
        where, what = error.filename or "A file", error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
            _leave(
                f"{where} could not be written ({what}). Make room or give another folder, then "
                "run the same command again."
            )
        _leave(f"{where} could not be read or written ({what}). Check the path and its rights.")
    except KeyboardInterrupt:
        print("Stopped. Run the same command again to go on.", file=sys.stderr)
        sys.exit(130)


def _cache_compilations() -> None:
    """Let a verb reuse what an earlier one compiled, unless the user has set another place."""
    import jax

    if jax.config.jax_compilation_cache_dir is None:
        home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
        jax.config.update("jax_compilation_cache_dir", str(home / "msk_jax" / "xla"))


def _leave(sentence: str) -> None:
    print(f"msk-jax: {sentence}", file=sys.stderr)
    sys.exit(2)


def _dispatch(args: list[str]) -> None:
    if not args or args[0] in ("-h", "--help"):
        print(USAGE)
        return
    verb, rest = args[0], args[1:]
    if verb in PLAIN:
        tyro.cli(PLAIN[verb], args=rest, prog=f"msk-jax {verb}").run()
        return
    if verb not in WITH_EXPERIMENT:
        known = ", ".join([*WITH_EXPERIMENT, *PLAIN])
        raise UserError(f"There is no verb {verb!r}. The verbs are: {known}.")
    if not rest or rest[0].startswith("-"):
        if {"-h", "--help"} & set(rest):
            rest = [catalogue.names()[0], *rest]
        else:
            raise UserError(
                f"Name the experiment: `msk-jax {verb} EXPERIMENT ...`; there is "
                f"{', '.join(catalogue.names())}."
            )
    # What is printed as the next command must find the experiment again, also by its file.
    found = dataclasses.replace(catalogue.load(rest[0]), address=rest[0])
    cls = WITH_EXPERIMENT[verb]
    default = _defaults(cls, found, small="--small" in rest)
    tyro.cli(cls, args=rest[1:], default=default, prog=f"msk-jax {verb} {rest[0]}").run(found)


def _defaults(cls: type, experiment: Experiment, small: bool):
    """The verb's flags with the experiment's own values."""
    stage = experiment.small if small else experiment.stage
    own = {
        "phantom": experiment.phantom,
        "evaluation": experiment.evaluation,
        "model": stage.model,
        "preprocess": stage.preprocess,
        "recipe": stage.recipe,
    }
    values = {}
    for field in dataclasses.fields(cls):
        if field.name in own:
            values[field.name] = own[field.name]
        elif field.default is dataclasses.MISSING:
            values[field.name] = tyro.MISSING
    return cls(**values)
