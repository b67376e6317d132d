"""The feed of a cohort that fits into the cache and of one that is four times as large.

    python -m benchmarks.feed
    python -m benchmarks.feed --against OTHER_CHECKOUT --steps 0

A cohort of random voxels is written. Then, in turns and each in a process of its own, batches of
training are taken from it: all of it in the cache; a cache of a quarter; the same with the system's
page cache emptied all the while, so that a disk is read; and, with `--against`, by the code of
another checkout that reads the same shards. Printed are medians over the rounds with the least and
the most: examples and megabytes a second, processor time of a batch (all threads), the time to the
first batch, and the peak memory of the process (VmHWM) beyond what it had before the first batch.

Then a device is stood in for by a pause after each batch, which leaves the processor alone as an
accelerator does: the share of the time that the feed makes it wait, for steps of some lengths. Last
the same share for real training steps of a network on the devices that are there.
"""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import tyro

from msk_jax.data.feed.sharded_cohort import ShardedCohort

_MB = 1e6


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """What is timed."""

    records: int = 128
    """Records of the cohort, two a patient."""
    slices: int = 44
    """Slices of a record; two on each side are context."""
    side: int = 224
    """Rows and columns of a slice."""
    num_slices: int = 5
    """Slices of a stack."""
    batch: int = 16
    """Stacks of a batch."""
    part: int = 4
    """How many times as large as the small cache the cohort is."""
    rounds: int = 5
    """Turns of each side."""
    seconds: float = 5.0
    """How long batches are taken in a turn."""
    step_ms: tuple[float, ...] = (25.0, 50.0, 100.0)
    """Lengths of the pauses that stand for a device's step."""
    network: str = "resnet50"
    """What is trained."""
    steps: int = 4
    """Timed training steps; 0: none."""
    against: Path | None = None
    """Another checkout of this repository, to be measured beside this one."""
    data_dir: Path | None = None
    """Where the cohort is kept or was left by an earlier run; by default a temporary folder."""
    out: Path | None = None
    """CSV file for the table of rates."""


@dataclasses.dataclass(frozen=True)
class Turn:
    """One process that takes batches."""

    data_dir: str
    num_slices: int
    batch: int
    seconds: float = 5.0
    cache: int | None = None
    """Bytes of the cache; None: as the code has it by itself."""
    cold: bool = False
    """Whether the page cache is emptied all the while."""
    step_ms: float = 0.0
    """Pause after each batch."""
    network: str = ""
    """What is trained in place of the pause."""
    steps: int = 0


def write_cohort(benchmark: Benchmark, folder: Path) -> None:
    """Shards of random voxels."""
    from msk_jax.data.build.writing import features, write_shards
    from msk_jax.experiment import load

    cohort = load("sacroiliitis").cohort
    region = dataclasses.replace(cohort.region, size=benchmark.side)
    cohort = dataclasses.replace(cohort, region=region)
    shape = (benchmark.slices, benchmark.side, benchmark.side)
    rng = np.random.default_rng(0)

    def empty(name: str):
        return "" if str(features(cohort)[name]).startswith("Text") else 0

    def records() -> Iterator[dict]:
        for k in range(benchmark.records):
            patient, unit = f"p{k // 2}", f"p{k // 2}/{k % 2}"
            yield {name: empty(name) for name in features(cohort)} | {
                "volume": rng.integers(-1000, 2000, shape, np.int16),
                "positions_mm": np.zeros(benchmark.slices, np.float32),
                "origin_mm": np.zeros(3, np.float32),
                "spacing_mm": np.ones(3, np.float32),
                "direction": np.zeros(9, np.float32),
                "stack_labels": rng.integers(0, 2, benchmark.slices - 4),
                "patient_id": patient,
                "unit_id": unit,
            }

    write_shards(cohort, records(), folder)


def take(turn: Turn) -> dict[str, float]:
    """What one process measures."""
    options = {} if turn.cache is None else {"cache_memory": turn.cache}
    cohort = ShardedCohort(Path(turn.data_dir), turn.num_slices, 2, **options)
    patients = set(cohort.patient_labels)
    per_epoch = cohort.steps_per_epoch(patients, turn.batch)
    files = list(Path(turn.data_dir).rglob("*.tfrecord-*"))
    work = _training(cohort, turn, per_epoch) if turn.network else lambda batch: None
    before, start = peak_memory(), time.perf_counter()
    batches = cohort.training_batches(patients, turn.batch, per_epoch, (0,), 0)
    next(batches)
    first = time.perf_counter() - start
    # An epoch, so that what fits is in memory; its compilation where there is a network.
    for _ in range(2 if turn.network else per_epoch):
        work(next(batches))
    count, waited = 0, 0.0
    start, busy = time.perf_counter(), time.process_time()
    while (count < turn.steps) if turn.network else (time.perf_counter() - start < turn.seconds):
        if turn.cold and count % 4 == 0:
            empty_page_cache(files)
        asked = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - asked
        work(batch)
        time.sleep(turn.step_ms / 1000)
        count += 1
    spent, busy = time.perf_counter() - start, time.process_time() - busy
    batches.close()
    return {
        "examples_per_s": count * turn.batch / spent,
        "mb_per_s": count * batch["volume"].nbytes / spent / _MB,
        "cpu_ms_per_batch": 1000 * busy / count,
        "first_batch_s": first,
        "peak_mb": peak_memory() - before,
        "step_ms": 1000 * spent / count,
        "waiting": waited / spent,
    }


def _training(cohort: ShardedCohort, turn: Turn, per_epoch: int):
    """`work(batch)`: a training step on all devices."""
    import jax

    from msk_jax.data.feed.augment import Preprocess
    from msk_jax.models import ZooNetConfig
    from msk_jax.tasks.classification import TrainedClassification
    from msk_jax.training import parallel
    from msk_jax.training.loop import Trainer
    from msk_jax.training.recipe import Recipe
    from msk_jax.training.step import AXIS

    net = ZooNetConfig(turn.network, num_slices=turn.num_slices).build(axis_name=AXIS)
    recipe = Recipe(batch_size=turn.batch)
    trainer = Trainer(
        net, TrainedClassification(2), Preprocess(), recipe, cohort.image_shape, per_epoch
    )
    state, step = trainer.initial_state(0), trainer.parts[-1].step

    def work(batch: dict) -> None:
        nonlocal state
        fed = {"volume": batch["volume"], "label": batch["label"]}
        fed["weight"] = np.ones(turn.batch, np.float32)
        state, metrics = step(state, parallel.split_over_devices(fed, jax.local_device_count()))
        metrics["loss"].block_until_ready()

    return work


def peak_memory() -> float:
    """Megabytes, the most that this process had so far."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024 / _MB
    raise RuntimeError("this system does not say")


def empty_page_cache(files: list[Path]) -> None:
    """So that what is read next comes from the disk."""
    for file in files:
        handle = os.open(file, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def measure(turn: Turn, checkout: Path | None = None) -> dict[str, float]:
    """`take` in a fresh process, by the code of a checkout."""
    here = Path(__file__).resolve()
    root = str((checkout or here.parents[2]).absolute())
    done = subprocess.run(
        [sys.executable, str(here), "--turn", json.dumps(dataclasses.asdict(turn))],
        env={**os.environ, "PYTHONPATH": root, "TF_CPP_MIN_LOG_LEVEL": "3"},
        cwd=root,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def compare(benchmark: Benchmark, data_dir: Path, cohort_bytes: int) -> pd.DataFrame:
    """Medians of all sides, which take turns."""
    whole = Turn(
        str(data_dir), benchmark.num_slices, benchmark.batch, benchmark.seconds, 4 * cohort_bytes
    )
    small = dataclasses.replace(whole, cache=cohort_bytes // benchmark.part)
    sides = {
        "all in the cache": (whole, None),
        f"a cache of 1/{benchmark.part}": (small, None),
        f"a cache of 1/{benchmark.part}, from the disk": (
            dataclasses.replace(small, cold=True),
            None,
        ),
    }
    if benchmark.against is not None:
        sides["the other checkout"] = (dataclasses.replace(whole, cache=None), benchmark.against)
    results: dict[str, list[dict]] = {name: [] for name in sides}
    for _ in range(benchmark.rounds):
        for name, side in sides.items():
            results[name].append(measure(*side))
    rows = []
    for name, found in results.items():
        row = {"feed": name}
        for key in ("examples_per_s", "mb_per_s", "cpu_ms_per_batch", "first_batch_s", "peak_mb"):
            values = [one[key] for one in found]
            row[key] = f"{statistics.median(values):.4g} ({min(values):.4g} to {max(values):.4g})"
        rows.append(row)
    return pd.DataFrame(rows)


def main(benchmark: Benchmark) -> None:
    """Run and print."""
    with tempfile.TemporaryDirectory() as temporary:
        data_dir = benchmark.data_dir or Path(temporary) / "shards"
        if not data_dir.exists():
            write_cohort(benchmark, data_dir)
        cohort_bytes = benchmark.records * benchmark.slices * benchmark.side**2 * 2
        print(
            f"{benchmark.records} records, {cohort_bytes / _MB:.0f} MB of voxels; batches of "
            f"{benchmark.batch} stacks of {benchmark.num_slices} x {benchmark.side}; "
            f"{os.cpu_count()} processors"
        )
        table = compare(benchmark, data_dir, cohort_bytes)
        print(table.to_string(index=False))
        small = Turn(
            str(data_dir),
            benchmark.num_slices,
            benchmark.batch,
            benchmark.seconds,
            cohort_bytes // benchmark.part,
        )
        for step_ms in benchmark.step_ms:
            shares = [
                measure(dataclasses.replace(small, step_ms=step_ms, cold=cold))["waiting"]
                for cold in (False, True)
            ]
            print(
                f"steps of {step_ms:g} ms: {shares[0]:.2%} of the time waiting for input, "
                f"{shares[1]:.2%} from the disk"
            )
        if benchmark.steps:
            trained = dataclasses.replace(small, network=benchmark.network, steps=benchmark.steps)
            found = measure(trained)
            print(
                f"{benchmark.network}: steps of {found['step_ms']:.0f} ms, "
                f"{found['waiting']:.2%} of the time waiting for input"
            )
    if benchmark.out is not None:
        table.to_csv(benchmark.out, index=False)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--turn"]:
        print(json.dumps(take(Turn(**json.loads(sys.argv[2])))))
    else:
        main(tyro.cli(Benchmark))
