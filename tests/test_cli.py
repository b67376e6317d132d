"""What people type by mistake: one sentence, exit status 2, no traceback."""

import itertools
import re
import subprocess
import sys

import pytest

from msk_jax.cli import main
from msk_jax.errors import UserError
from msk_jax.experiment import names
from msk_jax.flags.dispatch import parse
from tests.conftest import REPOSITORY, TINY


def _refused(capsys, *args) -> str:
    with pytest.raises(SystemExit) as left:
        main([str(a) for a in args])
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error and error.strip()
    return error


def test_list_has_one_line_each(capsys):
    main(["experiments"])
    lines = capsys.readouterr().out.strip().splitlines()
    assert [line.split()[0] for line in lines[1:]] == names()
    (line,) = [line for line in lines if line.startswith("sacroiliitis")]
    for words in ("CT", "5 axial slices", "10.61369/MRP.2025100011"):
        assert words in line


def test_readme_has_the_table_of_all_experiments(capsys):
    main(["experiments", "--markdown"])
    table = capsys.readouterr().out
    assert table.count("\n") == 2 + len(names())
    assert table in (REPOSITORY / "README.md").read_text(), "paste it from this command"


@pytest.mark.parametrize("verb", ["phantom", "build", "train", "evaluate", "ablate", "demo"])
def test_help_explains_every_flag(verb, capsys):
    with pytest.raises(SystemExit) as left:
        main([verb, "--help"])
    assert left.value.code == 0
    text = " ".join(line.strip("│ ") for line in capsys.readouterr().out.splitlines())
    text = re.sub("[╭╰─╮╯]+", " ", text)
    flags = re.split(r"(?= --[a-z-]+[ ,])", text.split("show this help message and exit")[1])
    explained = [f for f in flags if "(default" in f or "(required" in f]
    assert len(explained) >= 3
    for flag in explained:
        # What stands between the flag's name and type and its default is the explanation.
        words = re.split(r"\((?:default|required)", flag)[0].split()
        assert len([w for w in words if w.islower()]) >= 3, f"{flag} is not explained"


def test_help_shows_the_defaults_of_the_experiment(capsys):
    with pytest.raises(SystemExit):
        main(["train", TINY, "--help"])
    assert "(default: 0.003)" in capsys.readouterr().out


def test_wrong_words(capsys, tmp_path):
    assert "Did you mean sacroiliitis?" in _refused(capsys, "train", "sacroilitis")
    assert "The verbs are" in _refused(capsys, "trian", "sacroiliitis")
    assert "Name the experiment" in _refused(capsys, "train")
    assert "no experiment file" in _refused(capsys, "train", tmp_path / "mine.py")
    _refused(capsys, "train", "sacroiliitis", "--no-such-flag", "3")


def test_folders_that_hold_nothing(capsys, tmp_path):
    there = ("--data-dir", tmp_path)
    assert "no built cohort" in _refused(
        capsys, "train", TINY, *there, "--workdir", tmp_path / "run"
    )
    assert "Nothing was trained" in _refused(capsys, "evaluate", TINY, "--workdir", tmp_path)
    assert "msk-jax" in _refused(capsys, "report", "--workdir", tmp_path)
    assert "no trained model" in _refused(
        capsys, "predict", "--workdir", tmp_path, "--dicom", tmp_path, "--out", tmp_path / "o"
    )


def test_unwritable_places(capsys, shards, tmp_path):
    (tmp_path / "file").touch()
    below = tmp_path / "file" / "below"
    assert "cannot be written" in _refused(
        capsys, "train", TINY, "--data-dir", shards, "--workdir", below
    )
    assert str(below) in _refused(capsys, "phantom", TINY, "--out", below)


def test_settings_that_cannot_be(capsys, shards, tmp_path):
    def train(*flags):
        return _refused(
            capsys, "train", TINY, "--data-dir", shards, "--workdir", next(workdirs), *flags
        )

    workdirs = (tmp_path / f"run{k}" for k in itertools.count())

    assert "too large for a 4x4 feature map" in train("--aspp-rates", 2)
    assert "multiple of 4" in train("--batch-size", 6)
    assert "no fold 7" in train("--fold", 7)
    assert "'plenty' is no size of memory" in train("--cache-memory", "plenty")
    assert "too small for batches" in train("--cache-memory", "1kB")
    assert "no weight file" in train("--init-from", tmp_path / "none.pth", "--epochs", 1)


def test_no_verb_imports_torch_before_it_reads_or_compares_weights():
    code = (
        "import sys, msk_jax.cli, msk_jax.models\n"
        "from msk_jax.verbs import convert, predict, train\n"
        "print({'torch', 'torchvision', 'timm', 'monai'} & set(sys.modules))"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_reader_that_leaves_is_no_fault():
    """`msk-jax predict --help | head -1`, whose other lines nobody reads."""
    program = subprocess.Popen(
        [sys.executable, "-m", "msk_jax", "predict", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    program.stdout.close()
    assert program.stderr.read() == ""
    assert program.wait() == 1


PLACES = ["--data-dir", "d", "--workdir", "w"]


@pytest.mark.parametrize("words", [["--set", "{}", "split.folds=4"], ["--set={}", "--small"]])
def test_settings_are_changed_by_their_paths(words):
    """In the flags' defaults and in the experiment, full and small."""
    words = [word.format("classify.recipe.epochs=7") for word in words]
    run = parse(["train", TINY, *PLACES, *words, "--learning-rate", "0.5"])
    flags, experiment = run.func.__self__, run.args[0]
    assert (flags.recipe.epochs, flags.recipe.learning_rate) == (7, 0.5)
    system = experiment.at_small_size()
    assert system.stage("classify").method.recipe.epochs == 7
    assert experiment.split.folds == (4 if "split.folds=4" in words else 3)


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("classify.recipe.epoch=7", "Did you mean classify.recipe.epochs"),
        ("classify.recipe.epochs=many", "cannot be 'many'"),
        ("epochs", "--set takes path=value"),
    ],
)
def test_a_path_or_value_that_is_none_is_refused(word, answer):
    with pytest.raises(UserError, match=answer):
        parse(["train", TINY, *PLACES, "--set", word])
