"""The other Pythons of a machine, on which `.ci/run` tries a short set of tests."""

import importlib.util
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def newer_pythons():
    path = REPOSITORY / ".ci" / "newer_pythons.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _pretend(path: Path, *answer: object) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\necho " + " ".join(map(str, answer)) + "\n")
    path.chmod(0o755)
    return str(path)


def test_the_newest_comes_first_and_each_minor_version_once(newer_pythons, tmp_path):
    programs = [
        _pretend(tmp_path / "a", 3, 12, 9, "/python 3.12"),
        _pretend(tmp_path / "b", 3, 14, 0, "/old 3.14"),
        _pretend(tmp_path / "c", 3, 14, 2, "/python 3.14"),
        _pretend(tmp_path / "d", 3, 11, 8, "/python 3.11"),
        _pretend(tmp_path / "a preview, or one without ensurepip"),
        str(tmp_path / "gone"),
    ]
    assert newer_pythons.newer(programs, (3, 11)) == ["/python 3.14", "/python 3.12"]
    assert newer_pythons.newer(programs, (3, 14)) == []


def test_where_they_are_looked_for(newer_pythons, tmp_path, monkeypatch):
    on_path = _pretend(tmp_path / "bin" / "python3.13")
    for name in ("python3.13-config", "python3", "pip3.13"):
        _pretend(tmp_path / "bin" / name)
    of_pyenv = _pretend(tmp_path / "pyenv" / "versions" / "3.12.1" / "bin" / "python3")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "uv"))
    candidates = newer_pythons.candidates()
    assert candidates[:2] == [on_path, of_pyenv]
    assert all(c.startswith("/opt/") for c in candidates[2:])


def test_a_real_python_answers(newer_pythons):
    (answer,) = newer_pythons.newer([sys.executable], (3, 0))
    assert Path(answer).samefile(sys.executable)
