"""What the five experiments give, as files to hold a rebuild against.

    python -m tests.golden write FOLDER      # before the first change
    python -m tests.golden compare FOLDER    # after each commit: equal, or what differs

`FOLDER` gets, of every experiment and size, the whole settings as text and the text of its lowered
training step; and of each tiny experiment of the tests one run by the command line: histories,
tables of predictions, figures, and the words of the report. `--only settings steps runs` picks
some. Lowered text differs between versions of jax, and figures between machines: only the settings
stay beside the tests (`tests/golden_settings`), and `python -m tests.golden settings` writes them
anew where a change is meant.
"""

import argparse
import contextlib
import difflib
import html
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

from tests.conftest import REPOSITORY

SETTINGS = REPOSITORY / "tests" / "golden_settings"
KINDS = ("settings", "steps", "runs")
SIZES = ("full", "small")
TINY = ("tiny_experiment", "tiny_spine", "tiny_chest", "tiny_knee")
_STEPS_PER_EPOCH = 100
"""Any number: it only places the schedule."""
_BATCH = 4
"""Examples on each device: any number that the step can be traced with."""
_OF_THE_DAY = re.compile(r"msk-jax |/tmp/|\d{4}-\d\d-\d\d")
"""What a report says of its run and another run's need not repeat."""


def settings_text(name: str, size: str) -> str:
    """The resolved settings of an experiment, a line each, types by their name alone."""
    from msk_jax.config import to_json
    from msk_jax.experiment import load

    experiment = load(name)
    system = experiment.at_small_size() if size == "small" else experiment
    entries = to_json(system)
    for other in ("small", "address"):
        del entries[other]
    lines: list[str] = []
    _flatten("", entries, lines)
    return "\n".join(lines) + "\n"


def _flatten(path: str, value, lines: list[str]) -> None:
    """`path = value` for every leaf; a type loses its module, so that files may move."""
    if isinstance(value, dict) and value:
        for key, entry in value.items():
            entry = entry.rpartition(".")[2] if key == "type" else entry
            _flatten(f"{path}.{key}" if path else key, entry, lines)
    elif isinstance(value, list) and any(isinstance(entry, (dict, list)) for entry in value):
        for number, entry in enumerate(value):
            _flatten(f"{path}[{number}]", entry, lines)
    else:
        lines.append(f"{path} = {json.dumps(value, ensure_ascii=False)}")


def step_text(name: str, size: str) -> str:
    """The lowered training step of each part of a training, without places in the source."""
    import dataclasses

    from msk_jax.experiment import load
    from msk_jax.training.cost import abstract_batch, abstract_state
    from msk_jax.training.parallel import parallel_train_step
    from msk_jax.training.parts import make_parts
    from msk_jax.training.step import AXIS

    experiment = load(name)
    system = experiment.at_small_size() if size == "small" else experiment
    stage = system.network_stage
    if stage is None:
        return ""
    recipe = dataclasses.replace(stage.method.recipe, batch_size=_BATCH * _devices())
    side = experiment.cohort.region.size
    image_shape = (side, side, stage.method.model.num_slices)
    parts = make_parts(
        stage.method.module(AXIS),
        stage.trained_task,
        stage.method.preprocess,
        recipe,
        stage.method.before,
        _STEPS_PER_EPOCH,
    )
    texts = []
    for part in parts:
        state = abstract_state(part.settings, image_shape)
        batch = abstract_batch(part.settings.task, image_shape, recipe.batch_size, _devices())
        texts.append(parallel_train_step(part.settings).lower(state, batch).as_text())
    return "\n".join(texts)


def _devices() -> int:
    import jax

    return jax.local_device_count()


def run_tiny(name: str, folder: Path) -> None:
    """One tiny experiment by the command line, and what it leaves into `folder`."""
    from tests.verbs.conftest import verb

    path = REPOSITORY / "tests" / f"{name}.py"
    with tempfile.TemporaryDirectory() as work, contextlib.redirect_stdout(sys.stderr):
        work = Path(work)
        places = ["--data-dir", work / "shards", "--workdir", work / "run"]
        cohort = work / "cohort"
        verb("phantom", path, "--out", cohort)
        verb(
            "build",
            path,
            "--dicom",
            cohort / "dicom",
            "--manifest",
            cohort / "manifest.csv",
            "--data-dir",
            work / "shards",
        )
        verb("train", path, *places, "--epochs", 2, "--warmup-epochs", 0)
        verb("evaluate", path, "--workdir", work / "run")
        verb("report", "--workdir", work / "run")
        folder.mkdir(parents=True)
        for file in sorted((work / "run").glob("fold_*/history.csv")):
            shutil.copy(file, folder / f"{file.parent.name}_history.csv")
        for file in sorted((work / "run").glob("*.csv")):
            shutil.copy(file, folder)
        metrics = json.loads((work / "run" / "metrics.json").read_text())
        (folder / "metrics.json").write_text(json.dumps(metrics, indent=1, sort_keys=True))
        (folder / "report.txt").write_text(page_text((work / "run" / "report.html").read_text()))


def page_text(page: str) -> str:
    """The words of a report, a line each, without what changes from run to run."""
    page = re.sub(r"<(style|script)\b.*?</\1>", "", page, flags=re.DOTALL)
    words = html.unescape(re.sub(r"<[^>]+>", "\n", page))
    lines = (line.strip() for line in words.splitlines())
    return "\n".join(line for line in lines if line and not _OF_THE_DAY.search(line)) + "\n"


def write(folder: Path, kinds: tuple[str, ...]) -> None:
    """Fill `folder`, see the module."""
    from msk_jax.experiment import names

    for name in names():
        for size in SIZES:
            for kind, text in (("settings", settings_text), ("steps", step_text)):
                if kind in kinds:
                    print(f"{kind} {name} {size}", file=sys.stderr, flush=True)
                    place = folder / kind
                    place.mkdir(parents=True, exist_ok=True)
                    (place / f"{name}_{size}.txt").write_text(text(name, size), encoding="utf-8")
    if "runs" in kinds:
        for name in TINY:
            print(f"run {name}", file=sys.stderr, flush=True)
            run_tiny(name, folder / "runs" / name)


def compare(folder: Path, kinds: tuple[str, ...]) -> int:
    """Print what differs between `folder` and now; gives the number of files that do."""
    with tempfile.TemporaryDirectory() as made:
        write(Path(made), kinds)
        files = {
            path.relative_to(root)
            for root in (folder, Path(made))
            for kind in kinds
            for path in (root / kind).rglob("*")
            if path.is_file()
        }
        different = 0
        for file in sorted(files):
            old, new = ((root / file) for root in (folder, Path(made)))
            lines = [p.read_text().splitlines() if p.exists() else [] for p in (old, new)]
            if lines[0] != lines[1]:
                different += 1
                changes = list(difflib.unified_diff(*lines, "before", "now", lineterm="", n=0))
                print(f"{file}: {len(changes)} lines of difference")
                print("\n".join(f"    {line[:160]}" for line in changes[:12]))
        print(f"{len(files) - different} of {len(files)} files are equal.")
        return different


def main() -> int:
    """The command, see the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("what", choices=("write", "compare", "settings"))
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS)
    given = parser.parse_args()
    if given.what == "settings":
        from msk_jax.experiment import names

        for name in names():
            for size in SIZES:
                text = settings_text(name, size)
                (SETTINGS / f"{name}_{size}.txt").write_text(text, encoding="utf-8")
        return 0
    if given.folder is None:
        parser.error("name the folder")
    if given.what == "write":
        write(given.folder, tuple(given.only))
        return 0
    return int(compare(given.folder, tuple(given.only)) > 0)


if __name__ == "__main__":
    sys.exit(main())
