"""One trained and evaluated run for the tests of all verbs."""

import shutil
from pathlib import Path

import pytest

from msk_jax.cli import main
from tests.conftest import TINY


def verb(*args, status=0) -> None:
    """Run one command as if typed; the exit status must be `status`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["msk-jax", *map(str, args)])
        try:
            main()
            code = 0
        except SystemExit as left:
            code = left.code or 0
    assert code == status


@pytest.fixture(scope="session")
def run(made_once, shards, tmp_path_factory) -> Path:
    """A trained and evaluated workdir of this worker; copy it before you change it."""

    def make(workdir: Path) -> None:
        verb("train", TINY, "--data-dir", shards, "--workdir", workdir)
        verb("evaluate", TINY, "--workdir", workdir)

    # Of each worker: reports are written into it.
    return shutil.copytree(made_once("run", make), tmp_path_factory.mktemp("run") / "run")


@pytest.fixture
def refused(capsys):
    """Runs a command that must end in exit status 2 and a message; gives the message."""

    def run_refused(*args) -> str:
        capsys.readouterr()
        verb(*args, status=2)
        error = capsys.readouterr().err
        assert "Traceback" not in error and error.startswith("msk-jax: ")
        assert len(error.strip().splitlines()) == 1, error
        return error

    return run_refused
