"""How the patients of a cohort are parted into folds and test sets, and written down."""

from dataclasses import dataclass
from pathlib import Path

from msk_jax.data.build.records import Rejection, Study, explain
from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.cohort.manifest import Manifest
from msk_jax.data.shards.folds import (
    HELD_OUT,
    SplitKind,
    check_held_out,
    check_split,
    cohort_digest,
    draw_held_out,
    external_sets,
    folds_by_group,
    make_folds,
    split_column,
    write_folds,
)
from msk_jax.errors import UserError


@dataclass(frozen=True)
class Parting:
    """How patients are parted into folds and test sets; see `builder.build_cohort`."""

    num_folds: int
    seed: int
    split: SplitKind
    held_out: float
    training_site: str

    @classmethod
    def checked(
        cls,
        cohort: Cohort,
        manifest: Manifest,
        num_folds: int,
        seed: int,
        split: SplitKind,
        held_out: float,
        training_site: str,
    ) -> "Parting":
        """Raises a UserError where the manifest or the kind of split does not allow it."""
        labels, classed = manifest.patient_labels(), cohort.label is not None
        num_folds = check_split(manifest.rows, labels, split, num_folds, classed)
        check_held_out(held_out, split)
        return cls(num_folds, seed, split, held_out, training_site)


def part(
    path: Path,
    cohort: Cohort,
    studies: list[Study],
    labels: dict[str, int],
    rejected: list[Rejection],
    parting: Parting,
) -> None:
    """Write the folds and test sets of the usable patients.

    Args:
        path: of the file.
        cohort: whether its patients have classes.
        studies: of all patients.
        labels: class of each usable patient.
        rejected: why others are not usable, for the sentence where too few are left.
        parting: how they are parted.

    Raises:
        UserError: too few patients are left.
    """
    tested = _test_sets(cohort, labels, studies, parting)
    outside = set().union(*tested.values())
    inside = {patient: label for patient, label in labels.items() if patient not in outside}
    try:
        folds = _folds(inside, studies, parting, cohort.label is not None)
    except UserError as error:
        raise UserError(f"{error} {explain(rejected)}".strip()) from None
    write_folds(path, folds, parting.seed, cohort_digest(labels), tested)


def _test_sets(
    cohort: Cohort, labels: dict[str, int], studies: list[Study], parting: Parting
) -> dict[str, list[str]]:
    """Patients in no fold: those of sites that are not trained on, and a share of the others. A
    split by site or by the manifest says itself who is tested."""
    if parting.split != "patient":
        return {}
    sites = {study.pseudonym: study.rows[0].site for study in studies if study.pseudonym in labels}
    sets = external_sets(sites, parting.training_site)
    outside = set().union(*sets.values())
    inside = {patient: label for patient, label in labels.items() if patient not in outside}
    return {HELD_OUT: draw_held_out(inside, parting.held_out, parting.seed), **sets}


def _folds(
    labels: dict[str, int], studies: list[Study], parting: Parting, classed: bool
) -> dict[str, int]:
    """Folds of these patients."""
    if parting.split == "patient":
        return make_folds(labels, parting.num_folds, parting.seed, classed)
    rows = {study.pseudonym: study.rows[0] for study in studies}
    column = split_column(parting.split)
    groups = {name: getattr(rows[name], column) for name in labels}
    return folds_by_group(groups, labels, parting.split, parting.num_folds, classed)
