"""What answers a question at once: nothing heavy is imported before it is used."""

import json
import os
import subprocess
import sys

import pytest

from msk_jax.experiment import load, names
from msk_jax.flags import study
from tests.conftest import REPOSITORY

# numpy is left out: a tenth of a second, and an experiment may compute with it.
HEAVY = (
    "jax",
    "flax",
    "optax",
    "tensorflow",
    "tensorflow_datasets",
    "scipy",
    "pandas",
    "sklearn",
    "SimpleITK",
    "pydicom",
    "matplotlib",
    "torch",
    "xgboost",
    "lightgbm",
    "shap",
)


def _imported(code: str, **environment: str) -> set[str]:
    """The heavy packages that a process has imported after the code."""
    code = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    return set(json.loads(done.stderr.splitlines()[-1])) & set(HEAVY)


def test_heavy_packages_are_recognised():
    assert "pandas" in _imported("import msk_jax.evaluation.studies.classes")


@pytest.mark.parametrize("words", [["--help"], ["experiments"], ["models"]], ids=" ".join)
def test_lists_import_nothing_heavy(words):
    assert not _imported(f"from msk_jax.cli import main\nmain({words})")


def test_help_of_every_verb_imports_nothing_heavy():
    """In one process, for every experiment: whatever one of them imports, it has imported."""
    networks = [name for name in names() if load(name).network_stage]
    commands = [
        [verb, name, "--help"]
        for verb in study.VERBS
        for name in (networks if verb in ("ablate", "tpu-check") else names())
    ]
    commands.append(["evaluate", "--predictions", "table.csv", "--help"])
    commands += [["mrmc", "--help"], ["predict", "--help"], ["convert", "--help"]]
    code = f"""
from msk_jax.cli import main
for words in {commands}:
    try:
        main(words)
    except SystemExit as left:
        assert left.code == 0, words
    else:
        raise AssertionError(words)
"""
    assert not _imported(code)


def test_a_checkout_that_is_not_installed_says_so():
    """The catalogue needs the standard library alone, and there is no more without `site`."""
    code = "from msk_jax import experiment\nexperiment.names()"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=False,
    )
    assert "UserError: The published systems are not installed" in done.stderr
    assert "pip install --editable" in done.stderr


@pytest.mark.parametrize("stated, expected", [(None, "xla"), ("gs://mine/xla", "")])
def test_compilations_are_kept_where_nobody_says_otherwise(stated, expected, tmp_path):
    """jax is imported after the command line has said where, and a user's own word counts."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    if stated:
        environment["JAX_COMPILATION_CACHE_DIR"] = stated
    code = (
        "from msk_jax.cli import main\nmain(['experiments'])\n"
        "import jax\nprint(jax.config.jax_compilation_cache_dir)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    place = done.stdout.splitlines()[-1]
    assert place == (stated or str(tmp_path / "msk_jax" / expected))
