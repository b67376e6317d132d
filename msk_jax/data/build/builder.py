"""Build a cohort: DICOM folder and manifest in; shards, folds, cohort facts and rejections out.

`data_dir` holds afterwards `<name>/<version>/` (TFRecord shards and their index), `splits.json`,
`cohort.json`, `quality.csv` and `rejected.csv`. All of it is written to a temporary sibling folder
and moved into place at the end, so that an interrupted build leaves nothing that looks whole.
"""

import csv
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from msk_jax.config import to_json
from msk_jax.data.build.beam import convert_with_beam, pipeline_options
from msk_jax.data.build.cohort_figures import GradedScan, cohort_table, write_quality
from msk_jax.data.build.conversion import Converted, convert
from msk_jax.data.build.parting import Parting, part
from msk_jax.data.build.records import (
    Rejection,
    Study,
    assign_series,
    explain,
    reject,
    screen_notes,
    summarise,
    table_record,
)
from msk_jax.data.build.writing import write_shards
from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.cohort.manifest import Manifest, read_manifest
from msk_jax.data.images.volume import ReadOptions
from msk_jax.data.privacy.pseudonyms import (
    default_key_path,
    load_key,
    load_or_create_key,
    pseudonym,
)
from msk_jax.data.quality.grading import GRADES, grade_scan, shortfall
from msk_jax.data.quality.measure import UNREAD_AGE
from msk_jax.data.shards import build_folder as target
from msk_jax.data.shards.folds import SplitKind
from msk_jax.data.shards.stored import VERSION
from msk_jax.data.sources.scan import Scan, scan
from msk_jax.data.sources.source import opened
from msk_jax.errors import UserError
from msk_jax.files import csv_text

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class BuildSummary:
    """What a build did."""

    data_dir: Path
    built: bool
    """False: the folder already holds this very cohort and nothing was done."""

    num_patients: int
    num_units: int
    num_stacks: int
    num_rejected: int
    """Manifest rows in `rejected.csv`."""

    num_poor: int
    """Scans in the shards whose quality is poor or unusable, see `quality.csv`."""

    num_skipped_files: int
    """Files of the DICOM folder that belong to no image series."""

    rejected: str
    """The most frequent reasons, in a sentence or two; '' if no row was rejected."""

    num_unread_ages: int = 0
    """Scans in the shards whose age is unknown because the header writes it in an odd way."""

    notes: tuple[str, ...] = ()
    """Sentences for the screen alone, as they name files."""


@dataclass
class _Collected:
    """Everything about the records but their pixels, gathered while these stream to disk."""

    rejected: list[Rejection]
    records: list[dict] = field(default_factory=list)
    scans: list[GradedScan] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    def patient_labels(self) -> dict[str, int]:
        return {record["patient_id"]: record["patient_label"] for record in self.records}


@dataclass(frozen=True)
class _Plan:
    """What studies are converted by; see `build_cohort`."""

    cohort: Cohort
    manifest: Manifest
    key: bytes
    refuse_below: str | None
    workers: int
    cache: Path | None
    beam: Sequence[str] | None
    options: ReadOptions | None
    progress: Progress


def build_cohort(
    cohort: Cohort,
    dicom: str | Path | None,
    manifest: Path,
    data_dir: Path,
    key: Path | None = None,
    num_folds: int = 5,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
    split: SplitKind = "patient",
    workers: int = 1,
    cache: Path | None = None,
    held_out: float = 0.0,
    beam: Sequence[str] | None = None,
    refuse_below: str | None = None,
    options: ReadOptions | None = None,
    training_site: str = "",
) -> BuildSummary:
    """Build the shards of a cohort, unless `data_dir` already holds them.

    Args:
        cohort: what to build.
        dicom: folder with the DICOM files, or another source, see `source.opened`; None for a
            cohort without images.
        manifest: CSV, see `manifest.read_manifest`.
        data_dir: where the shards go.
        key: of the pseudonyms; by default the one beside the manifest or the user's own, made once.
        num_folds: of the cross-validation.
        seed: of the folds.
        overwrite: replace another build in `data_dir`.
        progress: called as `progress(done, total, note)`, first over files, then over series.
        split: `patient`, folds of patients; `site`, each site a fold (leave one site out);
            `manifest`, test, validation and training patients as its column `split` says.
        workers: processes that read DICOM files; the shards are the same for any number.
        cache: folder for converted studies; a later build converts only what is not in it.
        held_out: share of the patients who are in no fold; with folds of patients only.
        beam: options of a pipeline that reads in place of `workers`, see `beam.pipeline_options`.
        refuse_below: the lowest of `grading.GRADES` that a scan may have; None: none is refused.
        options: of `region.asked_options`, where volumes leave a choice.
        training_site: whose patients are in folds, those of each other site a test set; with folds
            of patients only; '': sites play no part.

    Raises:
        UserError: a faulty manifest, a folder without DICOM, nothing usable, too few patients for
            the folds, a target that cannot be written, is full, or holds something else.
    """
    if beam is not None:
        pipeline_options(beam)  # told before anything is read
    checked = read_manifest(Path(manifest), cohort)
    parting = Parting.checked(cohort, checked, num_folds, seed, split, held_out, training_site)
    secret = load_key(key) if key else load_or_create_key(default_key_path(Path(manifest)))
    fingerprint = _fingerprint(cohort, checked, secret, parting, refuse_below, options)
    previous = target.existing_build(data_dir, cohort.name, fingerprint, overwrite)
    if previous is not None:
        return BuildSummary(data_dir=data_dir, built=False, **previous)
    progress = progress or (lambda *_: None)
    plan = _Plan(cohort, checked, secret, refuse_below, workers, cache, beam, options, progress)
    with target.staging(data_dir, cohort.name, _room_needed(cohort, checked, beam)) as staged:
        if cohort.image is None:
            studies, collected, num_skipped = _take_table(plan, staged)
        else:
            studies, collected, num_skipped = _convert_source(plan, dicom, staged)
        labels = collected.patient_labels()
        part(staged / target.SPLITS_NAME, cohort, studies, labels, collected.rejected, parting)
        build = _counts(collected, num_skipped, checked)
        _write_tables(staged, cohort, collected, build, fingerprint, checked.path)
    return BuildSummary(data_dir=data_dir, built=True, **build, notes=collected.notes)


def _converted(plan: _Plan, studies: list[Study], shared: Path) -> Iterator[Converted]:
    """Studies converted by processes of this machine, or by a pipeline that shares a folder."""
    if plan.beam is None:
        return convert(studies, plan.cohort, plan.manifest, plan.workers, plan.cache)
    return convert_with_beam(studies, plan.cohort, plan.manifest, plan.beam, shared, plan.cache)


def _convert_source(
    plan: _Plan, dicom: str | Path | None, staged: Path
) -> tuple[list[Study], _Collected, int]:
    """Write the shards of what the source holds to `staged`; gives the number of files passed over
    too."""
    if dicom is None:
        raise UserError(
            f"The cohort {plan.cohort.name} has images. Give the folder with the DICOM files by "
            "--dicom."
        )

    def noted(what: str) -> Progress:
        return lambda done, total, _: plan.progress(done, total, what)

    # The workers of a pipeline must see what archives hold.
    unpacked = None if plan.beam is None else staged
    with opened(dicom, _filters(plan.manifest), noted("fetching"), unpacked) as source:
        found = scan(source.folder, noted("reading headers"), source.files, source.unpacked)
        studies, collected = _assign(plan, found)
        with closing(_converted(plan, studies, staged)) as converted:
            graded = _graded(plan, studies, converted, collected)
            write_shards(plan.cohort, _read(plan, studies, graded, collected), staged)
    return studies, collected, len(found.skipped)


def _take_table(plan: _Plan, staged: Path) -> tuple[list[Study], _Collected, int]:
    """Write the shards of a cohort without images, whose manifest says all that there is."""
    names = _pseudonyms(plan)
    studies = [
        Study(row.patient_id, names[row.patient_id], (row,), ()) for row in plan.manifest.rows
    ]
    studies.sort(key=lambda study: study.pseudonym)
    collected = _Collected([])
    of_table = (([table_record(s.rows[0], s.pseudonym, plan.cohort)], []) for s in studies)
    write_shards(plan.cohort, _read(plan, studies, of_table, collected), staged)
    return studies, collected, 0


def _filters(manifest: Manifest) -> list[dict[str, str]]:
    """What to ask a server for: the series of the manifest, or else all of its patients."""
    asked = {
        ("SeriesInstanceUID", row.series_uid) if row.series_uid else ("PatientID", row.patient_id)
        for row in manifest.rows
    }
    return [{keyword: value} for keyword, value in sorted(asked)]


def _write_tables(
    folder: Path,
    cohort: Cohort,
    collected: _Collected,
    build: dict,
    fingerprint: dict,
    manifest: Path,
) -> None:
    """What is known of the cohort beside its shards and folds."""
    _write_rejected(folder / target.REJECTED_NAME, collected.rejected)
    if collected.scans:
        write_quality(folder / target.QUALITY_NAME, collected.scans)
    content = {
        **cohort_table(cohort, collected.records, collected.scans),
        # Written by the phantom generator: a report must not pass these off as patients.
        "is_phantom": (manifest.parent / "phantom.json").is_file(),
        "num_folds": fingerprint["num_folds"],
        "rejected": len(collected.rejected),
        "build": build,
        "fingerprint": fingerprint,
    }
    (folder / target.COHORT_NAME).write_text(json.dumps(content, indent=1) + "\n")


def _fingerprint(
    cohort: Cohort,
    manifest: Manifest,
    key: bytes,
    parting: Parting,
    refuse_below: str | None,
    options: ReadOptions | None,
) -> dict:
    """What tells one build from another."""
    return {
        "manifest_sha256": manifest.sha256,
        "config": to_json(cohort),
        **asdict(parting),
        "version": VERSION,
        # Tells another key from this one without giving anything away.
        "key_check": hmac.new(key, b"msk_jax key check", hashlib.sha256).hexdigest()[:16],
        "refuse_below": refuse_below,
        **({} if options is None else {"options": asdict(options)}),
        **({} if cohort.boxes is None else {"annotations_sha256": manifest.boxes_digest()}),
    }


def _pseudonyms(plan: _Plan) -> dict[str, str]:
    """By patient_id."""
    patients = {row.patient_id for row in plan.manifest.rows}
    names = {patient: pseudonym(patient, plan.key) for patient in patients}
    if len(set(names.values())) < len(names):
        raise UserError(
            "Two patients of the manifest get the same pseudonym with this key. Give another key "
            "with --key."
        )
    return names


def _assign(plan: _Plan, found: Scan) -> tuple[list[Study], _Collected]:
    names = _pseudonyms(plan)
    studies, rejected = assign_series(plan.manifest, found, plan.cohort.modality, names)
    studies = [replace(study, options=plan.options) for study in studies]
    return studies, _Collected(rejected, notes=screen_notes(studies, rejected, found))


def _graded(
    plan: _Plan, studies: list[Study], converted: Iterator[Converted], collected: _Collected
) -> Iterator[tuple[list[dict], list[Rejection]]]:
    """Grade each scan, and refuse those below a grade."""
    limits = plan.cohort.limits
    lowest = 0 if plan.refuse_below is None else GRADES.index(plan.refuse_below)
    for study, (records, rejected, facts) in zip(studies, converted, strict=True):
        if facts is not None:
            grade = grade_scan(facts.figures(), limits)
            reason = shortfall(grade, facts.figures(), limits, lowest)
            collected.scans.append(GradedScan(facts, grade, used=not reason))
            if reason:
                units = {record["unit"] for record in records}
                rows = [row for row in study.rows if row.unit in units]
                rejected = rejected + [reject(row, study.pseudonym, reason) for row in rows]
                records = []
        yield records, rejected


def _read(
    plan: _Plan,
    studies: list[Study],
    graded: Iterator[tuple[list[dict], list[Rejection]]],
    collected: _Collected,
) -> Iterator[dict]:
    """Stream the records of one study after the other, and remember what the summary needs."""
    for i, study in enumerate(studies):
        plan.progress(i, len(studies), study.pseudonym)
        records, rejected = next(graded)
        collected.rejected += rejected
        for record in records:
            collected.records.append({k: v for k, v in record.items() if k != "volume"})
            yield record
    plan.progress(len(studies), len(studies), "")
    if not collected.records:
        raise UserError(
            f"Nothing usable is left of the cohort, so nothing was built. "
            f"{explain(collected.rejected)}"
        )


def _counts(collected: _Collected, num_skipped: int, manifest: Manifest) -> dict:
    unread = [UNREAD_AGE in scan.facts.missing_tags for scan in collected.scans if scan.used]
    return {
        "num_patients": len(collected.patient_labels()),
        "num_units": len({record["unit_id"] for record in collected.records}),
        "num_stacks": sum(len(record.get("stack_labels", ())) for record in collected.records),
        "num_rejected": len(collected.rejected),
        "num_poor": sum(scan.used and scan.grade.overall < 2 for scan in collected.scans),
        "num_skipped_files": num_skipped,
        "rejected": summarise(collected.rejected),
        "num_unread_ages": 0 if "age" in manifest.columns else sum(unread),
    }


def _write_rejected(path: Path, rejected: list[Rejection]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "patient_id", "unit", "reason"])
        for item in sorted(rejected, key=lambda item: item.row):
            writer.writerow([item.row, item.patient_id, item.unit, csv_text(item.reason)])


def _room_needed(cohort: Cohort, manifest: Manifest, beam: Sequence[str] | None) -> int:
    """Bytes that the build takes at its peak; tfds sorts through a second copy, and the workers of
    Beam leave a third."""
    if cohort.image is None:
        return 0
    copies = 2 if beam is None else 3
    pixels = len(manifest.rows) * cohort.region.max_slices * cohort.region.size**2
    return int(copies * pixels * np.int16().nbytes)
