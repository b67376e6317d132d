"""Speed of DICOM into shards and out of them, beside MONAI and dicom2nifti, on one machine.

    python -m benchmarks.data --slices 60 --size 512
    python -m benchmarks.data --data-dir work/shards
    python -m benchmarks.data --patients 12 --batch 8

The readers take turns over the same series, so that what else the machine does falls on all.
Printed are slices per second of processor time of one core, medians, and the ratio of ours to each.
dicom2nifti also writes its NIfTI file, for that is what it gives; ours and MONAI's stop at the
array with its affine. With `--data-dir`, records per second out of built shards as well, by wall
clock: what the input pipeline can give to a device.

With `--patients`, so many phantom patients of an experiment are written and built: slices per
second of processor time into shards, in turns with MONAI, which reads the same series, resamples
the same crops (it is told where they lie: ours looks for them) and hands them to the same writer.
MONAI checks no geometry, measures no quality and makes no pseudonyms. From these shards come
stacks by wall clock, and training steps of a network on all devices: how many stacks they take a
second, and which share of the time they wait for input.
"""

import dataclasses
import itertools
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pydicom
import tyro

from msk_jax.data.build.builder import build_cohort
from msk_jax.data.build.writing import write_shards
from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.feed.augment import Preprocess
from msk_jax.data.feed.sharded_cohort import ShardedCohort
from msk_jax.data.images.series import read_series
from msk_jax.data.images.volume import read_volume
from msk_jax.data.privacy.pseudonyms import load_key, pseudonym
from msk_jax.data.shards.build_folder import read_cohort
from msk_jax.data.shards.stored import read_records
from msk_jax.data.sources.scan import scan
from msk_jax.experiment import load
from msk_jax.models import ZooNetConfig
from msk_jax.phantoms import write_cohort
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
    patients: int | None = None
    """Phantom patients to build shards of, and to train on."""
    experiment: str = "sacroiliitis"
    """Whose phantom patients and region they are; one on CT."""
    matrix: int = 512
    """Rows and columns of their slices."""
    side: int = 224
    """Rows and columns of their crops."""
    network: str = "resnet50"
    """What is trained on them."""
    batch: int = 16
    """Stacks of a training step."""
    steps: int = 20
    """Timed training steps; 0: none."""
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
        {
            "reader": list(rates),
            "slices per second": list(rates.values()),
            "ours / it": [ours / rate for rate in rates.values()],
        }
    ).round(2)


def open_shards(data_dir: Path) -> ShardedCohort:
    """A cohort in stacks as deep as its crops allow."""
    context = read_cohort(data_dir)["fingerprint"]["config"]["region"]["context_slices"]
    return ShardedCohort(data_dir, 2 * context + 1, context)


def records_per_second(data_dir: Path, seconds: float) -> float:
    """Stacks per second out of the shards, in the order of training."""
    cohort = open_shards(data_dir)
    patients = set(cohort.patient_labels)
    steps = cohort.steps_per_epoch(patients, 16)
    batches = cohort.training_batches(patients, 16, steps, (0,), 0)
    next(batches)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        count += len(next(batches)["label"])
    return count / (time.perf_counter() - start)


def print_records(data_dir: Path, seconds: float) -> None:
    """Print `records_per_second`."""
    height, width, slices = open_shards(data_dir).image_shape
    rate = records_per_second(data_dir, seconds)
    print(f"{rate:.0f} stacks of {slices} x {height} x {width} per second out of {data_dir}")


def build_phantoms(benchmark: Benchmark, folder: Path) -> Path:
    """Write and build the phantom patients, print the rates, and return the shards."""
    experiment = load(benchmark.experiment)
    phantom = experiment.synthetic()
    phantom = dataclasses.replace(
        phantom,
        patients=benchmark.patients,
        matrix=benchmark.matrix,
        pixel_mm=phantom.pixel_mm * phantom.matrix / benchmark.matrix,
    )
    manifest = write_cohort(folder / "cohort", phantom)
    region = experiment.cohort.region
    pixel_mm = region.pixel_mm * region.size / benchmark.side
    region = dataclasses.replace(region, size=benchmark.side, pixel_mm=pixel_mm)
    cohort = dataclasses.replace(experiment.cohort, region=region)
    dicom = folder / "cohort" / "dicom"

    def ours(target: Path) -> None:
        build_cohort(cohort, dicom, manifest, target, num_folds=3)

    ours(folder / "shards")
    sides = {"msk_jax": ours}
    series = scan(dicom).series
    try:
        sides["MONAI"] = of_monai(cohort, series, folder)
    except ImportError as error:
        print(f"MONAI is left out ({error}).")
    times = {name: [] for name in sides}
    for k in range(benchmark.repeats):
        for name, build in sides.items():
            start = time.process_time()
            build(folder / f"{name}{k}")
            times[name].append(time.process_time() - start)
            shutil.rmtree(folder / f"{name}{k}")
    count = sum(map(len, series.values()))
    rates = {name: count / statistics.median(spent) for name, spent in times.items()}
    said = ", ".join(f"{rate:.1f} by {name}" for name, rate in rates.items())
    print(f"Slices per second into shards ({count} slices of {len(series)} series): {said}")
    if "MONAI" in rates:
        print(f"ours / MONAI's: {rates['msk_jax'] / rates['MONAI']:.2f}")
    return folder / "shards"


def of_monai(
    cohort: Cohort, series: Mapping[str, Sequence[Path]], folder: Path
) -> Callable[[Path], None]:
    """`build(target)`: the records of `folder / "shards"` with volumes that MONAI read and cut.

    Raises:
        ImportError: it is not installed.
    """
    from monai.data import PydicomReader
    from monai.transforms import LoadImage, SpatialResample

    resample = SpatialResample(mode="bilinear", padding_mode="border", dtype=np.float32)
    loader = LoadImage(reader=PydicomReader(), ensure_channel_first=True)
    key = load_key(folder / "cohort" / "pseudonym.key")
    records = defaultdict(list)
    for record in read_records(folder / "shards"):
        records[record["patient_id"]].append(record)
    headers = {uid: pydicom.dcmread(files[0]) for uid, files in series.items()}
    owners = {uid: pseudonym(str(header.PatientID), key) for uid, header in headers.items()}

    def build(target: Path) -> None:
        target.mkdir()
        write_shards(cohort, made(), target)

    def made() -> Iterator[dict]:
        for uid, files in series.items():
            volume = loader(str(files[0].parent))
            for record in records[owners[uid]]:
                affine, size = _affine(record), record["volume"].shape[::-1]
                cut = resample(volume, dst_affine=affine, spatial_size=size)[0].numpy()
                yield {**record, "volume": np.rint(cut.T).astype(np.int16)}

    ours = itertools.chain.from_iterable(records[owner] for owner in owners.values())
    for record, cut in zip(ours, made(), strict=True):  # the same work on either side
        assert np.median(np.abs(record["volume"] - cut["volume"].astype(np.int32))) <= 1
    return build


def _affine(record: dict) -> np.ndarray:
    """From the index of a crop's voxel (column, row, slice) to the patient as MONAI counts: to the
    right, to the front, up."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(record["direction"], (3, 3)) * record["spacing_mm"]
    affine[:3, 3] = record["origin_mm"]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def train(data_dir: Path, network: str, batch_size: int, steps: int) -> None:
    """Training steps on all devices; prints stacks per second and the share of waiting."""
    from msk_jax.tasks.classification import TrainedClassification
    from msk_jax.training import parallel
    from msk_jax.training.loop import Trainer
    from msk_jax.training.recipe import Recipe
    from msk_jax.training.step import AXIS

    cohort = open_shards(data_dir)
    patients = set(cohort.patient_labels)
    per_epoch = cohort.steps_per_epoch(patients, batch_size)
    net = ZooNetConfig(network, num_slices=cohort.image_shape[-1]).build(axis_name=AXIS)
    trainer = Trainer(
        net,
        TrainedClassification(2),
        Preprocess(),
        Recipe(batch_size=batch_size),
        cohort.image_shape,
        per_epoch,
    )
    state, step = trainer.initial_state(0), trainer.parts[-1].step
    batches = cohort.training_batches(patients, batch_size, per_epoch, (0,), 0)
    waited = spent = 0.0
    for k in range(steps + 2):
        start = time.perf_counter()
        batch = next(batches)
        got = time.perf_counter()
        batch.pop("unit_id")
        batch["weight"] = np.ones(batch_size, np.float32)
        batch = parallel.split_over_devices(batch, jax.local_device_count())
        state, metrics = step(state, batch)
        metrics["loss"].block_until_ready()
        if k > 1:  # the first two compile
            waited, spent = waited + got - start, spent + time.perf_counter() - start
    devices = f"{jax.device_count()} {jax.default_backend()} device(s)"
    print(
        f"{steps * batch_size / spent:.1f} stacks per second through training steps of {network} "
        f"at {cohort.image_shape[0]} on {devices}; {waited / spent:.2%} of the time waiting for "
        "input"
    )


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
        print_records(benchmark.data_dir, benchmark.seconds)
    if benchmark.patients is not None:
        with tempfile.TemporaryDirectory() as temporary:
            shards = build_phantoms(benchmark, Path(temporary))
            print_records(shards, benchmark.seconds)
            if benchmark.steps:
                train(shards, benchmark.network, benchmark.batch, benchmark.steps)
    if benchmark.out is not None:
        table.to_csv(benchmark.out, index=False)


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
