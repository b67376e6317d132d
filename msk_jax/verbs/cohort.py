"""`msk-jax manifest`, `deidentify`, `inspect`, `audit`: a cohort before and after it is built."""

import csv
import sys
from pathlib import Path

import pandas as pd

from msk_jax import console
from msk_jax import experiment as catalogue
from msk_jax.config import from_json
from msk_jax.data.build.records import clean_reason
from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.cohort.draft import draft_columns, draft_rows, write_draft
from msk_jax.data.privacy.audit import Audit, audit, identifiers
from msk_jax.data.privacy.deidentify import basic_profile, deidentify_file
from msk_jax.data.privacy.pseudonyms import default_key_path, load_key, load_or_create_key
from msk_jax.data.regions.radiograph_crops import TOP
from msk_jax.data.shards.build_folder import COHORT_NAME, QUALITY_NAME, REJECTED_NAME, read_cohort
from msk_jax.data.shards.stored import read_records
from msk_jax.data.sources.scan import Scan, scan
from msk_jax.data.sources.source import opened
from msk_jax.errors import SeriesError, UserError
from msk_jax.files import csv_text, replacing
from msk_jax.reports.inspection import draw_page

_BONE = (400.0, 1500.0)  # of Hounsfield units
_STRETCHED = (TOP / 2, TOP)
_COLOURS = (127.5, 255.0)


def draft(dicom: str, out: Path, experiment: str) -> None:
    """Write a draft of the experiment's manifest."""
    cohort = catalogue.load(experiment).cohort
    if out.exists():
        raise UserError(f"{out} is there already and nothing is written over. Give another --out.")
    with opened(dicom) as source, console.progress_bar("Reading headers") as update:
        found = scan(source.folder, update, source.files, source.unpacked)
        rows = draft_rows(found, cohort)
    write_draft(out, rows, cohort)
    _say_incomplete(found)
    to_fill = [name for name in draft_columns(cohort) if not any(row.get(name) for row in rows)]
    console.say(
        f"{len(rows)} rows of {cohort.modality} are in {out}, one per {cohort.levels[1]} or "
        f"series. The headers say nothing of {', '.join(to_fill)}: fill in what you know "
        "(docs/guides/your-own-cohort.md says what each means), take out the rest. Columns with x_ "
        "are for you alone. The file names patients: keep it with their images."
    )


def deidentify(
    dicom: str, out: Path, key: Path | None, keep_characteristics: bool, allow_burned_in: bool
) -> None:
    """Copy all images of a source, de-identified; what is left out is listed with its reason."""
    console.check_new_folder(out, "--out")
    rules = basic_profile()
    secret = load_key(key) if key else load_or_create_key(default_key_path(None))
    refused, count = [], 0
    with opened(dicom) as source, console.progress_bar("Copying") as update:
        found = scan(source.folder, None, source.files, source.unpacked)
        for k, (uid, files) in enumerate(found.series.items()):
            for i, file in enumerate(files):
                name = f"series{k + 1:04d}/{i + 1:05d}.dcm"
                try:
                    deidentify_file(
                        file,
                        out / name,
                        secret,
                        rules,
                        keep_characteristics=keep_characteristics,
                        allow_burned_in=allow_burned_in,
                    )
                    count += 1
                except SeriesError as error:
                    patient = found.headers[uid].patient_id
                    refused.append((name, csv_text(clean_reason(error, files, patient))))
            update(k + 1, len(found.series), "")
    console.writable_folder(out, "--out")
    with (
        replacing(out / REJECTED_NAME) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        csv.writer(file).writerows([("file", "reason"), *refused])
    _say_incomplete(found)
    console.say(
        f"{count} files are in {out}; {len(refused)} were left out, see {REJECTED_NAME}, and "
        f"{len(found.skipped) + len(found.pictures)} are no DICOM images. What is beside the "
        "pixels was cleared (overlays, comments); text that is drawn into the pixels themselves "
        "was not read: look at some images before you share them."
    )


def _say_incomplete(found: Scan) -> None:
    if found.incomplete:
        console.say(
            f"Not all of {len(found.incomplete)} series was fetched. `build` leaves them out; run "
            "the command that fetched them again."
        )


def audit_folder(folder: Path, dicom: str) -> None:
    """Search, say what was found, and exit with 1 where anything was."""
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}. Give what `build` or `train` wrote.")
    with opened(dicom) as source, console.progress_bar("Reading headers") as update:
        found = scan(source.folder, update, source.files, source.unpacked)
        # Files that are no images name patients too; what is no DICOM has no header to read.
        files = [file for files in found.series.values() for file in files]
        unread: list[Path] = []
        names, short = identifiers([*files, *(file for file, _ in found.skipped)], unread)
    if unread:
        console.say(
            f"{len(unread)} DICOM files cannot be read, so that nobody whom they alone name was "
            f"looked for (first of them: {unread[0].name})."
        )
    result = audit(folder, names, short)
    _say_what_was_looked_at(result)
    for hit in result.hits:
        console.say(f"  {hit.file}: {hit.keyword}")
    if result.hits:
        console.say(f"{len(result.hits)} hit(s): do not pass this folder on.")
        sys.exit(1)
    console.say("No identifier was found.")


def _say_what_was_looked_at(result: Audit) -> None:
    common = f", and {result.num_common} are words that any run holds" if result.num_common else ""
    console.say(
        f"{result.num_identifiers} identifiers were looked for in {result.num_files} files; "
        f"{result.num_short} were too short to look for{common}."
    )
    for place, reason in result.unread:
        console.say(f"  Not looked into: {place} {reason}")
    holders = [
        f"{count} {what}"
        for count, what in (
            (result.num_pictures, "pictures and DICOM images"),
            (result.num_shards, "files of records, which may hold some"),
        )
        if count
    ]
    if holders:
        console.say(
            f"Text that is drawn into pixels was not read: there are {' and '.join(holders)}. Look "
            "at some of them yourself."
        )


def inspect(data_dir: Path, out: Path | None) -> None:
    """Draw what is in the shards on one page."""
    config = read_cohort(data_dir)["fingerprint"]["config"]
    cohort = from_json(config, Cohort, data_dir / COHORT_NAME)
    if cohort.image is None:
        raise UserError(
            f"The cohort {cohort.name} is a table: there are no pictures to draw. Its figures are "
            f"in {data_dir / COHORT_NAME}."
        )
    try:
        quality = pd.read_csv(data_dir / QUALITY_NAME)
    except (OSError, ValueError):
        raise UserError(
            f"There is no {data_dir / QUALITY_NAME}. Build the cohort again with --overwrite."
        ) from None
    records = read_records(data_dir)
    window = _BONE if cohort.modality.startswith("CT") else _STRETCHED
    window = _COLOURS if cohort.modality == "SM" else window
    classes = cohort.classes or ("all",)
    page = draw_page(f"Cohort {cohort.name}", records, quality, classes, window)
    out = out or data_dir / "inspect.html"
    with replacing(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    console.say(f"What will be trained on is shown in {out}.")
