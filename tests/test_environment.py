"""What a machine lacks is a sentence and exit status 2; a cache that cannot be kept is none."""

import errno
import io
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import pytest

from msk_jax import cli, environment
from msk_jax.data.privacy.pseudonyms import default_key_path
from msk_jax.errors import UserError
from msk_jax.training.parallel import check_alone

# What `docker run --user 12345` does, without the right to change the user.
_NOBODY = """
import os, pwd, sys
def nobody(*_): raise KeyError("uid not found")
pwd.getpwuid = nobody
from msk_jax.cli import main
main(sys.argv[1:])
"""


def _as_nobody(*words: str, **variables: str) -> subprocess.CompletedProcess:
    kept = {k: v for k, v in os.environ.items() if k not in ("HOME", "JAX_COMPILATION_CACHE_DIR")}
    command = [sys.executable, "-c", _NOBODY, *words]
    return subprocess.run(command, env={**kept, **variables}, capture_output=True, text=True)


def test_a_user_without_a_home_on_a_machine_without_the_accelerator(tmp_path):
    done = _as_nobody("experiments")
    assert (done.returncode, done.stderr) == (0, "")
    assert "sacroiliitis" in done.stdout
    words = ("parity", "resnet18", "--out", str(tmp_path / "parity.csv"))
    refused = _as_nobody(*words, JAX_PLATFORMS="cuda", XDG_CACHE_HOME=str(tmp_path / "file"))
    assert refused.returncode == 2
    assert refused.stderr.startswith("msk-jax: JAX_PLATFORMS is 'cuda', and JAX finds no such")
    assert refused.stderr.count("\n") == 1 and "Set JAX_PLATFORMS=cpu" in refused.stderr


@pytest.fixture
def homeless(monkeypatch):
    def without() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", without)


def test_the_key_of_a_user_without_a_home(homeless, tmp_path):
    with pytest.raises(UserError, match=r"no HOME.*Give --key.*openssl rand"):
        default_key_path(tmp_path / "manifest.csv")
    (tmp_path / "pseudonym.key").touch()
    assert default_key_path(tmp_path / "manifest.csv") == tmp_path / "pseudonym.key"


@pytest.fixture
def compilations():
    """`compilations()`: the folder that compiled programs are kept in, set anew from nothing."""
    before = jax.config.jax_compilation_cache_dir

    def folder(configured: str | None = None) -> str | None:
        jax.config.update("jax_compilation_cache_dir", configured)
        with warnings.catch_warnings():
            environment.keep_compilations()
        return jax.config.jax_compilation_cache_dir

    yield folder
    jax.config.update("jax_compilation_cache_dir", before)


def test_compiled_programs_are_kept_where_a_folder_takes_them(compilations, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compilations() == str(tmp_path / "msk_jax" / "xla")
    assert compilations(str(tmp_path / "mine")) == str(tmp_path / "mine")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert compilations() is None
    assert compilations(str(tmp_path / "file" / "mine")) is None
    assert compilations("gs://bucket/xla") == "gs://bucket/xla"  # not tried: it may cost minutes


def test_nothing_is_kept_for_a_user_without_a_home(compilations, monkeypatch, homeless):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert compilations() is None


def test_xla_is_asked_for_its_flags():
    assert environment.xla_refusal("") == ""
    assert environment.xla_refusal("--xla_force_host_platform_device_count=2") == ""
    unknown = environment.xla_refusal("--xla_no_such_flag=1")
    assert unknown == "Unknown flag in XLA_FLAGS: --xla_no_such_flag=1"
    assert "abc" in environment.xla_refusal("--xla_backend_optimization_level=abc")


def _left(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as left:
        cli.main(words)
    assert left.value.code == 2
    sentence = capsys.readouterr().err
    assert sentence.startswith("msk-jax: ") and sentence.count("\n") == 1
    return sentence


def test_flags_of_xla_that_it_does_not_take(capsys, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_no_such_flag=1")
    assert "XLA_FLAGS: --xla_no_such_flag=1). Take the flag out" in _left(capsys, "experiments")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError("Unable to allocate 9 GiB"), "too little memory (Unable to allocate 9 GiB)"),
        (RuntimeError("can't start new thread"), "ulimit -u"),
        (ModuleNotFoundError("No module named 'x'", name="x"), "cannot be loaded (No module"),
        (OSError(errno.EMFILE, "Too many open files", "a.dcm"), "ulimit -n"),
        (FileNotFoundError(errno.ENOENT, "No usable temporary directory found in [...]"), "TMPDIR"),
        (OSError(errno.ENOSPC, "No space left on device"), "for temporary files set TMPDIR"),
        (OSError(errno.ENOSPC, "No space left on device", "out"), "out could not be written"),
        (PermissionError(errno.EACCES, "Permission denied", "in"), "in could not be read"),
    ],
)
def test_what_a_machine_lacks(error, words, capsys, monkeypatch):
    def fail(_) -> None:
        raise error

    monkeypatch.setattr(cli, "_dispatch", lambda: fail)
    assert words in _left(capsys, "experiments")


def test_a_fault_of_ours_is_no_fault_of_the_machine(monkeypatch):
    def fail(_) -> None:
        raise error

    monkeypatch.setattr(cli, "_dispatch", lambda: fail)
    for error in (
        RuntimeError("some step"),
        AssertionError(),
        KeyError("column"),
        ImportError("cannot import name 'x' from 'msk_jax.data'", name="msk_jax.data"),
    ):
        with pytest.raises(type(error)):
            cli.main(["experiments"])


@pytest.mark.parametrize("error", [AssertionError(), RuntimeError("Unable to initialize 'tpu'")])
def test_devices_that_are_missed_while_a_verb_is_at_work(error, capsys, monkeypatch):
    def fail(*_) -> None:
        raise error

    monkeypatch.setattr(jax, "devices", fail)
    monkeypatch.setattr(cli, "_dispatch", lambda: fail)
    assert f"({str(error) or 'none is there'})" in _left(capsys, "experiments")
    with pytest.raises(UserError, match="Set JAX_PLATFORMS=cpu"):
        environment.check_devices()


def test_a_package_that_does_not_load_with_a_variable(monkeypatch, tmp_path):
    done = _as_nobody("parity", "resnet18", JAX_ENABLE_X64="maybe")
    assert done.returncode == 2 and done.stderr.startswith("msk-jax: A Python package cannot be")
    assert "'maybe' for environment 'JAX_ENABLE_X64'). If that names" in done.stderr
    (tmp_path / "mine.py").write_text('raise ValueError("of its author")')
    with pytest.raises(ValueError, match="of its author"):
        cli.main(["build", str(tmp_path / "mine.py")])
    monkeypatch.setenv("MPLBACKEND", "module://of_a_notebook.backend")
    environment.prepare()
    assert os.environ["MPLBACKEND"] == "agg"


def test_names_that_the_locale_cannot_pass_on(capsys, monkeypatch):
    name = "/data/H\udce4nde"

    def in_python(_) -> None:
        raise RuntimeError("Failed to finalize") from UnicodeEncodeError(
            "utf-8", name, 7, 8, "surrogates not allowed"
        )

    def in_tensorflow(_) -> None:
        raise ValueError("Error converting unicode string while converting Python sequence")

    for fail in (in_python, in_tensorflow):
        monkeypatch.setattr(cli, "_dispatch", lambda fail=fail: fail)
        assert "/data/H\\udce4nde has bytes" in _left(capsys, "build", "--data-dir", name)


def test_a_terminal_without_umlauts_and_one_that_is_closed(monkeypatch):
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    environment.prepare()
    print("Köln")
    sys.stdout.flush()
    assert sys.stdout.buffer.getvalue() == b"K\\xf6ln\n"
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(SystemExit) as left:
        cli.main(["report", "--help"])
    assert left.value.code == 0


def test_what_the_library_notes_is_said_once_a_command(capsys, monkeypatch):
    def note(_) -> None:
        for _ in range(2):
            logging.getLogger("msk_jax.models.weights").warning("Names begin with %s.", "x")

    monkeypatch.setattr(cli, "_dispatch", lambda: note)
    for _ in range(2):
        cli.main(["models"])
        assert capsys.readouterr().err == "Names begin with x.\n"


def test_a_variable_of_slurm_that_is_no_number(monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "two")
    with pytest.raises(UserError, match="SLURM_STEP_NUM_TASKS is 'two'"):
        check_alone("evaluate")
