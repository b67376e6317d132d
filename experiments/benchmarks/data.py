"""Speed of reading DICOM beside MONAI's reader and dicom2nifti, in one run on one machine.

    python -m experiments.benchmarks.data --slices 60 --size 512
    python -m experiments.benchmarks.data --data-dir work/shards

The readers take turns over the same series, so that what else the machine does falls on all.
Printed are slices per second of processor time of one core, medians, and the ratio of ours to each.
dicom2nifti also writes its NIfTI file, for that is what it gives; ours and MONAI's stop at the
array with its affine. With `--data-dir`, records per second out of built shards as well, by wall
clock: what the input pipeline can give to a device.
"""

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import tyro

from msk_jax.data.dicom import read_series
from msk_jax.data.volume import read_volume
from msk_jax.phantoms.dicom_writer import Study, write_series


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """What is timed."""

    dicom: Path | None = None
    """Folder of one CT series; by default one of noise is written."""
    slices: int = 60
    """Of the written series."""
    size: int = 512
    """Rows and columns of the written series."""
    repeats: int = 7
    """Timed readings of each reader."""
    data_dir: Path | None = None
    """Built shards to read records from."""
    seconds: float = 10.0
    """How long records are read."""
    out: Path | None = None
    """CSV file for the table."""


def write_noise(folder: Path, slices: int, size: int) -> None:
    """A CT series of smooth noise, 16 bits, uncompressed."""
    rng = np.random.default_rng(0)
    hu = rng.integers(-1000, 1500, (slices, size, size)).astype(np.int16)
    study = Study("B", "B^B", "F", 50, "A", "B", 120.0, 0, ("benchmark",), False)
    write_series(folder, study, hu, (0.7, 0.7, 1.0), (0.0, 0.0, 0.0), rng)


def readers(folder: Path) -> dict[str, Callable[[], object]]:
    """By name; those whose package is missing are left out."""
    files = sorted(folder.iterdir())
    found = {
        "msk_jax read_volume": lambda: read_volume(files),
        "msk_jax read_series": lambda: read_series(files),
    }
    try:
        from monai.data import PydicomReader

        reader = PydicomReader()
        found["MONAI PydicomReader"] = lambda: reader.get_data(reader.read(str(folder)))
    except ImportError as error:
        print(f"MONAI is left out ({error}).")
    try:
        import dicom2nifti.convert_dicom
        import dicom2nifti.settings

        dicom2nifti.settings.disable_validate_slicecount()

        def convert() -> None:
            with tempfile.TemporaryDirectory() as out:
                dicom2nifti.convert_dicom.dicom_series_to_nifti(
                    str(folder), str(Path(out) / "a.nii"), reorient_nifti=False
                )

        found["dicom2nifti"] = convert
    except ImportError as error:
        print(f"dicom2nifti is left out ({error}).")
    return found


def time_readers(folder: Path, repeats: int) -> pd.DataFrame:
    """Slices per second of each reader, and ours over theirs."""
    found, times = readers(folder), {}
    count = len(list(folder.iterdir()))
    for round_ in range(repeats + 1):
        for name, read in found.items():
            start = time.process_time()
            read()
            if round_:  # the first fills caches
                times.setdefault(name, []).append(time.process_time() - start)
    rates = {name: count / statistics.median(spent) for name, spent in times.items()}
    ours = rates["msk_jax read_volume"]
    return pd.DataFrame(
        {"reader": list(rates), "slices per second": list(rates.values()),
         "ours / it": [ours / rate for rate in rates.values()]}
    ).round(2)  # fmt: skip


def records_per_second(data_dir: Path, seconds: float) -> float:
    """Stacks of five slices per second out of the shards, in the order of training."""
    from msk_jax.data.pipeline import ShardedCohort

    cohort = ShardedCohort(data_dir, num_slices=5, context_slices=2)
    patients = set(cohort.patient_labels)
    steps = cohort.steps_per_epoch(patients, 16)
    batches = cohort.training_batches(patients, 16, steps, (0,), 0)
    next(batches)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        count += len(next(batches)["label"])
    return count / (time.perf_counter() - start)


def main(benchmark: Benchmark) -> None:
    """Run and print."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = benchmark.dicom
        if folder is None:
            folder = Path(temporary) / "series"
            write_noise(folder, benchmark.slices, benchmark.size)
        table = time_readers(folder, benchmark.repeats)
    print(table.to_string(index=False))
    if benchmark.data_dir is not None:
        rate = records_per_second(benchmark.data_dir, benchmark.seconds)
        print(f"{rate:.0f} stacks of five slices per second out of {benchmark.data_dir}")
    if benchmark.out is not None:
        table.to_csv(benchmark.out, index=False)


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
