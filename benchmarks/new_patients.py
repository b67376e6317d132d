"""How long `msk-jax predict` takes for new radiographs, beside its networks alone.

    python -m benchmarks.new_patients                   # 158 films of 224 pixels
    python -m benchmarks.new_patients --against OTHER_CHECKOUT

The networks (ResNet-18, a quarter of the width) have random weights: time does not depend on them.
`networks` is what they alone take in one process for the same pictures in batches of sixteen, once
compiled; `predict` is the whole command, `one film` the command for a single one, from a cold
start with programs compiled before. Rounds go in turn; medians, least and most are printed.
"""

import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

from benchmarks.startup import in_words

_EXPERIMENT = """
from msk_jax.data.feed.augment import Preprocess
from msk_jax.data.fields import Classes, Image
from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.regions.radiograph import RadiographRegion
from msk_jax.experiment import Experiment, Stage
from msk_jax.methods.network import Network
from msk_jax.models import ZooNetConfig
from msk_jax.tasks.settings import Classification
from msk_jax.training.recipe import Recipe

experiment = Experiment(
    name="films",
    cohort=Cohort(
        name="films",
        modality="CR/DX",
        levels=("image", "radiograph", "patient"),
        fields=(Image("film", RadiographRegion(size=224)), Classes("label", ("normal", "ill"))),
    ),
    stages=(
        Stage(
            "classify",
            ("film",),
            Classification("label"),
            Network(
                ZooNetConfig("resnet18", (("width", 16),)),
                Preprocess(window_level=2000.0, window_width=4400.0),
                Recipe(epochs=1, batch_size=8, warmup_epochs=0, monitor="none"),
            ),
        ),
    ),
)
"""


def write_films(folder: Path, count: int, side: int) -> None:
    """Pictures of noise with a bright middle."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    for k in range(count):
        values = 20000 * np.exp(-3 * (rows**2 + columns**2)) + rng.normal(12000, 2500, rows.shape)
        picture = Image.fromarray(values.clip(0, 65535).astype(np.uint16))
        picture.save(folder / f"film{k:04d}.png")


def train_small(work: Path, env: dict[str, str]) -> Path:
    """Five networks of a few films, trained for one epoch by the command line."""
    write_films(work / "some", 40, 224)
    rows = [f"P{k:04d},film{k:04d}.png,{'ill' if k % 2 else 'normal'}" for k in range(40)]
    (work / "some.csv").write_text("\n".join(["patient_id,path,label", *rows]) + "\n")
    (work / "films.py").write_text(_EXPERIMENT)
    study, run, shards = work / "films.py", work / "run", work / "shards"
    _verb(
        [
            "build",
            study,
            "--dicom",
            work / "some",
            "--manifest",
            work / "some.csv",
            "--data-dir",
            shards,
        ],
        env,
    )
    _verb(["train", study, "--data-dir", shards, "--workdir", run], env)
    # An older checkout leaves its package when it evaluates, and wants the shards for it.
    if not (run / "model").is_dir():
        _verb(["evaluate", study, "--data-dir", shards, "--workdir", run], env)
    return run


def networks_alone(run: Path, films: int, repeats: int) -> list[float]:
    """Seconds of the five networks for so many films in batches of sixteen."""
    from msk_jax.study.package import load_model
    from msk_jax.training.parallel import parallel_predict, predict_all
    from msk_jax.training.step import AXIS

    saved = load_model(run)
    predict = parallel_predict(
        saved.stage.method.module(AXIS), saved.stage.method.preprocess, saved.stage.trained_task
    )
    stored = np.random.default_rng(0).integers(0, 4000, (films, 224, 224, 1)).astype(np.int16)
    batches = [stored[i : i + 16] for i in range(0, films, 16)]
    seconds = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        for member in saved.members:
            predict_all(predict, member, batches, 16)
        seconds.append(time.perf_counter() - begin)
    return seconds[1:]  # the first compiles


@dataclasses.dataclass(frozen=True)
class NewPatients:
    """Time `msk-jax predict` on new radiographs."""

    films: int = 158
    """New patients, a film each."""
    repeats: int = 3
    """Rounds that count; one more comes before, which compiles."""
    against: Path | None = None
    """Another checkout, measured in turn."""


def main(settings: NewPatients) -> None:
    """Print a row for each way to ask."""
    here = Path(__file__).resolve().parent.parent
    checkouts = {"here": here}
    if settings.against:
        checkouts["there"] = settings.against.resolve()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_films(work / "films", settings.films, 224)
        write_films(work / "one", 1, 224)
        sides = [Side.trained(name, checkout, work) for name, checkout in checkouts.items()]
        seconds: dict[str, list[float]] = {}
        for turn in range(settings.repeats + 1):
            for side in sides:
                for what, took in side.turn(work, turn):
                    if turn:
                        seconds.setdefault(f"{side.name}: {what}", []).append(took)
        seconds["networks alone"] = networks_alone(sides[0].run, settings.films, settings.repeats)
    for what, values in seconds.items():
        print(f"{what:<30}{in_words(values)} s")


@dataclasses.dataclass(frozen=True)
class Side:
    """One checkout with five networks that it trained."""

    name: str
    run: Path
    env: dict[str, str]

    @classmethod
    def trained(cls, name: str, checkout: Path, work: Path) -> "Side":
        """Train the networks by the command line of a checkout."""
        env = {**os.environ, "PYTHONPATH": f"{checkout}:{checkout}/tests/checkout"}
        (work / name).mkdir()
        return cls(name, train_small(work / name, env), env)

    def turn(self, work: Path, number: int) -> Iterator[tuple[str, float]]:
        """What was asked and the seconds that it took, one way after the other."""
        ways = [("predict", "films", []), ("one film", "one", [])]
        if self.name == "here":
            ways.append(("predict --no-pictures", "films", ["--no-pictures"]))
        for what, films, flags in ways:
            out = work / self.name / f"{number} {what}"
            begin = time.perf_counter()
            words = ["predict", "--workdir", self.run, "--dicom", work / films, "--out", out]
            _verb([*words, *flags], self.env)
            yield what, time.perf_counter() - begin


def _verb(words: Sequence[str | Path], env: dict[str, str]) -> None:
    """Run a verb that must succeed."""
    command = [sys.executable, "-m", "msk_jax", *map(str, words)]
    # Elsewhere than in a checkout, whose own package would go before that of the environment.
    with tempfile.TemporaryDirectory() as nowhere:
        subprocess.run(command, check=True, env=env, stdout=subprocess.DEVNULL, cwd=nowhere)


if __name__ == "__main__":
    main(tyro.cli(NewPatients))
