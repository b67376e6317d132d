"""Flags of the verbs that need no experiment."""

import dataclasses
import re
from pathlib import Path
from typing import Literal

import tyro

from msk_jax import console
from msk_jax import experiment as catalogue
from msk_jax.environment import check_devices
from msk_jax.evaluation.mrmc.settings import MrmcSettings
from msk_jax.evaluation.settings import ModelSettings
from msk_jax.flags.places import Place

Flat = tyro.conf.OmitArgPrefixes


@dataclasses.dataclass(frozen=True)
class Predict:
    """Predict the series of a folder with the networks of all folds."""

    workdir: Place
    """The folder of a finished `train`, or its `model` folder alone; may be in a bucket."""
    out: Path
    """New or empty folder for predictions.csv (of a detector boxes.csv, boxes.json and counts.csv),
    rejected.csv and pictures."""
    dicom: str | None = None
    """Folder with the DICOM files of new patients, a zip archive, a DICOMDIR, or the http(s)
    address of a DICOMweb service, as `https://host/dicom-web?PatientID=4711`. Of a system that
    reads a table alone there is none, but a --manifest."""
    key: Path | None = None
    """File with the key of the pseudonyms; by default your own in ~/.config/msk_jax."""
    manifest: Path | None = None
    """CSV that says where the units are (as for `build`, without labels), for systems that do not
    find them, and what else is known of patients."""
    pictures: bool = True
    """Draw the surest finding of each series with its heat map, or the boxes of a picture, a PNG
    each."""
    dicom_results: bool = False
    """Write a DICOM report and heat map for each series into OUT/dicom, unverified until a
    physician signs. Unlike all else there they name the patient, as the images do."""
    store: str = ""
    """Address of a DICOMweb service to send these to."""
    nifti_form: Literal["sform", "qform"] | None = None
    """Which statement of a NIfTI file about its place to trust where sform and qform differ; by
    default such a file is refused."""
    deshear: bool = False
    """Straighten volumes whose slices are tilted (gantry tilt); by default they are refused."""

    def run(self) -> None:
        from msk_jax.verbs import predict

        check_devices()
        predict.run(
            self.workdir,
            self.dicom,
            self.out,
            self.key,
            self.dicom_results,
            self.store,
            self.manifest,
            self.pictures,
            self.nifti_form,
            self.deshear,
        )


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Draft a manifest from the headers of a DICOM folder, labels empty."""

    dicom: tyro.conf.Positional[str]
    """Folder, zip archive, DICOMDIR or DICOMweb service."""
    experiment: str = "sacroiliitis"
    """Whose columns it has: a published system or a .py file of your own."""
    out: Path = Path("manifest.csv")
    """The draft; it names patients and belongs beside the DICOM files."""

    def run(self) -> None:
        from msk_jax.verbs import cohort

        cohort.draft(self.dicom, self.out, self.experiment)


@dataclasses.dataclass(frozen=True)
class Deidentify:
    """Copy DICOM files without what names a patient (PS3.15 Annex E, basic profile)."""

    dicom: tyro.conf.Positional[str]
    """Folder, zip archive, DICOMDIR or DICOMweb service."""
    out: Path
    """New or empty folder for the copies."""
    key: Path | None = None
    """File with the key of the pseudonyms; by default your own in ~/.config/msk_jax."""
    keep_characteristics: bool = False
    """Keep age, sex, size and weight."""
    allow_burned_in: bool = False
    """Copy images that may show text too; look at them first."""

    def run(self) -> None:
        from msk_jax.verbs import cohort

        cohort.deidentify(
            self.dicom, self.out, self.key, self.keep_characteristics, self.allow_burned_in
        )


@dataclasses.dataclass(frozen=True)
class Audit:
    """Look for identifiers of the source headers in shards, runs or reports; exit 1 on a hit."""

    folder: tyro.conf.Positional[Path]
    """What is to be searched: the data folder of `build`, the workdir of `train`."""
    dicom: str
    """The DICOM files it was made from."""

    def run(self) -> None:
        from msk_jax.verbs import cohort

        cohort.audit_folder(self.folder, self.dicom)


@dataclasses.dataclass(frozen=True)
class Inspect:
    """Draw a page of contact sheets and distributions of built shards."""

    data_dir: tyro.conf.Positional[Path]
    """The folder that `build` wrote."""
    out: Path | None = None
    """The page; by default inspect.html in the data folder."""

    def run(self) -> None:
        from msk_jax.verbs import cohort

        cohort.inspect(self.data_dir, self.out)


@dataclasses.dataclass(frozen=True)
class Fetch:
    """Bring series from a DICOMweb server into a folder; run again to go on where it stopped."""

    address: tyro.conf.Positional[str]
    """Of the service, filters behind it: `https://host/dicom-web?PatientID=4711&Modality=CT`. A
    token is taken from the environment variable MSK_JAX_DICOMWEB_TOKEN."""
    out: Path
    """Gets one folder a series, and rejected.csv, which lists those of which not all came."""

    def run(self) -> None:
        from msk_jax.verbs import fetch

        fetch.run(self.address, self.out)


@dataclasses.dataclass(frozen=True)
class Report:
    """Write one self-contained HTML page about an evaluated run."""

    workdir: Place
    """The folder that `evaluate` completed; may be in a bucket."""
    out: Place | None = None
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
        from msk_jax.data.privacy.pseudonyms import default_key_path, load_key, pseudonym

        key = load_key(self.key or default_key_path(None))
        for patient_id in self.ids:
            console.say(pseudonym(patient_id, key))


@dataclasses.dataclass(frozen=True)
class Experiments:
    """List the experiments."""

    markdown: bool = False
    """As the table of the README."""

    def run(self) -> None:
        columns = ("name", "modality", "task", "input", "source")
        papers = {name: catalogue.load(name).paper for name in catalogue.names()}
        rows = [
            [name, *(getattr(paper, column) for column in columns[1:])]
            for name, paper in papers.items()
        ]
        if not self.markdown:
            console.say_columns([columns, *rows])
            return
        print(_markdown_row(["experiment", *columns[1:]]))
        print("|---" * len(columns) + "|")
        for name, *others, source in rows:
            linked = re.sub(r"\b10\.\d{4,}/[^\s;]+", r"[\g<0>](https://doi.org/\g<0>)", source)
            print(_markdown_row([f"`{name}`", *others, linked]))


def _markdown_row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


@dataclasses.dataclass(frozen=True)
class Convert:
    """Carry weights from PyTorch to Flax or back, name by name and bit by bit.

    torch-to-flax reads a .pth or .safetensors state dict and writes a folder; flax-to-torch reads
    such a folder and writes a .pth or .safetensors file. No code in a pickle is executed.
    """

    direction: tyro.conf.Positional[Literal["torch-to-flax", "flax-to-torch"]]
    """Which way."""
    source: tyro.conf.Positional[Path]
    """The weight file, or the folder that an earlier conversion wrote."""
    out: Path
    """New folder, or new .pth or .safetensors file."""
    model: str = ""
    """Name of the network (torch-to-flax); `msk-jax models` lists them."""
    num_classes: int | None = None
    """Classes of the new head, a detector's with the background; by default as many as the file
    has. Where they differ the head starts afresh."""
    in_channels: int | None = None
    """Channels of the input; by default as many as the file has. Where they differ the first
    convolution is fitted by --inflation."""
    inflation: Literal["mean", "centre"] = "mean"
    """How colours become slices: every slice the same share, or the middle ones more."""
    naming: str = ""
    """Whose names the tensors have or get, as `timm`; found out when reading, the reference's own
    when writing."""
    size: tuple[int, ...] = ()
    """Pixels of the input, as `384 384`, where weights depend on them: weights of that size stay as
    they are, others are resampled. By default the network's native size."""

    def run(self) -> None:
        from msk_jax.verbs import convert

        if self.direction == "torch-to-flax":
            convert.to_flax(
                self.source,
                self.out,
                self.model,
                num_classes=self.num_classes,
                in_channels=self.in_channels,
                rule=self.inflation,
                naming=self.naming,
                size=self.size,
            )
        else:
            convert.to_torch(self.source, self.out, self.naming)


@dataclasses.dataclass(frozen=True)
class Parity:
    """Compare networks with their PyTorch references on this machine and print the table.

    Forward pass at the native size in float32 (what a detector chooses, in float64); loss,
    gradients and running statistics in training mode and ten steps of SGD and AdamW in float64, at
    a small size. A network that is further from its reference than its limits is an error.
    """

    models: tyro.conf.Positional[tuple[str, ...]] = ()
    """Names of networks; `msk-jax models` lists them."""
    all: bool = False
    """Every network: hours on a laptop."""
    small: bool = False
    """The forward pass at the small size too."""
    out: Path = Path("parity.csv")
    """The table; networks that it holds are not compared again."""

    def run(self) -> None:
        from msk_jax.verbs import parity

        check_devices()
        parity.run(self.models, self.all, self.small, self.out)


@dataclasses.dataclass(frozen=True)
class Models:
    """List the networks that `msk_jax.models.create` makes."""

    def run(self) -> None:
        from msk_jax.models.listing import LISTED

        rows = [("name", "parameters", "input", "equal to")]
        rows += [
            (name, f"{listed.parameters:,}", "x".join(map(str, listed.size)), listed.reference)
            for name, listed in sorted(LISTED.items())
        ]
        console.say_columns(rows)


@dataclasses.dataclass(frozen=True)
class EvaluateTable:
    """Judge a model by its table of predictions, whoever wrote it.

    The table is a CSV with a label (0 or 1) and a prob (0 to 1) per row, or of three and more
    classes a prob_<class> for each and their name as label; unit_id and patient_id where
    patients have several rows; any other columns, as site or sex.
    """

    predictions: Path
    """The table."""
    settings: Flat[ModelSettings]
    compare: Path | None = None
    """A second model's table of the same cases, to be held against the first."""
    validation: Path | None = None
    """The first model's table of other patients, on which the operating point is chosen; for the
    predictions.csv of a run its validation_predictions.csv, by folds."""
    level: str = ""
    """Which rows of a table with a column level; by default the largest that is there."""
    one_class: str = ""
    """Of a table of several classes, the one that is held against the rest."""
    decision_curve: bool = False
    """Add the net benefit over threshold probabilities."""
    by: tuple[str, ...] = ()
    """Columns whose groups are shown apart, as `--by site sex age`; ages in bands."""
    out: Path | None = None
    """Folder for figures.json and the pictures."""

    def run(self) -> None:
        from msk_jax.verbs import evaluate_table

        evaluate_table.run(
            self.predictions,
            self.settings,
            compare=self.compare,
            validation=self.validation,
            level=self.level,
            one_class=self.one_class,
            by=self.by,
            decisions=self.decision_curve,
            out=self.out,
        )


@dataclasses.dataclass(frozen=True)
class Mrmc:
    """Analyse a reader study: several readers, several cases, two or more modalities.

    The table is a CSV with one row per reading: reader, case, modality, truth (0 or 1), rating (a
    number, higher for 1), and optionally group, the group of the reader.
    """

    ratings: Path
    """The table."""
    settings: Flat[MrmcSettings]
    out: Path | None = None
    """Folder for mrmc.json and the pictures."""

    def run(self) -> None:
        from msk_jax.verbs import mrmc

        mrmc.run(self.ratings, self.settings, self.out)


VERBS = {
    "predict": Predict,
    "manifest": Manifest,
    "deidentify": Deidentify,
    "audit": Audit,
    "inspect": Inspect,
    "fetch": Fetch,
    "report": Report,
    "experiments": Experiments,
    "pseudonym": Pseudonym,
    "models": Models,
    "convert": Convert,
    "parity": Parity,
    "mrmc": Mrmc,
}

BY_FLAG = {("evaluate", "--predictions"): EvaluateTable}
"""Verbs of an experiment that need none where a flag names a file."""
