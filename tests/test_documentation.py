"""What README and guides tell people to type works, in the order in which they are told to.

`make test` checks that every command has flags that there are and is either run or has a reason in
`LEFT_OUT`; `make test-docs` runs them on one small cohort and looks at what each leaves behind.
"""

import functools
import re
import shlex
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from msk_jax.cli import main
from msk_jax.evaluation.mrmc.simulation import RoeMetz
from msk_jax.flags import plain, study
from msk_jax.flags.dispatch import parse
from msk_jax.models import create
from msk_jax.models.network import variable_shapes
from msk_jax.models.weights.torch_weights import dump_torch
from msk_jax.models.weights.weight_files import write_state_dict
from tests.conftest import REPOSITORY
from tests.documentation import Example, examples

GUIDES = (
    "step-by-step",
    "your-own-cohort",
    "your-own-study",
    "finding-and-counting",
    "what-a-run-leaves",
    "statistics",
    "networks-and-weights",
    "larger-machines",
)
"""In the order in which `docs/README.md` lists them: what one leaves behind the next may name."""

PAGES = [
    REPOSITORY / "README.md",
    *(REPOSITORY / "docs" / "guides" / f"{name}.md" for name in GUIDES),
]

LEFT_OUT = {
    r"msk-jax demo .*": "ten minutes each; its verbs are run one after the other",
    r"make \w+": "make test is what runs this; that there is such a target is checked",
    r"python3 -m venv .*": "installs what the tests run in",
    r"pip install .*": "changes what the tests run in",
    r"export MALLOC_CONF=.*": "jemalloc is no package of Python",
    r"LD_PRELOAD=libjemalloc.*": "jemalloc is no package of Python",
    r"msk-jax ablate .*": "an hour; tests/verbs/test_ablate.py",
    r"msk-jax fetch 'https://pacs\.example.*": "a server; tests/data/sources/test_dicomweb.py",
    r"msk-jax evaluate knee_tumour .*": "wants another run; tests/verbs/test_knee_way.py",
    r"msk-jax (build|train|evaluate) empty_lacunae .*": "tiles; tests/verbs/test_lacunae_way.py",
    r"msk-jax predict .* new_tiles .*": "tiles; tests/verbs/test_boxes_way.py",
    r"gcloud .*": "needs a TPU",
    r"srun .*": "needs a cluster",
    r"msk-jax train .* --coordinator .*": "needs two hosts; tests/training/test_hosts.py",
    r"msk-jax tpu-check .*": "needs libtpu; tests/training/test_tpu.py",
    r"msk-jax parity .*": "minutes to hours; tests/parity",
}
"""Commands that are not run here, as patterns, each with its reason."""

SMALLER = (
    (r"(msk-jax phantom .*)--patients \d+", r"\1--patients 12", "as few as give every fold both"),
    (r"(msk-jax train (?!.*--help).*)", r"\1 --epochs 1 --warmup-epochs 0", "learns nothing"),
    (r"(msk-jax evaluate \S+ --workdir.*)", r"\1 --bootstrap-samples 50", "wide intervals"),
)
"""What is run in place of a command: pattern, replacement, and what that takes away."""

LEAVES = {
    "phantom": ("{out}/dicom", "{out}/manifest.csv", "{out}/pseudonym.key"),
    "build": (
        "{data_dir}/*/*/index.tfrecord",
        "{data_dir}/splits.json",
        "{data_dir}/cohort.json",
        "{data_dir}/rejected.csv",
        "{data_dir}/quality.csv",
    ),
    "train": (
        "{workdir}/fold_0/history.csv",
        "{workdir}/fold_4/history.csv",
        "{workdir}/predictions.csv",
        "{workdir}/validation_predictions.csv",
        "{workdir}/features.npz",
        "{workdir}/outputs.json",
        "{workdir}/cam",
        "{workdir}/model/operating_points.json",
    ),
    "evaluate": ("{workdir}/metrics.json",),
    "evaluate --predictions": ("{out}/figures.json",),
    "report": ("{workdir}/report.html",),
    "predict": ("{out}/predictions.csv", "{out}/rejected.csv"),
    "inspect": ("{0}/inspect.html",),
    "deidentify": ("{out}/rejected.csv",),
    "mrmc": ("{out}/mrmc.json",),
    "convert": ("{out}",),
}
"""What a verb leaves behind, as patterns, by its flags and words; a folder has something in it."""


def _all() -> list:
    return [
        pytest.param(example, id=f"{page.stem}-{example.line}")
        for page in PAGES
        for example in examples(page)
        if example.kind == "command"
    ]


def _is(patterns, command: str) -> bool:
    return any(re.fullmatch(pattern, command) for pattern in patterns)


def _words(example: Example) -> list[str]:
    """Of `msk-jax`, as it would see them; none of other programs."""
    words = shlex.split(example.text)
    return words[1:] if words[0] == "msk-jax" else []


@functools.cache
def _help(*words: str) -> str:
    """What `--help` prints."""
    printed = []
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as left:
        patch.setattr("sys.stdout.write", printed.append)
        main([*words, "--help"])
    assert left.value.code == 0
    return "".join(printed)


@pytest.fixture(scope="module")
def study_file(tmp_path_factory) -> Path:
    """Folder with the file of a study that a page tells to write."""
    folder = tmp_path_factory.mktemp("study")
    for page in PAGES:
        for example in examples(page):
            _write_study(example, folder)
    return folder


def _write_study(example: Example, folder: Path) -> bool:
    """Whether it is the file of a study, which then lies in the folder under its name."""
    name = re.search(r'^experiment = Experiment\(\s+name="(\w+)"', example.text, re.MULTILINE)
    if example.kind != "python" or not name:
        return False
    (folder / f"{name[1]}.py").write_text(example.text)
    return True


@pytest.mark.parametrize("example", _all())
def test_every_command_is_one(example, study_file, monkeypatch, capsys):
    if example.text.startswith("make "):
        targets = re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
        assert set(shlex.split(example.text)[1:]) <= set(targets)
    words = _words(example)
    if not words:
        assert _is(LEFT_OUT, example.text), "neither run nor listed in LEFT_OUT with a reason"
        return
    monkeypatch.chdir(study_file)
    if not example.is_template:
        try:
            parse(words)
        except SystemExit as left:  # --help was asked for
            assert left.code == 0, capsys.readouterr()
        return
    if words[0] == "VERB":
        return
    assert words[0] in {**plain.VERBS, **study.VERBS}
    text = _help(words[0])
    flags = [word.split("=")[0].strip("[]") for word in words if word.lstrip("[").startswith("--")]
    assert [flag for flag in flags if flag not in text] == []


def test_every_guide_is_in_its_place():
    index = (REPOSITORY / "docs" / "README.md").read_text()
    assert tuple(re.findall(r"\(guides/([\w-]+)\.md\)", index)) == GUIDES
    assert {path.stem for path in (REPOSITORY / "docs" / "guides").glob("*.md")} == set(GUIDES)


def test_every_link_between_pages_leads_somewhere():
    pages = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
    links = [
        (page, target)
        for page in pages
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)|src=\"([^\"]+)\"", page.read_text())
    ]
    local = [(page, a or b) for page, (a, b) in links if not (a or b).startswith("http")]
    assert len(local) > 50
    assert [(page.name, to) for page, to in local if not (page.parent / to).exists()] == []


def test_every_name_of_ours_exists():
    """`msk_jax.a.b.c` of a page is a module, or something that its module names."""
    pages = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
    named = {
        (name, page.name)
        for page in pages
        for name in re.findall(r"\bmsk_jax(?:\.\w+)+", page.read_text(encoding="utf-8"))
    }
    assert len(named) > 100
    assert sorted(pair for pair in named if not _is_ours(pair[0])) == []


def _is_ours(name: str) -> bool:
    first, *rest = name.removesuffix(".NAME").split(".")
    place = REPOSITORY if rest[0] == "experiments" else REPOSITORY / first
    while rest and (place / rest[0]).is_dir():
        place /= rest.pop(0)
    if rest and place.joinpath(f"{rest[0]}.py").is_file():
        source = place / f"{rest.pop(0)}.py"
    else:
        source = place / "__init__.py"
    text = source.read_text(encoding="utf-8") if source.is_file() else ""
    return all(re.search(rf"\b{word}\b", text) for word in rest)


def test_no_line_of_the_tables_is_left_over():
    commands = [example.text for page in PAGES for example in examples(page)]
    for pattern in (*LEFT_OUT, *(pattern for pattern, *_ in SMALLER)):
        assert any(re.fullmatch(pattern + ".*", command) for command in commands), pattern


def test_commands_and_examples_of_a_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "Say `msk-jax\nVERB ...` or `msk-jax models`.\n\n"
        "    # one\n    msk-jax build x \\\n        --dicom 'a # b'   # two\n\n    a,b\n\n"
        "text\n\n    import os\n    os.sep\n\nmore\n\n    no program, and no command\n\n"
        "```bash\n$ make test\n```\n\n```python\nx = 1\n```\n\n```json\n{}\n```\n"
    )
    with pytest.raises(ValueError, match="line 8: no known program in 'a,b'"):
        examples(page)
    page.write_text(page.read_text().replace("    a,b\n", ""))
    assert [(e.kind, e.text, e.line, e.is_template) for e in examples(page)] == [
        ("command", "msk-jax VERB ...", 1, True),
        ("command", "msk-jax models", 2, False),
        ("command", "msk-jax build x --dicom 'a # b'", 5, False),
        ("python", "import os\nos.sep\n", 11, False),
        ("command", "make test", 19, False),
        ("python", "x = 1\n", 23, False),
    ]


def _pictures(folder: Path, first: int, count: int) -> list[dict]:
    """Radiographs of hands as the study of the guide has them, and the rows of their table."""
    folder.mkdir()
    rows = []
    for number in range(first, first + count):
        is_ill = number % 2 == 0
        pixels = np.random.default_rng(number).normal(20_000, 3_000, (80, 60))
        pixels[20:60, 15:45] += 22_000 if is_ill else 15_000
        name = f"H{number:03d}"
        Image.fromarray(pixels.astype(np.uint16)).save(folder / f"{name}.png")
        rows.append(
            {
                "patient_id": name,
                "path": f"{name}.png",
                "label": "arthritis" if is_ill else "normal",
                "site": "A",
                "age": 40 + number % 40,
                "sex": "FM"[number % 3 == 0],
            }
        )
    return rows


def _labels(path: Path) -> None:
    pd.DataFrame(_pictures(path.parent / "images", 1, 30)).to_csv(path, index=False)


def _copy_of_the_images(path: Path) -> None:
    shutil.copytree(path.parent / "cohort" / "dicom", path)


def _predictions(path: Path) -> None:
    rng = np.random.default_rng(path.stem == "ours.csv")
    label = np.arange(60) % 2
    prob = np.clip(rng.normal(0.35 + 0.3 * label, 0.2), 0, 1)
    table = {
        "case": np.arange(60),
        "label": label,
        "prob": prob.round(3),
        "site": np.where(np.arange(60) % 3, "A", "B"),
        "age": 30 + np.arange(60),
    }
    pd.DataFrame(table).to_csv(path, index=False)


def _ratings(path: Path) -> None:
    truth, ratings = RoeMetz(effect=0.5).draw(3, 12, 12, seed=1)
    rows = [
        {
            "reader": f"r{reader}",
            "case": case,
            "modality": modality,
            "truth": int(truth[case]),
            "rating": float(ratings[number, reader, case]),
        }
        for number, modality in enumerate(("aided", "unaided"))
        for reader in range(3)
        for case in range(24)
    ]
    pd.DataFrame(rows).to_csv(path, index=False)


def _weights(path: Path) -> None:
    empty = variable_shapes(create("resnet50"), jnp.zeros((1, 224, 224, 3)))
    values = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.5, np.float32), empty)
    write_state_dict(path, dump_torch(values))


PREPARED: dict[str, Callable[[Path], None]] = {
    "labels.csv": _labels,
    "new_images": lambda path: _pictures(path, 201, 2) and None,
    "work/fetched": _copy_of_the_images,
    "ours.csv": _predictions,
    "theirs.csv": _predictions,
    "ratings.csv": _ratings,
    "resnet50.pth": _weights,
}
"""What a reader would bring along, made when a command first names it."""


def _run(command: str) -> int:
    """Exit status of a command of ours, as it would be typed."""
    words = shlex.split(command)
    for word in words:
        if word in PREPARED and not Path(word).exists():
            PREPARED[word](Path(word))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", words)
        try:
            main()
        except SystemExit as left:
            return left.code or 0
    return 0


def _missing(command: str) -> list[str]:
    """What a command should have left behind and has not."""
    _, verb, *words = shlex.split(command)
    given = {
        word[2:].replace("-", "_"): value
        for word, value in pairwise([*words, ""])
        if word.startswith("--")
    }
    if "help" in given:
        return []
    key = "evaluate --predictions" if "predictions" in given else verb
    patterns = [pattern.format(*words, **given) for pattern in LEAVES.get(key, ())]
    return [
        pattern
        for pattern in patterns
        if not any(place.is_file() or any(place.iterdir()) for place in Path().glob(pattern))
    ]


@pytest.mark.slow
def test_every_command_and_example_runs(tmp_path, monkeypatch, capsys):
    """On one cohort, page by page; what was run before as it stands is not run again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    faults, done = [], set()
    for page in PAGES:
        names = {"__name__": "example"}
        for example in examples(page):
            where = f"{page.name}, line {example.line}: {example.text.splitlines()[0]}"
            if example.kind == "python":
                try:
                    if not _write_study(example, tmp_path):
                        exec(compile(example.text, where, "exec"), names)
                except Exception as error:
                    faults.append(f"{where}\n  {type(error).__name__}: {error}")
                continue
            command = example.text
            if example.is_template or _is(LEFT_OUT, command) or command in done:
                continue
            if command.startswith("msk-jax convert") and find_spec("torch") is None:
                continue
            done.add(command)
            for pattern, replacement, _ in SMALLER:
                command = re.sub(f"^{pattern}", replacement, command)
            status = _run(command)
            said = capsys.readouterr().err
            if status:
                faults.append(f"{where}\n  status {status}: {said[-500:]}")
            elif missing := _missing(command):
                faults.append(f"{where}\n  left no {', '.join(missing)}")
    assert not faults, "\n".join(faults)
