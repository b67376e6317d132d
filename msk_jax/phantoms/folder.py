"""The folder of a phantom cohort: refused if in use, written in parallel, manifest last."""

import csv
import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from msk_jax.errors import UserError

Rows = tuple[list[dict], list[dict]]
"""Of one patient: manifest rows and rows of true parameters."""


def write_folder(
    out: Path,
    config: Any,
    name: str,
    write_patient: Callable[[Path, Any, int], Rows],
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a cohort into the folder `out` and return the path of its manifest.

    Besides what `write_patient` puts into `dicom/` and `masks/`: `parameters.csv`, `phantom.json`
    (the configuration), `pseudonym.key` and, last, `manifest.csv`.

    Args:
      out: a new or empty folder.
      config: a dataclass with `patients`, `seed` and `workers` and a method `check`.
      name: of the phantom.
      write_patient: renders and writes one patient; a function that other processes can import.
      progress: called with (done, total) after every patient.

    Raises:
      UserError: a field of `config` is out of range, `out` is not an empty or new folder, or it
        cannot be written.
    """
    config.check()
    out = Path(out)
    _refuse_used(out)
    try:
        return _write(out, config, name, write_patient, progress)
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


def _write(out: Path, config, name: str, write_patient, progress) -> Path:
    for folder in (out, out / "dicom", out / "masks"):
        folder.mkdir(parents=True, exist_ok=True)
    # Phantoms are nobody: a fixed key makes pseudonyms, and so whole runs, reproducible.
    key = hashlib.sha256(f"msk_jax phantom {config.seed}".encode()).hexdigest()
    (out / "pseudonym.key").write_text(key + "\n")
    (out / "phantom.json").write_text(
        json.dumps({"phantom": name, **asdict(replace(config, workers=0))}, indent=2) + "\n"
    )
    rows: dict[int, Rows] = {}
    workers = min(config.workers or os.cpu_count() or 1, config.patients)
    if workers == 1:
        for number in range(config.patients):
            rows[number] = write_patient(out, config, number)
            if progress:
                progress(len(rows), config.patients)
    else:
        # spawn: forking a process that has started JAX's threads can hang
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            try:
                tasks = {
                    pool.submit(write_patient, out, config, n): n for n in range(config.patients)
                }
                for task in as_completed(tasks):
                    rows[tasks[task]] = task.result()
                    if progress:
                        progress(len(rows), config.patients)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    manifest = [row for number in sorted(rows) for row in rows[number][0]]
    truths = [row for number in sorted(rows) for row in rows[number][1]]
    _write_csv(out / "parameters.csv", truths)
    return _write_csv(out / "manifest.csv", manifest)


def _write_csv(path: Path, rows: list[dict]) -> Path:
    part = path.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, tuple(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return part.replace(path)
