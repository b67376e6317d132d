"""What a user gets: a wheel in an environment of its own."""

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from msk_jax.experiment import names
from tests.conftest import REPOSITORY

_SOURCES = ("msk_jax", "experiments", "benchmarks", "tests")
_FILES = ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """An environment that has this package from a wheel, and all else from the one of the tests."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("pip, which builds the wheel, is not installed")
    folder = tmp_path_factory.mktemp("installed")
    source, environment = folder / "source", folder / "environment"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in _SOURCES:
        shutil.copytree(REPOSITORY / name, source / name, ignore=ignored)
    for name in _FILES:
        shutil.copy(REPOSITORY / name, source / name)
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    venv.create(environment)
    (wheel,) = folder.glob("*.whl")
    _pip("--python", environment, "install", "--no-deps", "--no-compile", wheel)
    # Of a folder named in a .pth file no other .pth file is read: an editable install stays out.
    _packages(environment).joinpath("all_else.pth").write_text(sysconfig.get_path("purelib"))
    return environment


def _pip(*words: object) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, *map(str, words)], check=True, env=_alone())


def _alone() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _packages(environment: Path) -> Path:
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(environment)}))


def test_nothing_but_the_package_is_installed(installed):
    """No `experiments`, `benchmarks` or `tests` in everybody's site-packages."""
    present = {path.name.partition("-")[0] for path in _packages(installed).iterdir()}
    assert present - {"all_else.pth", "__pycache__"} == {"msk_jax"}
    below = _packages(installed) / "msk_jax"
    for name in names():
        assert (below / "experiments" / f"{name}.py").is_file()
        here = (REPOSITORY / "experiments" / "ablations" / f"{name}.py").is_file()
        assert (below / "experiments" / "ablations" / f"{name}.py").is_file() is here
    package = REPOSITORY / "msk_jax"
    templates = {path.relative_to(package) for path in package.rglob("*.j2")}
    assert templates and not {path for path in templates if not (below / path).is_file()}


def test_a_folder_with_experiments_of_its_own_hides_nothing(installed, tmp_path):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "__init__.py").write_text("raise SystemExit('not this one')\n")
    (tmp_path / "experiments" / "mine.py").touch()
    (python,) = installed.glob("*/python")

    def lines(*words: str) -> list[str]:
        done = subprocess.run(
            [python, "-m", "msk_jax", *words],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
            env=_alone(),
        )
        return done.stdout.splitlines()

    assert [line.split()[0] for line in lines("experiments")[1:]] == names()
    assert any("--seeds" in line for line in lines("ablate", "sacroiliitis", "--help"))
