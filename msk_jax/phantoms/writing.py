"""A cohort of synthetic patients in a folder, whatever it shows.

write_cohort(Path("cohort"), SacroiliacPhantom(patients=29, seed=0))
"""

import csv
import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import as_completed
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from msk_jax.errors import UserError
from msk_jax.phantoms.phantom import FOLDERS, Phantom
from msk_jax.processes import processes


def write_mask(
    out: Path, name: str, labels: np.ndarray, spacing_mm: tuple, origin_mm: tuple = (0.0, 0.0)
) -> None:
    """`masks/<name>.nii.gz` of the cohort in `out`: uint8 labels ([slices,] rows, columns)."""
    mask = sitk.GetImageFromArray(labels)
    mask.SetSpacing(spacing_mm)
    mask.SetOrigin(origin_mm)
    sitk.WriteImage(mask, str(out / "masks" / f"{name}.nii.gz"), True)


def write_cohort(
    out: Path, config: Phantom, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Render the cohort into the folder `out` and return the path of its manifest.

    Writes `dicom/`, `masks/<patient_id>.nii.gz` (where the signs are, on the grid of the images),
    `parameters.csv` (the truth, one row per unit), `phantom.json` (the configuration),
    `pseudonym.key` and, last, `manifest.csv` (one row per unit): a folder without a manifest is an
    interrupted run. A phantom without pictures writes no `dicom/` and no `masks/`.
    `progress(done, total)` is called after every patient.

    Raises UserError if a field of `config` is out of range, if `out` is not an empty or new
    folder, or if it cannot be written.
    """
    config.check()
    out = Path(out)
    _refuse_used(out)
    try:
        return _write(out, config, progress)
    except OSError as error:
        raise UserError(
            f"The phantom cohort could not be written to {out}: "
            f"{error.strerror or error}. Free some space or give another --out; what "
            "was written so far has no manifest.csv and can be deleted."
        ) from error


def _refuse_used(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file, not a folder. Give another --out.")
    try:
        used = out.exists() and any(out.iterdir())
    except OSError as error:
        raise UserError(
            f"The folder {out} cannot be read: {error.strerror}. Give another --out."
        ) from error
    if used:
        half = (
            ""
            if (out / "manifest.csv").exists()
            else (" It has no manifest.csv, so it may be what is left of an interrupted run.")
        )
        raise UserError(
            f"The folder {out} is not empty, and nothing is written over.{half} "
            "Give another --out, or empty this folder first."
        )


def _write(out: Path, config: Phantom, progress) -> Path:
    for folder in ("", *getattr(config, "folders", FOLDERS)):
        (out / folder).mkdir(parents=True, exist_ok=True)
    # Phantoms are nobody: a fixed key makes pseudonyms, and so whole runs, reproducible.
    key = hashlib.sha256(f"msk_jax phantom {config.seed}".encode()).hexdigest()
    (out / "pseudonym.key").write_text(key + "\n")
    (out / "phantom.json").write_text(
        json.dumps({"phantom": config.name, **asdict(replace(config, workers=0))}, indent=2) + "\n"
    )
    rows: dict[int, tuple[list[dict], list[dict]]] = {}
    workers = min(config.workers or os.cpu_count() or 1, config.patients)
    if workers == 1:
        for number in range(config.patients):
            rows[number] = config.write_patient(out, number)
            if progress:
                progress(len(rows), config.patients)
    else:
        with processes(workers) as pool:
            try:
                tasks = {
                    pool.submit(config.write_patient, out, n): n for n in range(config.patients)
                }
                for task in as_completed(tasks):
                    rows[tasks[task]] = task.result()
                    if progress:
                        progress(len(rows), config.patients)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    units = [row for number in sorted(rows) for row in rows[number][0]]
    truths = [row for number in sorted(rows) for row in rows[number][1]]
    _write_csv(out / "parameters.csv", tuple(truths[0]), truths)
    return _write_csv(out / "manifest.csv", config.manifest_columns, units)


def _write_csv(path: Path, columns, rows) -> Path:
    part = path.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return part.replace(path)
